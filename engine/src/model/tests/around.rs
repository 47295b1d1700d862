//! What stands around linear layers: gradients through codes and adapters, rounded inputs, dropout that repeats itself.

use super::gradients::{random, variable};
use super::shapes::values;
use crate::grid::{AffineGrid, GridConfig, ScaleDtype};
use crate::model::around::Places;
use crate::model::around::RoundedInputs;
use crate::model::{Adapter, Around, Dropout, Linear};
use crate::packed::{ActivationPlan, PackedMatrix};
use crate::rng::Rng;
use crate::settings::Activations;
use crate::solved::{Codes, Grid, Method, Solved};
use candle_core::{Device, Tensor, Var};
use std::sync::Arc;

const OUT: usize = 6;
const IN: usize = 20;
const TOKENS: usize = 5;

fn codes() -> Solved {
    let config = GridConfig {
        bits: 4,
        group: 8,
        symmetric: false,
        scale_dtype: ScaleDtype::F16,
    };
    let mut grid = AffineGrid::neutral(config, OUT, IN);
    grid.scales.fill(0.125);
    grid.zeros.fill(7.0);
    let mut rng = Rng::new(3, 0);
    Solved {
        method: Method::Rtn,
        codes: Codes {
            rows: OUT,
            columns: IN,
            values: (0..OUT * IN).map(|_| rng.below(16) as u8).collect(),
        },
        grid: Grid::Affine(grid),
        mask: None,
        factors: None,
        loss: None,
        warnings: Vec::new(),
    }
}

fn dense(solved: &Solved) -> Linear {
    let weights = solved.dequantize().into_data();
    Linear::Dense {
        weight: Tensor::from_vec(weights, (OUT, IN), &Device::Cpu).unwrap(),
        bias: None,
    }
}

fn packed(solved: &Solved) -> Linear {
    Linear::Packed {
        matrix: Arc::new(PackedMatrix::new(solved)),
        plan: ActivationPlan::NONE,
        bias: None,
    }
}

fn input() -> Var {
    variable(random(TOKENS * IN, 1), &[1, TOKENS, IN])
}

/// The gradient of a random combination of `output` at `var`.
fn pulled(output: &Tensor, var: &Var) -> Vec<f32> {
    let toward = random(output.elem_count(), 9);
    let toward = Tensor::from_vec(toward, output.shape(), &Device::Cpu).unwrap();
    let store = (output * toward)
        .unwrap()
        .sum_all()
        .unwrap()
        .backward()
        .unwrap();
    values(store.get(var.as_tensor()).unwrap())
}

fn largest_difference(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    let pairs = left.iter().zip(right);
    pairs
        .map(|(left, right)| (left - right).abs())
        .fold(0.0, f32::max)
}

#[test]
fn codes_hand_on_the_gradient_of_the_weights_that_they_stand_for() {
    let (solved, input) = (codes(), input());
    let forward = |linear: Linear| linear.forward(input.as_tensor()).unwrap();
    let (plain, through) = (forward(dense(&solved)), forward(packed(&solved)));
    assert!(largest_difference(&values(&plain), &values(&through)) <= 1e-4);
    let difference = largest_difference(&pulled(&plain, &input), &pulled(&through, &input));
    assert!(difference <= 1e-5, "{difference}");
    let both = [&packed(&solved), &packed(&solved)];
    let all = Linear::forward_all(&both, input.as_tensor(), &Places::default()).unwrap();
    assert_eq!(values(&all[1]), values(&through));
}

#[test]
fn adapters_add_their_product_and_have_its_slopes() {
    let rank = 3;
    let (solved, input) = (codes(), input());
    let (down, up) = (
        variable(random(rank * IN, 2), &[rank, IN]),
        variable(random(OUT * rank, 3), &[OUT, rank]),
    );
    let dressed = Linear::Dressed {
        inner: Box::new(packed(&solved)),
        around: Around::Adapter(Adapter {
            down: down.as_tensor().clone(),
            up: up.as_tensor().clone(),
            scaling: 0.5,
            dropout: None,
        }),
    };
    let toward = random(TOKENS * OUT, 9);
    let loss = |down: &[f32], up: &[f32], input: &[f32]| -> f64 {
        let weights = solved.dequantize();
        let mut total = 0.0;
        for token in 0..TOKENS {
            let x = &input[token * IN..(token + 1) * IN];
            let dot = |row: &[f32]| -> f64 {
                row.iter()
                    .zip(x)
                    .map(|(&w, &x)| f64::from(w) * f64::from(x))
                    .sum()
            };
            let inner: Vec<f64> = down.chunks(IN).map(dot).collect();
            for out in 0..OUT {
                let added = up[out * rank..(out + 1) * rank].iter().zip(&inner);
                let added: f64 = added.map(|(&up, inner)| f64::from(up) * inner).sum();
                let y = dot(weights.row(out)) + 0.5 * added;
                total += y * f64::from(toward[token * OUT + out]);
            }
        }
        total
    };
    let output = dressed.forward(input.as_tensor()).unwrap();
    let all = [&down, &up, &input].map(|var| values(var.as_tensor()));
    let found: f64 = values(&output)
        .iter()
        .zip(&toward)
        .map(|(y, t)| f64::from(y * t))
        .sum();
    assert!((found - loss(&all[0], &all[1], &all[2])).abs() <= 1e-3);
    for (which, var) in [&down, &up, &input].into_iter().enumerate() {
        for (place, slope) in pulled(&output, var).into_iter().enumerate() {
            let at = |step: f32| {
                let mut moved = all.clone();
                moved[which][place] += step;
                loss(&moved[0], &moved[1], &moved[2])
            };
            let expected = (at(0.125) - at(-0.125)) / 0.25;
            let error = (expected - f64::from(slope)).abs();
            assert!(
                error <= 1e-3 * (1.0 + expected.abs()),
                "{which}, {place}: {slope}, {expected}"
            );
        }
    }
}

#[test]
fn dropped_inputs_hang_on_seed_sequence_and_place_alone() {
    let some = |batch: usize, seed: u64| {
        let values = random(batch * TOKENS * 400, seed);
        variable(values, &[batch, TOKENS, 400])
    };
    let dropout = Dropout {
        share: 0.25,
        seed: 7,
    };
    let drop = |var: &Var, dropout: Dropout, sequences: &[u64], offset: usize| {
        let places = Places { sequences, offset };
        let batch = var.dims3().unwrap().0;
        let dropped = dropout.dropped(&places, batch);
        var.as_tensor().apply_op1(dropped).unwrap()
    };
    let zeros = |tensor: &Tensor| -> Vec<bool> {
        values(tensor).iter().map(|value| *value == 0.0).collect()
    };
    let (one, two) = (some(1, 4), some(2, 4));
    let first = zeros(&drop(&one, dropout, &[5], 0));
    assert_eq!(first, zeros(&drop(&one, dropout, &[5], 0)));
    assert_eq!(
        first,
        zeros(&drop(&some(1, 6), dropout, &[5], 0)),
        "whatever the values"
    );
    let both = zeros(&drop(&two, dropout, &[9, 5], 0));
    assert_eq!(first, both[first.len()..], "whatever the batch");
    assert_ne!(first, both[..first.len()], "sequences differ");
    let later = zeros(&drop(&one, dropout, &[5], 1));
    assert_eq!(
        first[400..800],
        later[..400],
        "places count from the offset"
    );
    let other = Dropout { seed: 8, ..dropout };
    assert_ne!(first, zeros(&drop(&one, other, &[5], 0)));
    let share = first.iter().filter(|&&is_zero| is_zero).count() as f64 / first.len() as f64;
    assert!((share - 0.25).abs() < 0.05, "{share}");
    let slopes = pulled(&drop(&one, dropout, &[5], 0), &one);
    let slopes: Vec<bool> = slopes.iter().map(|slope| *slope == 0.0).collect();
    assert_eq!(slopes, first, "what was left out gets no gradient");
}

#[test]
fn rounded_inputs_multiply_as_the_integer_kernels_do() {
    let (solved, input) = (codes(), input());
    for (mode, block, step) in [
        (Activations::Dynamic8, 0, None),
        (Activations::Dynamic8, 32, None),
        (Activations::Static8, 0, Some(0.01)),
    ] {
        let plan = ActivationPlan {
            mode,
            block,
            static_step: step,
        };
        let integer = Linear::Packed {
            matrix: Arc::new(PackedMatrix::new(&solved)),
            plan,
            bias: None,
        };
        let fake = Linear::Dressed {
            inner: Box::new(dense(&solved)),
            around: Around::RoundedInputs(RoundedInputs { plan, group: 8 }),
        };
        let expected = values(&integer.forward(input.as_tensor()).unwrap());
        let shown = fake.forward(input.as_tensor()).unwrap();
        let difference = largest_difference(&values(&shown), &expected);
        assert!(difference <= 1e-4, "{mode:?}: {difference}");
        let slopes = pulled(&shown, &input);
        let clipped = |value: f32| step.is_some_and(|step| value.abs() > 127.5 * step);
        for (slope, value) in slopes.iter().zip(values(input.as_tensor())) {
            assert_eq!(*slope == 0.0, clipped(value), "{mode:?}: {value}");
        }
    }
}
