//! Products of packed weights of 2 to 8 bits with activations: as signed bytes (integer sums) or as f32.
//!
//! One form for all widths: unsigned codes times signed activations,
//! `y[t][n] = Σ_segments scale[n] * step[t] * (Σ code * a - zero[n] * Σ a)`.
//! Integer sums are exact on every instruction set and the f32 epilogue has one order, with fused multiply-adds where
//! `reference` says so; results are equal to the last bit on every instruction set and at any thread count.
//! Knows no layers: `packed` turns solved layers into `Panels`.
#![allow(clippy::needless_range_loop)] // an index names a register, a lane or a column of several arrays at once

mod activations;
mod aligned;
mod blocks;
mod dense;
mod float;
mod layout;
#[cfg(target_arch = "aarch64")]
mod neon;
mod panels;
mod portable;
mod product;
pub mod reference;
mod sparse;
mod tile;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use activations::{ActivationBits, ActivationScale, Activations};
pub use blocks::{BlockPanels, multiply_blocks, multiply_blocks_float};
pub use float::multiply_float;
pub use panels::{PanelShape, Panels};
pub use sparse::{MaskedCodes, SparsePanels, multiply_sparse, multiply_sparse_float};

use super::dispatch::{InstructionSet, instruction_set};
use tile::Kernel;

/// Values that are worth another thread when they are only looked at once.
pub(crate) const WORTH_THREADS: usize = 1 << 16;

/// The tiles of the instruction set at hand.
fn kernel() -> &'static Kernel {
    match instruction_set() {
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512Vnni => &x86::vnni512::KERNEL,
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2Vnni => &x86::vnni256::KERNEL,
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 | InstructionSet::Avx2 => &x86::avx2::KERNEL,
        #[cfg(target_arch = "aarch64")]
        InstructionSet::NeonI8mm => &neon::USDOT,
        #[cfg(target_arch = "aarch64")]
        InstructionSet::NeonDot => &neon::SDOT,
        #[cfg(target_arch = "aarch64")]
        InstructionSet::Neon => &neon::SMULL,
        _ => &portable::KERNEL,
    }
}

/// `output[token][row] = Σ_column weight * activation`, in the caller's rayon pool.
///
/// # Panics
/// If `output` is not `[tokens, rows]` or the activations were cut for another layout.
pub fn multiply_integer(output: &mut [f32], activations: &Activations, weights: &Panels) {
    let shape = weights.shape();
    assert_eq!(output.len(), activations.tokens() * shape.rows, "output");
    assert!(activations.fit(shape), "activations of another layout");
    let weights = dense::Dense {
        kernel: kernel(),
        weights,
        activations,
    };
    // SAFETY: `kernel` chose what this machine has; the output's length is asserted above.
    unsafe { product::multiply(output, activations, &weights) };
}

#[cfg(test)]
mod tests;
