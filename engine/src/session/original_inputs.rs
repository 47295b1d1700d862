//! Original-prefix moments of an open model: gathered once, kept under a content hash, read a layer at a time.
//!
//! The key covers every byte of the model's tensors, the configuration, the token ids drawn, and the layout of what is
//! kept; a model that changes in one weight has another key.

use super::{Session, SessionError};
use crate::calibrate::{CalibrateError, gather_original};
use crate::compress::{CompressError, OriginalSource};
use crate::formats::cache::{CacheError, CachedMoments, MomentsCache, moments_bytes};
use crate::model::Model;
use crate::moments::{Moments, StageKey};
use crate::monitor::Monitor;
use crate::recipe::CalibrationSettings;
use crate::report::{Notice, Observer};
use crate::tensor::WeightSource;
use crate::units::hex;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Part of every key: raised when what is kept, or how it is summed, changes.
const CACHE_VERSION: &str = "moments-1";

/// Tensor bytes hashed at once.
const HASH_PIECE_BYTES: usize = 8 << 20;

/// What the layers of the uncompressed network see on some text: an entry of the cache, read when asked.
///
/// Clones share the entry. If the cache drops it to make room, reading is an error.
#[derive(Debug, Clone)]
pub struct OriginalInputs {
    entry: Arc<CachedMoments>,
    places: Arc<Places>,
    reused: bool,
}

/// Where layers and stages are found.
#[derive(Debug)]
struct Places {
    /// Width of each stage's input.
    widths: BTreeMap<StageKey, usize>,
    /// The stage of each layer of the model, where it has inputs.
    of_layer: Vec<Option<StageKey>>,
}

impl OriginalInputs {
    /// Moments of one layer's inputs; `None` for what multiplies no activations inside a block: embeddings, head, norms.
    pub fn of_layer(&self, layer: usize) -> Result<Option<Moments>, SessionError> {
        match self.places.of_layer.get(layer).copied().flatten() {
            Some(stage) => Ok(Some(self.load(stage)?)),
            None => Ok(None),
        }
    }

    /// The stage whose input a layer shares with others: layers of one stage have the same moments.
    pub fn stage_of(&self, layer: usize) -> Option<StageKey> {
        self.places.of_layer.get(layer).copied().flatten()
    }

    /// Where they lie.
    pub fn folder(&self) -> &Path {
        self.entry.folder()
    }

    /// Bytes that they take on disk.
    pub fn size_bytes(&self) -> u64 {
        self.entry.size_bytes()
    }

    /// Whether they were there already.
    pub fn reused(&self) -> bool {
        self.reused
    }

    /// A note kept beside them.
    pub(super) fn note(&self, name: &str) -> Option<Vec<u8>> {
        self.entry.note(name)
    }

    /// Keeps a note beside them.
    pub(super) fn keep_note(&self, name: &str, bytes: &[u8]) -> Result<(), SessionError> {
        Ok(self.entry.keep_note(name, bytes)?)
    }

    fn load(&self, stage: StageKey) -> Result<Moments, CacheError> {
        let width = self.places.widths.get(&stage).copied();
        self.entry.load(stage, width.unwrap_or_default())
    }
}

impl OriginalSource for OriginalInputs {
    fn moments(&self, key: StageKey) -> Result<Moments, CompressError> {
        self.load(key)
            .map_err(|error| CompressError::Cache(error.to_string()))
    }
}

impl Places {
    /// From headers alone.
    fn of(model: &Model) -> Self {
        let mut places = Self {
            widths: BTreeMap::new(),
            of_layer: vec![None; model.layers().len()],
        };
        for (block, stages) in model.stages().into_iter().enumerate() {
            for (stage, layers) in stages.into_iter().enumerate() {
                let key = StageKey { block, stage };
                places.widths.insert(key, layers.width);
                for layer in layers.layers {
                    places.of_layer[layer] = Some(key);
                }
            }
        }
        places
    }

    /// Bytes of tensor data that all moments take.
    fn size_bytes(&self) -> u64 {
        self.widths
            .values()
            .map(|&width| moments_bytes(width))
            .sum()
    }
}

impl Session {
    /// Original-prefix moments for the text that `settings` name, gathered now if the cache does not hold them.
    pub fn original_inputs(
        &self,
        settings: &CalibrationSettings,
        observer: &dyn Observer,
    ) -> Result<OriginalInputs, SessionError> {
        let sequences = self.draw_sequences(settings)?;
        self.install(|| self.original_moments(&sequences, observer))
    }

    /// The same where the cache holds them, else `None`: also where no text is named or the network cannot be run.
    ///
    /// The first look of a session reads and hashes all weights.
    pub fn find_original_inputs(
        &self,
        settings: &CalibrationSettings,
        monitor: &dyn Monitor,
    ) -> Result<Option<OriginalInputs>, SessionError> {
        let Ok(model) = self.model() else {
            return Ok(None);
        };
        if settings.corpus.is_none() {
            return Ok(None);
        }
        let key = self.cache_key(&self.draw_sequences(settings)?, monitor)?;
        let entry = self.options.moments_cache().find(&key);
        Ok(entry.map(|entry| OriginalInputs {
            entry: Arc::new(entry),
            places: Arc::new(Places::of(model)),
            reused: true,
        }))
    }

    /// The cache's entry for `sequences`, gathered now if it is not there.
    pub(super) fn original_moments(
        &self,
        sequences: &[Vec<u32>],
        observer: &dyn Observer,
    ) -> Result<OriginalInputs, SessionError> {
        let model = self.model()?;
        let places = Arc::new(Places::of(model));
        let cache = self.options.moments_cache();
        let key = self.cache_key(sequences, observer)?;
        let found = cache.find(&key);
        let reused = found.is_some();
        let entry = match found {
            Some(entry) => entry,
            None => self.gather(
                model,
                sequences,
                &cache,
                (&key, places.size_bytes()),
                observer,
            )?,
        };
        Ok(OriginalInputs {
            entry: Arc::new(entry),
            places,
            reused,
        })
    }

    /// Makes the entry of a key that will take the announced bytes.
    fn gather(
        &self,
        model: &Model,
        sequences: &[Vec<u32>],
        cache: &MomentsCache,
        (key, announced_bytes): (&str, u64),
        observer: &dyn Observer,
    ) -> Result<CachedMoments, SessionError> {
        let note = format!(
            "moments take {} in the cache",
            crate::units::Bytes(announced_bytes)
        );
        observer.notice(Notice::Warning(&note));
        let mut writer = cache.begin(key, announced_bytes)?;
        observer.notice(Notice::Stage {
            name: "calibrating",
            steps: model.config().blocks as u64,
        });
        gather_original(
            model,
            sequences,
            &self.spill_policy(cache.folder()),
            observer,
            |stage, moments| {
                writer
                    .add(stage, &moments)
                    .map_err(|error| CalibrateError::Spill(std::io::Error::other(error)))
            },
        )?;
        Ok(writer.finish()?)
    }

    fn cache_key(
        &self,
        sequences: &[Vec<u32>],
        monitor: &dyn Monitor,
    ) -> Result<String, SessionError> {
        let mut hasher = Sha256::new();
        hasher.update(CACHE_VERSION);
        hasher.update(self.model_digest(monitor)?);
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

    /// SHA-256 over names, dtypes, shapes and all bytes of all tensors; hashed once.
    pub(super) fn model_digest(&self, monitor: &dyn Monitor) -> Result<&[u8], SessionError> {
        if let Some(digest) = self.model_digest.get() {
            return Ok(digest);
        }
        let digest = hash_tensors(self.checkpoint.as_ref(), monitor)?;
        // Whoever was first has hashed the same bytes.
        Ok(self.model_digest.get_or_init(|| digest))
    }
}

/// SHA-256 over names, dtypes, shapes and all bytes of all tensors.
fn hash_tensors(source: &dyn WeightSource, monitor: &dyn Monitor) -> Result<Vec<u8>, SessionError> {
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
