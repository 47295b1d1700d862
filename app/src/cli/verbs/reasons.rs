//! Why a number of a report is null: JSON has no infinities, and some figures do not exist.
//!
//! Knows the keys of reports and nothing of how they came about.

use serde_json::{Map, Value};

/// Keys of a layer that may be null, and why they are.
const OF_LAYERS: [(&str, &str); 3] = [
    (
        "relative_output_error",
        "without calibration inputs there is no output error",
    ),
    (
        "sqnr_db",
        "the weights have no error, or are all zero, so their ratio is no number",
    ),
    ("cosine", "all weights are zero, so they have no direction"),
];

/// Keys of an evaluation that may be null although they were asked for.
const OF_EVALUATIONS: [(&str, &str); 2] = [
    (
        "perplexity",
        "the model's outputs are not finite, so their perplexity is no number",
    ),
    ("perplexity_stderr", "one window alone tells of no spread"),
];

/// Adds `reason` to every layer of `document` that lacks a number, and to its evaluation.
pub(super) fn explain_run(document: &mut Value) {
    for layer in document["layers"].as_array_mut().into_iter().flatten() {
        explain_value(layer, &OF_LAYERS);
    }
    if let Some(evaluation) = document.get_mut("evaluation") {
        explain_evaluation(evaluation);
    }
}

/// Adds `reason` to an evaluation that lacks a number.
pub(super) fn explain_evaluation(evaluation: &mut Value) {
    explain_value(evaluation, &OF_EVALUATIONS);
}

fn explain_value(value: &mut Value, reasons: &[(&str, &str)]) {
    if let Some(object) = value.as_object_mut() {
        explain(object, reasons);
    }
}

/// Adds to the `reason` of `object` why those of its keys that are null are so.
pub(super) fn explain(object: &mut Map<String, Value>, reasons: &[(&str, &str)]) {
    let told = object.get("reason").and_then(Value::as_str);
    let lacking = |(key, _): &&(&str, &str)| object.get(*key).is_some_and(Value::is_null);
    let lacking = reasons.iter().filter(lacking);
    let lacking = lacking.map(|(key, why)| format!("{key}: {why}"));
    let told: Vec<String> = told.map(str::to_owned).into_iter().chain(lacking).collect();
    if !told.is_empty() {
        object.insert("reason".to_owned(), told.join("; ").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_null_is_explained_and_nothing_else() {
        let mut document = json!({
            "layers": [{"sqnr_db": null, "cosine": 1.0}, {"sqnr_db": 20.0}],
            "evaluation": {"perplexity": null, "kl": null},
        });
        explain_run(&mut document);
        let reason = document["layers"][0]["reason"].as_str();
        assert!(
            reason.is_some_and(|reason| reason.starts_with("sqnr_db: ")),
            "{document}"
        );
        assert_eq!(document["layers"][1].get("reason"), None);
        let reason = document["evaluation"]["reason"].as_str();
        assert!(
            reason.is_some_and(|reason| reason.starts_with("perplexity: ")),
            "{document}"
        );
    }

    #[test]
    fn a_run_that_was_not_evaluated_needs_no_reason() {
        let mut document = json!({"layers": [], "evaluation": null});
        explain_run(&mut document);
        assert_eq!(document, json!({"layers": [], "evaluation": null}));
    }
}
