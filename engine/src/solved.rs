//! What every solver returns: codes, the grid that gives them meaning, and what went wrong on the way.
//!
//! Knows no solver, bytes or files; `packed` turns it into bytes.

use crate::codebook::{BlockCodebook, Palettes};
use crate::grid::{AffineGrid, ScaleDtype};
use crate::mask::{Mask, PruneMethod};
use crate::tensor::{Dtype, Matrix};
use rayon::prelude::*;

/// The words for methods, as recipes and reports spell them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Round to nearest.
    Rtn,
    /// GPTQ.
    Gptq,
    /// Activation-aware scaling, then round to nearest.
    Awq,
    /// Half-quadratic quantization, data-free.
    Hqq,
    /// 4-bit NormalFloat.
    Nf4,
    /// A palette of weights, found by k-means.
    Palette,
    /// Weights stay floats; what is pruned or factored is told beside it.
    Float,
    /// Left as it is, whatever else is asked.
    None,
}

impl Method {
    /// All methods, in the order in which errors list them.
    pub const ALL: [Self; 8] = [
        Self::Rtn,
        Self::Gptq,
        Self::Awq,
        Self::Hqq,
        Self::Nf4,
        Self::Palette,
        Self::Float,
        Self::None,
    ];

    /// The method's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Rtn => "rtn",
            Self::Gptq => "gptq",
            Self::Awq => "awq",
            Self::Hqq => "hqq",
            Self::Nf4 => "nf4",
            Self::Palette => "palette",
            Self::Float => "float",
            Self::None => "none",
        }
    }
}

/// Codes of a layer, one byte each whatever the bits, row-major `[rows, columns]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codes {
    /// Rows (outputs).
    pub rows: usize,
    /// Columns (inputs).
    pub columns: usize,
    /// `rows * columns` codes; none where the grid is floats or nothing.
    pub values: Vec<u8>,
}

impl Codes {
    /// One row.
    pub fn row(&self, row: usize) -> &[u8] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }
}

/// What gives codes their meaning.
#[derive(Debug, Clone, PartialEq)]
pub enum Grid {
    /// `scale * (code - zero)`.
    Affine(AffineGrid),
    /// `absmax * level[code]` (NF4).
    Codebook(BlockCodebook),
    /// `palette[code]`.
    Palette(Palettes),
    /// The weights themselves, without codes.
    Floats(Floats),
    /// Zeros, without codes: factors are all there is.
    Nothing,
}

/// Weights that stay floats.
#[derive(Debug, Clone, PartialEq)]
pub struct Floats {
    /// How they are stored; values are exact in it.
    pub dtype: Dtype,
    /// `[rows, columns]`, row-major.
    pub values: Vec<f32>,
}

/// A product of two thin matrices that is added to what codes and mask give.
#[derive(Debug, Clone, PartialEq)]
pub struct LowRank {
    /// `[rows, rank]`.
    pub outer: Matrix,
    /// `[rank, columns]`.
    pub inner: Matrix,
    /// How both are stored; values are exact in it.
    pub dtype: ScaleDtype,
}

impl LowRank {
    /// Columns of the one, rows of the other.
    pub fn rank(&self) -> usize {
        self.inner.rows()
    }
}

/// A solved layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Solved {
    /// Which method gave the codes (after a fallback: the one fallen back to).
    pub method: Method,
    /// The codes.
    pub codes: Codes,
    /// Their meaning.
    pub grid: Grid,
    /// Which weights are kept; the others are zero, whatever their codes say.
    pub mask: Option<Mask>,
    /// What is added to them.
    pub factors: Option<LowRank>,
    /// Half the summed squared GPTQ errors `(w - q) / U_ii`, where GPTQ solved it without later refinement.
    pub loss: Option<f64>,
    /// What a reader of the report must know.
    pub warnings: Vec<Warning>,
}

/// Something that a solver had to do that nobody asked for.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Warning {
    /// The factorization failed at the asked damping; `damping` is what it took.
    Damped {
        /// Share of the mean diagonal that was added in the end.
        damping: f64,
        /// Failed attempts before it.
        failures: u32,
    },
    /// Another method did the work.
    FellBack {
        /// Asked.
        from: Method,
        /// Done.
        to: Method,
        /// Why, in words.
        reason: String,
    },
    /// Another score chose the zeros, and nothing made up for them.
    PrunedOtherwise {
        /// Asked.
        from: PruneMethod,
        /// Done.
        to: PruneMethod,
        /// Why, in words.
        reason: String,
    },
    /// The Gram matrix could not be factored: factors make up for the weights' errors, not for the outputs'.
    FactorsOfWeights {
        /// What was tried, as the end of a sentence.
        reason: String,
    },
    /// Inputs that were never non-zero in calibration.
    DeadInputs {
        /// How many.
        count: usize,
    },
    /// A refinement was tried and not kept, because held-out rows got worse.
    RefinementRejected,
}

impl Solved {
    /// The same with weights that stay floats rounded to what `dtype` holds; what is too large for it becomes the largest.
    pub fn with_float_dtype(mut self, dtype: Dtype) -> Self {
        if let Grid::Floats(floats) = &mut self.grid {
            floats.dtype = dtype;
            dtype.snap(&mut floats.values);
        }
        self
    }

    /// The weights as they will be read back, `[rows, columns]`.
    pub fn dequantize(&self) -> Matrix {
        let mut weights = Matrix::zeros(self.codes.rows, self.codes.columns);
        weights
            .data_mut()
            .par_chunks_mut(self.codes.columns.max(1))
            .enumerate()
            .for_each(|(row, output)| self.dequantize_row(row, output));
        weights
    }

    /// One row of `dequantize`, into `output` (`columns` values).
    pub fn dequantize_row(&self, row: usize, output: &mut [f32]) {
        let codes = match &self.grid {
            Grid::Floats(_) | Grid::Nothing => &[],
            _ => self.codes.row(row),
        };
        match &self.grid {
            Grid::Affine(grid) => {
                let size = grid.groups().size();
                let groups = output.chunks_mut(size).zip(codes.chunks(size));
                for (group, (output, codes)) in groups.enumerate() {
                    let step = grid.step(row, group);
                    for (weight, &code) in output.iter_mut().zip(codes) {
                        *weight = step.weight(f32::from(code));
                    }
                }
            }
            Grid::Codebook(codebook) => codebook.dequantize_row(row, codes, output),
            Grid::Palette(palettes) => palettes.dequantize_row(row, codes, output),
            Grid::Floats(floats) => {
                let start = row * self.codes.columns;
                output.copy_from_slice(&floats.values[start..start + self.codes.columns]);
            }
            Grid::Nothing => output.fill(0.0),
        }
        if let Some(mask) = &self.mask {
            for (weight, &keep) in output.iter_mut().zip(mask.row(row)) {
                *weight = if keep { *weight } else { 0.0 };
            }
        }
        if let Some(factors) = &self.factors {
            for (&share, inner) in factors
                .outer
                .row(row)
                .iter()
                .zip(factors.inner.data().chunks(self.codes.columns.max(1)))
            {
                for (weight, value) in output.iter_mut().zip(inner) {
                    *weight += share * value;
                }
            }
        }
    }
}
