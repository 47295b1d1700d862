//! `calibrate`: original-prefix moments of every stage, gathered once and kept under a content hash.
//!
//! The key covers every byte of the model's tensors, the configuration, the token ids drawn, and the layout of what is
//! kept; a model that changes in one weight has another key.

use super::requests::{CalibrationReport, CalibrationRequest};
use super::{Session, SessionError};
use crate::calibrate::{CalibrateError, SpillPolicy, gather_original};
use crate::compress::{CompressError, OriginalSource};
use crate::formats::cache::{CachedMoments, MomentsCache, moments_bytes};
use crate::model::Model;
use crate::moments::{Moments, StageKey};
use crate::monitor::Monitor;
use crate::recipe::CalibrationSettings;
use crate::report::{Notice, Observer};
use crate::tensor::WeightSource;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Part of every key: raised when what is kept, or how it is summed, changes.
const CACHE_VERSION: &str = "moments-1";

/// Tensor bytes hashed at once.
const HASH_PIECE_BYTES: usize = 8 << 20;

/// An entry of the cache as the loop over layers reads it.
#[derive(Debug)]
pub(super) struct Cached {
    entry: CachedMoments,
    /// Width of each stage's input.
    widths: Vec<(StageKey, usize)>,
    pub(super) reused: bool,
}

impl OriginalSource for Cached {
    fn moments(&self, key: StageKey) -> Result<Moments, CompressError> {
        let width = self
            .widths
            .iter()
            .find(|(stage, _)| *stage == key)
            .map(|&(_, width)| width);
        let width = width.ok_or_else(|| CompressError::Cache(format!("{key:?} is unknown")))?;
        self.entry
            .load(key, width)
            .map_err(|error| CompressError::Cache(error.to_string()))
    }
}

impl Session {
    /// Gathers original-prefix moments into the cache, or finds them there.
    pub fn calibrate(
        &self,
        request: &CalibrationRequest,
        observer: &dyn Observer,
    ) -> Result<CalibrationReport, SessionError> {
        let started = Instant::now();
        let sequences = self.draw_sequences(&request.settings)?;
        let cached = self
            .pool
            .install(|| self.original_moments(&sequences, observer))?;
        Ok(CalibrationReport {
            sequences: sequences.len(),
            tokens: sequences.iter().map(|ids| ids.len() as u64).sum(),
            cache: cached.entry.folder().display().to_string(),
            bytes: cached.entry.size_bytes(),
            seconds: started.elapsed().as_secs_f64(),
            reused: cached.reused,
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

    /// The cache's entry for `sequences`, gathered now if it is not there.
    pub(super) fn original_moments(
        &self,
        sequences: &[Vec<u32>],
        observer: &dyn Observer,
    ) -> Result<Cached, SessionError> {
        let model = self.model()?;
        let widths = stage_widths(model)?;
        let folder = self.options.cache_folder.join("moments");
        let cache = MomentsCache::new(&folder, self.options.cache_capacity_bytes);
        let key = self.cache_key(sequences, observer)?;
        if let Some(entry) = cache.find(&key) {
            return Ok(Cached {
                entry,
                widths,
                reused: true,
            });
        }
        let announced: u64 = widths.iter().map(|&(_, width)| moments_bytes(width)).sum();
        let note = format!(
            "moments take {} in the cache",
            crate::units::Bytes(announced)
        );
        observer.notice(Notice::Warning(&note));
        let mut writer = cache.begin(&key, announced)?;
        let steps = model.config().blocks as u64;
        observer.notice(Notice::Stage {
            name: "calibrating",
            steps,
        });
        gather_original(
            model,
            sequences,
            &self.spill_policy(&folder),
            observer,
            |stage, moments| {
                writer
                    .add(stage, &moments)
                    .map_err(|error| CalibrateError::Spill(std::io::Error::other(error)))
            },
        )?;
        Ok(Cached {
            entry: writer.finish()?,
            widths,
            reused: false,
        })
    }

    /// Activations may take a quarter of the working memory before they go to a file in `folder`.
    pub(super) fn spill_policy(&self, folder: &Path) -> SpillPolicy {
        SpillPolicy {
            memory_bytes: self.memory_bytes() / 4,
            folder: PathBuf::from(folder),
        }
    }

    fn cache_key(
        &self,
        sequences: &[Vec<u32>],
        monitor: &dyn Monitor,
    ) -> Result<String, SessionError> {
        let mut hasher = Sha256::new();
        hasher.update(CACHE_VERSION);
        hasher.update(model_digest(self.checkpoint.as_ref(), monitor)?);
        hasher.update(
            self.checkpoint
                .config_json()
                .map(ToString::to_string)
                .unwrap_or_default(),
        );
        for ids in sequences {
            hasher.update((ids.len() as u64).to_le_bytes());
            for id in ids {
                hasher.update(id.to_le_bytes());
            }
        }
        Ok(hex(&hasher.finalize()))
    }
}

/// The input width of every stage. Blocks of one model are alike in their stages, so the first tells.
fn stage_widths(model: &Model) -> Result<Vec<(StageKey, usize)>, SessionError> {
    let first = model.load_block(0)?;
    let stages = || first.stages().iter().enumerate();
    let keys = (0..model.config().blocks).flat_map(|block| {
        stages().map(move |(stage, layers)| (StageKey { block, stage }, layers.width))
    });
    Ok(keys.collect())
}

/// SHA-256 over names, dtypes, shapes and all bytes of all tensors.
fn model_digest(source: &dyn WeightSource, monitor: &dyn Monitor) -> Result<Vec<u8>, SessionError> {
    let mut hasher = Sha256::new();
    let mut names = source.names();
    names.sort_unstable();
    let mut piece = Vec::new();
    for name in names {
        let Some(info) = source.info(&name) else {
            continue;
        };
        hasher.update(format!("{name} {} {:?}\n", info.dtype, info.shape));
        let size = info.elements() * info.dtype.size_bytes() as u64;
        let mut offset = 0;
        while offset < size {
            monitor.check()?;
            piece.resize((size - offset).min(HASH_PIECE_BYTES as u64) as usize, 0);
            source
                .read_bytes(&name, offset, &mut piece)
                .map_err(CompressError::from)?;
            hasher.update(&piece);
            offset += piece.len() as u64;
        }
    }
    Ok(hasher.finalize().to_vec())
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
