//! An open model from what the worker read: its first draft, or the one it was left with.

use crate::studio::compose;
use crate::studio::draft::Draft;
use crate::studio::effect::{Effect, Job};
use crate::studio::estimates::Estimates;
use crate::studio::event::Opened;
use crate::studio::filter::Filter;
use crate::studio::history::History;
use crate::studio::kept::KeptDraft;
use crate::studio::latency::Latency;
use crate::studio::project::{Foreseen, Inputs, PreviewState, Project, Totals};
use crate::studio::proposal::BudgetRules;
use crate::studio::quality::Outlook;
use crate::studio::rows::{Rows, Sort};
use crate::studio::sample;
use crate::studio::selection::Selection;
use crate::studio::sensitivity::Sensitivity;
use crate::studio::similarity::Similarity;
use crate::studio::smaller::Smaller;
use crate::studio::train::TrainDraft;
use pare_engine::formats::Format;
use pare_engine::recipe::Recipe;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Keeps the draft of `project` for the next time that its model is opened.
pub(super) fn autosave(project: &Project) -> Vec<Effect> {
    vec![Effect::Start(Job::KeepDraft {
        model: project.path.clone(),
        draft: KeptDraft::of(project),
    })]
}

/// The draft that a recipe says for the open model; what a recipe does not hold stays.
pub(super) fn read_draft(project: &Project, recipe: &Recipe) -> (Draft, Vec<String>) {
    let before = project.draft();
    let (mut draft, warnings) = compose::draft(
        recipe,
        &project.layers,
        before.evaluation.clone(),
        before.format,
    );
    draft.locked = before.locked.clone();
    if draft.calibration.corpus.is_none() {
        draft.calibration.corpus = before.calibration.corpus.clone();
    }
    let context = project.inspection.context_length.unwrap_or(usize::MAX);
    draft.calibration.length = draft.calibration.length.min(context);
    (draft, warnings)
}

/// A model just opened, with the draft that it was left with.
pub(super) fn project(path: PathBuf, opened: Opened) -> Project {
    let inspection = Arc::new(opened.session.inspect());
    let layers = Arc::new(opened.session.layers().to_vec());
    let mut recipe = Recipe::default();
    recipe.calibration.corpus = opened
        .calibration_text
        .map(|text| text.to_string_lossy().into_owned());
    let context = inspection.context_length.unwrap_or(usize::MAX);
    recipe.calibration.length = recipe.calibration.length.min(context);
    let (fresh, _) = compose::draft(&recipe, &layers, opened.evaluation_text, Format::Pare);
    let mut project = Project {
        name: name_of(&path, opened.is_sample),
        path,
        is_sample: opened.is_sample,
        session: opened.session,
        inspection,
        history: History::new(fresh.clone()),
        saved: Arc::new(fresh),
        recipe_file: None,
        selection: Selection::default(),
        hovered: None,
        filter_text: String::new(),
        filter: Filter::default(),
        filter_problem: None,
        sort: Sort::default(),
        folded: BTreeSet::new(),
        rows: Rows::default(),
        figures: Vec::new(),
        totals: Totals::default(),
        selected_totals: Totals::default(),
        estimates: Estimates::default(),
        latency: Latency::default(),
        outlook: Outlook::default(),
        similarity: Similarity::default(),
        smaller: Smaller::default(),
        sensitivity: Sensitivity::default(),
        budget_bytes: None,
        budget_seconds: None,
        budget_rules: BudgetRules::default(),
        proposal: None,
        proposals: 0,
        measured: HashMap::new(),
        estimating: None,
        preview: PreviewState::default(),
        inputs: Inputs::None,
        train: TrainDraft::default(),
        foresight: Foreseen::default(),
        warnings: Vec::new(),
        layers,
    };
    if let Some(kept) = opened.autosaved {
        restore(&mut project, &kept);
    }
    project
}

/// What was kept of the draft is one step after the fresh one.
fn restore(project: &mut Project, kept: &KeptDraft) {
    let Ok(recipe) = Recipe::parse(&kept.toml) else {
        return;
    };
    let (mut draft, warnings) = read_draft(project, &recipe);
    if let Some(rest) = &kept.rest {
        draft = rest.restore(draft, &project.layers);
        project.budget_bytes = rest.budget_bytes;
        project.budget_seconds = rest.budget_seconds;
        project.budget_rules = rest.rules.clone();
    }
    project.warnings = warnings;
    project
        .history
        .push(draft, "restore the last draft".to_owned(), None);
}

/// The folder's name, or the file's without its ending.
fn name_of(path: &Path, is_sample: bool) -> String {
    if is_sample {
        return sample::WORD.to_owned();
    }
    // A folder may have dots in its name, so only names of files lose their ending.
    let is_file = path
        .extension()
        .is_some_and(|ending| ending == "safetensors" || ending == "gguf");
    let name = match !is_file {
        true => path.file_name(),
        false => path.file_stem(),
    };
    name.map_or_else(
        || path.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests;
