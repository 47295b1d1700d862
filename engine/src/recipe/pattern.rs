//! What a rule matches: a glob on whole layer names, or `/regex/` anywhere in them.
//!
//! `*` crosses dots: `*.down_proj` hits that layer of every block. Case counts.

use globset::{GlobBuilder, GlobMatcher};
use regex::Regex;

/// A pattern, ready to match.
#[derive(Debug)]
pub(super) enum Pattern {
    /// Matches whole names.
    Glob(GlobMatcher),
    /// Matches anywhere in a name, unless anchored with `^` and `$`.
    Regex(Regex),
}

impl Pattern {
    /// Reads a pattern; the error is the end of a sentence.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("is empty".to_owned());
        }
        if let Some(rest) = text.strip_prefix('/') {
            let expression = rest
                .strip_suffix('/')
                .filter(|expression| !expression.is_empty())
                .ok_or("begins with / and so must be a regular expression that ends with /")?;
            let regex = Regex::new(expression)
                .map_err(|error| format!("is no regular expression: {}", last_line(&error)))?;
            return Ok(Self::Regex(regex));
        }
        let glob = GlobBuilder::new(text)
            .literal_separator(false)
            .backslash_escape(true)
            .build()
            .map_err(|error| format!("is no glob: {}", error.kind()))?;
        Ok(Self::Glob(glob.compile_matcher()))
    }

    /// Whether a layer's name is hit.
    pub(super) fn hits(&self, name: &str) -> bool {
        match self {
            Self::Glob(glob) => glob.is_match(name),
            Self::Regex(regex) => regex.is_match(name),
        }
    }
}

/// Regex errors draw the expression over several lines; the last one says what is wrong.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let line = text.lines().last().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn patterns_hit_what_they_say() {
        let down = "model.layers.10.mlp.down_proj";
        let cases = [
            ("*.down_proj", down, true),
            ("*down*", down, true),
            ("*", down, true),
            ("down_proj", down, false),
            ("model.layers.1?.*", down, true),
            ("model.layers.{1,2}.*", down, false),
            ("model.layers.[0-9].*", down, false),
            ("*.DOWN_PROJ", down, false),
            ("/layers\\.1\\d\\./", down, true),
            ("/^layers/", down, false),
            ("/(gate|down)_proj$/", down, true),
            ("lm_head", "lm_head", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(
                Pattern::new(pattern).unwrap().hits(name),
                expected,
                "{pattern} on {name}"
            );
        }
    }

    #[test]
    fn wrong_patterns_say_what_is_wrong() {
        let cases = [
            ("", "is empty"),
            ("/", "ends with /"),
            ("//", "ends with /"),
            ("/abc", "ends with /"),
            ("/(/", "unclosed group"),
            ("a[", "unclosed character class"),
            ("{a", "unclosed alternate"),
        ];
        for (pattern, expected) in cases {
            let error = Pattern::new(pattern).unwrap_err();
            assert!(error.contains(expected), "{pattern}: {error}");
        }
    }
}
