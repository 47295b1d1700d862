//! Random checkpoints of any shape, as the transformers library lays them out: sharded safetensors with an index.
//!
//! Streams: memory stays at one buffer whatever the size. Deterministic: each tensor has its own random stream.
//! Values are normal, 0.02 wide; norms are 1, biases 0. Knows no solver and reads nothing back.

use half::{bf16, f16};
use pare_engine::model::{ModelConfig, ModelError, PlannedTensor, Role};
use pare_engine::rng::Rng;
use pare_engine::tensor::Dtype;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Elements that are in memory at a time.
const BUFFER_ELEMENTS: usize = 1 << 18;

/// What to write.
#[derive(Debug, Clone)]
pub struct RandomCheckpoint {
    /// `config.json`, written as it is.
    pub config: Value,
    /// `F32`, `F16` or `BF16`.
    pub dtype: Dtype,
    /// Bytes after which a new shard begins; a tensor is never cut.
    pub shard_bytes: u64,
    /// Seed of all values.
    pub seed: u64,
}

/// Why a checkpoint could not be made.
#[derive(Debug)]
pub enum MakeError {
    /// The config describes no network that the engine knows.
    Config(ModelError),
    /// The operating system refused.
    Io(io::Error),
}

impl std::fmt::Display for MakeError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Config(error) => error.fmt(formatter),
            Self::Io(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for MakeError {}

impl From<ModelError> for MakeError {
    fn from(error: ModelError) -> Self {
        Self::Config(error)
    }
}

impl From<io::Error> for MakeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// `config.json` of Llama 7B (Touvron et al. 2023), with `blocks` blocks of its 32.
pub fn llama_7b(blocks: usize) -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"],
        "bos_token_id": 1,
        "dtype": "bfloat16",
        "eos_token_id": 2,
        "head_dim": 128,
        "hidden_act": "silu",
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "max_position_embeddings": 2048,
        "model_type": "llama",
        "num_attention_heads": 32,
        "num_hidden_layers": blocks,
        "num_key_value_heads": 32,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
        "tie_word_embeddings": false,
        "transformers_version": "5.23.0",
        "vocab_size": 32000
    })
}

impl RandomCheckpoint {
    /// Writes `config.json`, the shards and their index into `folder`; gives the bytes of all tensors.
    pub fn write(&self, folder: &Path) -> Result<u64, MakeError> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("config.json"), format!("{:#}\n", self.config))?;
        let tensors = ModelConfig::parse(&self.config)?.tensors();
        let shards = self.shards(&tensors);
        let mut places = Map::new();
        let mut total = 0;
        for (index, shard) in shards.iter().enumerate() {
            let name = match shards.len() {
                1 => "model.safetensors".to_owned(),
                count => format!("model-{:05}-of-{count:05}.safetensors", index + 1),
            };
            self.write_shard(&folder.join(&name), shard)?;
            for (_, tensor) in shard {
                places.insert(tensor.name.clone(), json!(name));
                total += self.bytes(tensor);
            }
        }
        if shards.len() > 1 {
            let index = json!({"metadata": {"total_size": total}, "weight_map": places});
            let path = folder.join("model.safetensors.index.json");
            std::fs::write(path, format!("{index:#}\n"))?;
        }
        Ok(total)
    }

    fn bytes(&self, tensor: &PlannedTensor) -> u64 {
        let elements: usize = tensor.shape.iter().product();
        (elements * self.dtype.size_bytes()) as u64
    }

    /// Tensors of each shard, with their places in the whole list, which number their random streams.
    fn shards<'a>(&self, tensors: &'a [PlannedTensor]) -> Vec<Vec<(u64, &'a PlannedTensor)>> {
        let mut shards = vec![Vec::new()];
        let mut filled = 0;
        for (stream, tensor) in tensors.iter().enumerate() {
            if filled > 0 && filled + self.bytes(tensor) > self.shard_bytes {
                shards.push(Vec::new());
                filled = 0;
            }
            filled += self.bytes(tensor);
            shards
                .last_mut()
                .expect("there is always a shard")
                .push((stream as u64, tensor));
        }
        shards
    }

    fn write_shard(&self, path: &Path, tensors: &[(u64, &PlannedTensor)]) -> io::Result<()> {
        let mut header = Map::new();
        header.insert("__metadata__".to_owned(), json!({"format": "pt"}));
        let mut offset = 0;
        for (_, tensor) in tensors {
            let end = offset + self.bytes(tensor);
            let entry = json!({
                "dtype": self.dtype.to_string().to_uppercase(),
                "shape": tensor.shape,
                "data_offsets": [offset, end]
            });
            header.insert(tensor.name.clone(), entry);
            offset = end;
        }
        let mut header = Value::Object(header).to_string();
        header.extend(std::iter::repeat_n(
            ' ',
            header.len().next_multiple_of(8) - header.len(),
        ));
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        for (stream, tensor) in tensors {
            self.write_values(&mut file, *stream, tensor)?;
        }
        file.flush()
    }

    fn write_values(
        &self,
        file: &mut impl Write,
        stream: u64,
        tensor: &PlannedTensor,
    ) -> io::Result<()> {
        let elements: usize = tensor.shape.iter().product();
        match tensor.role {
            Role::Norm => file.write_all(&self.encoded(1.0).repeat(elements)),
            Role::Bias => file.write_all(&self.encoded(0.0).repeat(elements)),
            _ => self.write_normal(file, Rng::new(self.seed, stream), elements),
        }
    }

    /// Normal values by a table: 16 random bits choose one of 65,536 draws, which is fast enough for a disk.
    fn write_normal(&self, file: &mut impl Write, mut rng: Rng, elements: usize) -> io::Result<()> {
        let mut draws = Rng::new(self.seed, u64::MAX);
        let width = self.dtype.size_bytes();
        let table: Vec<u8> = (0..1 << 16)
            .flat_map(|_| self.encoded((0.02 * draws.normal()) as f32))
            .collect();
        let mut buffer = Vec::with_capacity(BUFFER_ELEMENTS * width);
        for first in (0..elements).step_by(BUFFER_ELEMENTS) {
            let count = BUFFER_ELEMENTS.min(elements - first);
            buffer.clear();
            while buffer.len() < count * width {
                let random = rng.next_u64();
                for lane in 0..4 {
                    let row = (random >> (16 * lane)) as u16 as usize * width;
                    buffer.extend_from_slice(&table[row..row + width]);
                }
            }
            file.write_all(&buffer[..count * width])?;
        }
        Ok(())
    }

    /// One value as stored.
    fn encoded(&self, value: f32) -> Vec<u8> {
        match self.dtype {
            Dtype::BF16 => bf16::from_f32(value).to_le_bytes().to_vec(),
            Dtype::F16 => f16::from_f32(value).to_le_bytes().to_vec(),
            _ => value.to_le_bytes().to_vec(),
        }
    }
}

/// Writes `count` seeded token ids below `vocabulary` as tensor `input_ids` `[1, count]`, i64.
pub fn write_ids(path: &Path, vocabulary: usize, count: usize, seed: u64) -> io::Result<()> {
    let mut rng = Rng::new(seed, 0);
    let ids: Vec<u8> = (0..count)
        .flat_map(|_| rng.below(vocabulary as u64).to_le_bytes())
        .collect();
    let dtype = safetensors::Dtype::I64;
    let view = safetensors::tensor::TensorView::new(dtype, vec![1, count], &ids)
        .map_err(io::Error::other)?;
    let bytes = safetensors::serialize([("input_ids", view)], None).map_err(io::Error::other)?;
    std::fs::write(path, bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use pare_engine::checkpoint::Checkpoint;
    use pare_engine::model::Model;
    use pare_engine::tensor::WeightSource as _;
    use std::sync::Arc;

    fn tiny(shard_bytes: u64, dtype: Dtype) -> RandomCheckpoint {
        let mut config = llama_7b(2);
        for (key, value) in [
            ("hidden_size", 32),
            ("intermediate_size", 48),
            ("vocab_size", 50),
            ("num_attention_heads", 4),
            ("num_key_value_heads", 2),
            ("head_dim", 8),
        ] {
            config[key] = json!(value);
        }
        RandomCheckpoint {
            config,
            dtype,
            shard_bytes,
            seed: 7,
        }
    }

    #[test]
    fn what_is_written_opens_as_a_model_whatever_the_shards() {
        let values = |shard_bytes| {
            let folder = tempfile::tempdir().unwrap();
            tiny(shard_bytes, Dtype::BF16).write(folder.path()).unwrap();
            let source: Arc<_> = Arc::new(Checkpoint::open(folder.path()).unwrap());
            Model::open(source.clone(), source.config_json().unwrap()).unwrap();
            source
                .read_f32("model.layers.1.mlp.down_proj.weight")
                .unwrap()
        };
        let whole = values(u64::MAX);
        assert_eq!(whole, values(5_000));
        let deviation =
            (whole.iter().map(|value| value * value).sum::<f32>() / whole.len() as f32).sqrt();
        assert!((deviation - 0.02).abs() < 0.002, "deviation {deviation}");
    }

    #[test]
    fn dtypes_differ_by_rounding_only() {
        let first = |dtype| {
            let folder = tempfile::tempdir().unwrap();
            tiny(u64::MAX, dtype).write(folder.path()).unwrap();
            let source = Checkpoint::open(folder.path()).unwrap();
            source.read_f32("model.embed_tokens.weight").unwrap()[0]
        };
        let exact = first(Dtype::F32);
        for (dtype, tolerance) in [(Dtype::F16, 1e-3), (Dtype::BF16, 1e-2)] {
            let stored = first(dtype);
            assert!(
                (stored - exact).abs() <= tolerance * exact.abs(),
                "{dtype}: {stored}, {exact}"
            );
        }
    }
}
