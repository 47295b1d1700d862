//! Plans against the crate that reads them, what containers refuse, and the settings that loaders of gptq read.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::formats::store::atomic::write_file;
use crate::formats::store::stream::header_bytes;
use crate::grid::ScaleDtype;
use crate::model::Role;
use crate::moments::Prefix;
use crate::packed::ExternalLayer;
use crate::settings::{Activations, ColumnOrder, LayerSettings, Refine};
use crate::solved::Method;
use crate::tensor::{Dtype, SourceError};
use safetensors::SafeTensors;
use serde_json::{Value, json};

mod external;
mod others;
mod zeros;

/// A source of headers only: planning reads no values.
struct Headers(Vec<(String, TensorInfo)>);

impl WeightSource for Headers {
    fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name.clone()).collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        let found = self.0.iter().find(|(other, _)| other == name)?;
        Some(found.1.clone())
    }

    fn read_f32(&self, name: &str) -> Result<Vec<f32>, SourceError> {
        Err(SourceError::Missing { name: name.into() })
    }

    fn read_bytes(&self, name: &str, _: u64, _: &mut [u8]) -> Result<(), SourceError> {
        Err(SourceError::Missing { name: name.into() })
    }
}

pub(super) fn settings(bits: u8, group: usize, symmetric: bool) -> LayerSettings {
    LayerSettings {
        method: Method::Gptq,
        bits,
        group,
        symmetric,
        scale_dtype: ScaleDtype::F16,
        clip_search: 0,
        order: ColumnOrder::None,
        damping: 0.01,
        refine: Refine::Off,
        prefix: Prefix::Compressed,
        double_quant: false,
        activations: Activations::None,
        activation_block: 0,
        smooth: 0.0,
        prune: crate::settings::Pruning::NONE,
        rank: crate::settings::Rank::None,
        palette_rows: 0,
    }
}

pub(super) fn layer(
    name: &str,
    role: Role,
    rows: usize,
    columns: usize,
    peers: Option<usize>,
) -> LayerInfo {
    LayerInfo {
        name: name.into(),
        tensor: format!("{name}.weight"),
        role,
        kind: match role {
            Role::Embedding => LayerKind::Embedding,
            Role::Head => LayerKind::Head,
            _ => LayerKind::Linear,
        },
        block: Some(0),
        rows,
        columns,
        shape: vec![rows, columns],
        dtype: Dtype::BF16,
        size_bytes: (rows * columns * 2) as u64,
        parameters: (rows * columns) as u64,
        transposed: false,
        compressible: true,
        packed: false,
        fused_peers: peers,
    }
}

fn small_model() -> Vec<LayerInfo> {
    vec![
        layer("embed", Role::Embedding, 100, 64, None),
        layer("block.0.q_proj", Role::Query, 64, 64, Some(0)),
        layer("block.0.k_proj", Role::Key, 32, 64, Some(0)),
        layer("block.0.v_proj", Role::Value, 32, 64, Some(0)),
        layer("block.0.down_proj", Role::Down, 64, 96, None),
    ]
}

fn headers(layers: &[LayerInfo]) -> Headers {
    let mut all: Vec<(String, TensorInfo)> = layers
        .iter()
        .map(|layer| {
            let info = TensorInfo {
                dtype: layer.dtype,
                shape: layer.shape.clone(),
                size_bytes: layer.size_bytes,
            };
            (layer.tensor.clone(), info)
        })
        .collect();
    let norm = TensorInfo {
        dtype: Dtype::F32,
        shape: vec![64],
        size_bytes: 256,
    };
    all.push(("block.0.norm.weight".into(), norm));
    Headers(all)
}

pub(super) fn hold(
    format: Format,
    asked: &[LayerSettings],
    strict: bool,
) -> Result<Vec<Held>, LayoutError> {
    let layers: Vec<_> = small_model()
        .into_iter()
        .zip(asked.iter().copied())
        .collect();
    preflight(format, &layers, strict)
}

fn plan_of(format: Format, asked: &[LayerSettings], config: Option<&Value>) -> Plan {
    let layers = small_model();
    let held = hold(format, asked, false).unwrap();
    let weights = headers(&layers);
    let folder = tempfile::tempdir().unwrap();
    let mut side_files = Vec::new();
    if let Some(config) = config {
        write_file(&folder.path().join("config.json"), |output| {
            output.write_all(config.to_string().as_bytes()).unwrap();
            Ok(())
        })
        .unwrap();
        side_files.push(PathBuf::from("config.json"));
    }
    let source = PlanSource {
        weights: &weights,
        packed: None,
        config,
        root: folder.path(),
        side_files: &side_files,
        made_files: &[],
    };
    plan(format, &source, &layers, &held).unwrap()
}

/// Every tensor file of the plan, its data zero, read by the safetensors crate.
fn check_headers(plan: &Plan) {
    for file in &plan.files {
        let FileContent::Tensors { metadata, tensors } = &file.content else {
            continue;
        };
        let specs: Vec<TensorSpec> = tensors.iter().map(|tensor| tensor.spec.clone()).collect();
        let mut bytes = header_bytes(&specs, metadata);
        bytes.resize(file.size_bytes as usize, 0);
        let read = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(read.len(), tensors.len());
        for spec in specs {
            let view = read.tensor(&spec.name).unwrap();
            assert_eq!(view.shape(), spec.shape, "{}", spec.name);
            assert_eq!(view.data().len() as u64, spec.size_bytes(), "{}", spec.name);
            let offset = view.data().as_ptr() as usize - bytes.as_ptr() as usize;
            assert_eq!(
                offset % spec.dtype.size_bytes(),
                0,
                "{} is aligned",
                spec.name
            );
        }
    }
}

fn quantization(plan: &Plan) -> Value {
    let file = plan
        .files
        .iter()
        .find(|file| file.path == Path::new("config.json"));
    let FileContent::Text(text) = &file.unwrap().content else {
        panic!("config.json is rewritten")
    };
    serde_json::from_slice::<Value>(text).unwrap()["quantization_config"].clone()
}

#[test]
fn every_plan_is_a_file_that_other_programs_read() {
    let asked = [settings(4, 40, false); 5];
    let config = json!({ "model_type": "llama" });
    for format in Format::SAFETENSORS {
        let plan = plan_of(format, &asked, Some(&config));
        check_headers(&plan);
        let sum: u64 = plan.files.iter().map(|file| file.size_bytes).sum();
        assert_eq!(plan.bytes, sum, "{format:?}");
    }
}

#[test]
fn shards_keep_within_their_size_and_the_index_names_every_tensor() {
    let layers = small_model();
    let weights = headers(&layers);
    let source = PlanSource {
        weights: &weights,
        packed: None,
        config: None,
        root: Path::new("."),
        side_files: &[],
        made_files: &[],
    };
    let placements = [Placement::Dense; 5];
    let plan = plan_placed(Format::Dense, &source, &layers, &placements, 13_000).unwrap();
    check_headers(&plan);
    let names: Vec<String> = plan
        .files
        .iter()
        .map(|file| file.path.display().to_string())
        .collect();
    assert_eq!(
        names,
        [
            "model-00001-of-00004.safetensors",
            "model-00002-of-00004.safetensors",
            "model-00003-of-00004.safetensors",
            "model-00004-of-00004.safetensors",
            "model.safetensors.index.json"
        ]
    );
    let FileContent::Text(index) = &plan.files[4].content else {
        panic!("an index")
    };
    let index: Value = serde_json::from_slice(index).unwrap();
    assert_eq!(index["weight_map"].as_object().unwrap().len(), 6);
    assert_eq!(index["weight_map"]["embed.weight"], names[0]);
}

#[test]
fn pare_and_dense_hold_everything() {
    let odd = [settings(5, 7, false); 5];
    for format in [Format::Pare, Format::Dense] {
        let held = hold(format, &odd, true).unwrap();
        assert!(
            held.iter()
                .all(|held| held.settings == odd[0] && held.fallback.is_none())
        );
    }
}

#[test]
fn gptq_leaves_dense_what_it_cannot_hold_and_says_why() {
    let mut asked = [settings(4, 128, false); 5];
    asked[2].bits = 6;
    let held = hold(Format::Gptq, &asked, false).unwrap();
    let reasons: Vec<String> = held
        .iter()
        .map(|held| {
            held.fallback.as_ref().map_or_else(String::new, |row| {
                format!("{} -> {}: {}", row.from, row.to, row.reason)
            })
        })
        .collect();
    let expected = [
        "gptq -> none: gptq has no place for embeddings",
        "gptq -> none: runtimes fuse block.0.q_proj, block.0.k_proj, block.0.v_proj",
        "gptq -> none: gptq holds 2, 3, 4 or 8 bits, not 6",
        "gptq -> none: runtimes fuse",
        "group 128 -> group 32: gptq holds groups",
    ];
    for (reason, expected) in reasons.iter().zip(expected) {
        assert!(
            reason.starts_with(expected),
            "expected {expected:?} in {reason:?}"
        );
    }
    assert_eq!(held[4].settings.group, 32);
    let error = hold(Format::Gptq, &asked, true).unwrap_err().to_string();
    assert!(
        error.contains("block.0.k_proj (gptq holds 2, 3, 4 or 8 bits, not 6)"),
        "{error}"
    );
}

#[test]
fn other_scale_dtypes_become_f16_in_gptq() {
    let mut asked = [settings(4, 32, false); 5];
    asked[4].scale_dtype = ScaleDtype::F32;
    let held = hold(Format::Gptq, &asked, false).unwrap();
    assert_eq!(held[4].settings.scale_dtype, ScaleDtype::F16);
    let fallback = held[4].fallback.as_ref().unwrap();
    assert_eq!(
        (fallback.from.as_str(), fallback.to.as_str()),
        ("f32 scales", "f16 scales")
    );
}

#[test]
fn the_gptq_config_tells_loaders_what_differs() {
    let mut asked = [settings(4, 32, true); 5];
    asked[4] = settings(8, 0, true);
    let config = json!({ "model_type": "llama", "quantization_config": { "bits": 2 } });
    let plan = plan_of(Format::Gptq, &asked, Some(&config));
    let found = quantization(&plan);
    assert_eq!(found["bits"], 4);
    assert_eq!(found["group_size"], 32);
    assert_eq!(found["sym"], true);
    assert_eq!(found["checkpoint_format"], "gptq");
    assert_eq!(
        found["dynamic"],
        json!({ "+:^(.*\\.)?block\\.0\\.down_proj$": { "bits": 8, "group_size": -1, "sym": true, "desc_act": false } })
    );
    assert_eq!(found["modules_in_block_to_quantize"], Value::Null);

    asked[1].method = Method::None;
    asked[4] = settings(4, 32, false);
    let plan = plan_of(Format::Gptq, &asked, Some(&config));
    let found = quantization(&plan);
    assert_eq!(found["checkpoint_format"], "gptq_v2");
    let dense: Vec<&String> = found["dynamic"].as_object().unwrap().keys().collect();
    assert_eq!(
        dense,
        [
            "-:^(.*\\.)?block\\.0\\.(q_proj|qkv_proj)$",
            "-:^(.*\\.)?block\\.0\\.k_proj$",
            "-:^(.*\\.)?block\\.0\\.v_proj$"
        ]
    );
    assert_eq!(
        found["modules_in_block_to_quantize"],
        json!([["block.0.down_proj"]])
    );
}

#[test]
fn an_earlier_quantization_leaves_no_trace_in_a_dense_config() {
    let config = json!({ "model_type": "llama", "quantization_config": { "bits": 2 }, "x": 1.5 });
    let plan = plan_of(Format::Dense, &[settings(4, 32, true); 5], Some(&config));
    let FileContent::Text(text) = &plan.files[1].content else {
        panic!("config.json is rewritten")
    };
    let found: Value = serde_json::from_slice(text).unwrap();
    assert_eq!(found, json!({ "model_type": "llama", "x": 1.5 }));
}

#[test]
fn gptq_without_a_config_is_an_error() {
    let layers = small_model();
    let weights = headers(&layers);
    let source = PlanSource {
        weights: &weights,
        packed: None,
        config: None,
        root: Path::new("model.safetensors"),
        side_files: &[],
        made_files: &[],
    };
    let held = hold(Format::Gptq, &[settings(4, 32, true); 5], false).unwrap();
    let error = plan(Format::Gptq, &source, &layers, &held).unwrap_err();
    assert!(error.to_string().contains("config.json"), "{error}");
}
