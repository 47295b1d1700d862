//! Embeddings against the plain forward pass of each sentence; likeness to a reference.

use super::Watch;
use crate::corpus::{SentencePair, Tokenizer};
use crate::evaluate::{EncoderTask, EvaluateError, Pooling, PoolingMode, evaluate_encoder};
use crate::model::Model;
use crate::model::testing::{random_model, tiny_bert, tiny_llama};
use crate::report::EncoderEvaluation;
use crate::score::{cosine, spearman};

/// Words `w0` to `w36` are ids 0 to 36.
pub(super) fn tokenizer() -> Tokenizer {
    let words: Vec<String> = (0..37).map(|id| format!("\"w{id}\": {id}")).collect();
    let json = format!(
        r#"{{"version": "1.0", "added_tokens": [], "truncation": null, "padding": null, "normalizer": null,
        "pre_tokenizer": {{"type": "Whitespace"}}, "post_processor": null, "decoder": null,
        "model": {{"type": "WordLevel", "unk_token": "w0", "vocab": {{{}}}}}}}"#,
        words.join(", ")
    );
    Tokenizer::from_json("words", json.as_bytes()).unwrap()
}

/// A sentence of `length` words.
pub(super) fn sentence(seed: usize, length: usize) -> String {
    let words: Vec<String> = (0..length)
        .map(|place| format!("w{}", (seed * 13 + place * (seed + 3)) % 37))
        .collect();
    words.join(" ")
}

fn pairs() -> Vec<SentencePair> {
    (0..9)
        .map(|index| SentencePair {
            score: ((index * 5) % 9) as f64,
            left: sentence(index, 2 + index % 4),
            right: sentence(index + 20, 3 + index % 3),
        })
        .collect()
}

pub(super) fn mean() -> Pooling {
    Pooling {
        modes: vec![PoolingMode::Mean],
        normalize: true,
    }
}

fn evaluate(
    model: &Model,
    reference: Option<&Model>,
    sentences: &[String],
    pairs: &[SentencePair],
    memory_bytes: u64,
) -> Result<EncoderEvaluation, EvaluateError> {
    let task = EncoderTask {
        sentences,
        pairs,
        tokenizer: &tokenizer(),
        length: 4,
        pooling: &mean(),
    };
    let watch = Watch::new(u64::MAX);
    let found = evaluate_encoder(model, reference, &task, memory_bytes, &watch)?;
    Ok(EncoderEvaluation {
        seconds: 0.0,
        ..found
    })
}

/// Mean of the hidden states of the first four tokens, one sentence at a time.
fn embedding(model: &Model, text: &str) -> Vec<f32> {
    let mut ids = tokenizer().encode(text).unwrap();
    ids.truncate(4);
    let hidden = model.forward(&ids).unwrap().squeeze(0).unwrap();
    hidden.mean(0).unwrap().to_vec1().unwrap()
}

#[test]
fn equals_one_sentence_at_a_time() {
    let reference = random_model(&tiny_bert(), 3, 0.0);
    let model = random_model(&tiny_bert(), 3, 0.05);
    let pairs = pairs();
    let likeness = |model: &Model, pair: &SentencePair| {
        cosine(
            &embedding(model, &pair.left),
            &embedding(model, &pair.right),
        )
        .unwrap()
    };
    let scores: Vec<f64> = pairs.iter().map(|pair| pair.score).collect();
    let expected = |model: &Model| {
        let likeness: Vec<f64> = pairs.iter().map(|pair| likeness(model, pair)).collect();
        spearman(&likeness, &scores)
    };
    let found = evaluate(&model, Some(&reference), &[], &pairs, u64::MAX).unwrap();
    assert_eq!(found.texts, 18);
    assert_eq!(found.spearman, expected(&model));
    assert_eq!(found.reference_spearman, expected(&reference));
    let streamed = evaluate(&model, Some(&reference), &[], &pairs, 0).unwrap();
    assert_eq!(streamed, found);

    let texts = pairs.iter().flat_map(|pair| [&pair.left, &pair.right]);
    let cosines =
        texts.map(|text| cosine(&embedding(&model, text), &embedding(&reference, text)).unwrap());
    let cosines: Vec<f64> = cosines.collect();
    let summary = found.cosine.unwrap();
    let smallest = cosines.iter().copied().fold(1.0, f64::min);
    let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
    assert!(
        (summary.mean - mean).abs() < 1e-6,
        "{} and {mean}",
        summary.mean
    );
    assert!(
        (summary.min - smallest).abs() < 1e-6,
        "{} and {smallest}",
        summary.min
    );
}

#[test]
fn sentences_are_compared_where_there_are_some() {
    let model = random_model(&tiny_bert(), 3, 0.0);
    let sentences = [sentence(1, 3), sentence(2, 30)];
    let found = evaluate(&model, Some(&model), &sentences, &pairs(), u64::MAX).unwrap();
    assert_eq!(found.texts, 20);
    assert_eq!(found.cosine.unwrap().min, 1.0);
    assert_eq!(found.spearman, found.reference_spearman);
    let alone = evaluate(&model, Some(&model), &sentences, &[], u64::MAX).unwrap();
    assert_eq!((alone.spearman, alone.texts), (None, 2));
}

#[test]
fn what_cannot_work_says_so() {
    let model = random_model(&tiny_bert(), 3, 0.0);
    let broken = random_model(&tiny_bert(), 3, f64::NAN);
    let decoder = random_model(&tiny_llama(), 3, 0.0);
    let some = [sentence(1, 3)];
    let rows = [
        (evaluate(&decoder, None, &[], &pairs(), 0), "a decoder"),
        (evaluate(&model, None, &[], &[], 0), "sentence pairs"),
        (evaluate(&model, None, &some, &[], 0), "need a reference"),
        (
            evaluate(&broken, None, &[], &pairs(), 0),
            "text 1 are not finite",
        ),
    ];
    for (outcome, expected) in rows {
        let message = outcome.unwrap_err().to_string();
        assert!(message.contains(expected), "{message} lacks {expected}");
    }
}
