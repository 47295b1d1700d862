//! A smaller vocabulary: which tokens stay, and the tokenizer and configurations that speak of them by new ids.
//!
//! Any text is still encoded: single bytes or characters stay, and so does every token of the text that decides, with
//! all that merges need to form it. That text is encoded to the same tokens as before; others may take more tokens.
//! Ids keep their order. Works on JSON as it lies in `tokenizer.json`; knows no files and encodes nothing itself.

mod bpe;
mod configs;
mod model;

pub use configs::{is_stale, remap_ids, remap_tokenizer_config, token_ids};

use super::StructureError;
use serde_json::Value;
use std::collections::BTreeSet;

/// Old ids of the tokens that stay, rising: a new id is a place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptTokens(Vec<u32>);

impl KeptTokens {
    /// The tokens that stay of `tokenizer` (a `tokenizer.json`) where `used` ones must; those from `vocabulary` on have
    /// no row.
    pub fn choose(
        tokenizer: &Value,
        used: &BTreeSet<u32>,
        vocabulary: usize,
    ) -> Result<Self, StructureError> {
        let mut kept = used.clone();
        kept.extend(added_ids(tokenizer));
        kept.extend(model::needed(tokenizer, used)?);
        let beyond = kept.iter().find(|&&id| id as usize >= vocabulary);
        match beyond {
            None => Ok(Self(kept.into_iter().collect())),
            Some(id) => Err(StructureError::Vocabulary(format!(
                "token {id} of tokenizer.json has no row in a table of {vocabulary}"
            ))),
        }
    }

    /// Old ids, rising.
    pub fn ids(&self) -> &[u32] {
        &self.0
    }

    /// The new id of an old one.
    pub fn new_id(&self, old: u32) -> Option<u32> {
        let place = self.0.binary_search(&old).ok()?;
        u32::try_from(place).ok()
    }

    /// The old id of a new one.
    pub fn old_id(&self, new: u32) -> Option<u32> {
        self.0.get(new as usize).copied()
    }

    /// `tokenizer` with these tokens only.
    pub fn tokenizer(&self, tokenizer: &Value) -> Result<Value, StructureError> {
        let mut smaller = tokenizer.clone();
        model::cut(&mut smaller, self)?;
        for token in added(&mut smaller) {
            self.renumber(token.get_mut("id"));
        }
        if let Some(padding) = smaller.get_mut("padding") {
            self.renumber(padding.get_mut("pad_id"));
        }
        if let Some(processor) = smaller.get_mut("post_processor") {
            self.renumber_processor(processor);
        }
        Ok(smaller)
    }

    /// The special tokens that a post-processor adds.
    fn renumber_processor(&self, processor: &mut Value) {
        if let Some(Value::Array(inner)) = processor.get_mut("processors") {
            inner
                .iter_mut()
                .for_each(|inner| self.renumber_processor(inner));
        }
        if let Some(Value::Object(special)) = processor.get_mut("special_tokens") {
            for token in special.values_mut() {
                if let Some(Value::Array(ids)) = token.get_mut("ids") {
                    ids.iter_mut().for_each(|id| self.renumber(Some(id)));
                }
            }
        }
        for key in ["sep", "cls"] {
            self.renumber(processor.get_mut(key).and_then(|pair| pair.get_mut(1)));
        }
    }

    /// Puts the new id in place of an old one.
    fn renumber(&self, id: Option<&mut Value>) {
        let Some(id) = id else { return };
        let old = id.as_u64().and_then(|old| u32::try_from(old).ok());
        if let Some(new) = old.and_then(|old| self.new_id(old)) {
            *id = new.into();
        }
    }
}

fn added(tokenizer: &mut Value) -> impl Iterator<Item = &mut Value> {
    let list = tokenizer
        .get_mut("added_tokens")
        .and_then(Value::as_array_mut);
    list.into_iter().flatten()
}

fn added_ids(tokenizer: &Value) -> Vec<u32> {
    let list = tokenizer.get("added_tokens").and_then(Value::as_array);
    let ids = list
        .into_iter()
        .flatten()
        .filter_map(|token| token.get("id")?.as_u64());
    ids.filter_map(|id| u32::try_from(id).ok()).collect()
}

#[cfg(test)]
mod tests;
