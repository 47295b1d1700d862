//! What llama.cpp calls kinds of tokens, and the space of SentencePiece: both directions share them. Knows no vocabulary.

/// Part of plain text.
pub const NORMAL: i32 = 1;
/// Stands for what no token spells.
pub const UNKNOWN: i32 = 2;
/// Special: never part of a text that is printed.
pub const CONTROL: i32 = 3;
/// Found in a text before anything else.
pub const USER_DEFINED: i32 = 4;
/// Stands for nothing.
pub const UNUSED: i32 = 5;
/// One byte.
pub const BYTE: i32 = 6;

/// The space of SentencePiece.
pub const SPACE: char = '\u{2581}';
