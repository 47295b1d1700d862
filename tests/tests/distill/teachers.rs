//! What teachers say: averaged, kept, over common tokens, as embeddings.

use super::{blocks, distill, fresh_of, request, settings, train};
use pare_engine::model::Model;
use pare_engine::recipe::{Ensemble, TrainSettings};
use pare_engine::report::Evaluation;
use pare_engine::session::{DistillRequest, OtherTeacher, Session, StudentSpec};
use pare_tests::sessions::{Quiet, Workshop, differing, files_of, shared};
use serde_json::json;
use std::path::Path;

#[test]
fn teachers_are_averaged_and_a_cache_of_them_teaches_nearly_the_same() {
    let workshop = Workshop::new();
    let mut request = request(&workshop, "depth:0.5", "two");
    request.others.push(OtherTeacher {
        path: workshop.model(),
        weight: 3.0,
    });
    let mut losses = Vec::new();
    // One teacher twice is that teacher, in either space; all tokens in the cache are the whole distribution.
    for (place, (ensemble, cache_top)) in [
        (Ensemble::Probability, 0),
        (Ensemble::Logit, 0),
        (Ensemble::Logit, 50),
        (Ensemble::Logit, 50),
        (Ensemble::Logit, 5),
    ]
    .into_iter()
    .enumerate()
    {
        request.out = workshop.path(&format!("two-{place}"));
        train(&mut request).ensemble = ensemble;
        train(&mut request).cache_top = cache_top;
        losses.push(distill(&workshop, &request).unwrap().loss_first.unwrap());
    }
    for other in &losses[1..4] {
        assert!((other - losses[0]).abs() < 1e-3 * losses[0], "{losses:?}");
    }
    assert!(losses[4] < losses[0], "{losses:?}");
    let cached = workshop.path("cache").join("teachers");
    assert_eq!(std::fs::read_dir(cached).unwrap().count(), 2);
}

#[test]
fn likeliest_tokens_teach_the_same_whether_they_fit_memory_or_not() {
    let workshop = Workshop::new();
    let mut files = Vec::new();
    for (place, capacity) in [1 << 30, 1000].into_iter().enumerate() {
        let mut options = workshop.options(2);
        options.cache_capacity_bytes = capacity;
        let session = Session::open(&workshop.model(), options).unwrap();
        let mut request = request(&workshop, "depth:0.5", &format!("out-{place}"));
        train(&mut request).cache_top = 5;
        train(&mut request).hidden = 0.1;
        let report = session.distill(&request, &Quiet::default()).unwrap();
        let found: Vec<bool> = ["% of the mass", "run in each step"]
            .map(|words| report.warnings.iter().any(|told| told.contains(words)))
            .to_vec();
        assert_eq!(found, [place == 0, place == 1], "{:?}", report.warnings);
        files.push(files_of(&request.out));
    }
    assert!(differing(&files[0], &files[1]).is_empty());
}

fn give_tokenizer(folder: &Path, words: &[String]) {
    let vocabulary: serde_json::Map<_, _> = words
        .iter()
        .enumerate()
        .map(|(id, word)| (word.clone(), json!(id)))
        .collect();
    let tokenizer = json!({"version": "1.0", "added_tokens": [], "truncation": null, "padding": null,
        "normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "decoder": null, "post_processor": null,
        "model": {"type": "WordLevel", "unk_token": "w0", "vocab": vocabulary}});
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
}

#[test]
fn a_student_with_other_rows_learns_the_common_tokens_and_one_of_another_tokenizer_nothing() {
    let workshop = Workshop::new();
    let mut words: Vec<String> = (0..50).map(|id| format!("w{id}")).collect();
    give_tokenizer(&workshop.model(), &words);
    let mut request = request(&workshop, "depth:0.5", "more");
    // It takes the teacher's tokenizer over.
    request.student = fresh_of(&workshop, 56);
    let report = distill(&workshop, &request).unwrap();
    assert!(report.held_out_best.unwrap() <= report.held_out_first.unwrap());
    // Tokens that only one of them has cannot be compared.
    assert!(report.perplexity_after.is_some() && report.reference_perplexity.is_none());
    let told = |words: &str| report.warnings.iter().any(|told| told.contains(words));
    assert!(told("56 rows"), "{:?}", report.warnings);
    let student = workshop.path("more");
    // Now the larger one teaches, and then with two tokens exchanged.
    request.student = StudentSpec::Model(workshop.model());
    request.out = workshop.path("back");
    let teach = |request: &DistillRequest| {
        let larger = workshop.open(&student).unwrap();
        larger.distill(request, &Quiet::default())
    };
    teach(&request).unwrap();
    words.swap(7, 8);
    give_tokenizer(&student, &words);
    request.out = workshop.path("never");
    let message = teach(&request).unwrap_err().to_string();
    assert!(message.contains("token 7 is"), "{message}");
}

#[test]
fn an_encoder_of_half_the_depth_comes_closer_to_its_teacher() {
    let (Some(model), Some(data)) = (shared("models/minilm"), shared("data/stsb")) else {
        return;
    };
    let workshop = Workshop::new();
    let pairs = std::fs::read_to_string(data.join("sts-test.tsv")).unwrap();
    let sentences: Vec<&str> = pairs
        .lines()
        .filter_map(|line| line.split('\t').nth(1))
        .take(48)
        .collect();
    let text = workshop.path("sentences.txt");
    std::fs::write(&text, sentences.join("\n")).unwrap();
    let mut request = request(&workshop, "depth:0.5:even", "out");
    request.recipe.calibration.corpus = Some(text.display().to_string());
    request.evaluate = Some(text);
    *train(&mut request) = TrainSettings {
        length: 32,
        rate: 1e-4,
        held_out: 8,
        ..settings()
    };
    let session = workshop.open(&model).unwrap();
    let report = session.distill(&request, &Quiet::default()).unwrap();
    let (first, best) = (
        report.held_out_first.unwrap(),
        report.held_out_best.unwrap(),
    );
    assert!(best < 0.9 * first, "{first} before, {best} after");
    let Some(Evaluation::Encoder(evaluation)) = report.evaluation else {
        panic!("an encoder is compared by cosines");
    };
    let cosine = evaluation.cosine.unwrap().mean;
    assert!(cosine > 0.5, "{cosine}");
    let student = workshop.open(&request.out).unwrap();
    assert!(student.model().is_ok_and(Model::is_encoder));
    assert_eq!(blocks(&workshop, &request.out), 3);
}
