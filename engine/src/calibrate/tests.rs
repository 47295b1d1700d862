//! Both ways of gathering agree, spilled or not, at any thread count; a stop is answered.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::model::Model;
use crate::model::testing::{random_model, tiny_bert, tiny_llama};
use crate::moments::{Moments, StageKey};
use crate::monitor::{Monitor, Unwatched};
use crate::rng::Rng;

const SEQUENCES: usize = 5;
const TOKENS: usize = 7;

fn sequences() -> Vec<Vec<u32>> {
    let mut rng = Rng::new(5, 0);
    let mut sequence = || (0..TOKENS).map(|_| rng.below(37) as u32).collect();
    (0..SEQUENCES).map(|_| sequence()).collect()
}

fn policy(memory_bytes: u64, folder: &tempfile::TempDir) -> SpillPolicy {
    SpillPolicy {
        memory_bytes,
        folder: folder.path().to_owned(),
    }
}

fn original(model: &Model, memory_bytes: u64, threads: usize) -> Vec<(StageKey, Moments)> {
    let folder = tempfile::tempdir().unwrap();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    let mut kept = Vec::new();
    pool.install(|| {
        gather_original(
            model,
            &sequences(),
            &policy(memory_bytes, &folder),
            &Unwatched,
            |key, moments| {
                kept.push((key, moments));
                Ok(())
            },
        )
    })
    .unwrap();
    kept
}

#[test]
fn one_pass_and_stage_by_stage_give_the_same_moments() {
    for config in [tiny_llama(), tiny_bert()] {
        let model = random_model(&config, 1, 0.0);
        let folder = tempfile::tempdir().unwrap();
        let stream = Stream::embed(
            &model,
            &model.load_ends().unwrap(),
            &sequences(),
            &policy(u64::MAX, &folder),
            &Unwatched,
        )
        .unwrap();
        let expected = original(&model, u64::MAX, 2);
        for index in 0..model.config().blocks {
            let block = model.load_block(index).unwrap();
            for stage in 0..block.stages().len() {
                let sides = Sides {
                    seen: (&block, &stream),
                    original: None,
                };
                let plan = GatherPlan {
                    held_out_sequences: 0,
                };
                let found = gather_stage(&model, stage, sides, plan, &Unwatched).unwrap();
                let key = StageKey {
                    block: index,
                    stage,
                };
                let (_, moments) = expected.iter().find(|(other, _)| *other == key).unwrap();
                assert_eq!(&found.moments, moments, "{key:?}");
                assert_eq!(moments.count, (SEQUENCES * TOKENS) as u64);
            }
            stream.advance(&block, &Unwatched).unwrap();
        }
    }
}

#[test]
fn moments_do_not_depend_on_memory_or_threads() {
    let model = random_model(&tiny_llama(), 2, 0.0);
    let expected = original(&model, u64::MAX, 1);
    assert_eq!(original(&model, 0, 2), expected, "spilled, two threads");
}

#[test]
fn cross_moments_of_an_unchanged_prefix_are_the_gram_matrix() {
    let model = random_model(&tiny_llama(), 3, 0.0);
    let folder = tempfile::tempdir().unwrap();
    let ends = model.load_ends().unwrap();
    let stream =
        Stream::embed(&model, &ends, &sequences(), &policy(0, &folder), &Unwatched).unwrap();
    let block = model.load_block(0).unwrap();
    let sides = Sides {
        seen: (&block, &stream),
        original: Some((&block, &stream)),
    };
    let plan = GatherPlan {
        held_out_sequences: 2,
    };
    let statistics = gather_stage(&model, 1, sides, plan, &Unwatched).unwrap();
    let held_out = statistics.held_out.unwrap();
    assert_eq!(statistics.moments.count, (3 * TOKENS) as u64);
    assert_eq!(held_out.count, (2 * TOKENS) as u64);
    let pairs = [
        (statistics.moments.gram, statistics.cross.unwrap()),
        (held_out.gram, held_out.cross.unwrap()),
    ];
    for (gram, cross) in pairs {
        let gram = gram.to_matrix();
        for (index, (&expected, &found)) in gram.data().iter().zip(cross.data()).enumerate() {
            assert!(
                (expected - found).abs() <= 1e-5,
                "value {index}: expected {expected}, found {found}"
            );
        }
    }
}

#[test]
fn a_stop_is_answered() {
    struct Stop;
    impl Monitor for Stop {
        fn step(&self, _done: u64, _total: u64) {}
        fn should_stop(&self) -> bool {
            true
        }
    }
    let model = random_model(&tiny_llama(), 4, 0.0);
    let folder = tempfile::tempdir().unwrap();
    let stopped = gather_original(&model, &sequences(), &policy(0, &folder), &Stop, |_, _| {
        Ok(())
    });
    assert!(
        matches!(stopped, Err(CalibrateError::Stopped(_))),
        "{stopped:?}"
    );
}
