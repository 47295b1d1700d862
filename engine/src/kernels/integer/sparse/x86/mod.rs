//! Tiles for x86: one file per instruction set.

pub(super) mod avx2;
pub(super) mod vnni256;
pub(super) mod vnni512;
