//! The loop learns what it can, leaves the rest, and repeats itself at any thread count.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::grid::{GridConfig, ScaleDtype};
use crate::model::testing::{Stored, random_model, tiny_llama, with_weights};
use crate::monitor::Unwatched;
use crate::rng::Rng;
use crate::solve::{RtnConfig, rtn};

/// A model and its codes; layers outside blocks have none.
fn compressed(bits: u8) -> (Model, Model, Stored) {
    let original = random_model(&tiny_llama(), 5, 0.0);
    let (mut codes, mut changed) = (Stored::default(), Vec::new());
    let config = RtnConfig {
        grid: GridConfig {
            bits,
            group: 8,
            symmetric: false,
            scale_dtype: ScaleDtype::F16,
        },
        clip_search: 20,
    };
    for (layer, info) in original.layers().iter().enumerate() {
        if info.kind == LayerKind::Linear {
            let weights = info.read(original.source().as_ref()).unwrap();
            let solved = rtn(&weights, None, &config, &Unwatched).unwrap();
            changed.push((layer, Arc::new(solved.dequantize())));
            codes
                .0
                .insert(info.tensor.clone(), (solved, ActivationPlan::NONE));
        }
    }
    let student = with_weights(&original, &tiny_llama(), &changed);
    (original, student, codes)
}

fn sequences() -> Vec<Vec<u32>> {
    let mut rng = Rng::new(5, 0);
    let mut sequence = || (0..12).map(|_| rng.below(37) as u32).collect();
    (0..16).map(|_| sequence()).collect()
}

fn learn(threads: usize, codes: &Stored, models: [&Model; 2]) -> Result<Recovery, RecoverError> {
    let folder = tempfile::tempdir().unwrap();
    let spill = SpillPolicy {
        memory_bytes: 1 << 20,
        folder: folder.path().to_owned(),
    };
    let job = RoundingJob {
        original: models[0],
        student: models[1],
        codes,
        sequences: &sequences(),
        spill: &spill,
        config: RoundingConfig {
            steps: 40,
            batch: 4,
            ..RoundingConfig::default()
        },
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    pool.install(|| learn_rounding(job, &Unwatched))
}

#[test]
fn every_block_gives_better_outputs_at_any_thread_count() {
    let (original, student, codes) = compressed(2);
    let found = learn(1, &codes, [&original, &student]).unwrap();
    assert_eq!(found.blocks.len(), 2);
    assert_eq!(found.layers.len(), codes.0.len());
    for block in &found.blocks {
        assert!(block.error_after < block.error_before, "{block:?}");
    }
    assert_eq!(learn(2, &codes, [&original, &student]).unwrap(), found);
}

#[test]
fn layers_without_such_codes_stay_and_none_at_all_is_an_error_in_words() {
    let (original, student, mut codes) = compressed(3);
    codes.0.retain(|name, _| name.contains("mlp.down_proj"));
    let found = learn(2, &codes, [&original, &student]).unwrap();
    assert_eq!(found.layers.len(), 2);
    codes.0.clear();
    let problem = learn(2, &codes, [&original, &student])
        .unwrap_err()
        .to_string();
    assert!(problem.contains("no layers whose rounding"), "{problem}");
}
