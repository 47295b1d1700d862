//! Normalization of a vector: root mean square, with weight or 1 + weight, or mean and variance.
//!
//! Knows no place in the network.

use super::config::{ModelConfig, NormKind};
use super::error::ModelError;
use super::linear::values_of;
use super::ops;
use super::provider::Provider;
use candle_core::{Device, Tensor};

/// One norm.
#[derive(Debug, Clone)]
pub(super) struct Norm {
    name: String,
    kind: NormKind,
    epsilon: f64,
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Norm {
    /// `name` without `.weight`.
    pub(super) fn load(
        name: String,
        width: usize,
        config: &ModelConfig,
        provider: &dyn Provider,
    ) -> Result<Self, ModelError> {
        let weight = provider.tensor(&format!("{name}.weight"), &[width])?;
        let bias = match config.norm {
            NormKind::Layer => Some(provider.tensor(&format!("{name}.bias"), &[width])?),
            _ => None,
        };
        Ok(Self {
            name,
            kind: config.norm,
            epsilon: config.norm_epsilon,
            weight,
            bias,
        })
    }

    /// Normalizes the last dimension.
    pub(super) fn forward(&self, input: &Tensor) -> Result<Tensor, ModelError> {
        Ok(match (&self.bias, self.kind) {
            (Some(bias), _) => ops::layer_norm(input, &self.weight, bias, self.epsilon)?,
            (None, NormKind::RmsOnePlus) => {
                ops::rms_norm(input, &(&self.weight + 1.0)?, self.epsilon)?
            }
            (None, _) => ops::rms_norm(input, &self.weight, self.epsilon)?,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Divides the outputs by `scales`, exactly what the weight form allows.
    pub(super) fn divide(&mut self, scales: &[f32]) -> Result<(), ModelError> {
        let one = match self.kind {
            NormKind::RmsOnePlus => 1.0,
            _ => 0.0,
        };
        let divided = |tensor: &Tensor, shift: f64| -> Result<Tensor, ModelError> {
            let values = values_of(tensor)?;
            let divided: Vec<f32> = values
                .iter()
                .zip(scales)
                .map(|(&value, &scale)| {
                    ((f64::from(value) + shift) / f64::from(scale) - shift) as f32
                })
                .collect();
            let width = divided.len();
            Ok(Tensor::from_vec(divided, width, &Device::Cpu)?)
        };
        self.weight = divided(&self.weight, one)?;
        self.bias = match &self.bias {
            Some(bias) => Some(divided(bias, 0.0)?),
            None => None,
        };
        Ok(())
    }

    /// Names and values of its tensors.
    pub(super) fn tensors(&self) -> Result<Vec<(String, Vec<f32>)>, ModelError> {
        let mut tensors = vec![(format!("{}.weight", self.name), values_of(&self.weight)?)];
        if let Some(bias) = &self.bias {
            tensors.push((format!("{}.bias", self.name), values_of(bias)?));
        }
        Ok(tensors)
    }
}
