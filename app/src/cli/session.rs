//! Stands in for the engine's sessions until they land.
#![allow(clippy::unused_self, clippy::unnecessary_wraps)]

use pare_engine::formats::Format;
use pare_engine::recipe::Recipe;
use pare_engine::report::{Evaluation, ExportReport, Observer};
pub(super) use pare_engine::session::*;
use std::path::Path;

/// Why a session failed.
#[derive(Debug, thiserror::Error)]
#[allow(dead_code)]
pub(super) enum SessionError {
    #[error("stopped")]
    Stopped,
    #[error("This build of pare opens no models yet.")]
    Missing,
}

impl SessionError {
    pub(super) fn is_stopped(&self) -> bool {
        matches!(self, Self::Stopped)
    }
}

#[derive(Debug)]
pub(super) struct Session;

pub(super) fn parse_recipe(_text: &str) -> Result<Recipe, SessionError> {
    Err(SessionError::Missing)
}

impl Session {
    pub(super) fn open(_path: &Path, _options: SessionOptions) -> Result<Self, SessionError> {
        Err(SessionError::Missing)
    }
    pub(super) fn inspect(&self) -> Inspection {
        unreachable!("no session is ever made")
    }
    pub(super) fn logits(
        &self,
        _ids: &Path,
        _out: &Path,
        _observer: &dyn Observer,
    ) -> Result<LogitsReport, SessionError> {
        Err(SessionError::Missing)
    }
    pub(super) fn calibrate(
        &self,
        _request: &CalibrationRequest,
        _observer: &dyn Observer,
    ) -> Result<CalibrationReport, SessionError> {
        Err(SessionError::Missing)
    }
    pub(super) fn compress(
        &self,
        _request: &CompressRequest,
        _observer: &dyn Observer,
    ) -> Result<CompressReport, SessionError> {
        Err(SessionError::Missing)
    }
    pub(super) fn dry_run(&self, _request: &CompressRequest) -> Result<DryRun, SessionError> {
        Err(SessionError::Missing)
    }
    pub(super) fn evaluate(
        &self,
        _request: &EvaluateRequest,
        _observer: &dyn Observer,
    ) -> Result<Evaluation, SessionError> {
        Err(SessionError::Missing)
    }
    pub(super) fn generate(
        &self,
        _request: &GenerateRequest,
        _on_text: &dyn Fn(&str),
        _observer: &dyn Observer,
    ) -> Result<GenerateReport, SessionError> {
        Err(SessionError::Missing)
    }
}

pub(super) fn export(
    _run: &Path,
    _format: Format,
    _out: &Path,
    _options: &SessionOptions,
    _observer: &dyn Observer,
) -> Result<ExportReport, SessionError> {
    Err(SessionError::Missing)
}
