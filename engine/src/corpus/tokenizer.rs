//! The model's own tokenizer, as its `tokenizer.json` describes it.
//!
//! A file may ask for truncation and padding, which would falsify windows; both are switched off. Special tokens are
//! those that the file's own post-processor adds.

use super::error::CorpusError;
use super::stream::TextStream;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use tokenizers::{TruncationDirection, TruncationParams, TruncationStrategy};

/// Text to token ids and back.
#[derive(Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    name: String,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    pub fn open(path: &Path) -> Result<Self, CorpusError> {
        let name = path.display().to_string();
        match std::fs::read(path) {
            Ok(bytes) => Self::from_json(&name, &bytes),
            Err(error) => Err(unusable(&name, error)),
        }
    }

    /// Takes the text of a `tokenizer.json`. `name` is for messages.
    pub fn from_json(name: &str, json: &[u8]) -> Result<Self, CorpusError> {
        let mut inner =
            tokenizers::Tokenizer::from_bytes(json).map_err(|error| unusable(name, error))?;
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|error| unusable(name, error))?;
        Ok(Self {
            inner,
            name: name.to_owned(),
        })
    }

    /// The same tokenizer, which keeps at most `limit` tokens of a text, special tokens counted.
    pub fn truncated(&self, limit: usize) -> Result<Self, CorpusError> {
        use tokenizers::PostProcessor as _;
        let post_processor = self.inner.get_post_processor();
        let added = post_processor.map_or(0, |processor| processor.added_tokens(false));
        if limit <= added {
            let problem = format!(
                "a sentence of {limit} tokens leaves no room beside {added} special tokens; allow more"
            );
            return Err(unusable(&self.name, problem));
        }
        let mut shorter = self.clone();
        let parameters = TruncationParams {
            direction: TruncationDirection::Right,
            max_length: limit,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        };
        shorter
            .inner
            .with_truncation(Some(parameters))
            .map_err(|error| unusable(&self.name, error))?;
        Ok(shorter)
    }

    /// Token ids of one text, with special tokens.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, CorpusError> {
        let encoding = self.inner.encode_fast(text, true);
        let encoding = encoding.map_err(|error| unusable(&self.name, error))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Text of token ids, special tokens left out.
    pub fn decode(&self, ids: &[u32]) -> Result<String, CorpusError> {
        let text = self.inner.decode(ids, true);
        text.map_err(|error| unusable(&self.name, error))
    }

    /// Decodes ids one by one, after those of `context`.
    pub fn stream(&self, context: &[u32]) -> TextStream<'_> {
        TextStream::new(self, context)
    }

    /// All tokens by id, added ones too; of several texts for one id the first in order.
    pub fn tokens(&self) -> BTreeMap<u32, String> {
        let mut tokens: BTreeMap<u32, String> = BTreeMap::new();
        for (text, id) in self.inner.get_vocab(true) {
            match tokens.get(&id) {
                Some(known) if *known <= text => {}
                _ => {
                    tokens.insert(id, text);
                }
            }
        }
        tokens
    }

    /// The id of a token by its text, such as `</s>`.
    pub fn id_of(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Tokenizer({})", self.name)
    }
}

fn unusable(name: &str, problem: impl ToString) -> CorpusError {
    CorpusError::Tokenizer {
        problem: problem.to_string(),
        name: name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_no_tokenizer_is_an_error() {
        let error = Tokenizer::from_json("a/tokenizer.json", b"{}").unwrap_err();
        assert!(error.to_string().ends_with("a/tokenizer.json"), "{error}");
        let error = Tokenizer::open(Path::new("/nowhere/tokenizer.json")).unwrap_err();
        assert!(
            error.to_string().ends_with("/nowhere/tokenizer.json"),
            "{error}"
        );
    }

    /// Words to ids, with `<s>` before and `</s>` after.
    fn words() -> Tokenizer {
        let json = r#"{"version": "1.0", "added_tokens": [],
            "truncation": {"max_length": 3, "strategy": "LongestFirst", "stride": 0},
            "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null,
                "pad_id": 0, "pad_type_id": 0, "pad_token": "<unk>"},
            "normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "decoder": null,
            "post_processor": {"type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                    {"SpecialToken": {"id": "</s>", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
                "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]},
                    "</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]}}},
            "model": {"type": "WordLevel", "unk_token": "<unk>",
                "vocab": {"<unk>": 0, "<s>": 1, "</s>": 2, "a": 3, "b": 4, "c": 5}}}"#;
        Tokenizer::from_json("words", json.as_bytes()).unwrap()
    }

    #[test]
    fn truncation_and_padding_of_the_file_are_off() {
        assert_eq!(words().encode("a b c b").unwrap(), [1, 3, 4, 5, 4, 2]);
        let shorter = words().truncated(4).unwrap();
        assert_eq!(shorter.encode("a b c b").unwrap(), [1, 3, 4, 2]);
        assert_eq!(shorter.encode("c").unwrap(), [1, 5, 2]);
        let message = words().truncated(2).unwrap_err().to_string();
        assert!(message.contains("2 special tokens"), "{message}");
    }

    #[test]
    fn tokens_stand_by_their_ids() {
        let tokens: Vec<(u32, String)> = words().tokens().into_iter().collect();
        let expected = ["<unk>", "<s>", "</s>", "a", "b", "c"].map(str::to_owned);
        assert_eq!(tokens, (0..).zip(expected).collect::<Vec<_>>());
    }
}
