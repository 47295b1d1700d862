//! Weights to begin with where there are none: normal, narrower where a residual is added (Radford et al. 2019, section
//! 2.3), norms neutral, biases zero.

use crate::model::{ModelConfig, PlannedTensor, Role};
use crate::rng::Rng;

/// Deviation of matrices.
const DEVIATION: f64 = 0.02;

/// Values of one of the tensors of `config`, row-major. `stream` is a number of the tensor's own: its place in the list.
pub fn fresh_values(
    config: &ModelConfig,
    tensor: &PlannedTensor,
    seed: u64,
    stream: u64,
) -> Vec<f32> {
    let mut rng = Rng::new(seed, stream);
    let narrow = DEVIATION / (2.0 * config.blocks as f64).sqrt();
    let deviation = match tensor.role {
        Role::Output | Role::Down => narrow,
        _ => DEVIATION,
    };
    let count = tensor.shape.iter().product();
    match tensor.role {
        Role::Norm => vec![config.neutral_norm(); count],
        Role::Bias => vec![0.0; count],
        _ => (0..count)
            .map(|_| (deviation * rng.normal()) as f32)
            .collect(),
    }
}
