//! `.pare/report.json` of a trained student, written and read.

use super::super::SessionError;
use crate::formats::store::OWN_FOLDER;
use crate::recipe::TrainMode;
use crate::report::DistillReport;
use std::path::Path;

/// A curve of thousands of points takes some hundred kilobytes; anything far larger is none.
const MAX_REPORT_BYTES: u64 = 64 << 20;

pub(super) fn json(report: &DistillReport) -> String {
    serde_json::to_string_pretty(report)
        .unwrap_or_else(|error| format!("{{\"reason\": \"{error}\"}}"))
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
