//! Scales, fractional zeros, levels, factors and plain values as little-endian bytes of their stored dtype, and back.
//!
//! Knows no layer. Values are expected to be snapped already, so that writing loses nothing; `pack` checks it.

use crate::grid::ScaleDtype;
use crate::tensor::Dtype;
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

/// `values` as little-endian bytes of a float dtype that holds them exactly. The error is a clause.
pub(super) fn exact(values: &[f32], dtype: Dtype) -> Result<Vec<u8>, String> {
    let bytes = match dtype {
        Dtype::F64 => spread(values, |value| f64::from(value).to_le_bytes()),
        Dtype::F32 => spread(values, f32::to_le_bytes),
        Dtype::F16 => to_bytes(values, ScaleDtype::F16),
        Dtype::BF16 => to_bytes(values, ScaleDtype::BF16),
        other => return Err(format!("its values cannot be {other}")),
    };
    let read = decode(&bytes, dtype);
    let is_other = |(value, read): &(&f32, &f32)| value != read && !value.is_nan();
    match values.iter().zip(&read).find(is_other) {
        Some((value, _)) => Err(format!("{value} is not exact in {dtype}")),
        None => Ok(bytes),
    }
}

/// Little-endian values of a float dtype; none of any other.
pub(super) fn decode(bytes: &[u8], dtype: Dtype) -> Vec<f32> {
    match dtype {
        Dtype::F64 => gather(bytes, |value| f64::from_le_bytes(value) as f32),
        Dtype::F32 => from_bytes(bytes, ScaleDtype::F32),
        Dtype::F16 => from_bytes(bytes, ScaleDtype::F16),
        Dtype::BF16 => from_bytes(bytes, ScaleDtype::BF16),
        _ => Vec::new(),
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
