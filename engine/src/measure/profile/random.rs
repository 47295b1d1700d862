//! Values that no product takes shortcuts on, and small networks of them that live in memory.
//!
//! Repeated with an odd period: fast to make, and no two rows alike.

use crate::codebook::{BlockCodebook, BlockScales};
use crate::grid::{AffineGrid, GridConfig, ScaleDtype};
use crate::model::{Model, ModelConfig, ModelError};
use crate::packed::{ActivationPlan, PackedSource};
use crate::rng::Rng;
use crate::solved::{Codes, Grid, Method, Solved};
use crate::tensor::{Dtype, SourceError, TensorInfo, WeightSource};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Length of the period.
const PERIOD: usize = 9973;
/// Weights per scale of packed networks.
const GROUP: usize = 64;
/// NF4's own.
const BLOCK: usize = 64;

/// Small normal numbers.
pub(in crate::measure) fn floats(count: usize) -> Vec<f32> {
    let mut rng = Rng::new(0, 0);
    let period: Vec<f32> = (0..PERIOD).map(|_| 0.05 * rng.normal() as f32).collect();
    period.into_iter().cycle().take(count).collect()
}

/// A layer of codes with a scale and a whole zero for each group.
pub(super) fn codes(bits: u8, rows: usize, columns: usize, group: usize) -> Solved {
    let config = GridConfig {
        bits,
        group,
        symmetric: false,
        scale_dtype: ScaleDtype::F16,
    };
    let groups = config.groups(columns).count();
    let zeros = (0..rows * groups).map(|index| (index % 3) as f32);
    Solved {
        method: Method::Rtn,
        codes: code_values(config.max_code(), rows, columns),
        grid: Grid::Affine(AffineGrid {
            config,
            rows,
            columns,
            scales: vec![1.0 / 64.0; rows * groups],
            zeros: zeros.collect(),
            fractional_zeros: false,
        }),
        mask: None,
        factors: None,
        loss: None,
        warnings: Vec::new(),
    }
}

/// A layer of NF4.
pub(super) fn levels(rows: usize, columns: usize) -> Solved {
    let blocks = columns.div_ceil(BLOCK);
    Solved {
        method: Method::Nf4,
        codes: code_values(15, rows, columns),
        grid: Grid::Codebook(BlockCodebook {
            rows,
            columns,
            block: BLOCK,
            scales: BlockScales::Plain(vec![0.1; rows * blocks]),
        }),
        mask: None,
        factors: None,
        loss: None,
        warnings: Vec::new(),
    }
}

fn code_values(max_code: u8, rows: usize, columns: usize) -> Codes {
    let mut rng = Rng::new(1, 0);
    let span = f64::from(max_code) + 1.0;
    let period: Vec<u8> = (0..PERIOD).map(|_| (rng.uniform() * span) as u8).collect();
    Codes {
        rows,
        columns,
        values: period.into_iter().cycle().take(rows * columns).collect(),
    }
}

/// A network of random weights whose blocks are codes of 8 bits under 8-bit inputs.
pub(super) fn packed_network(config: &Value) -> Result<Model, ModelError> {
    network(config, Some((8, true)))
}

/// A network of random weights whose blocks are codes of so many bits, with inputs of 8 bits or as they are; without,
/// floats.
pub(in crate::measure) fn network(
    config: &Value,
    packing: Option<(u8, bool)>,
) -> Result<Model, ModelError> {
    let tensors = ModelConfig::parse(config)?.tensors();
    let shapes = tensors
        .into_iter()
        .map(|tensor| (tensor.name, tensor.shape));
    let memory = Arc::new(Memory {
        shapes: shapes.collect(),
        packing,
    });
    let model = Model::open(memory.clone(), config)?;
    Ok(match packing {
        Some(_) => model.on_kernels(memory),
        None => model,
    })
}

/// Shapes by name; values are made when asked for.
struct Memory {
    shapes: BTreeMap<String, Vec<usize>>,
    /// Bits of a code, and whether inputs have 8 bits.
    packing: Option<(u8, bool)>,
}

impl Memory {
    fn shape(&self, name: &str) -> Result<&[usize], SourceError> {
        let missing = || SourceError::Missing {
            name: name.to_owned(),
        };
        Ok(self.shapes.get(name).ok_or_else(missing)?)
    }
}

impl WeightSource for Memory {
    fn names(&self) -> Vec<String> {
        self.shapes.keys().cloned().collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        let shape = self.shapes.get(name)?;
        Some(TensorInfo {
            dtype: Dtype::F32,
            shape: shape.clone(),
            size_bytes: 4 * shape.iter().product::<usize>() as u64,
        })
    }

    fn read_f32(&self, name: &str) -> Result<Vec<f32>, SourceError> {
        Ok(floats(self.shape(name)?.iter().product()))
    }

    fn read_bytes(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        let values = self.read_f32(name)?;
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        for (to, from) in buffer.iter_mut().zip(bytes.skip(offset as usize)) {
            *to = from;
        }
        Ok(())
    }
}

impl PackedSource for Memory {
    fn is_packed(&self, tensor: &str) -> bool {
        let is_table = tensor.contains("embed") || tensor.contains("wte") || tensor.contains("wpe");
        let is_matrix = self
            .shapes
            .get(tensor)
            .is_some_and(|shape| shape.len() == 2);
        self.packing.is_some() && is_matrix && !is_table
    }

    fn solved(&self, tensor: &str) -> Result<Option<(Solved, ActivationPlan)>, SourceError> {
        let Some((bits, integer)) = self.packing.filter(|_| self.is_packed(tensor)) else {
            return Ok(None);
        };
        let shape = self.shape(tensor)?;
        // GPT-2 stores inputs first.
        let is_turned = tensor.starts_with("h.") || tensor.contains(".h.");
        let (rows, columns) = if is_turned {
            (shape[1], shape[0])
        } else {
            (shape[0], shape[1])
        };
        let plan = super::products::plan(integer);
        Ok(Some((codes(bits, rows, columns, GROUP), plan)))
    }
}
