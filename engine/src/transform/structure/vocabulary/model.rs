//! The `model` of a `tokenizer.json`: what it needs besides the tokens of a text, and what is left of it.

use super::super::StructureError;
use super::KeptTokens;
use super::bpe::Merges;
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Ids that must stay beside `used` ones: unknown, single bytes and characters, and what merges pass through on their
/// way to a used token.
pub(super) fn needed(tokenizer: &Value, used: &BTreeSet<u32>) -> Result<Vec<u32>, StructureError> {
    let model = &tokenizer["model"];
    match kind(model) {
        "BPE" => of_merges(tokenizer, used),
        "WordPiece" => {
            let prefix = word(model, "continuing_subword_prefix").unwrap_or("##");
            let is_single = |token: &str| is_character(token.strip_prefix(prefix).unwrap_or(token));
            Ok(of_words(model, is_single))
        }
        "WordLevel" => Ok(of_words(model, |_| false)),
        "Unigram" => Ok(of_pieces(model)),
        other => Err(unknown(other)),
    }
}

/// Takes all but `kept` tokens out of the model, and gives these their new ids.
pub(super) fn cut(tokenizer: &mut Value, kept: &KeptTokens) -> Result<(), StructureError> {
    let model = &mut tokenizer["model"];
    match kind(model) {
        "BPE" | "WordPiece" | "WordLevel" => {
            let smaller = cut_words(model, kept);
            if let Some(Value::Array(merges)) = model.get_mut("merges") {
                let stays = |token: &str| smaller.contains_key(token);
                merges.retain(|merge| Merges::is_among(merge, stays));
            }
            model["vocab"] = Value::Object(smaller);
            Ok(())
        }
        "Unigram" => {
            cut_pieces(model, kept);
            Ok(())
        }
        other => Err(unknown(other)),
    }
}

/// Older files do not say that their model is a BPE.
fn kind(model: &Value) -> &str {
    let untyped = match model.get("merges") {
        Some(_) => "BPE",
        None => "",
    };
    word(model, "type").unwrap_or(untyped)
}

fn of_merges(tokenizer: &Value, used: &BTreeSet<u32>) -> Result<Vec<u32>, StructureError> {
    let model = &tokenizer["model"];
    for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
        if word(model, key).is_some_and(|mark| !mark.is_empty()) {
            return Err(StructureError::Vocabulary(format!(
                "the tokenizer marks parts of words ({key}), which is not supported"
            )));
        }
    }
    let vocabulary = words(model);
    let by_id: HashMap<u32, &str> = vocabulary.iter().map(|(&token, &id)| (id, token)).collect();
    let has_bytes = model["byte_fallback"] == true && !is_byte_level(tokenizer);
    // Without bytes to fall back to, characters must stay, or text would be lost.
    let mut needed: HashSet<u32> = of_words(model, |token| match has_bytes {
        true => is_byte(token),
        false => is_character(token),
    })
    .into_iter()
    .collect();
    let merges = Merges::read(model)?;
    for token in used.iter().filter_map(|id| by_id.get(id)) {
        for part in merges.on_the_way(token) {
            needed.extend(vocabulary.get(part.as_str()));
        }
    }
    Ok(needed.into_iter().collect())
}

/// The unknown token and those that `stays` names.
fn of_words(model: &Value, stays: impl Fn(&str) -> bool) -> Vec<u32> {
    let unknown = word(model, "unk_token");
    let words = words(model).into_iter();
    words
        .filter(|(token, _)| Some(*token) == unknown || stays(token))
        .map(|(_, id)| id)
        .collect()
}

fn of_pieces(model: &Value) -> Vec<u32> {
    let has_bytes = model["byte_fallback"] == true;
    let pieces = pieces(model);
    let score = |piece: &Value| piece.get(1).and_then(Value::as_f64).unwrap_or(0.0);
    // What an unknown character costs is counted from the least likely piece.
    let least = (0..pieces.len())
        .min_by(|&left, &right| score(&pieces[left]).total_cmp(&score(&pieces[right])));
    let is_needed = |(place, piece): &(usize, &Value)| {
        let token = piece.get(0).and_then(Value::as_str).unwrap_or_default();
        let single = match has_bytes {
            true => is_byte(token),
            false => is_character(token),
        };
        single || Some(*place) == least || model["unk_id"].as_u64() == Some(*place as u64)
    };
    let needed = pieces.iter().enumerate().filter(is_needed);
    needed
        .filter_map(|(place, _)| u32::try_from(place).ok())
        .collect()
}

fn cut_words(model: &Value, kept: &KeptTokens) -> Map<String, Value> {
    let all = model["vocab"].as_object().into_iter().flatten();
    all.filter_map(|(token, id)| {
        let old = u32::try_from(id.as_u64()?).ok()?;
        Some((token.clone(), kept.new_id(old)?.into()))
    })
    .collect()
}

fn cut_pieces(model: &mut Value, kept: &KeptTokens) {
    let pieces = pieces(model);
    let smaller = kept
        .ids()
        .iter()
        .filter_map(|&id| pieces.get(id as usize).cloned());
    let smaller: Vec<Value> = smaller.collect();
    model["vocab"] = Value::Array(smaller);
    kept.renumber(model.get_mut("unk_id").filter(|id| !id.is_null()));
}

fn words(model: &Value) -> HashMap<&str, u32> {
    let all = model["vocab"].as_object().into_iter().flatten();
    all.filter_map(|(token, id)| Some((token.as_str(), u32::try_from(id.as_u64()?).ok()?)))
        .collect()
}

fn pieces(model: &Value) -> &[Value] {
    model["vocab"].as_array().map_or(&[], Vec::as_slice)
}

fn word<'a>(model: &'a Value, key: &str) -> Option<&'a str> {
    model.get(key).and_then(Value::as_str)
}

fn is_character(token: &str) -> bool {
    token.chars().count() == 1
}

/// `<0x0A>`: one byte of a character that has no token.
fn is_byte(token: &str) -> bool {
    let digits = token
        .strip_prefix("<0x")
        .and_then(|rest| rest.strip_suffix('>'));
    digits.is_some_and(|digits| digits.len() == 2 && u8::from_str_radix(digits, 16).is_ok())
}

/// Whether every byte is a character of its own before merges begin.
fn is_byte_level(tokenizer: &Value) -> bool {
    ["pre_tokenizer", "decoder"].iter().any(|key| {
        let text = tokenizer.get(*key).map(Value::to_string);
        text.is_some_and(|text| text.contains("\"ByteLevel\""))
    })
}

fn unknown(kind: &str) -> StructureError {
    StructureError::Vocabulary(format!(
        "tokenizer.json holds a model of type \"{kind}\", and only BPE, WordPiece, WordLevel and Unigram are known"
    ))
}
