//! Packed models open as the dense ones that they stand for; wrong ones are refused when opened, or when read.

#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::super::testing::{Tensor, put, tensor_file};
use super::super::{Checkpoint, Container};
use super::*;
use crate::codebook::{BlockCodebook, BlockScales};
use crate::grid::{AffineGrid, GridConfig, ScaleDtype};
use crate::packed::gptq::{self, CheckpointFormat};
use crate::packed::{OriginalTensor, pack};
use crate::solved::{Codes, Grid, Method};
use crate::tensor::WeightSource;

/// A solved layer whose values all differ a little.
fn affine(rows: usize, columns: usize, bits: u8, group: usize) -> Solved {
    let config = GridConfig {
        bits,
        group,
        symmetric: false,
        scale_dtype: ScaleDtype::F16,
    };
    let mut grid = AffineGrid::neutral(config, rows, columns);
    for (index, scale) in grid.scales.iter_mut().enumerate() {
        *scale = ScaleDtype::F16.snap_scale(0.01 * (index + 1) as f32);
    }
    for (index, zero) in grid.zeros.iter_mut().enumerate() {
        *zero = (1 + index % 3) as f32;
    }
    let codes = (0..rows * columns)
        .map(|index| ((index * 7 + index / columns) % (1 << bits)) as u8)
        .collect();
    solved(rows, columns, codes, Grid::Affine(grid))
}

fn nf4(rows: usize, columns: usize) -> Solved {
    let codebook = BlockCodebook {
        rows,
        columns,
        block: 4,
        scales: BlockScales::Plain(vec![0.5; rows * columns.div_ceil(4)]),
    };
    let codes = (0..rows * columns)
        .map(|index| (index % 16) as u8)
        .collect();
    solved(rows, columns, codes, Grid::Codebook(codebook))
}

fn solved(rows: usize, columns: usize, values: Vec<u8>, grid: Grid) -> Solved {
    Solved {
        method: Method::Rtn,
        codes: Codes {
            rows,
            columns,
            values,
        },
        grid,
        mask: None,
        factors: None,
        loss: None,
        warnings: Vec::new(),
    }
}

fn plain(name: &str) -> Tensor {
    Tensor {
        name: name.to_owned(),
        dtype: Dtype::F32,
        shape: vec![1],
        bytes: 1.5f32.to_le_bytes().to_vec(),
    }
}

/// Manifest text and tensors of a `pare` model of one layer `w`, between two plain tensors.
fn pare(solved: &Solved, transposed: bool) -> (String, Vec<Tensor>) {
    let (rows, columns) = (solved.codes.rows, solved.codes.columns);
    let tensor = OriginalTensor {
        name: "w.weight".to_owned(),
        shape: if transposed {
            vec![columns, rows]
        } else {
            vec![rows, columns]
        },
        dtype: Dtype::BF16,
        transposed,
    };
    let packed = pack("w", tensor, solved, &ActivationPlan::NONE).unwrap();
    let mut tensors = vec![plain("a")];
    for part in packed.parts {
        tensors.push(Tensor {
            name: packed.manifest.part_name(&part.suffix),
            dtype: part.dtype,
            shape: part.shape,
            bytes: part.bytes,
        });
    }
    tensors.push(plain("z"));
    let manifest = Manifest {
        version: MANIFEST_VERSION,
        layers: vec![packed.manifest],
    };
    (serde_json::to_string(&manifest).unwrap(), tensors)
}

fn open_pare(manifest: &str, tensors: &[Tensor]) -> Result<Checkpoint, CheckpointError> {
    let folder = tempfile::tempdir().unwrap();
    let file = tensor_file(&[("format", "pt"), (METADATA_KEY, manifest)], tensors);
    put(folder.path(), "model.safetensors", file);
    // Files stay readable while they are open, also after their folder is gone.
    Checkpoint::open(folder.path())
}

fn open_gptq(
    config: &serde_json::Value,
    tensors: &[Tensor],
) -> Result<Checkpoint, CheckpointError> {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "config.json", config.to_string());
    put(
        folder.path(),
        "model.safetensors",
        tensor_file(&[], tensors),
    );
    Checkpoint::open(folder.path())
}

fn gptq_tensors(solved: &Solved, format: CheckpointFormat) -> Vec<Tensor> {
    let parts = gptq::pack("w", solved, format).unwrap();
    let mut tensors = vec![plain("a")];
    tensors.extend(parts.into_iter().map(|part| Tensor {
        name: format!("w.{}", part.suffix),
        dtype: part.dtype,
        shape: part.shape,
        bytes: part.bytes,
    }));
    tensors
}

fn gptq_config(format: &str, model_type: &str) -> serde_json::Value {
    json!({ "model_type": model_type, "dtype": "float16", "quantization_config": {
        "quant_method": "gptq", "bits": 4, "group_size": 32, "checkpoint_format": format,
    }})
}

fn expected(solved: &Solved, transposed: bool) -> Vec<f32> {
    let dense = solved.dequantize();
    if transposed {
        dense.transposed().into_data()
    } else {
        dense.into_data()
    }
}

fn refusal(result: Result<Checkpoint, CheckpointError>) -> String {
    match result {
        Ok(_) => panic!("expected an error"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn pare_models_open_as_dense_ones() {
    for solved in [affine(5, 13, 3, 4), affine(3, 8, 8, 0), nf4(4, 10)] {
        for transposed in [false, true] {
            let (manifest, tensors) = pare(&solved, transposed);
            let checkpoint = open_pare(&manifest, &tensors).unwrap();
            assert_eq!(checkpoint.container(), Container::Pare);
            assert_eq!(checkpoint.names(), ["a", "w.weight", "z"]);
            let info = checkpoint.info("w.weight").unwrap();
            let shape = [solved.codes.rows, solved.codes.columns];
            let expected_shape = if transposed {
                [shape[1], shape[0]]
            } else {
                shape
            };
            assert_eq!(
                (info.dtype, &info.shape[..]),
                (Dtype::F32, &expected_shape[..])
            );
            assert_eq!(checkpoint.original_dtype("w.weight"), Some(Dtype::BF16));
            let values = checkpoint.read_f32("w.weight").unwrap();
            assert_eq!(values, expected(&solved, transposed));
        }
    }
}

#[test]
fn bytes_of_packed_layers_come_piece_by_piece() {
    let solved = affine(5, 13, 3, 4);
    let (manifest, tensors) = pare(&solved, false);
    let checkpoint = open_pare(&manifest, &tensors).unwrap();
    let all: Vec<u8> = expected(&solved, false)
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let mut read = vec![0; all.len()];
    for (index, piece) in read.chunks_mut(7).enumerate() {
        checkpoint
            .read_bytes("w.weight", index as u64 * 7, piece)
            .unwrap();
    }
    assert!(read == all);
    assert!(
        checkpoint.unpacked.lock().unwrap().is_none(),
        "the last byte frees the values"
    );
    let error = checkpoint
        .read_bytes("w.weight", all.len() as u64, &mut [0])
        .unwrap_err();
    assert!(matches!(error, SourceError::Unfit { .. }), "{error}");
}

#[test]
fn gptq_models_open_as_dense_ones() {
    let solved = affine(32, 64, 4, 32);
    for (format, word) in [
        (CheckpointFormat::V1, "gptq"),
        (CheckpointFormat::V2, "gptq_v2"),
    ] {
        for (model_type, transposed) in [("llama", false), ("gpt2", true)] {
            for with_indices in [true, false] {
                let mut tensors = gptq_tensors(&solved, format);
                tensors.retain(|tensor| with_indices || tensor.name != "w.g_idx");
                let checkpoint = open_gptq(&gptq_config(word, model_type), &tensors).unwrap();
                assert_eq!(checkpoint.container(), Container::Gptq);
                assert_eq!(checkpoint.names(), ["a", "w.weight"]);
                assert_eq!(checkpoint.original_dtype("w.weight"), Some(Dtype::F16));
                let values = checkpoint.read_f32("w.weight").unwrap();
                assert_eq!(values, expected(&solved, transposed), "{word} {model_type}");
            }
        }
    }
}

#[test]
fn shapes_tell_bits_that_the_config_does_not() {
    for bits in [2, 3, 8] {
        let solved = affine(32, 96, bits, 32);
        let tensors = gptq_tensors(&solved, CheckpointFormat::V2);
        let checkpoint = open_gptq(&gptq_config("gptq_v2", "llama"), &tensors).unwrap();
        let values = checkpoint.read_f32("w.weight").unwrap();
        assert_eq!(values, expected(&solved, false), "{bits} bits");
    }
}

#[test]
fn a_packed_layer_without_all_its_parts() {
    let solved = affine(5, 13, 3, 4);
    for suffix in ["codes", "scales", "zeros"] {
        let (manifest, mut tensors) = pare(&solved, false);
        tensors.retain(|tensor| tensor.name != format!("w.weight.{suffix}"));
        let error = refusal(open_pare(&manifest, &tensors));
        assert!(
            error.contains(&format!("lacks its part w.weight.{suffix}")),
            "{error}"
        );
    }
    for suffix in ["qzeros", "scales"] {
        let mut tensors = gptq_tensors(&affine(32, 64, 4, 32), CheckpointFormat::V1);
        tensors.retain(|tensor| tensor.name != format!("w.{suffix}"));
        let error = refusal(open_gptq(&gptq_config("gptq", "llama"), &tensors));
        assert!(
            error.contains(&format!("lacks its part w.{suffix}")),
            "{error}"
        );
    }
}

#[test]
fn a_part_of_another_shape_than_the_manifest_says() {
    let (manifest, mut tensors) = pare(&affine(5, 13, 3, 4), false);
    tensors[1].shape = vec![tensors[1].bytes.len()];
    let error = refusal(open_pare(&manifest, &tensors));
    assert!(error.contains("but the file has"), "{error}");
}

#[test]
fn manifests_that_contradict_themselves() {
    let (manifest, tensors) = pare(&affine(5, 13, 3, 4), false);
    let changes = [
        ("\"bits\":3", "\"bits\":9"),
        ("\"rows\":5", "\"rows\":0"),
        ("\"rows\":5", "\"rows\":18446744073709551615"),
        ("\"group\":4", "\"group\":5"),
        ("[5,13]", "[13,5]"),
        ("\"bf16\"", "\"i64\""),
    ];
    for (from, to) in changes {
        let changed = manifest.replace(from, to);
        assert_ne!(changed, manifest, "{from}");
        let error = refusal(open_pare(&changed, &tensors));
        assert!(error.contains("compressed layer w "), "{to}: {error}");
    }
}

#[test]
fn manifests_that_cannot_be_read() {
    let (_, tensors) = pare(&affine(5, 13, 3, 4), false);
    for manifest in ["", "[]", "{\"version\":1}", "{\"layers\":[]}"] {
        let error = refusal(open_pare(manifest, &tensors));
        assert!(
            error.contains("manifest of packed layers is not valid JSON"),
            "{error}"
        );
    }
    let newer = MANIFEST_VERSION + 1;
    let manifest = format!("{{\"version\":{newer},\"news\":true}}");
    let error = refusal(open_pare(&manifest, &tensors));
    let expected = format!("version {newer}, newer than {MANIFEST_VERSION}");
    assert!(error.contains(&expected), "{error}");
}

#[test]
fn a_layer_both_packed_and_dense() {
    let (manifest, mut tensors) = pare(&affine(5, 13, 3, 4), false);
    tensors.push(plain("w.weight"));
    let error = refusal(open_pare(&manifest, &tensors));
    assert!(error.contains("stands in the model twice"), "{error}");
}

#[test]
fn scales_that_are_no_numbers_are_found_when_read() {
    let (manifest, mut tensors) = pare(&affine(5, 13, 3, 4), false);
    tensors[2].bytes[..2].copy_from_slice(&half::f16::NAN.to_le_bytes());
    let checkpoint = open_pare(&manifest, &tensors).unwrap();
    let error = checkpoint.read_f32("w.weight").unwrap_err();
    assert!(error.to_string().contains("cannot be unpacked"), "{error}");
}

#[test]
fn gptq_layers_whose_shapes_make_no_sense() {
    let empty = |name: &str, dtype: Dtype, shape: Vec<usize>| Tensor {
        name: format!("w.{name}"),
        dtype,
        shape,
        bytes: Vec::new(),
    };
    for (words, rows) in [(usize::MAX / 2, 0), (0, usize::MAX / 2), (0, 0)] {
        let tensors = [
            empty("qweight", Dtype::I32, vec![words, rows]),
            empty("qzeros", Dtype::I32, vec![0, 0]),
            empty("scales", Dtype::F16, vec![0, 0]),
        ];
        let error = refusal(open_gptq(&gptq_config("gptq", "llama"), &tensors));
        assert!(error.contains("has no weights"), "{error}");
    }
    let mut tensors = gptq_tensors(&affine(32, 64, 4, 32), CheckpointFormat::V1);
    let scales = tensors
        .iter()
        .position(|tensor| tensor.name == "w.scales")
        .unwrap();
    tensors[scales].dtype = Dtype::BF16;
    let error = refusal(open_gptq(&gptq_config("gptq", "llama"), &tensors));
    assert!(error.contains("needs scales as f16"), "{error}");
}
