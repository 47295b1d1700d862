//! Layers as comma-separated values (RFC 4180), with units in the names of columns.
//!
//! Text that a spreadsheet would take for a formula gets an apostrophe in front. Numbers that do not exist are empty.

use crate::report::LayerReport;

/// The columns.
const COLUMNS: [&str; 20] = [
    "layer",
    "method",
    "bits_per_code",
    "group_weights",
    "sparsity_share",
    "zeros_pattern",
    "factors_rank",
    "stored_bytes",
    "weights",
    "stored_bits_per_weight",
    "relative_output_error_ratio",
    "weights_sqnr_db",
    "weights_cosine",
    "largest_weight_error",
    "solve_seconds",
    "dead_inputs",
    "fallback_from",
    "fallback_to",
    "fallback_reason",
    "warnings",
];

/// A line for the names and one for each layer.
pub fn layers_csv(layers: &[LayerReport]) -> String {
    let mut text = COLUMNS.join(",");
    text.push_str("\r\n");
    for layer in layers {
        text.push_str(&row(layer).join(","));
        text.push_str("\r\n");
    }
    text
}

fn row(layer: &LayerReport) -> [String; COLUMNS.len()] {
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let fallback = layer.fallback.as_ref();
    let told = |part: Option<&String>| part.map_or_else(String::new, |part| cell(part));
    let bits = (layer.weights > 0).then(|| 8.0 * layer.bytes as f64 / layer.weights as f64);
    [
        cell(&layer.name),
        layer.method.word().to_owned(),
        layer.bits.to_string(),
        layer.group.to_string(),
        layer.sparsity.to_string(),
        layer
            .pattern
            .map_or_else(String::new, |pattern| cell(&pattern.to_string())),
        layer.rank.map_or_else(String::new, |rank| rank.to_string()),
        layer.bytes.to_string(),
        layer.weights.to_string(),
        number(bits),
        number(layer.relative_output_error),
        number(layer.sqnr_db),
        number(layer.cosine),
        number(layer.max_error),
        layer.seconds.to_string(),
        layer.dead_inputs.to_string(),
        told(fallback.map(|fallback| &fallback.from)),
        told(fallback.map(|fallback| &fallback.to)),
        told(fallback.map(|fallback| &fallback.reason)),
        cell(
            &layer
                .warnings
                .iter()
                .map(super::layers::warning)
                .collect::<Vec<_>>()
                .join("; "),
        ),
    ]
}

/// Text as one cell.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let guard = if is_formula { "'" } else { "" };
    let text = text.replace('"', "\"\"");
    match is_formula || text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{guard}{text}\""),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_hold_any_text() {
        let cases = [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("=1+2", "\"'=1+2\""),
            ("two\nlines", "\"two\nlines\""),
        ];
        for (text, expected) in cases {
            assert_eq!(cell(text), expected, "{text:?}");
        }
        assert_eq!(layers_csv(&[]).trim_end(), COLUMNS.join(","));
    }
}
