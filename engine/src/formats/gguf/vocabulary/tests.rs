#![allow(clippy::unwrap_used)]
use super::*;
use serde_json::json;

#[test]
fn a_space_in_front_is_found_wherever_it_is_said() {
    let prepend = json!({ "type": "Prepend", "prepend": "_" });
    let replace = json!({ "type": "Replace", "pattern": { "String": " " }, "content": "_" });
    let metaspace = |scheme: &str| json!({ "type": "Metaspace", "prepend_scheme": scheme });
    let cases = [
        (
            json!({ "normalizer": { "type": "Sequence", "normalizers": [prepend, replace] } }),
            true,
        ),
        (json!({ "normalizer": prepend }), true),
        (json!({ "normalizer": replace }), false),
        (
            json!({ "normalizer": null, "pre_tokenizer": metaspace("first") }),
            true,
        ),
        (
            json!({ "normalizer": null, "pre_tokenizer": metaspace("always") }),
            true,
        ),
        (
            json!({ "normalizer": null, "pre_tokenizer": metaspace("never") }),
            false,
        ),
        (
            json!({ "pre_tokenizer": { "type": "Sequence", "pretokenizers": [metaspace("first")] } }),
            true,
        ),
        (
            json!({ "pre_tokenizer": { "type": "Metaspace", "add_prefix_space": true } }),
            true,
        ),
        (
            json!({ "pre_tokenizer": { "type": "Metaspace", "add_prefix_space": false } }),
            false,
        ),
        (json!({ "normalizer": null, "pre_tokenizer": null }), false),
    ];
    for (tokenizer, expected) in cases {
        assert_eq!(adds_space(&tokenizer), expected, "{tokenizer}");
    }
}

#[test]
fn only_what_llama_cpp_cuts_alike_has_its_name() {
    use crate::checkpoint::gguf::cuttings::{LLAMA3, QWEN2};
    let bytes = |more: &Json| {
        let mut step = json!({ "type": "ByteLevel", "add_prefix_space": false, "use_regex": true });
        step.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        step
    };
    let digits = |each: bool| json!({ "type": "Digits", "individual_digits": each });
    let split = |expression: &str| json!({ "type": "Split", "pattern": { "Regex": expression } });
    let all = |steps: &[Json]| json!({ "type": "Sequence", "pretokenizers": steps });
    let (plain, unsplit) = (bytes(&json!({})), bytes(&json!({ "use_regex": false })));
    for (cut, expected, remarks) in [
        (plain.clone(), "gpt-2", 0),
        (bytes(&json!({ "add_prefix_space": true })), "gpt-2", 1),
        (unsplit.clone(), "default", 1),
        (all(&[digits(true), plain.clone()]), "smollm", 0),
        (all(&[digits(false), plain.clone()]), "default", 1),
        (all(&[digits(true), unsplit.clone()]), "default", 1),
        (all(&[split(LLAMA3), unsplit.clone()]), "llama-bpe", 0),
        (all(&[split(QWEN2), unsplit.clone()]), "qwen2", 0),
        (all(&[digits(true), split(QWEN2), unsplit]), "default", 1),
        (Json::Null, "default", 1),
    ] {
        let (name, told) = cutting(&cut);
        assert_eq!((name, told.len()), (expected, remarks), "{cut}: {told:?}");
    }
}

#[test]
fn ids_beyond_the_vocabulary_are_told_and_left_out() {
    let texts = Texts {
        tokenizer: Some(
            json!({ "model": { "type": "BPE", "vocab": { "a": 0, "b": 1 }, "merges": [] },
            "pre_tokenizer": { "type": "ByteLevel" } }),
        ),
        config: json!({ "bos_token_id": 9, "eos_token_id": [1, 9], "pad_token_id": 0 }),
        ..Texts::default()
    };
    let (keys, told) = keys(&texts, 2);
    let of = |name: &str| {
        let name = format!("tokenizer.ggml.{name}_token_id");
        let found = keys.iter().find(|(key, _)| *key == name)?;
        Some(found.1.clone())
    };
    assert_eq!(of("bos"), None);
    assert_eq!(
        (of("eos"), of("padding")),
        (Some(Value::u32(1)), Some(Value::u32(0)))
    );
    assert!(told.len() == 1 && told[0].contains("the id 9"), "{told:?}");
}
