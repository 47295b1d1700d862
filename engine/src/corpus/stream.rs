//! Text of tokens as they come: a character whose bytes spread over tokens appears when its last byte is there.
//!
//! Each step decodes a few tokens before the new ones too, since the text of a token may depend on its left neighbour
//! (a space that stands only between words).

use super::error::CorpusError;
use super::tokenizer::Tokenizer;

/// What decoders put where bytes are no character (yet).
const NO_CHARACTER: char = '\u{FFFD}';

/// Tokens of the context that are decoded again with the first new one.
const CONTEXT_TOKENS: usize = 4;

/// Decodes tokens one by one; the pieces joined are the whole new text.
#[derive(Debug)]
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    ids: Vec<u32>,
    /// Ids before this one have been given out; they are decoded again as context.
    given: usize,
}

impl<'a> TextStream<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer, context: &[u32]) -> Self {
        let tail = &context[context.len().saturating_sub(CONTEXT_TOKENS)..];
        Self {
            tokenizer,
            ids: tail.to_vec(),
            given: tail.len(),
        }
    }

    /// The text that became complete with `id`; often, but not always, that of `id` alone.
    pub fn push(&mut self, id: u32) -> Result<String, CorpusError> {
        self.ids.push(id);
        let piece = self.pending()?;
        if piece.is_empty() || piece.ends_with(NO_CHARACTER) {
            return Ok(String::new());
        }
        self.ids.drain(..self.given);
        self.given = self.ids.len();
        Ok(piece)
    }

    /// What is left at the end: bytes that never became a character show as U+FFFD.
    pub fn finish(self) -> Result<String, CorpusError> {
        self.pending()
    }

    /// Text of the ids that have not been given out.
    fn pending(&self) -> Result<String, CorpusError> {
        let before = self.tokenizer.decode(&self.ids[..self.given])?;
        let whole = self.tokenizer.decode(&self.ids)?;
        Ok(whole.get(before.len()..).unwrap_or_default().to_owned())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Bytes as `<0x..>` tokens and a few words, decoded as Llama's tokenizer does.
    fn bytes_and_words() -> Tokenizer {
        let bytes = (0..256).map(|byte| format!("\"<0x{byte:02X}>\": {byte}"));
        let words = ["▁a", "▁b", "c"].iter().enumerate();
        let words = words.map(|(index, word)| format!("\"{word}\": {}", 256 + index));
        let vocabulary: Vec<String> = bytes.chain(words).collect();
        let json = format!(
            r#"{{"version": "1.0", "added_tokens": [], "truncation": null, "padding": null, "normalizer": null,
            "pre_tokenizer": null, "post_processor": null,
            "decoder": {{"type": "Sequence", "decoders": [
                {{"type": "Replace", "pattern": {{"String": "▁"}}, "content": " "}}, {{"type": "ByteFallback"}},
                {{"type": "Fuse"}}, {{"type": "Strip", "content": " ", "start": 1, "stop": 0}}]}},
            "model": {{"type": "WordLevel", "unk_token": "c", "vocab": {{{}}}}}}}"#,
            vocabulary.join(", ")
        );
        Tokenizer::from_json("bytes", json.as_bytes()).unwrap()
    }

    fn pieces(context: &[u32], ids: &[u32]) -> Vec<String> {
        let tokenizer = bytes_and_words();
        let mut stream = tokenizer.stream(context);
        let mut pieces: Vec<String> = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
        pieces.push(stream.finish().unwrap());
        pieces
    }

    #[test]
    fn spaces_between_words_stay() {
        assert_eq!(pieces(&[256], &[257, 258, 256]), [" b", "c", " a", ""]);
        assert_eq!(pieces(&[], &[257, 256]), ["b", " a", ""]);
    }

    #[test]
    fn a_character_waits_for_its_last_byte() {
        // é is C3 A9; 汉 is E6 B1 89.
        assert_eq!(
            pieces(&[256], &[0xC3, 0xA9, 258, 0xE6, 0xB1, 0x89]),
            ["", "é", "c", "", "", "汉", ""]
        );
    }

    #[test]
    fn broken_bytes_are_shown_at_the_end() {
        let pieces = pieces(&[256], &[258, 0xE6, 0xB1]);
        assert_eq!(pieces[..3], ["c", "", ""]);
        assert!(pieces[3].starts_with(NO_CHARACTER), "{pieces:?}");
    }
}
