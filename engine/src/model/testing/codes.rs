//! Networks over random codes beside the dense ones that the codes stand for, for tests of the floors above.
#![allow(clippy::unwrap_used)]

use crate::codebook::{BlockCodebook, BlockScales};
use crate::grid::{AffineGrid, GridConfig, ScaleDtype};
use crate::model::tests::memory::Memory;
use crate::model::tests::shapes::{random_weights, some_ids};
use crate::model::tests::twin::Twin;
use crate::model::{LayerKind, Model, ModelConfig, PlannedTensor};
use crate::packed::{ActivationPlan, PackedSource};
use crate::rng::Rng;
use crate::solved::{Codes, Grid, Method, Solved};
use crate::tensor::SourceError;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Codes in memory.
#[derive(Default, Clone)]
pub(crate) struct Stored(pub(crate) BTreeMap<String, (Solved, ActivationPlan)>);

impl PackedSource for Stored {
    fn is_packed(&self, tensor: &str) -> bool {
        self.0.contains_key(tensor)
    }

    fn solved(&self, tensor: &str) -> Result<Option<(Solved, ActivationPlan)>, SourceError> {
        Ok(self.0.get(tensor).cloned())
    }
}

/// A network, its codes, and the dense weights that they stand for.
pub(crate) struct Pair {
    config: ModelConfig,
    dense: Arc<Memory>,
    /// Over the dense weights.
    pub(crate) model: Model,
    pub(crate) codes: Stored,
}

impl Pair {
    /// Bits, groups and zeros differ from layer to layer; one in five layers is NF4.
    pub(crate) fn new(config: &Value, plan: ActivationPlan) -> Self {
        let parsed = ModelConfig::parse(config).unwrap();
        let (mut dense, mut codes) = (random_weights(&parsed, 11), Stored::default());
        for (index, tensor) in parsed.tensors().iter().enumerate() {
            if tensor.kind == LayerKind::Other {
                continue;
            }
            let solved = random_codes(tensor, index);
            let weights = solved.dequantize();
            let weights = match tensor.transposed {
                true => weights.transposed(),
                false => weights,
            };
            dense.tensors.insert(
                tensor.name.clone(),
                (tensor.shape.clone(), weights.into_data()),
            );
            codes.0.insert(tensor.name.clone(), (solved, plan));
        }
        let dense = Arc::new(dense);
        let model = Model::open(dense.clone(), config).unwrap();
        Self {
            config: parsed,
            dense,
            model,
            codes,
        }
    }

    /// Over the codes.
    pub(crate) fn on_kernels(&self) -> Model {
        self.model.on_kernels(Arc::new(self.codes.clone()))
    }

    /// Logits `[tokens, vocabulary]` by plain loops that round inputs in the open.
    pub(crate) fn twin_logits(&self, ids: &[u32]) -> Vec<f32> {
        let plan_of = |(name, (solved, plan)): (&String, &(Solved, ActivationPlan))| {
            let Grid::Affine(grid) = &solved.grid else {
                // Inputs of codebooks stay as they are.
                return None;
            };
            Some((name.clone(), (*plan, grid.config.group)))
        };
        let twin = Twin {
            config: &self.config,
            memory: &self.dense,
            plans: self.codes.0.iter().filter_map(plan_of).collect(),
        };
        twin.run(ids)
    }

    /// Token ids.
    pub(crate) fn ids(&self, count: usize) -> Vec<u32> {
        some_ids(count, self.config.vocabulary, 5)
    }
}

fn random_codes(tensor: &PlannedTensor, index: usize) -> Solved {
    let (mut rows, mut columns) = (tensor.shape[0], tensor.shape[1]);
    if tensor.transposed {
        (rows, columns) = (columns, rows);
    }
    let mut rng = Rng::new(3, index as u64);
    let is_levels = index % 5 == 4 && tensor.kind == LayerKind::Linear;
    let bits = if is_levels {
        4
    } else {
        [4u8, 8, 3, 6, 2, 5, 7][index % 7]
    };
    let values = (0..rows * columns)
        .map(|_| rng.below(1 << bits) as u8)
        .collect();
    let grid = if is_levels {
        let block = 8;
        let scales = (0..rows * columns.div_ceil(block)).map(|_| 0.2 + 0.3 * rng.uniform() as f32);
        Grid::Codebook(BlockCodebook {
            rows,
            columns,
            block,
            scales: BlockScales::Plain(scales.collect()),
        })
    } else {
        let config = GridConfig {
            bits,
            group: [0, 8, 128][index % 3],
            symmetric: false,
            scale_dtype: ScaleDtype::F16,
        };
        let mut grid = AffineGrid::neutral(config, rows, columns);
        let levels = f32::from(config.max_code());
        for (scale, zero) in grid.scales.iter_mut().zip(&mut grid.zeros) {
            *scale = ScaleDtype::F16.snap_scale((0.6 + 0.6 * rng.uniform() as f32) / levels);
            *zero = (levels / 2.0).floor() + f32::from(rng.below(2) as u8);
        }
        Grid::Affine(grid)
    };
    Solved {
        method: Method::Rtn,
        codes: Codes {
            rows,
            columns,
            values,
        },
        grid,
        mask: None,
        factors: None,
        loss: None,
        warnings: Vec::new(),
    }
}
