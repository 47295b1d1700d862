//! `logits` and `generate`: the network itself, run as it is.

use super::requests::{GenerateReport, GenerateRequest, LogitsReport};
use super::{Session, SessionError};
use crate::formats::StoreError;
use crate::formats::store::OWN_FOLDER;
use crate::formats::store::stream::{TensorSpec, write_tensors};
use crate::generate::{GenerateConfig, Sampling, end_tokens, generate};
use crate::grid::ScaleDtype;
use crate::model::Model;
use crate::packed::floats;
use crate::recipe::Recipe;
use crate::report::{Notice, Observer};
use crate::settings::KvCache;
use crate::tensor::Dtype;
use safetensors::SafeTensors;
use std::fs;
use std::path::Path;
use std::time::Instant;

/// Files of generation settings are a few hundred bytes; anything far larger is none.
const MAX_SETTINGS_BYTES: u64 = 1 << 20;

impl Session {
    /// Runs the network on `input_ids` of a safetensors file and writes `logits` (`last_hidden_state` of an encoder).
    pub fn logits(
        &self,
        ids: &Path,
        out: &Path,
        observer: &dyn Observer,
    ) -> Result<LogitsReport, SessionError> {
        let started = Instant::now();
        let model = &self.model_on_kernels()?;
        let batch = read_ids(ids, model)?;
        let width = if model.is_encoder() {
            model.config().hidden
        } else {
            model.config().vocabulary
        };
        let name = if model.is_encoder() {
            "last_hidden_state"
        } else {
            "logits"
        };
        let tokens = batch.first().map_or(0, Vec::len);
        let shape = vec![batch.len(), tokens, width];
        let spec = TensorSpec {
            name: name.to_owned(),
            dtype: Dtype::F32,
            shape: shape.clone(),
        };
        observer.notice(Notice::Stage {
            name: "running",
            steps: batch.len() as u64,
        });
        let outputs = self
            .pool
            .install(|| self.run_batch(model, &batch, observer))?;
        write_tensors(out, &[spec], &[], |_, writer| {
            outputs.iter().try_for_each(|row| {
                let bytes = floats::to_bytes(row, ScaleDtype::F32);
                writer
                    .write_all(&bytes)
                    .map_err(StoreError::io("could not be written", out))
            })
        })?;
        Ok(LogitsReport {
            out: out.display().to_string(),
            shape,
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    fn run_batch(
        &self,
        model: &Model,
        batch: &[Vec<u32>],
        observer: &dyn Observer,
    ) -> Result<Vec<Vec<f32>>, SessionError> {
        let run = |(index, ids): (usize, &Vec<u32>)| {
            observer.check()?;
            let output = model.forward(ids)?;
            observer.step(index as u64 + 1, batch.len() as u64);
            let values = output.flatten_all().and_then(|flat| flat.to_vec1::<f32>());
            Ok(values.map_err(crate::model::ModelError::from)?)
        };
        batch.iter().enumerate().map(run).collect()
    }

    /// Goes on from a prompt; `on_text` gets each piece of text as it becomes complete.
    pub fn generate(
        &self,
        request: &GenerateRequest,
        observer: &dyn Observer,
        on_text: &mut (dyn FnMut(&str) + Send),
    ) -> Result<GenerateReport, SessionError> {
        let model = &self.model_on_kernels()?;
        let tokenizer = self.tokenizer()?.ok_or_else(|| {
            self.input_problem("text is made with the model's tokenizer.json, and it has none")
        })?;
        let config = self
            .checkpoint
            .config_json()
            .unwrap_or(&serde_json::Value::Null);
        let generation = read_settings(&self.checkpoint.root().join("generation_config.json"));
        let kv = request.kv.unwrap_or_else(|| self.kept_by_run(observer));
        if request.temperature == 0.0 && (request.top_k.is_some() || request.top_p < 1.0) {
            observer.notice(Notice::Warning(
                "top-k and top-p change nothing at temperature 0, which takes the likeliest token each time; give a temperature above 0 to draw",
            ));
        }
        let settings = GenerateConfig {
            tokens: request.tokens,
            sampling: Sampling {
                temperature: request.temperature,
                top_k: request.top_k,
                top_p: request.top_p,
            },
            seed: request.seed,
            kv,
            end_tokens: end_tokens(config, generation.as_ref()),
            memory_bytes: self.memory_bytes(),
        };
        let made = self.pool.install(|| {
            generate(
                model,
                &tokenizer,
                &request.prompt,
                &settings,
                observer,
                &mut |text| on_text(text),
            )
        })?;
        Ok(GenerateReport {
            text: made.text,
            prompt_tokens: made.prompt_tokens,
            new_tokens: made.ids.len(),
            prefill_tokens_per_second: made.prefill.tokens_per_second(),
            decode_tokens_per_second: made.decode.tokens_per_second(),
            kv,
            kv_bytes: made.kv_bytes,
        })
    }
}

impl Session {
    /// How the recipe of the run that the open model is lets keys and values be kept; f32 where it is no run, and, told,
    /// where its recipe cannot be read.
    pub(super) fn kept_by_run(&self, observer: &dyn Observer) -> KvCache {
        self.recipe_of_run().map_or_else(
            |problem| {
                observer.notice(Notice::Warning(&format!(
                    "{problem}; keys and values are kept in f32"
                )));
                KvCache::F32
            },
            |recipe| recipe.kv_cache,
        )
    }

    /// What the open model was made by; the documented defaults where it is no run. The error is a sentence.
    pub(super) fn recipe_of_run(&self) -> Result<Recipe, String> {
        let path = self.checkpoint.root().join(OWN_FOLDER).join("recipe.toml");
        let problem = |reason: &dyn std::fmt::Display| {
            format!(
                "the recipe of the run could not be read: {reason}; {}",
                path.display()
            )
        };
        let size_bytes = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if is_absent(&error) => return Ok(Recipe::default()),
            Err(error) => return Err(problem(&error)),
        };
        if size_bytes > MAX_SETTINGS_BYTES {
            return Err(problem(&"it is far too long"));
        }
        let text = fs::read_to_string(&path).map_err(|error| problem(&error))?;
        Recipe::parse(&text).map_err(|error| problem(&error))
    }
}

/// Whether a path leads nowhere; a model that is one file has nothing below it.
fn is_absent(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

fn read_settings(path: &Path) -> Option<serde_json::Value> {
    let small = fs::metadata(path).is_ok_and(|metadata| metadata.len() <= MAX_SETTINGS_BYTES);
    small
        .then(|| serde_json::from_slice(&fs::read(path).ok()?).ok())
        .flatten()
}

fn read_ids(path: &Path, model: &Model) -> Result<Vec<Vec<u32>>, SessionError> {
    let problem = |problem: String| SessionError::Input {
        problem,
        path: path.to_owned(),
    };
    let bytes =
        fs::read(path).map_err(|error| problem(format!("token ids could not be read: {error}")))?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|error| problem(format!("token ids must be a safetensors file: {error}")))?;
    let view = file.tensor("input_ids").map_err(|_| {
        problem("the file holds no tensor input_ids; write one as i64 [batch, tokens]".to_owned())
    })?;
    let &[batch, tokens] = view.shape() else {
        return Err(problem(format!(
            "input_ids is {:?} instead of [batch, tokens]",
            view.shape()
        )));
    };
    if view.dtype() != safetensors::Dtype::I64 {
        return Err(problem(format!(
            "input_ids is {:?} instead of i64",
            view.dtype()
        )));
    }
    let config = model.config();
    if batch == 0 || tokens == 0 || tokens > config.context_length {
        let context = config.context_length;
        return Err(problem(format!(
            "input_ids is {batch} x {tokens}; the model takes 1 to {context} tokens"
        )));
    }
    let ids = view.data().chunks_exact(8).map(|eight| {
        let id = i64::from_le_bytes(eight.try_into().expect("chunks of eight"));
        u32::try_from(id)
            .ok()
            .filter(|&id| (id as usize) < config.vocabulary)
            .ok_or(id)
    });
    let ids = ids.collect::<Result<Vec<u32>, i64>>().map_err(|id| {
        problem(format!(
            "token id {id} does not fit a vocabulary of {}",
            config.vocabulary
        ))
    })?;
    Ok(ids.chunks_exact(tokens).map(<[u32]>::to_vec).collect())
}
