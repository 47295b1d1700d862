//! Each family's tiny model against what the transformers library computed in f32.

use super::memory::Memory;
use super::shapes::{relative_error, values};
use crate::model::Model;
use crate::model::rope::Rope;
use std::path::Path;
use std::sync::Arc;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/golden");
const TOLERANCE: f32 = 1e-4;

fn open(folder: &Path) -> Model {
    let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
    let source = Memory::read(&folder.join("model.safetensors"));
    let mut model = Model::open(Arc::new(source), &serde_json::from_str(&text).unwrap()).unwrap();
    if folder.ends_with("llama-bf16") {
        // These logits were made after the whole model, its table of rotary frequencies included, had gone through
        // bf16. A model loaded from the folder keeps f32 frequencies, there and here: without this line 4.1e-4.
        Arc::make_mut(&mut model.config)
            .ropes
            .iter_mut()
            .for_each(Rope::round_to_bf16);
    }
    model
}

/// Largest difference relative to the expected tensor's largest magnitude.
fn worst_error(folder: &Path) -> f32 {
    let model = open(folder);
    let golden = Memory::read(&folder.join("golden.safetensors"));
    let (shape, ids) = &golden.tensors["input_ids"];
    let name = if model.is_encoder() {
        "last_hidden_state"
    } else {
        "logits"
    };
    let (_, expected) = &golden.tensors[name];
    let mut found = Vec::new();
    for row in ids.chunks(shape[1]) {
        let row: Vec<u32> = row.iter().map(|&id| id as u32).collect();
        let output = model.forward(&row).unwrap();
        found.extend(values(&output));
    }
    relative_error(&found, expected)
}

#[test]
fn every_family_computes_what_transformers_computes() {
    let Ok(folders) = std::fs::read_dir(GOLDEN) else {
        eprintln!("skipped: {GOLDEN} is absent");
        return;
    };
    let mut folders: Vec<_> = folders.map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let errors: Vec<(String, f32)> = folders
        .iter()
        .filter(|folder| folder.join("golden.safetensors").exists())
        .map(|folder| {
            let name = folder.file_name().unwrap().to_string_lossy().into_owned();
            (name, worst_error(folder))
        })
        .collect();
    eprintln!("{errors:?}");
    let wrong: Vec<_> = errors
        .iter()
        .filter(|(_, error)| *error > TOLERANCE)
        .collect();
    assert!(wrong.is_empty(), "tolerance {TOLERANCE}: {wrong:?}");
}
