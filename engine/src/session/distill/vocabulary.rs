//! Whether teachers and student speak of the same tokens: their tokenizers decide, not their sizes.
//!
//! Embeddings of one family often have other numbers of rows under the same tokenizer (padding to a multiple); what all
//! of them know are the first rows.

use super::super::{Session, SessionError};
use std::collections::BTreeMap;

impl Session {
    /// Tokens that this teacher, the others and the student share; an error where a token of one is another of the other.
    pub(super) fn common_vocabulary(
        &self,
        others: &[Self],
        student: &Self,
    ) -> Result<usize, SessionError> {
        let (own, size) = (self.tokens()?, self.model()?.config().vocabulary);
        let mut common = size;
        let others = others.iter().map(|other| ("this teacher", other));
        for (who, other) in others.chain([("the student", student)]) {
            let theirs = other.model()?.config().vocabulary;
            let problem = match (&own, other.tokens()?) {
                (Some(own), Some(tokens)) => conflict(own, &tokens).map(|(id, one, found)| {
                    format!(
                        "token {id} is {found:?} to {who} and {one:?} to the first teacher; they must share their tokenizer"
                    )
                }),
                _ if theirs != size => Some(format!(
                    "{who} has a vocabulary of {theirs} and the first teacher one of {size}, and no tokenizer.json of both says that they share their tokens; they must share their tokenizer"
                )),
                _ => None,
            };
            if let Some(problem) = problem {
                return Err(other.input_problem(&problem));
            }
            common = common.min(theirs);
        }
        Ok(common)
    }

    /// The tokenizer's tokens by id; `None` without a tokenizer.
    fn tokens(&self) -> Result<Option<BTreeMap<u32, String>>, SessionError> {
        Ok(self.tokenizer()?.map(|tokenizer| tokenizer.tokens()))
    }
}

/// The first id that stands for different tokens: id, token of `one`, token of `other`.
fn conflict<'a>(
    one: &'a BTreeMap<u32, String>,
    other: &'a BTreeMap<u32, String>,
) -> Option<(u32, &'a str, &'a str)> {
    one.iter().find_map(|(&id, token)| {
        let found = other.get(&id)?;
        (found != token).then_some((id, token.as_str(), found.as_str()))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ids_of_both_must_stand_for_one_token() {
        let tokens = |words: &[&str]| -> BTreeMap<u32, String> {
            (0..)
                .zip(words.iter().map(|word| (*word).to_owned()))
                .collect()
        };
        let own = tokens(&["a", "b", "c"]);
        assert_eq!(conflict(&own, &own), None);
        assert_eq!(conflict(&own, &tokens(&["a", "b"])), None, "fewer");
        assert_eq!(conflict(&own, &tokens(&["a", "b", "c", "d"])), None, "more");
        let other = tokens(&["a", "c", "b"]);
        assert_eq!(conflict(&own, &other), Some((1, "b", "c")), "another order");
    }
}
