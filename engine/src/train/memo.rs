//! Teachers' distributions cut to the likeliest tokens of each position with their probabilities, all others as one event
//! that holds the rest of the mass; kept on disk, so that teachers need not run again.
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
const MARK: &[u8; 8] = b"paremem2";

/// The likeliest tokens of one position.
#[derive(Debug, Clone, PartialEq)]
pub struct Likeliest {
    tokens: Vec<u32>,
    logs: Vec<f32>,
    /// Mass of all others.
    rest: f64,
}

/// Distributions of whole sequences.
#[derive(Debug)]
pub struct Memo {
    top: usize,
    /// Mean mass of the rest at a position.
    rest: f64,
    /// Where each sequence's first position stands, in positions.
    places: HashMap<String, usize>,
    tokens: Vec<u32>,
    logs: Vec<f32>,
}

/// What a memo holds of one sequence.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    top: usize,
    tokens: &'a [u32],
    logs: &'a [f32],
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

impl Likeliest {
    /// The `top` likeliest tokens of `distribution`, of equal ones the earlier: the same bytes from the same shares.
    pub fn of(distribution: &Distribution, top: usize) -> Self {
        let share = |&token: &u32| distribution.shares[token as usize];
        let order = |left: &u32, right: &u32| {
            let shares = share(right).total_cmp(&share(left));
            shares.then(left.cmp(right))
        };
        let mut tokens: Vec<u32> = (0..distribution.shares.len() as u32).collect();
        if top > 0 && top < tokens.len() {
            tokens.select_nth_unstable_by(top - 1, order);
        }
        tokens.truncate(top);
        tokens.sort_unstable_by(order);
        let mass: f64 = tokens.iter().map(share).sum();
        let logs = tokens.iter();
        let logs = logs.map(|&token| distribution.logs[token as usize] as f32);
        Self {
            logs: logs.collect(),
            rest: (1.0 - mass).max(0.0),
            tokens,
        }
    }

    /// As the loss takes it.
    pub fn taught(&self) -> Taught<'_> {
        Taught::Top {
            tokens: &self.tokens,
            logs: &self.logs,
        }
    }
}

impl MemoWriter {
    /// For the `top` likeliest tokens of each position.
    pub fn new(top: usize) -> Self {
        Self {
            memo: Memo {
                top,
                rest: 0.0,
                places: HashMap::new(),
                tokens: Vec::new(),
                logs: Vec::new(),
            },
            rest: 0.0,
            positions: 0,
        }
    }

    /// Takes all positions of a sequence.
    pub fn add(&mut self, sequence: &[u32], positions: &[Likeliest]) {
        let place = self.positions;
        if self.memo.places.insert(key(sequence), place).is_some() {
            return;
        }
        for likeliest in positions {
            self.rest += likeliest.rest;
            self.memo.logs.extend(&likeliest.logs);
            self.memo.tokens.extend(&likeliest.tokens);
            self.positions += 1;
        }
    }

    /// The memo.
    pub fn finish(self) -> Memo {
        Memo {
            rest: self.rest / self.positions.max(1) as f64,
            ..self.memo
        }
    }
}

impl<'a> Told<'a> {
    /// The distribution at a position.
    pub fn at(&self, position: usize) -> Option<Taught<'a>> {
        let range = position * self.top..(position + 1) * self.top;
        Some(Taught::Top {
            tokens: self.tokens.get(range.clone())?,
            logs: self.logs.get(range)?,
        })
    }
}

impl Memo {
    /// Mean mass of all other tokens at a position.
    pub fn rest(&self) -> f64 {
        self.rest
    }

    /// What is held of `sequence`; `None` where it was not seen.
    pub fn told(&self, sequence: &[u32]) -> Option<Told<'_>> {
        let first = self.places.get(&key(sequence))?.checked_mul(self.top)?;
        let range = first..first.checked_add(sequence.len() * self.top)?;
        Some(Told {
            top: self.top,
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
            put(&self.rest.to_le_bytes())?;
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
        let mut word = || Some(u64::from_le_bytes(take(8)?.try_into().ok()?));
        let mass = f64::from_bits(word()?);
        let mut number = || Some(word()? as usize);
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
            && mass.is_finite()
            && tokens.iter().all(|&token| (token as usize) < vocabulary)
            && logs.iter().all(|log| log.is_finite() && *log <= 1e-6);
        fits.then_some(Self {
            top,
            rest: mass,
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
