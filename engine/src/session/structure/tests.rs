//! Each family made smaller, written, opened again and compared with the larger one with zeros in it.
#![allow(clippy::unwrap_used)]

use crate::formats::Format;
use crate::model::testing::with_weights;
use crate::model::{KeptParts, Model, Role};
use crate::monitor::Unwatched;
use crate::recipe::{BlockChoice, CalibrationSettings, LayerRule, Overrides, Recipe, Structure};
use crate::report::{PartCut, StructureReport};
use crate::session::{CompressReport, CompressRequest, Session, SessionOptions, open_model};
use crate::solved::Method;
use crate::transform::structure::{columns_of, masked};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/golden");

fn families() -> Vec<PathBuf> {
    let Ok(folders) = std::fs::read_dir(GOLDEN) else {
        eprintln!("skipped: {GOLDEN} is absent");
        return Vec::new();
    };
    let mut folders: Vec<_> = folders.map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.join("golden.safetensors").exists());
    folders.sort();
    folders
}

fn session(model: &Path, cache: &Path) -> Session {
    let options = SessionOptions {
        threads: Some(2),
        memory_bytes: Some(1 << 30),
        cache_folder: cache.to_owned(),
        cache_capacity_bytes: 1 << 30,
    };
    Session::open(model, options).unwrap()
}

fn request(model: &Path, out: PathBuf, structure: Structure) -> CompressRequest {
    let mut recipe = Recipe {
        structure,
        calibration: CalibrationSettings {
            corpus: Some(model.join("golden.safetensors").display().to_string()),
            sequences: 2,
            length: 40,
            seed: 0,
        },
        ..Recipe::default()
    };
    recipe.default.method = Method::None;
    CompressRequest {
        recipe,
        out,
        format: Format::Dense,
        evaluate: None,
        resume: false,
        keep_layers: true,
    }
}

/// Runs `structure` on `model`; the dry run's bytes must be those written.
fn run(model: &Path, out: PathBuf, structure: Structure) -> Result<CompressReport, String> {
    let cache = tempfile::tempdir().unwrap();
    let session = session(model, cache.path());
    let request = request(model, out, structure);
    let dry = session
        .dry_run(&request)
        .map_err(|error| error.to_string())?;
    let report = session
        .compress(&request, &Unwatched)
        .map_err(|error| error.to_string())?;
    let name = model.display();
    assert_eq!(dry.bytes_after, report.bytes_after, "{name}");
    let on_disk: u64 = std::fs::read_dir(&request.out)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap())
        .filter(std::fs::Metadata::is_file)
        .map(|metadata| metadata.len())
        .sum();
    assert_eq!(on_disk, report.bytes_after, "{name}");
    Ok(report)
}

fn open(folder: &Path) -> Model {
    let checkpoint = Arc::new(crate::checkpoint::Checkpoint::open(folder).unwrap());
    open_model(&checkpoint).unwrap()
}

fn outputs(model: &Model) -> Vec<f32> {
    let ids: Vec<u32> = (0..40).map(|index| (index * 7 + 3) % 90).collect();
    let output = model.forward(&ids).unwrap();
    output.flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_same(name: &Path, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{}", name.display());
    let largest = expected
        .iter()
        .fold(0.0f32, |largest, value| largest.max(value.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() <= 1e-5 * largest,
            "{}: found {found}, expected {expected}",
            name.display()
        );
    }
}

/// The original with zeros where the report says that something went.
fn with_zeros(folder: &Path, report: &StructureReport) -> Model {
    let model = open(folder);
    let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut changed = Vec::new();
    for (index, layer) in model.layers().iter().enumerate() {
        let (Role::Output | Role::Down, Some(block)) = (layer.role, layer.block) else {
            continue;
        };
        let cut = report.cuts.iter().find(|cut| cut.block == block).unwrap();
        let all = model.config().all_parts();
        let without = |part: &Option<PartCut>, mut all: Vec<usize>| {
            let removed = part.as_ref().map_or(&[][..], |part| &part.removed);
            all.retain(|index| !removed.contains(index));
            all
        };
        let kept = KeptParts {
            groups: without(&cut.heads, all.groups),
            neurons: without(&cut.neurons, all.neurons),
        };
        let columns = model.config().slice(layer.role, &kept).columns.unwrap();
        let weights = layer.read(model.source().as_ref()).unwrap();
        let zeroed = masked(&columns_of(&weights, &columns), &columns, weights.columns());
        changed.push((index, Arc::new(zeroed)));
    }
    with_weights(&model, &config, &changed)
}

#[test]
fn every_family_loses_neurons_and_stays_itself() {
    let out = tempfile::tempdir().unwrap();
    for folder in families() {
        let structure = Structure {
            neurons: 0.3,
            neuron_multiple: 8,
            ..Structure::default()
        };
        let written = out.path().join(folder.file_name().unwrap());
        let report = run(&folder, written.clone(), structure).unwrap();
        let expected = outputs(&with_zeros(&folder, &report.structure.unwrap()));
        assert_same(&folder, &outputs(&open(&written)), &expected);
        assert!(!written.join("structure").exists());
    }
}

#[test]
fn heads_go_where_config_json_can_say_it() {
    let out = tempfile::tempdir().unwrap();
    for folder in families() {
        let structure = Structure {
            heads: 0.5,
            ..Structure::default()
        };
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let written = out.path().join(&name);
        let derives = ["bert", "distilbert", "gpt2", "gpt_neox", "opt", "roberta"];
        let result = run(&folder, written.clone(), structure);
        if derives.contains(&name.as_str()) {
            let error = result.unwrap_err();
            assert!(
                error.contains("head_dim") && error.contains(&name),
                "{error}"
            );
            assert!(!written.exists(), "{name} was refused before the run");
            continue;
        }
        let expected = outputs(&with_zeros(&folder, &result.unwrap().structure.unwrap()));
        assert_same(&folder, &outputs(&open(&written)), &expected);
    }
}

#[test]
fn blocks_go_by_similarity_and_repair_lowers_the_error() {
    let out = tempfile::tempdir().unwrap();
    for folder in families() {
        let structure = Structure {
            neurons: 0.25,
            blocks: BlockChoice::Count(1),
            repair: true,
            ..Structure::default()
        };
        let written = out.path().join(folder.file_name().unwrap());
        let found = run(&folder, written.clone(), structure)
            .unwrap()
            .structure
            .unwrap();
        assert_eq!(found.removed_blocks, [1], "{}", folder.display());
        assert_eq!(open(&written).config().blocks, 2);
        assert_eq!(
            layer_types(&written),
            layer_types(&folder).map(|words| [words[0].clone(), words[2].clone()].to_vec()),
            "{}: blocks that stay keep their windows",
            folder.display()
        );
        for cut in found.cuts {
            let neurons = cut.neurons.unwrap();
            assert!(
                neurons.relative_error_repaired.unwrap() <= neurons.relative_error_cut,
                "{}: {neurons:?}",
                folder.display()
            );
        }
    }
}

/// `layer_types` of a configuration.
fn layer_types(folder: &Path) -> Option<Vec<serde_json::Value>> {
    let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&text).unwrap();
    config["layer_types"].as_array().cloned()
}

#[test]
fn a_rule_of_the_original_decides_the_same_layer_when_blocks_before_it_go() {
    let Some(folder) = families()
        .into_iter()
        .find(|folder| folder.ends_with("llama-bf16"))
    else {
        return;
    };
    let out = tempfile::tempdir().unwrap();
    let structure = Structure {
        blocks: BlockChoice::These(vec![0]),
        ..Structure::default()
    };
    let mut request = request(&folder, out.path().join("fewer"), structure);
    request.format = Format::Pare;
    request.recipe.layers.push(LayerRule {
        pattern: "model.layers.2.mlp.up_proj".to_owned(),
        overrides: Overrides {
            method: Some(Method::Rtn),
            bits: Some(8),
            group: Some(16),
            ..Overrides::default()
        },
    });
    let cache = tempfile::tempdir().unwrap();
    let session = session(&folder, cache.path());
    let report = session.compress(&request, &Unwatched).unwrap();
    let coded: Vec<&str> = report
        .layers
        .iter()
        .filter(|layer| layer.method != Method::None)
        .map(|layer| layer.name.as_str())
        .collect();
    assert_eq!(coded, ["model.layers.1.mlp.up_proj"]);
    assert_eq!(report.recipe, request.recipe.to_toml());
}

#[test]
fn a_share_of_nothing_copies_every_byte() {
    let Some(folder) = families()
        .into_iter()
        .find(|folder| folder.ends_with("llama-bf16"))
    else {
        return;
    };
    let out = tempfile::tempdir().unwrap();
    let structure = Structure {
        neurons: 0.001,
        repair: true,
        ..Structure::default()
    };
    run(&folder, out.path().join("same"), structure).unwrap();
    let bytes = |folder: &Path| {
        let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let mut tensors: Vec<(String, Vec<u8>)> = file
            .tensors()
            .into_iter()
            .map(|(name, view)| (name, view.data().to_vec()))
            .collect();
        tensors.sort();
        tensors
    };
    assert_eq!(bytes(&out.path().join("same")), bytes(&folder));
}
