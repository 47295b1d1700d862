//! Which type of ggml a layer gets: the one whose blocks hold its grid, or the nearest to what was asked.
//!
//! Q4_0 and Q5_0 hold symmetric grids of up to 4 and 5 bits, Q8_0 of up to 8; Q4_1 and Q5_1 hold grids with zeros, whose least
//! value `-scale zero` they round to f16. Groups are whole blocks of 32, scales f16. Knows no file.

use crate::formats::layout::Held;
use crate::ggml::{self, GgmlType};
use crate::grid::{AffineGrid, GridConfig, ScaleDtype};
use crate::model::LayerInfo;
use crate::report::Fallback;
use crate::settings::{LayerSettings, Rank};
use crate::solved::{Grid, Method, Solved};
use crate::tensor::Dtype;

/// Values of the blocks that hold solved codes.
const BLOCK: usize = 32;

/// The type that plain values of `dtype` lie in.
pub(super) fn plain(dtype: Dtype) -> GgmlType {
    match dtype {
        Dtype::F16 => GgmlType::F16,
        Dtype::BF16 => GgmlType::BF16,
        _ => GgmlType::F32,
    }
}

/// The type whose blocks hold codes of such a grid.
pub(in crate::formats) fn of_grid(grid: GridConfig, columns: usize) -> Option<GgmlType> {
    let whole = columns.is_multiple_of(BLOCK) && grid.group.is_multiple_of(BLOCK);
    if !whole || grid.scale_dtype != ScaleDtype::F16 {
        return None;
    }
    Some(match (grid.symmetric, grid.bits) {
        (true, ..=4) => GgmlType::Q4_0,
        (true, 5) => GgmlType::Q5_0,
        (true, _) => GgmlType::Q8_0,
        (false, ..=4) => GgmlType::Q4_1,
        (false, 5) => GgmlType::Q5_1,
        (false, _) => return None,
    })
}

/// The type whose blocks hold this layer's codes as they are.
pub(super) fn of_solved(solved: &Solved) -> Option<GgmlType> {
    match &solved.grid {
        Grid::Affine(grid) if solved.factors.is_none() => of_grid(grid.config, grid.columns),
        _ => None,
    }
}

/// One row of a layer in the type that `of_solved` gave.
pub(super) fn pack_row(
    kind: GgmlType,
    solved: &Solved,
    grid: &AffineGrid,
    row: usize,
    bytes: &mut [u8],
) {
    let groups = grid.groups();
    let middle = match kind {
        GgmlType::Q4_0 => 8,
        GgmlType::Q5_0 => 16,
        _ => 0,
    };
    let mut codes = solved.codes.row(row).to_vec();
    let mut steps = Vec::with_capacity(codes.len() / BLOCK);
    let kept = solved.mask.as_ref().map(|mask| mask.row(row));
    for (block, codes) in codes.chunks_mut(BLOCK).enumerate() {
        let step = grid.step(row, groups.of(block * BLOCK));
        let zero = step.zero.round() as i32;
        for (place, code) in codes.iter_mut().enumerate() {
            let is_kept = kept.as_ref().is_none_or(|kept| kept[block * BLOCK + place]);
            let value = if is_kept { i32::from(*code) } else { zero };
            *code = match grid.config.symmetric {
                true => (value - zero + middle) as u8,
                false => value as u8,
            };
        }
        steps.push((step.scale, -step.scale * step.zero));
    }
    ggml::pack_row(kind, &steps, &codes, bytes);
}

/// The type asked, or the nearest whose blocks fit rows of `columns` values.
pub(super) fn fitting(asked: GgmlType, columns: usize) -> GgmlType {
    if columns.is_multiple_of(asked.block_values()) {
        return asked;
    }
    if !columns.is_multiple_of(BLOCK) {
        return GgmlType::F16;
    }
    match asked {
        GgmlType::Q2_K | GgmlType::Q3_K => GgmlType::IQ4_NL,
        GgmlType::Q4_K => GgmlType::Q5_0,
        GgmlType::Q5_K => GgmlType::Q5_1,
        _ => GgmlType::Q8_0,
    }
}

/// Why `fitting` chose another type.
pub(super) fn unfit(asked: GgmlType, found: GgmlType, columns: usize) -> Option<Fallback> {
    (asked != found).then(|| Fallback {
        from: asked.word().to_owned(),
        to: found.word().to_owned(),
        reason: format!(
            "rows of {columns} values are no whole blocks of {}",
            asked.block_values()
        ),
    })
}

/// The nearest type for values that no type holds exactly, by their bits.
pub(super) fn nearest(settings: &LayerSettings, columns: usize) -> GgmlType {
    let asked = match (settings.method, settings.bits) {
        (Method::Nf4, _) => GgmlType::IQ4_NL,
        (_, ..=2) => GgmlType::Q2_K,
        (_, 3) => GgmlType::Q3_K,
        (_, 4) => GgmlType::Q4_K,
        (_, 5) => GgmlType::Q5_K,
        (_, 6) => GgmlType::Q6_K,
        _ => GgmlType::Q8_0,
    };
    fitting(asked, columns)
}

/// What the container makes of settings before anything is solved: a grid that some type holds.
pub(in crate::formats) fn hold(layer: &LayerInfo, asked: LayerSettings) -> Held {
    let left = |settings: LayerSettings, reason: &str| Held {
        settings: LayerSettings {
            method: Method::None,
            ..settings
        },
        fallback: Some(Fallback {
            from: settings.method.word().to_owned(),
            to: Method::None.word().to_owned(),
            reason: reason.to_owned(),
        }),
    };
    let mut settings = asked;
    match asked.method {
        Method::None | Method::Float => {
            return Held {
                settings,
                fallback: None,
            };
        }
        Method::Nf4 | Method::Palette => {
            return left(
                asked,
                "gguf has no blocks of such levels; its nearest are rtn, gptq, awq or hqq with 4 bits and groups of 32",
            );
        }
        _ if asked.rank != Rank::None => return left(asked, "gguf has no place for factors"),
        _ if !layer.columns.is_multiple_of(BLOCK) => {
            return left(asked, "rows are no whole blocks of 32 values");
        }
        _ => {}
    }
    let mut changes = Vec::new();
    if settings.scale_dtype != ScaleDtype::F16 {
        settings.scale_dtype = ScaleDtype::F16;
        changes.push(("f16 scales".to_owned(), "gguf keeps scales as f16"));
    }
    if !settings.group.is_multiple_of(BLOCK) {
        settings.group = BLOCK;
        changes.push(("group 32".to_owned(), "gguf's blocks hold 32 values"));
    }
    if settings.bits > 5 && !settings.symmetric {
        settings.symmetric = true;
        changes.push(("symmetric".to_owned(), "Q8_0 has no zeros"));
    }
    let bits = match settings.bits {
        ..=4 => 4,
        5 => 5,
        _ => 8,
    };
    if settings.bits != bits {
        settings.bits = bits;
        changes.push((
            format!("{bits} bits"),
            "no block of gguf with solved codes has so few",
        ));
    }
    Held {
        fallback: told(&asked, changes),
        settings,
    }
}

fn told(asked: &LayerSettings, changes: Vec<(String, &str)>) -> Option<Fallback> {
    if changes.is_empty() {
        return None;
    }
    let (to, reasons): (Vec<String>, Vec<&str>) = changes.into_iter().unzip();
    let grid = if asked.symmetric {
        "symmetric"
    } else {
        "with zeros"
    };
    Some(Fallback {
        from: format!("{} bits, group {}, {grid}", asked.bits, asked.group),
        to: to.join(", "),
        reason: reasons.join("; "),
    })
}
