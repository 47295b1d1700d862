//! Containers that Pare writes.

/// The words for containers, as the command line spells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Holds everything that solvers yield.
    Pare,
    /// Same names and dtypes as the source, weights rounded to the solved values.
    Dense,
    /// The layout of AutoGPTQ, GPTQModel, transformers and vLLM.
    Gptq,
}

impl Format {
    /// All formats, in the order in which errors list them.
    pub const ALL: [Self; 3] = [Self::Pare, Self::Dense, Self::Gptq];

    /// The format's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pare => "pare",
            Self::Dense => "dense",
            Self::Gptq => "gptq",
        }
    }
}
