//! Teachers' distributions on disk: at each position the likeliest tokens with their probabilities, all others as one
//! event that holds the rest of the mass.
//!
//! The divergence over these events is never more than the whole one (data processing), and nearly the same where the
//! rest is small; `rest` tells how small. Distributions are those at the loss's temperature. Knows no teacher.

use super::error::TrainError;
use super::loss::{Distribution, Taught};
use crate::formats::StoreError;
use crate::formats::store::atomic::write_file;
use crate::units::hex;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::Path;

/// The first bytes of the file.
const MARK: &[u8; 8] = b"paremem1";

/// Distributions of whole sequences.
#[derive(Debug)]
pub struct Memo {
    top: usize,
    /// Where each sequence's first position stands, in positions.
    places: HashMap<String, usize>,
    tokens: Vec<u32>,
    logs: Vec<f32>,
}

/// A memo being made.
#[derive(Debug)]
pub struct MemoWriter {
    memo: Memo,
    rest: f64,
    positions: usize,
}

/// Bytes that the distributions of `positions` positions take, in memory and on disk.
pub fn memo_bytes(positions: usize, top: usize) -> u64 {
    (positions * top * 8) as u64
}

fn key(sequence: &[u32]) -> String {
    let mut digest = Sha256::new();
    sequence
        .iter()
        .for_each(|id| digest.update(id.to_le_bytes()));
    hex(&digest.finalize())
}

impl MemoWriter {
    /// For the `top` likeliest tokens of each position.
    pub fn new(top: usize) -> Self {
        Self {
            memo: Memo {
                top,
                places: HashMap::new(),
                tokens: Vec::new(),
                logs: Vec::new(),
            },
            rest: 0.0,
            positions: 0,
        }
    }

    /// Takes the distributions of all positions of a sequence.
    pub fn add(&mut self, sequence: &[u32], distributions: &[Distribution]) {
        let place = self.positions;
        if self.memo.places.insert(key(sequence), place).is_some() {
            return;
        }
        for distribution in distributions {
            let mut order: Vec<u32> = (0..distribution.shares.len() as u32).collect();
            let share = |&token: &u32| distribution.shares[token as usize];
            // Of equal shares the earlier token first, so that bytes repeat.
            order.sort_unstable_by(|left, right| {
                share(right).total_cmp(&share(left)).then(left.cmp(right))
            });
            order.truncate(self.memo.top);
            let mass: f64 = order.iter().map(share).sum();
            self.rest += (1.0 - mass).max(0.0);
            let logs = order
                .iter()
                .map(|&token| distribution.logs[token as usize] as f32);
            self.memo.logs.extend(logs);
            self.memo.tokens.extend(order);
            self.positions += 1;
        }
    }

    /// The memo, and the mean mass of the rest at a position.
    pub fn finish(self) -> (Memo, f64) {
        (self.memo, self.rest / self.positions.max(1) as f64)
    }
}

impl Memo {
    /// Whether `sequence` was seen.
    pub fn holds(&self, sequence: &[u32]) -> bool {
        self.places.contains_key(&key(sequence))
    }

    /// The distribution at a position of a sequence.
    pub fn at(&self, sequence: &[u32], position: usize) -> Option<Taught<'_>> {
        let place = self.places.get(&key(sequence))? + position;
        let range = place * self.top..(place + 1) * self.top;
        Some(Taught::Top {
            tokens: self.tokens.get(range.clone())?,
            logs: self.logs.get(range)?,
        })
    }

    /// Writes the memo to `path`.
    pub fn write(&self, path: &Path) -> Result<(), TrainError> {
        write_file(path, |output| {
            let failed = StoreError::io("could not be written", path);
            let mut put = |bytes: &[u8]| output.write_all(bytes).map_err(&failed);
            put(MARK)?;
            for count in [self.top, self.places.len(), self.tokens.len()] {
                put(&(count as u64).to_le_bytes())?;
            }
            let mut places: Vec<_> = self.places.iter().collect();
            places.sort();
            for (key, &place) in places {
                put(key.as_bytes())?;
                put(&(place as u64).to_le_bytes())?;
            }
            for token in &self.tokens {
                put(&token.to_le_bytes())?;
            }
            self.logs.iter().try_for_each(|log| put(&log.to_le_bytes()))
        })?;
        Ok(())
    }

    /// Reads a memo for `vocabulary` tokens; `None` where the file is absent, damaged or another's.
    pub fn read(path: &Path, top: usize, vocabulary: usize) -> Option<Self> {
        let bytes = std::fs::read(path).ok()?;
        let mut rest = bytes.strip_prefix(MARK.as_slice())?;
        let mut take = |count: usize| {
            let (head, tail) = rest.split_at_checked(count)?;
            rest = tail;
            Some(head)
        };
        let mut number = || Some(u64::from_le_bytes(take(8)?.try_into().ok()?) as usize);
        let (found, sequences, values) = (number()?, number()?, number()?);
        let mut places = HashMap::new();
        for _ in 0..sequences {
            let key = String::from_utf8(take(64)?.to_vec()).ok()?;
            let place = u64::from_le_bytes(take(8)?.try_into().ok()?) as usize;
            places.insert(key, place);
        }
        let tokens: Vec<u32> = four(take(values.checked_mul(4)?)?)
            .map(u32::from_le_bytes)
            .collect();
        let logs: Vec<f32> = four(take(values.checked_mul(4)?)?)
            .map(f32::from_le_bytes)
            .collect();
        let fits = found == top
            && rest.is_empty()
            && tokens.iter().all(|&token| (token as usize) < vocabulary)
            && logs.iter().all(|log| log.is_finite() && *log <= 1e-6);
        fits.then_some(Self {
            top,
            places,
            tokens,
            logs,
        })
    }
}

fn four(bytes: &[u8]) -> impl Iterator<Item = [u8; 4]> {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().copied()
}
