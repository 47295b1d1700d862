//! Tiles on 128-bit vectors: `tbl` picks the activations of four rows, which meet their kept values as signed bytes.

use super::panels::{OCTET, OCTETS};
use super::tile::{SparseKernel, SparseTile};
use super::unpack::unpack;
use crate::kernels::integer::activations::Offset;
use crate::kernels::integer::aligned::LINE;
use crate::kernels::integer::neon::{
    Dot, Sdot, Smull, VECTORS, add_scaled, load_line, load_rows, store_rows,
};
use crate::kernels::integer::panels::PANEL;
use std::arch::aarch64::*;

/// For machines with dotprod.
pub(super) const SDOT: SparseKernel = kernel::<Sdot>();
/// For all of them.
pub(super) const SMULL: SparseKernel = kernel::<Smull>();

const fn kernel<D: Dot>() -> SparseKernel {
    SparseKernel {
        tokens: 2,
        panels: 1,
        offset: |_, _| Offset::None,
        unpack,
        multiply: multiply::<D>,
        stream: None,
    }
}

/// # Safety
/// As `SparseKernel::multiply`.
unsafe fn multiply<D: Dot>(tile: &SparseTile<'_>) {
    // SAFETY: the caller's.
    unsafe {
        match tile.tokens {
            1 => add::<D, 1>(tile),
            _ => add::<D, 2>(tile),
        }
    }
}

/// # Safety
/// As `SparseKernel::multiply`.
#[inline(always)]
unsafe fn add<D: Dot, const T: usize>(tile: &SparseTile<'_>) {
    // SAFETY: the rows of a tile lie in its output, which nobody else touches.
    let mut totals: [[f32; PANEL]; T] = unsafe { load_rows(&tile.totals, 0) };
    let lines = tile.values[0].as_chunks::<LINE>().0;
    let mut lines = lines.iter().zip(tile.controls[0].as_chunks::<LINE>().0);
    let mut octets = tile.octets.chunks(tile.stride * OCTET);
    for (index, segment) in tile.segments.iter().enumerate() {
        // SAFETY: the caller's.
        let mut sums = [unsafe { D::zero() }; T];
        let lines = lines.by_ref().take(segment.units * OCTETS);
        for ((values, controls), octets) in lines.zip(octets.by_ref()) {
            let (values, controls) = (load_line(values), load_line(controls));
            for (sums, octet) in sums.iter_mut().zip(octets.as_chunks::<OCTET>().0) {
                // SAFETY: NEON is part of the target; the instructions are the caller's promise.
                unsafe {
                    let octet = vreinterpretq_s8_u64(vdupq_n_u64(u64::from_le_bytes(*octet)));
                    let picked = controls.map(|controls| vqtbl1q_s8(octet, controls));
                    D::add(sums, &values, picked);
                }
            }
        }
        let mut scales = [[0.0; PANEL]; 2];
        for (row, scale) in scales[0].iter_mut().enumerate() {
            *scale = tile.steps_of_panels[0].at(segment.group, row).0;
        }
        for (token, (totals, sums)) in totals.iter_mut().zip(sums).enumerate() {
            let step = tile.steps[index * tile.stride + token];
            // SAFETY: the caller's.
            let products: [int32x4_t; VECTORS] = unsafe { D::rows(sums) };
            add_scaled(totals, products, &scales, 0.0, step);
        }
    }
    // SAFETY: as above.
    unsafe { store_rows(&tile.totals, 0, &totals) };
}
