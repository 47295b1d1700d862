//! Rows of runs and back. Reports lie in a table of their own, histograms apart: they are written once and read only
//! for the newest runs.

use super::{Store, StoreProblem};
use crate::studio::runs::{Run, RunId, RunStatus};
use crate::studio::train::Training;
use pare_engine::report::Histograms;
use pare_engine::session::CompressReport;
use rusqlite::{Row, params};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Histograms of the newest runs are read until they take so much text; older runs do without.
const MAX_HISTOGRAM_BYTES: usize = 24 << 20;

impl Store {
    /// All runs, newest first.
    pub fn runs(&self) -> Result<Vec<Run>, StoreProblem> {
        let read = || -> rusqlite::Result<Vec<Run>> {
            let mut statement = self.connection.prepare(
                "SELECT id, name, model, recipe, recipe_hash, format, out, evaluation_text, created_unix_ms, status,
                        reason, evaluations, pinned, report, training
                 FROM runs LEFT JOIN reports ON reports.run = runs.id ORDER BY created_unix_ms DESC, id DESC",
            )?;
            let rows = statement.query_map([], run_of)?;
            rows.collect()
        };
        let mut runs = read().map_err(|source| self.problem(source))?;
        self.add_histograms(&mut runs)?;
        Ok(runs)
    }

    /// Keeps a run. What is done stays done, whatever an older window believes; a report is written once.
    pub fn keep_run(&mut self, run: &Run) -> Result<(), StoreProblem> {
        let write = |connection: &mut rusqlite::Connection| -> rusqlite::Result<()> {
            let transaction = connection.transaction()?;
            let evaluations = json(&run.evaluations)?;
            let (status, reason) = status_words(&run.status);
            let training = run.training.as_ref().map(json).transpose()?;
            transaction.execute(
                "INSERT INTO runs (id, name, model, recipe, recipe_hash, format, out, evaluation_text, created_unix_ms,
                                   status, reason, evaluations, pinned, training)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
                 ON CONFLICT (id) DO UPDATE SET name = excluded.name, out = excluded.out,
                    status = CASE WHEN status = 'done' THEN status ELSE excluded.status END,
                    reason = CASE WHEN status = 'done' THEN reason ELSE excluded.reason END,
                    evaluations = CASE WHEN length(evaluations) > length(excluded.evaluations)
                                  THEN evaluations ELSE excluded.evaluations END,
                    pinned = excluded.pinned",
                params![
                    run.id.0,
                    run.name,
                    bytes(&run.model),
                    run.recipe_toml,
                    run.recipe_hash,
                    run.format,
                    bytes(&run.out),
                    run.evaluation_text.as_deref().map(bytes),
                    run.created_unix_ms,
                    status,
                    reason,
                    evaluations,
                    run.pinned,
                    training,
                ],
            )?;
            let known: bool = transaction.query_row(
                "SELECT EXISTS (SELECT 1 FROM reports WHERE run = ?1)",
                [run.id.0],
                |row| row.get(0),
            )?;
            let parts = match (&run.report, run.trained()) {
                (Some(report), _) => Some(parts(report)?),
                (None, Some(report)) => Some((json(report.as_ref())?, "[]".to_owned())),
                (None, None) => None,
            };
            if let (Some((report, histograms)), false) = (parts, known) {
                transaction.execute(
                    "INSERT INTO reports (run, report, histograms) VALUES (?1, ?2, ?3)",
                    params![run.id.0, report, histograms],
                )?;
            }
            transaction.commit()
        };
        write(&mut self.connection).map_err(|source| super::problem(source, &self.path))
    }

    /// Forgets a run and its report.
    pub fn drop_run(&self, id: RunId) -> Result<(), StoreProblem> {
        self.write("DELETE FROM reports WHERE run = ?1", [id.0])?;
        self.write("DELETE FROM runs WHERE id = ?1", [id.0])
    }

    fn add_histograms(&self, runs: &mut [Run]) -> Result<(), StoreProblem> {
        let mut room = MAX_HISTOGRAM_BYTES;
        for run in runs {
            let Some(report) = run.report.as_mut().and_then(Arc::get_mut) else {
                continue;
            };
            let text: String = self
                .connection
                .query_row(
                    "SELECT histograms FROM reports WHERE run = ?1",
                    [run.id.0],
                    |row| row.get(0),
                )
                .map_err(|source| self.problem(source))?;
            let Some(left) = room.checked_sub(text.len()) else {
                break;
            };
            room = left;
            let histograms: Vec<Option<Histograms>> =
                serde_json::from_str(&text).unwrap_or_default();
            for (layer, histograms) in report.layers.iter_mut().zip(histograms) {
                layer.histograms = histograms;
            }
        }
        Ok(())
    }
}

/// The report without histograms, and the histograms.
fn parts(report: &CompressReport) -> rusqlite::Result<(String, String)> {
    let mut report = report.clone();
    let histograms: Vec<Option<Histograms>> = report
        .layers
        .iter_mut()
        .map(|layer| layer.histograms.take())
        .collect();
    Ok((json(&report)?, json(&histograms)?))
}

fn run_of(row: &Row<'_>) -> rusqlite::Result<Run> {
    let status: String = row.get(9)?;
    let evaluations: String = row.get(11)?;
    let report: Option<String> = row.get(13)?;
    let training: Option<String> = row.get(14)?;
    let training = training.and_then(|text| serde_json::from_str::<Training>(&text).ok());
    let (trained, report) = match training.is_some() {
        true => (report, None),
        false => (None, report),
    };
    Ok(Run {
        id: RunId(row.get(0)?),
        name: row.get(1)?,
        model: path(row.get(2)?),
        recipe_toml: row.get(3)?,
        recipe_hash: row.get(4)?,
        format: row.get(5)?,
        out: path(row.get(6)?),
        evaluation_text: row.get::<_, Option<Vec<u8>>>(7)?.map(path),
        created_unix_ms: row.get(8)?,
        status: status_of(&status, row.get(10)?),
        training: training.map(|training| Training {
            report: trained.and_then(|text| serde_json::from_str(&text).ok().map(Arc::new)),
            ..training
        }),
        report: report.and_then(|text| serde_json::from_str(&text).ok().map(Arc::new)),
        evaluations: serde_json::from_str(&evaluations).unwrap_or_default(),
        pinned: row.get(12)?,
    })
}

fn status_words(status: &RunStatus) -> (&'static str, Option<&str>) {
    match status {
        RunStatus::Failed(reason) => (status.word(), Some(reason)),
        status => (status.word(), None),
    }
}

/// A word that this version does not know reads as an interruption: it can be resumed.
fn status_of(word: &str, reason: Option<String>) -> RunStatus {
    match word {
        "waiting" => RunStatus::Waiting,
        "running" => RunStatus::Running,
        "done" => RunStatus::Done,
        "stopped" => RunStatus::Stopped,
        "failed" => RunStatus::Failed(reason.unwrap_or_default()),
        _ => RunStatus::Interrupted,
    }
}

fn json(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

/// Paths are kept as the system spells them, so that names that are no text come back whole.
#[cfg(unix)]
fn path(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    OsString::from_vec(bytes).into()
}

/// Elsewhere names that are no text lose what is none.
#[cfg(not(unix))]
fn path(bytes: Vec<u8>) -> PathBuf {
    OsString::from(String::from_utf8_lossy(&bytes).into_owned()).into()
}
