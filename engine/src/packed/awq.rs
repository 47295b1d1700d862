//! The GEMM layout of AutoAWQ, which transformers and vLLM load too: 4 bits, whole zeros.
//!
//! ```text
//! qweight  i32 [in, out / 8]      word `w` of input `i`: codes of outputs `8 w + 0 2 4 6 1 3 5 7`, low bits first
//! qzeros   i32 [groups, out / 8]  zeros, in the same order
//! scales   f16 [groups, out]
//! ```
//!
//! A weight is `scale * (code - zero)`; symmetric layers store their zero of 8. Groups lie in order and all have the same
//! length. Knows no file and no config; `formats` writes those. (AutoAWQ 0.2.9, `awq/modules/linear/gemm.py`.)

use super::kind::PartSpec;
use super::whole::{Whole, check_shape, checked};
use super::{PackError, Part, floats, whole};
use crate::grid::{GridConfig, ScaleDtype};
use crate::solved::{Codes, Solved};
use crate::tensor::Dtype;
use half::f16;
use rayon::prelude::*;

/// Bits of a code.
pub const BITS: u8 = 4;

/// Outputs come in multiples of this: so many codes fill a word.
pub const WORD_CODES: usize = 8;

/// Bytes of a word.
const WORD_BYTES: usize = 4;

/// Which of a word's outputs lies in which nibble, the lowest first.
const ORDER: [usize; WORD_CODES] = [0, 2, 4, 6, 1, 3, 5, 7];

/// The tensors of a layer. `None` where a size does not exist.
pub fn parts(config: GridConfig, rows: usize, columns: usize) -> Option<Vec<PartSpec>> {
    let groups = config.groups(columns).count();
    let words = rows / WORD_CODES;
    Some(vec![
        PartSpec::new("qweight", Dtype::I32, &[columns, words])?,
        PartSpec::new("qzeros", Dtype::I32, &[groups, words])?,
        PartSpec::new("scales", Dtype::F16, &[groups, rows])?,
    ])
}

/// Packs a solved layer whose grid is `config`.
pub fn pack(name: &str, solved: &Solved, config: GridConfig) -> Result<Vec<Part>, PackError> {
    let unfit = |problem: String| PackError {
        layer: name.to_owned(),
        problem,
    };
    let layer = Whole::of(name, solved, config)?;
    let (rows, columns) = (layer.grid.rows, layer.grid.columns);
    check_widths(config, rows, columns).map_err(unfit)?;
    let groups = layer.grid.groups().count();
    let scales = (0..groups * rows).flat_map(|index| {
        let scale = layer.grid.scales[index % rows * groups + index / rows];
        f16::from_f32(scale).to_le_bytes()
    });
    let bytes = [
        in_words(&layer.codes.values, rows, columns),
        in_words(&layer.zeros, rows, groups),
        scales.collect(),
    ];
    let specs = parts(config, rows, columns);
    let specs = specs.ok_or_else(|| unfit(super::manifest::TOO_LARGE.to_owned()))?;
    let filled = specs.into_iter().zip(bytes);
    Ok(filled.map(|(spec, bytes)| spec.filled(bytes)).collect())
}

/// Reads a stored layer, whoever wrote it. The error is the end of a sentence.
pub fn unpack(
    config: GridConfig,
    rows: usize,
    columns: usize,
    stored: &[Part],
) -> Result<Solved, String> {
    check_shape(rows, columns)?;
    check_widths(config, rows, columns)?;
    let specs = parts(config, rows, columns).ok_or(super::manifest::TOO_LARGE)?;
    let groups = config.groups(columns).count();
    let codes = out_of_words(checked(&specs[0], stored)?, rows, columns);
    let zeros = out_of_words(checked(&specs[1], stored)?, rows, groups);
    let turned = floats::from_bytes(checked(&specs[2], stored)?, ScaleDtype::F16);
    let scales = (0..rows * groups).map(|index| turned[index % groups * rows + index / groups]);
    let codes = Codes {
        rows,
        columns,
        values: codes,
    };
    let zeros = zeros.into_iter().map(f32::from).collect();
    whole::solved(config, codes, zeros, scales.collect())
}

fn check_widths(config: GridConfig, rows: usize, columns: usize) -> Result<(), String> {
    if config.bits != BITS || config.scale_dtype != ScaleDtype::F16 {
        Err(format!(
            "awq holds {BITS} bits and f16 scales, not {config}"
        ))
    } else if !rows.is_multiple_of(WORD_CODES) {
        Err(format!(
            "awq holds outputs in multiples of {WORD_CODES}, not {rows}"
        ))
    } else if !columns.is_multiple_of(config.groups(columns).size()) {
        let group = config.group;
        Err(format!(
            "awq holds groups that divide the {columns} inputs, not {group}"
        ))
    } else {
        Ok(())
    }
}

/// Codes `[rows, columns]` to words `[columns, rows / 8]`.
fn in_words(codes: &[u8], rows: usize, columns: usize) -> Vec<u8> {
    let width = rows / WORD_CODES * WORD_BYTES;
    let mut words = vec![0; columns * width];
    words
        .par_chunks_mut(width.max(1))
        .enumerate()
        .for_each(|(column, output)| {
            let code = |row: usize| codes[row * columns + column];
            for (word, bytes) in output.chunks_exact_mut(WORD_BYTES).enumerate() {
                for (byte, pair) in bytes.iter_mut().zip(ORDER.chunks_exact(2)) {
                    let first = word * WORD_CODES;
                    *byte = code(first + pair[0]) | code(first + pair[1]) << BITS;
                }
            }
        });
    words
}

/// Turns `in_words` around.
fn out_of_words(words: &[u8], rows: usize, columns: usize) -> Vec<u8> {
    let width = rows / WORD_CODES * WORD_BYTES;
    let mut places = [0; WORD_CODES];
    for (nibble, output) in ORDER.into_iter().enumerate() {
        places[output] = nibble;
    }
    let mut codes = vec![0; rows * columns];
    codes
        .par_chunks_mut(columns)
        .enumerate()
        .for_each(|(row, output)| {
            let nibble = places[row % WORD_CODES];
            let byte = row / WORD_CODES * WORD_BYTES + nibble / 2;
            for (column, code) in output.iter_mut().enumerate() {
                *code = words[column * width + byte] >> (nibble % 2 * 4) & 0xF;
            }
        });
    codes
}

#[cfg(test)]
mod tests;
