//! Codes of 2 to 8 bits as a little-endian bit stream, one stream for each row, padded to whole bytes.
//!
//! Code `k` of a row fills bits `k * bits ..` counted from the lowest bit of the row's first byte:
//!
//! ```text
//! 3 bits   byte 0            byte 1            byte 2
//!          2 2 1 1 1 0 0 0   5 4 4 4 3 3 3 2   7 7 7 6 6 6 5 5      (digit = index of the code, highest bit first)
//! ```
//!
//! Eight codes always end on a byte edge, so that rows are worked on eight codes at a time.
//! Knows no grid: what a code means is not asked here.

use rayon::prelude::*;

/// Rows are worked on by several threads from this many codes on.
const PARALLEL_CODES: usize = 1 << 16;

/// Bytes of one row of `columns` codes.
pub fn row_bytes(columns: usize, bits: u8) -> usize {
    let (eights, rest) = (columns / 8, columns % 8);
    eights * usize::from(bits) + (rest * usize::from(bits)).div_ceil(8)
}

/// Packs `codes` (`rows * columns`, row-major), each below `2^bits`.
///
/// # Panics
/// If `bits` is not 1 to 8, or the codes are no whole number of rows.
pub fn pack_rows(codes: &[u8], columns: usize, bits: u8) -> Vec<u8> {
    if columns == 0 {
        return Vec::new();
    }
    assert_eq!(codes.len() % columns, 0, "whole rows of {columns} codes");
    let width = row_bytes(columns, bits);
    let mut packed = vec![0; codes.len() / columns * width];
    if codes.len() >= PARALLEL_CODES {
        packed
            .par_chunks_mut(width)
            .zip(codes.par_chunks(columns))
            .for_each(|(output, row)| pack_row(row, bits, output));
    } else {
        for (output, row) in packed.chunks_mut(width).zip(codes.chunks(columns)) {
            pack_row(row, bits, output);
        }
    }
    packed
}

/// Turns `pack_rows` around.
///
/// # Panics
/// If `bits` is not 1 to 8, or the bytes are no whole number of rows.
pub fn unpack_rows(packed: &[u8], columns: usize, bits: u8) -> Vec<u8> {
    if columns == 0 {
        return Vec::new();
    }
    let width = row_bytes(columns, bits);
    assert_eq!(packed.len() % width, 0, "whole rows of {width} bytes");
    let mut codes = vec![0; packed.len() / width * columns];
    if codes.len() >= PARALLEL_CODES {
        codes
            .par_chunks_mut(columns)
            .zip(packed.par_chunks(width))
            .for_each(|(row, input)| unpack_row(input, bits, row));
    } else {
        for (row, input) in codes.chunks_mut(columns).zip(packed.chunks(width)) {
            unpack_row(input, bits, row);
        }
    }
    codes
}

/// Packs one row into `output` (`row_bytes` of them).
pub fn pack_row(codes: &[u8], bits: u8, output: &mut [u8]) {
    match bits {
        1 => pack_eights::<1>(codes, output),
        2 => pack_eights::<2>(codes, output),
        3 => pack_eights::<3>(codes, output),
        4 => pack_eights::<4>(codes, output),
        5 => pack_eights::<5>(codes, output),
        6 => pack_eights::<6>(codes, output),
        7 => pack_eights::<7>(codes, output),
        8 => output.copy_from_slice(codes),
        _ => panic!("{bits} bits do not fit a byte"),
    }
}

/// Turns `pack_row` around.
pub fn unpack_row(packed: &[u8], bits: u8, codes: &mut [u8]) {
    match bits {
        1 => unpack_eights::<1>(packed, codes),
        2 => unpack_eights::<2>(packed, codes),
        3 => unpack_eights::<3>(packed, codes),
        4 => unpack_eights::<4>(packed, codes),
        5 => unpack_eights::<5>(packed, codes),
        6 => unpack_eights::<6>(packed, codes),
        7 => unpack_eights::<7>(packed, codes),
        8 => codes.copy_from_slice(packed),
        _ => panic!("{bits} bits do not fit a byte"),
    }
}

fn pack_eights<const BITS: usize>(codes: &[u8], output: &mut [u8]) {
    for (eight, bytes) in codes.chunks(8).zip(output.chunks_mut(BITS)) {
        let mut word = 0u64;
        for (index, &code) in eight.iter().enumerate() {
            word |= u64::from(code) << (index * BITS);
        }
        bytes.copy_from_slice(&word.to_le_bytes()[..bytes.len()]);
    }
}

fn unpack_eights<const BITS: usize>(packed: &[u8], codes: &mut [u8]) {
    let mask = (1u64 << BITS) - 1;
    for (bytes, eight) in packed.chunks(BITS).zip(codes.chunks_mut(8)) {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        let word = u64::from_le_bytes(word);
        for (index, code) in eight.iter_mut().enumerate() {
            *code = ((word >> (index * BITS)) & mask) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One bit at a time, as the drawing above says it.
    fn slow_pack_row(codes: &[u8], bits: u8) -> Vec<u8> {
        let mut bytes = vec![0u8; row_bytes(codes.len(), bits)];
        for (index, &code) in codes.iter().enumerate() {
            for bit in 0..usize::from(bits) {
                let place = index * usize::from(bits) + bit;
                bytes[place / 8] |= (code >> bit & 1) << (place % 8);
            }
        }
        bytes
    }

    #[test]
    fn three_bit_codes_lie_as_the_drawing_shows() {
        assert_eq!(
            pack_rows(&[1, 2, 3, 4, 5, 6, 7, 0], 8, 3),
            [0b1101_0001, 0b0101_1000, 0b0001_1111]
        );
        assert_eq!(pack_rows(&[3, 1, 2], 3, 2), [0b10_0111]);
    }

    #[test]
    fn large_layers_split_over_threads_give_the_same_bytes() {
        let (rows, columns) = (300, 333);
        let codes: Vec<u8> = (0..rows * columns)
            .map(|index| (index * 7 % 32) as u8)
            .collect();
        let packed = pack_rows(&codes, columns, 5);
        let slow: Vec<u8> = codes
            .chunks(columns)
            .flat_map(|row| slow_pack_row(row, 5))
            .collect();
        assert_eq!(packed, slow);
        assert_eq!(unpack_rows(&packed, columns, 5), codes);
    }

    proptest! {
        #[test]
        fn unpacking_gives_the_codes_back(
            bits in 1u8..=8,
            columns in 1usize..40,
            rows in 1usize..4,
            seed in any::<u64>(),
        ) {
            let mask = ((1u16 << bits) - 1) as u8;
            let codes: Vec<u8> = (0..rows * columns)
                .map(|index| (seed.rotate_left(index as u32 * 5) >> 3) as u8 & mask)
                .collect();
            let packed = pack_rows(&codes, columns, bits);
            let slow: Vec<u8> = codes
                .chunks(columns)
                .flat_map(|row| slow_pack_row(row, bits))
                .collect();
            prop_assert_eq!(&packed, &slow);
            prop_assert_eq!(unpack_rows(&packed, columns, bits), codes);
        }
    }
}
