//! Stored element types to f32, a chunk at a time.
//!
//! Knows no file: bytes in, values out. Little-endian, as safetensors stores them.

use half::slice::HalfFloatSliceExt;

use crate::tensor::Dtype;

/// The dtype of ours for a safetensors dtype; `None` where values of that type cannot be read.
pub(super) fn dtype_of(stored: safetensors::Dtype) -> Option<Dtype> {
    use safetensors::Dtype as Stored;
    Some(match stored {
        Stored::F64 => Dtype::F64,
        Stored::F32 => Dtype::F32,
        Stored::F16 => Dtype::F16,
        Stored::BF16 => Dtype::BF16,
        Stored::I64 => Dtype::I64,
        Stored::I32 => Dtype::I32,
        Stored::I16 => Dtype::I16,
        Stored::I8 => Dtype::I8,
        Stored::U64 => Dtype::U64,
        Stored::U32 => Dtype::U32,
        Stored::U16 => Dtype::U16,
        Stored::U8 => Dtype::U8,
        Stored::BOOL => Dtype::Bool,
        _ => return None,
    })
}

/// Raises the float values in `bytes` to f32. `bytes` holds exactly `values.len()` elements of `dtype`.
///
/// # Panics
/// If `dtype` is no float type or the lengths do not fit: mistakes of the caller, never of a file.
pub(super) fn raise_to_f32(dtype: Dtype, bytes: &[u8], values: &mut [f32]) {
    assert_eq!(bytes.len(), values.len() * dtype.size_bytes());
    match dtype {
        Dtype::F32 => each(bytes, values, f32::from_le_bytes),
        Dtype::BF16 => each(bytes, values, |pair| {
            f32::from_bits(u32::from(u16::from_le_bytes(pair)) << 16)
        }),
        Dtype::F64 => each(bytes, values, |eight| f64::from_le_bytes(eight) as f32),
        Dtype::F16 => raise_f16(bytes, values),
        integer => panic!("{integer} values are not raised to f32"),
    }
}

fn each<const SIZE: usize>(bytes: &[u8], values: &mut [f32], raise: impl Fn([u8; SIZE]) -> f32) {
    let (elements, _) = bytes.as_chunks::<SIZE>();
    for (value, &element) in values.iter_mut().zip(elements) {
        *value = raise(element);
    }
}

/// Through `half`, which uses the machine's conversion instructions for whole slices.
fn raise_f16(bytes: &[u8], values: &mut [f32]) {
    const RUN: usize = 256;
    let mut halves = [half::f16::ZERO; RUN];
    for (run, output) in bytes.chunks(2 * RUN).zip(values.chunks_mut(RUN)) {
        let (pairs, _) = run.as_chunks::<2>();
        for (value, &pair) in halves.iter_mut().zip(pairs) {
            *value = half::f16::from_le_bytes(pair);
        }
        halves[..output.len()].convert_to_f32_slice(output);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_and_bf16_equals_the_scalar_conversion() {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let mut values = vec![0.0; 65536];
        raise_to_f32(Dtype::F16, &bytes, &mut values);
        for (bits, value) in (0..=u16::MAX).zip(&values) {
            let expected = half::f16::from_bits(bits).to_f32();
            assert!(
                value.to_bits() == expected.to_bits() || expected.is_nan() && value.is_nan(),
                "f16 {bits:#06x}: expected {expected}, got {value}"
            );
        }
        raise_to_f32(Dtype::BF16, &bytes, &mut values);
        for (bits, value) in (0..=u16::MAX).zip(&values) {
            let expected = half::bf16::from_bits(bits).to_f32();
            assert!(
                value.to_bits() == expected.to_bits() || expected.is_nan() && value.is_nan(),
                "bf16 {bits:#06x}: expected {expected}, got {value}"
            );
        }
    }

    #[test]
    fn wide_floats_are_rounded_to_nearest() {
        let wide = [1.0f64, -0.1, 1e300, f64::NAN];
        let bytes: Vec<u8> = wide.iter().flat_map(|value| value.to_le_bytes()).collect();
        let mut values = [0.0; 4];
        raise_to_f32(Dtype::F64, &bytes, &mut values);
        assert_eq!(values[..3], [1.0, -0.1f32, f32::INFINITY]);
        assert!(values[3].is_nan());
    }
}
