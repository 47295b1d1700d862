//! Every method does its own work.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::grid::ScaleDtype;
use crate::moments::{Moments, Prefix};
use crate::monitor::Unwatched;
use crate::rng::Rng;
use crate::settings::ColumnOrder;
use crate::settings::Refine;
use crate::tensor::Symmetric;

pub(super) fn settings(method: Method, bits: u8) -> LayerSettings {
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
pub(super) fn statistics(value: f32) -> LayerStatistics {
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
