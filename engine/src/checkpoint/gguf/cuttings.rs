//! How texts are cut before byte-level BPE: llama.cpp's names, and the expressions behind them.

/// Expressions that cut a text before byte-level BPE, by llama.cpp's name for them; `None` of names not known here.
pub(super) fn expression(name: &str) -> Option<Option<&'static str>> {
    Some(match name {
        "gpt-2" | "gpt2" | "phi-2" | "mpt" | "olmo" | "jais" | "gigachat" | "exaone4" => None,
        "llama-bpe" | "llama3" | "llama-v3" | "smaug-bpe" => Some(LLAMA3),
        "qwen2" | "deepseek-r1-qwen" | "megrez" => Some(QWEN2),
        _ => return None,
    })
}

/// What Llama 3 cuts a text by.
pub const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// What Qwen 2 cuts a text by.
pub const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
