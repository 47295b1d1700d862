//! Containers of safetensors that other programs brought up, and how a layer lies in each.
//!
//! The one place that knows them all by name: whoever plans, writes or reads such a container asks here, and here asks
//! the module of that container. A further one is a variant of both types, its module, and its arms below.
//! Tensors of a layer are named after the layer: `<layer>.<suffix>`. Knows no file and no config; `formats` writes and
//! `checkpoint` reads those.

use super::activations::{ActivationKind, ActivationPlan};
use super::awq;
use super::compressed_tensors::CompressedLayer;
use super::gptq::{self, CheckpointFormat};
use super::kind::{CodeKind, PartSpec};
use super::stored::Stored;
use super::{PackError, Part, bnb, mlx};
use crate::grid::GridConfig;
use crate::solved::Solved;

/// A container of another program: a folder of safetensors files with a quantization in its `config.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum External {
    /// AutoGPTQ, GPTQModel, transformers, vLLM.
    Gptq,
    /// mlx-lm.
    Mlx,
    /// 4-bit layers of bitsandbytes, as transformers saves them.
    Bnb,
    /// compressed-tensors: vLLM, transformers.
    CompressedTensors,
    /// AutoAWQ, transformers, vLLM.
    Awq,
}

/// How one layer lies in such a container: all that decides its tensors and their sizes, known before it is solved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ExternalLayer {
    /// `gptq`.
    Gptq {
        /// Bits, group, symmetry.
        grid: GridConfig,
        /// How zeros are stored; one for a whole model.
        format: CheckpointFormat,
    },
    /// `mlx`.
    Mlx {
        /// Bits, group, dtype of scales.
        grid: GridConfig,
    },
    /// `bnb-nf4`.
    Bnb(bnb::Layout),
    /// `compressed_tensors`.
    CompressedTensors(CompressedLayer),
    /// `awq`.
    Awq(GridConfig),
}

impl External {
    /// The container's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Gptq => "gptq",
            Self::CompressedTensors => "compressed-tensors",
            Self::Awq => "awq",
            Self::Mlx => "mlx",
            Self::Bnb => "bnb-nf4",
        }
    }

    /// Whether it has a place for embeddings and output heads.
    pub fn holds_outer_layers(self) -> bool {
        match self {
            Self::Mlx => true,
            Self::Gptq | Self::CompressedTensors | Self::Awq | Self::Bnb => false,
        }
    }

    /// Whether it keeps `-scale * zero` in the dtype of scales, in the place of zeros.
    pub fn keeps_biases(self) -> bool {
        match self {
            Self::Mlx => true,
            Self::Gptq | Self::CompressedTensors | Self::Awq | Self::Bnb => false,
        }
    }

    /// Whether programs that load it fuse q/k/v and gate/up into one weight, so that those must lie alike.
    pub fn fuses_peers(self) -> bool {
        match self {
            Self::Mlx => false,
            Self::Gptq | Self::CompressedTensors | Self::Awq | Self::Bnb => true,
        }
    }
}

impl ExternalLayer {
    /// The container.
    pub fn external(&self) -> External {
        match self {
            Self::Gptq { .. } => External::Gptq,
            Self::Mlx { .. } => External::Mlx,
            Self::Bnb(_) => External::Bnb,
            Self::CompressedTensors(_) => External::CompressedTensors,
            Self::Awq(_) => External::Awq,
        }
    }

    /// The tensors of a layer of `rows` outputs and `columns` inputs. `None` where a size does not exist.
    pub fn parts(&self, rows: usize, columns: usize) -> Option<Vec<PartSpec>> {
        match self {
            Self::Gptq { grid, .. } => gptq::parts(*grid, rows, columns),
            Self::Mlx { grid } => mlx::parts(*grid, rows, columns),
            Self::Bnb(layout) => bnb::parts(*layout, rows, columns),
            Self::CompressedTensors(layer) => layer.parts(rows, columns),
            Self::Awq(grid) => awq::parts(*grid, rows, columns),
        }
    }

    /// Bytes of these tensors. `None` where the number does not exist.
    pub fn stored_bytes(&self, rows: usize, columns: usize) -> Option<u64> {
        match self {
            Self::Gptq { grid, .. } => gptq::stored_bytes(*grid, rows, columns),
            Self::Mlx { grid } => mlx::stored_bytes(*grid, rows, columns),
            Self::Bnb(layout) => bnb::stored_bytes(*layout, rows, columns),
            _ => {
                let sizes = self.parts(rows, columns)?.into_iter();
                sizes
                    .map(|part| part.size_bytes)
                    .try_fold(0, u64::checked_add)
            }
        }
    }

    /// The bytes of a solved layer, in the order of `parts`. Its grid is the planned one (`fitted`).
    pub fn pack(
        &self,
        name: &str,
        solved: &Solved,
        activations: &ActivationPlan,
    ) -> Result<Vec<Part>, PackError> {
        match self {
            Self::Gptq { format, .. } => gptq::pack(name, solved, *format),
            Self::Mlx { grid } => mlx::pack(name, solved, *grid),
            Self::Bnb(layout) => bnb::pack(name, solved, *layout),
            Self::CompressedTensors(layer) => layer.pack(name, solved, activations),
            Self::Awq(grid) => awq::pack(name, solved, *grid),
        }
    }

    /// Turns `pack` around. Anybody may have written the parts: some that `parts` lists may be missing, others may be
    /// there. The error is the end of a sentence.
    pub fn unpack(&self, rows: usize, columns: usize, parts: &[Part]) -> Result<Solved, String> {
        match self {
            Self::Gptq { grid, format } => {
                let stored = gptq::Stored {
                    qweight: bytes_of(parts, "qweight")?,
                    qzeros: bytes_of(parts, "qzeros")?,
                    scales: bytes_of(parts, "scales")?,
                    g_idx: bytes_of(parts, "g_idx").ok(),
                };
                gptq::unpack(*grid, rows, columns, *format, stored)
            }
            Self::Mlx { grid } => {
                let stored = mlx::Stored {
                    weight: bytes_of(parts, "weight")?,
                    scales: bytes_of(parts, "scales")?,
                    biases: bytes_of(parts, "biases")?,
                };
                mlx::unpack(*grid, rows, columns, stored)
            }
            Self::Bnb(layout) => bnb::unpack(*layout, rows, columns, parts),
            Self::CompressedTensors(layer) => layer.unpack(rows, columns, parts),
            Self::Awq(grid) => awq::unpack(*grid, rows, columns, parts),
        }
    }

    /// What the container says of how the layer's inputs are rounded.
    pub fn activation_kind(&self) -> ActivationKind {
        match self {
            Self::CompressedTensors(layer) => layer.activation_kind(),
            Self::Gptq { .. } | Self::Awq(_) | Self::Mlx { .. } | Self::Bnb(_) => {
                ActivationKind::NONE
            }
        }
    }

    /// The same with the step that a static scale needs. The error is the end of a sentence.
    pub fn activations(&self, parts: &[Part]) -> Result<ActivationPlan, String> {
        match self {
            Self::CompressedTensors(layer) => layer.activation_plan(parts),
            _ => Ok(ActivationPlan::NONE),
        }
    }

    /// What gives the codes their meaning.
    pub fn stored(&self) -> Stored {
        match self {
            Self::Mlx { grid } => CodeKind::affine(*grid, true).into(),
            Self::Bnb(layout) => layout.code_kind().into(),
            Self::Gptq { grid, .. } | Self::Awq(grid) => CodeKind::affine(*grid, false).into(),
            Self::CompressedTensors(layer) => CodeKind::affine(layer.grid, false).into(),
        }
    }

    /// The affine grid that codes lie on; `None` where they lie on none.
    pub fn grid(&self) -> Option<GridConfig> {
        match self {
            Self::Gptq { grid, .. } | Self::Awq(grid) | Self::Mlx { grid } => Some(*grid),
            Self::CompressedTensors(layer) => Some(layer.grid),
            Self::Bnb(_) => None,
        }
    }

    /// The part that names the group of each input (act-order), where a container has one.
    pub fn group_indices(&self) -> Option<&'static str> {
        match self {
            Self::Gptq { .. } => Some("g_idx"),
            _ => None,
        }
    }

    /// Whether solved values come back as they are; else they are rounded once more on the way in.
    pub fn is_exact(&self) -> bool {
        match self {
            // Biases take the dtype of scales; of doubly quantized maxima two roundings of f32 change places.
            Self::Mlx { .. } => false,
            Self::Bnb(layout) => !layout.double_quant,
            Self::Gptq { .. } | Self::CompressedTensors(_) | Self::Awq(_) => true,
        }
    }
}

/// The part of that suffix.
pub(super) fn part_of<'parts>(parts: &'parts [Part], suffix: &str) -> Result<&'parts Part, String> {
    let found = parts.iter().find(|part| part.suffix == suffix);
    found.ok_or_else(|| format!("it lacks its part {suffix}"))
}

/// Its bytes.
pub(super) fn bytes_of<'parts>(
    parts: &'parts [Part],
    suffix: &str,
) -> Result<&'parts [u8], String> {
    part_of(parts, suffix).map(|part| part.bytes.as_slice())
}
