//! N:M positions: which N of every M weights are kept, as the number of that choice among all choices.
//!
//! Choices are numbered in colexicographic order: kept positions `p1 < p2 < …` (counted from 0) have the number
//! `C(p1, 1) + C(p2, 2) + …`. It needs `ceil(log2 C(M, N))` bits, 3 for 2:4 and 7 for 4:8, and that many are given to the
//! shorter last group of a row too. A row is one bit stream, low bits first, padded to whole bytes.
//! Knows no values: `sparse` puts those where the choices say.

use crate::mask::LARGEST_M;
use rayon::prelude::*;

/// One more than the largest M.
const SIZE: usize = LARGEST_M as usize + 1;

/// `BINOMIALS[n][k]` = `C(n, k)`.
const BINOMIALS: [[u64; SIZE]; SIZE] = binomials();

const fn binomials() -> [[u64; SIZE]; SIZE] {
    let mut table = [[0; SIZE]; SIZE];
    let mut n = 0;
    while n < SIZE {
        table[n][0] = 1;
        let mut k = 1;
        while k <= n {
            table[n][k] = table[n - 1][k - 1] + table[n - 1][k];
            k += 1;
        }
        n += 1;
    }
    table
}

/// A pattern N:M with 0 < N < M <= 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choices {
    kept: usize,
    of: usize,
}

impl Choices {
    /// `None` where the pattern leaves no choice or too many.
    pub(super) fn new(kept: u8, of: u8) -> Option<Self> {
        (0 < kept && kept < of && of <= LARGEST_M).then_some(Self {
            kept: kept.into(),
            of: of.into(),
        })
    }

    /// Weights kept of a row.
    pub(super) fn kept_of_row(self, columns: usize) -> usize {
        columns / self.of * self.kept + (columns % self.of).min(self.kept)
    }

    /// Bytes of a row's positions.
    pub(super) fn row_bytes(self, columns: usize) -> Option<usize> {
        let bits = columns.div_ceil(self.of).checked_mul(self.bits())?;
        Some(bits.div_ceil(8))
    }

    /// Bits of one group's number.
    fn bits(self) -> usize {
        let last = BINOMIALS[self.of][self.kept] - 1;
        (u64::BITS - last.leading_zeros()) as usize
    }

    /// The positions of a mask of so many columns. The error is a clause.
    pub(super) fn pack(self, keep: &[bool], columns: usize) -> Result<Vec<u8>, String> {
        let width = self.row_bytes(columns).unwrap_or(0);
        let mut bytes = vec![0; keep.len() / columns.max(1) * width];
        bytes
            .par_chunks_mut(width.max(1))
            .zip(keep.par_chunks(columns.max(1)))
            .try_for_each(|(bytes, keep)| self.pack_row(keep, bytes))?;
        Ok(bytes)
    }

    fn pack_row(self, keep: &[bool], bytes: &mut [u8]) -> Result<(), String> {
        let mut stream = BitStream::default();
        let mut output = bytes.iter_mut();
        for group in keep.chunks(self.of) {
            let expected = group.len().min(self.kept);
            let found = group.iter().filter(|&&keep| keep).count();
            if found != expected {
                return Err(format!(
                    "{found} of {} neighbours are kept where its pattern keeps {expected}",
                    group.len()
                ));
            }
            stream.put(number_of(group), self.bits());
            while let Some(byte) = stream.whole_byte() {
                *output.next().expect("a row has room for its numbers") = byte;
            }
        }
        if let (Some(byte), Some(output)) = (stream.rest(), output.next()) {
            *output = byte;
        }
        Ok(())
    }

    /// Turns `pack` around. The error is a clause.
    pub(super) fn unpack(self, bytes: &[u8], columns: usize) -> Result<Vec<bool>, String> {
        let width = self.row_bytes(columns).unwrap_or(0).max(1);
        let mut keep = vec![false; bytes.len() / width * columns];
        keep.par_chunks_mut(columns.max(1))
            .zip(bytes.par_chunks(width))
            .try_for_each(|(keep, bytes)| self.unpack_row(bytes, keep))?;
        Ok(keep)
    }

    fn unpack_row(self, bytes: &[u8], keep: &mut [bool]) -> Result<(), String> {
        let mut stream = BitStream::default();
        let mut input = bytes.iter();
        for group in keep.chunks_mut(self.of) {
            while stream.held < self.bits() {
                let byte = input.next().expect("a row holds the numbers of its groups");
                stream.put(u64::from(*byte), 8);
            }
            let kept = group.len().min(self.kept);
            let number = stream.take(self.bits());
            if number >= BINOMIALS[group.len()][kept] {
                let of = group.len();
                return Err(format!(
                    "says {number}, which is no choice of {kept} in {of}"
                ));
            }
            choose(number, kept, group);
        }
        match stream.rest() {
            Some(rest) if rest != 0 => Err("has bits behind the end of a row".to_owned()),
            _ => Ok(()),
        }
    }
}

/// The number of a group's choice.
fn number_of(group: &[bool]) -> u64 {
    let kept = group.iter().enumerate().filter(|(_, keep)| **keep);
    kept.zip(1..)
        .map(|((position, _), nth)| BINOMIALS[position][nth])
        .sum()
}

/// Keeps in `group` the `kept` positions of choice `number`.
fn choose(mut number: u64, kept: usize, group: &mut [bool]) {
    let mut position = group.len();
    for nth in (1..=kept).rev() {
        // `C(nth - 1, nth)` is 0, so that a position is always found.
        loop {
            position -= 1;
            if BINOMIALS[position][nth] <= number {
                break;
            }
        }
        group[position] = true;
        number -= BINOMIALS[position][nth];
    }
}

/// Bits on their way between numbers and bytes, low bits first. Numbers have at most 30 bits, so that a byte fits beside.
#[derive(Debug, Default)]
struct BitStream {
    bits: u64,
    held: usize,
}

impl BitStream {
    fn put(&mut self, number: u64, bits: usize) {
        self.bits |= number << self.held;
        self.held += bits;
    }

    fn take(&mut self, bits: usize) -> u64 {
        let number = self.bits & ((1 << bits) - 1);
        self.bits >>= bits;
        self.held -= bits;
        number
    }

    fn whole_byte(&mut self) -> Option<u8> {
        (self.held >= 8).then(|| self.take(8) as u8)
    }

    /// The bits that fill no byte.
    fn rest(&mut self) -> Option<u8> {
        (self.held > 0).then(|| self.take(self.held) as u8)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_of_two_in_four_fit_three_bits() {
        let choices = Choices::new(2, 4).unwrap();
        assert_eq!(choices.bits(), 3);
        let rows = [
            ([true, true, false, false], 0),
            ([true, false, true, false], 1),
            ([false, true, true, false], 2),
            ([true, false, false, true], 3),
            ([false, true, false, true], 4),
            ([false, false, true, true], 5),
        ];
        for (group, number) in rows {
            assert_eq!(number_of(&group), number, "{group:?}");
            assert_eq!(choices.pack(&group, 4).unwrap(), [number as u8]);
        }
        // Two groups: 5 and 4, and two bits of padding.
        let keep = [false, false, true, true, false, true, false, true];
        assert_eq!(choices.pack(&keep, 8).unwrap(), [0b00_100_101]);
    }

    #[test]
    fn every_pattern_is_as_wide_as_its_choices_are_many() {
        for (kept, of, bits) in [(1, 2, 1), (1, 4, 2), (4, 8, 7), (2, 8, 5), (16, 32, 30)] {
            assert_eq!(Choices::new(kept, of).unwrap().bits(), bits, "{kept}:{of}");
        }
        for (kept, of) in [(0, 4), (4, 4), (5, 4), (1, 33), (0, 0)] {
            assert_eq!(Choices::new(kept, of), None, "{kept}:{of}");
        }
    }

    #[test]
    fn bytes_that_no_mask_makes_are_errors() {
        let choices = Choices::new(2, 4).unwrap();
        let cases = [
            (vec![6], 4, "no choice of 2 in 4"),
            (vec![0b1000], 4, "behind the end"),
            (vec![1], 2, "no choice of 2 in 2"),
            // The tail of 3 has three choices, 0 to 2.
            (vec![0b11_000], 7, "no choice of 2 in 3"),
        ];
        for (bytes, columns, expected) in cases {
            let found = choices.unpack(&bytes, columns).unwrap_err();
            assert!(found.contains(expected), "{bytes:?}: {found}");
        }
        for keep in [[true, false, false, false], [true, true, true, false]] {
            assert!(choices.pack(&keep, 4).is_err(), "{keep:?}");
        }
    }

    proptest! {
        #[test]
        fn masks_return_unchanged(
            of in 2u8..=32,
            kept in 1u8..32,
            columns in 1usize..80,
            rows in 1usize..4,
            seed: u64,
        ) {
            let kept = kept.min(of - 1);
            let choices = Choices::new(kept, of).unwrap();
            let scores: Vec<f32> = (0..rows * columns)
                .map(|index| (seed.rotate_left(index as u32 * 7) % 1000) as f32)
                .collect();
            let mut keep = vec![false; scores.len()];
            for (scores, keep) in scores.chunks(columns).zip(keep.chunks_mut(columns)) {
                crate::mask::keep_n_of_m(scores, kept.into(), of.into(), keep);
            }
            let bytes = choices.pack(&keep, columns).unwrap();
            prop_assert_eq!(bytes.len(), rows * choices.row_bytes(columns).unwrap());
            prop_assert_eq!(choices.unpack(&bytes, columns).unwrap(), keep);
        }
    }
}
