//! Ids of tokens in the other files of a model: `config.json`, `generation_config.json`, `tokenizer_config.json`.

use super::KeptTokens;
use serde_json::{Map, Value};

/// Side files that list the whole vocabulary and say nothing that `tokenizer.json` does not.
const STALE_FILES: [&str; 9] = [
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "added_tokens.json",
    "tokenizer.tiktoken",
    "vocab.tiktoken",
];

/// Whether a side file would still speak of the larger vocabulary.
pub fn is_stale(file: &str) -> bool {
    STALE_FILES.contains(&file)
}

/// Every id that a configuration names: `eos_token_id` and its like.
pub fn token_ids(config: &Value) -> Vec<u32> {
    let mut ids = Vec::new();
    for (_, value) in named_ids(config) {
        let list = match value {
            Value::Array(list) => list.as_slice(),
            single => std::slice::from_ref(single),
        };
        let whole = list.iter().filter_map(Value::as_u64);
        ids.extend(whole.filter_map(|id| u32::try_from(id).ok()));
    }
    ids
}

/// Gives the ids that a configuration names their new values.
pub fn remap_ids(config: &mut Value, kept: &KeptTokens) {
    let names: Vec<String> = named_ids(config).map(|(key, _)| key.clone()).collect();
    for name in names {
        match config.get_mut(&name) {
            Some(Value::Array(list)) => list.iter_mut().for_each(|id| kept.renumber(Some(id))),
            single => kept.renumber(single),
        }
    }
    for name in ["suppress_tokens", "begin_suppress_tokens", "bad_words_ids"] {
        if let Some(Value::Array(list)) = config.get_mut(name) {
            list.retain_mut(|entry| is_still_said(entry, kept));
        }
    }
}

/// Renumbers a token that is never to be said, or a row of them; false where it cannot be said any more.
fn is_still_said(entry: &mut Value, kept: &KeptTokens) -> bool {
    match entry {
        Value::Array(row) => row.iter_mut().all(|entry| is_still_said(entry, kept)),
        id => {
            let old = id.as_u64().and_then(|old| u32::try_from(old).ok());
            let new = old.and_then(|old| kept.new_id(old));
            *id = new.into();
            new.is_some()
        }
    }
}

/// Gives the ids by which `tokenizer_config.json` lists added tokens their new values.
pub fn remap_tokenizer_config(config: &mut Value, kept: &KeptTokens) {
    let Some(Value::Object(listed)) = config.get_mut("added_tokens_decoder") else {
        return;
    };
    let renumbered = std::mem::take(listed).into_iter();
    let renumbered = renumbered.filter_map(|(id, token)| {
        let new = kept.new_id(id.parse().ok()?)?;
        Some((new.to_string(), token))
    });
    *listed = renumbered.collect::<Map<String, Value>>();
}

fn named_ids(config: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let entries = config.as_object().into_iter().flatten();
    entries.filter(|(key, _)| key.ends_with("_token_id"))
}
