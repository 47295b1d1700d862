//! The one dispatch from a layer's settings to the solver that does the work, and to what stands in where it cannot.
//!
//! The order is fixed: zeros and codes in one sweep where GPTQ or SparseGPT do it, else zeros by score and then codes of
//! what stays; factors of what was lost come last.

use super::gptq::{self, Factors, GptqConfig, Kept, Prepared, Zeros, gptq_with_zeros};
use super::hqq::hqq_of_kept;
use super::low_rank::{factors_instead, factors_of_loss};
use super::prune::masked;
use super::{
    DEFAULT_ROUNDS, HqqConfig, MaskConfig, Nf4Config, PaletteConfig, RefineConfig, RtnConfig,
    SolveError, float, gptq_refined, mask_by_score, nf4, palette, rtn,
};
use crate::mask::Mask;
use crate::moments::LayerStatistics;
use crate::monitor::Monitor;
use crate::settings::{LayerSettings, PruneMethod, Pruning, Rank};
use crate::solved::{Method, Solved, Warning};
use crate::tensor::{Dtype, Matrix};

/// Solves one layer as `settings` say.
///
/// AWQ has scaled the weights before (`transform`); what is left to do is to round them. Where GPTQ's Gram matrix can be
/// factored at no damping, the layer is rounded to nearest instead, with a warning that says so. Weights that stay floats
/// are left in f32; `Solved::with_float_dtype` rounds them to what a source stores.
pub fn solve_layer(
    weights: &Matrix,
    statistics: Option<&LayerStatistics>,
    settings: &LayerSettings,
    monitor: &dyn Monitor,
) -> Result<Solved, SolveError> {
    solve_layer_sharing(weights, statistics, settings, &Factors::default(), monitor)
}

/// `solve_layer` with what GPTQ made of the same statistics before: the codes are the same.
pub fn solve_layer_sharing(
    weights: &Matrix,
    statistics: Option<&LayerStatistics>,
    settings: &LayerSettings,
    factors: &Factors,
    monitor: &dyn Monitor,
) -> Result<Solved, SolveError> {
    let moments = statistics.map(|statistics| &statistics.moments);
    if settings.rank != Rank::None && settings.method == Method::Float && settings.prune.is_none() {
        return factors_instead(weights, moments, settings, monitor);
    }
    let solved = if settings.prune.is_none() {
        solve_whole(weights, statistics, settings, factors, monitor)?
    } else {
        solve_with_zeros(weights, statistics, settings, factors, monitor)?
    };
    if settings.rank == Rank::None {
        return Ok(solved);
    }
    factors_of_loss(weights, solved, moments, settings, monitor)
}

/// Codes of all weights.
fn solve_whole(
    weights: &Matrix,
    statistics: Option<&LayerStatistics>,
    settings: &LayerSettings,
    factors: &Factors,
    monitor: &dyn Monitor,
) -> Result<Solved, SolveError> {
    match settings.method {
        Method::Gptq => {
            let statistics = statistics.ok_or_else(needs_statistics)?;
            match solve_gptq(weights, statistics, settings, factors, monitor) {
                Err(SolveError::Unfactorable { reason }) => {
                    let importance = importance(Some(statistics));
                    let mut solved = round_layer(weights, importance, settings, monitor)?;
                    solved.warnings.push(rounded_instead(&reason));
                    Ok(solved)
                }
                result => result,
            }
        }
        _ => encode(weights, importance(statistics), None, settings, monitor),
    }
}

/// Zeros, and codes of the weights that stay.
fn solve_with_zeros(
    weights: &Matrix,
    statistics: Option<&LayerStatistics>,
    settings: &LayerSettings,
    factors: &Factors,
    monitor: &dyn Monitor,
) -> Result<Solved, SolveError> {
    let is_gptq = settings.method == Method::Gptq;
    let is_swept = is_gptq || settings.prune.method == PruneMethod::SparseGpt;
    let mut reason = match statistics {
        None if is_gptq => return Err(needs_statistics()),
        None => "it has no statistics of its inputs".to_owned(),
        Some(_) => "statistics of its inputs are no numbers".to_owned(),
    };
    if let Some(statistics) = statistics.filter(|_| is_swept) {
        match sweep(weights, statistics, settings, factors, monitor) {
            Err(SolveError::Unfactorable { reason: tried }) => reason = tried,
            result => return result,
        }
    }
    let importance = importance(statistics);
    let (mask, by) = choose_mask(weights, importance, &settings.prune)?;
    let kept = masked(weights, &mask);
    let mut solved = encode(&kept, importance, Some(mask), settings, monitor)?;
    if is_gptq {
        solved.warnings.push(rounded_instead(&reason));
    }
    if by != settings.prune.method {
        solved.warnings.push(Warning::PrunedOtherwise {
            from: settings.prune.method,
            to: by,
            reason,
        });
    }
    Ok(solved)
}

/// Zeros and codes by the sweep that makes up for both. What SparseGPT leaves is rounded by another method where one is
/// asked.
fn sweep(
    weights: &Matrix,
    statistics: &LayerStatistics,
    settings: &LayerSettings,
    factors: &Factors,
    monitor: &dyn Monitor,
) -> Result<Solved, SolveError> {
    let given = match settings.prune.method {
        PruneMethod::SparseGpt => None,
        _ => Some(choose_mask(weights, importance(Some(statistics)), &settings.prune)?.0),
    };
    let zeros = match &given {
        Some(mask) => Zeros::Given(mask),
        None => Zeros::Chosen(mask_config(&settings.prune)),
    };
    let config = gptq_config(settings);
    let moments = &statistics.moments;
    if settings.method == Method::Gptq {
        let asked = (&zeros, Kept::Codes);
        return gptq_with_zeros(weights, moments, &config, asked, factors, monitor);
    }
    let asked = (&zeros, Kept::Floats(Dtype::F32));
    let moved = gptq_with_zeros(weights, moments, &config, asked, factors, monitor)?;
    if settings.method == Method::Float {
        return Ok(moved);
    }
    let values = moved.dequantize();
    let importance = importance(Some(statistics));
    let mut solved = encode(&values, importance, moved.mask, settings, monitor)?;
    solved.warnings.extend(moved.warnings);
    Ok(solved)
}

/// Codes of the weights that stay, by a method that looks at each on its own. The others are zero in `weights` already:
/// grids hold zero exactly, so that they neither cost anything nor move a scale.
fn encode(
    weights: &Matrix,
    importance: Option<&[f32]>,
    mask: Option<Mask>,
    settings: &LayerSettings,
    monitor: &dyn Monitor,
) -> Result<Solved, SolveError> {
    let mut solved = match settings.method {
        Method::Rtn | Method::Awq | Method::Gptq => {
            let config = RtnConfig {
                grid: settings.grid(),
                clip_search: settings.clip_search,
            };
            rtn(weights, importance, &config, monitor)?
        }
        Method::Hqq => {
            let grid = settings.grid();
            hqq_of_kept(weights, mask.as_ref(), &HqqConfig { grid }, monitor)?
        }
        Method::Nf4 => {
            let config = Nf4Config {
                block: settings.nf4_block(),
                double_quant: settings.double_quant,
            };
            nf4(weights, &config, monitor)?
        }
        Method::Palette => {
            let config = PaletteConfig {
                bits: settings.bits,
                rows: settings.palette_rows,
                level_dtype: settings.scale_dtype,
            };
            palette(weights, importance, mask.as_ref(), &config, monitor)?
        }
        Method::Float => float::float(weights, Dtype::F32)?,
        Method::None => {
            return Err(SolveError::BadConfig {
                problem: "method none leaves a layer as it is; there is nothing to solve".into(),
            });
        }
    };
    if settings.method == Method::Awq {
        solved.method = Method::Awq;
    }
    solved.mask = mask;
    Ok(solved)
}

fn needs_statistics() -> SolveError {
    SolveError::BadConfig {
        problem: "GPTQ needs statistics of the layer's inputs; calibrate with a corpus, or choose rtn, hqq or nf4".into(),
    }
}

fn rounded_instead(reason: &str) -> Warning {
    Warning::FellBack {
        from: Method::Gptq,
        to: Method::Rtn,
        reason: format!("the Gram matrix could not be factored: {reason}"),
    }
}

/// Rounds one layer to nearest with the zeros, grid and clip search of `settings`, whatever their method: what stands in
/// for GPTQ and SparseGPT where those fail or would take too long.
///
/// `importance` is the mean square of each input, `[columns]`.
pub fn round_layer(
    weights: &Matrix,
    importance: Option<&[f32]>,
    settings: &LayerSettings,
    monitor: &dyn Monitor,
) -> Result<Solved, SolveError> {
    let settings = LayerSettings {
        method: Method::Rtn,
        ..*settings
    };
    if settings.prune.is_none() {
        return encode(weights, importance, None, &settings, monitor);
    }
    let (mask, _) = choose_mask(weights, importance, &settings.prune)?;
    let kept = masked(weights, &mask);
    encode(&kept, importance, Some(mask), &settings, monitor)
}

fn importance(statistics: Option<&LayerStatistics>) -> Option<&[f32]> {
    statistics.map(|statistics| &statistics.moments.mean_square[..])
}

fn mask_config(prune: &Pruning) -> MaskConfig {
    MaskConfig {
        pattern: prune.pattern,
        sparsity: prune.sparsity,
        among: prune.among(),
    }
}

/// A mask by score, and by which: where inputs are not known, or are no numbers, magnitude is all there is.
fn choose_mask(
    weights: &Matrix,
    importance: Option<&[f32]>,
    prune: &Pruning,
) -> Result<(Mask, PruneMethod), SolveError> {
    let known = importance.filter(|squares| squares.iter().all(|square| square.is_finite()));
    let (norms, by) = match (prune.method, known) {
        (PruneMethod::Magnitude, _) | (_, None) => (None, PruneMethod::Magnitude),
        (_, Some(squares)) => (Some(squares), PruneMethod::Wanda),
    };
    Ok((mask_by_score(weights, norms, mask_config(prune))?, by))
}

fn gptq_config(settings: &LayerSettings) -> GptqConfig {
    GptqConfig {
        grid: settings.grid(),
        clip_search: settings.clip_search,
        order: settings.order,
        damping: settings.damping,
        block: gptq::DEFAULT_BLOCK,
    }
}

fn solve_gptq(
    weights: &Matrix,
    statistics: &LayerStatistics,
    settings: &LayerSettings,
    factors: &Factors,
    monitor: &dyn Monitor,
) -> Result<Solved, SolveError> {
    let config = gptq_config(settings);
    if !settings.is_refined() {
        gptq::check(weights, &statistics.moments, &config)?;
        let prepared = Prepared::new(&statistics.moments, &config, factors, monitor)?;
        return prepared.solve(weights, &config, monitor);
    }
    let refine = RefineConfig {
        rounds: DEFAULT_ROUNDS,
    };
    gptq_refined(weights, statistics, &config, &refine, factors, monitor)
}

#[cfg(test)]
mod sparse_tests;

#[cfg(test)]
mod tests;
