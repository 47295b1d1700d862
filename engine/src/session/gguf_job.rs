//! `export --format gguf`: any open model, or a finished run, as one file of llama.cpp, its inputs' importance known or not.
//!
//! Importance is the mean square of each input, from the calibration cache or from a file of llama.cpp's `imatrix`.

use super::original_inputs::OriginalInputs;
use super::{Session, SessionError};
use crate::checkpoint::gguf::imatrix;
use crate::checkpoint::gguf::names::Architecture;
use crate::formats::gguf::{GgufOptions, InputMoments, export_gguf, write_imatrix};
use crate::formats::store::StoreError;
use crate::ggml::GgmlType;
use crate::moments::Moments;
use crate::recipe::CalibrationSettings;
use crate::report::{ExportReport, Notice, Observer};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

/// What to export.
#[derive(Debug, Clone, Default)]
pub struct GgufRequest {
    /// The file to make, or a folder for it.
    pub out: PathBuf,
    /// The type of every layer; without it, of each the one that holds what was solved.
    pub kind: Option<GgmlType>,
    /// A text that tells how important inputs are.
    pub calibration: Option<CalibrationSettings>,
    /// A file that tells it.
    pub imatrix: Option<PathBuf>,
    /// Most bytes of a file: more become a series of files.
    pub split_bytes: Option<u64>,
}

/// Mean squares of inputs, by tensor.
type Importance = HashMap<String, Vec<f32>>;

impl Session {
    /// Writes the open model as GGUF.
    pub fn export_gguf(
        &self,
        request: &GgufRequest,
        observer: &dyn Observer,
    ) -> Result<ExportReport, SessionError> {
        let importance = match &request.imatrix {
            Some(path) => self.importance_of_file(path, observer)?,
            None => HashMap::new(),
        };
        let inputs = match (&request.imatrix, &request.calibration) {
            (None, Some(settings)) => Some(self.inputs_of_text(settings, observer)?),
            _ => None,
        };
        let options = GgufOptions {
            kind: request.kind,
            importance,
            split_bytes: request.split_bytes,
        };
        let written = self.pool.install(|| {
            let inputs = inputs.as_ref().map(|inputs| inputs as &dyn InputMoments);
            export_gguf(&self.path, &request.out, &options, inputs, observer)
        });
        Ok(written?)
    }

    /// Writes the mean squares of inputs as llama.cpp's `imatrix` does (a name that ends with `.dat`: its older form), and tells
    /// how many layers have some.
    pub fn export_imatrix(
        &self,
        settings: &CalibrationSettings,
        out: &std::path::Path,
        observer: &dyn Observer,
    ) -> Result<usize, SessionError> {
        let architecture = self.architecture()?;
        let (importance, drawn) = self.importance_of_text(settings, observer)?;
        let mut entries = BTreeMap::new();
        for (tensor, squares) in importance {
            if let Some((name, _)) = architecture.to_gguf(&tensor) {
                entries.insert(name, squares);
            }
        }
        let dataset = settings.corpus.clone().unwrap_or_default();
        write_imatrix(out, &entries, &dataset, drawn)?;
        Ok(entries.len())
    }

    fn architecture(&self) -> Result<Architecture, SessionError> {
        let family = self.model()?.config().family;
        Architecture::of_family(family)
            .ok_or_else(|| self.input_problem("llama.cpp has no architecture for this family"))
    }

    fn importance_of_file(
        &self,
        path: &std::path::Path,
        observer: &dyn Observer,
    ) -> Result<Importance, SessionError> {
        let architecture = self.architecture()?;
        let entries = imatrix::read(path)?;
        let mut unknown = 0;
        let mut importance = HashMap::new();
        let usual = architecture.prefixes()[0];
        for (name, squares) in entries {
            let Some((plain, _)) = architecture.to_plain(&name) else {
                unknown += 1;
                continue;
            };
            let bare = plain.strip_prefix(usual).unwrap_or(&plain).to_owned();
            let layers = self.layers.iter();
            let mut layers = layers.filter(|layer| layer.tensor == plain || layer.tensor == bare);
            let Some(layer) = layers.next() else {
                unknown += 1;
                continue;
            };
            if squares.len() != layer.columns {
                let (found, columns) = (squares.len(), layer.columns);
                return Err(self.input_problem(&format!(
                    "the imatrix has {found} numbers for {}, which has {columns} inputs: it was made of another model",
                    layer.name
                )));
            }
            importance.insert(layer.tensor.clone(), squares);
        }
        if importance.is_empty() {
            return Err(
                self.input_problem("no entry of the imatrix belongs to a layer of the model")
            );
        }
        if unknown > 0 {
            observer.notice(Notice::Warning(&format!(
                "{unknown} entries of the imatrix belong to no layer of the model and are not used"
            )));
        }
        Ok(importance)
    }

    fn importance_of_text(
        &self,
        settings: &CalibrationSettings,
        observer: &dyn Observer,
    ) -> Result<(Importance, (usize, usize)), SessionError> {
        let inputs = self.inputs_of_text(settings, observer)?;
        let mut importance = HashMap::new();
        for (tensor, &layer) in &inputs.layers {
            if let Some(moments) = inputs.inputs.of_layer(layer)? {
                importance.insert(tensor.clone(), moments.mean_square);
            }
        }
        Ok((importance, inputs.drawn))
    }

    fn inputs_of_text(
        &self,
        settings: &CalibrationSettings,
        observer: &dyn Observer,
    ) -> Result<TextInputs, SessionError> {
        let sequences = self.draw_sequences(settings)?;
        let inputs = self
            .pool
            .install(|| self.original_moments(&sequences, observer))?;
        let layers = self.layers.iter().enumerate();
        Ok(TextInputs {
            drawn: (
                sequences.len(),
                sequences.iter().map(Vec::len).max().unwrap_or(0),
            ),
            layers: layers
                .map(|(index, layer)| (layer.tensor.clone(), index))
                .collect(),
            inputs,
        })
    }
}

/// What layers see on a text, by their tensors.
struct TextInputs {
    inputs: OriginalInputs,
    /// Sequences, and the tokens of the longest.
    drawn: (usize, usize),
    layers: HashMap<String, usize>,
}

impl InputMoments for TextInputs {
    fn of_tensor(&self, tensor: &str) -> Result<Option<Moments>, StoreError> {
        let Some(&layer) = self.layers.get(tensor) else {
            return Ok(None);
        };
        let moments = self.inputs.of_layer(layer);
        moments.map_err(|error| StoreError::Unsolved {
            tensor: tensor.to_owned(),
            problem: error.to_string(),
        })
    }
}
