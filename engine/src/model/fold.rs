//! Fold pairs: places where a channel can be scaled down in its producer and up in its consumers with no change of
//! the block's output.
//!
//! AWQ (Lin et al. 2023, arXiv 2306.00978) and SmoothQuant (Xiao et al. 2022, arXiv 2211.10438) choose the scales;
//! this file only knows where they may go.

use super::block::{Block, Placed};
use super::config::{Activation, Arrangement, ModelConfig};
use super::error::ModelError;
use super::layers::Role;
use super::linear::values_of;
use crate::tensor::Matrix;

/// Name, stored shape and values in stored order.
pub type ChangedTensor = (String, Vec<usize>, Vec<f32>);

/// One producer of channels and the layers that read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// Name of the norm or layer whose outputs are divided.
    pub producer: String,
    /// Layers (indices into the model's list) whose columns are multiplied.
    pub consumers: Vec<usize>,
    /// The stage whose input the channels are.
    pub stage: usize,
    /// Number of channels.
    pub width: usize,
    source: Source,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    AttentionNorm,
    MlpNorm,
    /// Rows of a linear layer, one for each channel.
    Rows {
        role: Role,
        rows: Vec<usize>,
    },
}

impl Fold {
    /// The pairs of one block: norm to q/k/v, v to o, norm to gate/up, up to down, as far as they are exact.
    pub(super) fn list(config: &ModelConfig, block: &Block) -> Vec<Self> {
        let of_stage = |stage: usize| match config.producer_of(stage)? {
            Producer::Norm => {
                let (norm, source) = match stage {
                    0 => (&block.attention_norm, Source::AttentionNorm),
                    _ => (&block.mlp_norm, Source::MlpNorm),
                };
                Some(Self::new(block, norm.name().to_owned(), stage, source))
            }
            Producer::Layer(roles) => {
                Self::rows(block, roles, rows_of(config, block, stage), stage)
            }
        };
        (0..block.stages().len()).filter_map(of_stage).collect()
    }

    fn rows(block: &Block, roles: &[Role], rows: Vec<usize>, stage: usize) -> Option<Self> {
        let placed = roles.iter().find_map(|&role| block.linear_of(role))?;
        let role = placed.role;
        let source = Source::Rows { role, rows };
        Some(Self::new(block, placed.name.clone(), stage, source))
    }

    fn new(block: &Block, producer: String, stage: usize, source: Source) -> Self {
        let stage_of_block = &block.stages()[stage];
        Self {
            producer,
            consumers: stage_of_block.layers.clone(),
            stage,
            width: stage_of_block.width,
            source,
        }
    }
}

/// What makes the input of a stage, where it can be scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Producer {
    /// A norm.
    Norm,
    /// The layer of the block that has one of these roles.
    Layer(&'static [Role]),
}

impl ModelConfig {
    /// What makes the input of stage `stage` of a block; `None` where that cannot be scaled without a change of the output.
    pub fn producer_of(&self, stage: usize) -> Option<Producer> {
        let is_scalable = match stage {
            // A norm that feeds the residual stream too cannot be scaled.
            0 | 2 => self.arrangement != Arrangement::After,
            // With grouped heads one value channel reaches several columns of the output projection.
            1 => self.heads == self.kv_heads,
            // Without a gate the activation stands between: exact only where it commutes with positive scales.
            _ => self.gated() || self.activation == Activation::Relu,
        };
        is_scalable.then_some(match stage {
            0 | 2 => Producer::Norm,
            1 => Producer::Layer(&[Role::Value, Role::QueryKeyValue]),
            _ => Producer::Layer(&[Role::Up, Role::GateUp]),
        })
    }
}

/// The rows of a stage's producer, one for each channel.
fn rows_of(config: &ModelConfig, block: &Block, stage: usize) -> Vec<usize> {
    if stage == 1 {
        let channels = 0..config.key_width();
        return channels
            .map(|channel| config.projection.value_row(config, channel))
            .collect();
    }
    let first = match block.linear_of(Role::GateUp) {
        Some(_) => config.intermediate,
        None => 0,
    };
    (first..first + config.intermediate).collect()
}

impl Block {
    /// The pairs of this block, in forward order.
    pub fn folds(&self) -> &[Fold] {
        &self.folds
    }

    /// Divides the outputs of fold `fold`'s producer by `scales` and multiplies its consumers' columns: the block's
    /// output stays the same.
    pub fn fold(&mut self, fold: usize, scales: &[f32]) -> Result<(), ModelError> {
        let chosen = self.folds.get(fold).cloned();
        let chosen = chosen.ok_or_else(|| ModelError::Misuse {
            problem: format!("a block with {} folds has no fold {fold}", self.folds.len()),
        })?;
        let usable = |scale: &f32| scale.is_normal() && *scale > 0.0;
        if scales.len() != chosen.width || !scales.iter().all(usable) {
            return Err(ModelError::Misuse {
                problem: format!(
                    "a fold needs {} scales, all finite and above 0",
                    chosen.width
                ),
            });
        }
        match &chosen.source {
            Source::AttentionNorm => self.attention_norm.divide(scales)?,
            Source::MlpNorm => self.mlp_norm.divide(scales)?,
            Source::Rows { role, rows } => {
                let producers = self.linears.iter_mut();
                for placed in producers.filter(|placed| placed.role == *role) {
                    divide_rows(placed, rows, scales)?;
                }
            }
        }
        // Of the names that do not exist (a bias that is not there) nothing is ever asked.
        self.changed.insert(format!("{}.weight", chosen.producer));
        self.changed.insert(format!("{}.bias", chosen.producer));
        for placed in &mut self.linears {
            if chosen.consumers.contains(&placed.layer) {
                multiply_columns(placed, scales)?;
                self.changed.insert(format!("{}.weight", placed.name));
            }
        }
        Ok(())
    }

    /// Every tensor that folds have changed, with its values as they are now.
    pub fn changed_tensors(&self) -> Result<Vec<ChangedTensor>, ModelError> {
        let mut tensors = Vec::new();
        for norm in [&self.attention_norm, &self.mlp_norm] {
            for (name, values) in norm.tensors()? {
                tensors.push((name, vec![values.len()], values));
            }
        }
        for placed in &self.linears {
            let weights = placed.linear.weights()?;
            let stored = if placed.transposed {
                weights.transposed()
            } else {
                weights
            };
            let shape = vec![stored.rows(), stored.columns()];
            tensors.push((format!("{}.weight", placed.name), shape, stored.into_data()));
            if let Some(bias) = placed.linear.bias() {
                let values = values_of(bias)?;
                tensors.push((format!("{}.bias", placed.name), vec![values.len()], values));
            }
        }
        tensors.retain(|(name, ..)| self.changed.contains(name));
        Ok(tensors)
    }
}

fn divide_rows(placed: &mut Placed, rows: &[usize], scales: &[f32]) -> Result<(), ModelError> {
    let mut weights = placed.linear.weights()?;
    for (&row, &scale) in rows.iter().zip(scales) {
        weights
            .row_mut(row)
            .iter_mut()
            .for_each(|value| *value /= scale);
    }
    placed.linear.set_weights(&weights)?;
    if let Some(bias) = placed.linear.bias() {
        let mut values = values_of(bias)?;
        for (&row, &scale) in rows.iter().zip(scales) {
            values[row] /= scale;
        }
        placed.linear.set_bias(values)?;
    }
    Ok(())
}

fn multiply_columns(placed: &mut Placed, scales: &[f32]) -> Result<(), ModelError> {
    let mut weights: Matrix = placed.linear.weights()?;
    for row in 0..weights.rows() {
        let scaled = weights.row_mut(row).iter_mut().zip(scales);
        scaled.for_each(|(value, &scale)| *value *= scale);
    }
    placed.linear.set_weights(&weights)
}
