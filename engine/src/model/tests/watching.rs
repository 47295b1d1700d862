//! Watched layers compute what unwatched ones do, and their squares are those of gradients found another way.

use super::gradients::{Variables, random, variable};
use super::shapes::{random_model, shapes, some_ids, values};
use crate::model::Block;
use candle_core::Tensor;

/// Gradient of `output . weights` with respect to what entered.
fn pull(
    output: &Tensor,
    weights: &Tensor,
    input: &candle_core::Var,
) -> (Vec<f32>, candle_core::backprop::GradStore) {
    let loss = (output * weights).unwrap().sum_all().unwrap();
    let gradients = loss.backward().unwrap();
    (values(gradients.get(input.as_tensor()).unwrap()), gradients)
}

fn assert_close(label: &str, found: &[f32], expected: &[f32]) {
    let scale = expected
        .iter()
        .fold(1e-6f32, |most, value| most.max(value.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() < 1e-4 * scale,
            "{label}: {found}, expected {expected}"
        );
    }
}

/// With one token, a weight's gradient is `g xᵀ`: its rows tell the gradient at each output.
#[test]
fn squares_are_those_of_gradients_at_outputs() {
    for (label, config) in shapes() {
        let (parsed, weights, model) = random_model(&config);
        let provider = Variables::new(&weights);
        let block: Block = model.build_block(1, &provider).unwrap();
        let context = model.context(1).unwrap();
        let mut watched = block.clone();
        watched.watch_outputs();
        let mut expected = vec![Vec::new(); model.layers().len()];
        for sequence in 0..3 {
            let shape = [1, 1, parsed.hidden];
            let hidden = variable(random(parsed.hidden, 10 + sequence), &shape);
            let toward = variable(random(parsed.hidden, 20 + sequence), &shape);
            let output = block.forward(hidden.as_tensor(), &context, None).unwrap();
            let (at_input, gradients) = pull(&output, toward.as_tensor(), &hidden);
            let seen = watched.forward(hidden.as_tensor(), &context, None).unwrap();
            assert_eq!(values(&seen), values(&output), "{label}: forward");
            let (found, _) = pull(&seen, toward.as_tensor(), &hidden);
            assert_close(label, &found, &at_input);
            for (stage, layers) in block.stages().iter().enumerate() {
                let input = block
                    .stage_input(stage, hidden.as_tensor(), &context)
                    .unwrap();
                let energy: f32 = values(&input).iter().map(|value| value * value).sum();
                for &layer in &layers.layers {
                    let info = &model.layers()[layer];
                    let variable = provider.made.borrow()[&info.tensor].clone();
                    let gradient = gradients.get(variable.as_tensor()).unwrap();
                    let gradient = match info.transposed {
                        true => gradient.t().unwrap(),
                        false => gradient.clone(),
                    };
                    let rows: Vec<Vec<f32>> = gradient.to_vec2().unwrap();
                    let squares = rows
                        .iter()
                        .map(|row| row.iter().map(|value| value * value).sum::<f32>() / energy);
                    expected[layer].resize(rows.len(), 0.0);
                    expected[layer]
                        .iter_mut()
                        .zip(squares)
                        .for_each(|(sum, square)| *sum += square);
                }
            }
        }
        let found = watched.watched_squares();
        let linear = block
            .stages()
            .iter()
            .map(|stage| stage.layers.len())
            .sum::<usize>();
        assert_eq!(found.len(), linear, "{label}");
        for (layer, squares) in found {
            let squares: Vec<f32> = squares.into_iter().map(|square| square as f32).collect();
            assert_eq!(squares.len(), expected[layer].len());
            assert_close(
                &format!("{label}, {}", model.layers()[layer].name),
                &squares,
                &expected[layer],
            );
        }
    }
}

#[test]
fn a_watched_head_passes_the_same_gradient_on() {
    for (label, config) in shapes() {
        let (parsed, _, model) = random_model(&config);
        let ends = model.load_ends().unwrap();
        let mut watched = ends.clone();
        watched.watch_head();
        let ids = some_ids(2, parsed.vocabulary, 2);
        let embedded = ends.embed(&ids, &model.context(2).unwrap()).unwrap();
        let hidden = variable(values(&embedded), &[1, 2, parsed.hidden]);
        let output = ends.head(hidden.as_tensor()).unwrap();
        let toward = variable(random(output.elem_count(), 4), output.dims());
        let (expected, _) = pull(&output, toward.as_tensor(), &hidden);
        let seen = watched.head(hidden.as_tensor()).unwrap();
        assert_eq!(values(&seen), values(&output), "{label}: forward");
        let (found, _) = pull(&seen, toward.as_tensor(), &hidden);
        assert_close(label, &found, &expected);
        let Some((layer, squares)) = watched.watched_squares() else {
            assert!(model.is_encoder(), "{label}: a decoder has a head");
            continue;
        };
        let head = ends.head_layer().unwrap_or(ends.embedding_layer());
        assert_eq!((layer, squares.len()), (head, parsed.vocabulary), "{label}");
        if parsed.logit_softcap.is_none() {
            let toward = values(toward.as_tensor());
            let (first, second) = toward.split_at(parsed.vocabulary);
            let expected: Vec<f32> = first
                .iter()
                .zip(second)
                .map(|(one, other)| one * one + other * other)
                .collect();
            let squares: Vec<f32> = squares.into_iter().map(|square| square as f32).collect();
            assert_close(label, &squares, &expected);
        }
    }
}
