//! Why a session's job failed: what failed, why, what to do next.

use crate::allocate::AllocateError;
use crate::calibrate::CalibrateError;
use crate::checkpoint::CheckpointError;
use crate::compress::CompressError;
use crate::corpus::CorpusError;
use crate::evaluate::EvaluateError;
use crate::formats::StoreError;
use crate::formats::cache::CacheError;
use crate::formats::layout::LayoutError;
use crate::generate::GenerateError;
use crate::model::ModelError;
use crate::monitor::Stopped;
use crate::recipe::RecipeError;
use crate::recover::RecoverError;
use crate::tensor::SourceError;
use crate::train::TrainError;
use crate::transform::structure::StructureError;
use std::path::PathBuf;

/// Why a session's job failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum SessionError {
    #[error(transparent)]
    Stopped(#[from] Stopped),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("this network cannot be run: {reason}; {path}")]
    NoNetwork { reason: String, path: PathBuf },
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Store(StoreError),
    #[error(transparent)]
    Calibrate(CalibrateError),
    #[error(transparent)]
    Compress(CompressError),
    #[error(transparent)]
    Recover(RecoverError),
    #[error(transparent)]
    Evaluate(EvaluateError),
    #[error(transparent)]
    Allocate(#[from] AllocateError),
    #[error(transparent)]
    Generate(GenerateError),
    #[error(transparent)]
    Structure(StructureError),
    #[error(transparent)]
    Train(TrainError),
    #[error("{problem}; {path}")]
    Input { problem: String, path: PathBuf },
    #[error("the thread pool could not be started: {0}; choose fewer --threads")]
    Threads(String),
}

impl SessionError {
    /// Whether the job ended because it was asked to.
    pub fn is_stopped(&self) -> bool {
        matches!(self, Self::Stopped(_))
    }
}

impl From<CalibrateError> for SessionError {
    fn from(error: CalibrateError) -> Self {
        match error {
            CalibrateError::Stopped(stopped) => Self::Stopped(stopped),
            error => Self::Calibrate(error),
        }
    }
}

impl From<CompressError> for SessionError {
    fn from(error: CompressError) -> Self {
        match error {
            CompressError::Stopped(stopped) => Self::Stopped(stopped),
            error => Self::Compress(error),
        }
    }
}

impl From<RecoverError> for SessionError {
    fn from(error: RecoverError) -> Self {
        match error {
            RecoverError::Stopped(stopped) => Self::Stopped(stopped),
            error => Self::Recover(error),
        }
    }
}

impl From<EvaluateError> for SessionError {
    fn from(error: EvaluateError) -> Self {
        match error {
            EvaluateError::Stopped(stopped) => Self::Stopped(stopped),
            error => Self::Evaluate(error),
        }
    }
}

impl From<GenerateError> for SessionError {
    fn from(error: GenerateError) -> Self {
        match error {
            GenerateError::Stopped(stopped) => Self::Stopped(stopped),
            error => Self::Generate(error),
        }
    }
}

impl From<StoreError> for SessionError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Stopped(stopped) => Self::Stopped(stopped),
            error => Self::Store(error),
        }
    }
}

impl From<StructureError> for SessionError {
    fn from(error: StructureError) -> Self {
        match error {
            StructureError::Stopped(stopped) => Self::Stopped(stopped),
            StructureError::Model(error) => Self::Model(error),
            error => Self::Structure(error),
        }
    }
}
