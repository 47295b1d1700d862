//! The table of layers: what each became and what that cost it.

use super::text::{bytes, count, escape, figure, percent, seconds};
use super::{RunPage, under};
use crate::report::LayerReport;
use crate::solved::{Method, Warning};

/// Why cells may be empty.
const REASONS: &str = "An empty cell is a number that does not exist: without calibration inputs there is no output error, without an error no ratio of signal to noise, an all-zero layer has no direction.";

/// The section.
pub(super) fn section(page: &RunPage) -> String {
    let mut content = of_export(page);
    if !page.layers.is_empty() {
        content.push_str(&table(page));
    }
    under("Layers", &content)
}

fn table(page: &RunPage) -> String {
    let has_remarks = page.layers.iter().any(|layer| !remarks(layer).is_empty());
    let rows: String = page
        .layers
        .iter()
        .map(|layer| row(layer, has_remarks))
        .collect();
    let head = if has_remarks {
        "<th>instead of what was asked</th>"
    } else {
        ""
    };
    format!(
        "<p class=\"weak\">{REASONS}</p>\n<div class=\"scroll\"><table>\n<thead><tr><th>layer</th><th>method</th>\
         <th class=\"n\">bits</th><th class=\"n\">group</th><th class=\"n\">zeros</th><th class=\"n\">size</th>\
         <th class=\"n\">output error</th><th class=\"n\">SQNR, dB</th><th class=\"n\">cosine</th><th class=\"n\">time</th>\
         {head}</tr></thead>\n<tbody>\n{rows}{}</tbody>\n</table></div>\n",
        total(&page.layers)
    )
}

/// One layer; without remarks on any there is no column for them.
fn row(layer: &LayerReport, has_remarks: bool) -> String {
    let number = |value: Option<f64>, text: fn(f64) -> String| value.map_or_else(String::new, text);
    let cells = [
        layer.bits.to_string(),
        group(layer),
        zeros(layer),
        bytes(layer.bytes),
        number(layer.relative_output_error, percent),
        number(layer.sqnr_db, figure),
        number(layer.cosine, |cosine| format!("{cosine:.5}")),
        seconds(layer.seconds),
    ];
    let cells: String = cells
        .iter()
        .map(|cell| format!("<td class=\"n\">{}</td>", escape(cell)))
        .collect();
    let remarks = match has_remarks {
        true => format!("<td>{}</td>", escape(&remarks(layer))),
        false => String::new(),
    };
    format!(
        "<tr><td class=\"name\">{}</td><td>{}</td>{cells}{remarks}</tr>\n",
        escape(&layer.name),
        escape(&method(layer))
    )
}

fn total(layers: &[LayerReport]) -> String {
    let stored: u64 = layers
        .iter()
        .map(|layer| layer.bytes)
        .fold(0, u64::saturating_add);
    let time: f64 = layers.iter().map(|layer| layer.seconds).sum();
    let done = layers
        .iter()
        .filter(|layer| layer.method != Method::None)
        .count();
    format!(
        "<tr class=\"total\"><td>{} layers, {} of them compressed</td><td></td><td></td><td></td><td></td><td class=\"n\">{}</td><td></td><td></td><td></td><td class=\"n\">{}</td></tr>\n",
        count(layers.len() as u64),
        count(done as u64),
        bytes(stored),
        seconds(time)
    )
}

/// The method, with factors and inputs where there are any.
fn method(layer: &LayerReport) -> String {
    let mut text = match layer.method {
        Method::None => "as it was".to_owned(),
        method => method.word().to_owned(),
    };
    if let Some(rank) = layer.rank {
        text.push_str(&format!(", factors of rank {rank}"));
    }
    if let Some(palette) = layer.palette {
        text.push_str(&format!(", {palette} weights"));
    }
    let inputs = layer.activations.mode;
    if inputs != crate::settings::Activations::None {
        text.push_str(&format!(", inputs {}", inputs.word()));
    }
    text
}

fn group(layer: &LayerReport) -> String {
    match (layer.method, layer.group) {
        (Method::None | Method::Float | Method::Palette, _) => String::new(),
        (_, 0) => "row".to_owned(),
        (_, group) => group.to_string(),
    }
}

fn zeros(layer: &LayerReport) -> String {
    match layer.pattern {
        Some(pattern) => format!("{} {pattern}", percent(layer.sparsity)),
        None if layer.sparsity > 0.0 => percent(layer.sparsity),
        None => String::new(),
    }
}

/// What was done instead, and what the solver had to do.
fn remarks(layer: &LayerReport) -> String {
    let fallback = layer.fallback.iter().map(|fallback| {
        format!(
            "{} instead of {}: {}",
            fallback.to, fallback.from, fallback.reason
        )
    });
    let all: Vec<String> = fallback.chain(layer.warnings.iter().map(warning)).collect();
    all.join("; ")
}

/// What a solver had to do, in words.
pub(super) fn warning(warning: &Warning) -> String {
    match warning {
        Warning::Damped { damping, failures } => {
            format!(
                "damping raised to {} after {failures} failures",
                figure(*damping)
            )
        }
        Warning::FellBack { from, to, reason } => {
            format!("{} instead of {}: {reason}", to.word(), from.word())
        }
        Warning::PrunedOtherwise { from, to, reason } => {
            format!(
                "zeros by {} instead of {}: {reason}",
                to.word(),
                from.word()
            )
        }
        Warning::FactorsOfWeights { reason } => {
            format!("factors make up for the errors of weights, not of outputs: {reason}")
        }
        Warning::DeadInputs { count } => format!("{count} inputs were never used in calibration"),
        Warning::RefinementRejected => {
            "a refinement was not kept: held-out rows got worse".to_owned()
        }
    }
}

/// What an export stores in another way than the run did.
fn of_export(page: &RunPage) -> String {
    if page.fallbacks.is_empty() {
        return String::new();
    }
    let rows: String = page
        .fallbacks
        .iter()
        .map(|layer| {
            let fallback = &layer.fallback;
            format!(
                "<tr><td class=\"name\">{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                escape(&layer.name),
                escape(&fallback.from),
                escape(&fallback.to),
                escape(&fallback.reason)
            )
        })
        .collect();
    format!(
        "<p>Layers that the container could not hold as they were solved; all others are stored as they were.</p>\n<div class=\"scroll\"><table>\n<thead><tr><th>layer</th><th>asked</th><th>done</th><th>why</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}
