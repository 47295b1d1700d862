//! What a recipe leaves to the weights, settled before a run is planned: one threshold for a whole model becomes a
//! share of zeros for each layer, an energy becomes a rank.
//!
//! Weights are read once, and inputs come from the cache (gathered into it where they are not there yet). Each choice
//! becomes a rule of its own at the end of the recipe, so that the run's recipe says all of it. Settled recipes are
//! kept with the session: a dry run and the run after it look once.

use super::{OriginalInputs, Session, SessionError};
use crate::compress::{CompressError, scored_alone};
use crate::mask::{SparsityPattern, kept_count};
use crate::model::LayerInfo;
use crate::monitor::Silent;
use crate::recipe::{LayerRule, Overrides, Recipe, literal};
use crate::report::{Notice, Observer};
use crate::settings::{LayerSettings, PruneMethod, PruneScope, Pruning, Rank};
use crate::solve::rank_for_energy;
use crate::solved::Method;
use crate::tensor::Matrix;
use rayon::prelude::*;
use std::sync::PoisonError;

/// Scores are counted by so many of their upper bits: 128 bins for each power of two.
const DROPPED_BITS: u32 = 16;
const BINS: usize = 1 << (31 - DROPPED_BITS);

/// Shares of zeros are written with so many steps.
const SHARE_STEPS: f64 = 10_000.0;

/// A layer of which something is left to its weights.
struct Open {
    /// Index into the layers of the session.
    layer: usize,
    /// As it will be solved.
    settings: LayerSettings,
    /// The pruning that was asked for: the run tells what stands in for it.
    asked: PruneMethod,
    /// How often each score occurs, where it shares a threshold with others.
    scores: Option<Vec<u32>>,
    overrides: Overrides,
}

impl Session {
    /// `recipe` with everything said that only weights can tell. Without a text or a network that can be run, what needs
    /// inputs stays open: the run will say what is missing.
    pub(super) fn settled(
        &self,
        recipe: &Recipe,
        observer: &dyn Observer,
    ) -> Result<Recipe, SessionError> {
        let mut open = self.open_layers(recipe);
        if open.is_empty() {
            return Ok(recipe.clone());
        }
        let key = recipe.to_toml();
        let known = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(settled) = known.get(&key) {
            return Ok(settled.clone());
        }
        drop(known);
        let inputs = self.inputs_for(&open, recipe, observer)?;
        observer.notice(Notice::Stage {
            name: "reading the weights",
            steps: open.len() as u64,
        });
        let total = open.len() as u64;
        for (done, layer) in open.iter_mut().enumerate() {
            observer.check().map_err(CompressError::from)?;
            self.look(layer, inputs.as_ref(), observer)?;
            observer.step(done as u64 + 1, total);
        }
        share_thresholds(&mut open);
        let mut settled = recipe.clone();
        settled
            .layers
            .extend(open.into_iter().map(|open| LayerRule {
                pattern: literal(&self.layers[open.layer].name),
                overrides: open.overrides,
            }));
        let mut known = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(key, settled.clone());
        Ok(settled)
    }

    fn open_layers(&self, recipe: &Recipe) -> Vec<Open> {
        let infos: Vec<LayerInfo> = self.layers.clone();
        let decisions = recipe.resolve(&infos).decisions;
        let runs = self.model.is_ok() && recipe.calibration.corpus.is_some();
        let open = decisions
            .iter()
            .enumerate()
            .filter_map(|(layer, decision)| {
                let (settings, _) = scored_alone(&infos[layer], decision.settings);
                let is_scored = runs || settings.prune.method == PruneMethod::Magnitude;
                let shares = settings.prune.shares_threshold() && is_scored;
                let is_open = shares || matches!(settings.rank, Rank::Energy(_));
                (infos[layer].compressible && settings.method != Method::None && is_open).then(
                    || Open {
                        layer,
                        settings,
                        asked: decision.settings.prune.method,
                        scores: shares.then(Vec::new),
                        overrides: Overrides::default(),
                    },
                )
            });
        open.collect()
    }

    fn inputs_for(
        &self,
        open: &[Open],
        recipe: &Recipe,
        observer: &dyn Observer,
    ) -> Result<Option<OriginalInputs>, SessionError> {
        let is_needed = open.iter().any(|open| {
            open.scores.is_some() && open.settings.prune.method != PruneMethod::Magnitude
        });
        match is_needed {
            true => {
                let sequences = self.draw_sequences(&recipe.calibration)?;
                self.original_moments(&sequences, observer).map(Some)
            }
            false => Ok(None),
        }
    }

    /// Reads one layer's weights for all that is open of it.
    fn look(
        &self,
        open: &mut Open,
        inputs: Option<&OriginalInputs>,
        observer: &dyn Observer,
    ) -> Result<(), SessionError> {
        let info = &self.layers[open.layer];
        let weights = info.read(self.checkpoint.as_ref())?;
        if let Rank::Energy(energy) = open.settings.rank {
            let rank = rank_for_energy(&weights, energy, &Silent(observer))
                .map_err(|error| CompressError::of_solver(info, error))?;
            open.overrides.rank = Some(Rank::Fixed(rank));
        }
        if open.scores.is_some() {
            let moments = match (inputs, open.settings.prune.method) {
                (Some(inputs), PruneMethod::Wanda | PruneMethod::SparseGpt) => {
                    inputs.of_layer(open.layer)?
                }
                _ => None,
            };
            let squares = moments.as_ref().map(|moments| &moments.mean_square[..]);
            open.scores = Some(count_scores(&weights, squares, open.settings.prune.pattern));
        }
        Ok(())
    }
}

/// How often each score occurs: `(w ‖x‖)²` of a weight, or their sum over a block, beside the mean of its layer. A layer
/// whose outputs are small as a whole is worth no less than others: what counts is how unequal its weights are.
fn count_scores(
    weights: &Matrix,
    mean_square: Option<&[f32]>,
    pattern: SparsityPattern,
) -> Vec<u32> {
    let width = pattern.unit();
    let columns = weights.columns().max(1);
    let scores = |row: &[f32], see: &mut dyn FnMut(f32)| {
        for (index, block) in row.chunks(width).enumerate() {
            let squares = block.iter().enumerate().map(|(offset, weight)| {
                let importance = mean_square.map_or(1.0, |squares| squares[index * width + offset]);
                weight * weight * importance
            });
            see(squares.sum::<f32>().clamp(0.0, f32::MAX));
        }
    };
    let rows = weights.data().par_chunks(columns);
    let sums: Vec<f64> = rows
        .map(|row| {
            let mut sum = 0.0;
            scores(row, &mut |score| sum += f64::from(score));
            sum
        })
        .collect();
    let units = weights.rows() * columns.div_ceil(width);
    let mean = sums.iter().sum::<f64>() / units.max(1) as f64;
    let count_row = |mut counts: Vec<u32>, row: &[f32]| {
        scores(row, &mut |score| {
            let relative = f64::from(score) / mean.max(f64::MIN_POSITIVE);
            // Positive floats are ordered as their bits are.
            let bits = (relative as f32).max(0.0).to_bits();
            counts[(bits >> DROPPED_BITS) as usize] += 1;
        });
        counts
    };
    let add = |mut left: Vec<u32>, right: Vec<u32>| {
        let pairs = left.iter_mut().zip(right);
        pairs.for_each(|(sum, count)| *sum += count);
        left
    };
    let rows = weights.data().par_chunks(columns);
    rows.fold(|| vec![0; BINS], count_row)
        .reduce(|| vec![0; BINS], add)
}

/// Gives each layer the share of zeros that one threshold over all layers with the same pruning leaves it.
fn share_thresholds(open: &mut [Open]) {
    let mut seen: Vec<Pruning> = Vec::new();
    for index in 0..open.len() {
        let prune = open[index].settings.prune;
        if open[index].scores.is_none() || seen.contains(&prune) {
            continue;
        }
        seen.push(prune);
        let mut group: Vec<&mut Open> = open
            .iter_mut()
            .filter(|open| open.scores.is_some() && open.settings.prune == prune)
            .collect();
        let scores: Vec<&[u32]> = group
            .iter()
            .map(|open| open.scores.as_deref().unwrap_or_default())
            .collect();
        let shares = kept_shares(&scores, prune.sparsity);
        for (open, kept) in group.iter_mut().zip(shares) {
            open.overrides.prune = Some(Pruning {
                method: open.asked,
                sparsity: ((1.0 - kept) * SHARE_STEPS).round() / SHARE_STEPS,
                scope: PruneScope::Layer,
                ..prune
            });
        }
    }
}

/// The share of each layer's scores that are among the largest `1 - sparsity` of all. Of the bin in which the threshold
/// lies, each layer keeps the same part.
fn kept_shares(layers: &[&[u32]], sparsity: f64) -> Vec<f64> {
    let count = |layer: &&[u32]| layer.iter().map(|&count| count as usize).sum::<usize>();
    let all: Vec<usize> = layers.iter().map(count).collect();
    let mut left = kept_count(all.iter().sum(), sparsity);
    let mut kept = vec![0.0; layers.len()];
    for bin in (0..BINS).rev() {
        let here: usize = layers.iter().map(|layer| layer[bin] as usize).sum();
        let part = match here {
            0 => continue,
            here => left.min(here) as f64 / here as f64,
        };
        for (kept, layer) in kept.iter_mut().zip(layers) {
            *kept += part * f64::from(layer[bin]);
        }
        left -= left.min(here);
    }
    let shares = kept.iter().zip(&all);
    shares
        .map(|(kept, &all)| kept / all.max(1) as f64)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn random(power: i32, seed: u64) -> Matrix {
        let mut rng = Rng::new(seed, 0);
        Matrix::from_fn(64, 64, |_, _| (rng.normal() as f32).powi(power))
    }

    #[test]
    fn one_threshold_leaves_more_where_weights_are_more_equal() {
        let pattern = SparsityPattern::Unstructured;
        let (equal, unequal) = (random(1, 1), random(3, 2));
        let scores = [&equal, &unequal].map(|weights| count_scores(weights, None, pattern));
        let shares = kept_shares(&[&scores[0], &scores[1]], 0.5);
        assert!(shares[0] > shares[1] + 0.2, "{shares:?}");
        assert!(
            (shares[0] + shares[1] - 1.0).abs() < 1e-9,
            "half of all: {shares:?}"
        );
        // The slow twin: sort all.
        let relative = |weights: &Matrix| -> Vec<f64> {
            let squares = weights.data().iter().map(|&w| f64::from(w).powi(2));
            let mean = squares.clone().sum::<f64>() / 4096.0;
            squares.map(|square| square / mean).collect()
        };
        let mut all = [relative(&equal), relative(&unequal)].concat();
        all.sort_by(f64::total_cmp);
        let threshold = all[all.len() / 2];
        let slow = relative(&equal);
        let slow = slow.iter().filter(|&&score| score >= threshold).count() as f64 / 4096.0;
        assert!(
            (shares[0] - slow).abs() < 0.01,
            "{} beside {slow}",
            shares[0]
        );
    }

    #[test]
    fn inputs_weigh_the_scores_and_blocks_add_them() {
        let weights = Matrix::new(1, 6, vec![1.0, 1.0, 1.0, 1.0, 3.0, 0.0]);
        let squares = [1.0, 1.0, 1.0, 1.0, 4.0, 1.0];
        let bin = |score: f32| (score.to_bits() >> DROPPED_BITS) as usize;
        let plain = count_scores(&weights, Some(&squares), SparsityPattern::Unstructured);
        let mean = 40.0 / 6.0;
        let found = (plain[bin(1.0 / mean)], plain[bin(36.0 / mean)], plain[0]);
        assert_eq!(found, (4, 1, 1));
        let blocks = count_scores(&weights, Some(&squares), SparsityPattern::BLOCK);
        assert_eq!((blocks[bin(4.0 / 20.0)], blocks[bin(36.0 / 20.0)]), (1, 1));
    }

    #[test]
    fn all_or_nothing_is_kept_where_that_is_asked() {
        let scores = count_scores(&random(1, 3), None, SparsityPattern::Unstructured);
        assert_eq!(kept_shares(&[&scores], 1.0), [0.0]);
        assert_eq!(kept_shares(&[&scores], 0.0), [1.0]);
    }
}
