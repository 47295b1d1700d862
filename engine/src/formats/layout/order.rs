//! The order of tensors in a file.
//!
//! Every tensor must start on a multiple of its element size: some loaders map files and need that. The order given
//! keeps the tensors of a layer together, so that a writer packs each layer once; it stays where all tensors are
//! aligned in it, else they lie by falling element size.

use super::PlannedTensor;

/// Brings `tensors` into the order in which they are written.
pub(super) fn align(tensors: &mut [PlannedTensor]) {
    if !is_aligned(tensors) {
        tensors.sort_by_key(|tensor| std::cmp::Reverse(tensor.spec.dtype.size_bytes()));
    }
}

fn is_aligned(tensors: &[PlannedTensor]) -> bool {
    let mut offset = 0u64;
    tensors.iter().all(|tensor| {
        let aligned = offset.is_multiple_of(tensor.spec.dtype.size_bytes() as u64);
        offset += tensor.spec.size_bytes();
        aligned
    })
}
