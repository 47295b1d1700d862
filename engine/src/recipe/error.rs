//! What can be wrong with a recipe, in words, with the line where it stands.

/// Why a recipe could not be read. One variant for each way of being wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum RecipeError {
    #[error("line {line} of the recipe is no TOML ({problem}); correct it")]
    Syntax { line: usize, problem: String },
    #[error("line {line} of the recipe: {section} has no key {key}; {advice}")]
    UnknownKey {
        line: usize,
        section: &'static str,
        key: String,
        advice: String,
    },
    #[error("line {line} of the recipe: {key} must be {expected}, not {found}; correct it")]
    WrongType {
        line: usize,
        key: String,
        expected: &'static str,
        found: &'static str,
    },
    #[error("line {line} of the recipe: {key} must be {allowed}, not {found}; correct it")]
    OutOfRange {
        line: usize,
        key: String,
        allowed: String,
        found: String,
    },
    #[error("line {line} of the recipe: {key} = {found:?} is not known; take one of {allowed}")]
    UnknownWord {
        line: usize,
        key: String,
        found: String,
        allowed: String,
    },
    #[error("line {line} of the recipe: the pattern {pattern:?} {problem}; correct it")]
    Pattern {
        line: usize,
        pattern: String,
        problem: String,
    },
    #[error(
        "line {line} of the recipe: this [[layer]] has no match; name the layers that it is for"
    )]
    NoMatch { line: usize },
    #[error(
        "the recipe names no version; begin it with: version = {}",
        super::RECIPE_VERSION
    )]
    NoVersion,
    #[error(
        "line {line} of the recipe: version {found} is newer than {}, the newest that this program reads; update the program or write an older recipe",
        super::RECIPE_VERSION
    )]
    NewerVersion { line: usize, found: u64 },
}
