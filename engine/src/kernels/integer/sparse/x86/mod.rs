//! Tiles for x86: one file per instruction set.

pub(super) mod avx2;
mod stream_avx2;
mod unpack256;
pub(super) mod vnni256;
pub(super) mod vnni512;
