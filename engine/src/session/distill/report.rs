//! The report of a training, and `.pare/report.json`, written and read.

use super::super::requests::CompressReport;
use super::super::{Session, SessionError};
use super::Measured;
use super::memory::step_operations;
use super::prepare::Prepared;
use crate::formats::store::OWN_FOLDER;
use crate::measure::best_fma_gflops;
use crate::model::Model;
use crate::recipe::{Recipe, TrainMode};
use crate::report::{DistillReport, Environment, Evaluation, Verified};
use crate::train::Outcome;
use serde_json::{Map, Value};
use std::path::Path;

/// A curve of thousands of points takes some hundred kilobytes; anything far larger is none.
const MAX_REPORT_BYTES: u64 = 64 << 20;

impl Session {
    /// What a training has come to; quality, checked files, bytes and zeros are told.
    pub(super) fn training_report(
        &self,
        prepared: &Prepared<'_>,
        trained: u64,
        outcome: Outcome,
        (measured, verified, bytes, sparsity): (Measured, Verified, u64, Option<f64>),
    ) -> Result<DistillReport, SessionError> {
        let settings = &prepared.settings;
        let model = prepared.student.model()?;
        let layers = model.layers().iter();
        let is_matched = settings.hidden + settings.attention > 0.0;
        let teachers: Vec<&Model> = match prepared.is_kept() && !is_matched {
            true => Vec::new(),
            false => prepared.teachers.iter().collect(),
        };
        let length =
            outcome.timed_tokens as usize / (outcome.timed_steps as usize * settings.batch).max(1);
        let operations = step_operations(model, &teachers, settings.batch, length);
        let step_seconds = outcome.step_seconds / outcome.timed_steps.max(1) as f64;
        let recipe = Recipe {
            train: Some(settings.clone()),
            ..prepared.request.recipe.clone()
        };
        let perplexity = |evaluation: &Option<Evaluation>| match evaluation {
            Some(Evaluation::Decoder(decoder)) => Some(decoder.perplexity),
            _ => None,
        };
        let reference = match &measured.after {
            Some(Evaluation::Decoder(decoder)) => decoder.reference_perplexity,
            _ => None,
        };
        let was_timed = outcome.timed_steps > 0 && step_seconds > 0.0;
        let progressed = outcome.progressed;
        Ok(DistillReport {
            out: prepared.request.out.display().to_string(),
            mode: mode_word(settings.mode).to_owned(),
            steps: progressed.step,
            skipped_steps: progressed.skipped,
            ended_early: progressed.ended_early,
            loss_first: progressed.loss_first,
            loss_last: progressed.loss_last,
            held_out_first: progressed.held_out_first,
            held_out_best: progressed.best.map(|(_, loss)| loss),
            best_step: progressed.best.map(|(step, _)| step),
            perplexity_before: perplexity(&measured.before),
            perplexity_after: perplexity(&measured.after),
            reference_perplexity: reference,
            evaluation: measured.after,
            seconds: 0.0,
            step_seconds,
            tokens_per_second: match was_timed {
                true => outcome.timed_tokens as f64 / outcome.step_seconds,
                false => 0.0,
            },
            of_fma_bound: was_timed.then(|| operations / step_seconds / 1e9 / best_fma_gflops()),
            parameters: layers.map(|layer| layer.parameters).sum(),
            trained_parameters: trained,
            memory_bytes: match prepared.resident {
                true => prepared.memory.resident(),
                false => prepared.memory.by_block(),
            },
            peak_rss_bytes: 0,
            sparsity,
            export_difference: None,
            bytes,
            verified,
            recipe: recipe.to_toml(),
            curve: progressed.curve,
            warnings: prepared.warnings(),
        })
    }
}

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
