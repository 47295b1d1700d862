//! The vocabulary in a GGUF file's metadata as the `tokenizer.json` that the tokenizers library would have for it.
//!
//! A file may carry that text whole. Otherwise three kinds are made again: byte-level BPE, SentencePiece-style BPE whose
//! merges follow from scores, and WordPiece. Anything else gives none. Knows no tensors.

use super::TOKENIZER_JSON;
use super::cuttings::{LLAMA3, expression};
use super::token::{BYTE, CONTROL, NORMAL, SPACE, UNKNOWN, USER_DEFINED};
use super::value::Metadata;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// Bytes of the longest token that merges can make: SentencePiece has 16 characters, runs of spaces some more.
const MOST_MERGED_BYTES: usize = 128;

/// Most ways to cut all tokens in two: four times those of the largest vocabularies.
const MOST_CUTS: usize = 1 << 23;

/// `tokenizer.json`; `None` where the metadata tell of none that can be made.
pub(super) fn tokenizer_json(metadata: &Metadata) -> Option<Value> {
    if let Some(text) = metadata.text(TOKENIZER_JSON) {
        return serde_json::from_str(text).ok();
    }
    let words = Vocabulary::of(metadata)?;
    match metadata.text("tokenizer.ggml.model")? {
        "gpt2" => byte_level(metadata, &words),
        "llama" => sentence_piece(metadata, &words),
        "bert" => Some(word_piece(metadata, &words)),
        _ => None,
    }
}

/// `tokenizer_config.json`: the words of special tokens, and the chat template.
pub(super) fn tokenizer_config(metadata: &Metadata) -> Value {
    let mut config = Map::new();
    config.insert(
        "tokenizer_class".to_owned(),
        json!("PreTrainedTokenizerFast"),
    );
    let tokens = metadata.texts("tokenizer.ggml.tokens").unwrap_or_default();
    for (key, name) in [
        ("bos", "bos_token"),
        ("eos", "eos_token"),
        ("unknown", "unk_token"),
        ("padding", "pad_token"),
    ] {
        let id = metadata.count(&format!("tokenizer.ggml.{key}_token_id"));
        let token = id.and_then(|id| tokens.get(usize::try_from(id).ok()?));
        if let Some(token) = token {
            config.insert(name.to_owned(), json!(token));
        }
    }
    if let Some(template) = metadata.text("tokenizer.chat_template") {
        config.insert("chat_template".to_owned(), json!(template));
    }
    Value::Object(config)
}

/// Tokens and what they are.
struct Vocabulary<'a> {
    tokens: &'a [String],
    kinds: Vec<i32>,
}

impl<'a> Vocabulary<'a> {
    fn of(metadata: &'a Metadata) -> Option<Self> {
        let tokens = metadata.texts("tokenizer.ggml.tokens")?;
        let kinds = metadata
            .floats("tokenizer.ggml.token_type")
            .unwrap_or_default();
        let kinds = (0..tokens.len()).map(|id| kinds.get(id).map_or(NORMAL, |&kind| kind as i32));
        Some(Self {
            tokens,
            kinds: kinds.collect(),
        })
    }

    /// Tokens that are found in a text before anything else.
    fn added(&self) -> Vec<Value> {
        let added = self.kinds.iter().enumerate().filter_map(|(id, &kind)| {
            let special = matches!(kind, CONTROL | UNKNOWN);
            (special || kind == USER_DEFINED).then(|| {
                json!({
                    "id": id, "content": self.tokens[id], "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": special,
                })
            })
        });
        added.collect()
    }

    fn map(&self, word: impl Fn(usize) -> String) -> Value {
        let pairs = (0..self.tokens.len()).map(|id| (word(id), json!(id)));
        Value::Object(pairs.collect())
    }

    fn special(&self, metadata: &Metadata, key: &str) -> Option<(u64, &'a str)> {
        let id = metadata.count(&format!("tokenizer.ggml.{key}_token_id"))?;
        let token = self.tokens.get(usize::try_from(id).ok()?)?;
        Some((id, token))
    }
}

/// What puts special tokens around a text, by llama.cpp's flags or their defaults.
fn template(
    metadata: &Metadata,
    words: &Vocabulary<'_>,
    defaults: (bool, bool),
    names: (&str, &str),
) -> Value {
    let asked = |key: &str, default: bool| {
        metadata
            .flag(&format!("tokenizer.ggml.add_{key}_token"))
            .unwrap_or(default)
    };
    let first = asked("bos", defaults.0)
        .then(|| words.special(metadata, names.0))
        .flatten();
    let last = asked("eos", defaults.1)
        .then(|| words.special(metadata, names.1))
        .flatten();
    if first.is_none() && last.is_none() {
        return Value::Null;
    }
    let part = |found: Option<(u64, &str)>, kind: u8| {
        found.map(|(_, token)| json!({ "SpecialToken": { "id": token, "type_id": kind } }))
    };
    let text = |id: &str, kind: u8| Some(json!({ "Sequence": { "id": id, "type_id": kind } }));
    let single: Vec<Value> = [part(first, 0), text("A", 0), part(last, 0)]
        .into_iter()
        .flatten()
        .collect();
    let pair = [
        part(first, 0),
        text("A", 0),
        part(last, 0),
        text("B", 1),
        part(last, 1),
    ];
    let pair: Vec<Value> = pair.into_iter().flatten().collect();
    let mut tokens = Map::new();
    for (id, token) in [first, last].into_iter().flatten() {
        tokens.insert(
            token.to_owned(),
            json!({ "id": token, "ids": [id], "tokens": [token] }),
        );
    }
    json!({ "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens })
}

fn whole(words: &Vocabulary<'_>, parts: [(&str, Value); 5]) -> Value {
    let mut json = Map::new();
    json.insert("version".to_owned(), json!("1.0"));
    json.insert("truncation".to_owned(), Value::Null);
    json.insert("padding".to_owned(), Value::Null);
    json.insert("added_tokens".to_owned(), Value::Array(words.added()));
    json.extend(parts.map(|(key, value)| (key.to_owned(), value)));
    Value::Object(json)
}

fn byte_level(metadata: &Metadata, words: &Vocabulary<'_>) -> Option<Value> {
    let merges = metadata.texts("tokenizer.ggml.merges").unwrap_or_default();
    let merges = merges.iter().filter_map(|merge| {
        // A space may begin a token only where it stands alone; bytes never are one.
        let (left, right) = merge.split_once(' ')?;
        Some(json!([left, right]))
    });
    let name = metadata.text("tokenizer.ggml.pre").unwrap_or("gpt-2");
    let bytes = |regex: bool| json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex });
    let (cut, starts) = match expression(name)? {
        None => (bytes(true), false),
        Some(expression) => (
            json!({ "type": "Sequence", "pretokenizers": [
                { "type": "Split", "pattern": { "Regex": expression }, "behavior": "Isolated", "invert": false },
                bytes(false),
            ] }),
            name != "qwen2",
        ),
    };
    let model = json!({
        "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
        "ignore_merges": expression(name)? == Some(LLAMA3),
        "vocab": words.map(|id| words.tokens[id].clone()), "merges": merges.collect::<Vec<_>>(),
    });
    Some(whole(
        words,
        [
            ("normalizer", Value::Null),
            ("pre_tokenizer", cut),
            (
                "post_processor",
                template(metadata, words, (starts, false), ("bos", "eos")),
            ),
            ("decoder", bytes(true)),
            ("model", model),
        ],
    ))
}

fn sentence_piece(metadata: &Metadata, words: &Vocabulary<'_>) -> Option<Value> {
    let scores = metadata.floats("tokenizer.ggml.scores").unwrap_or_default();
    let prefix = metadata
        .flag("tokenizer.ggml.add_space_prefix")
        .unwrap_or(true);
    let mut normalizers = vec![
        json!({ "type": "Replace", "pattern": { "String": " " }, "content": SPACE.to_string() }),
    ];
    let mut decoders = vec![
        json!({ "type": "Replace", "pattern": { "String": SPACE.to_string() }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    if prefix {
        normalizers.insert(
            0,
            json!({ "type": "Prepend", "prepend": SPACE.to_string() }),
        );
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    let unknown = words.special(metadata, "unknown").or_else(|| {
        let id = words.kinds.iter().position(|&kind| kind == UNKNOWN)?;
        Some((id as u64, words.tokens[id].as_str()))
    });
    let model = json!({
        "type": "BPE", "dropout": null, "unk_token": unknown.map(|(_, token)| token),
        "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true,
        "ignore_merges": false, "vocab": words.map(|id| words.tokens[id].clone()),
        "merges": merges_of_scores(words, &scores)?,
    });
    Some(whole(
        words,
        [
            (
                "normalizer",
                json!({ "type": "Sequence", "normalizers": normalizers }),
            ),
            ("pre_tokenizer", Value::Null),
            (
                "post_processor",
                template(metadata, words, (true, false), ("bos", "eos")),
            ),
            (
                "decoder",
                json!({ "type": "Sequence", "decoders": decoders }),
            ),
            ("model", model),
        ],
    ))
}

/// Every way to put a token together from two others, best score first: what joining by scores amounts to. `None` where a
/// hostile vocabulary has more of them than are tried.
fn merges_of_scores(words: &Vocabulary<'_>, scores: &[f64]) -> Option<Vec<Value>> {
    let mut ids: HashMap<&str, usize> = HashMap::with_capacity(words.tokens.len());
    let is_text = |id: usize| {
        !matches!(words.kinds[id], CONTROL | UNKNOWN | BYTE)
            && words.tokens[id].len() <= MOST_MERGED_BYTES
    };
    let lengths = (0..words.tokens.len()).filter(|&id| is_text(id));
    if lengths.map(|id| words.tokens[id].len()).sum::<usize>() > MOST_CUTS {
        return None;
    }
    for (id, token) in words
        .tokens
        .iter()
        .enumerate()
        .filter(|(id, _)| is_text(*id))
    {
        ids.entry(token).or_insert(id);
    }
    let score = |id: usize| scores.get(id).copied().unwrap_or(0.0);
    let mut merges: Vec<(f64, (usize, usize), [&str; 2])> = Vec::new();
    for (id, token) in words
        .tokens
        .iter()
        .enumerate()
        .filter(|(id, _)| is_text(*id))
    {
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if let (Some(&one), Some(&other)) = (ids.get(left), ids.get(right)) {
                merges.push((score(id), (one, other), [left, right]));
            }
        }
    }
    merges.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
    Some(merges.into_iter().map(|merge| json!(merge.2)).collect())
}

fn word_piece(metadata: &Metadata, words: &Vocabulary<'_>) -> Value {
    let word = |id: usize| match (words.kinds[id], words.tokens[id].strip_prefix(SPACE)) {
        (CONTROL | UNKNOWN, _) => words.tokens[id].clone(),
        (_, Some(start)) => start.to_owned(),
        (_, None) => format!("##{}", words.tokens[id]),
    };
    let unknown = words
        .special(metadata, "unknown")
        .map_or("[UNK]", |(_, token)| token);
    // Cased vocabularies have capital letters.
    let lowercase = !(0..words.tokens.len())
        .any(|id| words.kinds[id] == NORMAL && words.tokens[id].chars().any(char::is_uppercase));
    let mut post = template(metadata, words, (true, true), ("bos", "seperator"));
    if post.is_null() {
        post = template(metadata, words, (true, true), ("cls", "seperator"));
    }
    whole(
        words,
        [
            (
                "normalizer",
                json!({ "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": lowercase }),
            ),
            ("pre_tokenizer", json!({ "type": "BertPreTokenizer" })),
            ("post_processor", post),
            (
                "decoder",
                json!({ "type": "WordPiece", "prefix": "##", "cleanup": true }),
            ),
            (
                "model",
                json!({
                    "type": "WordPiece", "unk_token": unknown, "continuing_subword_prefix": "##",
                    "max_input_chars_per_word": 100, "vocab": words.map(word),
                }),
            ),
        ],
    )
}
