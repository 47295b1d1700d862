//! Judges over whole batches: gradients against finite differences, teachers' averages by hand, memos against teachers.

use crate::model::testing::{random_model, tiny_bert, tiny_llama};
use crate::model::{Model, ModelConfig};
use crate::monitor::Unwatched;
use crate::recipe::{Ensemble, StateStorage};
use crate::rng::Rng;
use crate::score::{Pooling, PoolingMode};
use crate::train::loss::Distribution;
use crate::train::{
    Batch, Dense, Embeddings, Gradients, Judge, Kept, Learner, Matching, Memo, MemoWriter, Network,
    Part, Teacher, Teachers, Tokens, Variable,
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
            taught: pooling.clone(),
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

#[test]
fn a_memo_of_all_tokens_teaches_what_the_teacher_does_and_reads_back() {
    let student = random_model(&tiny_llama(), 1, 0.0);
    let teachers = teachers(
        &[(random_model(&tiny_llama(), 2, 0.0), 1.0)],
        Ensemble::Probability,
    );
    let batch = batch(&[8, 5]);
    let loss_with = |memo: Option<Memo>| {
        let judge = Tokens {
            teachers: Some(&teachers),
            temperature: 2.0,
            hard: 0.0,
            matching: None,
            memo,
        };
        let objective = judge
            .objective(&batch, batch.sequences(), &Unwatched)
            .unwrap();
        let learner = Dense::new(&student).unwrap();
        let network = Network::new(&student, &learner, StateStorage::F32);
        network
            .loss(&batch, objective.as_ref(), &Unwatched)
            .unwrap()
    };
    let memo_of = |top: usize| {
        let mut writer = MemoWriter::new(top);
        let lesson = teachers.teach(&batch, Kept::default(), &Unwatched).unwrap();
        for (sequence, ids) in batch.sequences().iter().enumerate() {
            let part = Part {
                sequence,
                start: 0,
                count: ids.len(),
            };
            writer.add(ids, &lesson.distributions(part, 2.0).unwrap());
        }
        writer.finish()
    };
    let whole = loss_with(None);
    let (all, rest) = memo_of(37);
    assert!(rest < 1e-6, "mass of the rest {rest}");
    let found = loss_with(Some(all));
    assert!(
        (found - whole).abs() < 1e-5 * whole,
        "{found}, whole {whole}"
    );
    let (few, rest) = memo_of(6);
    assert!(rest > 0.0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("memo");
    few.write(&path).unwrap();
    let read = Memo::read(&path, 6, 37).unwrap();
    let (found, again) = (loss_with(Some(few)), loss_with(Some(read)));
    assert_eq!(found, again);
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
fn unlike_teachers_are_refused() {
    let mut other = tiny_llama();
    other["vocab_size"] = 36.into();
    let models = [(tiny_llama(), 1.0), (other, 1.0)];
    let made = models.iter().map(|(config, weight)| {
        Teacher::new(random_model(config, 1, 0.0), *weight, false).unwrap()
    });
    let error = Teachers::new(made.collect(), Ensemble::Logit)
        .err()
        .unwrap();
    assert!(error.to_string().contains("37"), "{error}");
    let nothing = Teacher::new(random_model(&tiny_llama(), 1, 0.0), 0.0, false).unwrap();
    assert!(Teachers::new(vec![nothing], Ensemble::Logit).is_err());
}
