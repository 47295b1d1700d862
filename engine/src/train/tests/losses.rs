//! Judges over whole batches: gradients against finite differences, teachers' averages by hand, memos against teachers.

use crate::model::testing::{random_model, tiny_bert, tiny_llama};
use crate::model::{Model, ModelConfig};
use crate::monitor::Unwatched;
use crate::recipe::{Ensemble, StateStorage};
use crate::rng::Rng;
use crate::score::{Pooling, PoolingMode};
use crate::train::loss::{Distribution, Taught};
use crate::train::{
    Batch, Dense, Embeddings, Gradients, Judge, Kept, Learner, Likeliest, Matching, Memo,
    MemoWriter, Network, Part, Teacher, Teachers, Tokens, Variable, positions_at_once,
};
use candle_core::Tensor;

fn batch(lengths: &[usize]) -> Batch {
    let mut rng = Rng::new(3, 0);
    let sequence = |&length: &usize| (0..length).map(|_| rng.below(37) as u32).collect();
    Batch::new(lengths.iter().map(sequence).collect())
}

fn teachers(models: &[(Model, f64)], ensemble: Ensemble) -> Teachers {
    let teacher =
        |(model, weight): &(Model, f64)| Teacher::new(model.clone(), *weight, true).unwrap();
    Teachers::new(models.iter().map(teacher).collect(), ensemble).unwrap()
}

/// Compares the gradient of every variable with differences, along a direction drawn at random.
fn check(label: &str, student: &Model, judge: &dyn Judge, with_states: bool) {
    let learner = Dense::new(student).unwrap();
    let batch = batch(&[8, 5, 8]);
    let variables: Vec<Variable> = learner
        .variables()
        .iter()
        .chain(judge.variables())
        .cloned()
        .collect();
    let network = Network::new(student, &learner, StateStorage::F32);
    let loss = || {
        let objective = judge
            .objective(&batch, batch.sequences(), &Unwatched)
            .unwrap();
        let mut gradients = Gradients::new(&variables);
        let loss = network
            .gradients(&batch, objective.as_ref(), &mut gradients, &Unwatched)
            .unwrap();
        if !with_states {
            let again = network
                .loss(&batch, objective.as_ref(), &Unwatched)
                .unwrap();
            assert!(
                (loss - again).abs() < 1e-6,
                "{label}: {loss}, forward alone {again}"
            );
        }
        (loss, gradients)
    };
    let (_, gradients) = loss();
    for (place, variable) in variables.iter().enumerate() {
        let gradient = gradients.values(place).unwrap();
        let gradient = gradient.unwrap_or(vec![0.0; variable.var.elem_count()]);
        let mut rng = Rng::new(11, place as u64);
        let length = gradient
            .iter()
            .map(|x| f64::from(*x).powi(2))
            .sum::<f64>()
            .sqrt();
        let noise = 1.0 / (gradient.len() as f64).sqrt();
        let direction: Vec<f32> = gradient
            .iter()
            .map(|&x| (f64::from(x) / length.max(1e-9) + noise * rng.normal()) as f32)
            .collect();
        let expected: f64 = gradient
            .iter()
            .zip(&direction)
            .map(|(&x, &y)| f64::from(x) * f64::from(y))
            .sum();
        let start = variable.var.as_detached_tensor().copy().unwrap();
        let direction = Tensor::from_vec(direction, variable.var.shape(), start.device()).unwrap();
        let at = |step: f64| {
            let moved = (&start + (&direction * step).unwrap()).unwrap();
            variable.var.set(&moved).unwrap();
            loss().0
        };
        let found = (at(2e-3) - at(-2e-3)) / 4e-3;
        variable.var.set(&start).unwrap();
        assert!(
            (found - expected).abs() < 1e-2 * (length + 0.05),
            "{label}, {}: {found} by differences, {expected} by gradient",
            variable.name
        );
    }
}

#[test]
fn gradients_of_distillation_are_those_of_differences() {
    let student = random_model(&tiny_llama(), 1, 0.0);
    let pair = [
        (random_model(&tiny_llama(), 2, 0.0), 1.0),
        (random_model(&tiny_llama(), 3, 0.0), 3.0),
    ];
    for ensemble in [Ensemble::Probability, Ensemble::Logit] {
        let teachers = teachers(&pair, ensemble);
        for (temperature, hard) in [(1.0, 0.0), (2.0, 0.3)] {
            let judge = Tokens {
                teachers: Some(&teachers),
                temperature,
                hard,
                matching: None,
                top: 0,
                memo: None,
            };
            check(
                &format!("{ensemble:?}, {temperature}"),
                &student,
                &judge,
                false,
            );
        }
    }
    let alone = Tokens {
        teachers: None,
        temperature: 1.0,
        hard: 1.0,
        matching: None,
        top: 0,
        memo: None,
    };
    check("text alone", &student, &alone, false);
}

fn wider(config: &serde_json::Value) -> serde_json::Value {
    let mut config = config.clone();
    config["hidden_size"] = 24.into();
    config["num_hidden_layers"] = 3.into();
    config
}

#[test]
fn matched_states_reach_blocks_and_projections() {
    let student = random_model(&tiny_llama(), 1, 0.0);
    for config in [tiny_llama(), wider(&tiny_llama())] {
        let teacher = random_model(&config, 2, 0.0);
        let parsed = ModelConfig::parse(&config).unwrap();
        let teachers = teachers(&[(teacher, 1.0)], Ensemble::Probability);
        let judge = Tokens {
            teachers: Some(&teachers),
            temperature: 1.0,
            hard: 0.5,
            matching: Some(Matching::new(student.config(), &parsed, (0.7, 0.9), 0).unwrap()),
            top: 0,
            memo: None,
        };
        let projections = if parsed.hidden == 16 { 0 } else { 2 };
        assert_eq!(judge.variables().len(), projections);
        check(&format!("width {}", parsed.hidden), &student, &judge, true);
    }
}

#[test]
fn gradients_of_embeddings_are_those_of_differences() {
    let student = random_model(&tiny_bert(), 1, 0.0);
    let teachers = teachers(
        &[(random_model(&tiny_bert(), 2, 0.0), 1.0)],
        Ensemble::Probability,
    );
    for normalize in [true, false] {
        let pooling = Pooling {
            modes: vec![PoolingMode::Mean],
            normalize,
        };
        let judge = Embeddings {
            teachers: &teachers,
            taught: vec![pooling.clone()],
            own: pooling,
            matching: None,
        };
        check(&format!("normalized {normalize}"), &student, &judge, false);
    }
}

#[test]
fn averages_of_teachers_by_hand() {
    let models = [
        (random_model(&tiny_llama(), 2, 0.0), 1.0),
        (random_model(&tiny_llama(), 3, 0.0), 3.0),
    ];
    let batch = batch(&[6, 6]);
    let logits: Vec<Vec<f32>> = models
        .iter()
        .map(|(model, _)| {
            let output = model.forward(&batch.sequences()[1]).unwrap();
            output.flatten_all().unwrap().to_vec1().unwrap()
        })
        .collect();
    let part = Part {
        sequence: 1,
        start: 2,
        count: 3,
    };
    for ensemble in [Ensemble::Probability, Ensemble::Logit] {
        let teachers = teachers(&models, ensemble);
        let lesson = teachers.teach(&batch, Kept::default(), &Unwatched).unwrap();
        let found = lesson.distributions(part, 2.0).unwrap();
        for (offset, found) in found.iter().enumerate() {
            let row = |teacher: usize| &logits[teacher][(2 + offset) * 37..(3 + offset) * 37];
            let shares = |teacher: usize| Distribution::softmax(row(teacher), 2.0).shares;
            let mixed: Vec<f32> = row(0)
                .iter()
                .zip(row(1))
                .map(|(one, other)| 0.25 * one + 0.75 * other)
                .collect();
            let expected: Vec<f64> = match ensemble {
                Ensemble::Logit => Distribution::softmax(&mixed, 2.0).shares,
                Ensemble::Probability => shares(0)
                    .iter()
                    .zip(shares(1))
                    .map(|(one, other)| 0.25 * one + 0.75 * other)
                    .collect(),
            };
            for (found, expected) in found.shares.iter().zip(expected) {
                assert!(
                    (found - expected).abs() < 1e-6,
                    "{ensemble:?}: {found}, {expected}"
                );
            }
        }
    }
}

/// The loss of `batch` for a student of tiny Llama's shape.
fn loss_of(batch: &Batch, teachers: &Teachers, top: usize, memo: Option<Memo>) -> f64 {
    let student = random_model(&tiny_llama(), 1, 0.0);
    let judge = Tokens {
        teachers: Some(teachers),
        temperature: 2.0,
        hard: 0.0,
        matching: None,
        top,
        memo,
    };
    let objective = judge
        .objective(batch, batch.sequences(), &Unwatched)
        .unwrap();
    let learner = Dense::new(&student).unwrap();
    let network = Network::new(&student, &learner, StateStorage::F32);
    network.loss(batch, objective.as_ref(), &Unwatched).unwrap()
}

/// What `teachers` say of `sequences`, kept.
fn memo_of(teachers: &Teachers, sequences: &[Vec<u32>], top: usize) -> Memo {
    let mut writer = MemoWriter::new(top);
    let batch = Batch::new(sequences.to_vec()).apart();
    let lesson = teachers.teach(&batch, Kept::default(), &Unwatched).unwrap();
    for (place, ids) in batch.sequences().iter().enumerate() {
        let sequence = (place, ids.len());
        let at_once = positions_at_once(37);
        let rows = lesson.likeliest(sequence, (top, at_once), 2.0).unwrap();
        writer.add(ids, &rows);
    }
    writer.finish()
}

fn one_teacher() -> Teachers {
    let model = random_model(&tiny_llama(), 2, 0.0);
    teachers(&[(model, 1.0)], Ensemble::Probability)
}

#[test]
fn a_memo_of_all_tokens_teaches_what_the_teacher_does_and_reads_back() {
    let (teachers, batch) = (one_teacher(), batch(&[8, 5]));
    let whole = loss_of(&batch, &teachers, 0, None);
    let all = memo_of(&teachers, batch.sequences(), 37);
    assert!(all.rest() < 1e-6, "mass of the rest {}", all.rest());
    let found = loss_of(&batch, &teachers, 37, Some(all));
    assert!(
        (found - whole).abs() < 1e-5 * whole,
        "{found}, whole {whole}"
    );
    let few = memo_of(&teachers, batch.sequences(), 6);
    assert!(few.rest() > 0.0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("memo");
    few.write(&path).unwrap();
    let read = Memo::read(&path, 6, 37).unwrap();
    assert_eq!(read.rest(), few.rest());
    let found = loss_of(&batch, &teachers, 6, Some(few));
    assert_eq!(found, loss_of(&batch, &teachers, 6, Some(read)));
    assert!(found < whole, "{found}, whole {whole}");
    assert!(Memo::read(&path, 5, 37).is_none());
    assert!(Memo::read(&path, 6, 3).is_none());
    let bytes = std::fs::read(&path).unwrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "damage is made as a crash makes it"
    )]
    std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
    assert!(Memo::read(&path, 6, 37).is_none());
}

#[test]
fn likeliest_tokens_teach_the_same_bytes_kept_or_from_teachers_that_run() {
    let models = [2, 3].map(|seed| (random_model(&tiny_llama(), seed, 0.0), seed as f64));
    for ensemble in [Ensemble::Probability, Ensemble::Logit] {
        let teachers = teachers(&models, ensemble);
        let batch = batch(&[8, 5, 8, 8]);
        // Kept in other company than they are taught in.
        let mut sequences = batch.sequences().to_vec();
        sequences.reverse();
        let memo = memo_of(&teachers, &sequences, 6);
        let live = loss_of(&batch, &teachers, 6, None);
        assert_eq!(live, loss_of(&batch, &teachers, 6, Some(memo)));
        // What is not kept is taught by the teachers themselves.
        let part = memo_of(&teachers, &sequences[..2], 6);
        assert_eq!(live, loss_of(&batch, &teachers, 6, Some(part)));
    }
}

#[test]
fn likeliest_tokens_are_those_of_a_whole_sort() {
    let mut rng = Rng::new(4, 0);
    for width in [1, 2, 17, 400] {
        // Many equal ones.
        let shares: Vec<f64> = (0..width).map(|_| rng.below(7) as f64 / 6e3).collect();
        let distribution = Distribution::of_shares(shares.clone());
        let mut order: Vec<u32> = (0..width as u32).collect();
        order.sort_by(|&left, &right| shares[right as usize].total_cmp(&shares[left as usize]));
        for top in [1, 3, 17, 500] {
            let found = Likeliest::of(&distribution, top);
            let Taught::Top { tokens, logs } = found.taught() else {
                panic!("some tokens are told apart");
            };
            assert_eq!(tokens, &order[..top.min(width)], "{top} of {width}");
            let expected = tokens.iter();
            let expected = expected.map(|&token| distribution.logs[token as usize] as f32);
            assert_eq!(logs, expected.collect::<Vec<f32>>());
        }
    }
}

#[test]
fn a_teacher_with_more_rows_teaches_over_the_common_tokens() {
    let mut padded = tiny_llama();
    padded["vocab_size"] = 40.into();
    let teacher = random_model(&padded, 2, 0.0);
    let student = random_model(&tiny_llama(), 1, 0.0);
    let other_way = random_model(&tiny_llama(), 3, 0.0);
    let models = [(teacher, 1.0), (other_way, 1.0)];
    for count in [1, 2] {
        let teachers = teachers(&models[..count], Ensemble::Probability).within(37);
        assert_eq!(teachers.vocabulary(), 37);
        for (top, hard) in [(0, 0.0), (0, 0.4), (6, 0.0)] {
            let judge = Tokens {
                teachers: Some(&teachers),
                temperature: 2.0,
                hard,
                matching: None,
                top,
                memo: None,
            };
            check(&format!("{count}, {top}"), &student, &judge, false);
        }
    }
    // A student with more rows: those that no teacher knows get no gradient from one.
    let student = random_model(&padded, 5, 0.0);
    let teachers = teachers(&models[1..], Ensemble::Probability);
    let judge = Tokens {
        teachers: Some(&teachers),
        temperature: 1.0,
        hard: 0.2,
        matching: None,
        top: 0,
        memo: None,
    };
    check("more rows", &student, &judge, false);
}

#[test]
fn unlike_teachers_are_refused() {
    let mut other = tiny_bert();
    other["hidden_size"] = 24.into();
    let models = [(tiny_bert(), 1.0), (other, 1.0)];
    let made = models.iter().map(|(config, weight)| {
        Teacher::new(random_model(config, 1, 0.0), *weight, false).unwrap()
    });
    let error = Teachers::new(made.collect(), Ensemble::Logit)
        .err()
        .unwrap();
    assert!(error.to_string().contains("24"), "{error}");
    let nothing = Teacher::new(random_model(&tiny_llama(), 1, 0.0), 0.0, false).unwrap();
    assert!(Teachers::new(vec![nothing], Ensemble::Logit).is_err());
}
