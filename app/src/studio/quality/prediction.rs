//! What the sensitivity table predicts of runs, beside what was measured of them.

use super::RunPlace;
use super::ran::main_method;
use crate::studio::project::Project;
use crate::studio::runs::{Run, RunId, RunStatus};
use pare_engine::recipe::{LayerSettings, Recipe};
use pare_engine::session::Agreement;
use std::collections::HashMap;

/// How losses predicted of finished runs compare with those measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// Runs compared.
    pub runs: usize,
    /// Spearman's rank correlation; `None` for fewer than 3 runs.
    pub rank_correlation: Option<f64>,
    /// Median of predicted / measured.
    pub median_ratio: f64,
    /// Lower and upper quartile of predicted / measured; `None` for fewer than 3 runs.
    pub spread: Option<[f64; 2]>,
}

/// Runs from which a spread says something.
const FEWEST: usize = 3;

impl Prediction {
    /// What pairs of predicted and measured say; `None` where none has a ratio.
    pub fn of(pairs: &[(f64, f64)]) -> Option<Self> {
        let agreement = Agreement::of(pairs)?;
        let ratios = pairs.iter().filter(|(_, measured)| *measured > 0.0);
        let mut ratios: Vec<f64> = ratios
            .map(|(predicted, measured)| predicted / measured)
            .collect();
        ratios.sort_unstable_by(f64::total_cmp);
        let quartiles = quantile(&ratios, 0.25).zip(quantile(&ratios, 0.75));
        Some(Self {
            runs: agreement.pairs,
            rank_correlation: agreement.rank_correlation,
            median_ratio: agreement.median_ratio?,
            spread: quartiles
                .filter(|_| ratios.len() >= FEWEST)
                .map(|(low, high)| [low, high]),
        })
    }
}

/// Where `share` of `sorted` lies below, between neighbours where it falls between them.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = share * last as f64;
    let (low, high) = (
        sorted[place.floor() as usize],
        sorted[place.ceil() as usize],
    );
    Some(low + (high - low) * place.fract())
}

/// What one version of the table predicts of runs; kept, since recipes are read for it.
#[derive(Debug, Clone, Default)]
pub(super) struct Predictions {
    version: u64,
    of_runs: HashMap<RunId, Option<f64>>,
}

impl Predictions {
    /// These, for the table and the runs as they are now. A table that still grows says nothing of runs.
    pub(super) fn follow(&self, project: &Project, runs: &[&Run]) -> Self {
        let sensitivity = &project.sensitivity;
        let version = sensitivity.version;
        let mut of_runs = match version == self.version {
            true => self.of_runs.clone(),
            false => HashMap::new(),
        };
        if !sensitivity.has_rows() || sensitivity.is_measuring() {
            return Self {
                version: 0,
                of_runs: HashMap::new(),
            };
        }
        for run in runs.iter().filter(|run| run.status == RunStatus::Done) {
            of_runs
                .entry(run.id)
                .or_insert_with(|| predict(project, run));
        }
        Self { version, of_runs }
    }

    /// What is predicted of a run.
    pub(super) fn of(&self, run: RunId) -> Option<f64> {
        self.of_runs.get(&run).copied().flatten()
    }

    /// Predicted beside measured.
    pub(super) fn beside(&self, runs: &[RunPlace]) -> Option<Prediction> {
        let pair = |run: &RunPlace| Some((self.of(run.id)?, run.loss?.0));
        Prediction::of(&runs.iter().filter_map(pair).collect::<Vec<_>>())
    }
}

/// The loss predicted of a run by a table of its own method.
fn predict(project: &Project, run: &Run) -> Option<f64> {
    let report = run.report.as_ref()?;
    if main_method(&report.layers) != project.sensitivity.table.method {
        return None;
    }
    let recipe = Recipe::parse(&run.recipe_toml).ok()?;
    let decisions = recipe.resolve(&project.layers).decisions;
    let mut settings: Vec<LayerSettings> = decisions.iter().map(|own| own.settings).collect();
    // What was done counts, not what was asked.
    let done: HashMap<&str, LayerSettings> = report
        .layers
        .iter()
        .map(|layer| (layer.name.as_str(), layer.settings))
        .collect();
    for (settings, info) in settings.iter_mut().zip(project.layers.iter()) {
        if let Some(done) = done.get(info.name.as_str()) {
            *settings = *done;
        }
    }
    project.sensitivity.predict(&project.layers, &settings)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn predictions_are_told_by_rank_and_ratio() {
        assert_eq!(Prediction::of(&[]), None);
        assert_eq!(Prediction::of(&[(0.1, 0.0)]), None, "no ratio to nothing");
        let two = Prediction::of(&[(1.0, 2.0), (3.0, 2.0)]).unwrap();
        let expected = Prediction {
            runs: 2,
            rank_correlation: None,
            median_ratio: 1.0,
            spread: None,
        };
        assert_eq!(two, expected);
        let four = [(0.1, 0.1), (0.2, 0.25), (0.4, 0.5), (0.9, 1.0)];
        let four = Prediction::of(&four).unwrap();
        assert_eq!(four.rank_correlation, Some(1.0));
        assert!((four.median_ratio - 0.85).abs() < 1e-12, "{four:?}");
        let [low, high] = four.spread.unwrap();
        assert!(
            (0.8..0.85).contains(&low) && (0.85..=1.0).contains(&high),
            "{four:?}"
        );
    }
}
