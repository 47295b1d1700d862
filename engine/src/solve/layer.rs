//! The one dispatch from a layer's settings to the solver that does the work, and to what stands in where it cannot.

use super::gptq::{self, Factors, GptqConfig, Prepared};
use super::{
    DEFAULT_ROUNDS, HqqConfig, Nf4Config, RefineConfig, RtnConfig, SolveError, gptq_refined, hqq,
    nf4, rtn,
};
use crate::moments::LayerStatistics;
use crate::monitor::Monitor;
use crate::settings::{LayerSettings, Refine};
use crate::solved::{Method, Solved, Warning};
use crate::tensor::Matrix;

/// Most bits at which `Refine::Auto` refines.
const AUTO_REFINE_BITS: u8 = 3;

/// Solves one layer as `settings` say.
///
/// AWQ has scaled the weights before (`transform`); what is left to do is to round them. Where GPTQ's Gram matrix can be
/// factored at no damping, the layer is rounded to nearest instead, with a warning that says so.
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
    match settings.method {
        Method::Rtn | Method::Awq => {
            let mut solved = round_layer(weights, importance(statistics), settings, monitor)?;
            solved.method = settings.method;
            Ok(solved)
        }
        Method::Gptq => {
            let statistics = statistics.ok_or_else(needs_statistics)?;
            match solve_gptq(weights, statistics, settings, factors, monitor) {
                Err(SolveError::Unfactorable { reason }) => {
                    let importance = importance(Some(statistics));
                    let mut solved = round_layer(weights, importance, settings, monitor)?;
                    solved.warnings.push(Warning::FellBack {
                        from: Method::Gptq,
                        to: Method::Rtn,
                        reason: format!("the Gram matrix could not be factored: {reason}"),
                    });
                    Ok(solved)
                }
                result => result,
            }
        }
        Method::Hqq => {
            let grid = settings.grid();
            hqq(weights, &HqqConfig { grid }, monitor)
        }
        Method::Nf4 => {
            let config = Nf4Config {
                block: settings.nf4_block(),
                double_quant: settings.double_quant,
            };
            nf4(weights, &config, monitor)
        }
        Method::Palette | Method::Float => Err(SolveError::BadConfig {
            problem: format!("method {} is not there yet", settings.method.word()),
        }),
        Method::None => Err(SolveError::BadConfig {
            problem: "method none leaves a layer as it is; there is nothing to solve".into(),
        }),
    }
}

fn needs_statistics() -> SolveError {
    SolveError::BadConfig {
        problem: "GPTQ needs statistics of the layer's inputs; calibrate with a corpus, or choose rtn, hqq or nf4".into(),
    }
}

/// Rounds one layer to nearest with the grid and clip search of `settings`, whatever their method: what AWQ does last,
/// and what stands in for GPTQ where that fails or would take too long.
///
/// `importance` is the mean square of each input, `[columns]`.
pub fn round_layer(
    weights: &Matrix,
    importance: Option<&[f32]>,
    settings: &LayerSettings,
    monitor: &dyn Monitor,
) -> Result<Solved, SolveError> {
    let config = RtnConfig {
        grid: settings.grid(),
        clip_search: settings.clip_search,
    };
    rtn(weights, importance, &config, monitor)
}

fn importance(statistics: Option<&LayerStatistics>) -> Option<&[f32]> {
    statistics.map(|statistics| &statistics.moments.mean_square[..])
}

fn solve_gptq(
    weights: &Matrix,
    statistics: &LayerStatistics,
    settings: &LayerSettings,
    factors: &Factors,
    monitor: &dyn Monitor,
) -> Result<Solved, SolveError> {
    let config = GptqConfig {
        grid: settings.grid(),
        clip_search: settings.clip_search,
        order: settings.order,
        damping: settings.damping,
        block: gptq::DEFAULT_BLOCK,
    };
    let refined = match settings.refine {
        Refine::Auto => settings.bits <= AUTO_REFINE_BITS,
        Refine::Off => false,
        Refine::On => true,
    };
    if !refined {
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::grid::ScaleDtype;
    use crate::moments::{Moments, Prefix};
    use crate::monitor::Unwatched;
    use crate::rng::Rng;
    use crate::settings::ColumnOrder;
    use crate::tensor::Symmetric;

    fn settings(method: Method, bits: u8) -> LayerSettings {
        LayerSettings {
            method,
            bits,
            group: 16,
            symmetric: false,
            scale_dtype: ScaleDtype::F16,
            clip_search: 20,
            order: ColumnOrder::Static,
            damping: 0.01,
            refine: Refine::Auto,
            prefix: Prefix::Compressed,
            double_quant: true,
            activations: crate::settings::Activations::None,
            activation_block: 0,
            smooth: 0.0,
            prune: crate::settings::Pruning::NONE,
            rank: crate::settings::Rank::None,
            palette_rows: 0,
        }
    }

    fn weights() -> Matrix {
        let mut rng = Rng::new(51, 0);
        Matrix::from_fn(6, 48, |_, _| rng.normal() as f32)
    }

    /// Statistics with `value` times the identity as Gram matrix.
    fn statistics(value: f32) -> LayerStatistics {
        LayerStatistics {
            moments: Moments {
                count: 10,
                gram: Symmetric::scaled_identity(48, value),
                mean_square: vec![value; 48],
                mean_abs: vec![value.sqrt(); 48],
                abs_max: vec![value.sqrt(); 48],
            },
            cross: None,
            held_out: None,
        }
    }

    #[test]
    fn every_method_does_its_own_work() {
        let statistics = statistics(2.0);
        for method in [
            Method::Rtn,
            Method::Gptq,
            Method::Awq,
            Method::Hqq,
            Method::Nf4,
        ] {
            let settings = settings(method, 4);
            let solved = solve_layer(&weights(), Some(&statistics), &settings, &Unwatched);
            assert_eq!(solved.unwrap().method, method);
        }
    }

    #[test]
    fn equal_inputs_make_gptq_plain_rounding() {
        for bits in [2, 4] {
            let mut gptq = settings(Method::Gptq, bits);
            gptq.refine = Refine::Off;
            let rtn = settings(Method::Rtn, bits);
            let statistics = statistics(0.7);
            let gptq = solve_layer(&weights(), Some(&statistics), &gptq, &Unwatched).unwrap();
            let rtn = solve_layer(&weights(), None, &rtn, &Unwatched).unwrap();
            assert_eq!(
                (gptq.codes, gptq.grid),
                (rtn.codes, rtn.grid),
                "{bits} bits"
            );
        }
    }

    #[test]
    fn what_cannot_be_done_is_an_error_or_a_warning() {
        let gptq = settings(Method::Gptq, 4);
        for (method, bits) in [(Method::Gptq, 4), (Method::None, 4), (Method::Rtn, 9)] {
            let solved = solve_layer(&weights(), None, &settings(method, bits), &Unwatched);
            assert!(
                matches!(solved, Err(SolveError::BadConfig { .. })),
                "{method:?} {bits}"
            );
        }
        let broken = statistics(f32::NAN);
        let solved = solve_layer(&weights(), Some(&broken), &gptq, &Unwatched).unwrap();
        assert_eq!(solved.method, Method::Rtn);
        assert!(matches!(
            solved.warnings[..],
            [Warning::FellBack {
                from: Method::Gptq,
                to: Method::Rtn,
                ..
            }]
        ));
    }
}
