//! What a person likes: looks, threads, memory, places. Kept between sessions.
//!
//! Knows no screen; a face reads theme and scale from here.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Light, dark, or as the system says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum ThemeChoice {
    /// As the system says.
    #[default]
    System,
    /// Dark.
    Dark,
    /// Light.
    Light,
}

/// What a person likes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Preferences {
    /// Light or dark.
    pub theme: ThemeChoice,
    /// Scale of the whole window, 1.0 to 2.0 over what the system says.
    pub scale: f32,
    /// Threads of jobs; `None` = all cores.
    pub threads: Option<usize>,
    /// Working memory of jobs; `None` = half of what is free.
    pub memory_bytes: Option<u64>,
    /// Where statistics are cached; `None` = the user's cache folder.
    pub cache_folder: Option<PathBuf>,
    /// Most bytes that the cache may hold.
    pub cache_capacity_bytes: u64,
    /// The device that speed and memory are told for, by its name in the table.
    pub device: String,
    /// What of the device computes, by its name; one that the device lacks means its first.
    pub engine: String,
    /// Threads that compute there; `None` = as many as are fastest.
    pub engine_threads: Option<usize>,
    /// Tokens of context that memory and speed are told for.
    pub context_tokens: usize,
    /// Tokens of the prompt that is read first.
    pub prompt_tokens: usize,
    /// Words that are not shown again (dismissed hints).
    pub dismissed: Vec<String>,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            theme: ThemeChoice::System,
            scale: 1.0,
            threads: None,
            memory_bytes: None,
            cache_folder: None,
            cache_capacity_bytes: super::places::CAPACITY_BYTES,
            device: String::new(),
            engine: String::new(),
            engine_threads: None,
            context_tokens: 2048,
            prompt_tokens: 512,
            dismissed: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn preferences_of_older_versions_still_load() {
        let older = r#"{"theme":"dark","device":"Raspberry Pi 5, 8 GB","context_tokens":99}"#;
        let read: Preferences = serde_json::from_str(older).unwrap();
        let expected = Preferences {
            theme: ThemeChoice::Dark,
            device: "Raspberry Pi 5, 8 GB".to_owned(),
            context_tokens: 99,
            ..Preferences::default()
        };
        assert_eq!(read, expected);
    }
}
