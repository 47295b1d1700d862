//! Training on whole folders: students of every kind, runs that stop and go on, what is refused, encoders.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod teachers;

use pare_engine::recipe::{TrainMode, TrainPruning, TrainSettings};
use pare_engine::report::{DistillReport, Evaluation};
use pare_engine::session::{
    DistillRequest, Session, SessionError, StudentSpec, read_distill_report,
};
use pare_engine::solved::Method;
use pare_tests::sessions::{Quiet, Stopper, Workshop, differing, files_of, tiny_config};
use serde_json::json;
use std::path::Path;

fn settings() -> TrainSettings {
    TrainSettings {
        steps: 6,
        batch: 4,
        length: 16,
        rate: 5e-3,
        warm_up: 1,
        held_out: 4,
        check_every: 3,
        save_every: 2,
        ..TrainSettings::default()
    }
}

fn request(workshop: &Workshop, student: &str, out: &str) -> DistillRequest {
    let mut recipe = workshop.recipe(Method::None, 4, 32);
    recipe.train = Some(settings());
    DistillRequest {
        weight: 1.0,
        others: Vec::new(),
        student: student.parse().unwrap(),
        recipe,
        out: workshop.path(out),
        evaluate: Some(workshop.ids()),
        resume: false,
    }
}

fn train(request: &mut DistillRequest) -> &mut TrainSettings {
    request.recipe.train.as_mut().unwrap()
}

fn session(workshop: &Workshop) -> Session {
    workshop.open(&workshop.model()).unwrap()
}

fn distill(workshop: &Workshop, request: &DistillRequest) -> Result<DistillReport, SessionError> {
    session(workshop).distill(request, &Quiet::default())
}

fn blocks(workshop: &Workshop, folder: &Path) -> usize {
    workshop.open(folder).unwrap().shape().unwrap().blocks
}

#[test]
fn students_of_every_kind_are_trained_and_open_as_models() {
    let workshop = Workshop::new();
    let mut config = tiny_config();
    config["num_hidden_layers"] = json!(3);
    config["intermediate_size"] = json!(40);
    let path = workshop.path("small.json");
    std::fs::write(&path, config.to_string()).unwrap();
    let fresh = format!("config:{}", path.display());
    let itself = workshop.model().display().to_string();
    for (place, student) in ["depth:0.5", "depth:0.5:even", "width:0.5", &fresh, &itself]
        .into_iter()
        .enumerate()
    {
        let out = format!("out-{place}");
        let report = distill(&workshop, &request(&workshop, student, &out)).unwrap();
        let folder = workshop.path(&out);
        assert_eq!(report.steps, 6, "{student}");
        assert!(report.verified.tensors > 5, "{student}");
        if student != itself {
            let (first, best) = (
                report.held_out_first.unwrap(),
                report.held_out_best.unwrap(),
            );
            assert!(best <= first, "{student}: {first} before, {best} after");
        }
        let expected = match place {
            0 | 1 => 1,
            3 => 3,
            _ => 2,
        };
        assert_eq!(blocks(&workshop, &folder), expected, "{student}");
        let kept = read_distill_report(&folder).unwrap();
        assert_eq!(kept.perplexity_after, report.perplexity_after);
        assert_eq!(kept.curve.len(), 7);
        assert!(
            kept.recipe
                .contains("[train]\nmode = \"weights\"\nsteps = 6")
        );
        // As anybody opens it: what the report says is what it gives.
        let Some(Evaluation::Decoder(found)) = kept.evaluation else {
            panic!("a decoder has a perplexity");
        };
        assert_eq!(Some(found.perplexity), report.perplexity_after);
        assert!(!folder.with_extension("partial").exists());
    }
}

#[test]
fn a_student_that_is_its_teacher_has_nothing_to_learn() {
    let workshop = Workshop::new();
    let itself = workshop.model().display().to_string();
    let report = distill(&workshop, &request(&workshop, &itself, "out")).unwrap();
    assert!(report.loss_first.unwrap() < 1e-9, "{:?}", report.loss_first);
    let kl = match report.evaluation {
        Some(Evaluation::Decoder(decoder)) => decoder.kl.unwrap().mean,
        _ => f64::NAN,
    };
    assert!(kl < 1e-6, "{kl}");
}

/// Lets a run be stopped after `polls` questions, again and again, until it is whole.
fn in_pieces(workshop: &Workshop, request: &DistillRequest, polls: u64) -> u32 {
    let mut request = request.clone();
    for round in 0..100 {
        let mut name = request.out.file_name().unwrap().to_owned();
        name.push(".partial");
        request.resume = request.out.with_file_name(name).exists();
        let observer = Stopper::new(polls * (round + 1));
        match session(workshop).distill(&request, &observer) {
            Ok(_) => return round as u32,
            Err(error) => assert!(error.is_stopped(), "{error}"),
        }
        assert!(
            !request.out.exists(),
            "a stopped run has no finished folder"
        );
    }
    panic!("{polls} polls at a time never came to an end");
}

#[test]
fn stopped_and_resumed_runs_end_with_the_same_bytes() {
    let workshop = Workshop::new();
    let mut request = request(&workshop, "depth:0.5", "whole");
    train(&mut request).prune = Some(TrainPruning {
        pattern: "2:4".parse().unwrap(),
        sparsity: 0.5,
        from: 0,
        until: 4,
        every: 2,
    });
    let report = distill(&workshop, &request).unwrap();
    assert!(
        (report.sparsity.unwrap() - 0.5).abs() < 1e-9,
        "{:?}",
        report.sparsity
    );
    let expected = files_of(&workshop.path("whole"));
    for polls in [7, 13, 29] {
        request.out = workshop.path(&format!("pieces-{polls}"));
        let stops = in_pieces(&workshop, &request, polls);
        assert!(stops > 1, "{polls} polls stopped it {stops} times");
        let found = files_of(&request.out);
        assert_eq!(
            differing(&found, &expected),
            Vec::<std::path::PathBuf>::new(),
            "{polls}"
        );
    }
}

#[test]
fn bytes_do_not_depend_on_threads_or_memory() {
    let workshop = Workshop::new();
    let mut files = Vec::new();
    let mut stated = None;
    for (threads, is_short) in [(2, false), (2, true), (1, false), (3, false)] {
        let mut options = workshop.options(threads);
        if is_short {
            // One byte too few: teachers are read block by block.
            options.memory_bytes = stated.map(|bytes: u64| bytes - 1);
        }
        let session = Session::open(&workshop.model(), options).unwrap();
        let mut request = request(&workshop, "width:0.5", &format!("out-{}", files.len()));
        train(&mut request).hidden = 0.1;
        train(&mut request).attention = 0.1;
        let report = session.distill(&request, &Quiet::default()).unwrap();
        stated = stated.or(Some(report.memory_bytes));
        files.push(files_of(&request.out));
    }
    assert!(differing(&files[0], &files[3]).is_empty());
    assert!(differing(&files[0], &files[1]).is_empty());
    assert!(differing(&files[0], &files[2]).is_empty());
}

/// A fresh student with another number of rows.
fn fresh_of(workshop: &Workshop, rows: usize) -> StudentSpec {
    let mut config = tiny_config();
    config["vocab_size"] = json!(rows);
    let path = workshop.path(&format!("rows-{rows}.json"));
    std::fs::write(&path, config.to_string()).unwrap();
    StudentSpec::Config(path)
}

/// Puts a tokenizer of `words` beside a model.
#[test]
fn what_cannot_be_trained_is_refused_and_leaves_nothing() {
    let workshop = Workshop::new();
    let base = request(&workshop, "depth:0.5", "out");
    let with = |edit: &dyn Fn(&mut DistillRequest)| {
        let mut request = base.clone();
        edit(&mut request);
        request
    };
    let packed = workshop.path("packed");
    let compress = workshop.request(
        workshop.recipe(Method::Rtn, 4, 32),
        "packed",
        pare_engine::formats::Format::Pare,
    );
    session(&workshop)
        .compress(&compress, &Quiet::default())
        .unwrap();
    let rows: Vec<(&str, DistillRequest, &str)> = vec![
        (
            "a text",
            with(&|request| request.recipe.calibration.corpus = None),
            "--corpus",
        ),
        (
            "a length",
            with(&|request| train(request).length = 1000),
            "1000 tokens",
        ),
        (
            "a text that is too short",
            with(&|request| {
                let ids = workshop.path("few.safetensors");
                pare_tests::checkpoint::write_ids(&ids, 50, 10, 1).unwrap();
                request.recipe.calibration.corpus = Some(ids.display().to_string());
                request.student = StudentSpec::Model(workshop.model());
            }),
            "10 tokens",
        ),
        (
            "codes",
            with(&|request| request.student = StudentSpec::Model(packed.clone())),
            "codes",
        ),
        (
            "zeros after the end",
            with(&|request| {
                train(request).prune = Some(TrainPruning {
                    pattern: "2:4".parse().unwrap(),
                    sparsity: 0.5,
                    from: 0,
                    until: 60,
                    every: 2,
                });
            }),
            "until step 60",
        ),
        (
            "zeros that begin after the end",
            with(&|request| {
                train(request).prune = Some(TrainPruning {
                    pattern: "2:4".parse().unwrap(),
                    sparsity: 0.5,
                    from: 7,
                    until: 0,
                    every: 2,
                });
            }),
            "from step 7",
        ),
        (
            "another vocabulary without a tokenizer",
            with(&|request| request.student = fresh_of(&workshop, 48)),
            "vocabulary of 48",
        ),
    ];
    for (name, request, expected) in rows {
        let message = distill(&workshop, &request).unwrap_err().to_string();
        assert!(message.contains(expected), "{name}: {message}");
        assert!(!workshop.path("out").exists(), "{name}");
        assert!(!workshop.path("out.partial").exists(), "{name}");
    }
    let mut options = workshop.options(2);
    options.memory_bytes = Some(1 << 20);
    let session = Session::open(&workshop.model(), options).unwrap();
    let message = session
        .distill(&base, &Quiet::default())
        .unwrap_err()
        .to_string();
    assert!(message.contains("--memory"), "{message}");
    assert!(!workshop.path("out.partial").exists());
    assert_eq!(TrainMode::default(), TrainMode::Weights);
}

#[test]
fn what_is_foreseen_hangs_on_what_is_trained() {
    let workshop = Workshop::new();
    for student in [
        "depth:0.5".parse().unwrap(),
        fresh_of(&workshop, 50),
        StudentSpec::Model(workshop.model()),
    ] {
        let of = |mode: TrainMode| {
            let mut request = request(&workshop, "depth:0.5", "never");
            request.recipe = workshop.recipe(Method::Rtn, 4, 32);
            request.recipe.train = Some(settings());
            train(&mut request).mode = mode;
            request.student = student.clone();
            let foreseen = session(&workshop).foresee_training(&request).unwrap();
            foreseen.memory_bytes
        };
        let (whole, scales) = (of(TrainMode::Weights), of(TrainMode::Scales));
        assert!(scales < whole, "{student}: {scales} of {whole}");
        let (adapter, qat) = (of(TrainMode::Adapter), of(TrainMode::Qat));
        assert!(
            scales < qat && adapter < qat,
            "{student}: {adapter}, {scales} of {qat}"
        );
    }
}

#[test]
fn a_run_asked_something_else_is_not_resumed() {
    let workshop = Workshop::new();
    let mut request = request(&workshop, "depth:0.5", "out");
    let stopped = session(&workshop).distill(&request, &Stopper::new(40));
    assert!(stopped.unwrap_err().is_stopped());
    request.resume = true;
    train(&mut request).rate = 1e-3;
    let message = distill(&workshop, &request).unwrap_err().to_string();
    assert!(message.contains("recipe"), "{message}");
    train(&mut request).rate = 5e-3;
    // A student that lies somewhere is known by its weights.
    let mut other = self::request(&workshop, &workshop.model().display().to_string(), "other");
    let copy = workshop.path("copy");
    std::fs::create_dir(&copy).unwrap();
    for file in std::fs::read_dir(workshop.model()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.join(file.file_name())).unwrap();
    }
    other.student = StudentSpec::Model(copy.clone());
    let stopped = session(&workshop).distill(&other, &Stopper::new(60));
    assert!(stopped.unwrap_err().is_stopped());
    distill(&workshop, &request).unwrap();
    let trained = workshop.path("out");
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(trained.join(name), copy.join(name)).unwrap();
    }
    other.resume = true;
    let message = distill(&workshop, &other).unwrap_err().to_string();
    assert!(message.contains("student"), "{message}");
}
