//! What a packed layer says about itself, and from it alone: which byte tensors belong to it, their dtypes, shapes and sizes.
//!
//! Everything here may come from a hostile file, so that every product is checked before anything is allocated.
//! Knows no file: names of parts are relative to the tensor that they replace.

use super::activations::ActivationKind;
use super::bits::row_bytes;
use super::error::UnpackError;
use crate::codebook::BLOCKS_PER_OUTER_SCALE;
use crate::grid::{GridConfig, ScaleDtype};
use crate::settings::LayerSettings;
use crate::solved::{Grid, Method, Solved, Warning};
use crate::tensor::Dtype;
use serde::{Deserialize, Serialize};

/// Key of the manifest in a safetensors file's `__metadata__`.
pub const METADATA_KEY: &str = "pare";

/// The version this program writes.
pub const MANIFEST_VERSION: u32 = 1;

/// What is said of a layer whose sizes do not exist.
pub(super) const TOO_LARGE: &str = "its size is too large for any machine";

/// All packed layers of one file: the JSON text under `METADATA_KEY`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Layout version, `MANIFEST_VERSION`.
    pub version: u32,
    /// The layers, in the order of their tensors.
    pub layers: Vec<LayerManifest>,
}

/// One packed layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerManifest {
    /// Name as `inspect` prints it.
    pub name: String,
    /// The dense tensor that the parts replace.
    pub tensor: OriginalTensor,
    /// Rows (outputs).
    pub rows: usize,
    /// Columns (inputs).
    pub columns: usize,
    /// What gives the codes their meaning.
    pub code: CodeKind,
    /// What it does to its inputs when it runs; absent = nothing.
    #[serde(default, skip_serializing_if = "ActivationKind::is_none")]
    pub activations: ActivationKind,
    /// How the codes came about; only files of solved layers hold it, since models are sized before they are solved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// What is known of a solved layer beside its values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Which method gave the codes.
    pub method: Method,
    /// GPTQ's loss, as a decimal text that reads back to the same number.
    pub loss: Option<String>,
    /// What the solver had to do that nobody asked for.
    pub warnings: Vec<Warning>,
}

/// The dense tensor that a packed layer stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginalTensor {
    /// Name in the dense checkpoint.
    pub name: String,
    /// Shape as stored there.
    pub shape: Vec<usize>,
    /// Dtype as stored there.
    pub dtype: Dtype,
    /// Stored `[in, out]` (Conv1D); codes always lie `[out, in]`.
    pub transposed: bool,
}

/// What gives codes their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum CodeKind {
    /// `scale * (code - zero)`.
    Affine {
        /// Bits of a code.
        bits: u8,
        /// Weights per scale along the input; 0 = a whole row.
        group: usize,
        /// Every zero is `2^(bits-1)`, and none is stored.
        symmetric: bool,
        /// How scales (and fractional zeros) are stored.
        scale_dtype: ScaleDtype,
        /// Zeros are real numbers.
        fractional_zeros: bool,
    },
    /// `absmax * level[code]`.
    Nf4 {
        /// Weights per absmax along the input.
        block: usize,
        /// Absolute maxima are themselves quantized.
        double_quant: bool,
    },
}

/// One byte tensor of a packed layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartSpec {
    /// Its name after the dense tensor's name and a dot.
    pub suffix: &'static str,
    /// Element type.
    pub dtype: Dtype,
    /// Shape.
    pub shape: Vec<usize>,
    /// Bytes.
    pub size_bytes: u64,
}

impl CodeKind {
    /// The kind that settings ask for. `fractional_zeros` follows the method: HQQ's zeros are real numbers.
    pub fn of_settings(settings: &LayerSettings) -> Self {
        if settings.method == Method::Nf4 {
            Self::Nf4 {
                block: settings.nf4_block(),
                double_quant: settings.double_quant,
            }
        } else {
            Self::affine(
                settings.grid(),
                settings.method == Method::Hqq && !settings.symmetric,
            )
        }
    }

    /// The kind of a solved layer.
    pub fn of_grid(grid: &Grid) -> Self {
        match grid {
            Grid::Affine(affine) => Self::affine(affine.config, affine.fractional_zeros),
            Grid::Codebook(codebook) => Self::Nf4 {
                block: codebook.block,
                double_quant: matches!(
                    codebook.scales,
                    crate::codebook::BlockScales::Double { .. }
                ),
            },
            Grid::Palette(_) | Grid::Floats(_) | Grid::Nothing => Self::Nf4 {
                block: 0,
                double_quant: false,
            },
        }
    }

    fn affine(config: GridConfig, fractional_zeros: bool) -> Self {
        Self::Affine {
            bits: config.bits,
            group: config.group,
            symmetric: config.symmetric,
            scale_dtype: config.scale_dtype,
            fractional_zeros,
        }
    }

    /// Bits of a code.
    pub fn bits(&self) -> u8 {
        match self {
            Self::Affine { bits, .. } => *bits,
            Self::Nf4 { .. } => 4,
        }
    }

    /// Bytes of a layer of this shape, scales, zeros and padding included. `None` where the number does not exist.
    pub fn stored_bytes(&self, rows: usize, columns: usize) -> Option<u64> {
        let mut total = 0u64;
        self.each_part(rows, columns, |_, dtype, shape| {
            total = total.checked_add(size_bytes(dtype, shape)?)?;
            Some(())
        })?;
        Some(total)
    }

    /// The parts of a layer of this shape. `None` where a size does not exist.
    pub fn parts(&self, rows: usize, columns: usize) -> Option<Vec<PartSpec>> {
        let mut parts = Vec::new();
        self.each_part(rows, columns, |suffix, dtype, shape| {
            parts.push(PartSpec::new(suffix, dtype, shape)?);
            Some(())
        })?;
        Some(parts)
    }

    /// Shows `see` the suffix, dtype and shape of each part, in order. Allocates nothing: sizes are asked for each edit.
    fn each_part(
        &self,
        rows: usize,
        columns: usize,
        mut see: impl FnMut(&'static str, Dtype, &[usize]) -> Option<()>,
    ) -> Option<()> {
        rows.checked_mul(columns)?.checked_mul(8)?;
        let code_bytes = row_bytes(columns, self.bits());
        see("codes", Dtype::U8, &[rows, code_bytes])?;
        match *self {
            Self::Affine {
                bits,
                group,
                symmetric,
                scale_dtype,
                fractional_zeros,
            } => {
                let dtype = dtype_of_scales(scale_dtype);
                let groups = group_count(columns, group);
                see("scales", dtype, &[rows, groups])?;
                if fractional_zeros {
                    see("zeros", dtype, &[rows, groups])?;
                } else if !symmetric {
                    see("zeros", Dtype::U8, &[rows, row_bytes(groups, bits)])?;
                }
            }
            Self::Nf4 {
                block,
                double_quant,
            } => {
                let blocks = group_count(columns, block);
                if double_quant {
                    let outer = rows.checked_mul(blocks)?.div_ceil(BLOCKS_PER_OUTER_SCALE);
                    see("absmax_codes", Dtype::I8, &[rows, blocks])?;
                    see("absmax_scales", Dtype::F32, &[outer])?;
                    see("absmax_offset", Dtype::F32, &[1])?;
                } else {
                    see("absmax", Dtype::F32, &[rows, blocks])?;
                }
            }
        }
        Some(())
    }
}

impl PartSpec {
    /// A part of this shape. `None` where its size does not exist.
    pub(super) fn new(suffix: &'static str, dtype: Dtype, shape: &[usize]) -> Option<Self> {
        Some(Self {
            suffix,
            dtype,
            shape: shape.to_vec(),
            size_bytes: size_bytes(dtype, shape)?,
        })
    }
}

impl LayerManifest {
    /// The manifest of a layer that is stored as `code`, before it is solved.
    pub fn planned(
        name: &str,
        tensor: OriginalTensor,
        rows: usize,
        columns: usize,
        code: CodeKind,
        activations: ActivationKind,
    ) -> Self {
        Self {
            name: name.to_owned(),
            tensor,
            rows,
            columns,
            code,
            activations,
            origin: None,
        }
    }

    /// The manifest of a solved layer.
    pub fn of_solved(
        name: &str,
        tensor: OriginalTensor,
        solved: &Solved,
        activations: ActivationKind,
    ) -> Self {
        Self {
            name: name.to_owned(),
            tensor,
            rows: solved.codes.rows,
            columns: solved.codes.columns,
            code: CodeKind::of_grid(&solved.grid),
            activations,
            origin: Some(Origin {
                method: solved.method,
                loss: solved.loss.map(|loss| format!("{loss:?}")),
                warnings: solved.warnings.clone(),
            }),
        }
    }

    /// Which method gave the codes, or the simplest that could have.
    pub fn method(&self) -> Method {
        match (&self.origin, self.code) {
            (Some(origin), _) => origin.method,
            (None, CodeKind::Nf4 { .. }) => Method::Nf4,
            (
                None,
                CodeKind::Affine {
                    fractional_zeros: true,
                    ..
                },
            ) => Method::Hqq,
            (None, CodeKind::Affine { .. }) => Method::Rtn,
        }
    }

    /// Checks all that can be known without the parts, and lists them.
    pub fn parts(&self) -> Result<Vec<PartSpec>, UnpackError> {
        let mut parts = self.code_parts()?;
        if let Some(problem) = self.activations.problem() {
            return Err(self.wrong(problem));
        }
        parts.extend(self.activations.part());
        Ok(parts)
    }

    /// The parts that hold weights.
    pub(super) fn code_parts(&self) -> Result<Vec<PartSpec>, UnpackError> {
        if let CodeKind::Affine { bits, .. } = self.code
            && !(2..=8).contains(&bits)
        {
            return Err(self.wrong(format!("codes have 2 to 8 bits, not {bits}")));
        }
        if self.rows == 0 || self.columns == 0 {
            return Err(self.wrong("it has no weights".into()));
        }
        let stored = if self.tensor.transposed {
            [self.columns, self.rows]
        } else {
            [self.rows, self.columns]
        };
        if self.tensor.shape != stored {
            return Err(self.wrong(format!(
                "tensor {} has the shape {:?}, but its codes make {stored:?}",
                self.tensor.name, self.tensor.shape
            )));
        }
        if !self.tensor.dtype.is_float() {
            return Err(self.wrong(format!("{} weights cannot be packed", self.tensor.dtype)));
        }
        self.code
            .parts(self.rows, self.columns)
            .ok_or_else(|| self.wrong(TOO_LARGE.into()))
    }

    /// The full name of a part.
    pub fn part_name(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.tensor.name)
    }

    /// Stored bytes of all parts.
    pub fn stored_bytes(&self) -> u64 {
        let weights = self.code.stored_bytes(self.rows, self.columns);
        weights.map_or(u64::MAX, |bytes| bytes + self.activations.stored_bytes())
    }

    pub(super) fn wrong(&self, problem: String) -> UnpackError {
        UnpackError::Manifest {
            layer: self.name.clone(),
            problem,
        }
    }
}

/// How scales are written.
pub(super) fn dtype_of_scales(dtype: ScaleDtype) -> Dtype {
    match dtype {
        ScaleDtype::F16 => Dtype::F16,
        ScaleDtype::BF16 => Dtype::BF16,
        ScaleDtype::F32 => Dtype::F32,
    }
}

/// Groups of a row; `group` 0 = one.
fn group_count(columns: usize, group: usize) -> usize {
    if group == 0 {
        1
    } else {
        columns.div_ceil(group)
    }
}

/// Bytes of a tensor. `None` where the number does not exist.
pub(super) fn size_bytes(dtype: Dtype, shape: &[usize]) -> Option<u64> {
    let elements = shape
        .iter()
        .try_fold(1usize, |product, &dimension| product.checked_mul(dimension))?;
    Some(elements.checked_mul(dtype.size_bytes())? as u64)
}
