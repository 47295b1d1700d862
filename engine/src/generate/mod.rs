//! Text from a decoder, token by token: the prompt in one pass, then each new token over a cache of keys and values.
//!
//! Knows no checkpoint and no command line; each new piece of text is handed out as soon as it is complete.

mod draw;
mod network;

use crate::corpus::{CorpusError, Tokenizer};
use crate::model::{CacheKind, Model, ModelError};
use crate::monitor::{Monitor, Stopped};
use draw::Draw;
pub use draw::Sampling;
use network::CachedNetwork;
use serde_json::Value;
use std::time::{Duration, Instant};

/// How tokens are chosen and when to stop.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateConfig {
    /// Most new tokens.
    pub tokens: usize,
    /// How one of the possible tokens is chosen.
    pub sampling: Sampling,
    /// Seed of the draw.
    pub seed: u64,
    /// How keys and values are kept.
    pub kv: CacheKind,
    /// Tokens that end a text, as `end_tokens` reads them.
    pub end_tokens: Vec<u32>,
    /// Weights stay in memory where they and the cache fit into this many bytes; otherwise each token reads them again.
    pub memory_bytes: u64,
}

/// Why a text ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As many tokens as asked for.
    Length,
    /// The model ended it.
    EndToken,
    /// The model's context is full.
    ContextFull,
}

/// What was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// New token ids, an end token not among them.
    pub ids: Vec<u32>,
    /// The new text: all pieces joined.
    pub text: String,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Why it ended.
    pub ending: Ending,
    /// Reading the prompt.
    pub prefill: Speed,
    /// Writing: every token but the first, whose logits the prompt gave.
    pub decode: Speed,
    /// Bytes of the keys and values of all tokens that were read.
    pub kv_bytes: u64,
}

/// Tokens and the time that they took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Speed {
    /// Tokens that went through the network.
    pub tokens: usize,
    /// Wall time.
    pub time: Duration,
}

impl Speed {
    /// `None` where nothing was done.
    pub fn tokens_per_second(&self) -> Option<f64> {
        let seconds = self.time.as_secs_f64();
        (self.tokens > 0 && seconds > 0.0).then(|| self.tokens as f64 / seconds)
    }
}

/// Why no text could be made.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The monitor asked for it.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The network cannot run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The tokenizer failed.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// An encoder writes no text.
    #[error("the model is an encoder, which writes no text; use a decoder")]
    Encoder,
    /// A prompt of no tokens.
    #[error("the prompt has no tokens, so there is nothing to go on from; give a few words")]
    EmptyPrompt,
    /// A prompt that leaves no room.
    #[error("the prompt has {tokens} tokens and the model's context only {context}; shorten it")]
    PromptTooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// Positions of the model.
        context: usize,
    },
    /// A temperature that makes no distribution.
    #[error("the temperature is {temperature}, but must be 0 (greedy) or a positive number")]
    Temperature {
        /// As asked for.
        temperature: f64,
    },
    /// Nothing that could be drawn.
    #[error(
        "a draw among the likeliest tokens needs at least one of them and a probability above 0 and at most 1; {problem}"
    )]
    Sampling {
        /// What was asked for.
        problem: String,
    },
    /// NaN or infinite outputs.
    #[error(
        "the outputs after {tokens} tokens are not finite: a weight of the model is NaN or far too large"
    )]
    NotFinite {
        /// Tokens read so far.
        tokens: usize,
    },
}

/// The ids of `eos_token_id` (one or a list) of `generation_config.json`, else of `config.json`.
pub fn end_tokens(config: &Value, generation_config: Option<&Value>) -> Vec<u32> {
    let found = [generation_config, Some(config)]
        .into_iter()
        .flatten()
        .find_map(|config| config.get("eos_token_id").filter(|value| !value.is_null()));
    let ids = match found {
        Some(Value::Array(ids)) => ids.iter().collect(),
        Some(id) => vec![id],
        None => Vec::new(),
    };
    let ids = ids.into_iter().filter_map(Value::as_u64);
    ids.filter_map(|id| u32::try_from(id).ok()).collect()
}

/// Goes on from `prompt`; `on_text` gets each piece of new text as it becomes complete.
pub fn generate(
    model: &Model,
    tokenizer: &Tokenizer,
    prompt: &str,
    config: &GenerateConfig,
    monitor: &dyn Monitor,
    on_text: &mut dyn FnMut(&str),
) -> Result<Generation, GenerateError> {
    let prompt = tokenizer.encode(prompt)?;
    let mut stream = tokenizer.stream(&prompt);
    let mut text = String::new();
    let mut show = |piece: String| {
        if !piece.is_empty() {
            on_text(&piece);
            text.push_str(&piece);
        }
    };
    let mut generation = generate_ids(model, &prompt, config, monitor, &mut |id| {
        show(stream.push(id)?);
        Ok(())
    })?;
    show(stream.finish()?);
    generation.text = text;
    Ok(generation)
}

/// The same for token ids; `text` stays empty.
pub fn generate_ids(
    model: &Model,
    prompt: &[u32],
    config: &GenerateConfig,
    monitor: &dyn Monitor,
    on_token: &mut dyn FnMut(u32) -> Result<(), GenerateError>,
) -> Result<Generation, GenerateError> {
    check(model, prompt, config)?;
    let mut draw = Draw::new(config.sampling, config.seed);
    let context = model.config().context_length;
    let tokens = prompt.len().saturating_add(config.tokens).min(context);
    let mut network = CachedNetwork::load(model, config.kv, tokens, config.memory_bytes)?;
    let room = context - prompt.len();
    let start = Instant::now();
    let mut logits = network.append(prompt, monitor)?;
    let prefill = Speed {
        tokens: prompt.len(),
        time: start.elapsed(),
    };
    let start = Instant::now();
    let mut ids: Vec<u32> = Vec::new();
    let ending = loop {
        if ids.len() == config.tokens {
            break Ending::Length;
        }
        let tokens = prompt.len() + ids.len();
        let id = draw
            .next(&logits)
            .ok_or(GenerateError::NotFinite { tokens })?;
        if config.end_tokens.contains(&id) {
            break Ending::EndToken;
        }
        ids.push(id);
        on_token(id)?;
        monitor.step(ids.len() as u64, config.tokens as u64);
        monitor.check()?;
        if ids.len() == config.tokens {
            break Ending::Length;
        }
        if ids.len() > room {
            break Ending::ContextFull;
        }
        logits = network.append(&[id], monitor)?;
    };
    let decode = Speed {
        tokens: network.tokens() - prompt.len(),
        time: start.elapsed(),
    };
    Ok(Generation {
        ids,
        text: String::new(),
        prompt_tokens: prompt.len(),
        ending,
        prefill,
        decode,
        kv_bytes: network.kv_bytes(),
    })
}

fn check(model: &Model, prompt: &[u32], config: &GenerateConfig) -> Result<(), GenerateError> {
    let context = model.config().context_length;
    let Sampling {
        temperature,
        top_k,
        top_p,
    } = config.sampling;
    if model.is_encoder() {
        Err(GenerateError::Encoder)
    } else if prompt.is_empty() {
        Err(GenerateError::EmptyPrompt)
    } else if prompt.len() > context {
        let tokens = prompt.len();
        Err(GenerateError::PromptTooLong { tokens, context })
    } else if !temperature.is_finite() || temperature < 0.0 {
        Err(GenerateError::Temperature { temperature })
    } else if top_k == Some(0) || !(top_p > 0.0 && top_p <= 1.0) {
        let tokens = top_k.map_or("all".to_owned(), |count| count.to_string());
        let problem = format!("{tokens} tokens and {top_p} were asked for");
        Err(GenerateError::Sampling { problem })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
