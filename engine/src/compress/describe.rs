//! One layer's report: what was done to it and how far it moved, from the values as they will be reopened.

use super::{Choice, CompressError};
use crate::distortion;
use crate::mask::Mask;
use crate::model::LayerInfo;
use crate::moments::LayerStatistics;
use crate::monitor::Stopped;
use crate::packed::{ActivationPlan, CodeKind, OriginalTensor, Stored};
use crate::report::{Fallback, Histograms, LayerReport};
use crate::settings::{LayerSettings, PruneMethod};
use crate::solve::SolveError;
use crate::solved::{Method, Solved, Warning};
use crate::tensor::{Matrix, WeightSource};

/// What is known of a solved layer besides its numbers.
pub(super) struct Facts<'a> {
    pub(super) layer: &'a LayerInfo,
    pub(super) settings: LayerSettings,
    pub(super) fallback: Option<Fallback>,
    pub(super) size_bytes: u64,
    pub(super) seconds: f64,
    pub(super) statistics: Option<&'a LayerStatistics>,
    pub(super) activations: ActivationPlan,
}

/// The report of a solved layer.
pub(super) fn describe(facts: Facts<'_>, weights: &Matrix, solved: &Solved) -> LayerReport {
    let after = solved.dequantize();
    let stored = Stored::of_solved(solved);
    let moments = facts.statistics.map(|statistics| &statistics.moments);
    LayerReport {
        name: facts.layer.name.clone(),
        method: solved.method,
        bits: stored.value_bits(),
        group: facts.settings.group,
        sparsity: zero_share(solved, &after),
        prune: match solved.mask {
            Some(_) => pruned_by(&facts.settings, solved),
            None => PruneMethod::None,
        },
        pattern: stored.sparsity.map(|sparsity| sparsity.pattern),
        rank: stored.factors.map(|factors| factors.rank),
        palette: match stored.code {
            CodeKind::Palette { bits, .. } => Some(1 << bits),
            _ => None,
        },
        bytes: facts.size_bytes,
        weights: facts.layer.parameters,
        relative_output_error: moments
            .and_then(|moments| distortion::relative_output_error(weights, &after, &moments.gram)),
        sqnr_db: distortion::sqnr_db(weights, &after),
        cosine: distortion::cosine(weights, &after),
        max_error: Some(distortion::max_error(weights, &after)),
        seconds: facts.seconds,
        fallback: Fallback::join(facts.fallback, fallback_of(solved)),
        warnings: solved.warnings.clone(),
        codes_used: codes_used(solved),
        dead_inputs: moments.map_or(0, |moments| moments.dead_inputs()),
        activations: facts.activations,
        settings: facts.settings,
        histograms: Some(Histograms::of(weights, &after, solved.mask.as_ref())),
        reason: None,
    }
}

/// `report` of a layer whose codes or scales have changed since. `weights` are those that they are to stand for; `None`
/// where these are not known: a fold had changed the original's.
pub fn redescribe(report: &LayerReport, weights: Option<&Matrix>, solved: &Solved) -> LayerReport {
    let after = solved.dequantize();
    let other_method = (solved.method != report.method).then(|| Fallback {
        from: report.method.word().to_owned(),
        to: solved.method.word().to_owned(),
        reason: "weights changed, and their codes were chosen again without inputs".to_owned(),
    });
    let reason = match weights {
        Some(_) => "what the new codes do to outputs was not measured layer by layer",
        None => {
            "a fold had changed the weights before they were solved, and they were not kept: nothing is there to compare the new codes with"
        }
    };
    LayerReport {
        method: solved.method,
        relative_output_error: None,
        sqnr_db: weights.and_then(|weights| distortion::sqnr_db(weights, &after)),
        cosine: weights.and_then(|weights| distortion::cosine(weights, &after)),
        max_error: weights.map(|weights| distortion::max_error(weights, &after)),
        fallback: Fallback::join(report.fallback.clone(), other_method),
        codes_used: codes_used(solved),
        histograms: weights.map(|weights| Histograms::of(weights, &after, solved.mask.as_ref())),
        reason: Some(reason.to_owned()),
        ..report.clone()
    }
}

/// The report of a layer that is left as it is.
pub(super) fn describe_untouched(layer: &LayerInfo, choice: &Choice) -> LayerReport {
    LayerReport {
        name: layer.name.clone(),
        method: Method::None,
        bits: 8 * layer.dtype.size_bytes() as u8,
        group: 0,
        sparsity: 0.0,
        prune: PruneMethod::None,
        pattern: None,
        rank: None,
        palette: None,
        bytes: choice.size_bytes,
        weights: layer.parameters,
        relative_output_error: Some(0.0),
        sqnr_db: None,
        cosine: Some(1.0),
        max_error: Some(0.0),
        seconds: 0.0,
        fallback: choice.fallback.clone(),
        warnings: Vec::new(),
        codes_used: 0,
        dead_inputs: 0,
        activations: ActivationPlan::NONE,
        settings: choice.settings,
        histograms: None,
        reason: None,
    }
}

/// The dense tensor that a solved layer stands for.
pub(super) fn original_tensor(source: &dyn WeightSource, layer: &LayerInfo) -> OriginalTensor {
    let info = source.info(&layer.tensor);
    let shape = match layer.transposed {
        true => vec![layer.columns, layer.rows],
        false => vec![layer.rows, layer.columns],
    };
    OriginalTensor {
        name: layer.tensor.clone(),
        shape: info.map_or(shape, |info| info.shape),
        dtype: layer.dtype,
        transposed: layer.transposed,
    }
}

/// Share of values that are exactly zero, where factors are not yet added.
fn zero_share(solved: &Solved, weights: &Matrix) -> f64 {
    if solved.factors.is_some() {
        return solved.mask.as_ref().map_or(0.0, Mask::sparsity);
    }
    let zeros = weights
        .data()
        .iter()
        .filter(|&&weight| weight == 0.0)
        .count();
    zeros as f64 / weights.data().len().max(1) as f64
}

/// Whose scores chose the zeros.
fn pruned_by(settings: &LayerSettings, solved: &Solved) -> PruneMethod {
    let otherwise = solved.warnings.iter().find_map(|warning| match warning {
        Warning::PrunedOtherwise { to, .. } => Some(*to),
        _ => None,
    });
    otherwise.unwrap_or(settings.prune.method)
}

/// What a solver did instead of what was asked, all of it.
fn fallback_of(solved: &Solved) -> Option<Fallback> {
    let told = solved.warnings.iter().filter_map(|warning| match warning {
        Warning::FellBack { from, to, reason } => Some(Fallback {
            from: from.word().to_owned(),
            to: to.word().to_owned(),
            reason: reason.clone(),
        }),
        Warning::PrunedOtherwise { from, to, reason } => Some(Fallback {
            from: format!("prune {}", from.word()),
            to: format!("prune {}", to.word()),
            reason: reason.clone(),
        }),
        Warning::FactorsOfWeights { reason } => Some(Fallback {
            from: "factors for these inputs".to_owned(),
            to: "factors of the weights alone".to_owned(),
            reason: reason.clone(),
        }),
        Warning::Damped { .. } | Warning::DeadInputs { .. } | Warning::RefinementRejected => None,
    });
    told.fold(None, |all, one| Fallback::join(all, Some(one)))
}

/// Codes that zeros leave out mean nothing and do not count.
fn codes_used(solved: &Solved) -> u32 {
    let mut used = [false; 256];
    let mut keep = solved.mask.iter().flat_map(|mask| &mask.keep);
    for &code in &solved.codes.values {
        used[usize::from(code)] |= keep.next() != Some(&false);
    }
    used.iter().map(|&met| u32::from(met)).sum()
}

impl CompressError {
    /// A solver's word about one layer; a stop stays a stop.
    pub fn of_solver(layer: &LayerInfo, error: SolveError) -> Self {
        match error {
            SolveError::Stopped => Self::Stopped(Stopped),
            error => Self::Solve {
                layer: layer.name.clone(),
                error,
            },
        }
    }
}
