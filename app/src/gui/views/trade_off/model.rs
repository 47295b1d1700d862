//! Points and lines of the trade-off, made anew only where the outlook, the proposal or the axes change.

use super::curves::{self, Band};
use super::maker::Maker;
use super::units::{Scale, Unit};
use crate::studio::draft::method_name;
use crate::studio::runs::RunId;
use crate::studio::{Project, Studio};
use pare_engine::solved::Method;
use std::path::PathBuf;

/// What the axes count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Axes {
    pub(super) is_loss: bool,
    pub(super) unit: Unit,
}

impl Default for Axes {
    fn default() -> Self {
        Self {
            is_loss: true,
            unit: Unit::default(),
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
    Proposal,
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

/// What the points were made for.
#[derive(Debug, Clone, PartialEq)]
struct Key {
    path: PathBuf,
    outlook: u64,
    proposal: Option<u64>,
    axes: Axes,
    is_calibrated: bool,
    /// Letters of all runs' names: another name is another text.
    names: usize,
}

/// All points and lines.
#[derive(Debug, Default)]
pub(super) struct Model {
    made_for: Option<Key>,
    pub(super) scale: Scale,
    pub(super) points: Vec<Point>,
    /// Uniform bits in order, as a line.
    pub(super) line: Vec<[f64; 2]>,
    /// What they are called.
    pub(super) baselines_word: &'static str,
    /// Whether estimates are of weights and runs of outputs: then no line may join them.
    pub(super) is_mixed: bool,
    /// The predicted front.
    pub(super) front: Vec<[f64; 2]>,
    /// Where losses measured lie around it.
    pub(super) band: Option<Band>,
    /// Of each run, what was measured and what was predicted.
    pub(super) twins: Vec<[[f64; 2]; 2]>,
    /// How predictions held, in words.
    pub(super) said: Option<String>,
    /// x of the original, whose error is 0 and so below any logarithm.
    pub(super) original: f64,
    /// Methods of runs, for the legend.
    pub(super) methods: Vec<Method>,
}

impl Model {
    /// Makes the points anew where anything changed.
    pub(super) fn follow(&mut self, studio: &Studio, project: &Project, axes: Axes) {
        let key = Key {
            path: project.path.clone(),
            outlook: project.outlook.version,
            proposal: project.proposal.as_ref().map(|proposal| proposal.version),
            axes,
            is_calibrated: project.inputs().is_some(),
            names: studio.runs_of_model().map(|run| run.name.len()).sum(),
        };
        if self.made_for.as_ref() != Some(&key) {
            *self = made(studio, project, axes);
            self.made_for = Some(key);
        }
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
        for [x, y] in &self.front {
            csv.push_str(&format!("\"Predicted front\",{x},{}\n", 10f64.powf(*y)));
        }
        csv
    }
}

/// What x counts, in the open model.
pub(super) fn scale(project: &Project, unit: Unit) -> Scale {
    Scale {
        unit,
        weights: project.totals.weights,
        bytes_before: project.totals.bytes_before,
    }
}

fn made(studio: &Studio, project: &Project, axes: Axes) -> Model {
    let outlook = &project.outlook;
    let maker = Maker {
        outlook,
        is_loss: axes.is_loss,
        scale: scale(project, axes.unit),
        is_of_outputs: project.inputs().is_some(),
    };
    let mut model = Model {
        scale: maker.scale,
        points: maker.baselines(),
        original: maker.scale.value(outlook.bytes_before),
        is_mixed: maker.is_mixed(studio),
        baselines_word: maker.baselines_word(),
        ..Model::default()
    };
    model.line = model
        .points
        .iter()
        .map(|point| [point.x, point.y])
        .collect();
    for run in &outlook.runs {
        let name = studio.run(run.id).map_or("run", |run| run.name.as_str());
        let name = format!("{name} ({})", method_name(run.method));
        let is_of_outputs = studio.run(run.id).is_some_and(super::maker::has_outputs);
        model.points.extend(maker.run(run, &name, is_of_outputs));
    }
    model.points.extend(maker.ghost());
    model.points.extend(maker.now());
    model.methods = Method::ALL
        .into_iter()
        .filter(|&method| outlook.runs.iter().any(|run| run.method == method))
        .collect();
    if axes.is_loss {
        let proposal = project.proposal.as_ref();
        model
            .points
            .extend(proposal.and_then(|proposal| maker.proposal(proposal)));
        model.front = curves::front(outlook, maker.scale);
        model.band = curves::band(outlook, &model.front);
        model.twins = curves::twins(outlook, maker.scale);
        model.said = outlook.prediction.as_ref().map(curves::said);
    }
    model
}
