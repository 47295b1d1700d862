//! Merges of a byte-pair encoding, and the tokens that they pass through.
//!
//! Which merges happen inside a token does not depend on what stands around it: none crosses its ends, or it would not
//! be a token of the text. So merging the token's own characters tells all that its way needs.

use super::super::StructureError;
use serde_json::Value;
use std::collections::HashMap;

/// Pairs and their ranks.
pub(super) struct Merges<'a>(HashMap<(&'a str, &'a str), usize>);

impl<'a> Merges<'a> {
    pub(super) fn read(model: &'a Value) -> Result<Self, StructureError> {
        let list = model.get("merges").and_then(Value::as_array);
        let mut ranks = HashMap::new();
        for (rank, merge) in list.into_iter().flatten().enumerate() {
            let pair = pair(merge).ok_or_else(|| {
                StructureError::Vocabulary(format!("tokenizer.json holds the merge {merge}"))
            })?;
            ranks.entry(pair).or_insert(rank);
        }
        Ok(Self(ranks))
    }

    /// Whether both parts of a merge and what it makes are among the tokens that stay.
    pub(super) fn is_among(merge: &Value, stays: impl Fn(&str) -> bool) -> bool {
        pair(merge).is_some_and(|(left, right)| {
            stays(left) && stays(right) && stays(&format!("{left}{right}"))
        })
    }

    /// Every token, characters included, that stands at some step of merging `token` together.
    pub(super) fn on_the_way(&self, token: &str) -> Vec<String> {
        let mut parts: Vec<String> = token.chars().map(String::from).collect();
        let mut met = parts.clone();
        while let Some(place) = self.first_merge(&parts) {
            let right = parts.remove(place + 1);
            parts[place].push_str(&right);
            met.push(parts[place].clone());
        }
        met
    }

    /// The place of the pair with the lowest rank; of equal ones the leftmost.
    fn first_merge(&self, parts: &[String]) -> Option<usize> {
        let ranked = parts.windows(2).enumerate().filter_map(|(place, pair)| {
            let rank = self.0.get(&(pair[0].as_str(), pair[1].as_str()))?;
            Some((*rank, place))
        });
        ranked.min().map(|(_, place)| place)
    }
}

/// `"a b"` of older files, `["a", "b"]` of newer ones.
fn pair(merge: &Value) -> Option<(&str, &str)> {
    match merge {
        Value::String(text) => text.split_once(' '),
        Value::Array(parts) => match parts.as_slice() {
            [left, right] => Some((left.as_str()?, right.as_str()?)),
            _ => None,
        },
        _ => None,
    }
}
