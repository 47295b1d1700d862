//! Adapters: thin matrices beside frozen weights, dense or packed, that learn while the weights stay.
//!
//! LoRA: Hu et al. 2021, arXiv 2106.09685 (`up` starts at zero, `down` as a linear layer does); over frozen codes QLoRA:
//! Dettmers et al. 2023, arXiv 2305.14314; `alpha / sqrt(rank)`: Kalajdzievski 2023, arXiv 2312.03732. Packed weights stay
//! packed: their values are made one layer at a time, on the way back. Knows no file and no loss.

use super::error::TrainError;
use super::frozen::Frozen;
use super::learner::{Learner, Variable};
use super::values::{values_of, variable};
use crate::formats::peft::{PeftLayer, scaling};
use crate::model::{
    Adapter, Around, Dropout, LayerInfo, LayerKind, Model, ModelError, Multiplied, Provider,
};
use crate::packed::{ActivationPlan, PackedMatrix, PackedSource};
use crate::rng::Rng;
use crate::solved::Solved;
use crate::tensor::Matrix;
use candle_core::{Tensor, Var};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How much faster adapters learn than whole weights would.
const RATE: f64 = 10.0;

/// What adapters are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdapterConfig {
    /// Columns of the one matrix, rows of the other.
    pub rank: usize,
    /// The product counts `alpha / rank`.
    pub alpha: f64,
    /// Share of inputs that a step does not show to adapters.
    pub dropout: f64,
    /// The product counts `alpha / sqrt(rank)` instead.
    pub by_root: bool,
    /// Draws the start and what is left out.
    pub seed: u64,
}

impl AdapterConfig {
    /// What the product of both matrices is multiplied by.
    pub fn scaling(&self) -> f64 {
        scaling(self.alpha, self.rank, self.by_root)
    }
}

struct Layer {
    name: String,
    /// Draws this layer's dropout.
    place: u64,
    down: Var,
    up: Var,
}

/// Adapters on some layers of a network.
pub struct AdapterLearner {
    config: AdapterConfig,
    frozen: Frozen,
    /// Codes of the base; none where it is dense.
    codes: Option<Arc<dyn PackedSource>>,
    /// Those that were asked for, ready to multiply.
    matrices: Mutex<BTreeMap<String, Multiplied>>,
    layers: BTreeMap<String, Layer>,
    variables: Vec<Variable>,
    step: AtomicU64,
    rests: AtomicBool,
}

impl AdapterLearner {
    /// Adapters on the linear layers of blocks for which `targets` holds. `codes`: what the base holds packed.
    pub fn new(
        model: &Model,
        codes: Option<Arc<dyn PackedSource>>,
        targets: &dyn Fn(&LayerInfo) -> bool,
        config: AdapterConfig,
    ) -> Result<Self, TrainError> {
        if config.rank == 0 || !(0.0..1.0).contains(&config.dropout) {
            return Err(TrainError::misuse(
                "an adapter needs a rank of at least 1 and a dropout of at least 0 and below 1",
            ));
        }
        let mut learner = Self {
            config,
            frozen: Frozen::new(model.source().clone()),
            codes,
            matrices: Mutex::default(),
            layers: BTreeMap::new(),
            variables: Vec::new(),
            step: AtomicU64::new(0),
            rests: AtomicBool::new(false),
        };
        let linear = |info: &&LayerInfo| info.kind == LayerKind::Linear && info.block.is_some();
        for (place, info) in model.layers().iter().filter(linear).enumerate() {
            if targets(info) {
                learner.add(place as u64, info)?;
            }
        }
        match learner.layers.is_empty() {
            false => Ok(learner),
            true => Err(TrainError::misuse(
                "no linear layer inside the blocks is called as the adapter's targets say; see the names with pare inspect",
            )),
        }
    }

    fn add(&mut self, place: u64, info: &LayerInfo) -> Result<(), TrainError> {
        let rank = self.config.rank;
        let mut rng = Rng::new(self.config.seed, place);
        let bound = 1.0 / (info.columns as f64).sqrt();
        let mut draw = || ((2.0 * rng.uniform() - 1.0) * bound) as f32;
        let down = (0..rank * info.columns).map(|_| draw()).collect();
        let layer = Layer {
            name: info.name.clone(),
            place,
            down: variable(down, (rank, info.columns))?,
            up: variable(vec![0.0; info.rows * rank], (info.rows, rank))?,
        };
        for (suffix, var) in [("lora_A", &layer.down), ("lora_B", &layer.up)] {
            self.variables.push(Variable {
                name: format!("{}.{suffix}", info.name),
                var: var.clone(),
                decay: false,
                rate: RATE,
            });
        }
        self.layers.insert(info.tensor.clone(), layer);
        Ok(())
    }

    /// What the adapters are.
    pub fn config(&self) -> AdapterConfig {
        self.config
    }

    /// The matrices as they stand, in the order of names.
    pub fn layers(&self) -> Result<Vec<PeftLayer>, TrainError> {
        let matrix = |var: &Var| -> Result<Matrix, TrainError> {
            let (rows, columns) = var.dims2()?;
            Ok(Matrix::new(rows, columns, values_of(var)?))
        };
        let layers = self.layers.values().map(|layer| {
            Ok(PeftLayer {
                name: layer.name.clone(),
                down: matrix(&layer.down)?,
                up: matrix(&layer.up)?,
            })
        });
        layers.collect()
    }

    /// The dropout of one layer in this step.
    fn dropout(&self, layer: &Layer) -> Option<Dropout> {
        let is_off = self.config.dropout == 0.0 || self.rests.load(Ordering::Relaxed);
        (!is_off).then(|| {
            let step = self.step.load(Ordering::Relaxed);
            Dropout {
                share: self.config.dropout,
                seed: Rng::new(self.config.seed ^ step, layer.place).next_u64(),
            }
        })
    }
}

impl std::fmt::Debug for AdapterLearner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("AdapterLearner")
            .field("config", &self.config)
            .field("layers", &self.layers.len())
            .finish_non_exhaustive()
    }
}

impl Provider for AdapterLearner {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
        self.frozen.tensor(name, shape)
    }

    fn packed(&self, name: &str) -> Result<Option<(Solved, ActivationPlan)>, ModelError> {
        match &self.codes {
            Some(codes) => Ok(codes.solved(name)?),
            None => Ok(None),
        }
    }

    fn matrix(&self, name: &str) -> Result<Option<Multiplied>, ModelError> {
        let held = self.matrices.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = held.get(name) {
            return Ok(Some(held.clone()));
        }
        drop(held);
        let Some((solved, plan)) = self.packed(name)? else {
            return Ok(None);
        };
        let ready = (Arc::new(PackedMatrix::new(&solved)), plan);
        let mut held = self.matrices.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Some(held.entry(name.to_owned()).or_insert(ready).clone()))
    }

    fn around(&self, name: &str) -> Result<Option<Around>, ModelError> {
        // At rest nobody asks for gradients, and none are kept.
        let rests = self.rests.load(Ordering::Relaxed);
        let tensor = |var: &Var| match rests {
            true => var.as_detached_tensor(),
            false => var.as_tensor().clone(),
        };
        Ok(self.layers.get(name).map(|layer| {
            Around::Adapter(Adapter {
                down: tensor(&layer.down),
                up: tensor(&layer.up),
                scaling: self.config.scaling(),
                dropout: self.dropout(layer),
            })
        }))
    }
}

impl Learner for AdapterLearner {
    fn variables(&self) -> &[Variable] {
        &self.variables
    }

    fn provider(&self) -> &(dyn Provider + Sync) {
        self
    }

    fn settle(&self, step: u64) -> Result<(), TrainError> {
        self.step.store(step, Ordering::Relaxed);
        Ok(())
    }

    fn resume(&self, step: u64) -> Result<(), TrainError> {
        self.settle(step)
    }

    fn rest(&self, rests: bool) {
        self.rests.store(rests, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::testing::{Pair, tiny_llama};
    use crate::train::values::constant;

    const CONFIG: AdapterConfig = AdapterConfig {
        rank: 2,
        alpha: 4.0,
        dropout: 0.0,
        by_root: false,
        seed: 3,
    };

    fn logits(model: &Model, provider: &dyn Provider, ids: &[u32]) -> Vec<f32> {
        let context = model.context(ids.len()).unwrap();
        let ends = model.build_ends(provider).unwrap();
        let mut hidden = ends.embed(ids, &context).unwrap();
        for index in 0..model.config().blocks {
            let block = model.build_block(index, provider).unwrap();
            hidden = block.forward(&hidden, &context, None).unwrap();
        }
        values_of(&ends.head(&hidden).unwrap()).unwrap()
    }

    fn close(left: &[f32], right: &[f32]) -> bool {
        let largest = left
            .iter()
            .fold(0.0f32, |most, value| most.max(value.abs()));
        let pairs = left.iter().zip(right);
        pairs
            .map(|(left, right)| (left - right).abs())
            .all(|error| error <= 1e-4 * largest)
    }

    #[test]
    fn adapters_start_at_nothing_on_codes_and_on_dense_weights_and_add_their_product() {
        let pair = Pair::new(&tiny_llama(), ActivationPlan::NONE);
        let ids = pair.ids(8);
        let targets = |info: &LayerInfo| info.name.ends_with("proj");
        for codes in [
            None,
            Some(Arc::new(pair.codes.clone()) as Arc<dyn PackedSource>),
        ] {
            let learner = AdapterLearner::new(&pair.model, codes, &targets, CONFIG).unwrap();
            assert_eq!(learner.layers().unwrap().len(), 14);
            let plain = values_of(&pair.model.forward(&ids).unwrap()).unwrap();
            assert!(close(&plain, &logits(&pair.model, &learner, &ids)));
            for (place, variable) in learner.variables().iter().enumerate() {
                let mut rng = Rng::new(8, place as u64);
                let values = (0..variable.var.elem_count()).map(|_| 0.1 * rng.normal() as f32);
                let values = constant(values.collect(), variable.var.shape()).unwrap();
                variable.var.set(&values).unwrap();
            }
            let adapted = logits(&pair.model, &learner, &ids);
            assert!(!close(&plain, &adapted));
            let merged: Vec<(usize, Arc<Matrix>)> = learner
                .layers()
                .unwrap()
                .iter()
                .map(|layer| {
                    let place = pair
                        .model
                        .layers()
                        .iter()
                        .position(|info| info.name == layer.name);
                    let place = place.unwrap();
                    let mut weights = pair.model.layers()[place]
                        .read(pair.model.source().as_ref())
                        .unwrap();
                    let added = layer.product(CONFIG.scaling());
                    weights
                        .data_mut()
                        .iter_mut()
                        .zip(added.data())
                        .for_each(|(w, a)| *w += a);
                    (place, Arc::new(weights))
                })
                .collect();
            let merged = crate::model::testing::with_weights(&pair.model, &tiny_llama(), &merged);
            let merged = values_of(&merged.forward(&ids).unwrap()).unwrap();
            assert!(
                close(&merged, &adapted),
                "merged weights give the adapted outputs"
            );
        }
    }

    #[test]
    fn dropout_repeats_within_a_step_changes_with_it_and_rests() {
        let pair = Pair::new(&tiny_llama(), ActivationPlan::NONE);
        let config = AdapterConfig {
            dropout: 0.5,
            ..CONFIG
        };
        let learner = AdapterLearner::new(&pair.model, None, &|_| true, config).unwrap();
        let name = learner.layers.keys().next().unwrap().clone();
        let dropout = || match learner.around(&name).unwrap() {
            Some(Around::Adapter(adapter)) => adapter.dropout,
            _ => unreachable!("there is an adapter"),
        };
        let first = dropout();
        assert!(first.is_some() && first == dropout());
        learner.settle(1).unwrap();
        assert_ne!(first, dropout());
        learner.rest(true);
        assert_eq!(dropout(), None);
    }

    #[test]
    fn targets_that_hit_nothing_are_an_error_in_words() {
        let pair = Pair::new(&tiny_llama(), ActivationPlan::NONE);
        let error = AdapterLearner::new(&pair.model, None, &|_| false, CONFIG).unwrap_err();
        assert!(error.to_string().contains("targets"), "{error}");
    }
}
