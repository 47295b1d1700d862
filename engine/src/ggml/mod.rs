//! Element types of ggml, the tensor library under llama.cpp: rows of floats <-> rows of blocks.
//!
//! A quantized row is cut into blocks of 32 or 256 values; a block holds its codes and scales and stands for itself. Layouts
//! are those of ggml-common.h; all numbers are little-endian. Decoding gives ggml's values bit for bit. Encoding without
//! importance gives the bytes of ggml's `quantize_row_*_ref`, with importance (the mean square of each input, what llama.cpp
//! calls an imatrix) those of its `quantize_*`. Every sum runs in the order of ggml's, so neither depends on threads.
//!
//! Not here: files (GGUF is `checkpoint`'s and `formats`' matter), names of tensors, solvers.

mod codes;
mod iq4_nl;
mod legacy;
mod plain;
mod q2_k;
mod q3_k;
mod q4_k;
mod q5_k;
mod q6_k;
mod search;
mod super_block;
#[cfg(test)]
mod tests;

pub use codes::{Unpacked, grid_of, replace_codes, unpack_row};
use rayon::prelude::*;
use std::fmt;

/// An element type that can be read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, non_camel_case_types)]
pub enum GgmlType {
    F32,
    F16,
    BF16,
    Q8_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    IQ4_NL,
}

/// What is fixed about a type: its word, its number in files, values and bytes of a block.
struct Row {
    word: &'static str,
    number: u32,
    values: usize,
    bytes: usize,
}

impl GgmlType {
    /// All types, in the order in which errors list them.
    pub const ALL: [Self; 14] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q8_0,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q2_K,
        Self::Q3_K,
        Self::Q4_K,
        Self::Q5_K,
        Self::Q6_K,
        Self::IQ4_NL,
    ];

    fn row(self) -> Row {
        let (word, number, values, bytes) = match self {
            Self::F32 => ("F32", 0, 1, 4),
            Self::F16 => ("F16", 1, 1, 2),
            Self::BF16 => ("BF16", 30, 1, 2),
            Self::Q4_0 => ("Q4_0", 2, 32, 18),
            Self::Q4_1 => ("Q4_1", 3, 32, 20),
            Self::Q5_0 => ("Q5_0", 6, 32, 22),
            Self::Q5_1 => ("Q5_1", 7, 32, 24),
            Self::Q8_0 => ("Q8_0", 8, 32, 34),
            Self::Q2_K => ("Q2_K", 10, 256, 84),
            Self::Q3_K => ("Q3_K", 11, 256, 110),
            Self::Q4_K => ("Q4_K", 12, 256, 144),
            Self::Q5_K => ("Q5_K", 13, 256, 176),
            Self::Q6_K => ("Q6_K", 14, 256, 210),
            Self::IQ4_NL => ("IQ4_NL", 20, 32, 18),
        };
        Row {
            word,
            number,
            values,
            bytes,
        }
    }

    /// Its word, as ggml spells it.
    pub fn word(self) -> &'static str {
        self.row().word
    }

    /// The type of a word; letters may be small.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.word().eq_ignore_ascii_case(word))
    }

    /// Its number in GGUF files.
    pub fn number(self) -> u32 {
        self.row().number
    }

    /// The type of a number in GGUF files.
    pub fn of_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// Values of a block; rows are whole numbers of blocks.
    pub fn block_values(self) -> usize {
        self.row().values
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        self.row().bytes
    }

    /// Whether it holds codes and scales instead of floats.
    pub fn is_quantized(self) -> bool {
        self.block_values() > 1
    }

    /// Bytes of `values` values, which are whole blocks; `None` where they are not, or the number does not exist.
    pub fn bytes_of(self, values: u64) -> Option<u64> {
        let row = self.row();
        if !values.is_multiple_of(row.values as u64) {
            return None;
        }
        (values / row.values as u64).checked_mul(row.bytes as u64)
    }

    /// Bits of one weight, scales included.
    pub fn bits_per_weight(self) -> f64 {
        let row = self.row();
        8.0 * row.bytes as f64 / row.values as f64
    }
}

impl fmt::Display for GgmlType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// Values of whole blocks that lie one behind the other.
///
/// # Panics
/// If `bytes` are not those of `values.len()` values: a mistake of the caller, never of a file.
pub fn decode(kind: GgmlType, bytes: &[u8], values: &mut [f32]) {
    assert_eq!(Some(bytes.len() as u64), kind.bytes_of(values.len() as u64));
    match kind {
        GgmlType::F32 => plain::decode_f32(bytes, values),
        GgmlType::F16 => plain::decode_f16(bytes, values),
        GgmlType::BF16 => plain::decode_bf16(bytes, values),
        GgmlType::Q8_0 => blocks(bytes, values, legacy::decode_q8_0),
        GgmlType::Q4_0 => blocks(bytes, values, legacy::decode_q4_0),
        GgmlType::Q4_1 => blocks(bytes, values, legacy::decode_q4_1),
        GgmlType::Q5_0 => blocks(bytes, values, legacy::decode_q5_0),
        GgmlType::Q5_1 => blocks(bytes, values, legacy::decode_q5_1),
        GgmlType::Q2_K => blocks(bytes, values, q2_k::decode_q2_k),
        GgmlType::Q3_K => blocks(bytes, values, q3_k::decode_q3_k),
        GgmlType::Q4_K => blocks(bytes, values, q4_k::decode_q4_k),
        GgmlType::Q5_K => blocks(bytes, values, q5_k::decode_q5_k),
        GgmlType::Q6_K => blocks(bytes, values, q6_k::decode_q6_k),
        GgmlType::IQ4_NL => blocks(bytes, values, iq4_nl::decode_iq4_nl),
    }
}

fn blocks<const BYTES: usize, const VALUES: usize>(
    bytes: &[u8],
    values: &mut [f32],
    decode: impl Fn(&[u8; BYTES], &mut [f32; VALUES]),
) {
    let (blocks, _) = bytes.as_chunks::<BYTES>();
    let (outputs, _) = values.as_chunks_mut::<VALUES>();
    for (block, output) in blocks.iter().zip(outputs) {
        decode(block, output);
    }
}

/// One row as blocks. `importance`: a weight of each column's error.
///
/// # Panics
/// If `bytes` are not those of `row.len()` values, or `importance` has another length than `row`.
pub fn encode_row(kind: GgmlType, row: &[f32], importance: Option<&[f32]>, bytes: &mut [u8]) {
    assert_eq!(Some(bytes.len() as u64), kind.bytes_of(row.len() as u64));
    if let Some(importance) = importance {
        assert_eq!(importance.len(), row.len());
    }
    match kind {
        GgmlType::F32 => plain::encode_f32(row, bytes),
        GgmlType::F16 => plain::encode_f16(row, bytes),
        GgmlType::BF16 => plain::encode_bf16(row, bytes),
        GgmlType::Q8_0 => legacy::encode_q8_0(row, bytes),
        GgmlType::Q4_0 => legacy::encode_q4_0(row, importance, bytes),
        GgmlType::Q4_1 => legacy::encode_q4_1(row, importance, bytes),
        GgmlType::Q5_0 => legacy::encode_q5_0(row, importance, bytes),
        GgmlType::Q5_1 => legacy::encode_q5_1(row, importance, bytes),
        GgmlType::Q2_K => q2_k::encode_q2_k(row, importance, bytes),
        GgmlType::Q3_K => q3_k::encode_q3_k(row, importance, bytes),
        GgmlType::Q4_K => q4_k::encode_q4_k(row, importance, bytes),
        GgmlType::Q5_K => q5_k::encode_q5_k(row, importance, bytes),
        GgmlType::Q6_K => q6_k::encode_q6_k(row, importance, bytes),
        GgmlType::IQ4_NL => iq4_nl::encode_iq4_nl(row, importance, bytes),
    }
}

/// One row of codes that a solver chose, in blocks of 32: nothing is rounded but `steps`, to f16. `steps`: scale and least
/// value of each block; the latter counts in Q4_1 and Q5_1 only. Codes run from 0; those of Q8_0 are signed bytes.
///
/// # Panics
/// If the type has no such blocks, or the lengths do not fit each other.
pub fn pack_row(kind: GgmlType, steps: &[(f32, f32)], codes: &[u8], bytes: &mut [u8]) {
    assert!(kind.block_values() == 32 && kind != GgmlType::IQ4_NL);
    assert_eq!(Some(bytes.len() as u64), kind.bytes_of(codes.len() as u64));
    assert_eq!(steps.len() * 32, codes.len());
    legacy::pack(kind, steps, codes, bytes);
}

/// A matrix of rows of `columns` values as blocks, rows side by side over the threads.
///
/// # Panics
/// If `columns` are no whole blocks or `values` no whole rows: `bytes_of` asks before.
pub fn encode(
    kind: GgmlType,
    columns: usize,
    values: &[f32],
    importance: Option<&[f32]>,
) -> Vec<u8> {
    let row_bytes = kind.bytes_of(columns as u64).expect("rows of whole blocks") as usize;
    assert!(columns > 0 && values.len().is_multiple_of(columns));
    let mut bytes = vec![0; values.len() / columns * row_bytes];
    bytes
        .par_chunks_mut(row_bytes)
        .zip(values.par_chunks(columns))
        .for_each(|(bytes, row)| encode_row(kind, row, importance, bytes));
    bytes
}
