//! Trains a decoder from random weights with the engine's own trainer. Knows no text, tokenizer or file.

use crate::memory::MemorySource;
use pare_engine::evaluate::{EvaluateError, evaluate_decoder};
use pare_engine::model::{CacheKind, Model, ModelConfig, ModelError};
use pare_engine::monitor::{Monitor, Unwatched};
use pare_engine::recipe::TrainSettings;
use pare_engine::report::{Notice, Observer};
use pare_engine::tensor::WeightSource as _;
use pare_engine::train::{Batches, Dense, Tokens, TrainError, Training, fresh_values};
use std::sync::Arc;

/// Memory that an evaluation may use.
const MEMORY_BYTES: u64 = 1 << 30;

/// Random weights of the network that `config_json` describes.
pub fn initial_weights(
    config_json: &serde_json::Value,
    seed: u64,
) -> Result<MemorySource, ModelError> {
    let config = ModelConfig::parse(config_json)?;
    let mut source = MemorySource::default();
    for (stream, tensor) in config.tensors().into_iter().enumerate() {
        let values = fresh_values(&config, &tensor, seed, stream as u64);
        source.insert(&tensor.name, &tensor.shape, values);
    }
    Ok(source)
}

/// Trains on windows of `settings.length` of `tokens`; `on_step` hears step and loss. Gives the trained weights.
pub fn train(
    config_json: &serde_json::Value,
    tokens: &[u32],
    settings: &TrainSettings,
    on_step: &(dyn Fn(u64, f64) + Sync),
) -> Result<MemorySource, TrainError> {
    let source = initial_weights(config_json, settings.seed)?;
    let model = Model::open(Arc::new(source.clone()), config_json)?;
    let learner = Dense::new(&model)?;
    let windows = tokens.chunks_exact(settings.length).map(<[u32]>::to_vec);
    let batches = Batches::new(
        windows.collect(),
        settings.batch,
        settings.held_out,
        settings.seed,
    )?;
    let training = Training {
        model: &model,
        learner: &learner,
        judge: &Tokens {
            teachers: None,
            temperature: 1.0,
            hard: 1.0,
            matching: None,
            top: 0,
            memo: None,
        },
        batches: &batches,
        settings,
        folder: None,
    };
    training.run(&Listener(on_step))?;
    let mut trained = source.clone();
    for name in source.names() {
        let shape = source.info(&name).map(|info| info.shape);
        if let (Some(values), Some(shape)) = (learner.values(&name)?, shape) {
            trained.insert(&name, &shape, values);
        }
    }
    Ok(trained)
}

/// Mean negative log-likelihood of `tokens`, cut into windows of `length`: every token but a window's first is scored.
pub fn mean_loss(model: &Model, tokens: &[u32], length: usize) -> Result<f64, EvaluateError> {
    let windows: Vec<&[u32]> = tokens.chunks_exact(length).collect();
    let kept = CacheKind::F32;
    let found = evaluate_decoder(model, kept, None, &windows, MEMORY_BYTES, &Unwatched)?;
    Ok(found.perplexity.ln())
}

struct Listener<'a>(&'a (dyn Fn(u64, f64) + Sync));

impl Monitor for Listener<'_> {
    fn step(&self, _done: u64, _total: u64) {}

    fn should_stop(&self) -> bool {
        false
    }
}

impl Observer for Listener<'_> {
    fn notice(&self, notice: Notice<'_>) {
        if let Notice::Training(point) = notice
            && let Some(loss) = point.loss
        {
            self.0(point.step, loss);
        }
    }
}
