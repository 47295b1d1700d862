//! Small tokenizers of each kind, cut and asked again.
#![allow(clippy::unwrap_used)]

use super::*;
use serde_json::json;

fn bpe() -> Value {
    json!({
        "added_tokens": [{"id": 0, "content": "<s>", "special": true}, {"id": 12, "content": "<end>", "special": true}],
        "pre_tokenizer": {"type": "ByteLevel"}, "decoder": {"type": "ByteLevel"},
        "post_processor": {"type": "TemplateProcessing",
            "special_tokens": {"<end>": {"id": "<end>", "ids": [12], "tokens": ["<end>"]}}},
        "padding": {"pad_id": 12},
        "model": {"type": "BPE", "unk_token": null, "byte_fallback": false,
            "vocab": {"<s>": 0, "a": 1, "b": 2, "c": 3, "d": 4, "ab": 5, "cd": 6, "abc": 7, "abcd": 8, "bc": 9, "dd": 10,
                "ddd": 11},
            "merges": [["a", "b"], ["c", "d"], "ab cd", ["ab", "c"], ["b", "c"], ["d", "d"], ["dd", "d"]]}})
}

fn kept(tokenizer: &Value, used: &[u32]) -> KeptTokens {
    KeptTokens::choose(tokenizer, &used.iter().copied().collect(), 100).unwrap()
}

#[test]
fn merges_on_the_way_stay_and_others_go() {
    let kept = kept(&bpe(), &[8]);
    // Added ones, the characters, and ab, cd on the way to abcd.
    assert_eq!(kept.ids(), [0, 1, 2, 3, 4, 5, 6, 8, 12]);
    let smaller = kept.tokenizer(&bpe()).unwrap();
    let expected = json!({"<s>": 0, "a": 1, "b": 2, "c": 3, "d": 4, "ab": 5, "cd": 6, "abcd": 7});
    assert_eq!(smaller["model"]["vocab"], expected);
    let merges = json!([["a", "b"], ["c", "d"], "ab cd"]);
    assert_eq!(smaller["model"]["merges"], merges);
    assert_eq!(smaller["added_tokens"][1]["id"], 8);
    assert_eq!(smaller["padding"]["pad_id"], 8);
    let ids = &smaller["post_processor"]["special_tokens"]["<end>"]["ids"];
    assert_eq!(ids, &json!([8]));
}

#[test]
fn keeping_everything_changes_nothing() {
    let all: Vec<u32> = (0..13).collect();
    let kept = kept(&bpe(), &all);
    assert_eq!(kept.tokenizer(&bpe()).unwrap(), bpe());
}

#[test]
fn bytes_stay_where_a_model_falls_back_to_them() {
    let tokenizer = json!({"added_tokens": [], "pre_tokenizer": null, "decoder": {"type": "ByteFallback"},
        "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": true,
            "vocab": {"<unk>": 0, "<0x0A>": 1, "<0xFF>": 2, "x": 3, "y": 4, "xy": 5}, "merges": ["x y"]}});
    assert_eq!(kept(&tokenizer, &[3]).ids(), [0, 1, 2, 3]);
    assert_eq!(kept(&tokenizer, &[5]).ids(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn pieces_keep_their_order_and_the_least_likely() {
    let tokenizer = json!({"added_tokens": [], "model": {"type": "Unigram", "unk_id": 1,
        "vocab": [["<s>", 0.0], ["<unk>", 0.0], ["ab", -2.0], ["rare", -9.0], ["c", -3.0], ["abc", -4.0]]}});
    let kept = kept(&tokenizer, &[5]);
    assert_eq!(kept.ids(), [1, 3, 4, 5]);
    let smaller = kept.tokenizer(&tokenizer).unwrap();
    let expected = json!([["<unk>", 0.0], ["rare", -9.0], ["c", -3.0], ["abc", -4.0]]);
    assert_eq!(smaller["model"]["vocab"], expected);
    assert_eq!(smaller["model"]["unk_id"], 0);
}

#[test]
fn configurations_speak_of_new_ids() {
    let kept = kept(&bpe(), &[8]);
    let mut config = json!({"eos_token_id": [12, 0], "pad_token_id": null, "bos_token_id": -1, "hidden_size": 12});
    assert_eq!(token_ids(&config), [12, 0]);
    remap_ids(&mut config, &kept);
    let expected = json!({"eos_token_id": [8, 0], "pad_token_id": null, "bos_token_id": -1, "hidden_size": 12});
    assert_eq!(config, expected);
    let mut unsaid = json!({"suppress_tokens": [12, 999], "bad_words_ids": [[12], [0, 999]]});
    remap_ids(&mut unsaid, &kept);
    let expected = json!({"suppress_tokens": [8], "bad_words_ids": [[8]]});
    assert_eq!(unsaid, expected);
    let mut listed =
        json!({"added_tokens_decoder": {"0": {"content": "<s>"}, "12": {"content": "<end>"}}});
    remap_tokenizer_config(&mut listed, &kept);
    let expected =
        json!({"added_tokens_decoder": {"0": {"content": "<s>"}, "8": {"content": "<end>"}}});
    assert_eq!(listed, expected);
}

#[test]
fn what_is_not_known_is_refused() {
    let other = json!({"model": {"type": "Neural", "vocab": {}}});
    let error = KeptTokens::choose(&other, &BTreeSet::new(), 10).unwrap_err();
    assert!(error.to_string().contains("Neural"), "{error}");
    let mut marked = bpe();
    marked["model"]["end_of_word_suffix"] = json!("</w>");
    let error = KeptTokens::choose(&marked, &BTreeSet::new(), 100).unwrap_err();
    assert!(error.to_string().contains("end_of_word_suffix"), "{error}");
    let error = KeptTokens::choose(&bpe(), &BTreeSet::new(), 5).unwrap_err();
    assert!(error.to_string().contains("no row"), "{error}");
}
