//! The loop learns what it can, leaves the rest, and repeats itself at any thread count.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::grid::{GridConfig, ScaleDtype};
use crate::model::testing::{Stored, random_model, tiny_llama, with_weights};
use crate::monitor::Unwatched;
use crate::rng::Rng;
use crate::solve::{RtnConfig, rtn};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;

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

/// Blocks in memory.
#[derive(Default)]
struct Kept {
    blocks: Mutex<BTreeMap<usize, FinishedBlock>>,
    /// Blocks that were learnt.
    learnt: Mutex<Vec<usize>>,
}

impl Keeper for Kept {
    fn find(&self, block: usize) -> Result<Option<FinishedBlock>, TrainError> {
        Ok(self.blocks.lock().unwrap().get(&block).cloned())
    }

    fn keep(&self, block: &FinishedBlock) -> Result<(), TrainError> {
        let index = block.recovery.block;
        self.learnt.lock().unwrap().push(index);
        self.blocks.lock().unwrap().insert(index, block.clone());
        Ok(())
    }
}

fn learn(threads: usize, codes: &Stored, models: [&Model; 2]) -> Result<Recovery, RecoverError> {
    learn_keeping(threads, codes, models, &Kept::default())
}

fn learn_keeping(
    threads: usize,
    codes: &Stored,
    models: [&Model; 2],
    kept: &Kept,
) -> Result<Recovery, RecoverError> {
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
        folded: &vec![false; models[1].layers().len()],
        keeper: kept,
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
fn finished_blocks_are_taken_over_and_the_rest_comes_out_the_same() {
    let (original, student, codes) = compressed(2);
    let kept = Kept::default();
    let models = [&original, &student];
    let whole = learn_keeping(2, &codes, models, &kept).unwrap();
    assert_eq!(*kept.learnt.lock().unwrap(), [0, 1]);
    kept.blocks.lock().unwrap().remove(&1);
    kept.learnt.lock().unwrap().clear();
    assert_eq!(learn_keeping(2, &codes, models, &kept).unwrap(), whole);
    assert_eq!(*kept.learnt.lock().unwrap(), [1], "block 0 was kept");
}

#[test]
fn where_folds_changed_weights_codes_are_all_that_is_known() {
    let (original, student, codes) = compressed(3);
    let folder = tempfile::tempdir().unwrap();
    let spill = SpillPolicy {
        memory_bytes: 1 << 20,
        folder: folder.path().to_owned(),
    };
    let down = "model.layers.0.mlp.down_proj.weight";
    let layers = student.layers().iter();
    let folded: Vec<bool> = layers.map(|info| info.tensor == down).collect();
    let job = RoundingJob {
        original: &original,
        student: &student,
        codes: &codes,
        folded: &folded,
        sequences: &sequences(),
        spill: &spill,
        config: RoundingConfig::default(),
        keeper: &Kept::default(),
    };
    for (start, _) in starts(job, 0).unwrap() {
        assert_eq!(start.weights.is_none(), start.tensor == down);
    }
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
