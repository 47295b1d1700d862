//! Which type of ggml a layer gets: the one whose blocks hold its grid, or the nearest to what was asked.
//!
//! Q4_0 and Q5_0 hold symmetric grids of up to 4 and 5 bits, Q8_0 of up to 8, to the last bit. Q4_1 and Q5_1 hold the codes and
//! scales of grids with zeros, but round the least value `-scale zero` to f16: weights move by up to 2^-11 of it, 1/128 and
//! 1/64 of a step, which is told; so pruned weights stay zero in symmetric blocks only. Groups are whole blocks of 32, scales f16. Knows no file.

use crate::formats::layout::{Held, left_dense};
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

/// Whether values of a type are stored as those of a dtype.
pub(super) fn is_dtype(kind: GgmlType, dtype: Dtype) -> bool {
    matches!(
        (kind, dtype),
        (GgmlType::F32, Dtype::F32) | (GgmlType::F16, Dtype::F16) | (GgmlType::BF16, Dtype::BF16)
    )
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

/// What a reader of the report must know where solved layers lie in blocks of these types.
pub(in crate::formats) fn remark(kinds: impl Iterator<Item = GgmlType>) -> Option<String> {
    let moved = kinds.filter(|kind| matches!(kind, GgmlType::Q4_1 | GgmlType::Q5_1));
    let layers = moved.count();
    (layers > 0).then(|| {
        format!(
            "{layers} layers with zeros lie in Q4_1 or Q5_1, which keep their codes and scales but round the least value of a block to f16: weights move by up to 1/128 (Q4_1) or 1/64 (Q5_1) of a step; symmetric = true has no such value"
        )
    })
}

/// The type whose blocks hold this layer's codes as they are. Pruned weights are zero in symmetric blocks only: elsewhere zero
/// would be a code times a scale plus a rounded offset.
pub(super) fn of_solved(solved: &Solved) -> Option<GgmlType> {
    match &solved.grid {
        Grid::Affine(grid) if solved.factors.is_none() => of_grid(grid.config, grid.columns)
            .filter(|&kind| solved.mask.is_none() || holds_zero(kind)),
        _ => None,
    }
}

/// Whether blocks have a code that means 0 exactly, which rounding gives to a 0.
pub(super) fn holds_zero(kind: GgmlType) -> bool {
    match kind {
        GgmlType::Q4_1
        | GgmlType::Q5_1
        | GgmlType::Q2_K
        | GgmlType::Q4_K
        | GgmlType::Q5_K
        | GgmlType::IQ4_NL => false,
        GgmlType::F32
        | GgmlType::F16
        | GgmlType::BF16
        | GgmlType::Q8_0
        | GgmlType::Q4_0
        | GgmlType::Q5_0
        | GgmlType::Q3_K
        | GgmlType::Q6_K => true,
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
    let (middle, range) = match kind {
        GgmlType::Q4_0 => (8, 0..16),
        GgmlType::Q5_0 => (16, 0..32),
        GgmlType::Q8_0 => (0, -128..128),
        GgmlType::Q5_1 => (0, 0..32),
        _ => (0, 0..16),
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
            let value = match grid.config.symmetric {
                true => value - zero + middle,
                false => value,
            };
            debug_assert!(range.contains(&value), "{kind} has no code {value}");
            *code = value as u8;
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

/// The nearest type for values that no type holds exactly, by their bits; of pruned layers one that holds zeros.
pub(super) fn nearest(settings: &LayerSettings, columns: usize, is_pruned: bool) -> GgmlType {
    if is_pruned {
        let asked = match settings.bits {
            ..=3 => GgmlType::Q3_K,
            4 => GgmlType::Q4_0,
            5 => GgmlType::Q5_0,
            6 => GgmlType::Q6_K,
            _ => GgmlType::Q8_0,
        };
        return match fitting(asked, columns) {
            GgmlType::IQ4_NL => GgmlType::Q4_0,
            found => found,
        };
    }
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
    let mut settings = asked;
    match asked.method {
        Method::None | Method::Float => {
            return Held {
                settings,
                fallback: None,
            };
        }
        Method::Nf4 | Method::Palette => {
            return left_dense(
                asked,
                "gguf has no blocks of such levels; its nearest are rtn, gptq, awq or hqq with 4 bits and groups of 32",
            );
        }
        _ if asked.rank != Rank::None => return left_dense(asked, "gguf has no place for factors"),
        _ if !layer.columns.is_multiple_of(BLOCK) => {
            return left_dense(asked, "rows are no whole blocks of 32 values");
        }
        _ => {}
    }
    let mut changes = Vec::new();
    if settings.scale_dtype != ScaleDtype::F16 {
        settings.scale_dtype = ScaleDtype::F16;
        changes.push((
            "f16 scales".to_owned(),
            "gguf keeps scales as f16".to_owned(),
        ));
    }
    if !settings.group.is_multiple_of(BLOCK) {
        settings.group = BLOCK;
        changes.push((
            "group 32".to_owned(),
            "gguf's blocks hold 32 values".to_owned(),
        ));
    }
    if !settings.symmetric && !settings.prune.is_none() {
        settings.symmetric = true;
        let reason = "only gguf's symmetric blocks hold pruned weights as zeros";
        changes.push(("symmetric".to_owned(), reason.to_owned()));
    }
    let bits = match settings.bits {
        ..=4 => 4,
        5 => 5,
        _ => 8,
    };
    if bits == 8 && !settings.symmetric {
        settings.symmetric = true;
        changes.push(("symmetric".to_owned(), "Q8_0 has no zeros".to_owned()));
    }
    if settings.bits != bits {
        changes.push((format!("{bits} bits"), other_bits(asked.bits, bits)));
        settings.bits = bits;
    }
    Held {
        fallback: told(&asked, changes),
        settings,
    }
}

/// Why codes of `asked` bits lie in blocks of `held` bits, and what would hold fewer.
fn other_bits(asked: u8, held: u8) -> String {
    let nearest = match asked {
        2 => GgmlType::Q2_K,
        3 => GgmlType::Q3_K,
        _ => GgmlType::Q6_K,
    };
    format!(
        "gguf's blocks hold solved codes of 4, 5 and 8 bits, so a weight takes {:.1} bits with its scale; {nearest} takes {:.1} by rounding again: compress to format pare, then export with --type {nearest}",
        f64::from(held) + 0.5,
        nearest.bits_per_weight()
    )
}

fn told(asked: &LayerSettings, changes: Vec<(String, String)>) -> Option<Fallback> {
    if changes.is_empty() {
        return None;
    }
    let (to, reasons): (Vec<String>, Vec<String>) = changes.into_iter().unzip();
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
