//! `calibrate`: which sequences calibrate, and how many bytes their statistics take.

use super::requests::{CalibrationReport, CalibrationRequest};
use super::{Session, SessionError};
use crate::calibrate::SpillPolicy;
use crate::recipe::CalibrationSettings;
use crate::report::Observer;
use std::path::{Path, PathBuf};
use std::time::Instant;

impl Session {
    /// Gathers original-prefix moments into the cache, or finds them there.
    pub fn calibrate(
        &self,
        request: &CalibrationRequest,
        observer: &dyn Observer,
    ) -> Result<CalibrationReport, SessionError> {
        let started = Instant::now();
        let sequences = self.draw_sequences(&request.settings)?;
        let inputs = self
            .pool
            .install(|| self.original_moments(&sequences, observer))?;
        Ok(CalibrationReport {
            sequences: sequences.len(),
            tokens: sequences.iter().map(|ids| ids.len() as u64).sum(),
            cache: inputs.folder().display().to_string(),
            bytes: inputs.size_bytes(),
            seconds: started.elapsed().as_secs_f64(),
            reused: inputs.reused(),
        })
    }

    /// The calibration sequences that settings ask for.
    pub(super) fn draw_sequences(
        &self,
        settings: &CalibrationSettings,
    ) -> Result<Vec<Vec<u32>>, SessionError> {
        let Some(path) = &settings.corpus else {
            return Err(self.input_problem("calibration needs a text; name one with --corpus"));
        };
        let model = self.model()?;
        if settings.length > model.config().context_length {
            let context = model.config().context_length;
            return Err(self.input_problem(&format!(
                "sequences of {} tokens do not fit the model's context of {context}; use a smaller --length",
                settings.length
            )));
        }
        let corpus = self.open_corpus(Path::new(path))?;
        let drawn = corpus.sample_sequences(settings.seed, settings.sequences, settings.length)?;
        Ok(drawn.into_iter().map(<[u32]>::to_vec).collect())
    }

    /// Activations may take a quarter of the working memory before they go to a file in `folder`.
    pub(super) fn spill_policy(&self, folder: &Path) -> SpillPolicy {
        SpillPolicy {
            memory_bytes: self.memory_bytes() / 4,
            folder: PathBuf::from(folder),
        }
    }
}
