//! `pare logits`.

use crate::place::{Place, has_keys, shared};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize};
use std::fs;

fn ids(batch: usize, tokens: usize) -> Vec<u8> {
    let values: Vec<u8> = (0..(batch * tokens) as i64)
        .flat_map(|index| (index % 7 + 1).to_le_bytes())
        .collect();
    let view = TensorView::new(Dtype::I64, vec![batch, tokens], &values).unwrap();
    serialize([("input_ids", view)], None).unwrap()
}

fn floats(file: &[u8], name: &str) -> (Vec<usize>, Vec<f32>) {
    let tensors = SafeTensors::deserialize(file).unwrap();
    let tensor = tensors.tensor(name).unwrap();
    assert_eq!(tensor.dtype(), Dtype::F32);
    let values = tensor
        .data()
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    (tensor.shape().to_vec(), values)
}

#[test]
fn a_file_of_logits_is_written() {
    let place = Place::new();
    let input = place.file("ids.safetensors", ids(2, 5));
    let out = place.word("logits.safetensors");
    let document = place.json(&["logits", "sample", "--ids", &input, "--out", &out]);
    has_keys(&document, &["out", "shape", "seconds"]);
    let (shape, values) = floats(&fs::read(&out).unwrap(), "logits");
    assert_eq!(serde_json::json!(shape), document["shape"]);
    assert_eq!(shape[..2], [2, 5]);
    assert!(values.iter().all(|value| value.is_finite()));
}

#[test]
fn golden_logits_are_met() {
    for (family, name) in [("llama", "logits"), ("bert", "last_hidden_state")] {
        let Some(model) = shared(&format!("golden/{family}")) else {
            continue;
        };
        let place = Place::new();
        let golden = format!("{model}/golden.safetensors");
        let out = place.word("out.safetensors");
        place.json(&["logits", &model, "--ids", &golden, "--out", &out]);
        let (shape, found) = floats(&fs::read(&out).unwrap(), name);
        let (expected_shape, expected) = floats(&fs::read(&golden).unwrap(), name);
        assert_eq!(shape, expected_shape, "{family}");
        let largest = expected
            .iter()
            .fold(0.0_f32, |most, value| most.max(value.abs()));
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let error = (found - expected).abs();
            assert!(
                error <= 1e-4 * largest,
                "{family} {index}: {found}, expected {expected}"
            );
        }
    }
}

#[test]
fn ids_outside_the_vocabulary_are_refused() {
    let place = Place::new();
    let values = 1_000_000_i64.to_le_bytes();
    let view = TensorView::new(Dtype::I64, vec![1, 1], &values).unwrap();
    let input = place.file(
        "ids.safetensors",
        serialize([("input_ids", view)], None).unwrap(),
    );
    let out = place.word("logits.safetensors");
    place
        .run(&["logits", "sample", "--ids", &input, "--out", &out])
        .refused(1, &["vocabulary"]);
    assert!(!place.path("logits.safetensors").exists());
}
