//! Figures, totals and rows, computed anew whenever what they depend on changes.

use super::plan::{follow_device, plan};
use crate::studio::effect::Effect;
use crate::studio::figure::{Figure, Mark};
use crate::studio::filter::Facts;
use crate::studio::latency::{Latency, Question};
use crate::studio::project::{Project, Totals};
use crate::studio::quality::Outlook;
use crate::studio::rows::{self, LayerFigures, Source};
use crate::studio::runs::{Run, RunStatus};
use crate::studio::sparse;
use crate::studio::state::{Phase, Studio, weakest};
use pare_engine::formats::layout::stored_bytes;
use pare_engine::recipe::LayerSettings;
use pare_engine::solved::Method;
use pare_engine::units::{BitsPerWeight, Bytes};
use std::collections::HashMap;

impl Studio {
    /// Figures, totals, rows; then asks for what is not known yet.
    pub(super) fn refresh(&mut self) -> Vec<Effect> {
        self.refresh_figures();
        self.look_ahead();
        self.rebuild_rows();
        let mut effects = self.ask_estimates();
        effects.extend(self.ask_previews());
        effects.extend(self.find_sensitivity());
        effects.extend(self.ask_sizes());
        effects
    }

    fn refresh_figures(&mut self) {
        let device = self.devices.find(&self.preferences.device);
        if let Phase::Open(project) = &mut self.phase {
            let question = Question::of(project, &self.preferences, device);
            refresh_figures(project, question);
        }
    }

    /// Another device, or another question about it.
    pub(super) fn device_changed(&mut self) {
        self.refresh_figures();
        if let Some(project) = self.project_mut() {
            follow_device(project);
        }
        self.rebuild_rows();
    }

    /// Size against quality of what is chosen and of what ran.
    pub(super) fn look_ahead(&mut self) {
        if let Some(project) = self.project_mut() {
            plan(project);
        }
        if let Some(project) = self.project() {
            let outlook = Outlook::of(project, self.runs_of_model());
            if let Some(project) = self.project_mut() {
                project.outlook = outlook;
            }
        }
    }

    /// Only the rows: filter, order or folding changed.
    pub(super) fn rebuild_rows(&mut self) {
        if let Some(project) = self.project_mut() {
            let version = project.rows.version + 1;
            project.rows = rows::Rows {
                version,
                ..build_rows(project)
            };
        }
    }

    /// The selection changed: totals, rows where the filter asks for selected layers, previews.
    pub(super) fn selection_changed(&mut self) -> Vec<Effect> {
        let Some(project) = self.project_mut() else {
            return Vec::new();
        };
        project.history.end_gesture();
        project.selected_totals = totals(project, project.selection.layers().into_iter());
        if project.filter_text.contains("selected") {
            self.rebuild_rows();
        }
        let mut effects = self.ask_estimates();
        effects.extend(self.ask_previews());
        effects
    }

    /// What finished runs measured, for the table: the newest run wins.
    pub(super) fn take_measured(&mut self) {
        let Some(project) = self.project() else {
            return;
        };
        let places: HashMap<&str, usize> = project
            .layers
            .iter()
            .enumerate()
            .map(|(index, info)| (info.name.as_str(), index))
            .collect();
        let mut measured = HashMap::new();
        let done = |run: &&Run| run.model == project.path && run.status == RunStatus::Done;
        let reports = self.runs.iter().rev().filter(done);
        for layer in reports
            .filter_map(|run| run.report.as_ref())
            .flat_map(|report| &report.layers)
        {
            if let Some(&index) = places.get(layer.name.as_str()) {
                measured.insert(index, (layer.settings, layer.clone()));
            }
        }
        if let Some(project) = self.project_mut() {
            project.measured = measured;
        }
    }
}

/// Makes figures and totals anew; what is asked of the device is asked with them.
fn refresh_figures(project: &mut Project, question: Question) {
    let figures: Vec<LayerFigures> = (0..project.layers.len())
        .map(|layer| figures_of(project, layer))
        .collect();
    project.figures = figures;
    Latency::follow(project, question);
    if let Some(speed) = project.latency.speed().cloned() {
        let times = speed.by_layer(project.layers.len());
        for (figures, time) in project.figures.iter_mut().zip(times) {
            figures.latency = time;
        }
    }
    let all = (0..project.layers.len()).filter(|&layer| project.layers[layer].compressible);
    project.totals = totals(project, all);
    project.selected_totals = totals(project, project.selection.layers().into_iter());
}

fn figures_of(project: &Project, layer: usize) -> LayerFigures {
    let info = &project.layers[layer];
    let draft = project.draft();
    let settings = &draft.settings[layer];
    let bytes_after = match info.compressible {
        true => stored_bytes(draft.format, info, settings),
        false => info.size_bytes,
    };
    LayerFigures {
        bytes_before: info.size_bytes,
        bytes_after,
        bytes_mark: match info.compressible && settings.waits_for_weights() {
            true => Mark::Estimated,
            false => Mark::Exact,
        },
        bits_per_weight: BitsPerWeight::of(Bytes(bytes_after), info.parameters).0,
        error: error_of(project, layer, settings),
        latency: None,
    }
}

/// Measured where a run had these settings, else estimated, else the last estimate as stale.
fn error_of(project: &Project, layer: usize, settings: &LayerSettings) -> Option<Figure> {
    let last = || {
        let last = project.estimates.last(layer)?;
        Some(Figure::estimated(last.relative_error).stale())
    };
    let is_failed = matches!(project.estimates.get(layer, settings), Some(Err(_)));
    let known = project.error_under(layer, settings);
    known.or_else(|| if is_failed { None } else { last() })
}

/// Sums over `layers`.
pub(super) fn totals(project: &Project, layers: impl Iterator<Item = usize>) -> Totals {
    let mut totals = Totals::default();
    let mut times = Vec::new();
    let mut squares = 0.0;
    let mut marks = Vec::new();
    let mut is_known = true;
    for layer in layers {
        let (info, figures) = (&project.layers[layer], &project.figures[layer]);
        totals.layers += 1;
        totals.weights += info.parameters;
        totals.bytes_before += figures.bytes_before;
        totals.bytes_after += figures.bytes_after;
        totals.bytes_mark = totals.bytes_mark.weaker(figures.bytes_mark);
        if project.draft().settings[layer].method != Method::None {
            totals.compressed_weights += info.parameters;
            totals.compressed_bytes += figures.bytes_after;
        }
        times.push(figures.latency);
        match figures.error {
            Some(error) => {
                squares += error.value * error.value * info.parameters as f64;
                marks.push(error.mark);
            }
            None => is_known = false,
        }
    }
    totals.latency = Figure::sum(times.into_iter());
    if is_known && totals.weights > 0 {
        totals.error = Some(Figure {
            value: (squares / totals.weights as f64).sqrt(),
            mark: weakest(marks.into_iter()).unwrap_or(Mark::Exact),
        });
    }
    totals
}

fn build_rows(project: &Project) -> rows::Rows {
    let draft = project.draft();
    let source = Source {
        layers: &project.layers,
        settings: &draft.settings,
        figures: &project.figures,
        folded: &project.folded,
        sort: project.sort,
    };
    if project.filter.is_empty() {
        return rows::build(source, |_| true);
    }
    rows::build(source, |layer| {
        let zeros = sparse::zeros_of(&draft.settings[layer]);
        let pattern = zeros.map_or_else(String::new, |zeros| zeros.pattern.to_string());
        project.filter.passes(&facts(project, layer, &pattern))
    })
}

/// What a filter may ask of a layer.
fn facts<'a>(project: &'a Project, layer: usize, pattern: &'a str) -> Facts<'a> {
    let info = &project.layers[layer];
    let settings = &project.draft().settings[layer];
    let figures = &project.figures[layer];
    Facts {
        name: &info.name,
        role: info.role.as_str(),
        block: info.block,
        method: settings.method.word(),
        bits: sparse::has_codes(settings).then_some(settings.bits),
        group: settings.group,
        sparsity: sparse::share_of(settings),
        prune: sparse::zeros_of(settings).map_or("none", |zeros| zeros.method.word()),
        pattern,
        bits_per_weight: figures.bits_per_weight,
        bytes: figures.bytes_after,
        parameters: info.parameters,
        error: figures.error.map(|error| error.value),
        locked: project.draft().locked[layer],
        selected: project.selection.contains(layer),
    }
}
