//! An allocation as JSON: what was written first, beside it everything that it was compared with.

use super::Chosen;
use crate::cli::verbs::losses::{self, Known};
use crate::cli::verbs::reasons;
use pare_engine::allocate::FrontPoint;
use pare_engine::report::Measure;
use pare_engine::session::{AllocateReport, Candidate, CandidateReport, DryLayer};
use pare_engine::settings::LayerOption;
use serde_json::{Map, Value, json};

/// Why a candidate may be missing.
const OF_CANDIDATES: [(&str, &str); 2] = [
    (
        "uniform",
        "no single option of all layers fits the budget and the rules",
    ),
    (
        "ends_higher",
        "no option with more bits for the first and last blocks fits the budget and the rules",
    ),
];

/// The document.
pub(super) fn of(chosen: &Chosen<'_>) -> Value {
    let report = chosen.report;
    let mut document = match best(report) {
        Some(best) => of_candidate(best, report.measure),
        None => Map::new(),
    };
    let front = report.front.iter().enumerate();
    let front = front.map(|(place, point)| {
        let time = report.front_milliseconds.get(place).copied();
        of_point(point, time, report.measure)
    });
    let front: Vec<Value> = front.collect();
    let layers: Vec<Value> = chosen.dry.layers.iter().map(of_layer).collect();
    let rest = [
        ("recipe", chosen.recipe.clone().into()),
        ("out", chosen.out.to_string_lossy().into()),
        ("best", json!(report.best)),
        ("allocated", named(report, Candidate::Allocated)),
        ("uniform", named(report, Candidate::Uniform)),
        ("ends_higher", named(report, Candidate::EndsHigher)),
        ("budget_bytes", report.budget_bytes.into()),
        ("measure", json!(report.measure)),
        ("front", front.into()),
        ("layers", layers.into()),
        ("warnings", json!(report.warnings)),
    ];
    let rest = rest.into_iter();
    document.extend(rest.map(|(key, value)| (key.to_owned(), value)));
    reasons::explain(&mut document, &OF_CANDIDATES);
    Value::Object(document)
}

/// The candidate that was written.
pub(super) fn best(report: &AllocateReport) -> Option<&CandidateReport> {
    find(report, report.best)
}

/// The candidate of this kind, where one fits.
pub(super) fn find(report: &AllocateReport, which: Candidate) -> Option<&CandidateReport> {
    let mut candidates = report.candidates.iter();
    candidates.find(|candidate| candidate.candidate == which)
}

fn named(report: &AllocateReport, which: Candidate) -> Value {
    let candidate = find(report, which);
    candidate.map_or(Value::Null, |candidate| {
        Value::Object(of_candidate(candidate, report.measure))
    })
}

fn of_candidate(candidate: &CandidateReport, measure: Measure) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("bytes".to_owned(), candidate.bytes.into());
    object.insert(
        "bits_per_weight".to_owned(),
        candidate.bits_per_weight.into(),
    );
    if let Some(milliseconds) = candidate.milliseconds {
        object.insert("predicted_milliseconds".to_owned(), milliseconds.into());
    }
    losses::put(
        &mut object,
        Known::Predicted,
        measure,
        candidate.predicted_loss,
    );
    let (loss, stderr) = candidate.measured.unzip();
    losses::put(&mut object, Known::Measured, measure, loss);
    object.insert("measured_stderr".to_owned(), stderr.flatten().into());
    reasons::explain(
        &mut object,
        &[(
            "measured_stderr",
            "not measured, or one window alone tells of no spread",
        )],
    );
    object
}

fn of_point(point: &FrontPoint, milliseconds: Option<f64>, measure: Measure) -> Value {
    let mut object = Map::new();
    object.insert("bytes".to_owned(), point.bytes.into());
    if let Some(milliseconds) = milliseconds {
        object.insert("milliseconds".to_owned(), milliseconds.into());
    }
    losses::put(
        &mut object,
        Known::Predicted,
        measure,
        Some(point.predicted_loss),
    );
    Value::Object(object)
}

fn of_layer(layer: &DryLayer) -> Value {
    let settings = &layer.settings;
    // NF4 has levels of its own, and no bits to choose.
    let option = LayerOption::of(settings).map_or_else(
        || settings.method.word().to_owned(),
        |option| option.to_string(),
    );
    json!({
        "name": layer.name,
        "method": settings.method,
        "option": option,
        "bytes": layer.bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_says_why() {
        let candidate = CandidateReport {
            candidate: Candidate::Allocated,
            bytes: 10,
            bits_per_weight: 4.0,
            milliseconds: None,
            predicted_loss: Some(0.5),
            measured: None,
        };
        let object = Value::Object(of_candidate(&candidate, Measure::Kl));
        assert_eq!(object["predicted_kl"], 0.5);
        let reason = object["reason"].as_str().unwrap_or_default();
        assert!(
            reason.contains("measured_kl: not measured") && !reason.contains("predicted_kl"),
            "{object}"
        );
        let measured = CandidateReport {
            measured: Some((0.25, Some(0.01))),
            ..candidate
        };
        let object = Value::Object(of_candidate(&measured, Measure::Kl));
        assert_eq!(object["measured_stderr"], 0.01);
        assert!(object.get("reason").is_none(), "{object}");
    }
}
