//! Each family's tiny model against what the transformers library computed in f32.

use super::laws::in_pieces;
use super::memory::Memory;
use super::shapes::{relative_error, values};
use crate::model::rope::Rope;
use crate::model::{CacheKind, Model};
use std::path::Path;
use std::sync::Arc;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/golden");
const TOLERANCE: f32 = 1e-4;

/// The logits of this folder were made after a whole model, its table of rotary frequencies included, had gone through
/// bf16. A model that is opened from the folder keeps f32 frequencies: transformers 5.23 opens it 4.055e-4 away from
/// these logits, and so do we.
const ROUNDED_FREQUENCIES: &str = "llama-bf16";
const OPENED_BY_TRANSFORMERS: f32 = 4.055e-4;

fn open(folder: &Path) -> Model {
    let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
    let source = Memory::read(&folder.join("model.safetensors"));
    Model::open(Arc::new(source), &serde_json::from_str(&text).unwrap()).unwrap()
}

/// What may be lost with each way to keep keys and values. These networks are random and narrow: no error averages out.
const CACHE_TOLERANCES: [(CacheKind, f32); 3] = [
    (CacheKind::F32, TOLERANCE),
    (CacheKind::F16, 5e-4),
    (CacheKind::Int8, 1e-2),
];

/// Largest difference relative to the expected tensor's largest magnitude.
fn worst_error(folder: &Path, model: &Model) -> f32 {
    error_of(folder, model, |row| values(&model.forward(row).unwrap()))
}

/// The same of what `run` makes of each row of ids.
fn error_of(folder: &Path, model: &Model, run: impl Fn(&[u32]) -> Vec<f32>) -> f32 {
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
        found.extend(run(&row));
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
        .filter(|folder| !folder.ends_with(ROUNDED_FREQUENCIES))
        .map(|folder| {
            let name = folder.file_name().unwrap().to_string_lossy().into_owned();
            (name, worst_error(folder, &open(folder)))
        })
        .collect();
    eprintln!("{errors:?}");
    let wrong: Vec<_> = errors
        .iter()
        .filter(|(_, error)| *error > TOLERANCE)
        .collect();
    assert!(wrong.is_empty(), "tolerance {TOLERANCE}: {wrong:?}");
}

#[test]
fn caches_give_what_transformers_computes() {
    let Ok(folders) = std::fs::read_dir(GOLDEN) else {
        eprintln!("skipped: {GOLDEN} is absent");
        return;
    };
    for folder in folders.map(|entry| entry.unwrap().path()) {
        if !folder.join("golden.safetensors").exists() || folder.ends_with(ROUNDED_FREQUENCIES) {
            continue;
        }
        let model = open(&folder);
        if model.is_encoder() {
            continue;
        }
        for (kind, tolerance) in CACHE_TOLERANCES {
            let error = error_of(&folder, &model, |row| {
                let first = row.len() / 2;
                let mut pieces = vec![1; row.len() - first];
                pieces[0] = first;
                pieces.push(1);
                in_pieces(&model, row, &pieces, kind)
            });
            assert!(
                error <= tolerance,
                "{}, {kind:?}: {error}",
                folder.display()
            );
        }
    }
}

#[test]
fn bf16_weights_compute_what_transformers_computes() {
    let folder = Path::new(GOLDEN).join(ROUNDED_FREQUENCIES);
    if !folder.exists() {
        eprintln!("skipped: {} is absent", folder.display());
        return;
    }
    let mut model = open(&folder);
    let opened = worst_error(&folder, &model);
    assert!(
        (opened - OPENED_BY_TRANSFORMERS).abs() < 1e-6,
        "as opened: expected {OPENED_BY_TRANSFORMERS}, found {opened}"
    );
    let ropes = &mut Arc::make_mut(&mut model.config).ropes;
    ropes.iter_mut().for_each(Rope::round_to_bf16);
    let rounded = worst_error(&folder, &model);
    assert!(rounded <= TOLERANCE, "with rounded frequencies: {rounded}");
}
