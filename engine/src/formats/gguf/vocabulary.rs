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

#[cfg(test)]
mod tests;

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
pub(super) fn keys(texts: &Texts, rows: usize) -> (Vec<(String, Value)>, Vec<String>) {
    let Some(tokenizer) = &texts.tokenizer else {
        let told = "the model has no tokenizer.json, so the GGUF file takes token ids only";
        return (no_tokens(), vec![told.to_owned()]);
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
            return (no_tokens(), vec![told]);
        }
    };
    let mut words = Words::of(tokenizer, kind, rows);
    let mut keys = vec![text_key("model", kind)];
    let (name, mut told) = match kind {
        "gpt2" => cutting(&tokenizer["pre_tokenizer"]),
        _ => ("default", Vec::new()),
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
    let (ids, beyond) = specials(texts, &words);
    keys.extend(ids);
    told.extend(beyond);
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

/// llama.cpp's name for how a text is cut before BPE, and what it will do otherwise.
fn cutting(cut: &Json) -> (&'static str, Vec<String>) {
    use crate::checkpoint::gguf::cuttings::{LLAMA3, QWEN2};
    let all = steps(cut, "pretokenizers");
    let expression = all
        .iter()
        .find_map(|step| step["pattern"]["Regex"].as_str());
    let mut digits = all.iter().filter(|step| step["type"] == "Digits");
    let bytes = all.iter().find(|step| step["type"] == "ByteLevel");
    let by_words = bytes.is_some_and(|step| step["use_regex"] != false);
    let name = match (expression, digits.next()) {
        (Some(LLAMA3), None) => Some("llama-bpe"),
        (Some(QWEN2), None) => Some("qwen2"),
        // Only digits that are cut one by one have a name.
        (None, Some(step)) if by_words && step["individual_digits"] == true => Some("smollm"),
        (None, None) if by_words && all.len() == 1 => Some("gpt-2"),
        _ => None,
    };
    let mut told = Vec::new();
    if name.is_none() {
        told.push("llama.cpp has no name for how this tokenizer cuts a text, so it will cut by its default; token ids may differ there".to_owned());
    }
    if bytes.is_some_and(|step| step["add_prefix_space"] == true) {
        told.push("this tokenizer puts a space in front of a text, which llama.cpp does not do for byte-level BPE; the first token may differ there".to_owned());
    }
    (name.unwrap_or("default"), told)
}

/// Ids of special tokens, and which of them a text gets; and those that no token has.
fn specials(texts: &Texts, words: &Words) -> (Vec<(String, Value)>, Vec<String>) {
    let (mut keys, mut told) = (Vec::new(), Vec::new());
    let config = texts.tokenizer_config.as_ref();
    let named = |name: &str| {
        let found = &config?[format!("{name}_token")];
        let text = found.as_str().or(found["content"].as_str())?;
        words.ids.get(text).copied()
    };
    let numbered = |name: &str| {
        let id = &texts.config[format!("{name}_token_id")];
        // Where there are several, the first is the usual one.
        let id = id.as_u64().or(id[0].as_u64())?;
        Some(usize::try_from(id).unwrap_or(usize::MAX))
    };
    let rows = words.tokens.len();
    for (name, written) in [
        ("bos", "bos"),
        ("eos", "eos"),
        ("unk", "unknown"),
        ("sep", "seperator"),
        ("pad", "padding"),
        ("cls", "cls"),
        ("mask", "mask"),
    ] {
        match named(name).or_else(|| numbered(name)) {
            Some(id) if id < rows => {
                keys.push((key(&format!("{written}_token_id")), Value::u32(id as u32)));
            }
            Some(id) => told.push(format!(
                "the {name} token of config.json has the id {id}, but there are {rows} tokens, so the GGUF file names none"
            )),
            None => {}
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
    (keys, told)
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
