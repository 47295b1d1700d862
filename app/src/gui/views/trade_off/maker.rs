//! Makes points of places: which loss or error is shown, how it is known, and the words for it.

use super::model::{Kind, Point};
use super::units::Scale;
use crate::gui::widgets::{error_text, plot};
use crate::studio::Studio;
use crate::studio::figure::{Figure, Mark};
use crate::studio::proposal::Proposal;
use crate::studio::quality::{Outlook, Place, RunPlace};
use crate::studio::runs::Run;
use pare_engine::solved::Method;

/// Makes points of what is known.
pub(super) struct Maker<'a> {
    pub(super) outlook: &'a Outlook,
    pub(super) is_loss: bool,
    pub(super) scale: Scale,
    /// Whether estimates are errors of outputs: inputs are known.
    pub(super) is_of_outputs: bool,
}

/// How a loss came about.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Origin {
    Measured,
    Sensitivity,
    Guide,
}

impl Origin {
    fn words(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Sensitivity => "predicted from sensitivity",
            Self::Guide => "by the rough guide c · error²",
        }
    }
}

/// What is shown of a place.
struct Shown {
    loss: Option<(Figure, Origin)>,
    /// Half the bar around the loss.
    stderr: Option<f64>,
    is_of_outputs: bool,
}

impl Maker<'_> {
    /// Uniform bits; all by the same kind of prediction, since a line joins them.
    pub(super) fn baselines(&self) -> Vec<Point> {
        let baselines = &self.outlook.baselines;
        let any = baselines.iter().any(|base| base.place.predicted.is_some());
        let same = baselines
            .iter()
            .filter(|base| !self.is_loss || !any || base.place.predicted.is_some());
        let points = same.filter_map(|base| {
            let name = format!("{} bits everywhere", base.bits);
            self.draft(Kind::Baseline(base.bits), &base.place, &name)
        });
        points.collect()
    }

    /// What uniform bits are called in the legend.
    pub(super) fn baselines_word(&self) -> &'static str {
        let mut baselines = self.outlook.baselines.iter();
        let is_predicted = baselines.any(|base| base.place.predicted.is_some());
        match (self.is_loss && is_predicted, self.is_of_outputs) {
            (true, _) => "uniform bits, predicted",
            (false, true) => "uniform bits, estimated",
            (false, false) => "uniform bits, estimated on weights alone",
        }
    }

    /// Whether estimates of weights would lie beside errors of outputs.
    pub(super) fn is_mixed(&self, studio: &Studio) -> bool {
        let rests_on_errors = !self.is_loss || self.outlook.front.is_empty();
        let mut runs = self.outlook.runs.iter();
        let any = runs.any(|run| studio.run(run.id).is_some_and(has_outputs));
        rests_on_errors && !self.is_of_outputs && any
    }

    pub(super) fn ghost(&self) -> Option<Point> {
        let ghost = self.outlook.ghost.as_ref()?;
        self.draft(Kind::Ghost, ghost, "Before the last edit")
    }

    pub(super) fn now(&self) -> Option<Point> {
        let now = self.outlook.now.as_ref()?;
        self.draft(Kind::Now, now, "The draft")
    }

    /// What is proposed; only its loss is known.
    pub(super) fn proposal(&self, proposal: &Proposal) -> Option<Point> {
        let place = Place {
            bytes: proposal.bytes,
            bits_per_weight: 8.0 * proposal.bytes as f64 / self.scale.weights.max(1) as f64,
            error: None,
            predicted: proposal.predicted,
        };
        self.draft(Kind::Proposal, &place, "Proposed")
    }

    /// A finished run.
    pub(super) fn run(&self, run: &RunPlace, name: &str, is_of_outputs: bool) -> Option<Point> {
        let kind = Kind::Run(run.id, run.method);
        let measured = |(value, _)| (Figure::measured(value), Origin::Measured);
        let shown = Shown {
            loss: run.loss.map(measured),
            stderr: run.loss.and_then(|(_, stderr)| stderr),
            is_of_outputs,
        };
        let mut point = self.made(kind, &run.place, name, &shown)?;
        if let Some(predicted) = run.place.predicted {
            let text = error_text(predicted);
            point
                .words
                .push_str(&format!("\nloss {text} (was predicted)"));
        }
        Some(point)
    }

    /// A recipe that was not run; `None` where its quality is not known, or is that of the original.
    fn draft(&self, kind: Kind, place: &Place, name: &str) -> Option<Point> {
        let origin = match place.predicted {
            Some(_) => Origin::Sensitivity,
            None => Origin::Guide,
        };
        let loss = self.outlook.loss_of(place);
        let shown = Shown {
            loss: loss.map(|loss| (loss, origin)),
            stderr: None,
            is_of_outputs: self.is_of_outputs,
        };
        self.made(kind, place, name, &shown)
    }

    fn made(&self, kind: Kind, place: &Place, name: &str, shown: &Shown) -> Option<Point> {
        let figure = match self.is_loss {
            true => shown.loss?.0,
            false => place.error?,
        };
        let spread = shown.stderr.filter(|_| self.is_loss);
        (figure.value > 0.0).then(|| Point {
            kind,
            x: self.scale.value(place.bytes),
            y: figure.value.log10(),
            spread: spread.map(|stderr| {
                // The lower end may reach zero, which has no logarithm: it then stops at a tenth.
                let low = (figure.value - stderr).max(figure.value / 10.0);
                [low.log10(), (figure.value + stderr).log10()]
            }),
            is_stale: figure.mark == Mark::Stale,
            words: words(place, name, shown),
        })
    }
}

/// Whether a run's errors are of outputs, as far as any layer has inputs.
pub(super) fn has_outputs(run: &Run) -> bool {
    let layers = run.report.iter().flat_map(|report| &report.layers);
    let mut quantized = layers.filter(|layer| layer.method != Method::None);
    quantized.any(|layer| layer.relative_output_error.is_some())
}

fn words(place: &Place, name: &str, shown: &Shown) -> String {
    let mut words = format!(
        "{name}\n{:.2} MB, {:.2} bits per weight",
        place.bytes as f64 / 1e6,
        place.bits_per_weight
    );
    if let Some(error) = place.error {
        let of = match shown.is_of_outputs {
            true => "outputs",
            false => "weights alone",
        };
        words.push_str(&format!(
            "\nerror {} ({} on {of})",
            error_text(error.value),
            error.mark.word()
        ));
    }
    if let Some((loss, origin)) = shown.loss {
        let spread = shown.stderr.map_or_else(String::new, |stderr| {
            format!(" ± {}", plot::axis_text(stderr))
        });
        words.push_str(&format!(
            "\nloss {}{spread} ({})",
            error_text(loss.value),
            origin.words()
        ));
    }
    words
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    #![allow(clippy::field_reassign_with_default)] // Its other fields are not ours to name.
    use super::super::units::Unit;
    use super::*;
    use crate::studio::quality::Baseline;
    use crate::studio::runs::RunId;

    fn place(bytes: u64, error: Option<f64>) -> Place {
        Place {
            bytes,
            bits_per_weight: 4.25,
            error: error.map(Figure::estimated),
            predicted: None,
        }
    }

    fn maker(outlook: &Outlook, is_loss: bool, unit: Unit) -> Maker<'_> {
        let scale = Scale {
            unit,
            weights: 8_000_000,
            bytes_before: 14_000_000,
        };
        Maker {
            outlook,
            is_loss,
            scale,
            is_of_outputs: true,
        }
    }

    #[test]
    fn points_lie_where_their_figures_say() {
        let mut outlook = Outlook::default();
        outlook.guide = Some(2.0);
        for (is_loss, unit, predicted, x, y) in [
            (false, Unit::Megabytes, None, 3.5, 0.1f64),
            (false, Unit::Bits, Some(0.5), 3.5, 0.1),
            (true, Unit::Percent, None, 25.0, 0.02),
            (true, Unit::Bits, Some(0.5), 3.5, 0.5),
        ] {
            let maker = maker(&outlook, is_loss, unit);
            let place = Place {
                predicted,
                ..place(3_500_000, Some(0.1))
            };
            let point = maker.draft(Kind::Now, &place, "now").unwrap();
            let found = ((point.x * 1e9).round() / 1e9, 10f64.powf(point.y));
            assert!(
                found.0 == x && (found.1 - y).abs() < 1e-9,
                "{is_loss} {unit:?} {predicted:?}: {found:?}"
            );
        }
        for unknown in [None, Some(0.0)] {
            let maker = maker(&outlook, true, Unit::Bits);
            let found = maker.draft(Kind::Now, &place(1, unknown), "now");
            assert_eq!(found, None, "{unknown:?}");
        }
    }

    #[test]
    fn bars_never_reach_below_what_has_a_logarithm() {
        let outlook = Outlook::default();
        let maker = maker(&outlook, true, Unit::Megabytes);
        for stderr in [0.001, 0.01, 5.0] {
            let run = RunPlace {
                id: RunId(1),
                place: place(1, Some(0.1)),
                loss: Some((0.01, Some(stderr))),
                method: Method::Gptq,
            };
            let point = maker.run(&run, "run", true).unwrap();
            let [low, high] = point.spread.unwrap();
            assert!(low.is_finite() && low < high, "{stderr}: {low} to {high}");
        }
    }

    #[test]
    fn one_line_joins_one_kind_of_prediction() {
        let mut outlook = Outlook::default();
        outlook.guide = Some(2.0);
        outlook.baselines = [(3, Some(0.3)), (4, None)]
            .map(|(bits, predicted)| Baseline {
                bits,
                settings: Vec::new(),
                place: Place {
                    predicted,
                    ..place(u64::from(bits), Some(0.1))
                },
            })
            .to_vec();
        for (is_loss, expected) in [(true, 1), (false, 2)] {
            let found = maker(&outlook, is_loss, Unit::Bits).baselines().len();
            assert_eq!(found, expected, "{is_loss}");
        }
    }
}
