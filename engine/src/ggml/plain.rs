//! F32, F16, BF16: plain floats, rounded to nearest, ties to even, as ggml rounds them.

use half::slice::HalfFloatSliceExt as _;
use half::{bf16, f16};

pub(super) fn decode_f32(bytes: &[u8], values: &mut [f32]) {
    let (elements, _) = bytes.as_chunks::<4>();
    for (value, &element) in values.iter_mut().zip(elements) {
        *value = f32::from_le_bytes(element);
    }
}

pub(super) fn decode_f16(bytes: &[u8], values: &mut [f32]) {
    const RUN: usize = 256;
    let mut halves = [f16::ZERO; RUN];
    for (run, output) in bytes.chunks(2 * RUN).zip(values.chunks_mut(RUN)) {
        let (pairs, _) = run.as_chunks::<2>();
        for (value, &pair) in halves.iter_mut().zip(pairs) {
            *value = f16::from_le_bytes(pair);
        }
        halves[..output.len()].convert_to_f32_slice(output);
    }
}

pub(super) fn decode_bf16(bytes: &[u8], values: &mut [f32]) {
    let (pairs, _) = bytes.as_chunks::<2>();
    for (value, &pair) in values.iter_mut().zip(pairs) {
        *value = f32::from_bits(u32::from(u16::from_le_bytes(pair)) << 16);
    }
}

pub(super) fn encode_f32(row: &[f32], bytes: &mut [u8]) {
    let (elements, _) = bytes.as_chunks_mut::<4>();
    for (element, value) in elements.iter_mut().zip(row) {
        *element = value.to_le_bytes();
    }
}

pub(super) fn encode_f16(row: &[f32], bytes: &mut [u8]) {
    let (pairs, _) = bytes.as_chunks_mut::<2>();
    for (pair, &value) in pairs.iter_mut().zip(row) {
        *pair = f16::from_f32(value).to_le_bytes();
    }
}

pub(super) fn encode_bf16(row: &[f32], bytes: &mut [u8]) {
    let (pairs, _) = bytes.as_chunks_mut::<2>();
    for (pair, &value) in pairs.iter_mut().zip(row) {
        *pair = bf16::from_f32(value).to_le_bytes();
    }
}

/// The f16 at `at` of a block.
pub(super) fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Puts `value` as f16 to `at` and gives what it became.
pub(super) fn put_half(block: &mut [u8], at: usize, value: f32) -> f32 {
    let half = f16::from_f32(value);
    block[at..at + 2].copy_from_slice(&half.to_le_bytes());
    half.to_f32()
}
