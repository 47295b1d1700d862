//! The layout of AutoGPTQ and GPTQModel, which transformers and vLLM load too.
//!
//! ```text
//! qweight  i32 [in * bits / 32, out]      column `o` is one bit stream of codes along `in`, low bits first
//! qzeros   i32 [groups, out * bits / 32]  row `g` is one bit stream of zeros along `out`
//! scales   f16 [groups, out]
//! g_idx    i32 [in]                       the group of each input: `i / group`, groups always lie in order here
//! ```
//!
//! With 2, 4 and 8 bits a word holds 16, 8 or 4 values; with 3 bits three words hold 32 values, the 11th and the 22nd
//! of which cross a word's edge. 5 to 7 bits exist in one program's private layout only and are not written.
//!
//! Two `checkpoint_format`s exist. `gptq` stores `zero - 1`: a zero of 0 cannot be stored (loaders either add 1 to whole
//! words, so that it carries into the neighbour, or add it after unpacking, so that it becomes `2^bits`), and GPTQModel
//! refuses such files unless they are symmetric or its own. `gptq_v2` stores the zero itself. So a model of symmetric
//! layers only is written as `gptq`, which every loader knows, and any other as `gptq_v2`, which GPTQModel and
//! transformers through it load; vLLM 0.32 takes symmetric layers only.
//! Knows no file and no config; `formats` writes those.

mod unfit;

pub use unfit::{GROUPS, Unfit, WORD_CODES, nearest_group, unfit};

use super::kind::{PartSpec, bytes_of, specs_of};
use super::manifest::TOO_LARGE;
use super::{PackError, Part, bits};
use crate::grid::{AffineGrid, GridConfig, ScaleDtype};
use crate::mask::Mask;
use crate::solved::{Codes, Grid, Method, Solved};
use crate::tensor::Dtype;
use half::f16;
use rayon::prelude::*;

/// How zeros are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointFormat {
    /// `zero - 1`.
    V1,
    /// The zero itself.
    V2,
}

impl CheckpointFormat {
    /// The word in `quantization_config`.
    pub fn word(self) -> &'static str {
        match self {
            Self::V1 => "gptq",
            Self::V2 => "gptq_v2",
        }
    }

    /// The format of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "gptq" => Some(Self::V1),
            "gptq_v2" => Some(Self::V2),
            _ => None,
        }
    }

    fn offset(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 0,
        }
    }
}

/// The tensors of a layer that fits: suffix after the layer's name, dtype, shape, bytes. `None` where a size does not
/// exist.
pub fn parts(config: GridConfig, rows: usize, columns: usize) -> Option<Vec<PartSpec>> {
    specs_of(|see| each_part(config, rows, columns, see))
}

/// Bytes of these tensors. `None` where the number does not exist.
pub fn stored_bytes(config: GridConfig, rows: usize, columns: usize) -> Option<u64> {
    bytes_of(|see| each_part(config, rows, columns, see))
}

/// Shows `see` the suffix, dtype and shape of each tensor, in order. Allocates nothing.
fn each_part(
    config: GridConfig,
    rows: usize,
    columns: usize,
    mut see: impl FnMut(&'static str, Dtype, &[usize]) -> Option<()>,
) -> Option<()> {
    let words = |codes: usize| Some(codes.checked_mul(usize::from(config.bits))? / WORD_CODES);
    let groups = config.groups(columns).count();
    see("g_idx", Dtype::I32, &[columns])?;
    see("qweight", Dtype::I32, &[words(columns)?, rows])?;
    see("qzeros", Dtype::I32, &[groups, words(rows)?])?;
    see("scales", Dtype::F16, &[groups, rows])
}

/// Packs a solved layer that fits.
pub fn pack(name: &str, solved: &Solved, format: CheckpointFormat) -> Result<Vec<Part>, PackError> {
    let unfit_layer = |problem: String| PackError {
        layer: name.to_owned(),
        problem,
    };
    let grid = match &solved.grid {
        Grid::Affine(grid) => grid,
        Grid::Codebook(_) => return Err(unfit_layer(Unfit::Codebook.to_string())),
        Grid::Palette(_) => return Err(unfit_layer(Unfit::Palette.to_string())),
        Grid::Floats(_) | Grid::Nothing => return Err(unfit_layer(Unfit::Floats.to_string())),
    };
    if solved.factors.is_some() {
        return Err(unfit_layer(Unfit::Factors.to_string()));
    }
    if grid.fractional_zeros {
        return Err(unfit_layer(Unfit::FractionalZeros.to_string()));
    }
    let config = grid.config;
    if let Some(reason) = unfit(Method::Rtn, config, grid.rows, grid.columns) {
        return Err(unfit_layer(reason.to_string()));
    }
    let zeros = stored_zeros(grid, format).map_err(unfit_layer)?;
    let bytes = [
        group_indices(grid),
        match &solved.mask {
            None => pack_codes(&solved.codes, config.bits),
            Some(mask) => pack_codes(&zeros_as_codes(&solved.codes, grid, mask), config.bits),
        },
        bits::pack_rows(&zeros, grid.rows, config.bits),
        transposed_scales(grid),
    ];
    let specs = parts(config, grid.rows, grid.columns)
        .ok_or_else(|| unfit_layer(TOO_LARGE.to_owned()))?
        .into_iter();
    Ok(specs
        .zip(bytes)
        .map(|(spec, bytes)| spec.filled(bytes))
        .collect())
}

/// Codes with the zero of their group where the mask keeps nothing: zeros are whole, so that it stands for 0 exactly.
fn zeros_as_codes(codes: &Codes, grid: &AffineGrid, mask: &Mask) -> Codes {
    let groups = grid.groups();
    let mut codes = codes.clone();
    for (index, (code, &keep)) in codes.values.iter_mut().zip(&mask.keep).enumerate() {
        let (row, column) = (index / mask.columns, index % mask.columns);
        if !keep {
            *code = grid.step(row, groups.of(column)).zero as u8;
        }
    }
    codes
}

/// The bytes of a stored layer's tensors.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    /// `qweight`.
    pub qweight: &'a [u8],
    /// `qzeros`.
    pub qzeros: &'a [u8],
    /// `scales`, f16.
    pub scales: &'a [u8],
    /// `g_idx`; `None` = groups in order.
    pub g_idx: Option<&'a [u8]>,
}

/// Reads a stored layer, whoever wrote it, as a grid of its own: where `g_idx` scatters groups (act-order without
/// static groups), columns keep their place and each gets its own scale. The error says what does not fit.
pub fn unpack(
    config: GridConfig,
    rows: usize,
    columns: usize,
    format: CheckpointFormat,
    stored: Stored<'_>,
) -> Result<Solved, String> {
    check_layout(config, rows, columns, &stored)?;
    let groups = config.groups(columns).count();
    let codes = unpack_codes(stored.qweight, rows, columns, config.bits);
    let zeros = bits::unpack_rows(stored.qzeros, rows, config.bits);
    let scales: Vec<f32> = super::floats::from_bytes(stored.scales, ScaleDtype::F16);
    if let Some(scale) = scales.iter().find(|scale| !scale.is_finite()) {
        return Err(format!("its scales hold the value {scale}"));
    }
    let order = column_groups(stored.g_idx, columns, groups, config.groups(columns).size())?;
    let scattered = are_apart(config, columns, &order);
    let kept = GridConfig {
        group: if scattered { 1 } else { config.group },
        symmetric: false,
        ..config
    };
    let grid_groups = kept.groups(columns);
    let mut grid = AffineGrid::neutral(kept, rows, columns);
    for row in 0..rows {
        for group in 0..grid_groups.count() {
            let source = order[grid_groups.range(group).start] * rows + row;
            let index = row * grid_groups.count() + group;
            grid.scales[index] = scales[source];
            grid.zeros[index] = f32::from(zeros[source]) + f32::from(format.offset());
        }
    }
    let middle = config.middle();
    grid.config.symmetric = grid.zeros.iter().all(|&zero| zero == middle);
    Ok(Solved {
        method: Method::Gptq,
        codes,
        grid: Grid::Affine(grid),
        mask: None,
        factors: None,
        loss: None,
        warnings: Vec::new(),
    })
}

/// Whether `g_idx` puts columns of one group apart; what is no list of groups does not.
pub fn are_scattered(config: GridConfig, columns: usize, g_idx: &[u8]) -> bool {
    let layout = config.groups(columns);
    let order = column_groups(Some(g_idx), columns, layout.count(), layout.size());
    order.is_ok_and(|order| order.len() == columns && are_apart(config, columns, &order))
}

fn are_apart(config: GridConfig, columns: usize, order: &[usize]) -> bool {
    let layout = config.groups(columns);
    (0..columns).any(|column| order[column] != layout.of(column))
}

/// Zeros `[groups, out]` as stored.
fn stored_zeros(grid: &AffineGrid, format: CheckpointFormat) -> Result<Vec<u8>, String> {
    let groups = grid.groups().count();
    let mut zeros = Vec::with_capacity(groups * grid.rows);
    for group in 0..groups {
        for row in 0..grid.rows {
            let zero = super::pack::whole_zero(grid.step(row, group).zero, grid.config.max_code())?;
            zeros.push(zero.checked_sub(format.offset()).ok_or_else(|| {
                "checkpoint_format gptq cannot hold a zero of 0; gptq_v2 can".to_owned()
            })?);
        }
    }
    Ok(zeros)
}

fn group_indices(grid: &AffineGrid) -> Vec<u8> {
    let groups = grid.groups();
    (0..grid.columns)
        .flat_map(|column| (groups.of(column) as i32).to_le_bytes())
        .collect()
}

fn transposed_scales(grid: &AffineGrid) -> Vec<u8> {
    let groups = grid.groups().count();
    (0..groups * grid.rows)
        .flat_map(|index| {
            let scale = grid.scales[(index % grid.rows) * groups + index / grid.rows];
            f16::from_f32(scale).to_le_bytes()
        })
        .collect()
}

/// `[out, in]` codes to `[in * bits / 32, out]` words: a slab of `bits` words holds 32 inputs of every output.
fn pack_codes(codes: &Codes, bits: u8) -> Vec<u8> {
    let (rows, width) = (codes.rows, usize::from(bits));
    let mut words = vec![0u8; codes.columns / WORD_CODES * width * rows * 4];
    words
        .par_chunks_mut(width * rows * 4)
        .enumerate()
        .for_each(|(slab, output)| {
            let mut stream = [0u8; WORD_CODES];
            for row in 0..rows {
                let inputs = &codes.row(row)[slab * WORD_CODES..(slab + 1) * WORD_CODES];
                bits::pack_row(inputs, bits, &mut stream[..width * 4]);
                for (word, bytes) in stream[..width * 4].chunks_exact(4).enumerate() {
                    let place = (word * rows + row) * 4;
                    output[place..place + 4].copy_from_slice(bytes);
                }
            }
        });
    words
}

fn unpack_codes(words: &[u8], rows: usize, columns: usize, bits: u8) -> Codes {
    let width = usize::from(bits);
    let mut values = vec![0u8; rows * columns];
    values
        .par_chunks_mut(columns)
        .enumerate()
        .for_each(|(row, output)| {
            let mut stream = [0u8; WORD_CODES];
            for (slab, inputs) in output.chunks_exact_mut(WORD_CODES).enumerate() {
                for word in 0..width {
                    let place = ((slab * width + word) * rows + row) * 4;
                    stream[word * 4..word * 4 + 4].copy_from_slice(&words[place..place + 4]);
                }
                bits::unpack_row(&stream[..width * 4], bits, inputs);
            }
        });
    Codes {
        rows,
        columns,
        values,
    }
}

fn check_layout(
    config: GridConfig,
    rows: usize,
    columns: usize,
    stored: &Stored<'_>,
) -> Result<(), String> {
    if rows == 0 || columns == 0 || rows.checked_mul(columns).is_none() {
        return Err(format!("it has {rows} x {columns} weights"));
    }
    if !matches!(config.bits, 2 | 3 | 4 | 8) {
        return Err(Unfit::Bits(config.bits).to_string());
    }
    if !rows.is_multiple_of(WORD_CODES) || !columns.is_multiple_of(WORD_CODES) {
        return Err(Unfit::Widths { rows, columns }.to_string());
    }
    let found = [
        stored.g_idx.map_or(columns * 4, <[u8]>::len),
        stored.qweight.len(),
        stored.qzeros.len(),
        stored.scales.len(),
    ];
    let specs = parts(config, rows, columns).ok_or(TOO_LARGE)?;
    for (spec, found) in specs.iter().zip(found) {
        if found as u64 != spec.size_bytes {
            return Err(format!(
                "its {} has {found} bytes instead of {}",
                spec.suffix, spec.size_bytes
            ));
        }
    }
    Ok(())
}

fn column_groups(
    g_idx: Option<&[u8]>,
    columns: usize,
    groups: usize,
    size: usize,
) -> Result<Vec<usize>, String> {
    let Some(bytes) = g_idx else {
        return Ok((0..columns).map(|column| column / size).collect());
    };
    bytes
        .chunks_exact(4)
        .map(|chunk| {
            let index = i32::from_le_bytes(chunk.try_into().expect("chunks of 4 bytes"));
            usize::try_from(index)
                .ok()
                .filter(|&group| group < groups)
                .ok_or_else(|| format!("its g_idx names the group {index} of {groups}"))
        })
        .collect()
}

#[cfg(test)]
mod tests;
