//! Edits of the draft, the selection, the filter and the order of rows.

use super::load::{autosave, read_draft};
use crate::studio::action::{Action, View};
use crate::studio::command::Command;
use crate::studio::draft::{Draft, LayerEdit, settings_in_words};
use crate::studio::effect::Effect;
use crate::studio::filter::Filter;
use crate::studio::history::Gesture;
use crate::studio::log::Level;
use crate::studio::state::Studio;
use crate::studio::steps;
use pare_engine::formats::Format;
use pare_engine::recipe::{CalibrationSettings, Recipe};

impl Studio {
    /// Commands that change what is chosen.
    pub(super) fn change_draft(&mut self, command: Command) -> Vec<Effect> {
        match command {
            Command::CloneRun(id) => return self.clone_run(id),
            Command::CloneFitted(id, format) => return self.clone_fitted(id, format),
            _ => {}
        }
        let Some(project) = self.project_mut() else {
            return Vec::new();
        };
        let draft = project.draft().as_ref().clone();
        match command {
            Command::Edit {
                edit,
                layers,
                gesture,
            } => return self.edit(edit, layers, gesture),
            Command::Lock(layers, locked) => {
                let words = if locked { "lock" } else { "unlock" };
                let label = format!("{words} {}", count_layers(layers.len()));
                project
                    .history
                    .push(draft.with_lock(&layers, locked), label, None);
            }
            Command::SetCalibration(calibration) => {
                let changed = calibration != draft.calibration;
                let draft = Draft {
                    calibration,
                    ..draft
                };
                project
                    .history
                    .push(draft, "set the calibration text".to_owned(), None);
                if changed {
                    project.forget_inputs();
                    let mut effects = self.calibrate(true);
                    effects.extend(self.draft_changed());
                    return effects;
                }
            }
            Command::SetEvaluation(evaluation) => {
                let draft = Draft {
                    evaluation,
                    ..draft
                };
                project
                    .history
                    .push(draft, "set the evaluation text".to_owned(), None);
            }
            Command::SetFormat(format) => {
                let label = format!("set format {}", format.word());
                project.history.push(Draft { format, ..draft }, label, None);
                // Its loaders fuse q/k/v and gate/up, and refuse those that differ.
                project.budget_rules.fused |= format.fuses_peers();
            }
            Command::FitDraft(format) => {
                let fitted = draft.fitted(&project.layers, format);
                let label = format!("fit the recipe to {}", format.word());
                project.history.push(fitted, label, None);
            }
            Command::SetKvCache(kv_cache) => {
                let label = format!("keep keys and values in {}", kv_cache.word());
                project
                    .history
                    .push(Draft { kv_cache, ..draft }, label, None);
            }
            Command::SetStructure(structure, gesture) => {
                let label = format!("set structure: {}", steps::structure_in_words(&structure));
                project
                    .history
                    .push(Draft { structure, ..draft }, label, gesture);
            }
            Command::TakeStep(kind) => {
                let label = format!("take the draft up to {}", kind.name());
                project
                    .history
                    .push(steps::draft_up_to(&draft, kind), label, None);
            }
            Command::Uniform(bits) => {
                let draft = project.uniform(bits);
                let label = format!("set {bits} bits everywhere");
                project.history.push(draft, label, None);
            }
            _ => {}
        }
        self.draft_changed()
    }

    pub(super) fn edit_selection(&mut self, edit: LayerEdit) -> Vec<Effect> {
        self.edit(edit, None, None)
    }

    pub(super) fn edit(
        &mut self,
        edit: LayerEdit,
        layers: Option<Vec<usize>>,
        gesture: Option<Gesture>,
    ) -> Vec<Effect> {
        let Some(project) = self.project_mut() else {
            return Vec::new();
        };
        let layers = layers.unwrap_or_else(|| project.selection.layers());
        let (draft, changed) = project.draft().edited(&project.layers, &layers, edit);
        if changed == 0 {
            let locked = layers.iter().any(|&layer| project.draft().locked[layer]);
            return match locked {
                true => vec![self.tell(Level::Info, "Locked layers were left as they are")],
                false => Vec::new(),
            };
        }
        let label = format!("{} on {}", edit.label(), count_layers(changed));
        project.history.push(draft, label, gesture);
        self.draft_changed()
    }

    fn clone_run(&mut self, id: crate::studio::runs::RunId) -> Vec<Effect> {
        let Some(run) = self.run(id) else {
            return Vec::new();
        };
        let (name, training) = (run.name.clone(), run.training.clone());
        let recipe = match Recipe::parse(&run.recipe_toml) {
            Ok(recipe) => recipe,
            Err(error) => return vec![self.tell(Level::Error, error.to_string())],
        };
        match training {
            Some(training) => self.clone_training(&training, &name, &recipe),
            None => {
                let mut effects = self.take_recipe(&name, &recipe);
                effects.push(Effect::Show(View::Layers));
                effects
            }
        }
    }

    /// Nothing changes where the run's recipe cannot be read.
    fn clone_fitted(&mut self, id: crate::studio::runs::RunId, format: Format) -> Vec<Effect> {
        let Some(run) = self.run(id) else {
            return Vec::new();
        };
        let name = run.name.clone();
        let recipe = match Recipe::parse(&run.recipe_toml) {
            Ok(recipe) => recipe,
            Err(error) => return vec![self.tell(Level::Error, error.to_string())],
        };
        let mut effects = self.take_recipe(&name, &recipe);
        effects.extend(self.command(Command::FitDraft(format)));
        effects.push(Effect::Show(View::Run));
        effects
    }

    /// The recipe of the run `name` as the draft.
    pub(super) fn take_recipe(&mut self, name: &str, recipe: &Recipe) -> Vec<Effect> {
        let Some(project) = self.project_mut() else {
            return Vec::new();
        };
        let before = project.draft().calibration.clone();
        let (draft, warnings) = read_draft(project, recipe);
        project
            .history
            .push(draft, format!("take the recipe of {name}"), None);
        let mut effects: Vec<Effect> = warnings
            .into_iter()
            .map(|warning| self.tell(Level::Warning, warning))
            .collect();
        effects.extend(self.calibration_changed(&before));
        effects.extend(self.draft_changed());
        effects
    }

    /// Undo or redo.
    pub(super) fn travel(&mut self, back: bool) -> Vec<Effect> {
        let Some(project) = self.project_mut() else {
            return Vec::new();
        };
        let before = project.draft().calibration.clone();
        let label = match back {
            true => project
                .history
                .undo_label()
                .map(|label| format!("Undid {label}")),
            false => project
                .history
                .redo_label()
                .map(|label| format!("Redid {label}")),
        };
        let moved = match back {
            true => project.history.undo(),
            false => project.history.redo(),
        };
        if !moved {
            return Vec::new();
        }
        let mut effects = self.calibration_changed(&before);
        effects.extend(self.draft_changed());
        if let Some(label) = label {
            effects.push(self.tell(Level::Info, label));
        }
        effects
    }

    /// Looks for inputs anew where the draft asks for others than `before`.
    pub(super) fn calibration_changed(&mut self, before: &CalibrationSettings) -> Vec<Effect> {
        let Some(project) = self.project_mut() else {
            return Vec::new();
        };
        if project.draft().calibration == *before {
            return Vec::new();
        }
        project.forget_inputs();
        self.calibrate(true)
    }

    /// Everything that follows from another draft.
    pub(super) fn draft_changed(&mut self) -> Vec<Effect> {
        let mut effects = self.refresh();
        if let Some(project) = self.project() {
            effects.extend(autosave(project));
        }
        effects
    }

    pub(super) fn copy_settings(&mut self) -> Vec<Effect> {
        let Some(project) = self.project() else {
            return Vec::new();
        };
        let Some(layer) = project.selection.cursor() else {
            return Vec::new();
        };
        let settings = project.draft().settings[layer];
        let name = project.layers[layer].name.clone();
        self.copied = Some(settings);
        // Without text in the clipboard the desktop tells nobody that something is pasted.
        let text = format!("{name}: {}", settings_in_words(&settings));
        let told = self.tell(Level::Info, format!("Copied the settings of {name}"));
        vec![Effect::Copy(text), told]
    }

    /// The first selected layer in the order on screen gives its settings to the others.
    pub(super) fn fill_down(&mut self) -> Vec<Effect> {
        let Some(project) = self.project() else {
            return Vec::new();
        };
        let selection = &project.selection;
        let shown = project.rows.visible.iter().copied();
        let first = shown
            .filter(|&layer| selection.contains(layer))
            .chain(selection.layers())
            .next();
        let Some(first) = first else {
            return Vec::new();
        };
        let settings = project.draft().settings[first];
        self.edit_selection(LayerEdit::Paste(settings))
    }

    pub(super) fn apply_to_role(&mut self) -> Vec<Effect> {
        let Some(project) = self.project() else {
            return Vec::new();
        };
        let Some(layer) = project.selection.cursor() else {
            return Vec::new();
        };
        let settings = project.draft().settings[layer];
        let peers = project.same_role(layer);
        self.edit(LayerEdit::Paste(settings), Some(peers), None)
    }

    pub(super) fn toggle_lock(&mut self) -> Vec<Effect> {
        let Some(project) = self.project() else {
            return Vec::new();
        };
        let layers = project.selection.layers();
        let all = layers.iter().all(|&layer| project.draft().locked[layer]);
        self.change_draft(Command::Lock(layers, !all))
    }

    pub(super) fn select_by(&mut self, action: Action) -> Vec<Effect> {
        let Some(project) = self.project_mut() else {
            return Vec::new();
        };
        match action {
            Action::SelectAll => project.selection.set(project.rows.visible.clone()),
            Action::InvertSelection => project.selection.invert(&project.rows.visible),
            Action::ClearSelection => project.selection.clear(),
            Action::SelectRole => {
                if let Some(layer) = project.selection.cursor() {
                    let peers = project.same_role(layer);
                    project.selection.set(peers);
                }
            }
            _ => {}
        }
        self.selection_changed()
    }

    /// Commands about what the table shows and what of it is selected.
    pub(super) fn table_command(&mut self, command: Command) -> Vec<Effect> {
        let Some(project) = self.project_mut() else {
            return Vec::new();
        };
        match command {
            Command::Select(layer, join) => {
                project.selection.click(layer, join, &project.rows.visible);
            }
            Command::SelectLayers(layers) => project.selection.set(layers),
            Command::ToggleLayers(layers) => project.selection.toggle_all(&layers),
            Command::Step(steps, reach) => {
                project.selection.step(steps, reach, &project.rows.visible);
            }
            Command::Hover(layer) => {
                project.hovered = layer;
                return Vec::new();
            }
            Command::EndGesture => {
                project.history.end_gesture();
                return Vec::new();
            }
            Command::Filter(text) => return self.filter(text),
            Command::Sort(key) => {
                project.sort = project.sort.clicked(key);
                self.rebuild_rows();
                return Vec::new();
            }
            Command::Fold(block) => {
                if !project.folded.remove(&block) {
                    project.folded.insert(block);
                }
                self.rebuild_rows();
                return Vec::new();
            }
            _ => return Vec::new(),
        }
        self.selection_changed()
    }

    fn filter(&mut self, text: String) -> Vec<Effect> {
        let Some(project) = self.project_mut() else {
            return Vec::new();
        };
        match Filter::parse(&text) {
            Ok(filter) => {
                project.filter = filter;
                project.filter_problem = None;
            }
            // The rows of the last filter that made sense stay.
            Err(error) => project.filter_problem = Some(error.problem),
        }
        project.filter_text = text;
        self.rebuild_rows();
        Vec::new()
    }
}

fn count_layers(count: usize) -> String {
    match count {
        1 => "1 layer".to_owned(),
        count => format!("{count} layers"),
    }
}
