//! Recipe text (TOML) to types and back.

/// Why a recipe could not be read.
#[derive(Debug, thiserror::Error)]
#[error("recipe: {0}")]
pub struct RecipeError(pub String);
