//! Losses from every kind of knowledge, and that more error never promises less loss.
#![allow(clippy::unwrap_used)]

use super::super::Predictor;
use super::*;
use crate::report::Anchor;
use proptest::prelude::*;

const OPTIONS: [LayerOption; 4] = [
    LayerOption::Grid { bits: 2, group: 32 },
    LayerOption::Grid { bits: 4, group: 32 },
    LayerOption::Grid { bits: 8, group: 32 },
    LayerOption::Dense,
];

/// Two layers (0 and 1) with these gradient losses at 2, 4 and 8 bits.
fn two_layers(losses: [[f64; 3]; 2]) -> SensitivityTable {
    let layers = &model(1)[..2];
    let mut made = table(layers, &OPTIONS, 0);
    for (layer, losses) in made.layers.iter_mut().zip(losses) {
        for (error, loss) in layer.errors.iter_mut().zip(losses) {
            *error = Some(cell(loss));
        }
    }
    made
}

fn row(table: &SensitivityTable, layer: usize) -> Vec<Option<f64>> {
    let predictor = Predictor::new(table);
    let loss = |option: &LayerOption| predictor.layer_loss(layer, *option);
    OPTIONS.iter().map(loss).collect()
}

fn assert_row(table: &SensitivityTable, layer: usize, expected: [Option<f64>; 3]) {
    let found = row(table, layer);
    let near = |left: &Option<f64>, right: &Option<f64>| match (left, right) {
        (Some(left), Some(right)) => (left - right).abs() <= 1e-9 * right.abs(),
        (left, right) => left == right,
    };
    let alike = found
        .iter()
        .zip(&expected)
        .all(|(left, right)| near(left, right));
    assert!(alike, "layer {layer}: {found:?}, expected {expected:?}");
    assert_eq!(found[3], Some(0.0), "dense");
}

#[test]
fn gradients_alone_are_believed() {
    let table = two_layers([[0.4, 0.02, 0.001], [0.8, 0.04, 0.002]]);
    assert_row(&table, 0, [0.4, 0.02, 0.001].map(Some));
    assert!(Predictor::new(&table).is_calibrated());
}

#[test]
fn a_measured_layer_scales_its_own_errors_and_those_of_others() {
    let mut table = two_layers([[0.4, 0.02, 0.001], [0.8, 0.04, 0.002]]);
    table.layers[0].probes = vec![probe(OPTIONS[1], 0.01)];
    assert_row(&table, 0, [0.2, 0.01, 0.0005].map(Some));
    assert_row(&table, 1, [0.4, 0.02, 0.001].map(Some));
}

#[test]
fn two_probes_make_a_curve_with_limited_slope_above() {
    let mut table = two_layers([[1.0, 0.1, 0.01], [1.0, 1.0, 1.0]]);
    // Slope 3 between errors of 0.01 and 0.1; above them 1.5.
    table.layers[0].probes = vec![probe(OPTIONS[1], 1e-3), probe(OPTIONS[2], 1e-6)];
    assert_row(&table, 0, [1e-3 * 10_f64.powf(1.5), 1e-3, 1e-6].map(Some));
}

#[test]
fn noise_of_probes_breaks_nothing() {
    let mut table = two_layers([[1.0, 0.1, 0.01], [1.0, 0.1, 0.01]]);
    let noise = [-1e-9, 0.0, 1e-9, f64::NAN];
    for loss in noise {
        table.layers[0].probes = vec![probe(OPTIONS[2], loss), probe(OPTIONS[0], 0.5)];
        let found = row(&table, 0);
        let falls = found.windows(2).all(|pair| pair[0] > pair[1]);
        assert!(falls, "probe {loss}: {found:?}");
        assert!(
            (found[0].unwrap() - 0.5).abs() < 1e-9,
            "probe {loss}: {found:?}"
        );
    }
}

#[test]
fn without_gradient_layers_pay_as_measured_ones_do() {
    let mut table = two_layers([[1.0, 0.1, 0.01], [1.0, 0.1, 0.01]]);
    for error in table
        .layers
        .iter_mut()
        .flat_map(|layer| layer.errors.iter_mut().flatten())
    {
        error.gradient_loss = None;
    }
    let ranking = Predictor::new(&table);
    assert!(!ranking.is_calibrated());
    // Shares of 96 · 64 and 64 · 64 weights.
    assert_row(&table, 0, [1.0, 0.1, 0.01].map(|error| Some(0.6 * error)));
    assert_row(&table, 1, [1.0, 0.1, 0.01].map(|error| Some(0.4 * error)));

    table.layers[1].probes = vec![probe(OPTIONS[1], 0.3)];
    // As strained as layer 1 and 6144 / 4096 times as large.
    assert_row(&table, 0, [4.5, 0.45, 0.045].map(Some));
    assert_row(&table, 1, [3.0, 0.3, 0.03].map(Some));
    assert!(Predictor::new(&table).is_calibrated());
}

#[test]
fn unmeasured_cells_are_unknown() {
    let mut table = two_layers([[1.0, 0.1, 0.01], [1.0, 0.1, 0.01]]);
    table.layers[0].errors[1] = None;
    assert_row(&table, 0, [Some(1.0), None, Some(0.01)]);
    let predictor = Predictor::new(&table);
    assert_eq!(predictor.layer_loss(7, OPTIONS[0]), None);
    assert_eq!(predictor.layer_loss(0, grid(3, 32)), None);
    assert_eq!(
        predictor.recipe_loss(&[(1, OPTIONS[0]), (0, OPTIONS[1])]),
        None
    );
    assert_eq!(
        predictor.recipe_loss(&[(1, OPTIONS[0]), (0, OPTIONS[3])]),
        Some(1.0)
    );
}

#[test]
fn whole_models_correct_the_sum() {
    let mut table = two_layers([[1.0, 0.1, 0.01], [1.0, 0.1, 0.01]]);
    assert_eq!(Predictor::new(&table).total(0.3), 0.3);
    let anchor = |option, loss| Anchor { option, loss };
    table.anchors = vec![
        anchor(OPTIONS[0], 8.0),
        anchor(OPTIONS[1], 0.2),
        anchor(OPTIONS[3], 0.0),
    ];
    let predictor = Predictor::new(&table);
    let slope = (8.0_f64 / 0.2).ln() / 10_f64.ln();
    let rows = [
        (0.2, 0.2),
        (2.0, 8.0),
        (0.02, 0.02),
        (4.0, 16.0),
        (0.4, 0.2 * 2_f64.powf(slope)),
        (0.0, 0.0),
    ];
    for (sum, expected) in rows {
        let found = predictor.total(sum);
        assert!(
            (found - expected).abs() <= 1e-9 * expected,
            "{sum}: {found}, {expected}"
        );
    }
}

proptest! {
    #[test]
    fn more_error_never_predicts_less(
        losses in prop::array::uniform2(prop::array::uniform3(1e-9_f64..10.0)),
        probes in prop::collection::vec((0_usize..3, -1e-6_f64..2.0), 0..4),
    ) {
        let mut table = two_layers(losses);
        let measured = probes.iter().map(|&(option, loss)| probe(OPTIONS[option], loss));
        table.layers[0].probes = measured.collect();
        for (layer, errors) in losses.into_iter().enumerate() {
            let found = row(&table, layer);
            let mut pairs: Vec<(f64, f64)> = errors.into_iter().zip(found.into_iter().flatten()).collect();
            prop_assert_eq!(pairs.len(), 3);
            pairs.sort_by(|left, right| left.0.total_cmp(&right.0));
            for pair in pairs.windows(2) {
                prop_assert!(pair[0].1 <= pair[1].1 * (1.0 + 1e-12), "{pairs:?}");
            }
        }
    }
}
