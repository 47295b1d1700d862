//! A `tokenizer.json` as the keys in which llama.cpp keeps a vocabulary.
//!
//! Byte-level BPE, SentencePiece-style BPE (merges become scores) and WordPiece; anything else is told and left out, and such
//! a file runs on token ids only. The text itself goes along under the key that GGUF has for it, so that a reader that knows
//! the tokenizers library gets exactly the same tokens. Source: llama.cpp's converters.

use crate::checkpoint::gguf::TOKENIZER_JSON;
use crate::checkpoint::gguf::token::{BYTE, CONTROL, NORMAL, SPACE, UNKNOWN, UNUSED, USER_DEFINED};
use crate::checkpoint::gguf::value::Value;
use serde_json::Value as Json;
use std::collections::HashMap;

/// A model's texts beside its weights.
#[derive(Debug, Default)]
pub(super) struct Texts {
    pub(super) tokenizer: Option<Json>,
    pub(super) tokenizer_config: Option<Json>,
    pub(super) config: Json,
    /// `chat_template.jinja`.
    pub(super) chat_template: Option<String>,
}

/// Keys of the vocabulary, and what a reader of the report must know.
pub(super) fn keys(texts: &Texts, rows: usize) -> (Vec<(String, Value)>, Option<String>) {
    let Some(tokenizer) = &texts.tokenizer else {
        return (
            no_tokens(),
            Some(
                "the model has no tokenizer.json, so the GGUF file takes token ids only".to_owned(),
            ),
        );
    };
    let model = &tokenizer["model"];
    let kind = match model["type"].as_str().unwrap_or_default() {
        "BPE" if model["byte_fallback"] == true => "llama",
        "BPE" => "gpt2",
        "WordPiece" => "bert",
        other => {
            let told = format!(
                "llama.cpp has no tokenizer for a model of type \"{other}\", so the GGUF file takes token ids only"
            );
            return (no_tokens(), Some(told));
        }
    };
    let mut words = Words::of(tokenizer, kind, rows);
    let mut keys = vec![text_key("model", kind)];
    let (name, told) = match kind {
        "gpt2" => cutting(&tokenizer["pre_tokenizer"]),
        _ => ("default", None),
    };
    keys.push(text_key("pre", name));
    match kind {
        "gpt2" => keys.push((key("merges"), Value::Texts(merges(model)))),
        "llama" => {
            keys.push((key("scores"), Value::floats(&words.scores(model))));
            let prefix = adds_space(tokenizer);
            keys.push((key("add_space_prefix"), Value::flag(prefix)));
        }
        _ => words.mark_beginnings(),
    }
    keys.extend(specials(texts, &words));
    keys.push((key("token_type"), Value::integers(&words.kinds)));
    keys.push((key("tokens"), Value::Texts(words.tokens)));
    let template = texts.chat_template.clone().or_else(|| {
        let config = texts.tokenizer_config.as_ref()?;
        Some(config["chat_template"].as_str()?.to_owned())
    });
    if let Some(template) = template {
        let key = "tokenizer.chat_template".to_owned();
        keys.push((key, Value::Text(template)));
    }
    keys.push((
        TOKENIZER_JSON.to_owned(),
        Value::Text(tokenizer.to_string()),
    ));
    (keys, told)
}

fn key(name: &str) -> String {
    format!("tokenizer.ggml.{name}")
}

fn text_key(name: &str, text: &str) -> (String, Value) {
    (key(name), Value::Text(text.to_owned()))
}

fn no_tokens() -> Vec<(String, Value)> {
    vec![text_key("model", "none")]
}

/// All tokens by their ids.
struct Words {
    tokens: Vec<String>,
    kinds: Vec<i32>,
    ids: HashMap<String, usize>,
}

impl Words {
    fn of(tokenizer: &Json, kind: &str, rows: usize) -> Self {
        let mut words = Self {
            tokens: (0..rows).map(|id| format!("[PAD{id}]")).collect(),
            kinds: vec![UNUSED; rows],
            ids: HashMap::new(),
        };
        let vocabulary = tokenizer["model"]["vocab"].as_object();
        for (token, id) in vocabulary.into_iter().flatten() {
            let is_byte = kind == "llama" && is_byte(token);
            words.put(id, token, if is_byte { BYTE } else { NORMAL });
        }
        let added = tokenizer["added_tokens"].as_array();
        for token in added.into_iter().flatten() {
            let kind = if token["special"] == true {
                CONTROL
            } else {
                USER_DEFINED
            };
            words.put(
                &token["id"],
                token["content"].as_str().unwrap_or_default(),
                kind,
            );
        }
        if let Some(unknown) = tokenizer["model"]["unk_token"].as_str()
            && let Some(&id) = words.ids.get(unknown)
            && kind == "llama"
        {
            words.kinds[id] = UNKNOWN;
        }
        words
    }

    fn put(&mut self, id: &Json, token: &str, kind: i32) {
        let id = id.as_u64().and_then(|id| usize::try_from(id).ok());
        if let Some(id) = id.filter(|&id| id < self.tokens.len()) {
            self.tokens[id] = token.to_owned();
            self.kinds[id] = kind;
            self.ids.insert(token.to_owned(), id);
        }
    }

    /// Later merges are worse; tokens that no merge makes are worst.
    fn scores(&self, model: &Json) -> Vec<f32> {
        let merges = merges(model);
        let mut scores = vec![-(merges.len() as f32) - 1.0; self.tokens.len()];
        for (rank, merge) in merges.iter().enumerate().rev() {
            if let Some(&id) = self.ids.get(&merge.replacen(' ', "", 1)) {
                scores[id] = -(rank as f32);
            }
        }
        scores
    }

    /// llama.cpp marks where words begin instead of where they go on.
    fn mark_beginnings(&mut self) {
        for (token, &kind) in self.tokens.iter_mut().zip(&self.kinds) {
            if kind == CONTROL || kind == UNUSED {
                continue;
            }
            *token = match token.strip_prefix("##") {
                Some(rest) => rest.to_owned(),
                None => format!("{SPACE}{token}"),
            };
        }
    }
}

/// Whether a text gets a space in front: from a normalizer, or from how words are cut where newer programs wrote the file.
fn adds_space(tokenizer: &Json) -> bool {
    let normalizer = steps(&tokenizer["normalizer"], "normalizers");
    let cut = steps(&tokenizer["pre_tokenizer"], "pretokenizers");
    let prepends = |step: &Json| step["type"] == "Prepend";
    let by_spaces = |step: &Json| {
        let scheme = step["prepend_scheme"].as_str();
        let older = step["add_prefix_space"].as_bool().unwrap_or(true);
        step["type"] == "Metaspace" && scheme.map_or(older, |scheme| scheme != "never")
    };
    normalizer.iter().any(prepends) || cut.iter().any(by_spaces)
}

/// The steps of a sequence, or the one step that there is.
fn steps<'a>(step: &'a Json, key: &str) -> &'a [Json] {
    step[key]
        .as_array()
        .map_or(std::slice::from_ref(step), Vec::as_slice)
}

fn is_byte(token: &str) -> bool {
    let digits = token
        .strip_prefix("<0x")
        .and_then(|rest| rest.strip_suffix('>'));
    digits.is_some_and(|digits| {
        digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    })
}

/// Merges as llama.cpp spells them: two tokens with a space between.
fn merges(model: &Json) -> Vec<String> {
    let merges = model["merges"].as_array();
    let spelled = merges
        .into_iter()
        .flatten()
        .filter_map(|merge| match merge {
            Json::String(text) => Some(text.clone()),
            _ => Some(format!("{} {}", merge[0].as_str()?, merge[1].as_str()?)),
        });
    spelled.collect()
}

/// llama.cpp's name for how a text is cut before BPE.
fn cutting(cut: &Json) -> (&'static str, Option<String>) {
    use crate::checkpoint::gguf::cuttings::{LLAMA3, QWEN2};
    let all = steps(cut, "pretokenizers");
    let expression = all
        .iter()
        .find_map(|step| step["pattern"]["Regex"].as_str());
    let by_digits = all.iter().any(|step| step["type"] == "Digits");
    match expression {
        Some(LLAMA3) => return ("llama-bpe", None),
        Some(QWEN2) => return ("qwen2", None),
        None if by_digits => return ("smollm", None),
        None if cut["type"] == "ByteLevel" && cut["use_regex"] != false => return ("gpt-2", None),
        _ => {}
    }
    let told = "llama.cpp has no name for how this tokenizer cuts a text, so it will cut by its default; token ids may differ there";
    ("default", Some(told.to_owned()))
}

/// Ids of special tokens, and which of them a text gets.
fn specials(texts: &Texts, words: &Words) -> Vec<(String, Value)> {
    let mut keys = Vec::new();
    let config = texts.tokenizer_config.as_ref();
    let named = |name: &str| {
        let found = &config?[format!("{name}_token")];
        let text = found.as_str().or(found["content"].as_str())?;
        words.ids.get(text).copied()
    };
    let numbered = |name: &str| {
        let id = texts.config[format!("{name}_token_id")].as_u64()?;
        usize::try_from(id).ok()
    };
    for (name, written) in [
        ("bos", "bos"),
        ("eos", "eos"),
        ("unk", "unknown"),
        ("sep", "seperator"),
        ("pad", "padding"),
        ("cls", "cls"),
        ("mask", "mask"),
    ] {
        if let Some(id) = named(name).or_else(|| numbered(name)) {
            keys.push((key(&format!("{written}_token_id")), Value::u32(id as u32)));
        }
    }
    let ends = texts.tokenizer.as_ref().map(around);
    let (first, last) = ends.unwrap_or_default();
    // A classifier's first token stands for the beginning.
    if named("bos").is_none()
        && let Some(id) = first.as_deref().and_then(|token| words.ids.get(token))
    {
        keys.retain(|(name, _)| *name != key("bos_token_id"));
        keys.push((key("bos_token_id"), Value::u32(*id as u32)));
    }
    keys.push((key("add_bos_token"), Value::flag(first.is_some())));
    keys.push((key("add_eos_token"), Value::flag(last.is_some())));
    keys
}

/// The tokens that the post-processor puts before and after a text.
fn around(tokenizer: &Json) -> (Option<String>, Option<String>) {
    let post = &tokenizer["post_processor"];
    for step in steps(post, "processors") {
        let name = |place: &Json| Some(place["SpecialToken"]["id"].as_str()?.to_owned());
        if let Some(single) = step["single"].as_array() {
            let last = single.last().filter(|_| single.len() > 1);
            return (single.first().and_then(name), last.and_then(name));
        }
        if let (Some(first), Some(last)) = (step["cls"][0].as_str(), step["sep"][0].as_str()) {
            return (Some(first.to_owned()), Some(last.to_owned()));
        }
    }
    (None, None)
}

#[cfg(test)]
mod tests {
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
}
