//! Masks as bytes, and what a mask keeps without the zeros between.
//!
//! N:M masks are numbered choices (`combinations`); the others are bitmaps, a bit for each weight or block of a row. Kept
//! values lie in row order; of a block that the end of a row cuts, what is missing is stored as zero.
//! Knows no meaning of values.

use super::bits;
use super::combinations::Choices;
use super::stored::Sparsity;
use crate::mask::{Mask, SparsityPattern};

/// The mask's bytes. The error is a clause.
pub(super) fn pack_mask(mask: &Mask) -> Result<Vec<u8>, String> {
    if let SparsityPattern::NOfM { kept, of } = mask.pattern {
        let choices = Choices::new(kept, of).ok_or("its pattern leaves no choice")?;
        return choices.pack(&mask.keep, mask.columns);
    }
    let unit = mask.pattern.unit();
    let mut units = Vec::with_capacity(mask.keep.len() / unit + 1);
    for row in mask.keep.chunks(mask.columns.max(1)) {
        for block in row.chunks(unit) {
            if block.iter().any(|&keep| keep != block[0]) {
                return Err("a block of its mask is kept in part".to_owned());
            }
            units.push(u8::from(block[0]));
        }
    }
    Ok(bits::pack_rows(&units, mask.columns.div_ceil(unit), 1))
}

/// Turns `pack_mask` around for a mask of `[_, columns]` that keeps what `sparsity` says. The error is a clause.
pub(super) fn unpack_mask(
    bytes: &[u8],
    sparsity: Sparsity,
    columns: usize,
) -> Result<Mask, String> {
    let pattern = sparsity.pattern;
    let keep = match pattern {
        SparsityPattern::NOfM { kept, of } => Choices::new(kept, of)
            .ok_or("has a pattern that leaves no choice")?
            .unpack(bytes, columns)?,
        SparsityPattern::Unstructured | SparsityPattern::Block { .. } => {
            unpack_bitmap(bytes, sparsity, columns)?
        }
    };
    Ok(Mask {
        pattern,
        columns,
        keep,
    })
}

fn unpack_bitmap(bytes: &[u8], sparsity: Sparsity, columns: usize) -> Result<Vec<bool>, String> {
    let unit = sparsity.pattern.unit();
    let units = columns.div_ceil(unit);
    let width = bits::row_bytes(units, 1);
    let padding = match units % 8 {
        0 => 0,
        used => u8::MAX << used,
    };
    if bytes.chunks(width).any(|row| row[width - 1] & padding != 0) {
        return Err("has bits behind the end of a row".to_owned());
    }
    let kept: u64 = bytes.iter().map(|byte| u64::from(byte.count_ones())).sum();
    if kept.checked_mul(unit as u64) != Some(sparsity.values as u64) {
        return Err(format!(
            "keeps {kept} times {unit}, but its manifest says {} values",
            sparsity.values
        ));
    }
    let flags = bits::unpack_rows(bytes, units, 1);
    if unit == 1 {
        return Ok(flags.into_iter().map(|flag| flag != 0).collect());
    }
    let mut keep = Vec::with_capacity(bytes.len() / width * columns);
    for row in flags.chunks(units) {
        keep.extend((0..columns).map(|column| row[column / unit] != 0));
    }
    Ok(keep)
}

/// What `mask` keeps of `values`, in row order.
pub(super) fn gather<T: Copy + Default>(values: &[T], mask: &Mask) -> Vec<T> {
    let unit = mask.pattern.unit();
    let columns = mask.columns.max(1);
    let mut kept = Vec::with_capacity(mask.kept() + unit);
    for (values, keep) in values.chunks(columns).zip(mask.keep.chunks(columns)) {
        for (values, keep) in values.chunks(unit).zip(keep.chunks(unit)) {
            if keep[0] {
                kept.extend_from_slice(values);
                kept.extend((values.len()..unit).map(|_| T::default()));
            }
        }
    }
    kept
}

/// Turns `gather` around; zeros lie between. The error is a clause.
pub(super) fn scatter<T: Copy + Default + PartialEq>(
    kept: &[T],
    mask: &Mask,
) -> Result<Vec<T>, String> {
    let unit = mask.pattern.unit();
    let columns = mask.columns.max(1);
    let mut values = vec![T::default(); mask.keep.len()];
    let mut next = kept.chunks_exact(unit);
    for (values, keep) in values.chunks_mut(columns).zip(mask.keep.chunks(columns)) {
        for (values, keep) in values.chunks_mut(unit).zip(keep.chunks(unit)) {
            if !keep[0] {
                continue;
            }
            let block = next.next().ok_or("holds fewer values than are kept")?;
            let (inside, padding) = block.split_at(values.len());
            values.copy_from_slice(inside);
            if padding.iter().any(|&value| value != T::default()) {
                return Err("holds a value behind the end of a row".to_owned());
            }
        }
    }
    match next.next() {
        None => Ok(values),
        Some(_) => Err("holds more values than are kept".to_owned()),
    }
}
