//! Trains a decoder from random weights over the engine's own forward pass: AdamW, warm-up and cosine, clipped gradients.
//!
//! The same seed gives the same weights on the same machine: each half of a batch has its own thread and its own
//! graph, and gradients are added in that order. Knows no text, tokenizer or file.

use crate::memory::MemorySource;
use candle_core::backprop::GradStore;
use candle_core::{Device, Result, Tensor, Var};
use candle_nn::{AdamW, Optimizer as _, ParamsAdamW};
use pare_engine::model::{Block, Ends, Model, ModelConfig, ModelError, Provider, Role};
use pare_engine::rng::Rng;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How to train.
#[derive(Debug, Clone)]
pub struct TrainConfig {
    /// Seed of weights and of the order of text.
    pub seed: u64,
    /// Updates.
    pub steps: usize,
    /// Sequences of an update, an even number.
    pub batch: usize,
    /// Tokens of a sequence.
    pub length: usize,
    /// Highest learning rate.
    pub peak_rate: f64,
    /// Updates until the highest rate.
    pub warm_up: usize,
    /// Decay of matrices.
    pub weight_decay: f64,
    /// Longest gradient.
    pub clip: f64,
}

/// Random weights of the network that `config_json` describes: normal, 0.02 wide, narrower where a residual is added.
pub fn initial_weights(
    config_json: &serde_json::Value,
    seed: u64,
) -> std::result::Result<MemorySource, ModelError> {
    let config = ModelConfig::parse(config_json)?;
    let narrow = 0.02 / (2.0 * config.blocks as f64).sqrt();
    let mut source = MemorySource::default();
    for (stream, tensor) in config.tensors().into_iter().enumerate() {
        let mut rng = Rng::new(seed, stream as u64);
        let deviation = match tensor.role {
            Role::Output | Role::Down => narrow,
            _ => 0.02,
        };
        let count = tensor.shape.iter().product();
        let values = match tensor.role {
            Role::Norm => vec![1.0; count],
            Role::Bias => vec![0.0; count],
            _ => (0..count)
                .map(|_| (deviation * rng.normal()) as f32)
                .collect(),
        };
        source.insert(&tensor.name, &tensor.shape, values);
    }
    Ok(source)
}

/// Trains on `tokens`; `on_step` hears step and loss. Gives the trained weights.
pub fn train(
    config_json: &serde_json::Value,
    tokens: &[u32],
    config: &TrainConfig,
    on_step: &mut dyn FnMut(usize, f64),
) -> std::result::Result<MemorySource, ModelError> {
    let source = initial_weights(config_json, config.seed)?;
    let variables = Variables::new(&source)?;
    let model = Model::open(Arc::new(source), config_json)?;
    let network = Network::new(&model, &variables)?;
    let mut optimizers = variables.optimizers(config.weight_decay)?;
    let mut order = Rng::new(config.seed, u64::MAX);
    for step in 0..config.steps {
        let starts: Vec<usize> = (0..config.batch)
            .map(|_| order.below((tokens.len() - config.length) as u64) as usize)
            .collect();
        let (loss, gradients) = network.batch_gradients(tokens, &starts, config.length)?;
        let gradients = clipped(gradients, &variables, config.clip)?;
        for optimizer in &mut optimizers {
            optimizer.set_learning_rate(rate(step, config));
            optimizer.step(&gradients)?;
        }
        on_step(step, loss);
    }
    variables.weights()
}

/// Mean negative log-likelihood of `tokens`, cut into windows of `length`: every token but a window's first is scored.
pub fn mean_loss(
    model: &Model,
    tokens: &[u32],
    length: usize,
) -> std::result::Result<f64, ModelError> {
    struct Stored<'a>(&'a Model);
    impl Provider for Stored<'_> {
        fn tensor(&self, name: &str, shape: &[usize]) -> std::result::Result<Tensor, ModelError> {
            let values = self.0.source().read_f32(name)?;
            Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
        }
    }
    let network = Network::new(model, &Stored(model))?;
    let windows: Vec<usize> = (0..tokens.len() / length)
        .map(|window| window * length)
        .collect();
    let mut total = 0.0;
    for &start in &windows {
        let loss = network.loss(tokens, &[start], length)?;
        total += f64::from(loss.to_scalar::<f32>()?);
    }
    Ok(total / windows.len() as f64)
}

/// Linear warm-up, then half a cosine down to a tenth.
fn rate(step: usize, config: &TrainConfig) -> f64 {
    if step < config.warm_up {
        return config.peak_rate * (step + 1) as f64 / config.warm_up as f64;
    }
    let progress = (step - config.warm_up) as f64 / (config.steps - config.warm_up).max(1) as f64;
    config.peak_rate * (0.1 + 0.9 * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()))
}

/// What is trained, by name.
struct Variables(BTreeMap<String, Var>);

impl Variables {
    fn new(source: &MemorySource) -> Result<Self> {
        let variable = |(name, (shape, values)): (&String, &(Vec<usize>, Vec<f32>))| {
            let tensor = Tensor::from_slice(values, shape.as_slice(), &Device::Cpu)?;
            Ok((name.clone(), Var::from_tensor(&tensor)?))
        };
        source
            .tensors()
            .iter()
            .map(variable)
            .collect::<Result<_>>()
            .map(Self)
    }

    /// One optimizer for matrices, one without decay for the rest.
    fn optimizers(&self, weight_decay: f64) -> Result<[AdamW; 2]> {
        let with = |matrices: bool, weight_decay: f64| {
            let variables = self
                .0
                .values()
                .filter(|variable| (variable.rank() > 1) == matrices);
            let parameters = ParamsAdamW {
                beta2: 0.99,
                weight_decay,
                ..ParamsAdamW::default()
            };
            AdamW::new(variables.cloned().collect(), parameters)
        };
        Ok([with(true, weight_decay)?, with(false, 0.0)?])
    }

    fn weights(&self) -> std::result::Result<MemorySource, ModelError> {
        let mut source = MemorySource::default();
        for (name, variable) in &self.0 {
            let values = variable.flatten_all()?.to_vec1::<f32>()?;
            source.insert(name, variable.dims(), values);
        }
        Ok(source)
    }
}

impl Provider for Variables {
    fn tensor(&self, name: &str, _shape: &[usize]) -> std::result::Result<Tensor, ModelError> {
        let variable = self.0.get(name).ok_or_else(|| ModelError::MissingTensor {
            name: name.to_owned(),
        })?;
        Ok(variable.as_tensor().clone())
    }
}

/// A whole network in memory.
struct Network<'a> {
    model: &'a Model,
    ends: Ends,
    blocks: Vec<Block>,
}

impl<'a> Network<'a> {
    fn new(model: &'a Model, provider: &dyn Provider) -> std::result::Result<Self, ModelError> {
        let blocks = (0..model.config().blocks).map(|index| model.build_block(index, provider));
        Ok(Self {
            model,
            ends: model.build_ends(provider)?,
            blocks: blocks.collect::<std::result::Result<_, _>>()?,
        })
    }

    /// Mean loss of the sequences that begin at `starts`.
    fn loss(
        &self,
        tokens: &[u32],
        starts: &[usize],
        length: usize,
    ) -> std::result::Result<Tensor, ModelError> {
        let context = self.model.context(length - 1)?;
        let mut rows = Vec::new();
        let mut targets = Vec::new();
        for &start in starts {
            let sequence = &tokens[start..start + length];
            rows.push(self.ends.embed(&sequence[..length - 1], &context)?);
            targets.extend_from_slice(&sequence[1..]);
        }
        let mut hidden = Tensor::cat(&rows, 0)?;
        for block in &self.blocks {
            hidden = block.forward(&hidden, &context, None)?;
        }
        let logits = self.ends.head(&hidden)?.flatten_to(1)?;
        let targets = Tensor::from_vec(targets, starts.len() * (length - 1), &Device::Cpu)?;
        Ok(candle_nn::loss::cross_entropy(&logits, &targets)?)
    }

    /// Loss and gradients of a batch, its halves side by side: one entry per half, in order.
    fn batch_gradients(
        &self,
        tokens: &[u32],
        starts: &[usize],
        length: usize,
    ) -> std::result::Result<(f64, [GradStore; 2]), ModelError> {
        let half = |starts: &[usize]| -> std::result::Result<(f64, GradStore), ModelError> {
            let loss = self.loss(tokens, starts, length)?;
            Ok((f64::from(loss.to_scalar::<f32>()?), loss.backward()?))
        };
        let (left, right) = starts.split_at(starts.len() / 2);
        let (left, right) = std::thread::scope(|scope| {
            let right = scope.spawn(|| half(right));
            let left = half(left);
            (left, right.join().expect("the other half does not panic"))
        });
        let ((left_loss, left), (right_loss, right)) = (left?, right?);
        Ok(((left_loss + right_loss) / 2.0, [left, right]))
    }
}

/// The mean of two halves' gradients, shortened to `clip` where it is longer.
fn clipped(halves: [GradStore; 2], variables: &Variables, clip: f64) -> Result<GradStore> {
    let [mut sum, other] = halves;
    let mut squares = 0.0;
    for variable in variables.0.values() {
        let (Some(left), Some(right)) = (sum.get(variable), other.get(variable)) else {
            continue;
        };
        let mean = ((left + right)? * 0.5)?;
        squares += f64::from(mean.sqr()?.sum_all()?.to_scalar::<f32>()?);
        sum.insert(variable, mean);
    }
    let factor = (clip / squares.sqrt().max(1e-12)).min(1.0);
    for variable in variables.0.values() {
        if let Some(gradient) = sum.get(variable) {
            let shortened = (gradient * factor)?;
            sum.insert(variable, shortened);
        }
    }
    Ok(sum)
}
