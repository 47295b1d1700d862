//! A stored layer of bitsandbytes, whoever wrote it, becomes a solved one. Every length and value is checked.

use super::super::external::{bytes_of, part_of};
use super::super::{Part, floats};
use super::state::{State, parse_state};
use super::{Layout, NESTED_CODES, suffixes};
use crate::codebook::{BlockCodebook, BlockScales, NF4_LEVELS};
use crate::grid::ScaleDtype;
use crate::solved::{Codes, Floats, Grid, Method, Solved};
use crate::tensor::Dtype;

/// Reads a stored layer, whoever wrote it. The error is the end of a sentence.
pub fn unpack(
    layout: Layout,
    rows: usize,
    columns: usize,
    parts: &[Part],
) -> Result<Solved, String> {
    let state = parse_state(bytes_of(parts, layout.quant_type.state_suffix())?)?;
    let stored_levels = bytes_of(parts, suffixes::QUANT_MAP)?;
    if Layout::of_state(&state, stored_levels) != layout
        || (state.rows, state.columns) != (rows, columns)
    {
        return Err("its quant_state is another one than it was".to_owned());
    }
    let packed = bytes_of(parts, suffixes::WEIGHT)?;
    let weights = state.weights()?;
    if packed.len() != weights.div_ceil(2) {
        return Err(format!(
            "it has {} bytes of codes for {rows} x {columns} weights",
            packed.len()
        ));
    }
    let levels = numbers(parts, suffixes::QUANT_MAP, NF4_LEVELS.len())?;
    let maxima = maxima(&state, weights.div_ceil(state.block), parts)?;
    let codes = Codes {
        rows,
        columns,
        values: unpack_codes(packed, weights),
    };
    let (method, codes, grid) = match layout.keeps_codes() {
        true => {
            let grid = codebook(&state, layout.run, &maxima);
            (Method::Nf4, codes, Grid::Codebook(grid))
        }
        false => {
            let floats = Floats {
                dtype: Dtype::F32,
                values: values(&codes.values, &levels, &maxima, state.block),
            };
            let none = Codes {
                values: Vec::new(),
                ..codes
            };
            (Method::Float, none, Grid::Floats(floats))
        }
    };
    Ok(Solved {
        method,
        codes,
        grid,
        mask: None,
        factors: None,
        loss: None,
        warnings: Vec::new(),
    })
}

fn unpack_codes(packed: &[u8], weights: usize) -> Vec<u8> {
    let pairs = packed.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    pairs.take(weights).collect()
}

/// Maxima of all blocks.
fn maxima(state: &State, blocks: usize, parts: &[Part]) -> Result<Vec<f32>, String> {
    let Some(nested) = state.nested else {
        return numbers(parts, suffixes::ABSMAX, blocks);
    };
    let codes = bytes_of(parts, suffixes::ABSMAX)?;
    if codes.len() != blocks {
        return Err(count(suffixes::ABSMAX, codes.len(), blocks));
    }
    let map = numbers(parts, suffixes::NESTED_QUANT_MAP, NESTED_CODES)?;
    let outer = blocks.div_ceil(nested.block);
    let outer = numbers(parts, suffixes::NESTED_ABSMAX, outer)?;
    let shared = codes.chunks(nested.block).zip(outer);
    let maxima = shared.flat_map(|(codes, outer)| {
        let map = &map;
        codes
            .iter()
            .map(move |&code| map[usize::from(code)] * outer + nested.offset)
    });
    Ok(maxima.collect())
}

/// Codes whose maxima are repeated for each run.
fn codebook(state: &State, run: usize, maxima: &[f32]) -> BlockCodebook {
    let runs = state.rows * (state.columns / run);
    let scales = (0..runs).map(|index| maxima[index * run / state.block]);
    BlockCodebook {
        rows: state.rows,
        columns: state.columns,
        block: run,
        scales: BlockScales::Plain(scales.collect()),
    }
}

fn values(codes: &[u8], levels: &[f32], maxima: &[f32], block: usize) -> Vec<f32> {
    let blocks = codes.chunks(block).zip(maxima);
    blocks
        .flat_map(|(codes, maximum)| {
            codes
                .iter()
                .map(move |&code| levels[usize::from(code)] * maximum)
        })
        .collect()
}

/// So many finite f32.
fn numbers(parts: &[Part], suffix: &str, expected: usize) -> Result<Vec<f32>, String> {
    let part = part_of(parts, suffix)?;
    let values = floats::from_bytes(&part.bytes, ScaleDtype::F32);
    if part.dtype != Dtype::F32 || values.len() != expected {
        return Err(count(suffix, values.len(), expected));
    }
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(format!("its {suffix} holds the value {value}")),
        None => Ok(values),
    }
}

fn count(suffix: &str, found: usize, expected: usize) -> String {
    format!("its {suffix} has {found} values instead of {expected}")
}
