//! Networks over codes: what they compute beside their dense twins, what they refuse, and what they take.

use super::laws::in_pieces;
use super::shapes::{relative_error, shapes, values};
use crate::model::testing::Pair;
use crate::model::{CacheKind, Linear};
use crate::packed::{ActivationPlan, PackedMatrix};
use crate::settings::Activations;
use crate::solved::Solved;
use candle_core::{Device, Tensor};
use std::sync::Arc;

const TOKENS: usize = 13;
const DYNAMIC: ActivationPlan = ActivationPlan {
    mode: Activations::Dynamic8,
    block: 0,
    static_step: None,
};

#[test]
fn codes_compute_what_their_dense_weights_do() {
    for (label, config) in shapes() {
        let pair = Pair::new(&config, ActivationPlan::NONE);
        let ids = pair.ids(TOKENS);
        let dense = values(&pair.model.forward(&ids).unwrap());
        let packed = pair.on_kernels();
        let error = relative_error(&values(&packed.forward(&ids).unwrap()), &dense);
        assert!(error <= 2e-5, "{label}: {error}");
        if pair.model.is_encoder() || label.contains("long longrope") {
            continue;
        }
        let pieces = in_pieces(&packed, &ids, &[7, 1, 1, 4], CacheKind::F32);
        let error = relative_error(&pieces, &dense);
        assert!(error <= 2e-5, "{label}, over a cache: {error}");
    }
}

/// Errors of each token's outputs, in ascending order.
fn errors_by_token(found: &[f32], expected: &[f32]) -> Vec<f32> {
    let width = found.len() / TOKENS;
    let tokens = found.chunks(width).zip(expected.chunks(width));
    let mut errors: Vec<f32> = tokens
        .map(|(one, other)| relative_error(one, other))
        .collect();
    errors.sort_by(f32::total_cmp);
    errors
}

/// A value next to the middle between two codes may round differently in f32 and f64, and all after it feels that: so
/// most tokens must agree as f32 does, and the others as one step of one input.
#[test]
fn rounded_inputs_compute_what_the_twin_in_plain_loops_does() {
    let plans = [
        DYNAMIC,
        ActivationPlan {
            block: 32,
            ..DYNAMIC
        },
        ActivationPlan {
            mode: Activations::Static8,
            block: 0,
            static_step: Some(0.02),
        },
    ];
    for (label, config) in shapes() {
        for plan in plans {
            let pair = Pair::new(&config, plan);
            let ids = pair.ids(TOKENS);
            let expected = pair.twin_logits(&ids);
            let found = values(&pair.on_kernels().forward(&ids).unwrap());
            let errors = errors_by_token(&found, &expected);
            let (middle, most) = (errors[TOKENS / 2], errors[TOKENS - 1]);
            assert!(middle <= 3e-5, "{label}, {plan:?}: {errors:?}");
            assert!(most <= 0.1, "{label}, {plan:?}: {errors:?}");
            let unrounded = values(&pair.model.forward(&ids).unwrap());
            let apart = errors_by_token(&found, &unrounded)[TOKENS / 2];
            assert!(
                apart > 20.0 * middle.max(1e-5),
                "{label}, {plan:?}: rounding changes {apart} only"
            );
        }
    }
}

#[test]
fn narrow_caches_stay_near_the_exact_one() {
    for (label, config) in shapes() {
        let pair = Pair::new(&config, ActivationPlan::NONE);
        if pair.model.is_encoder() || label.contains("long longrope") {
            continue;
        }
        let ids = pair.ids(TOKENS);
        let full = values(&pair.model.forward(&ids).unwrap());
        for (kind, tolerance) in [(CacheKind::F16, 2e-3), (CacheKind::Int8, 6e-2)] {
            let pieces = [vec![5, 1, 1, 6], vec![1; TOKENS], vec![TOKENS]];
            let found = pieces.map(|pieces| in_pieces(&pair.model, &ids, &pieces, kind));
            let error = relative_error(&found[0], &full);
            assert!(error <= tolerance, "{label}, {kind:?}: {error}");
            assert!(error > 0.0, "{label}, {kind:?}: nothing was rounded");
            for other in &found[1..] {
                let error = relative_error(other, &found[0]);
                assert!(
                    error <= tolerance / 2.0,
                    "{label}, {kind:?}, pieces: {error}"
                );
            }
        }
    }
}

#[test]
fn weights_come_out_dense_and_go_in_either_way() {
    for (label, config) in shapes() {
        let pair = Pair::new(&config, ActivationPlan::NONE);
        let (model, packed) = (&pair.model, pair.on_kernels());
        let (mut dense, mut block) = (model.load_block(0).unwrap(), packed.load_block(0).unwrap());
        let layers: Vec<usize> = block
            .stages()
            .iter()
            .flat_map(|stage| stage.layers.clone())
            .collect();
        for layer in layers {
            let weights = dense.weights(layer).unwrap();
            assert_eq!(
                block.weights(layer).unwrap(),
                weights,
                "{label}, layer {layer}"
            );
            let (solved, plan) = &pair.codes.0[&model.layers()[layer].tensor];
            dense
                .set_packed(layer, Arc::new(PackedMatrix::new(solved)), *plan)
                .unwrap();
            block.set_weights(layer, &weights).unwrap();
        }
        let context = model.context(TOKENS).unwrap();
        let ends = packed.load_ends().unwrap();
        let hidden = ends.embed(&pair.ids(TOKENS), &context).unwrap();
        let outputs =
            [dense, block].map(|block| values(&block.forward(&hidden, &context, None).unwrap()));
        let error = relative_error(&outputs[0], &outputs[1]);
        assert!(error <= 1e-5, "{label}: {error}");
        let embedding = ends.embedding_layer();
        let expected = model.load_ends().unwrap().weights(embedding).unwrap();
        assert_eq!(ends.weights(embedding).unwrap(), expected, "{label}");
        let mut ends = ends;
        ends.set_weights(embedding, &expected).unwrap();
        let logits = |ends: &crate::model::Ends| values(&ends.head(&hidden).unwrap());
        let error = relative_error(&logits(&ends), &logits(&model.load_ends().unwrap()));
        assert!(error <= 1e-5, "{label}, ends: {error}");
    }
}

#[test]
fn gradients_are_not_watched_at_codes() {
    let pair = Pair::new(&shapes()[0].1, ActivationPlan::NONE);
    let mut block = pair.on_kernels().load_block(0).unwrap();
    let context = pair.model.context(2).unwrap();
    let hidden = Tensor::ones((1, 2, 24), candle_core::DType::F32, &Device::Cpu).unwrap();
    block.watch_outputs();
    let error = block.forward(&hidden, &context, None).unwrap_err();
    assert!(error.to_string().contains("dense weights"), "{error}");
}

#[test]
fn codes_that_do_not_fit_are_errors() {
    let pair = Pair::new(&shapes()[0].1, ActivationPlan::NONE);
    let name = "model.layers.0.mlp.down_proj.weight";
    let broken = |change: &dyn Fn(&mut (Solved, ActivationPlan))| {
        let mut codes = pair.codes.clone();
        change(codes.0.get_mut(name).unwrap());
        let model = pair.model.on_kernels(Arc::new(codes));
        model.load_block(0).unwrap_err().to_string()
    };
    let other = &pair.codes.0["model.layers.0.mlp.up_proj.weight"].0;
    let shape = broken(&|layer| layer.0 = other.clone());
    assert!(shape.contains(name) && shape.contains("shape"), "{shape}");
    for step in [f32::NAN, 0.0, -1.0, f32::INFINITY] {
        let steps = broken(&|layer| {
            layer.1 = ActivationPlan {
                mode: Activations::Static8,
                block: 0,
                static_step: Some(step),
            };
        });
        assert!(steps.contains("steps of"), "{step}: {steps}");
    }
    let blocks = broken(&|layer| {
        layer.1 = ActivationPlan {
            block: 7,
            ..DYNAMIC
        };
    });
    assert!(blocks.contains("blocks of 7"), "{blocks}");
    let none = broken(&|layer| layer.1.mode = Activations::Static8);
    assert!(none.contains("has none"), "{none}");
    let mut linear = Linear::packed(other, ActivationPlan::NONE, None);
    let small = crate::tensor::Matrix::zeros(2, 3);
    assert!(linear.set_weights(&small).is_err());
    let narrow = Tensor::ones((1, 1, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
    assert!(
        linear
            .forward(&narrow)
            .unwrap_err()
            .to_string()
            .contains("inputs")
    );
}
