//! What a rule matches: a glob on whole layer names, or `/regex/` anywhere in them.
//!
//! `*` crosses dots: `*.down_proj` hits that layer of every block. Case counts. A glob without wildcards names one layer
//! and is kept as that name, so that a thousand such rules cost no more than a look-up each.

use globset::{GlobBuilder, GlobMatcher};
use regex::Regex;

/// A pattern, ready to match.
#[derive(Debug)]
pub enum Pattern {
    /// Hits this name alone.
    Name(String),
    /// Matches whole names.
    Glob(GlobMatcher),
    /// Matches anywhere in a name, unless anchored with `^` and `$`.
    Regex(Regex),
}

impl Pattern {
    /// Reads a pattern; the error is the end of a sentence.
    pub fn new(text: &str) -> Result<Self, String> {
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
        if let Some(name) = only_name(text) {
            return Ok(Self::Name(name));
        }
        Ok(Self::Glob(glob(text)?))
    }

    /// Whether a layer's name is hit.
    pub fn hits(&self, name: &str) -> bool {
        match self {
            Self::Name(only) => only == name,
            Self::Glob(glob) => glob.is_match(name),
            Self::Regex(regex) => regex.is_match(name),
        }
    }
}

/// The pattern that hits `name` and nothing else: wildcards in it lose their meaning.
pub fn literal(name: &str) -> String {
    if name.is_empty() {
        // An empty pattern is an error.
        return "/^$/".to_owned();
    }
    let mut pattern = String::with_capacity(name.len());
    for (place, letter) in name.char_indices() {
        // A slash in front would make a regular expression of it.
        if matches!(letter, '*' | '?' | '[' | '{' | '}' | '\\') || (letter == '/' && place == 0) {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

/// The one name that a glob hits; `None` where it has wildcards.
fn only_name(glob: &str) -> Option<String> {
    let mut name = String::with_capacity(glob.len());
    let mut letters = glob.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => name.push(letters.next()?),
            '*' | '?' | '[' | '{' | '}' => return None,
            other => name.push(other),
        }
    }
    Some(name)
}

fn glob(text: &str) -> Result<GlobMatcher, String> {
    let glob = GlobBuilder::new(text)
        .literal_separator(false)
        .backslash_escape(true)
        .build()
        .map_err(|error| format!("is no glob: {}", error.kind()))?;
    Ok(glob.compile_matcher())
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
    use proptest::prelude::*;

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
            ("lm_head", "lm_heads", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("a],!", "a],!", true),
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
            ("a}", "unopened alternate"),
            ("a\\", "dangling"),
        ];
        for (pattern, expected) in cases {
            let error = Pattern::new(pattern).unwrap_err();
            assert!(error.contains(expected), "{pattern}: {error}");
        }
    }

    proptest! {
        #[test]
        fn a_literal_pattern_hits_its_name_alone(
            name in "[ab.*?{}\\[\\]!,/\\\\-]{0,6}|.{0,6}",
            other in "[ab.*?{}\\[\\]!,/\\\\-]{0,6}",
        ) {
            let pattern = Pattern::new(&literal(&name)).unwrap();
            prop_assert!(pattern.hits(&name), "{name:?} as {:?}", literal(&name));
            prop_assert_eq!(pattern.hits(&other), name == other, "{:?} on {:?}", name, other);
            prop_assert!(name.is_empty() || matches!(pattern, Pattern::Name(_)));
        }

        #[test]
        fn ordinary_names_are_their_own_pattern(name in "[a-z0-9_.]{1,12}") {
            prop_assert_eq!(literal(&name), name);
        }

        #[test]
        fn a_glob_without_wildcards_is_matched_as_the_glob_would(
            text in "[ab.,!\\]\\\\*-]{1,5}",
            name in "[ab.,!\\]\\\\*-]{0,5}",
        ) {
            if let (Some(only), Ok(glob)) = (only_name(&text), glob(&text)) {
                prop_assert_eq!(only == name, glob.is_match(&name), "{} on {}", text, name);
                prop_assert!(glob.is_match(&only), "{} on {}", text, only);
            }
        }
    }
}
