//! What a packed layer says about itself, and from it alone: which byte tensors belong to it, their dtypes, shapes and sizes.
//!
//! Everything here may come from a hostile file, so that every product is checked before anything is allocated.
//! Knows no file: names of parts are relative to the tensor that they replace.

use super::activations::ActivationKind;
use super::error::UnpackError;
use super::kind::{CodeKind, PartSpec};
use super::stored::Stored;
use crate::solved::{Method, Solved, Warning};
use crate::tensor::Dtype;
use serde::{Deserialize, Serialize};

/// Key of the manifest in a safetensors file's `__metadata__`.
pub const METADATA_KEY: &str = "pare";

/// The newest version that this program knows.
pub const MANIFEST_VERSION: u32 = 2;

/// What is written where all layers are plain codes of a grid or NF4, for programs that know nothing else.
const PLAIN_VERSION: u32 = 1;

/// What is said of a layer whose sizes do not exist.
pub(super) const TOO_LARGE: &str = "its size is too large for any machine";

/// All packed layers of one file: the JSON text under `METADATA_KEY`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Layout version, at most `MANIFEST_VERSION`.
    pub version: u32,
    /// The layers, in the order of their tensors.
    pub layers: Vec<LayerManifest>,
}

impl Manifest {
    /// The manifest of these layers, in the oldest version that can say it.
    pub fn new(layers: Vec<LayerManifest>) -> Self {
        let is_plain = |layer: &LayerManifest| {
            let code = layer.stored.code;
            let is_old = matches!(code, CodeKind::Affine { .. } | CodeKind::Nf4 { .. });
            is_old && layer.stored.is_plain()
        };
        Self {
            version: match layers.iter().all(is_plain) {
                true => PLAIN_VERSION,
                false => MANIFEST_VERSION,
            },
            layers,
        }
    }
}

/// One packed layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerManifest {
    /// Name as `inspect` prints it.
    pub name: String,
    /// The dense tensor that the parts replace.
    pub tensor: OriginalTensor,
    /// Rows (outputs).
    pub rows: usize,
    /// Columns (inputs).
    pub columns: usize,
    /// How its weights are stored.
    #[serde(flatten)]
    pub stored: Stored,
    /// What it does to its inputs when it runs; absent = nothing.
    #[serde(default, skip_serializing_if = "ActivationKind::is_none")]
    pub activations: ActivationKind,
    /// How the codes came about; only files of solved layers hold it, since models are sized before they are solved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// What is known of a solved layer beside its values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Which method gave the codes.
    pub method: Method,
    /// GPTQ's loss, as a decimal text that reads back to the same number.
    pub loss: Option<String>,
    /// What the solver had to do that nobody asked for.
    pub warnings: Vec<Warning>,
}

/// The dense tensor that a packed layer stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginalTensor {
    /// Name in the dense checkpoint.
    pub name: String,
    /// Shape as stored there.
    pub shape: Vec<usize>,
    /// Dtype as stored there.
    pub dtype: Dtype,
    /// Stored `[in, out]` (Conv1D); codes always lie `[out, in]`.
    pub transposed: bool,
}

impl LayerManifest {
    /// The manifest of a layer that is stored so, before it is solved.
    pub fn planned(
        name: &str,
        tensor: OriginalTensor,
        rows: usize,
        columns: usize,
        stored: Stored,
        activations: ActivationKind,
    ) -> Self {
        Self {
            name: name.to_owned(),
            tensor,
            rows,
            columns,
            stored,
            activations,
            origin: None,
        }
    }

    /// The manifest of a solved layer.
    pub fn of_solved(
        name: &str,
        tensor: OriginalTensor,
        solved: &Solved,
        activations: ActivationKind,
    ) -> Self {
        Self {
            name: name.to_owned(),
            tensor,
            rows: solved.codes.rows,
            columns: solved.codes.columns,
            stored: Stored::of_solved(solved),
            activations,
            origin: Some(Origin {
                method: solved.method,
                loss: solved.loss.map(|loss| format!("{loss:?}")),
                warnings: solved.warnings.clone(),
            }),
        }
    }

    /// Which method gave the codes, or the simplest that could have.
    pub fn method(&self) -> Method {
        match &self.origin {
            Some(origin) => origin.method,
            None => self.stored.simplest_method(),
        }
    }

    /// Checks all that can be known without the parts, and lists them.
    pub fn parts(&self) -> Result<Vec<PartSpec>, UnpackError> {
        let mut parts = self.weight_parts()?;
        if let Some(problem) = self.activations.problem() {
            return Err(self.wrong(problem));
        }
        parts.extend(self.activations.part());
        Ok(parts)
    }

    /// The parts that hold weights.
    pub(super) fn weight_parts(&self) -> Result<Vec<PartSpec>, UnpackError> {
        if self.rows == 0 || self.columns == 0 {
            return Err(self.wrong("it has no weights".into()));
        }
        let stored = if self.tensor.transposed {
            [self.columns, self.rows]
        } else {
            [self.rows, self.columns]
        };
        if self.tensor.shape != stored {
            return Err(self.wrong(format!(
                "tensor {} has the shape {:?}, but its codes make {stored:?}",
                self.tensor.name, self.tensor.shape
            )));
        }
        if !self.tensor.dtype.is_float() {
            return Err(self.wrong(format!("{} weights cannot be packed", self.tensor.dtype)));
        }
        if let Some(problem) = self.stored.problem(self.rows, self.columns) {
            return Err(self.wrong(problem));
        }
        if self.stored.code == CodeKind::Nothing && self.outgrows_its_bytes() {
            return Err(self.wrong(TOO_LARGE.into()));
        }
        self.stored
            .parts(self.rows, self.columns)
            .ok_or_else(|| self.wrong(TOO_LARGE.into()))
    }

    /// Whether factors alone stand for more weights than any machine holds: a few bytes of a file must not become
    /// terabytes when they are multiplied out.
    fn outgrows_its_bytes(&self) -> bool {
        /// Weights of the largest layer: 64 GiB as f32, many times the largest of any network so far.
        const MOST_WEIGHTS: usize = 1 << 34;
        self.rows.saturating_mul(self.columns) > MOST_WEIGHTS
    }

    /// The full name of a part.
    pub fn part_name(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.tensor.name)
    }

    /// Stored bytes of all parts.
    pub fn stored_bytes(&self) -> u64 {
        let weights = self.stored.stored_bytes(self.rows, self.columns);
        weights.map_or(u64::MAX, |bytes| bytes + self.activations.stored_bytes())
    }

    pub(super) fn wrong(&self, problem: String) -> UnpackError {
        UnpackError::Manifest {
            layer: self.name.clone(),
            problem,
        }
    }
}
