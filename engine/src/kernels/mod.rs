//! Raw slices in, raw slices out: the loops where the time goes, and the only `unsafe` of the engine.
//!
//! Every kernel has a slow twin in `reference` that says what it means, and tests that compare the two at sizes around
//! each tile edge. Work is split over rows and columns of the result, never over the summed dimension, and the split
//! depends on shapes alone: results are the same at any thread count. Parallel kernels run in the caller's rayon pool.
//! Knows no layers, grids or files.
#![allow(unsafe_code)] // every block carries its SAFETY comment

mod attention;
mod columns;
mod dispatch;
mod element;
mod exponential;
mod gemm;
pub mod integer;
mod lanes;
mod levels;
mod matvec;
mod prefetch;
pub mod quantize;
pub mod reference;
pub mod rulers;
mod slabs;
mod syrk;
mod transpose;

pub use attention::{
    AttentionShape, CacheRows, attend, load_f16, load_int8, store_f16, store_int8,
};
pub use columns::{
    Choice, LARGEST_CHOICE, PruneTile, RoundTile, prune_columns, round_columns,
    substitute_backward, substitute_forward,
};
pub use dispatch::{InstructionSet, instruction_set, limit_instruction_set};
pub use element::Element;
pub use exponential::exp;
pub use gemm::{Operand, Threads, gemm};
pub use levels::{LevelPanels, LevelShape, Levels, multiply_levels};
pub use matvec::{matvec_bf16, matvec_f16, matvec_f32};
pub use syrk::syrk_f32;
pub use transpose::transpose;
