//! Two runs side by side, or a run and the original: metrics with their intervals, what recipes say differently, layers
//! by how far they moved.
//!
//! Values only; computed once for a pair, never in a frame. Knows no screen.

mod changes;

pub use changes::{RecipeChange, recipe_changes};

use super::runs::Run;
use pare_engine::recipe::LayerSettings;
use pare_engine::report::{Evaluation, LayerReport};
use pare_engine::solved::Method;
use std::collections::HashMap;

/// How a metric is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Bits for each weight.
    Bits,
    /// A share of all, as per cent.
    Share,
    /// A plain number.
    Number,
}

/// A number, and its standard error where it is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// The number.
    pub value: f64,
    /// Its standard error.
    pub stderr: Option<f64>,
}

/// One row of the table of metrics.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// What is measured.
    pub name: &'static str,
    /// How it is written.
    pub unit: Unit,
    /// Both sides, where known.
    pub sides: [Option<Measured>; 2],
}

impl Metric {
    /// Right less left.
    pub fn difference(&self) -> Option<f64> {
        Some(self.sides[1]?.value - self.sides[0]?.value)
    }

    /// Whether both intervals of two standard errors overlap; `None` where neither side has one.
    pub fn is_within_noise(&self) -> Option<bool> {
        let [left, right] = [self.sides[0]?, self.sides[1]?];
        if left.stderr.is_none() && right.stderr.is_none() {
            return None;
        }
        let reach = 2.0 * (left.stderr.unwrap_or(0.0) + right.stderr.unwrap_or(0.0));
        Some((right.value - left.value).abs() <= reach)
    }
}

/// One layer on both sides.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerDelta {
    /// The layer.
    pub name: String,
    /// Relative output error of both; 0 on the original's side.
    pub errors: [Option<f64>; 2],
    /// Method and bits of both, in words.
    pub settings: [String; 2],
    /// Stored bytes of both; `None` on the original's side.
    pub bytes: [Option<u64>; 2],
}

impl LayerDelta {
    /// Right less left error.
    pub fn difference(&self) -> Option<f64> {
        Some(self.errors[1]? - self.errors[0]?)
    }
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Comparison {
    /// Metrics that at least one side has.
    pub metrics: Vec<Metric>,
    /// Layers, farthest moved first.
    pub layers: Vec<LayerDelta>,
    /// What the recipes say differently; empty against the original.
    pub changes: Vec<RecipeChange>,
}

impl Comparison {
    /// Compares two sides; `None` is the original.
    pub fn of(left: Option<&Run>, right: Option<&Run>) -> Self {
        Self {
            metrics: metrics([left, right]),
            layers: layers([left, right]),
            changes: match (left, right) {
                (Some(left), Some(right)) => recipe_changes(left, right),
                _ => Vec::new(),
            },
        }
    }
}

fn plain(value: f64) -> Measured {
    Measured {
        value,
        stderr: None,
    }
}

fn metrics(sides: [Option<&Run>; 2]) -> Vec<Metric> {
    /// A figure of the first side; the second is there for what only a comparison tells.
    type Of<'a> = &'a dyn Fn(Option<&Run>, Option<&Run>) -> Option<Measured>;
    let both = |name, unit, of: Of<'_>| Metric {
        name,
        unit,
        sides: [of(sides[0], sides[1]), of(sides[1], sides[0])],
    };
    let rows = [
        both("Size", Unit::Bytes, &|side, other| match side {
            Some(run) => Some(plain(run.bytes()? as f64)),
            None => Some(plain(other?.report.as_ref()?.bytes_before as f64)),
        }),
        both("Bits per weight", Unit::Bits, &|side, _| {
            Some(plain(side?.report.as_ref()?.bits_per_weight))
        }),
        both("KL mean, nats", Unit::Number, &|side, other| {
            against(side, other, 0.0, |run| {
                run.kl().map(|(value, stderr)| Measured { value, stderr })
            })
        }),
        both("KL p50", Unit::Number, &|side, _| {
            kl_part(side, |kl| kl.p50)
        }),
        both("KL p90", Unit::Number, &|side, _| {
            kl_part(side, |kl| kl.p90)
        }),
        both("KL p99", Unit::Number, &|side, _| {
            kl_part(side, |kl| kl.p99)
        }),
        both("KL max", Unit::Number, &|side, _| {
            kl_part(side, |kl| kl.max)
        }),
        both("Perplexity", Unit::Number, &perplexity),
        both("Perplexity ratio", Unit::Number, &|side, other| {
            against(side, other, 1.0, |run| match run.evaluation()? {
                Evaluation::Decoder(decoder) => Some(Measured {
                    value: decoder.perplexity_ratio?,
                    stderr: decoder.perplexity_ratio_stderr,
                }),
                Evaluation::Encoder(_) => None,
            })
        }),
        both("Same top token", Unit::Share, &|side, other| {
            against(side, other, 1.0, |run| match run.evaluation()? {
                Evaluation::Decoder(decoder) => decoder.same_top.map(plain),
                Evaluation::Encoder(_) => None,
            })
        }),
        both("Flips", Unit::Share, &|side, other| {
            against(side, other, 0.0, |run| match run.evaluation()? {
                Evaluation::Decoder(decoder) => decoder.flips.map(plain),
                Evaluation::Encoder(_) => None,
            })
        }),
        both("Cosine", Unit::Number, &|side, other| {
            against(side, other, 1.0, |run| match run.evaluation()? {
                Evaluation::Encoder(encoder) => encoder.cosine.as_ref().map(|c| plain(c.mean)),
                Evaluation::Decoder(_) => None,
            })
        }),
        both("Spearman", Unit::Number, &spearman),
    ];
    let known = |metric: &Metric| metric.sides.iter().any(Option::is_some);
    rows.into_iter().filter(known).collect()
}

/// `of` a run; `ideal` for the original, where the other side has the figure at all.
fn against(
    side: Option<&Run>,
    other: Option<&Run>,
    ideal: f64,
    of: impl Fn(&Run) -> Option<Measured>,
) -> Option<Measured> {
    match (side, other) {
        (Some(run), _) => of(run),
        (None, Some(other)) => of(other).map(|_| plain(ideal)),
        (None, None) => None,
    }
}

fn kl_part(
    side: Option<&Run>,
    part: impl Fn(&pare_engine::report::KlSummary) -> f64,
) -> Option<Measured> {
    match side?.evaluation()? {
        Evaluation::Decoder(decoder) => decoder.kl.as_ref().map(|kl| plain(part(kl))),
        Evaluation::Encoder(_) => None,
    }
}

fn perplexity(side: Option<&Run>, other: Option<&Run>) -> Option<Measured> {
    let Evaluation::Decoder(decoder) = side.or(other)?.evaluation()? else {
        return None;
    };
    match side {
        Some(_) => Some(Measured {
            value: decoder.perplexity,
            stderr: decoder.perplexity_stderr,
        }),
        None => decoder.reference_perplexity.map(plain),
    }
}

fn spearman(side: Option<&Run>, other: Option<&Run>) -> Option<Measured> {
    let Evaluation::Encoder(encoder) = side.or(other)?.evaluation()? else {
        return None;
    };
    match side {
        Some(_) => encoder.spearman,
        None => encoder.reference_spearman,
    }
    .map(plain)
}

fn reports(run: Option<&Run>) -> &[LayerReport] {
    run.and_then(|run| run.report.as_ref())
        .map_or(&[], |report| &report.layers)
}

fn layers(sides: [Option<&Run>; 2]) -> Vec<LayerDelta> {
    let by_name = |side: Option<&Run>| -> HashMap<String, LayerReport> {
        let layers = reports(side).iter();
        layers
            .map(|layer| (layer.name.clone(), without_histograms(layer)))
            .collect()
    };
    let known = sides.map(by_name);
    let names = match sides[0] {
        Some(_) => reports(sides[0]),
        None => reports(sides[1]),
    };
    let side = |index: usize, name: &str| known[index].get(name);
    let mut layers: Vec<LayerDelta> = names
        .iter()
        .map(|layer| LayerDelta {
            name: layer.name.clone(),
            errors: [0, 1].map(|index| match sides[index] {
                None => Some(0.0),
                Some(_) => side(index, &layer.name).and_then(error_of),
            }),
            settings: [0, 1].map(|index| match sides[index] {
                None => "original".to_owned(),
                Some(_) => side(index, &layer.name).map_or("–".to_owned(), settings_text),
            }),
            bytes: [0, 1].map(|index| side(index, &layer.name).map(|layer| layer.bytes)),
        })
        .collect();
    let distance = |layer: &LayerDelta| layer.difference().map_or(-1.0, f64::abs);
    layers.sort_by(|left, right| distance(right).total_cmp(&distance(left)));
    layers
}

fn without_histograms(layer: &LayerReport) -> LayerReport {
    LayerReport {
        histograms: None,
        name: layer.name.clone(),
        fallback: layer.fallback.clone(),
        warnings: Vec::new(),
        reason: None,
        ..*layer
    }
}

fn error_of(layer: &LayerReport) -> Option<f64> {
    match layer.method {
        Method::None => Some(0.0),
        _ => layer.relative_output_error,
    }
}

fn settings_text(layer: &LayerReport) -> String {
    // What was done, which may be another method than the one asked for.
    super::draft::short_words(&LayerSettings {
        method: layer.method,
        bits: layer.bits,
        group: layer.group,
        ..layer.settings
    })
}

/// Where two texts part: bytes that are the same from the beginning, always a whole letter.
pub fn common_prefix(left: &str, right: &str) -> usize {
    let same = left
        .char_indices()
        .zip(right.chars())
        .find(|((_, left), right)| left != right);
    same.map_or(left.len().min(right.len()), |((at, _), _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_part_at_whole_letters() {
        let cases = [
            ("", "", 0),
            ("abc", "abd", 2),
            ("abc", "ab", 2),
            ("aé", "aè", 1),
            ("模型一", "模型二", 6),
        ];
        for (left, right, expected) in cases {
            assert_eq!(common_prefix(left, right), expected, "{left:?} {right:?}");
        }
    }

    #[test]
    fn overlapping_intervals_are_noise() {
        let metric = |left: (f64, Option<f64>), right: (f64, Option<f64>)| Metric {
            name: "x",
            unit: Unit::Number,
            sides: [left, right].map(|(value, stderr)| Some(Measured { value, stderr })),
        };
        let cases = [
            ((1.0, Some(0.1)), (1.3, Some(0.1)), Some(true)),
            ((1.0, Some(0.1)), (1.5, Some(0.1)), Some(false)),
            ((1.0, None), (1.1, None), None),
            ((0.0, None), (0.3, Some(0.1)), Some(false)),
        ];
        for (left, right, expected) in cases {
            let metric = metric(left, right);
            assert_eq!(metric.is_within_noise(), expected, "{left:?} {right:?}");
        }
    }
}
