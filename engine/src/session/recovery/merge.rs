//! An adapter worked into the weights beside which it was trained.
//!
//! Dense weights take the product as it is. Codes are chosen anew for the sum, each the nearest on grids of the same kind,
//! whatever had chosen them before: what that loses is measured again by whoever asks. The product of one layer is in
//! memory at a time.

use super::super::SessionError;
use crate::formats::peft::PeftLayer;
use crate::model::Model;
use crate::monitor::Monitor;
use crate::packed::{CodeKind, Stored};
use crate::solve::{Nf4Config, RtnConfig, SolveError, nf4, rtn};
use crate::solved::{Grid, Solved};
use crate::tensor::{Matrix, SourceError, TensorInfo, WeightSource};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Range widths tried for each group.
const CLIP_SEARCH: u32 = 20;

/// A source with the products of an adapter added to some of its weights: each is made when its tensor is read.
pub(in crate::session) struct Merged {
    source: Arc<dyn WeightSource>,
    scaling: f64,
    /// By tensor: thin matrices, and whether the weight lies `[in, out]`.
    added: BTreeMap<String, (PeftLayer, bool)>,
}

impl Merged {
    /// `model`'s weights with the products of `layers`, which are called as its own.
    pub(in crate::session) fn new(model: &Model, layers: Vec<PeftLayer>, scaling: f64) -> Self {
        let own = |layer: PeftLayer| {
            let info = model.layers().iter().find(|info| info.name == layer.name)?;
            Some((info.tensor.clone(), (layer, info.transposed)))
        };
        Self {
            source: model.source().clone(),
            scaling,
            added: layers.into_iter().filter_map(own).collect(),
        }
    }

    /// Whether something is added to `tensor`.
    pub(in crate::session) fn changes(&self, tensor: &str) -> bool {
        self.added.contains_key(tensor)
    }
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
        if let Some((layer, transposed)) = self.added.get(name) {
            let product = layer.product(self.scaling);
            let product = match transposed {
                true => product.transposed(),
                false => product,
            };
            let pairs = values.iter_mut().zip(product.data());
            pairs.for_each(|(value, added)| *value += added);
        }
        Ok(values)
    }

    fn read_bytes(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        self.source.read_bytes(name, offset, buffer)
    }
}

/// Why nothing can be worked into a layer that is stored so; `None` where it can.
pub(in crate::session) fn unmergeable(stored: &Stored) -> Option<&'static str> {
    if stored.sparsity.is_some() {
        return Some("it is pruned, and its zeros would be lost");
    }
    if stored.factors.is_some() {
        return Some("it has factors beside its codes");
    }
    match stored.code {
        CodeKind::Affine { .. } | CodeKind::Nf4 { .. } => None,
        _ => Some("its weights are neither on a grid nor NF4"),
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
    if let Some(reason) = unmergeable(&Stored::of_solved(solved)) {
        return Err(problem(reason.to_owned()));
    }
    let failed = |error: SolveError| match error {
        SolveError::Stopped => SessionError::Stopped(crate::monitor::Stopped),
        other => problem(other.to_string()),
    };
    Ok(match &solved.grid {
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
            return Err(problem("there are no codes".to_owned()));
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::grid::{GridConfig, ScaleDtype};
    use crate::model::LayerKind;
    use crate::model::testing::{random_model, tiny_gpt2, tiny_llama};
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
            assert!(same_form);
            let pairs = before.data().iter().zip(after.dequantize().into_data());
            let error: f32 = pairs.map(|(one, other)| (one - other).powi(2)).sum();
            let energy: f32 = before.data().iter().map(|value| value * value).sum();
            assert!(error / energy < 0.005, "{}", error / energy);
        }
    }

    #[test]
    fn each_tensor_takes_its_product_where_it_is_read_in_either_order() {
        for config in [tiny_llama(), tiny_gpt2()] {
            let model = random_model(&config, 5, 0.0);
            let layers = model.layers().iter();
            let info = layers.clone().find(|info| info.kind == LayerKind::Linear);
            let info = info.unwrap();
            let layer = PeftLayer {
                name: info.name.clone(),
                down: Matrix::from_fn(2, info.columns, |row, column| (row + column) as f32),
                up: Matrix::from_fn(info.rows, 2, |row, column| (row * 2 + column) as f32),
            };
            let merged = Merged::new(&model, vec![layer.clone()], 0.5);
            let found = info.read(&merged).unwrap();
            let plain = info.read(model.source().as_ref()).unwrap();
            let product = layer.product(0.5);
            for row in 0..info.rows {
                for column in 0..info.columns {
                    let sum = plain.row(row)[column] + product.row(row)[column];
                    assert_eq!(found.row(row)[column], sum);
                }
            }
            for other in layers.filter(|other| other.tensor != info.tensor) {
                let same = model.source().read_f32(&other.tensor).unwrap();
                assert_eq!(merged.read_f32(&other.tensor).unwrap(), same);
            }
        }
    }
}
