//! Which sequences a step sees: a seeded order that any step can be asked for, and sequences held out from it.
//!
//! Every epoch has an order of its own, drawn by seed and epoch; a step's sequences follow from its number alone, so
//! that a resumed run needs to know nothing else. Knows no text and no network.

use super::batch::Batch;
use super::error::TrainError;
use crate::rng::Rng;

/// The random streams: one that holds out, and from the next on one for each epoch.
const HELD_OUT_STREAM: u64 = 0x5452_4149_0000_0000;

/// Sequences in training order, and those held out.
#[derive(Debug, Clone)]
pub struct Batches {
    training: Vec<Vec<u32>>,
    held_out: Vec<Vec<u32>>,
    batch: usize,
    seed: u64,
}

impl Batches {
    /// Holds out `held_out` of `sequences`, drawn by `seed`: at most a quarter of them.
    pub fn new(
        sequences: Vec<Vec<u32>>,
        batch: usize,
        held_out: usize,
        seed: u64,
    ) -> Result<Self, TrainError> {
        let aside = held_out.min(sequences.len() / 4);
        let mut order: Vec<usize> = (0..sequences.len()).collect();
        Rng::new(seed, HELD_OUT_STREAM).shuffle(&mut order);
        let (chosen, rest) = order.split_at_mut(aside);
        chosen.sort_unstable();
        rest.sort_unstable();
        if batch == 0 {
            return Err(TrainError::misuse(
                "a step needs at least one sequence; give a batch of 1 or more",
            ));
        }
        if rest.is_empty() {
            return Err(TrainError::misuse(
                "the text holds no sequence to train on; give a longer text or shorter sequences",
            ));
        }
        let of = |indices: &[usize]| -> Vec<Vec<u32>> {
            let found = indices.iter().map(|&index| sequences[index].clone());
            found.collect()
        };
        Ok(Self {
            training: of(rest),
            held_out: of(chosen),
            batch,
            seed,
        })
    }

    /// The sequences of step `step`, counted from 0.
    pub fn sequences(&self, step: u64) -> Vec<Vec<u32>> {
        let first = step * self.batch as u64;
        let many = self.training.len() as u64;
        let (mut epoch, mut order) = (None, Vec::new());
        let places = (first..first + self.batch as u64).map(|position| {
            if epoch != Some(position / many) {
                epoch = Some(position / many);
                order = self.order(position / many);
            }
            order[(position % many) as usize]
        });
        places.map(|place| self.training[place].clone()).collect()
    }

    fn order(&self, epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.training.len()).collect();
        Rng::new(self.seed, HELD_OUT_STREAM + 1 + epoch).shuffle(&mut order);
        order
    }

    /// The held-out sequences, as batches of the training's size.
    pub fn held_out(&self) -> Vec<Batch> {
        let batches = self.held_out.chunks(self.batch);
        batches.map(|chunk| Batch::new(chunk.to_vec())).collect()
    }

    /// Numbers of training and held-out sequences.
    pub fn counts(&self) -> (usize, usize) {
        (self.training.len(), self.held_out.len())
    }

    /// Tokens of the longest sequence.
    pub fn longest(&self) -> usize {
        let all = self.training.iter().chain(&self.held_out);
        all.map(Vec::len).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::BTreeSet;

    fn batches(seed: u64) -> Batches {
        let sequences = (0..23).map(|index| vec![index; 3]).collect();
        Batches::new(sequences, 4, 5, seed).unwrap()
    }

    #[test]
    fn an_epoch_sees_every_sequence_once_and_held_out_ones_never() {
        let batches = batches(1);
        assert_eq!(batches.counts(), (18, 5));
        let seen: Vec<u32> = (0..9)
            .flat_map(|step| batches.sequences(step))
            .map(|sequence| sequence[0])
            .collect();
        let held_out: BTreeSet<u32> = batches
            .held_out()
            .iter()
            .flat_map(|batch| batch.sequences().iter().map(|sequence| sequence[0]))
            .collect();
        for epoch in [&seen[..18], &seen[18..]] {
            let different: BTreeSet<u32> = epoch.iter().copied().collect();
            assert_eq!(different.len(), 18);
            assert!(different.is_disjoint(&held_out));
        }
        assert_ne!(seen[..18], seen[18..], "epochs have orders of their own");
        assert_ne!(seen, self::batches(2).sequences(0).concat());
        assert_eq!(batches.sequences(7), self::batches(1).sequences(7));
    }

    #[test]
    fn a_short_text_keeps_most_of_its_sequences_for_training() {
        let few = Batches::new(vec![vec![1], vec![2], vec![3], vec![4]], 8, 100, 0).unwrap();
        assert_eq!(few.counts(), (3, 1));
        assert_eq!(few.sequences(0).len(), 8);
        for (sequences, batch, expected) in
            [(Vec::new(), 8, "no sequence"), (vec![vec![1]], 0, "batch")]
        {
            let error = Batches::new(sequences, batch, 1, 0).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
