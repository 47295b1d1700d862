//! The bytes of a solved layer's tensors in an ONNX model, and the weights that such bytes stand for.
//!
//! `weight` draws the tensors. Blocks hold codes low bits first, a row's last block is filled up with codes of 0, which no
//! input meets, and masked weights are the code of zero. Knows no file.

use super::weight::{BlockZeros, OnnxForm, OnnxWeight, PartKind, middle, packed_bytes};
use crate::grid::{AffineGrid, Step};
use crate::packed::{ActivationPlan, PackError, floats};
use crate::solved::{Grid, LowRank, Solved};
use crate::tensor::Matrix;
use rayon::prelude::*;

/// Rows of a turned matrix that one thread writes at a time, so that what it reads stays near.
const TURNED_ROWS: usize = 64;

/// A solved layer with its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layer<'a> {
    pub(super) name: &'a str,
    pub(super) weight: OnnxWeight,
    pub(super) solved: &'a Solved,
    pub(super) activations: &'a ActivationPlan,
}

impl Layer<'_> {
    /// The bytes of one of its tensors; values are made elsewhere.
    pub(super) fn bytes(&self, kind: PartKind) -> Result<Vec<u8>, PackError> {
        match kind {
            PartKind::Values { .. } => Err(self.problem("its values are no codes")),
            PartKind::Codes => self.codes(self.grid()?),
            PartKind::Scales => self.scales(self.grid()?),
            PartKind::Zeros => self.zeros(self.grid()?),
            PartKind::FactorInner => self.factor(|factors| &factors.inner),
            PartKind::FactorOuter => self.factor(|factors| &factors.outer),
            PartKind::Step => match self.activations.static_step {
                Some(step) => Ok(step.to_le_bytes().to_vec()),
                None => Err(self.problem("its inputs have a fixed scale, but nobody said which")),
            },
        }
    }

    fn problem(&self, problem: &str) -> PackError {
        PackError {
            layer: self.name.to_owned(),
            problem: problem.to_owned(),
        }
    }

    fn grid(&self) -> Result<&AffineGrid, PackError> {
        match &self.solved.grid {
            Grid::Affine(grid) => Ok(grid),
            _ => Err(self.problem("it was planned with even steps and solved without")),
        }
    }

    fn codes(&self, grid: &AffineGrid) -> Result<Vec<u8>, PackError> {
        let (rows, columns) = (grid.rows, grid.columns);
        match self.weight.form {
            OnnxForm::Bytes(_) => {
                let shift = shift_to_zero(grid);
                let mut codes = vec![0; rows * columns];
                codes
                    .par_chunks_mut(columns.max(1))
                    .enumerate()
                    .for_each(|(row, codes)| {
                        self.row_codes(grid, row, codes);
                        codes
                            .iter_mut()
                            .for_each(|code| *code = code.wrapping_sub(shift));
                    });
                Ok(match self.weight.is_table {
                    true => codes,
                    false => turned(&codes, rows, columns),
                })
            }
            OnnxForm::Blocks { bits, block, .. } => {
                let blocks = columns.div_ceil(block);
                let row_bytes = packed_bytes(blocks * block, bits);
                let raise = raise_to_middle(self.weight.form, grid);
                let mut bytes = vec![0; rows * row_bytes];
                bytes
                    .par_chunks_mut(row_bytes.max(1))
                    .enumerate()
                    .for_each(|(row, bytes)| {
                        let mut codes = vec![0; blocks * block];
                        self.row_codes(grid, row, &mut codes[..columns]);
                        codes[..columns].iter_mut().for_each(|code| *code += raise);
                        pack(&codes, bits, bytes);
                    });
                Ok(bytes)
            }
            _ => Err(self.problem("it was planned without codes and solved with some")),
        }
    }

    /// A row's codes; where the mask has nothing, that of zero.
    fn row_codes(&self, grid: &AffineGrid, row: usize, output: &mut [u8]) {
        output.copy_from_slice(self.solved.codes.row(row));
        if let Some(mask) = &self.solved.mask {
            let groups = grid.groups();
            let kept = mask.row(row).iter().enumerate();
            for (column, _) in kept.filter(|&(_, keep)| !keep) {
                output[column] = grid.step(row, groups.of(column)).zero as u8;
            }
        }
    }

    fn scales(&self, grid: &AffineGrid) -> Result<Vec<u8>, PackError> {
        let scales = self.by_group(grid, |step| step.scale);
        let dtype = match self.weight.form {
            OnnxForm::Bytes(grid) => grid.scale_dtype,
            OnnxForm::Blocks { scale_dtype, .. } => scale_dtype,
            _ => return Err(self.problem("it was planned without scales")),
        };
        Ok(floats::to_bytes(&scales, dtype))
    }

    fn zeros(&self, grid: &AffineGrid) -> Result<Vec<u8>, PackError> {
        let zeros = self.by_group(grid, |step| step.zero);
        let whole = || zeros.iter().map(|&zero| zero as u8).collect::<Vec<u8>>();
        match self.weight.form {
            OnnxForm::Blocks {
                zeros: BlockZeros::Fractional,
                scale_dtype,
                ..
            } => Ok(floats::to_bytes(&zeros, scale_dtype)),
            OnnxForm::Blocks { bits, block, .. } => {
                let blocks = grid.columns.div_ceil(block);
                let row_bytes = packed_bytes(blocks, bits);
                let mut bytes = vec![0; grid.rows * row_bytes];
                for (zeros, bytes) in whole().chunks(blocks).zip(bytes.chunks_mut(row_bytes)) {
                    pack(zeros, bits, bytes);
                }
                Ok(bytes)
            }
            _ => Ok(whole()),
        }
    }

    /// A number of each group, in the order of the stored scales.
    fn by_group(&self, grid: &AffineGrid, number: impl Fn(Step) -> f32) -> Vec<f32> {
        let (groups, rows) = (grid.groups(), grid.rows);
        match self.weight.form {
            OnnxForm::Blocks { block, .. } => {
                let starts = (0..grid.columns).step_by(block);
                let starts: Vec<usize> = starts.map(|start| groups.of(start)).collect();
                let row = |row| starts.iter().map(move |&group| (row, group));
                let all = (0..rows).flat_map(row);
                all.map(|(row, group)| number(grid.step(row, group)))
                    .collect()
            }
            // Stored groups may be finer than solved ones.
            OnnxForm::Bytes(stored) => {
                let stored = stored.groups(grid.columns);
                let at = |row, group: usize| {
                    number(grid.step(row, groups.of(stored.range(group).start)))
                };
                let count = stored.count();
                match self.weight.is_table {
                    true => (0..rows * count)
                        .map(|index| at(index / count, index % count))
                        .collect(),
                    false => (0..rows * count)
                        .map(|index| at(index % rows, index / rows))
                        .collect(),
                }
            }
            _ => Vec::new(),
        }
    }

    /// A factor turned as products need it: `[in, rank]` and `[rank, out]`.
    fn factor(&self, of: impl Fn(&LowRank) -> &Matrix) -> Result<Vec<u8>, PackError> {
        let factors = self.solved.factors.as_ref();
        let planned = self.weight.factors.zip(factors);
        match planned.filter(|(kind, factors)| kind.rank == factors.rank()) {
            Some((kind, factors)) => {
                let turned = of(factors).transposed();
                Ok(floats::to_bytes(turned.data(), kind.dtype))
            }
            None => Err(self.problem("its factors are other than planned")),
        }
    }
}

/// What is taken from codes of bytes so that zero is 0.
fn shift_to_zero(grid: &AffineGrid) -> u8 {
    match grid.config.symmetric {
        true => grid.config.middle() as u8,
        false => 0,
    }
}

/// What is added to codes of fewer bits so that the middle of the room is their zero.
fn raise_to_middle(form: OnnxForm, grid: &AffineGrid) -> u8 {
    match form {
        OnnxForm::Blocks {
            bits,
            zeros: BlockZeros::Middle,
            ..
        } => middle(bits) - grid.config.middle() as u8,
        _ => 0,
    }
}

/// Codes of 4 or 8 bits into bytes, the first in the low bits.
fn pack(codes: &[u8], bits: u8, bytes: &mut [u8]) {
    if bits == 8 {
        return bytes.copy_from_slice(codes);
    }
    for (byte, pair) in bytes.iter_mut().zip(codes.chunks(2)) {
        *byte = pair[0] | pair.get(1).copied().unwrap_or(0) << 4;
    }
}

/// `[rows, columns]` as `[columns, rows]`.
fn turned(values: &[u8], rows: usize, columns: usize) -> Vec<u8> {
    let mut output = vec![0; values.len()];
    output
        .par_chunks_mut((rows * TURNED_ROWS).max(1))
        .enumerate()
        .for_each(|(slab, output)| {
            let first = slab * TURNED_ROWS;
            for (row, source) in values.chunks(columns.max(1)).enumerate() {
                for (at, &value) in source[first..].iter().take(TURNED_ROWS).enumerate() {
                    output[at * rows + row] = value;
                }
            }
        });
    output
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::read_back::{StoredParts, weights};
    use super::*;
    use crate::grid::{GridConfig, ScaleDtype};
    use crate::mask::{Mask, SparsityPattern};
    use crate::rng::Rng;
    use crate::solved::{Codes, Method};
    use proptest::prelude::*;

    struct Held(Vec<(PartKind, Vec<u8>)>);

    impl StoredParts for Held {
        fn part(&self, kind: PartKind) -> Option<&[u8]> {
            let found = self.0.iter().find(|(held, _)| *held == kind);
            found.map(|(_, bytes)| bytes.as_slice())
        }
    }

    fn solved(
        config: GridConfig,
        rows: usize,
        columns: usize,
        fractional: bool,
        seed: u64,
    ) -> Solved {
        let mut rng = Rng::new(seed, 0);
        let mut draw = |below: u32| (rng.uniform() * f64::from(below)) as u8;
        let mut grid = AffineGrid::neutral(config, rows, columns);
        let most = u32::from(config.max_code()) + 1;
        for group in 0..grid.scales.len() {
            grid.scales[group] = config
                .scale_dtype
                .snap_scale(0.01 + f32::from(draw(100)) / 100.0);
            if !config.symmetric {
                grid.zeros[group] = f32::from(draw(most)) + if fractional { 0.25 } else { 0.0 };
            }
        }
        grid.fractional_zeros = fractional;
        let values = (0..rows * columns).map(|_| draw(most)).collect();
        Solved {
            method: Method::Rtn,
            codes: Codes {
                rows,
                columns,
                values,
            },
            grid: Grid::Affine(grid),
            mask: None,
            factors: None,
            loss: None,
            warnings: Vec::new(),
        }
    }

    /// What a layer's bytes stand for.
    fn there_and_back(form: OnnxForm, is_table: bool, solved: &Solved) -> Matrix {
        let weight = OnnxWeight {
            form,
            factors: None,
            activations: crate::packed::ActivationKind::NONE,
            is_table,
        };
        let (rows, columns) = (solved.codes.rows, solved.codes.columns);
        let layer = Layer {
            name: "a",
            weight,
            solved,
            activations: &ActivationPlan::NONE,
        };
        let parts = weight.parts(rows, columns);
        let held = parts.iter().map(|part| {
            let bytes = layer.bytes(part.kind).unwrap();
            let elements: usize = part.shape.iter().product();
            let planned = elements as u64 * part.element.size_bytes();
            assert_eq!(bytes.len() as u64, planned, "{part:?}");
            (part.kind, bytes)
        });
        let held = Held(held.collect());
        let sizes: usize = held.0.iter().map(|(_, bytes)| bytes.len()).sum();
        assert_eq!(weight.stored_bytes(rows, columns), Some(sizes as u64));
        weights(&weight, rows, columns, &held).unwrap()
    }

    proptest! {
        #[test]
        fn codes_come_back_as_they_were_solved(
            bits in 2u8..=8,
            (rows, columns) in (1usize..9, 1usize..80),
            group in prop::sample::select(vec![0usize, 16, 32, 48]),
            (symmetric, is_table, masked, is_integer) in any::<(bool, bool, bool, bool)>(),
            seed in any::<u64>(),
        ) {
            let config = GridConfig { bits, group, symmetric, scale_dtype: ScaleDtype::F16 };
            let mut solved = solved(config, rows, columns, false, seed);
            if masked {
                solved.mask = Some(Mask {
                    pattern: SparsityPattern::Unstructured,
                    columns,
                    keep: (0..rows * columns).map(|at| at % 3 > 0).collect(),
                });
            }
            let form = super::super::weight::codes(Method::Rtn, config, columns, is_integer);
            let found = there_and_back(form, is_table, &solved);
            prop_assert_eq!(found.into_data(), solved.dequantize().into_data());
        }
    }

    #[test]
    fn fractional_zeros_lie_in_blocks() {
        for bits in [3, 4] {
            let config = GridConfig {
                bits,
                group: 16,
                symmetric: false,
                scale_dtype: ScaleDtype::F32,
            };
            let solved = solved(config, 3, 40, true, 5);
            let form = super::super::weight::codes(Method::Hqq, config, 40, false);
            let found = there_and_back(form, false, &solved);
            assert_eq!(found.data(), solved.dequantize().data());
        }
    }
}
