//! What must hold for every family in every shape: caches, batches, causality, stages, folds.

use super::memory::Memory;
use super::shapes::{random_model, relative_error, shapes, some_ids, values};
use crate::model::provider::Weights;
use crate::model::{BlockCache, CacheKind, Model};
use crate::rng::Rng;
use crate::tensor::Matrix;
use candle_core::Tensor;

const TOKENS: usize = 13;
const TOLERANCE: f32 = 1e-5;

/// Logits when `ids` come in pieces of the given lengths.
pub(super) fn in_pieces(model: &Model, ids: &[u32], pieces: &[usize], kind: CacheKind) -> Vec<f32> {
    let ends = model.load_ends().unwrap();
    let blocks: Vec<_> = (0..model.config().blocks)
        .map(|index| model.load_block(index).unwrap())
        .collect();
    let mut caches: Vec<BlockCache> = blocks.iter().map(|_| BlockCache::new(kind)).collect();
    let (mut logits, mut start) = (Vec::new(), 0);
    for &piece in pieces {
        let context = model.context_after(start, piece).unwrap();
        let mut hidden = ends.embed(&ids[start..start + piece], &context).unwrap();
        for (block, cache) in blocks.iter().zip(&mut caches) {
            hidden = block.forward(&hidden, &context, Some(cache)).unwrap();
        }
        logits.extend(values(&ends.head(&hidden).unwrap()));
        start += piece;
    }
    logits
}

#[test]
fn a_cache_gives_what_the_full_forward_gives() {
    for (label, config) in shapes() {
        let (parsed, _, model) = random_model(&config);
        // Longrope changes all angles where a sequence outgrows the original context, as the reference does.
        if model.is_encoder() || label.contains("long longrope") {
            continue;
        }
        let ids = some_ids(TOKENS, parsed.vocabulary, 1);
        let full = values(&model.forward(&ids).unwrap());
        for pieces in [
            vec![5, 1, 1, 1, 1, 1, 1, 1, 1],
            vec![4, 3, 6],
            vec![1; TOKENS],
        ] {
            let error = relative_error(&in_pieces(&model, &ids, &pieces, CacheKind::F32), &full);
            assert!(error <= TOLERANCE, "{label}, pieces {pieces:?}: {error}");
        }
    }
}

#[test]
fn a_cache_grows_beyond_its_first_room() {
    let config = super::shapes::shapes().swap_remove(0).1;
    let (parsed, _, model) = random_model(&config);
    let ids = some_ids(600, parsed.vocabulary, 1);
    let full = values(&model.forward(&ids).unwrap());
    let error = relative_error(
        &in_pieces(&model, &ids, &[3, 290, 1, 306], CacheKind::F32),
        &full,
    );
    assert!(error <= TOLERANCE, "{error}");
}

#[test]
fn a_context_that_does_not_follow_the_cache_is_an_error() {
    let (_, _, model) = random_model(&shapes()[0].1);
    let block = model.load_block(0).unwrap();
    let hidden = hidden_states(&model, 2, 1);
    let wrong = model.context_after(3, 2).unwrap();
    let error = block.forward(&hidden, &wrong, Some(&mut BlockCache::default()));
    let message = error.unwrap_err().to_string();
    assert!(
        message.contains("after 3") && message.contains("after 0"),
        "{message}"
    );
}

/// Random hidden states `[1, tokens, hidden]`.
fn hidden_states(model: &Model, tokens: usize, seed: u64) -> Tensor {
    let width = model.config().hidden;
    let mut rng = Rng::new(seed, 9);
    let values = (0..tokens * width).map(|_| rng.normal() as f32).collect();
    Tensor::from_vec(values, (1, tokens, width), &candle_core::Device::Cpu).unwrap()
}

#[test]
fn a_batch_gives_what_its_rows_give() {
    for (label, config) in shapes() {
        let (_, _, model) = random_model(&config);
        let context = model.context(TOKENS).unwrap();
        let block = model.load_block(1).unwrap();
        let rows = [1, 2, 3].map(|seed| hidden_states(&model, TOKENS, seed));
        let batch = Tensor::cat(&rows, 0).unwrap();
        let together = values(&block.forward(&batch, &context, None).unwrap());
        let alone: Vec<f32> = rows
            .iter()
            .flat_map(|row| values(&block.forward(row, &context, None).unwrap()))
            .collect();
        let error = relative_error(&together, &alone);
        assert!(error <= TOLERANCE, "{label}: {error}");
    }
}

#[test]
fn decoders_see_no_later_token_and_encoders_do() {
    for (label, config) in shapes() {
        let (parsed, _, model) = random_model(&config);
        let mut ids = some_ids(TOKENS, parsed.vocabulary, 1);
        let before = values(&model.forward(&ids).unwrap());
        ids[TOKENS - 1] = (ids[TOKENS - 1] + 1) % parsed.vocabulary as u32;
        let after = values(&model.forward(&ids).unwrap());
        let width = before.len() / TOKENS;
        let earlier = ..width * (TOKENS - 1);
        let error = relative_error(&after[earlier], &before[earlier]);
        if model.is_encoder() {
            assert!(error > 1e-3, "{label}: {error}");
        } else {
            assert!(error <= 1e-6, "{label}: {error}");
        }
    }
}

#[test]
fn stage_inputs_are_those_of_the_forward_pass_and_stop_before_the_stage() {
    for (label, config) in shapes() {
        let (_, _, model) = random_model(&config);
        let context = model.context(TOKENS).unwrap();
        let block = model.load_block(0).unwrap();
        let hidden = hidden_states(&model, TOKENS, 4);
        let mut seen = Vec::new();
        let mut see = |stage: usize, input: Tensor| {
            assert_eq!(stage, seen.len());
            seen.push(input);
        };
        let output = block
            .forward_with_inputs(&hidden, &context, &mut see)
            .unwrap();
        assert_eq!(
            values(&output),
            values(&block.forward(&hidden, &context, None).unwrap())
        );
        for (stage, input) in seen.iter().enumerate() {
            let layers = &block.stages()[stage];
            assert_eq!(
                input.dims(),
                [TOKENS, layers.width],
                "{label}, stage {stage}"
            );
            // Weights from this stage on are poisoned: nothing of them may be needed.
            let mut poisoned = block.clone();
            for &layer in block.stages()[stage..]
                .iter()
                .flat_map(|later| &later.layers)
            {
                let info = &model.layers()[layer];
                assert_eq!(
                    info.columns,
                    block
                        .stages()
                        .iter()
                        .find(|s| s.layers.contains(&layer))
                        .unwrap()
                        .width
                );
                let poison = Matrix::from_fn(info.rows, info.columns, |_, _| f32::NAN);
                poisoned.set_weights(layer, &poison).unwrap();
            }
            let found = poisoned.stage_input(stage, &hidden, &context).unwrap();
            assert_eq!(values(&found), values(input), "{label}, stage {stage}");
        }
    }
}

#[test]
fn stages_known_from_headers_are_those_of_the_loaded_blocks() {
    for (label, config) in shapes() {
        let (parsed, _, model) = random_model(&config);
        let stages = model.stages();
        assert_eq!(stages.len(), parsed.blocks, "{label}");
        for (index, stages) in stages.iter().enumerate() {
            let block = model.load_block(index).unwrap();
            assert_eq!(stages, block.stages(), "{label}, block {index}");
        }
    }
}

#[test]
fn weights_read_and_put_back_change_nothing_and_come_out_by_in() {
    for (label, config) in shapes() {
        let (_, weights, model) = random_model(&config);
        let context = model.context(TOKENS).unwrap();
        let mut block = model.load_block(1).unwrap();
        let hidden = hidden_states(&model, TOKENS, 4);
        let before = values(&block.forward(&hidden, &context, None).unwrap());
        let layers: Vec<usize> = block
            .stages()
            .iter()
            .flat_map(|stage| stage.layers.clone())
            .collect();
        for layer in layers {
            let info = &model.layers()[layer];
            let matrix = block.weights(layer).unwrap();
            assert_eq!(
                (matrix.rows(), matrix.columns()),
                (info.rows, info.columns),
                "{label}"
            );
            let stored = &weights.tensors[&info.tensor].1;
            let expected = if info.transposed {
                matrix.transposed()
            } else {
                matrix.clone()
            };
            assert_eq!(expected.data(), stored, "{label}: {}", info.name);
            block.set_weights(layer, &matrix).unwrap();
        }
        let error = relative_error(
            &values(&block.forward(&hidden, &context, None).unwrap()),
            &before,
        );
        assert!(error <= 1e-6, "{label}: {error}");
    }
}

#[test]
fn folds_leave_the_output_and_the_stored_form_says_the_same() {
    for (label, config) in shapes() {
        let (_, weights, model) = random_model(&config);
        let context = model.context(TOKENS).unwrap();
        let hidden = hidden_states(&model, TOKENS, 4);
        let original = model.load_block(1).unwrap();
        let before = values(&original.forward(&hidden, &context, None).unwrap());
        for fold in 0..original.folds().len() {
            let mut block = original.clone();
            let mut rng = Rng::new(fold as u64, 2);
            let scales: Vec<f32> = (0..block.folds()[fold].width)
                .map(|_| (rng.normal() * 0.5).exp() as f32)
                .collect();
            block.fold(fold, &scales).unwrap();
            let after = values(&block.forward(&hidden, &context, None).unwrap());
            let what = format!(
                "{label}, {} -> stage {}",
                block.folds()[fold].producer,
                block.folds()[fold].stage
            );
            let error = relative_error(&after, &before);
            assert!(error <= TOLERANCE, "{what}: {error}");
            assert_scaled(&model, &original, &block, fold, &scales);
            let mut stored: Memory = (*weights).clone();
            let changed = block.changed_tensors().unwrap();
            assert!(changed.len() >= 2, "{what}");
            for (name, shape, values) in changed {
                let old = stored
                    .tensors
                    .insert(name.clone(), (shape.clone(), values.clone()))
                    .unwrap();
                assert!(old.0 == shape && old.1 != values, "{what}: {name}");
            }
            let reopened = model.build_block(1, &Weights(&stored)).unwrap();
            let again = values(&reopened.forward(&hidden, &context, None).unwrap());
            assert!(relative_error(&again, &after) <= 1e-6, "{what}");
        }
    }
}

/// The columns of every consumer are those of before, times the scales.
fn assert_scaled(
    model: &Model,
    before: &crate::model::Block,
    after: &crate::model::Block,
    fold: usize,
    scales: &[f32],
) {
    let fold = &before.folds()[fold];
    for &layer in &fold.consumers {
        let (old, new) = (
            before.weights(layer).unwrap(),
            after.weights(layer).unwrap(),
        );
        let name = &model.layers()[layer].name;
        // A fused layer may be producer of one fold only; its columns scale all the same.
        for row in 0..old.rows() {
            for (column, scale) in scales.iter().enumerate() {
                let (expected, found) = (old.row(row)[column] * scale, new.row(row)[column]);
                assert!(
                    (expected - found).abs() <= 1e-6 * expected.abs(),
                    "{name} {row} {column}"
                );
            }
        }
    }
}

#[test]
fn families_have_the_folds_that_are_exact_for_them() {
    let count = |wanted: &str| {
        let (_, config) = shapes()
            .into_iter()
            .find(|(label, _)| *label == wanted)
            .unwrap();
        let (_, _, model) = random_model(&config);
        let block = model.load_block(0).unwrap();
        block
            .folds()
            .iter()
            .map(|fold| fold.stage)
            .collect::<Vec<_>>()
    };
    assert_eq!(count("llama, as many key heads, tied"), [0, 1, 2, 3]);
    assert_eq!(
        count("llama, llama3 rope"),
        [0, 2, 3],
        "grouped heads: no value fold"
    );
    assert_eq!(count("gpt2"), [0, 1, 2], "gelu stands between up and down");
    assert_eq!(
        count("opt"),
        [0, 1, 2, 3],
        "relu commutes with positive scales"
    );
    assert_eq!(count("bert"), [1], "norms feed the residual stream");
}

#[test]
fn impossible_scales_are_errors_and_change_nothing() {
    let (_, _, model) = random_model(&shapes()[0].1);
    let mut block = model.load_block(0).unwrap();
    let width = block.folds()[0].width;
    for scales in [
        vec![1.0; width - 1],
        vec![0.0; width],
        vec![-1.0; width],
        vec![f32::NAN; width],
    ] {
        assert!(block.fold(0, &scales).is_err());
    }
    assert!(block.fold(99, &[]).is_err());
    assert!(block.changed_tensors().unwrap().is_empty());
}
