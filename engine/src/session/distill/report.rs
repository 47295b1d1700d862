//! `.pare/report.json` of a trained student, written and read.

use super::super::SessionError;
use super::super::requests::CompressReport;
use crate::formats::store::OWN_FOLDER;
use crate::recipe::TrainMode;
use crate::report::{DistillReport, Environment};
use serde_json::{Map, Value};
use std::path::Path;

/// A curve of thousands of points takes some hundred kilobytes; anything far larger is none.
const MAX_REPORT_BYTES: u64 = 64 << 20;

/// The report as text; of a compressed student also all that the report of a run says, which it is too.
pub(super) fn json(
    report: &DistillReport,
    written: Option<&CompressReport>,
    environment: &Environment,
) -> String {
    let value = |report: serde_json::Result<Value>| match report {
        Ok(Value::Object(keys)) => keys,
        other => {
            let reason = other.err().map(|error| error.to_string());
            Map::from_iter([("reason".to_owned(), Value::from(reason))])
        }
    };
    let mut keys = written.map_or_else(Map::new, |written| value(serde_json::to_value(written)));
    let recipe = keys.get("recipe").cloned();
    keys.extend(value(serde_json::to_value(report)));
    keys.insert(
        "environment".to_owned(),
        Value::Object(value(serde_json::to_value(environment))),
    );
    // A run's recipe is that of its layers.
    if let Some(recipe) = recipe {
        keys.insert("recipe".to_owned(), recipe);
    }
    serde_json::to_string_pretty(&Value::Object(keys)).unwrap_or_default()
}

/// The word of a mode, as recipes spell it.
pub(super) fn mode_word(mode: TrainMode) -> &'static str {
    match mode {
        TrainMode::Weights => "weights",
        TrainMode::Scales => "scales",
        TrainMode::Round => "round",
        TrainMode::Qat => "qat",
        TrainMode::Adapter => "adapter",
    }
}

/// The report of a folder that `distill` made.
pub fn read_distill_report(run: &Path) -> Result<DistillReport, SessionError> {
    let path = run.join(OWN_FOLDER).join("report.json");
    let problem = |reason: String| SessionError::Input {
        problem: format!(
            "the report of training could not be read: {reason}; choose a folder that pare distill finished"
        ),
        path: path.clone(),
    };
    let data = std::fs::metadata(&path).map_err(|error| problem(error.to_string()))?;
    if !data.is_file() || data.len() > MAX_REPORT_BYTES {
        return Err(problem("it is no report".to_owned()));
    }
    let bytes = std::fs::read(&path).map_err(|error| problem(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| problem(error.to_string()))
}
