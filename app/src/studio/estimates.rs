//! Estimated errors of layers under settings, as they come in from the worker.
//!
//! A key is a layer and what of its settings decides the estimate; values are kept until the model or the inputs known
//! change. Knows no solver: numbers come from jobs.

use super::sparse;
use pare_engine::grid::ScaleDtype;
use pare_engine::mask::SparsityPattern;
use pare_engine::model::LayerInfo;
use pare_engine::preview::{Basis, Estimate};
use pare_engine::recipe::{LayerSettings, PruneMethod, PruneScope, Rank};
use pare_engine::solved::Method;
use std::collections::{HashMap, HashSet};

/// Layers previewed at once when several are selected.
pub const MOST_PREVIEWS: usize = 12;

/// Bits whose estimates are kept ready for every layer: the baselines of the trade-off and the inspector's curve.
pub const OPTION_BITS: [u8; 6] = [2, 3, 4, 5, 6, 8];

/// What decides an estimate, as a key that hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EstimateKey {
    /// The layer.
    pub layer: usize,
    method: Method,
    bits: u8,
    group: usize,
    symmetric: bool,
    clip_search: u32,
    scale_dtype: ScaleDtype,
    double_quant: bool,
    zeros: Option<Zeros>,
    rank: RankKey,
    palette_rows: usize,
}

/// Zeros asked for, as a key that hashes.
type Zeros = (PruneMethod, SparsityPattern, u64, PruneScope);

/// A rank asked for: its kind, and its number as bits.
type RankKey = (u8, u64);

fn zeros(settings: &LayerSettings) -> Option<Zeros> {
    let prune = sparse::zeros_of(settings)?;
    let share = prune.sparsity.to_bits();
    Some((prune.method, prune.pattern, share, prune.scope))
}

fn rank(settings: &LayerSettings) -> RankKey {
    match settings.rank {
        Rank::None => (0, 0),
        Rank::Fixed(rank) => (1, rank as u64),
        Rank::Share(share) => (2, share.to_bits()),
        Rank::Energy(energy) => (3, energy.to_bits()),
    }
}

impl EstimateKey {
    /// The key of `layer` under `settings`.
    pub fn new(layer: usize, settings: &LayerSettings) -> Self {
        Self {
            layer,
            method: settings.method,
            bits: settings.bits,
            group: settings.group,
            symmetric: settings.symmetric,
            clip_search: settings.clip_search,
            scale_dtype: settings.scale_dtype,
            double_quant: settings.double_quant,
            zeros: zeros(settings),
            rank: rank(settings),
            palette_rows: settings.palette_rows,
        }
    }
}

/// A wish for an estimate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wanted {
    /// Its key.
    pub key: EstimateKey,
    /// The whole settings.
    pub settings: LayerSettings,
}

/// Estimates known and asked for.
#[derive(Debug, Clone, Default)]
pub struct Estimates {
    known: HashMap<EstimateKey, Result<Estimate, String>>,
    asked: HashSet<EstimateKey>,
    /// The last known estimate of each layer, whatever its settings: shown as stale until the new one is there.
    last: HashMap<usize, Estimate>,
    version: u64,
    /// The number of the newest job.
    job: u64,
    /// Layers that were looked at when it began.
    looked_at: Vec<usize>,
    /// Answers of jobs before this one are about other inputs.
    first_valid: u64,
}

impl Estimates {
    /// The number of a new job, begun while `looked_at` are looked at; only its end counts from now on.
    pub fn begin(&mut self, looked_at: Vec<usize>) -> u64 {
        self.job += 1;
        self.looked_at = looked_at;
        self.asked.clear();
        self.job
    }

    /// Whether answers of `job` are about the inputs known now.
    pub fn is_valid(&self, job: u64) -> bool {
        job >= self.first_valid
    }

    /// Whether `job` is the newest one.
    pub fn is_newest(&self, job: u64) -> bool {
        job == self.job
    }

    /// The layers that the newest job answers first.
    pub fn looked_at(&self) -> &[usize] {
        &self.looked_at
    }

    /// Whether an answer is known or on its way.
    pub fn is_asked(&self, layer: usize, settings: &LayerSettings) -> bool {
        let key = EstimateKey::new(layer, settings);
        self.known.contains_key(&key) || self.asked.contains(&key)
    }

    /// What is known for `layer` under `settings`.
    pub fn get(&self, layer: usize, settings: &LayerSettings) -> Option<&Result<Estimate, String>> {
        self.known.get(&EstimateKey::new(layer, settings))
    }

    /// The last estimate that came in for `layer`, for older settings perhaps.
    pub fn last(&self, layer: usize) -> Option<&Estimate> {
        self.last.get(&layer)
    }

    /// Notes an answer.
    pub fn insert(&mut self, key: EstimateKey, estimate: Result<Estimate, String>) {
        self.asked.remove(&key);
        if let Ok(estimate) = &estimate {
            self.last.insert(key.layer, *estimate);
        }
        self.known.insert(key, estimate);
        self.version += 1;
    }

    /// Those of `wanted` neither known nor asked for; they count as asked from now on.
    pub fn ask(&mut self, wanted: impl Iterator<Item = (usize, LayerSettings)>) -> Vec<Wanted> {
        let mut new = Vec::new();
        for (layer, settings) in wanted {
            let key = EstimateKey::new(layer, &settings);
            if !self.known.contains_key(&key) && self.asked.insert(key) {
                new.push(Wanted { key, settings });
            }
        }
        new
    }

    /// Nothing asked will be answered (the job was dropped): it may be asked again.
    pub fn forget_asked(&mut self) {
        self.asked.clear();
    }

    /// Everything known was about other inputs, and so is what jobs begun before will still tell.
    pub fn clear(&mut self) {
        self.known.clear();
        self.asked.clear();
        self.first_valid = self.job + 1;
        self.version += 1;
    }

    /// Grows whenever something comes in.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether all of `layers` are known under what `settings` says.
    pub fn covers(&self, layers: &[LayerInfo], settings: &[LayerSettings]) -> bool {
        layers
            .iter()
            .enumerate()
            .filter(|(_, info)| info.compressible)
            .all(|(layer, _)| self.get(layer, &settings[layer]).is_some())
    }

    /// What estimates of inputs rest on, where any is known.
    pub fn basis(&self) -> Option<Basis> {
        self.last.values().next().map(|estimate| estimate.basis)
    }
}
