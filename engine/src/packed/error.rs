//! Why a layer cannot become bytes, or bytes a layer.
//!
//! Knows no file: whoever reads or writes one adds where it lies.

/// Why a solved layer cannot be stored without changing its values: a solver's mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("layer {layer} cannot be stored as it was solved: {problem}; please report this")]
pub struct PackError {
    /// The layer.
    pub layer: String,
    /// What does not fit, as a clause.
    pub problem: String,
}

/// Why a manifest or its parts cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// The manifest contradicts itself or this program's limits.
    #[error("the manifest of packed layer {layer} is wrong: {problem}")]
    Manifest {
        /// The layer.
        layer: String,
        /// What is wrong, as the end of a sentence.
        problem: String,
    },
    /// A part is missing.
    #[error("packed layer {layer} lacks its part {part}")]
    MissingPart {
        /// The layer.
        layer: String,
        /// The part's suffix.
        part: String,
    },
    /// A part is not what the manifest says.
    #[error("part {part} of packed layer {layer} {problem}")]
    Part {
        /// The layer.
        layer: String,
        /// The part's suffix.
        part: String,
        /// What is wrong, as the end of a sentence.
        problem: String,
    },
}
