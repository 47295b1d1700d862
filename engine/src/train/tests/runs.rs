//! Runs: the loss falls, a resumed run ends with the same bytes, and steps without a finite loss change nothing.

use crate::mask::SparsityPattern;
use crate::model::Model;
use crate::model::testing::{random_model, tiny_llama};
use crate::monitor::{Monitor, Unwatched};
use crate::recipe::{StateStorage, TrainPruning, TrainSettings};
use crate::report::{Notice, Observer, TrainPoint};
use crate::rng::Rng;
use crate::train::state::values_of;
use crate::train::{
    Batch, Batches, Dense, Judge, Learner, Objective, Outcome, Part, Tokens, TrainError, Training,
};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const TEXT_ALONE: Tokens<'static> = Tokens {
    teachers: None,
    temperature: 1.0,
    hard: 1.0,
    matching: None,
    top: 0,
    memo: None,
};

fn settings() -> TrainSettings {
    TrainSettings {
        steps: 12,
        batch: 4,
        rate: 1e-2,
        warm_up: 2,
        check_every: 4,
        save_every: 3,
        states: StateStorage::F32,
        ..TrainSettings::default()
    }
}

/// Sequences with something to learn: each token is followed by the next one.
fn batches() -> Batches {
    let sequence = |start: u32| (start..start + 12).map(|id| id % 37).collect();
    let mut rng = Rng::new(1, 0);
    let starts = (0..40).map(|_| rng.below(37) as u32);
    Batches::new(starts.map(sequence).collect(), 4, 6, 0).unwrap()
}

fn model() -> Model {
    random_model(&tiny_llama(), 1, 0.0)
}

fn run(
    learner: &Dense,
    judge: &dyn Judge,
    settings: &TrainSettings,
    folder: Option<&Path>,
    observer: &dyn Observer,
) -> Result<Outcome, TrainError> {
    let training = Training {
        model: &model(),
        learner,
        judge,
        batches: &batches(),
        settings,
        folder,
    };
    training.run(observer)
}

#[test]
fn the_loss_falls_and_the_best_variables_stay() {
    let learner = Dense::new(&model()).unwrap();
    let settings = settings();
    let outcome = run(&learner, &TEXT_ALONE, &settings, None, &Unwatched).unwrap();
    let progressed = outcome.progressed;
    let (first, (step, best)) = (progressed.held_out_first.unwrap(), progressed.best.unwrap());
    assert!(
        best < 0.8 * first,
        "{first} before, {best} after step {step}"
    );
    assert!(progressed.loss_last < progressed.loss_first);
    let steps: Vec<u64> = progressed.curve.iter().map(|point| point.step).collect();
    assert_eq!(steps, (0..=12).collect::<Vec<u64>>());
    let looks = progressed
        .curve
        .iter()
        .filter(|point| point.held_out.is_some());
    assert_eq!(
        looks.map(|point| point.step).collect::<Vec<u64>>(),
        [0, 4, 8, 12]
    );
}

/// Stops when asked the `left`-th time, and says what it saw.
struct StopsLater {
    left: AtomicU64,
    points: Mutex<Vec<TrainPoint>>,
}

impl StopsLater {
    fn after(checks: u64) -> Self {
        Self {
            left: AtomicU64::new(checks),
            points: Mutex::default(),
        }
    }
}

impl Monitor for StopsLater {
    fn step(&self, _done: u64, _total: u64) {}

    fn should_stop(&self) -> bool {
        let took = |left: u64| Some(left.saturating_sub(1));
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, took)
            == Ok(0)
    }
}

impl Observer for StopsLater {
    fn notice(&self, notice: Notice<'_>) {
        if let Notice::Training(point) = notice {
            self.points.lock().unwrap().push(*point);
        }
    }
}

#[test]
fn a_run_stopped_anywhere_and_resumed_ends_with_the_same_bytes() {
    let settings = settings();
    let learner = Dense::new(&model()).unwrap();
    let whole = run(&learner, &TEXT_ALONE, &settings, None, &Unwatched).unwrap();
    let expected = values_of(learner.variables()).unwrap();
    // Odd numbers of checks stop inside passes and looks, at other places in each round.
    for checks in [1, 2, 5, 9, 14, 23, 31] {
        let folder = tempfile::tempdir().unwrap();
        let mut rounds = 0;
        let (outcome, found) = loop {
            let learner = Dense::new(&model()).unwrap();
            let observer = StopsLater::after(checks + 3 * rounds);
            let ended = run(
                &learner,
                &TEXT_ALONE,
                &settings,
                Some(folder.path()),
                &observer,
            );
            match ended {
                Ok(outcome) => break (outcome, values_of(learner.variables()).unwrap()),
                Err(error) => assert!(matches!(error, TrainError::Stopped(_)), "{error}"),
            }
            rounds += 1;
        };
        assert!(rounds > 0, "{checks} checks never stopped it");
        assert_eq!(found, expected, "{checks} checks, {rounds} stops");
        let plain = |outcome: &Outcome| {
            let mut progressed = outcome.progressed.clone();
            progressed.saves = 0;
            progressed
        };
        let (mut one, mut other) = (plain(&outcome), plain(&whole));
        for progressed in [&mut one, &mut other] {
            for point in &mut progressed.curve {
                (point.tokens_per_second, point.seconds_left) = (0.0, 0.0);
            }
        }
        assert_eq!(one, other);
    }
}

/// Not finite in the steps that `bad` says, by the number of batches seen.
struct Broken {
    seen: AtomicU64,
    bad: fn(u64) -> bool,
}

struct BrokenLoss<'a> {
    inner: Box<dyn Objective + 'a>,
    is_bad: bool,
}

impl Judge for Broken {
    fn objective<'a>(
        &'a self,
        batch: &'a Batch,
        whole: &[Vec<u32>],
        observer: &dyn Observer,
    ) -> Result<Box<dyn Objective + 'a>, TrainError> {
        let number = self.seen.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(BrokenLoss {
            inner: TEXT_ALONE.objective(batch, whole, observer)?,
            is_bad: (self.bad)(number),
        }))
    }
}

impl Objective for BrokenLoss<'_> {
    fn judge(&self, part: Part, outputs: &mut [f32], width: usize) -> Result<f64, TrainError> {
        let loss = self.inner.judge(part, outputs, width)?;
        if self.is_bad {
            outputs[0] = f32::NAN;
        }
        Ok(loss)
    }
}

#[test]
fn steps_without_a_finite_gradient_are_skipped_and_counted() {
    let settings = TrainSettings {
        held_out: 0,
        check_every: 0,
        skip_limit: 3,
        ..settings()
    };
    let learner = Dense::new(&model()).unwrap();
    let start = values_of(learner.variables()).unwrap();
    let always = Broken {
        seen: AtomicU64::new(0),
        bad: |_| true,
    };
    let error = run(&learner, &always, &settings, None, &Unwatched).unwrap_err();
    let expected = TrainError::NotFinite { steps: 3, last: 3 };
    assert_eq!(error.to_string(), expected.to_string());
    assert_eq!(
        values_of(learner.variables()).unwrap(),
        start,
        "nothing has changed"
    );
    // Looks before the first step take the first two batches.
    let sometimes = Broken {
        seen: AtomicU64::new(0),
        bad: |number| number == 3 || number == 5,
    };
    let outcome = run(&learner, &sometimes, &settings, None, &Unwatched).unwrap();
    assert_eq!(outcome.progressed.skipped, 2);
    assert_eq!(outcome.progressed.optimizer_steps, 10);
    let skipped = outcome.progressed.curve.iter();
    let skipped = skipped.filter(|point| point.step > 0 && point.loss.is_none());
    assert_eq!(skipped.count(), 2);
}

/// A plan that all zeros follow by `until`.
fn pruned(until: u64) -> Dense {
    let plan = TrainPruning {
        pattern: SparsityPattern::TWO_OF_FOUR,
        sparsity: 0.5,
        from: 2,
        until,
        every: 3,
    };
    let model = model();
    Dense::new(&model)
        .unwrap()
        .pruned(&model, plan, settings().steps)
}

#[test]
fn a_pruned_run_ends_with_the_zeros_that_were_asked_for() {
    // The rate is so high that the held-out loss is lowest before the first step.
    let settings = TrainSettings {
        rate: 0.2,
        clip: 0.0,
        check_every: 1,
        patience: 2,
        ..settings()
    };
    let sparsity = |learner: &Dense| learner.pruner().unwrap().sparsity().unwrap();
    let learner = pruned(9);
    let outcome = run(&learner, &TEXT_ALONE, &settings, None, &Unwatched).unwrap();
    assert_eq!(sparsity(&learner), 0.5, "the best is one with all zeros");
    let (best, _) = outcome.progressed.best.unwrap();
    assert!(best >= 9, "step {best}");
    // The step at which the last masks are due is skipped itself.
    let settings = TrainSettings {
        held_out: 0,
        check_every: 0,
        skip_limit: 9,
        ..settings
    };
    // Looks before the first step take the first two batches.
    let at_the_last_change = Broken {
        seen: AtomicU64::new(0),
        bad: |number| number == 2 + 8,
    };
    let learner = pruned(9);
    let outcome = run(&learner, &at_the_last_change, &settings, None, &Unwatched).unwrap();
    assert_eq!(outcome.progressed.skipped, 1);
    assert_eq!(sparsity(&learner), 0.5);
}

#[test]
fn patience_ends_a_run_whose_held_out_loss_falls_no_more() {
    let settings = TrainSettings {
        steps: 400,
        rate: 0.5,
        check_every: 1,
        patience: 3,
        clip: 0.0,
        ..settings()
    };
    let learner = Dense::new(&model()).unwrap();
    let outcome = run(&learner, &TEXT_ALONE, &settings, None, &Unwatched).unwrap();
    let progressed = outcome.progressed;
    assert!(
        progressed.ended_early && progressed.step < 400,
        "{}",
        progressed.step
    );
    let (best, _) = progressed.best.unwrap();
    assert_eq!(best + 3, progressed.step);
}

#[test]
fn micro_batches_give_the_bytes_of_the_whole_batch() {
    let whole = Dense::new(&model()).unwrap();
    run(&whole, &TEXT_ALONE, &settings(), None, &Unwatched).unwrap();
    let parts = Dense::new(&model()).unwrap();
    let settings = TrainSettings {
        micro_batch: 2,
        ..settings()
    };
    run(&parts, &TEXT_ALONE, &settings, None, &Unwatched).unwrap();
    let (whole, parts) = (
        values_of(whole.variables()).unwrap(),
        values_of(parts.variables()).unwrap(),
    );
    for (one, other) in whole.concat().iter().zip(parts.concat()) {
        assert!((one - other).abs() < 1e-4, "{one}, {other}");
    }
}

#[test]
fn looks_in_parts_find_the_loss_of_looks_at_all() {
    let settings = TrainSettings {
        steps: 1,
        ..settings()
    };
    let held_out = |micro_batch: usize| {
        let learner = Dense::new(&model()).unwrap();
        let settings = TrainSettings {
            micro_batch,
            ..settings.clone()
        };
        let outcome = run(&learner, &TEXT_ALONE, &settings, None, &Unwatched).unwrap();
        outcome.progressed.held_out_first.unwrap()
    };
    let whole = held_out(0);
    for at_once in [1, 3] {
        let found = held_out(at_once);
        assert!(
            (found - whole).abs() < 1e-6 * whole,
            "{at_once}: {found}, {whole}"
        );
    }
}

#[test]
fn a_damaged_state_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let learner = Dense::new(&model()).unwrap();
    let observer = StopsLater::after(30);
    run(
        &learner,
        &TEXT_ALONE,
        &settings(),
        Some(folder.path()),
        &observer,
    )
    .unwrap_err();
    for kind in ["safetensors", "toml"] {
        let files = std::fs::read_dir(folder.path()).unwrap();
        let mut files = files.map(|entry| entry.unwrap().path());
        let file = files.find(|path| path.extension().is_some_and(|end| end == kind));
        #[expect(
            clippy::disallowed_methods,
            reason = "damage is made as a crash makes it"
        )]
        std::fs::write(file.unwrap(), b"nothing").unwrap();
        let error = run(
            &learner,
            &TEXT_ALONE,
            &settings(),
            Some(folder.path()),
            &Unwatched,
        );
        let message = error.unwrap_err().to_string();
        assert!(message.contains("start anew"), "{kind}: {message}");
    }
}
