//! Trains the sample model's tokenizer: byte-level BPE, so that any text has tokens and comes back exactly.
//!
//! A blank line is the one special token: it ends each story, begins every text, and stops generation. Knows no model.

use serde_json::{Value, json};
use std::str::FromStr as _;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer, TokenizerBuilder, TokenizerImpl};

/// Between stories, as text; the id is 0.
pub const END_OF_STORY: &str = "\n\n";

/// Id of `END_OF_STORY`.
pub const END_OF_STORY_ID: u32 = 0;

/// The content of `tokenizer.json` for a tokenizer of `vocabulary` entries learned from `text`.
pub fn train(text: &str, vocabulary: usize) -> tokenizers::Result<Value> {
    let mut learner: TokenizerImpl<BPE, _, ByteLevel, ByteLevel, ByteLevel> =
        TokenizerBuilder::default()
            .with_model(BPE::default())
            .with_normalizer(None::<tokenizers::NormalizerWrapper>)
            .with_pre_tokenizer(Some(byte_level()))
            .with_post_processor(None)
            .with_decoder(Some(byte_level()))
            .build()?;
    let mut trainer = BpeTrainer::builder()
        .vocab_size(vocabulary)
        .show_progress(false)
        .special_tokens(vec![AddedToken::from(END_OF_STORY, true)])
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    learner.train(&mut trainer, text.split(END_OF_STORY))?;
    let mut content: Value = serde_json::from_str(&learner.to_string(false)?)?;
    content["post_processor"] = begin_with_end_of_story();
    Ok(content)
}

/// The tokenizer that `content` describes.
pub fn open(content: &Value) -> tokenizers::Result<Tokenizer> {
    Tokenizer::from_str(&content.to_string())
}

fn byte_level() -> ByteLevel {
    ByteLevel::default().add_prefix_space(false)
}

/// Puts the special token before every text, as `TemplateProcessing` spells it.
fn begin_with_end_of_story() -> Value {
    let special = json!({"SpecialToken": {"id": END_OF_STORY, "type_id": 0}});
    let sequence = |id: &str, type_id: u32| json!({"Sequence": {"id": id, "type_id": type_id}});
    json!({
        "type": "TemplateProcessing",
        "single": [special, sequence("A", 0)],
        "pair": [special, sequence("A", 0), sequence("B", 1)],
        "special_tokens": {
            END_OF_STORY: {"id": END_OF_STORY, "ids": [END_OF_STORY_ID], "tokens": [END_OF_STORY]}
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::grammar::Storyteller;

    #[test]
    fn text_comes_back_and_stories_end_with_one_token() {
        let text = Storyteller::new(0, 0).text(20_000);
        let content = train(&text, 400).unwrap();
        assert_eq!(content, train(&text, 400).unwrap());
        let tokenizer = open(&content).unwrap();
        assert_eq!(tokenizer.get_vocab_size(true), 400);
        let ids = tokenizer.encode("It is red.\n\nÄ 鳥", true).unwrap();
        let ends = ids.get_ids().iter().filter(|&&id| id == END_OF_STORY_ID);
        assert_eq!(ends.count(), 2, "{:?}", ids.get_ids());
        assert_eq!(ids.get_ids()[0], END_OF_STORY_ID);
        let back = tokenizer.decode(ids.get_ids(), false).unwrap();
        assert_eq!(back, "\n\nIt is red.\n\nÄ 鳥");
    }
}
