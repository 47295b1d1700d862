//! Folders of compressed-tensors open as the dense models that they stand for; wrong ones are refused.
#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::super::super::testing::{Tensor, layer_on, open_folder, refusal, tensors_of};
use super::super::super::{Checkpoint, Container};
use super::*;
use crate::packed::{ActivationKind, ActivationPlan};
use crate::tensor::WeightSource;

fn compressed(form: CodeForm, bits: u8, group: usize, symmetric: bool) -> CompressedLayer {
    CompressedLayer {
        form,
        grid: GridConfig {
            bits,
            group,
            symmetric,
            scale_dtype: ScaleDtype::BF16,
        },
        activations: Activations::None,
    }
}

fn group(layer: &CompressedLayer, targets: &[&str]) -> Value {
    let size = layer.grid.group;
    json!({
        "targets": targets,
        "format": layer.form.word(),
        "weights": {
            "num_bits": layer.grid.bits, "type": "int", "symmetric": layer.grid.symmetric,
            "strategy": if size == 0 { "channel" } else { "group" },
            "group_size": if size == 0 { Value::Null } else { json!(size) },
        },
        "input_activations": match layer.activations {
            Activations::None => Value::Null,
            Activations::Dynamic8 => json!({ "num_bits": 8, "strategy": "token", "dynamic": true }),
            Activations::Static8 => json!({ "num_bits": 8, "strategy": "tensor", "dynamic": false }),
        },
    })
}

fn config(groups: &[Value]) -> Value {
    let names = (0..groups.len()).map(|index| format!("group_{index}"));
    let groups: serde_json::Map<_, _> = names.zip(groups.iter().cloned()).collect();
    json!({ "model_type": "llama", "dtype": "bfloat16", "quantization_config": {
        "quant_method": "compressed-tensors", "format": "mixed-precision", "config_groups": groups,
    }})
}

fn tensors(name: &str, layer: &CompressedLayer, rows: usize, columns: usize) -> Vec<Tensor> {
    let plan = ActivationPlan::new(layer.activation_kind(), Some(0.5));
    let solved = layer_on(layer.grid, rows, columns);
    tensors_of(name, layer.pack(name, &solved, &plan).unwrap())
}

#[test]
fn layers_of_several_schemes_open_as_dense_ones() {
    let rounded = CompressedLayer {
        activations: Activations::Static8,
        ..compressed(CodeForm::Integers, 8, 0, true)
    };
    let layers = [
        ("m.0.up", compressed(CodeForm::Packed, 4, 8, false)),
        ("m.0.down", rounded),
        ("m.0.q", compressed(CodeForm::Packed, 8, 0, true)),
    ];
    let groups = [
        group(&layers[0].1, &["Linear"]),
        group(&layers[1].1, &["re:.*down$"]),
        group(&layers[2].1, &["m.0.q"]),
    ];
    let all: Vec<Tensor> = layers
        .iter()
        .flat_map(|(name, layer)| tensors(name, layer, 5, 24))
        .collect();
    let model = open_folder(&config(&groups), &all).unwrap();
    assert_eq!(model.container(), Container::CompressedTensors);
    for (name, layer) in &layers {
        let tensor = format!("{name}.weight");
        let expected = layer_on(layer.grid, 5, 24).dequantize();
        assert_eq!(model.info(&tensor).unwrap().shape, [5, 24], "{name}");
        assert_eq!(model.original_dtype(&tensor), Some(Dtype::BF16));
        assert_eq!(model.read_f32(&tensor).unwrap(), expected.data(), "{name}");
        let kind = ActivationKind {
            mode: layer.activations,
            block: 0,
        };
        let plan = ActivationPlan::new(kind, Some(0.5));
        assert_eq!(model.activations(&tensor).unwrap(), plan, "{name}");
        let (stored, _) = model.stored(&tensor).unwrap();
        assert_eq!(stored.code.bits(), Some(layer.grid.bits));
    }
}

#[test]
fn rows_of_an_odd_width_are_told_by_their_shape() {
    let layer = compressed(CodeForm::Packed, 4, 0, true);
    let all = tensors("w", &layer, 3, 13);
    let model = open_folder(&config(&[group(&layer, &["Linear"])]), &all).unwrap();
    assert_eq!(model.info("w.weight").unwrap().shape, [3, 13]);
    let expected = layer_on(layer.grid, 3, 13).dequantize();
    assert_eq!(model.read_f32("w.weight").unwrap(), expected.data());
}

fn open_changed(
    edit: &dyn Fn(&mut Vec<Tensor>, &mut Value),
) -> Result<Checkpoint, CheckpointError> {
    let layer = compressed(CodeForm::Packed, 4, 0, false);
    let mut all = tensors("w", &layer, 5, 24);
    let mut config = config(&[group(&layer, &["Linear"])]);
    edit(&mut all, &mut config);
    open_folder(&config, &all)
}

fn tensor<'all>(all: &'all mut [Tensor], suffix: &str) -> &'all mut Tensor {
    all.iter_mut()
        .find(|tensor| tensor.name == format!("w.{suffix}"))
        .unwrap()
}

#[test]
fn hostile_folders_are_refused_when_opened() {
    let scheme = |key: &str, value: Value| {
        let key = key.to_owned();
        refusal(open_changed(&move |_, config| {
            config["quantization_config"]["config_groups"]["group_0"]["weights"][&key] =
                value.clone();
        }))
    };
    let shape = |number: i64| {
        refusal(open_changed(&move |all, _| {
            tensor(all, "weight_shape").bytes[8..].copy_from_slice(&number.to_le_bytes());
        }))
    };
    let cases = [
        ("floats of few bits", scheme("type", json!("float"))),
        ("no number of bits", scheme("num_bits", json!(300))),
        ("no number of bits", scheme("num_bits", Value::Null)),
        ("shares scales by block", scheme("strategy", json!("block"))),
        ("need", scheme("num_bits", json!(8))),
        ("need", shape(-1)),
        ("need", shape(i64::MAX)),
        ("need", shape(0)),
        (
            "no pair",
            refusal(open_changed(&|all, _| {
                let part = tensor(all, "weight_shape");
                part.shape = vec![3];
                part.bytes.extend([0; 8]);
            })),
        ),
        (
            "lacks its part w.weight_scale",
            refusal(open_changed(&|all, _| {
                all.retain(|part| part.name != "w.weight_scale")
            })),
        ),
        (
            "needs scales",
            refusal(open_changed(&|all, _| {
                tensor(all, "weight_scale").shape = vec![1, 5]
            })),
        ),
        (
            "stands in no config group",
            refusal(open_changed(&|_, config| {
                config["quantization_config"]["config_groups"] = json!({});
            })),
        ),
        (
            "lies as marlin-24",
            refusal(open_changed(&|_, config| {
                config["quantization_config"]["config_groups"]["group_0"]["format"] =
                    json!("marlin-24");
            })),
        ),
        (
            "pattern (?=w), which cannot be read",
            refusal(open_changed(&|_, config| {
                config["quantization_config"]["config_groups"]["group_0"]["targets"] =
                    json!(["re:(?=w)"]);
            })),
        ),
        (
            "in the layout sparse-24-bitmask",
            refusal(open_changed(&|_, config| {
                config["quantization_config"]["sparsity_config"] =
                    json!({ "format": "sparse-24-bitmask" });
            })),
        ),
        (
            "rounds inputs to float8",
            refusal(open_changed(&|_, config| {
                config["quantization_config"]["config_groups"]["group_0"]["input_activations"] =
                    json!({ "type": "float", "num_bits": 8, "strategy": "token", "dynamic": true });
            })),
        ),
    ];
    for (expected, error) in cases {
        assert!(
            error.contains(expected),
            "expected {expected:?} in {error:?}"
        );
    }
}

#[test]
fn naive_integers_are_read_and_rounded_caches_noted() {
    let layer = compressed(CodeForm::Integers, 4, 8, false);
    let mut said = config(&[group(&layer, &["Linear"])]);
    said["quantization_config"]["format"] = json!("naive-quantized");
    said["quantization_config"]["config_groups"]["group_0"]["format"] = json!("naive-quantized");
    let all = tensors("w", &layer, 5, 24);
    let model = open_folder(&said, &all).unwrap();
    let expected = layer_on(layer.grid, 5, 24).dequantize();
    assert_eq!(model.read_f32("w.weight").unwrap(), expected.data());
    assert_eq!(model.notes(), [""; 0]);
    said["quantization_config"]["kv_cache_scheme"] = json!({ "num_bits": 8 });
    let model = open_folder(&said, &all).unwrap();
    assert!(
        model.notes()[0].contains("kv_cache_scheme"),
        "{:?}",
        model.notes()
    );
    let packed = tensors("w", &compressed(CodeForm::Packed, 4, 8, false), 5, 24);
    let model = open_folder(&json!({ "model_type": "llama" }), &packed).unwrap();
    assert!(
        model.notes()[0].contains("w.weight_packed"),
        "{:?}",
        model.notes()
    );
}

#[test]
fn zeros_of_another_shape_are_refused_when_read() {
    let model = open_changed(&|all, _| {
        let zeros = tensor(all, "weight_zero_point");
        zeros.shape = vec![1, 1, 1];
    });
    let error = model.unwrap().read_f32("w.weight").unwrap_err().to_string();
    assert!(error.contains("weight_zero_point is"), "{error}");
}
