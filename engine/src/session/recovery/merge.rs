//! An adapter worked into the weights beside which it was trained.
//!
//! Dense weights take the product as it is. Codes are chosen anew for the sum, on grids of the same kind: what that loses
//! is measured again by whoever asks.

use super::super::SessionError;
use crate::monitor::Monitor;
use crate::solve::{Nf4Config, RtnConfig, SolveError, nf4, rtn};
use crate::solved::{Grid, Solved};
use crate::tensor::{Matrix, SourceError, TensorInfo, WeightSource};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Range widths tried for each group.
const CLIP_SEARCH: u32 = 20;

/// A source with products added to some of its weights.
pub(in crate::session) struct Merged {
    pub(in crate::session) source: Arc<dyn WeightSource>,
    /// By tensor, in stored order.
    pub(in crate::session) added: BTreeMap<String, Vec<f32>>,
}

impl WeightSource for Merged {
    fn names(&self) -> Vec<String> {
        self.source.names()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.source.info(name)
    }

    fn read_f32(&self, name: &str) -> Result<Vec<f32>, SourceError> {
        let mut values = self.source.read_f32(name)?;
        if let Some(added) = self.added.get(name) {
            values
                .iter_mut()
                .zip(added)
                .for_each(|(value, added)| *value += added);
        }
        Ok(values)
    }

    fn read_bytes(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        self.source.read_bytes(name, offset, buffer)
    }
}

/// Codes for `weights` `[out, in]` on grids like those of `solved`.
pub(in crate::session) fn requantized(
    layer: &str,
    solved: &Solved,
    weights: &Matrix,
    monitor: &dyn Monitor,
) -> Result<Solved, SessionError> {
    let problem = |problem: String| SessionError::Input {
        problem: format!("the adapter cannot be worked into layer {layer}: {problem}"),
        path: Path::new(layer).to_owned(),
    };
    if solved.mask.is_some() || solved.factors.is_some() {
        return Err(problem(
            "it is pruned or factored; keep the adapter beside the model (merge = false)"
                .to_owned(),
        ));
    }
    let failed = |error: SolveError| match error {
        SolveError::Stopped => SessionError::Stopped(crate::monitor::Stopped),
        other => problem(other.to_string()),
    };
    let mut found = match &solved.grid {
        Grid::Affine(grid) => {
            let config = RtnConfig {
                grid: grid.config,
                clip_search: CLIP_SEARCH,
            };
            let mut found = rtn(weights, None, &config, monitor).map_err(failed)?;
            if let Grid::Affine(new) = &mut found.grid {
                // Whole numbers are real numbers too.
                new.fractional_zeros = grid.fractional_zeros;
            }
            found
        }
        Grid::Codebook(codebook) => {
            let config = Nf4Config {
                block: codebook.block,
                double_quant: matches!(
                    codebook.scales,
                    crate::codebook::BlockScales::Double { .. }
                ),
            };
            nf4(weights, &config, monitor).map_err(failed)?
        }
        Grid::Palette(_) | Grid::Floats(_) | Grid::Nothing => {
            return Err(problem(
                "its weights are neither on a grid nor NF4; keep the adapter beside the model (merge = false)".to_owned(),
            ));
        }
    };
    found.method = solved.method;
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::grid::{GridConfig, ScaleDtype};
    use crate::monitor::Unwatched;
    use crate::rng::Rng;

    #[test]
    fn nothing_added_keeps_the_form_and_almost_the_weights() {
        let mut rng = Rng::new(3, 0);
        let weights = Matrix::from_fn(8, 64, |_, _| rng.normal() as f32);
        let config = RtnConfig {
            grid: GridConfig {
                bits: 4,
                group: 16,
                symmetric: false,
                scale_dtype: ScaleDtype::F16,
            },
            clip_search: CLIP_SEARCH,
        };
        let double = Nf4Config {
            block: 16,
            double_quant: true,
        };
        for solved in [
            rtn(&weights, None, &config, &Unwatched).unwrap(),
            nf4(&weights, &double, &Unwatched).unwrap(),
        ] {
            let before = solved.dequantize();
            let after = requantized("layer", &solved, &before, &Unwatched).unwrap();
            let same_form =
                std::mem::discriminant(&after.grid) == std::mem::discriminant(&solved.grid);
            assert!(same_form && after.method == solved.method);
            let pairs = before.data().iter().zip(after.dequantize().into_data());
            let error: f32 = pairs.map(|(one, other)| (one - other).powi(2)).sum();
            let energy: f32 = before.data().iter().map(|value| value * value).sum();
            assert!(error / energy < 0.005, "{}", error / energy);
        }
    }
}
