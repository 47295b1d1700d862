//! Models in GGUF files, llama.cpp's container: bytes -> validated headers -> tensors, `config.json` and `tokenizer.json` as
//! transformers would have them, so that everything above works as with any other model.
//!
//! Every byte may be hostile. Names of architectures and tensors, metadata and headers are public: `formats` writes with them.

mod config;
pub mod cuttings;
pub mod header;
pub mod imatrix;
pub mod names;
mod splits;
mod tensor;
pub mod token;
mod tokenizer;
pub mod value;

use super::Unreadable;
use super::error::CheckpointError;
use super::files::TensorFile;
use super::pooling::files_of;
use crate::ggml::GgmlType;
pub use crate::packed::Order;
use crate::score::PoolingMode;
use crate::tensor::TensorInfo;
pub use config::yarn_magnitude;
use config::{Factors, Keys, Shapes};
use header::HeaderTensor;
use names::{Architecture, Change};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
pub(super) use tensor::GgufTensor;
use value::Metadata;

/// Key under which a writer may leave the whole `tokenizer.json`.
pub const TOKENIZER_JSON: &str = "tokenizer.huggingface.json";

/// Most numbers in a table of rotary factors.
const MOST_FACTORS: u64 = 1 << 16;

/// An open GGUF model.
#[derive(Debug)]
pub(super) struct GgufModel {
    pub(super) files: Vec<TensorFile>,
    pub(super) tensors: Vec<GgufTensor>,
    pub(super) unreadable: Vec<Unreadable>,
    /// What the metadata say, as transformers' `config.json`.
    pub(super) config: Value,
    /// Files that transformers would have beside the weights, and that are made from the metadata.
    pub(super) made: Vec<(PathBuf, Vec<u8>)>,
}

/// Opens a file, or the first of a series of split files, from headers alone.
pub(super) fn open(path: &Path) -> Result<GgufModel, CheckpointError> {
    let splits::Opened { files, headers } = splits::open(path)?;
    let mut headers = headers.into_iter();
    let first = headers.next().unwrap_or_default();
    let metadata = first.metadata;
    let mut listed = vec![first.tensors];
    listed.extend(headers.map(|header| header.tensors));
    let mut model = GgufModel {
        files,
        tensors: Vec::new(),
        unreadable: Vec::new(),
        config: Value::Null,
        made: Vec::new(),
    };
    let wrong = |problem: String| CheckpointError::GgufModel {
        problem,
        path: path.to_owned(),
    };
    let word = metadata.text("general.architecture").unwrap_or_default();
    let Some(architecture) = Architecture::of_word(word) else {
        let names = listed.iter().enumerate();
        for (file, tensors) in names {
            for tensor in tensors {
                model.add(tensor, tensor.name.clone(), file, UNCHANGED);
            }
        }
        model.config = json!({ "model_type": word });
        return Ok(model);
    };
    let mut shapes = Shapes::default();
    let mut names = HashSet::new();
    for (file, tensors) in listed.iter().enumerate() {
        for tensor in tensors {
            shapes.see(tensor);
            if is_factors(&tensor.name) {
                continue;
            }
            let (name, order) = named(architecture, &metadata, tensor).map_err(wrong)?;
            if !names.insert(name.clone()) {
                return Err(wrong(format!("holds the tensor {name} twice")));
            }
            model.add(tensor, name, file, order);
        }
    }
    shapes.factors = model.factors(&listed).map_err(wrong)?;
    model.config = config::config(architecture, &metadata, &shapes).map_err(wrong)?;
    let pooling = config::pooling(architecture, &metadata).map_err(wrong)?;
    model.make_files(&metadata, pooling);
    Ok(model)
}

const UNCHANGED: Order = Order {
    change: Change::None,
    heads: 0,
};

fn is_factors(name: &str) -> bool {
    matches!(
        name,
        "rope_freqs.weight" | "rope_factors_long.weight" | "rope_factors_short.weight"
    )
}

/// Name in transformers, and what lies otherwise there. A tensor that transformers does not know keeps its name.
fn named(
    architecture: Architecture,
    metadata: &Metadata,
    tensor: &HeaderTensor,
) -> Result<(String, Order), String> {
    let Some((name, change)) = architecture.to_plain(&tensor.name) else {
        return Ok((tensor.name.clone(), UNCHANGED));
    };
    let keys = Keys {
        word: architecture.word(),
        metadata,
    };
    let all = keys.count_if_any("attention.head_count")?;
    let heads = match change {
        Change::KeyRows => keys.count_if_any("attention.head_count_kv")?.or(all),
        _ => all,
    };
    let order = Order {
        change,
        heads: usize::try_from(heads.unwrap_or(0)).unwrap_or(0),
    };
    let rows = tensor.shape.first().copied().unwrap_or(1);
    match order.fits(rows) {
        true => Ok((name, order)),
        false => Err(format!(
            "has {rows} rows in tensor {}, which {} heads do not divide",
            tensor.name, order.heads
        )),
    }
}

impl GgufModel {
    fn add(&mut self, tensor: &HeaderTensor, name: String, file: usize, order: Order) {
        let mut shape = tensor.shape.clone();
        if order.change == Change::Transposed && shape.len() == 2 {
            shape.swap(0, 1);
        }
        match tensor.kind {
            Ok(kind) => self.tensors.push(GgufTensor {
                name,
                stored_name: tensor.name.clone(),
                info: TensorInfo {
                    dtype: tensor::dtype_of(kind),
                    shape,
                    size_bytes: tensor.size_bytes,
                },
                kind,
                order,
                file,
                start: tensor.start,
            }),
            Err(number) => self.unreadable.push(Unreadable {
                name,
                dtype: format!("type {number} of ggml"),
                shape,
                size_bytes: tensor.size_bytes,
            }),
        }
    }

    /// The divisors of rotary frequencies, where the file has some.
    fn factors(&self, listed: &[Vec<HeaderTensor>]) -> Result<Option<Factors>, String> {
        let read = |name: &str| -> Result<Option<Vec<f32>>, String> {
            let places = listed.iter().enumerate();
            let found = places
                .flat_map(|(file, tensors)| tensors.iter().map(move |tensor| (file, tensor)))
                .find(|(_, tensor)| tensor.name == name);
            let Some((file, tensor)) = found else {
                return Ok(None);
            };
            if tensor.kind != Ok(GgmlType::F32) || tensor.size_bytes > 4 * MOST_FACTORS {
                return Err(format!(
                    "holds {name} as something else than a short table of F32"
                ));
            }
            let mut bytes = vec![0; tensor.size_bytes as usize];
            let mut values = vec![0.0; bytes.len() / 4];
            let read = self.files[file].read_at(tensor.start, &mut bytes);
            read.map_err(|error| format!("could not be read at {name} ({error})"))?;
            crate::ggml::decode(GgmlType::F32, &bytes, &mut values);
            Ok(Some(values))
        };
        if let Some(both) = read("rope_freqs.weight")? {
            return Ok(Some((both.clone(), both)));
        }
        let (short, long) = (
            read("rope_factors_short.weight")?,
            read("rope_factors_long.weight")?,
        );
        Ok(short.zip(long))
    }

    fn make_files(&mut self, metadata: &Metadata, pooling: Option<PoolingMode>) {
        let width = self.config["hidden_size"].as_u64().unwrap_or(0);
        let mut put = |name: &str, value: &Value| {
            let text = serde_json::to_vec_pretty(value).unwrap_or_default();
            self.made.push((PathBuf::from(name), text));
        };
        put("config.json", &self.config);
        if let Some(mode) = pooling {
            for (path, json) in files_of(mode, width as usize) {
                put(&path.to_string_lossy(), &json);
            }
        }
        // Tokens that cannot be read back leave a model that can still run on token ids.
        if let Some(tokenizer) = tokenizer::tokenizer_json(metadata) {
            put("tokenizer.json", &tokenizer);
            put(
                "tokenizer_config.json",
                &tokenizer::tokenizer_config(metadata),
            );
        }
    }
}

impl Shapes {
    fn see(&mut self, tensor: &HeaderTensor) {
        let rows = tensor.shape.first().copied().unwrap_or(0);
        match tensor.name.as_str() {
            "token_embd.weight" => self.vocabulary = rows,
            "position_embd.weight" => self.positions = Some(rows),
            // One type alone is stored as a vector.
            "token_types.weight" => {
                self.token_types = Some(if tensor.shape.len() < 2 { 1 } else { rows })
            }
            "output.weight" => self.head = true,
            "blk.0.attn_q.bias" => self.query_bias = true,
            "blk.0.attn_output.bias" => self.output_bias = true,
            "blk.0.ffn_down.bias" => self.mlp_bias = true,
            _ => {}
        }
    }
}
