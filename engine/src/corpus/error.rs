//! What can be wrong with a text, its token ids or a tokenizer: what failed, why, what to do next, the path last.

use std::path::PathBuf;

/// Why a corpus cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum CorpusError {
    /// The operating system refused.
    #[error("the corpus could not be read: {source}; {}", path.display())]
    Io {
        source: std::io::Error,
        path: PathBuf,
    },
    /// The ending is none that we read.
    #[error("a corpus is a .txt, a .jsonl with a \"text\" in each line, or a .safetensors with `input_ids`; {}", path.display())]
    UnknownKind { path: PathBuf },
    /// Bytes that are no UTF-8.
    #[error("the text is not UTF-8 from byte {offset} on; convert it to UTF-8 first; {}", path.display())]
    NotUtf8 { offset: usize, path: PathBuf },
    /// A line of a `.jsonl` or of a pair file that cannot be used.
    #[error("line {line} {problem}; {}", path.display())]
    Line {
        line: usize,
        problem: String,
        path: PathBuf,
    },
    /// Token ids in a form that we do not read.
    #[error("the token ids cannot be read: {problem}; {}", path.display())]
    Ids { problem: String, path: PathBuf },
    /// No text, no tokens.
    #[error("the corpus is empty: give a text with at least one full sequence; {name}")]
    Empty { name: String },
    /// Fewer tokens than asked for.
    #[error(
        "the corpus has {tokens} tokens: {fitting} sequences of {length} tokens, and {count} were asked for; ask for fewer or shorter sequences, or give a longer text; {name}"
    )]
    TooShort {
        tokens: usize,
        count: usize,
        length: usize,
        fitting: usize,
        name: String,
    },
    /// A sequence of no tokens.
    #[error("a sequence needs at least one token; ask for a greater length")]
    NoLength,
    /// An id that the model has no embedding for.
    #[error(
        "token id {id} at position {position} does not fit a vocabulary of {vocabulary}: the tokenizer or the ids belong to another model; {name}"
    )]
    BeyondVocabulary {
        id: u32,
        position: usize,
        vocabulary: usize,
        name: String,
    },
    /// A text for a model without a tokenizer.
    #[error("the model has no tokenizer.json, so a text cannot be used; give a .safetensors with token ids as `input_ids`; {}", path.display())]
    NoTokenizer { path: PathBuf },
    /// A tokenizer that cannot be read or does not work.
    #[error("the tokenizer cannot be used: {problem}; {name}")]
    Tokenizer { problem: String, name: String },
}
