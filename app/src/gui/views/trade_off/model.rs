//! Points of the trade-off, made anew only where the outlook or the axes change.

use crate::gui::widgets::{error_text, plot};
use crate::studio::draft::method_name;
use crate::studio::figure::{Figure, Mark};
use crate::studio::quality::{Outlook, Place};
use crate::studio::runs::RunId;
use crate::studio::{Project, Studio};
use pare_engine::solved::Method;
use std::path::PathBuf;

/// What x counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum SizeAxis {
    /// Decimal megabytes of all compressible layers.
    #[default]
    Megabytes,
    /// Stored bits for each weight.
    Bits,
}

/// What the axes count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Axes {
    pub(super) is_loss: bool,
    pub(super) size: SizeAxis,
}

impl Default for Axes {
    fn default() -> Self {
        Self {
            is_loss: true,
            size: SizeAxis::default(),
        }
    }
}

/// What a point stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Run(RunId, Method),
    Baseline(u8),
    Now,
    Ghost,
}

/// A point; `y` is the decimal logarithm.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point {
    pub(super) kind: Kind,
    pub(super) x: f64,
    pub(super) y: f64,
    /// Ends of the bar of plus and minus one standard error.
    pub(super) spread: Option<[f64; 2]>,
    pub(super) is_stale: bool,
    pub(super) words: String,
}

/// All points.
#[derive(Debug, Default)]
pub(super) struct Model {
    made_for: Option<(PathBuf, u64, Axes, usize)>,
    pub(super) points: Vec<Point>,
    /// Uniform bits in order, as a line.
    pub(super) line: Vec<[f64; 2]>,
    /// x of the original, whose error is 0 and so below any logarithm.
    pub(super) original: f64,
    /// Methods of runs, for the legend.
    pub(super) methods: Vec<Method>,
}

impl Model {
    /// Makes the points anew where anything changed.
    pub(super) fn follow(&mut self, studio: &Studio, project: &Project, axes: Axes) {
        let names = studio.runs_of_model().map(|run| run.name.len()).sum();
        let made_for = (project.path.clone(), project.outlook.version, axes, names);
        if self.made_for.as_ref() == Some(&made_for) {
            return;
        }
        self.made_for = Some(made_for);
        let outlook = &project.outlook;
        let maker = Maker { outlook, axes };
        self.points.clear();
        self.points
            .extend(outlook.baselines.iter().filter_map(|base| {
                let name = format!("{} bits everywhere", base.bits);
                maker.point(Kind::Baseline(base.bits), &base.place, &name)
            }));
        self.line = self.points.iter().map(|point| [point.x, point.y]).collect();
        self.points.extend(outlook.runs.iter().filter_map(|run| {
            let name = studio.run(run.id).map_or("run", |run| run.name.as_str());
            let name = format!("{name} ({})", method_name(run.method));
            maker.run(run.id, run.method, &run.place, run.loss, &name)
        }));
        let ghost = outlook.ghost.as_ref();
        self.points.extend(
            ghost.and_then(|ghost| maker.point(Kind::Ghost, ghost, "Before the last edit")),
        );
        let now = outlook.now.as_ref();
        self.points
            .extend(now.and_then(|now| maker.point(Kind::Now, now, "The draft")));
        self.original = match axes.size {
            SizeAxis::Megabytes => outlook.bytes_before as f64 / 1e6,
            SizeAxis::Bits => outlook.bits_before,
        };
        self.methods = Method::ALL
            .into_iter()
            .filter(|&method| outlook.runs.iter().any(|run| run.method == method))
            .collect();
    }

    /// The point of a kind.
    pub(super) fn of_kind(&self, is: impl Fn(&Kind) -> bool) -> Option<&Point> {
        self.points.iter().find(|point| is(&point.kind))
    }

    /// All points as CSV.
    pub(super) fn csv(&self) -> String {
        let mut csv = "what,x,y\n".to_owned();
        for point in &self.points {
            let name = point
                .words
                .lines()
                .next()
                .unwrap_or_default()
                .replace('"', "\"\"");
            csv.push_str(&format!("\"{name}\",{},{}\n", point.x, 10f64.powf(point.y)));
        }
        csv
    }
}

struct Maker<'a> {
    outlook: &'a Outlook,
    axes: Axes,
}

impl Maker<'_> {
    fn x(&self, place: &Place) -> f64 {
        match self.axes.size {
            SizeAxis::Megabytes => place.bytes as f64 / 1e6,
            SizeAxis::Bits => place.bits_per_weight,
        }
    }

    /// A recipe that was not run; `None` where its quality is not known, or is that of the original.
    fn point(&self, kind: Kind, place: &Place, name: &str) -> Option<Point> {
        let error = place.error?;
        let loss = self.outlook.predicted(error);
        let shown = if self.axes.is_loss { loss? } else { error };
        let loss = loss.map(|loss| ("loss", loss));
        self.made(kind, place, name, shown, None, loss)
    }

    fn run(
        &self,
        id: RunId,
        method: Method,
        place: &Place,
        loss: Option<(f64, Option<f64>)>,
        name: &str,
    ) -> Option<Point> {
        let kind = Kind::Run(id, method);
        let measured = loss.map(|(value, _)| ("loss", Figure::measured(value)));
        match self.axes.is_loss {
            true => {
                let (value, stderr) = loss?;
                self.made(kind, place, name, Figure::measured(value), stderr, measured)
            }
            false => self.made(kind, place, name, place.error?, None, measured),
        }
    }

    fn made(
        &self,
        kind: Kind,
        place: &Place,
        name: &str,
        shown: Figure,
        stderr: Option<f64>,
        loss: Option<(&str, Figure)>,
    ) -> Option<Point> {
        if shown.value <= 0.0 {
            return None;
        }
        let mut words = format!(
            "{name}\n{:.2} MB, {:.2} bits per weight",
            place.bytes as f64 / 1e6,
            place.bits_per_weight
        );
        if let Some(error) = place.error {
            words.push_str(&format!(
                "\nerror {} ({})",
                error_text(error.value),
                error.mark.word()
            ));
        }
        if let Some((name, loss)) = loss {
            let spread = stderr.map_or_else(String::new, |stderr| {
                format!(" ± {}", plot::axis_text(stderr))
            });
            words.push_str(&format!(
                "\n{name} {}{spread} ({})",
                error_text(loss.value),
                loss.mark.word()
            ));
        }
        Some(Point {
            kind,
            x: self.x(place),
            y: shown.value.log10(),
            spread: stderr.map(|stderr| {
                // The lower end may reach zero, which has no logarithm: it then stops at a tenth.
                let low = (shown.value - stderr).max(shown.value / 10.0);
                [low.log10(), (shown.value + stderr).log10()]
            }),
            is_stale: shown.mark == Mark::Stale,
            words,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    #![allow(clippy::field_reassign_with_default)] // Its other fields are not ours to name.
    use super::*;

    fn place(bytes: u64, error: Option<f64>) -> Place {
        Place {
            bytes,
            bits_per_weight: 4.25,
            error: error.map(Figure::estimated),
            predicted: None,
        }
    }

    #[test]
    fn points_lie_where_their_figures_say() {
        let mut outlook = Outlook::default();
        outlook.guide = Some(2.0);
        for (is_loss, size, expected) in [
            (false, SizeAxis::Megabytes, Some((3.5, -1.0))),
            (false, SizeAxis::Bits, Some((4.25, -1.0))),
            (true, SizeAxis::Bits, Some((4.25, 0.02f64.log10()))),
        ] {
            let maker = Maker {
                outlook: &outlook,
                axes: Axes { is_loss, size },
            };
            let point = maker
                .point(Kind::Now, &place(3_500_000, Some(0.1)), "now")
                .unwrap();
            let found = Some((point.x, (point.y * 1e9).round() / 1e9));
            let expected = expected.map(|(x, y): (f64, f64)| (x, (y * 1e9).round() / 1e9));
            assert_eq!(found, expected, "{is_loss} {size:?}");
            for unknown in [None, Some(0.0)] {
                assert_eq!(
                    maker.point(Kind::Now, &place(1, unknown), "now"),
                    None,
                    "{unknown:?}"
                );
            }
        }
    }

    #[test]
    fn bars_never_reach_below_what_has_a_logarithm() {
        let outlook = Outlook::default();
        let maker = Maker {
            outlook: &outlook,
            axes: Axes::default(),
        };
        let run = |stderr| {
            let loss = Some((0.01, Some(stderr)));
            maker
                .run(RunId(1), Method::Gptq, &place(1, Some(0.1)), loss, "run")
                .unwrap()
        };
        for stderr in [0.001, 0.01, 5.0] {
            let [low, high] = run(stderr).spread.unwrap();
            assert!(low.is_finite() && low < high, "{stderr}: {low} to {high}");
        }
    }
}
