//! Values as they will be read back once they are stored: what is trained is then what will run.
//!
//! Rounding to a stored form has no slope; the gradient goes through it as through the identity. Knows no network.

use super::values::floats;
use crate::codebook::BlockScales;
use crate::grid::ScaleDtype;
use crate::tensor::Dtype;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

/// How values are made what can be stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Stored {
    /// Scales: never zero.
    Scale(ScaleDtype),
    /// Any values.
    Value(ScaleDtype),
    /// Scales of blocks in 8 bits with scales of their own.
    DoubleQuantized,
}

impl Stored {
    /// A dense tensor's values; `None` where they are kept as they are.
    pub(super) fn of_dense(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F16 => Some(Self::Value(ScaleDtype::F16)),
            Dtype::BF16 => Some(Self::Value(ScaleDtype::BF16)),
            _ => None,
        }
    }
}

/// `values` as they will be read back.
pub(super) fn as_stored(values: &Tensor, how: Stored) -> Result<Tensor> {
    values.contiguous()?.apply_op1(how)
}

impl CustomOp1 for Stored {
    fn name(&self) -> &'static str {
        "as-stored"
    }

    fn cpu_fwd(&self, values: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let values = floats(values, layout)?;
        let stored = match self {
            Self::Scale(dtype) => values
                .iter()
                .map(|&value| dtype.snap_scale(value))
                .collect(),
            Self::Value(dtype) => values.iter().map(|&value| dtype.snap(value)).collect(),
            Self::DoubleQuantized => {
                let double = BlockScales::double(values);
                (0..double.count())
                    .map(|index| double.scale(index))
                    .collect()
            }
        };
        Ok((CpuStorage::F32(stored), layout.shape().clone()))
    }

    fn bwd(&self, _values: &Tensor, _stored: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(gradient.clone()))
    }
}
