//! A sensitivity report as JSON: errors under the words of their options, losses under the keys of their measure.

use crate::cli::verbs::losses::{self, Known};
use crate::cli::verbs::reasons;
use pare_engine::allocate::Predictor;
use pare_engine::report::{Anchor, LayerSensitivity, OptionError, SensitivityTable};
use pare_engine::session::SensitivityReport;
use pare_engine::settings::LayerOption;
use serde_json::{Map, Value, json};

/// Why a number of one cell may be missing.
const OF_CELLS: [(&str, &str); 2] = [
    (
        "relative_output_error",
        "the layer's outputs are all zero on the calibration text",
    ),
    ("gradient_loss", "no gradient pass was made"),
];

/// Why a number of the report may be missing.
const OF_REPORTS: [(&str, &str); 1] = [(
    "agreement",
    "gains by measurement and by gradient are not both known",
)];

/// Why a number of the agreement may be missing.
const OF_AGREEMENTS: [(&str, &str); 2] = [
    (
        "rank_correlation",
        "there are fewer than 3 pairs, or all are alike",
    ),
    ("median_ratio", "nothing measured is above 0"),
];

/// The document; `predictor` is made of the report's table.
pub(super) fn of(report: &SensitivityReport, predictor: &Predictor) -> Value {
    let table = &report.table;
    let layers: Vec<Value> = table
        .layers
        .iter()
        .map(|layer| of_layer(layer, table, predictor))
        .collect();
    let anchors: Vec<Value> = table
        .anchors
        .iter()
        .map(|anchor| of_anchor(anchor, table, predictor))
        .collect();
    let agreement = report.agreement.map(|agreement| {
        explained(
            json!({
                "pairs": agreement.pairs,
                "rank_correlation": agreement.rank_correlation,
                "median_ratio": agreement.median_ratio,
            }),
            &OF_AGREEMENTS,
        )
    });
    let document = json!({
        "options": table.options,
        "layers": layers,
        "measure": table.measure,
        "method": table.method,
        "scored": table.scored,
        "agreement": agreement,
        "anchors": anchors,
        "missing": table.missing(),
        "cache": report.cache,
        "seconds": report.seconds,
        "reused": report.reused,
    });
    explained(document, &OF_REPORTS)
}

fn of_layer(layer: &LayerSensitivity, table: &SensitivityTable, predictor: &Predictor) -> Value {
    let errors: Map<String, Value> = table
        .options
        .iter()
        .zip(&layer.errors)
        .map(|(option, error)| {
            // Where it only ranks, its numbers are no losses.
            let loss = predictor.layer_loss(layer.layer, *option);
            let loss = loss.filter(|_| predictor.is_calibrated());
            let cell = of_cell(error.as_ref(), loss, table);
            (option.to_string(), cell)
        })
        .collect();
    let probes = layer.probes.iter();
    let probes: Vec<Value> = probes
        .map(|probe| {
            let measured = [(Known::Measured, Some(probe.loss))];
            with_losses(probe.option, &measured, table)
        })
        .collect();
    json!({
        "name": layer.name,
        "weights": layer.weights,
        "errors": errors,
        "probes": probes,
    })
}

fn of_cell(error: Option<&OptionError>, loss: Option<f64>, table: &SensitivityTable) -> Value {
    let Some(error) = error else {
        return json!({
            "output_error": null,
            "predicted_kl": null,
            "bytes": null,
            "reason": "nobody has judged this option yet",
        });
    };
    let mut cell = Map::new();
    cell.insert("method".to_owned(), json!(error.method));
    cell.insert("output_error".to_owned(), error.output_error.into());
    cell.insert(
        "relative_output_error".to_owned(),
        error.relative_output_error.into(),
    );
    cell.insert("gradient_loss".to_owned(), error.gradient_loss.into());
    cell.insert("bytes".to_owned(), error.bytes.into());
    reasons::explain(&mut cell, &OF_CELLS);
    losses::put(&mut cell, Known::Predicted, table.measure, loss);
    Value::Object(cell)
}

fn of_anchor(anchor: &Anchor, table: &SensitivityTable, predictor: &Predictor) -> Value {
    let all: Vec<(usize, LayerOption)> = table
        .layers
        .iter()
        .map(|layer| (layer.layer, anchor.option))
        .collect();
    let known = [
        (Known::Predicted, predictor.recipe_loss(&all)),
        (Known::Measured, Some(anchor.loss)),
    ];
    with_losses(anchor.option, &known, table)
}

fn with_losses(
    option: LayerOption,
    known: &[(Known, Option<f64>)],
    table: &SensitivityTable,
) -> Value {
    let mut object = Map::new();
    object.insert("option".to_owned(), json!(option));
    for (known, loss) in known {
        losses::put(&mut object, *known, table.measure, *loss);
    }
    Value::Object(object)
}

fn explained(mut document: Value, why: &[(&str, &str)]) -> Value {
    if let Some(object) = document.as_object_mut() {
        reasons::explain(object, why);
    }
    document
}
