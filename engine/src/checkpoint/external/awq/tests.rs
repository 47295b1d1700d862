//! Folders of AutoAWQ open as the dense models that they stand for; wrong ones are refused.
#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::super::super::Container;
use super::super::super::testing::{Tensor, layer_on, open_folder, refusal, tensors_of};
use super::*;
use crate::packed::awq;
use crate::tensor::WeightSource;

fn config(version: &str, bits: u64) -> Value {
    json!({ "model_type": "llama", "torch_dtype": "float16", "quantization_config": {
        "quant_method": "awq", "version": version, "bits": bits, "group_size": 32, "zero_point": true,
    }})
}

fn grid(group: usize) -> GridConfig {
    GridConfig {
        bits: BITS,
        group,
        symmetric: false,
        scale_dtype: ScaleDtype::F16,
    }
}

fn tensors(group: usize) -> Vec<Tensor> {
    let solved = layer_on(grid(group), 16, 96);
    tensors_of("w", awq::pack("w", &solved, grid(group)).unwrap())
}

#[test]
fn layers_open_as_dense_ones() {
    for group in [0, 32] {
        let model = open_folder(&config("gemm", 4), &tensors(group)).unwrap();
        assert_eq!(model.container(), Container::Awq);
        assert_eq!(model.names(), ["w.weight"]);
        assert_eq!(model.original_dtype("w.weight"), Some(Dtype::F16));
        let expected = layer_on(grid(group), 16, 96).dequantize();
        assert_eq!(model.read_f32("w.weight").unwrap(), expected.data());
    }
}

#[test]
fn other_layouts_and_wrong_shapes_are_refused() {
    let changed = |edit: &dyn Fn(&mut Vec<Tensor>)| {
        let mut all = tensors(32);
        edit(&mut all);
        refusal(open_folder(&config("gemm", 4), &all))
    };
    let empty = |all: &mut Vec<Tensor>, shapes: [Vec<usize>; 3]| {
        for (tensor, shape) in all.iter_mut().zip(shapes) {
            tensor.shape = shape;
            tensor.bytes.clear();
        }
    };
    let cases = [
        (
            "the layout gemv_fast",
            refusal(open_folder(&config("gemv_fast", 4), &tensors(32))),
        ),
        (
            "awq of 8 bits",
            refusal(open_folder(&config("GEMM", 8), &tensors(32))),
        ),
        (
            "lacks its part w.qzeros",
            changed(&|all| drop(all.remove(1))),
        ),
        (
            "needs scales as f16",
            changed(&|all| all[2].dtype = Dtype::BF16),
        ),
        ("fit no layer", changed(&|all| all[2].shape = vec![6, 8])),
        ("fit no layer", changed(&|all| all[0].shape = vec![64, 3])),
        (
            "has no weights",
            changed(&|all| empty(all, [vec![usize::MAX / 2, 0], vec![0, 0], vec![0, 0]])),
        ),
        (
            "has no weights",
            changed(&|all| empty(all, [vec![0, 2], vec![3, 0], vec![0, 16]])),
        ),
    ];
    for (expected, error) in cases {
        assert!(
            error.contains(expected),
            "expected {expected:?} in {error:?}"
        );
    }
}
