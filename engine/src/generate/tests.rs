//! Generation of small random networks against the full forward pass.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::model::testing::{random_model, tiny_bert, tiny_llama};
use crate::monitor::Unwatched;
use serde_json::json;

const PROMPT: [u32; 4] = [1, 5, 9, 2];

fn config(tokens: usize) -> GenerateConfig {
    GenerateConfig {
        tokens,
        sampling: Sampling::GREEDY,
        seed: 0,
        kv: CacheKind::F32,
        end_tokens: vec![],
        memory_bytes: u64::MAX,
    }
}

fn run(
    model: &Model,
    prompt: &[u32],
    config: &GenerateConfig,
) -> Result<Generation, GenerateError> {
    generate_ids(model, prompt, config, &Unwatched, &mut |_| Ok(()))
}

/// The most likely token after `ids`, by a full forward pass.
fn full_top(model: &Model, ids: &[u32]) -> u32 {
    let logits = model.forward(ids).unwrap();
    let last = logits.narrow(1, ids.len() - 1, 1).unwrap();
    let values: Vec<f32> = last.flatten_all().unwrap().to_vec1().unwrap();
    Draw::new(Sampling::GREEDY, 0).next(&values).unwrap()
}

#[test]
fn greedy_equals_the_full_forward_pass() {
    let model = random_model(&tiny_llama(), 3, 0.0);
    let made = run(&model, &PROMPT, &config(20)).unwrap();
    let mut ids = PROMPT.to_vec();
    for &id in &made.ids {
        assert_eq!(id, full_top(&model, &ids), "token {}", ids.len());
        ids.push(id);
    }
    assert_eq!((made.ids.len(), made.ending), (20, Ending::Length));
    assert_eq!(
        (made.prompt_tokens, made.prefill.tokens, made.decode.tokens),
        (4, 4, 19)
    );
    let read_again = GenerateConfig {
        memory_bytes: 0,
        ..config(20)
    };
    assert_eq!(run(&model, &PROMPT, &read_again).unwrap().ids, made.ids);
}

#[test]
fn an_end_token_ends_it() {
    let model = random_model(&tiny_llama(), 3, 0.0);
    let free = run(&model, &PROMPT, &config(20)).unwrap();
    let first = free.ids.iter().position(|&id| id == free.ids[4]).unwrap();
    let ending = GenerateConfig {
        end_tokens: vec![free.ids[4]],
        ..config(20)
    };
    let made = run(&model, &PROMPT, &ending).unwrap();
    assert_eq!(made.ids, free.ids[..first]);
    assert_eq!(made.ending, Ending::EndToken);
}

#[test]
fn the_context_ends_it() {
    let model = random_model(&tiny_llama(), 3, 0.0);
    let made = run(&model, &PROMPT, &config(100)).unwrap();
    // 32 positions hold the prompt and 28 new tokens; the last one's logits give one more.
    assert_eq!((made.ids.len(), made.ending), (29, Ending::ContextFull));
    let long: Vec<u32> = (0..33).collect();
    let error = run(&model, &long, &config(1)).unwrap_err();
    assert!(
        matches!(error, GenerateError::PromptTooLong { .. }),
        "{error}"
    );
}

#[test]
fn seeds_make_texts() {
    let model = random_model(&tiny_llama(), 3, 0.0);
    let made = |seed| {
        let config = GenerateConfig {
            sampling: Sampling {
                temperature: 1.0,
                ..Sampling::GREEDY
            },
            seed,
            ..config(20)
        };
        run(&model, &PROMPT, &config).unwrap().ids
    };
    assert_eq!(made(1), made(1));
    assert_ne!(made(1), made(2));
}

#[test]
fn what_cannot_work_says_so() {
    let model = random_model(&tiny_llama(), 3, 0.0);
    let encoder = random_model(&tiny_bert(), 3, 0.0);
    let hot = GenerateConfig {
        sampling: Sampling {
            temperature: -1.0,
            ..Sampling::GREEDY
        },
        ..config(1)
    };
    let errors = [
        (run(&encoder, &PROMPT, &config(1)), "encoder"),
        (run(&model, &[], &config(1)), "no tokens"),
        (run(&model, &PROMPT, &hot), "temperature is -1"),
        (run(&model, &[99], &config(1)), "99"),
    ];
    for (outcome, expected) in errors {
        let message = outcome.unwrap_err().to_string();
        assert!(message.contains(expected), "{message} lacks {expected}");
    }
}

#[test]
fn end_tokens_are_one_or_many() {
    let config = json!({"eos_token_id": 2});
    assert_eq!(end_tokens(&config, None), [2]);
    let other = json!({"eos_token_id": [1, 7]});
    assert_eq!(end_tokens(&config, Some(&other)), [1, 7]);
    assert_eq!(end_tokens(&config, Some(&json!({}))), [2]);
    assert_eq!(end_tokens(&json!({"eos_token_id": null}), None), [0u32; 0]);
}
