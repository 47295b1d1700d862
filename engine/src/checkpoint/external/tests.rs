//! The seeds of the fuzz target for folders that other programs quantized, held to what the target asserts.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::checkpoint::Checkpoint;
use crate::checkpoint::testing::put;
use crate::tensor::WeightSource;

/// Seeds whose one layer can be read, some of them with settings that say nonsense where shapes tell; every other is refused.
const RIGHT: [&str; 11] = [
    "awq",
    "awq-group",
    "bnb",
    "bnb-double",
    "compressed",
    "compressed-integers",
    "compressed-shape",
    "gptq",
    "gptq-dynamic",
    "gptq-group-huge",
    "mlx",
];

/// Whether a folder of these files opens and every tensor in it can be read.
fn is_read(bytes: &[u8]) -> bool {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap();
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "config.json", &bytes[..end]);
    put(folder.path(), "model.safetensors", &bytes[end + 1..]);
    let Ok(model) = Checkpoint::open(folder.path()) else {
        return false;
    };
    model.names().iter().all(|name| {
        let shape = model.info(name).unwrap().shape;
        let values = model.read_f32(name);
        if let Ok(values) = &values {
            assert_eq!(values.len(), shape.iter().product::<usize>(), "{name}");
        }
        values.is_ok()
    })
}

#[test]
fn fuzz_seeds_are_answered() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/quantized");
    let mut right = BTreeSet::new();
    for seed in fs::read_dir(Path::new(seeds)).unwrap() {
        let seed = seed.unwrap();
        if is_read(&fs::read(seed.path()).unwrap()) {
            right.insert(seed.file_name().into_string().unwrap());
        }
    }
    assert_eq!(right, BTreeSet::from(RIGHT.map(str::to_owned)));
}
