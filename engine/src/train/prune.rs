//! Zeros that grow while the rest is trained: gradual magnitude pruning (Zhu and Gupta 2017, arXiv 1710.01878, equation
//! 1), `s_t = s_f (1 - (1 - (t - t_0) / (t_n - t_0))³)`, anywhere in a layer or as N:M and block patterns.
//!
//! A mask is the set of exact zeros that the last change left: between changes it is read from the values before a step,
//! so that a stored run needs no masks. Knows no loss.

use super::error::TrainError;
use super::learner::Variable;
use crate::mask::{SparsityPattern, keep_largest, kept_count};
use crate::recipe::TrainPruning;
use candle_core::{Device, Tensor};
use std::sync::{Mutex, PoisonError};

/// Grows zeros in some variables.
#[derive(Debug)]
pub struct Pruner {
    plan: TrainPruning,
    variables: Vec<Pruned>,
}

/// One pruned matrix.
#[derive(Debug)]
struct Pruned {
    variable: Variable,
    /// Stored `[in, out]`: patterns run along inputs.
    transposed: bool,
    /// Which values are kept, stored order; empty before the first change.
    kept: Mutex<Vec<bool>>,
}

impl Pruner {
    /// Prunes `variables` (matrices; the flag says which are stored `[in, out]`) over a run of `steps` steps.
    pub fn new(plan: TrainPruning, variables: Vec<(Variable, bool)>, steps: u64) -> Self {
        let until = match plan.until {
            0 => steps * 3 / 4,
            until => until,
        };
        let made = |(variable, transposed)| Pruned {
            variable,
            transposed,
            kept: Mutex::default(),
        };
        Self {
            plan: TrainPruning {
                until: until.clamp(plan.from, steps.max(plan.from)),
                ..plan
            },
            variables: variables.into_iter().map(made).collect(),
        }
    }

    /// Share of zeros after `step`; `None` before the first.
    pub fn share(&self, step: u64) -> Option<f64> {
        let TrainPruning {
            from,
            until,
            sparsity,
            ..
        } = self.plan;
        if step < from {
            return None;
        }
        let progress = match until.saturating_sub(from) {
            0 => 1.0,
            range => ((step - from) as f64 / range as f64).min(1.0),
        };
        Some(sparsity * (1.0 - (1.0 - progress).powi(3)))
    }

    /// Whether all zeros are there after `step`.
    pub fn is_complete(&self, step: u64) -> bool {
        step >= self.plan.until
    }

    /// Puts zeros back after a step, and more of them where it is time.
    pub(super) fn settle(&self, step: u64) -> Result<(), TrainError> {
        let Some(share) = self.share(step) else {
            return Ok(());
        };
        let TrainPruning {
            from, until, every, ..
        } = self.plan;
        let is_due = step == until || (step < until && (step - from).is_multiple_of(every));
        for pruned in &self.variables {
            let part = share / self.plan.sparsity.max(f64::MIN_POSITIVE);
            pruned.settle(is_due.then_some((self.plan.pattern, share, part)))?;
        }
        Ok(())
    }

    /// Takes up the masks of a stored run: zeros as they are.
    pub(super) fn resume(&self, step: u64) -> Result<(), TrainError> {
        if step > 0 && self.share(step).is_some() {
            for pruned in &self.variables {
                let values = pruned.values()?;
                *pruned.kept() = values.iter().map(|value| *value != 0.0).collect();
            }
        }
        Ok(())
    }

    /// Share of zeros in the pruned matrices now.
    pub fn sparsity(&self) -> Result<f64, TrainError> {
        let (mut zeros, mut all) = (0, 0);
        for pruned in &self.variables {
            let values = pruned.values()?;
            zeros += values.iter().filter(|value| **value == 0.0).count();
            all += values.len();
        }
        Ok(zeros as f64 / all.max(1) as f64)
    }
}

impl Pruned {
    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<bool>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn values(&self) -> Result<Vec<f32>, TrainError> {
        Ok(self.variable.var.flatten_all()?.to_vec1::<f32>()?)
    }

    /// Zeros what is not kept; with a change, after finding out anew what is.
    fn settle(&self, change: Option<(SparsityPattern, f64, f64)>) -> Result<(), TrainError> {
        let mut values = self.values()?;
        let mut kept = self.kept();
        let zero = |values: &mut [f32], kept: &[bool]| {
            let pairs = values.iter_mut().zip(kept);
            pairs
                .filter(|(_, kept)| !**kept)
                .for_each(|(value, _)| *value = 0.0);
        };
        zero(&mut values, &kept);
        if let Some((pattern, share, part)) = change {
            *kept = self.chosen(&values, pattern, share, part)?;
            zero(&mut values, &kept);
        }
        // What a resumed run would read.
        *kept = values.iter().map(|value| *value != 0.0).collect();
        let tensor = Tensor::from_vec(values, self.variable.var.shape(), &Device::Cpu)?;
        Ok(self.variable.var.set(&tensor)?)
    }

    /// Which values stay where `share` of all are to go. Of a pattern that fixes its own share, `part` of the values that
    /// it will take in the end: the smallest first.
    fn chosen(
        &self,
        values: &[f32],
        pattern: SparsityPattern,
        share: f64,
        part: f64,
    ) -> Result<Vec<bool>, TrainError> {
        let (first, second) = self.variable.var.dims2()?;
        let columns = if self.transposed { first } else { second };
        let place = |row: usize, column: usize| match self.transposed {
            true => column * second + row,
            false => row * second + column,
        };
        let group = match pattern {
            SparsityPattern::Unstructured => {
                let scores: Vec<f32> = values.iter().map(|value| value.abs()).collect();
                let mut kept = vec![false; values.len()];
                keep_largest(&scores, kept_count(values.len(), share), &mut kept);
                return Ok(kept);
            }
            SparsityPattern::NOfM { of, .. } => usize::from(of),
            SparsityPattern::Block { width } => usize::from(width),
        };
        let rows = values.len() / columns.max(1);
        let groups: Vec<Vec<usize>> = (0..rows)
            .flat_map(|row| (0..columns).step_by(group).map(move |column| (row, column)))
            .map(|(row, column)| {
                let members = column..(column + group).min(columns);
                members.map(|column| place(row, column)).collect()
            })
            .collect();
        Ok(match pattern {
            SparsityPattern::NOfM { kept, .. } => {
                within_groups(values, &groups, usize::from(kept), part)
            }
            _ => whole_groups(values, &groups, share),
        })
    }
}

/// In each group the largest `keep` stay; of the others the smallest `part` of all go.
fn within_groups(values: &[f32], groups: &[Vec<usize>], keep: usize, part: f64) -> Vec<bool> {
    let size = |place: &usize| values[*place].abs();
    let mut going: Vec<usize> = Vec::new();
    for group in groups {
        let mut order = group.clone();
        order.sort_by(|left, right| size(right).total_cmp(&size(left)));
        going.extend(order.into_iter().skip(keep));
    }
    going.sort_by(|left, right| size(left).total_cmp(&size(right)).then(left.cmp(right)));
    going.truncate((part * going.len() as f64).round() as usize);
    let mut kept = vec![true; values.len()];
    going.into_iter().for_each(|place| kept[place] = false);
    kept
}

/// Whole groups go: those of the smallest sums of squares.
fn whole_groups(values: &[f32], groups: &[Vec<usize>], share: f64) -> Vec<bool> {
    let score = |group: &Vec<usize>| group.iter().map(|&place| values[place].powi(2)).sum();
    let scores: Vec<f32> = groups.iter().map(score).collect();
    let mut stays = vec![false; groups.len()];
    keep_largest(&scores, kept_count(groups.len(), share), &mut stays);
    let mut kept = vec![true; values.len()];
    for (group, _) in groups.iter().zip(stays).filter(|(_, stays)| !stays) {
        group.iter().for_each(|&place| kept[place] = false);
    }
    kept
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::rng::Rng;
    use candle_core::Var;

    fn variable(rows: usize, columns: usize) -> Variable {
        let mut rng = Rng::new(1, 0);
        let values: Vec<f32> = (0..rows * columns).map(|_| rng.normal() as f32).collect();
        Variable {
            name: "x".to_owned(),
            var: Var::from_vec(values, (rows, columns), &Device::Cpu).unwrap(),
            decay: true,
            rate: 1.0,
        }
    }

    fn plan(pattern: SparsityPattern) -> TrainPruning {
        TrainPruning {
            pattern,
            sparsity: pattern.sparsity().unwrap_or(0.6),
            from: 2,
            until: 12,
            every: 3,
        }
    }

    /// Moves every value, zeros too, as a step would.
    fn disturb(variable: &Variable, seed: u64) {
        let mut rng = Rng::new(seed, 1);
        let values: Vec<f32> = variable.var.flatten_all().unwrap().to_vec1().unwrap();
        let moved = values
            .iter()
            .map(|x| x + 0.05 * rng.normal() as f32)
            .collect();
        let moved = Tensor::from_vec(moved, variable.var.shape(), &Device::Cpu).unwrap();
        variable.var.set(&moved).unwrap();
    }

    #[test]
    fn zeros_grow_along_the_cubic_and_stay() {
        for pattern in [
            SparsityPattern::Unstructured,
            SparsityPattern::TWO_OF_FOUR,
            SparsityPattern::BLOCK,
        ] {
            let variable = variable(12, 20);
            let pruner = Pruner::new(plan(pattern), vec![(variable.clone(), false)], 30);
            let mut last = 0.0;
            for step in 1..=20 {
                disturb(&variable, step);
                pruner.settle(step).unwrap();
                let found = pruner.sparsity().unwrap();
                assert!(
                    found >= last,
                    "{pattern}, step {step}: {found} after {last}"
                );
                if matches!(step, 2 | 5 | 8 | 11 | 12) {
                    let expected = pruner.share(step).unwrap();
                    assert!(
                        (found - expected).abs() < 0.02,
                        "{pattern}: {found}, {expected}"
                    );
                }
                last = found;
            }
            assert!(
                (last - plan(pattern).sparsity).abs() < 0.01,
                "{pattern}: {last}"
            );
        }
    }

    #[test]
    fn two_of_four_lie_along_inputs_however_they_are_stored() {
        for transposed in [false, true] {
            let variable = variable(8, 8);
            let pruner = Pruner::new(
                plan(SparsityPattern::TWO_OF_FOUR),
                vec![(variable.clone(), transposed)],
                20,
            );
            (1..=12).for_each(|step| pruner.settle(step).unwrap());
            let values: Vec<Vec<f32>> = match transposed {
                true => variable.var.t().unwrap().to_vec2().unwrap(),
                false => variable.var.to_vec2().unwrap(),
            };
            for row in values {
                for four in row.chunks(4) {
                    assert_eq!(
                        four.iter().filter(|x| **x == 0.0).count(),
                        2,
                        "{transposed}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_resumed_pruner_goes_on_with_the_same_zeros() {
        let (one, other) = (variable(6, 10), variable(6, 10));
        let make = |variable: &Variable| {
            let variables = vec![(variable.clone(), false)];
            Pruner::new(plan(SparsityPattern::Unstructured), variables, 30)
        };
        let whole = make(&one);
        let first = make(&other);
        for step in 1..=6 {
            disturb(&one, step);
            disturb(&other, step);
            whole.settle(step).unwrap();
            first.settle(step).unwrap();
        }
        let resumed = make(&other);
        resumed.resume(6).unwrap();
        for step in 7..=14 {
            disturb(&one, step);
            disturb(&other, step);
            whole.settle(step).unwrap();
            resumed.settle(step).unwrap();
        }
        let values = |variable: &Variable| variable.var.to_vec2::<f32>().unwrap();
        assert_eq!(values(&one), values(&other));
    }
}
