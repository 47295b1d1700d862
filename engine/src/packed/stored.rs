//! All that decides which byte tensors a layer becomes and how large they are: known before it is solved.
//!
//! One type for planning, writing and reading. Everything here may come from a hostile file, so that every product is
//! checked before anything is allocated. Knows no file and no values.

use super::bits::row_bytes;
use super::combinations::Choices;
use super::kind::{CodeKind, PartSpec, bytes_of, dtype_of_scales, specs_of};
use crate::grid::ScaleDtype;
use crate::mask::SparsityPattern;
use crate::settings::LayerSettings;
use crate::solved::{Method, Solved};
use crate::tensor::Dtype;
use serde::{Deserialize, Serialize};

/// How a layer is stored: `(keep ? code : 0) + outer * inner`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// What gives the codes their meaning.
    pub code: CodeKind,
    /// Zeros that are not stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sparsity: Option<Sparsity>,
    /// What is added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factors: Option<FactorKind>,
}

/// Where zeros lie, and how much is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sparsity {
    /// Where zeros may lie.
    pub pattern: SparsityPattern,
    /// Values that are stored; blocks count whole, those too that the end of a row cuts.
    pub values: usize,
}

/// The shape of factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactorKind {
    /// Columns of the one, rows of the other.
    pub rank: usize,
    /// How both are stored.
    pub dtype: ScaleDtype,
}

impl Sparsity {
    /// The part that says where values are.
    pub(super) fn suffix(&self) -> &'static str {
        match self.pattern {
            SparsityPattern::NOfM { .. } => "positions",
            SparsityPattern::Unstructured | SparsityPattern::Block { .. } => "kept",
        }
    }

    /// Bytes of a row of that part.
    fn row_bytes(&self, columns: usize) -> Option<usize> {
        match self.pattern {
            SparsityPattern::NOfM { kept, of } => Choices::new(kept, of)?.row_bytes(columns),
            pattern => Some(row_bytes(columns.div_ceil(pattern.unit()), 1)),
        }
    }
}

impl From<CodeKind> for Stored {
    /// Codes without zeros left out and without factors.
    fn from(code: CodeKind) -> Self {
        Self {
            code,
            sparsity: None,
            factors: None,
        }
    }
}

impl Stored {
    /// What settings ask for of a layer of this shape whose weights are `dtype`.
    pub fn of_settings(
        settings: &LayerSettings,
        rows: usize,
        columns: usize,
        dtype: Dtype,
    ) -> Self {
        let prune = settings.prune;
        let code = CodeKind::of_settings(settings, dtype);
        let is_pruned = !prune.is_none() && code != CodeKind::Nothing;
        let values = || {
            let (pattern, sparsity) = (prune.pattern, prune.sparsity);
            pattern.stored_values(rows, columns, sparsity, prune.among())
        };
        Self {
            code,
            sparsity: is_pruned.then(|| Sparsity {
                pattern: prune.pattern,
                values: values(),
            }),
            factors: settings
                .rank
                .of_shape(rows, columns)
                .map(|rank| FactorKind {
                    rank,
                    dtype: settings.scale_dtype,
                }),
        }
    }

    /// What a solved layer needs.
    pub fn of_solved(solved: &Solved) -> Self {
        Self {
            code: CodeKind::of_grid(&solved.grid),
            sparsity: solved.mask.as_ref().map(|mask| Sparsity {
                pattern: mask.pattern,
                values: match mask.pattern.unit() {
                    1 => mask.kept(),
                    unit => {
                        let rows = mask.keep.chunks(mask.columns.max(1));
                        let blocks = rows.flat_map(|row| row.chunks(unit));
                        unit * blocks.filter(|block| block[0]).count()
                    }
                },
            }),
            factors: solved.factors.as_ref().map(|factors| FactorKind {
                rank: factors.rank(),
                dtype: factors.dtype,
            }),
        }
    }

    /// Bits of a code, or of a value where there are no codes.
    pub fn value_bits(&self) -> u8 {
        let of_factors = self.factors.map(|factors| dtype_of_scales(factors.dtype));
        let dtype = match self.code {
            CodeKind::Floats { dtype } => Some(dtype),
            _ => of_factors,
        };
        let floats = dtype.map_or(0, |dtype| 8 * dtype.size_bytes() as u8);
        self.code.bits().unwrap_or(floats)
    }

    /// Whether there is nothing but codes, one for each weight.
    pub fn is_plain(&self) -> bool {
        self.sparsity.is_none() && self.factors.is_none()
    }

    /// The simplest method that could have made it.
    pub fn simplest_method(&self) -> Method {
        match self.code {
            CodeKind::Nf4 { .. } => Method::Nf4,
            CodeKind::Palette { .. } => Method::Palette,
            CodeKind::Floats { .. } | CodeKind::Nothing => Method::Float,
            CodeKind::Affine {
                fractional_zeros, ..
            } if fractional_zeros => Method::Hqq,
            CodeKind::Affine { .. } => Method::Rtn,
        }
    }

    /// Bytes of a layer of this shape, scales, zeros, positions, factors and padding included. `None` where the number
    /// does not exist.
    pub fn stored_bytes(&self, rows: usize, columns: usize) -> Option<u64> {
        bytes_of(|see| self.each_part(rows, columns, see))
    }

    /// The parts of a layer of this shape. `None` where a size does not exist.
    pub fn parts(&self, rows: usize, columns: usize) -> Option<Vec<PartSpec>> {
        specs_of(|see| self.each_part(rows, columns, see))
    }

    /// Values that are stored of each row, where all rows have equally many and so begin on a byte; else `None`: they
    /// are one stream.
    pub(super) fn values_of_row(&self, columns: usize) -> Option<usize> {
        match self.sparsity?.pattern {
            SparsityPattern::NOfM { kept, of } => {
                Some(Choices::new(kept, of)?.kept_of_row(columns))
            }
            SparsityPattern::Unstructured | SparsityPattern::Block { .. } => None,
        }
    }

    /// What contradicts itself or a layer of this shape, as the end of a sentence.
    pub(super) fn problem(&self, rows: usize, columns: usize) -> Option<String> {
        self.code
            .problem()
            .or_else(|| self.sparsity_problem(rows, columns))
            .or_else(|| self.factor_problem(rows, columns))
    }

    fn sparsity_problem(&self, rows: usize, columns: usize) -> Option<String> {
        let Sparsity { pattern, values } = self.sparsity?;
        if self.code == CodeKind::Nothing {
            return Some("zeros are left out of no values".to_owned());
        }
        let told = |expected: &str, most: usize| {
            Some(format!(
                "{values} values of pattern {pattern} are not {expected} {most}"
            ))
        };
        if let SparsityPattern::NOfM { kept, of } = pattern {
            let Some(choices) = Choices::new(kept, of) else {
                return Some(format!("there is no pattern {pattern}"));
            };
            let all = rows.saturating_mul(choices.kept_of_row(columns));
            return (values != all).then(|| told("all", all)).flatten();
        }
        let unit = pattern.unit();
        let all = rows.saturating_mul(columns.div_ceil(unit).saturating_mul(unit));
        if !values.is_multiple_of(unit) {
            return told("blocks of", unit);
        }
        (values > all).then(|| told("at most", all)).flatten()
    }

    fn factor_problem(&self, rows: usize, columns: usize) -> Option<String> {
        let most = rows.min(columns);
        match self.factors {
            None if self.code == CodeKind::Nothing => {
                Some("it has neither codes nor factors".to_owned())
            }
            Some(FactorKind { rank, .. }) if rank == 0 || rank > most => {
                Some(format!("factors have a rank of 1 to {most}, not {rank}"))
            }
            _ => None,
        }
    }

    /// Shows `see` the suffix, dtype and shape of each part, in order. Allocates nothing: sizes are asked for each edit.
    fn each_part(
        &self,
        rows: usize,
        columns: usize,
        mut see: impl FnMut(&'static str, Dtype, &[usize]) -> Option<()>,
    ) -> Option<()> {
        rows.checked_mul(columns)?.checked_mul(8)?;
        let per_row = match self.sparsity {
            None => Some(columns),
            Some(_) => self.values_of_row(columns),
        };
        let stream = self.sparsity.map_or(0, |sparsity| sparsity.values);
        stream.checked_mul(8)?;
        let bytes = |bits| match per_row {
            Some(values) => [rows, row_bytes(values, bits)],
            None => [row_bytes(stream, bits), 0],
        };
        let dimensions = if per_row.is_some() { 2 } else { 1 };
        match (self.code.bits(), self.code) {
            (Some(bits), _) => see("codes", Dtype::U8, &bytes(bits)[..dimensions])?,
            (None, CodeKind::Floats { dtype }) => {
                let values = per_row.map_or([stream, 0], |values| [rows, values]);
                see("values", dtype, &values[..dimensions])?;
            }
            (None, _) => {}
        }
        self.code.each_scale(rows, columns, &mut see)?;
        if let Some(sparsity) = self.sparsity {
            let width = sparsity.row_bytes(columns)?;
            see(sparsity.suffix(), Dtype::U8, &[rows, width])?;
        }
        if let Some(FactorKind { rank, dtype }) = self.factors {
            let dtype = dtype_of_scales(dtype);
            see("factor_outer", dtype, &[rows, rank])?;
            see("factor_inner", dtype, &[rank, columns])?;
        }
        Some(())
    }
}
