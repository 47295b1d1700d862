//! Scales, fractional zeros and plain f32 values as little-endian bytes of their stored dtype, and back.
//!
//! Knows no layer. Values are expected to be snapped already, so that writing loses nothing; `pack` checks it.

use crate::grid::ScaleDtype;
use half::{bf16, f16};

/// `values` in `dtype`, little-endian.
pub fn to_bytes(values: &[f32], dtype: ScaleDtype) -> Vec<u8> {
    match dtype {
        ScaleDtype::F16 => spread(values, |value| f16::from_f32(value).to_le_bytes()),
        ScaleDtype::BF16 => spread(values, |value| bf16::from_f32(value).to_le_bytes()),
        ScaleDtype::F32 => spread(values, f32::to_le_bytes),
    }
}

/// Turns `to_bytes` around; a rest shorter than one value is left out.
pub fn from_bytes(bytes: &[u8], dtype: ScaleDtype) -> Vec<f32> {
    match dtype {
        ScaleDtype::F16 => gather(bytes, |value| f16::from_le_bytes(value).to_f32()),
        ScaleDtype::BF16 => gather(bytes, |value| bf16::from_le_bytes(value).to_f32()),
        ScaleDtype::F32 => gather(bytes, f32::from_le_bytes),
    }
}

fn spread<const SIZE: usize>(values: &[f32], encode: impl Fn(f32) -> [u8; SIZE]) -> Vec<u8> {
    values.iter().flat_map(|&value| encode(value)).collect()
}

fn gather<const SIZE: usize>(bytes: &[u8], decode: impl Fn([u8; SIZE]) -> f32) -> Vec<f32> {
    bytes
        .chunks_exact(SIZE)
        .map(|chunk| decode(chunk.try_into().expect("chunks_exact gives SIZE bytes")))
        .collect()
}
