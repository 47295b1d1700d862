//! The one place where the studio changes: a command or an event in, effects out.
//!
//! Pure: no file, no thread, no clock. What must be done outside comes back as effects.

mod ask;
mod choose;
mod edit;
mod figures;
mod load;
mod machine;
mod open;
mod outcomes;
mod plan;
mod report;
mod resume;
mod run;
mod structure;
#[cfg(test)]
mod tests;
mod train;

use super::action::{Action, View};
use super::command::Command;
use super::compose;
use super::copy;
use super::draft::LayerEdit;
use super::effect::{Effect, Job, Purpose};
use super::event::Event;
use super::log::Level;
use super::project::Project;
use super::sensitivity::SensitivityEffort;
use super::state::{Notice, Phase, Studio};
use pare_engine::solved::Method;

/// Notices kept.
const MOST_NOTICES: usize = 500;

impl Studio {
    /// Does what a face asks.
    pub fn command(&mut self, command: Command) -> Vec<Effect> {
        match command {
            Command::Act(action) => self.act(action),
            Command::Open(path) => self.open(path),
            Command::Take(path) => self.take(path),
            Command::OpenRecipe(path) => vec![Effect::Start(Job::ReadRecipe(path))],
            Command::SaveRecipe(path) => self.save_recipe(path),
            Command::ForgetRecent(path) => self.forget_recent(&path),
            Command::PinRecent(path) => self.pin_recent(&path),
            Command::SetCalibration(_)
            | Command::SetEvaluation(_)
            | Command::SetFormat(_)
            | Command::SetKvCache(_)
            | Command::SetStructure(..)
            | Command::TakeStep(_)
            | Command::Edit { .. }
            | Command::Lock(..)
            | Command::Uniform(_)
            | Command::FitDraft(_)
            | Command::CloneRun(_)
            | Command::CloneFitted(..) => self.change_draft(command),
            Command::MeasureSensitivity(_)
            | Command::StopSensitivity
            | Command::SetBudget(_)
            | Command::SetLatencyBudget(_)
            | Command::SettleBudget
            | Command::SetBudgetRules(_)
            | Command::ApplyProposal
            | Command::DiscardProposal
            | Command::PaintOption { .. } => self.choose(command),
            Command::Prefer(preferences) => self.prefer(preferences),
            Command::StopComparing => self.stop_comparing(),
            Command::ClearCache => self.clear_cache(),
            Command::Choose(purpose) => vec![Effect::Ask(purpose)],
            Command::MeasureCache => {
                vec![Effect::Start(Job::MeasureCache(self.cache_folder(), false))]
            }
            Command::Show(view) => vec![Effect::Show(view)],
            Command::ReadNotices => {
                for notice in &mut self.notices {
                    notice.read = true;
                }
                Vec::new()
            }
            Command::Close(sure) => self.close(sure),
            Command::CheckPlace(path) => vec![Effect::Start(Job::Look(path))],
            Command::Compare(left, right) => {
                self.compared = (left, right);
                Vec::new()
            }
            Command::SaveReport(id, path) => self.save_report(id, path),
            Command::SetTraining(_) | Command::Train | Command::ShowCurve(_) => {
                self.train_command(command)
            }
            Command::Run(_)
            | Command::SetDestination(_)
            | Command::Resume(_)
            | Command::Unqueue(_)
            | Command::Pin(_)
            | Command::Rename(..)
            | Command::Forget(_)
            | Command::Evaluate(_)
            | Command::Generate { .. }
            | Command::StopGenerating
            | Command::Export { .. }
            | Command::CopyExport { .. } => self.run_command(command),
            command => self.table_command(command),
        }
    }

    /// Takes in what a worker tells.
    pub fn event(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Restored(saved) => self.restored(*saved),
            Event::Opened {
                generation,
                path,
                result,
            } => self.opened(generation, path, result),
            Event::Estimated {
                generation,
                job,
                estimates,
                finished,
            } => self.estimated(generation, job, estimates, finished),
            Event::Previewed {
                generation,
                layer,
                answer,
            } => self.previewed(generation, layer, *answer),
            Event::Calibrated {
                generation,
                control,
                result,
            } => self.calibrated(generation, &control, result),
            Event::SensitivityGrew {
                generation,
                control,
                rows,
                step,
            } => self.sensitivity_grew(generation, &control, rows, step),
            Event::SensitivityDone {
                generation,
                control,
                result,
            } => self.sensitivity_done(generation, &control, result),
            Event::BlocksCompared {
                generation,
                control,
                result,
            } => self.blocks_compared(generation, &control, result),
            Event::Sized {
                generation,
                control,
                answers,
            } => self.sized(generation, &control, answers),
            Event::RecipeRead(path, result) => self.recipe_read(path, result),
            Event::RecipeWritten(path, result) => self.recipe_written(path, result),
            Event::MachineMeasured(outcome) => self.machine_measured(outcome),
            Event::DevicesFound {
                machine,
                free_bytes,
                own,
            } => self.devices_found(machine, free_bytes, own),
            Event::Looked(place) => {
                self.place = Some(place);
                Vec::new()
            }
            Event::CacheMeasured(bytes) => {
                self.cache_bytes = Some(bytes);
                Vec::new()
            }
            Event::Chosen(purpose, path) => self.chosen(purpose, path),
            Event::Told(level, text) => {
                self.log.write(level, self.now_seconds, text);
                Vec::new()
            }
            Event::Panicked { job, message } => {
                // Every other job has a last word of its own.
                if let (Some(project), "estimating") = (self.project_mut(), &job[..]) {
                    project.estimating = None;
                }
                vec![self.tell(
                    Level::Error,
                    format!("A defect in Pare ended {job}: {message}. Everything else goes on; please report it"),
                )]
            }
            Event::Reported(outcome) => self.reported(outcome),
            Event::Stepped(..)
            | Event::Sampled(..)
            | Event::Trained(..)
            | Event::Foreseen { .. } => self.train_event(event),
            event => self.run_event(event),
        }
    }

    fn act(&mut self, action: Action) -> Vec<Effect> {
        if let Err(reason) = action.availability(self) {
            return vec![self.tell(Level::Info, format!("{}: {reason}", action.label()))];
        }
        match action {
            Action::OpenModel => vec![Effect::Ask(Purpose::Model)],
            Action::OpenSample => self.open(super::sample::WORD.into()),
            Action::OpenRecent(place) => match super::action::recent(self, place) {
                Some(recent) => self.open(recent.path.clone()),
                None => Vec::new(),
            },
            Action::CloseModel => self.close_model(),
            Action::OpenRecipe => vec![Effect::Ask(Purpose::Recipe)],
            Action::SaveRecipe => match self.project().and_then(|p| p.recipe_file.clone()) {
                Some(path) => self.save_recipe(path),
                None => vec![Effect::Ask(Purpose::SaveRecipe)],
            },
            Action::SaveRecipeAs => vec![Effect::Ask(Purpose::SaveRecipe)],
            Action::Undo | Action::Redo => self.travel(action == Action::Undo),
            Action::CopySettings => self.copy_settings(),
            Action::PasteSettings => match self.copied {
                Some(settings) => self.edit_selection(LayerEdit::Paste(settings)),
                None => Vec::new(),
            },
            Action::FillDown => self.fill_down(),
            Action::ApplyToRole => self.apply_to_role(),
            Action::KeepDense => self.edit_selection(LayerEdit::Method(Method::None)),
            Action::ToggleLock => self.toggle_lock(),
            Action::SelectAll
            | Action::InvertSelection
            | Action::ClearSelection
            | Action::SelectRole => self.select_by(action),
            Action::FocusFilter => vec![Effect::Show(View::Layers), Effect::FocusFilter],
            Action::Calibrate => self.calibrate(false),
            Action::CompareBlocks => self.compare_blocks(),
            Action::MeasureSensitivity => self.measure_sensitivity(SensitivityEffort::Full),
            Action::SketchSensitivity => self.measure_sensitivity(SensitivityEffort::Quick),
            Action::StopSensitivity => self.choose(Command::StopSensitivity),
            Action::ApplyProposal => self.choose(Command::ApplyProposal),
            Action::DiscardProposal => self.choose(Command::DiscardProposal),
            Action::MeasureMachine => self.measure_machine(),
            Action::StartRun => self.command(Command::Run(None)),
            Action::PauseRun => self.pause_or_continue(),
            Action::StopRun => self.stop_run(),
            Action::ResumeRun => match self.resumable() {
                Some(id) => self.command(Command::Resume(id)),
                None => Vec::new(),
            },
            Action::StartTraining => self.command(Command::Train),
            Action::CopyTraining => self.copy_training(),
            Action::CopyCurve => self.copy_curve(),
            Action::Export => vec![Effect::Show(View::Export)],
            Action::CopyCommandLine => self.copy_command_line(),
            Action::CopyRecipe => match self.project() {
                Some(project) => {
                    let recipe = compose::recipe(project.draft(), &project.layers);
                    vec![Effect::Copy(recipe.to_toml())]
                }
                None => Vec::new(),
            },
            Action::Palette => vec![Effect::OpenPalette],
            Action::Shortcuts => vec![Effect::OpenShortcuts],
            Action::ZoomIn => self.zoom(|scale| scale + 0.1),
            Action::ZoomOut => self.zoom(|scale| scale - 0.1),
            Action::ZoomReset => self.zoom(|_| 1.0),
            Action::ResetLayout => vec![Effect::ResetLayout],
            Action::NextPane => vec![Effect::NextPane],
            Action::Show(view) => vec![Effect::Show(view)],
            Action::Quit => self.close(false),
        }
    }

    /// Writes to the log, adds a notice where it matters, and returns the toast.
    fn tell(&mut self, level: Level, text: impl Into<String>) -> Effect {
        let text = text.into();
        self.log.write(level, self.now_seconds, text.as_str());
        if level > Level::Info {
            self.notices.push(Notice {
                level,
                text: text.clone(),
                read: false,
            });
            let extra = self.notices.len().saturating_sub(MOST_NOTICES);
            self.notices.drain(..extra);
        }
        Effect::Toast(level, text)
    }

    fn project_mut(&mut self) -> Option<&mut Project> {
        match &mut self.phase {
            Phase::Open(project) => Some(project),
            _ => None,
        }
    }

    fn copy_command_line(&mut self) -> Vec<Effect> {
        let out = self.next_out();
        let Some(project) = self.project() else {
            return Vec::new();
        };
        let draft = project.draft();
        let text = copy::compress(
            &project.path,
            &compose::recipe(draft, &project.layers),
            &out,
            draft.format,
            draft.evaluation.as_deref(),
        );
        vec![
            Effect::Copy(text),
            self.tell(Level::Info, "The command line is in the clipboard"),
        ]
    }

    fn zoom(&mut self, change: impl Fn(f32) -> f32) -> Vec<Effect> {
        let mut preferences = self.preferences.clone();
        // Tenths, so that ten steps up and ten down end where they began.
        preferences.scale = (change(preferences.scale).clamp(0.6, 2.4) * 10.0).round() / 10.0;
        self.prefer(preferences)
    }

    fn prefer(&mut self, preferences: super::preferences::Preferences) -> Vec<Effect> {
        if preferences == self.preferences {
            return Vec::new();
        }
        let before = std::mem::replace(&mut self.preferences, preferences.clone());
        let mut effects = vec![Effect::Start(Job::KeepPreferences(Box::new(preferences)))];
        self.device_changed();
        // What was measured holds for its number of threads alone.
        let is_elsewhere = before.cache_folder != self.preferences.cache_folder;
        if is_elsewhere || before.threads != self.preferences.threads {
            effects.extend(self.find_devices());
        }
        effects
    }

    fn clear_cache(&mut self) -> Vec<Effect> {
        if let Some(project) = self.project_mut() {
            project.forget_inputs();
        }
        let mut effects = vec![Effect::Start(Job::MeasureCache(self.cache_folder(), true))];
        effects.extend(self.refresh());
        effects
    }

    fn close(&mut self, sure: bool) -> Vec<Effect> {
        // Nothing is kept of an export or a measurement that is cut off.
        if (self.is_working() || self.side_job.is_some()) && !sure {
            return vec![Effect::ConfirmClose];
        }
        self.waiting.clear();
        if let Some(active) = &self.active {
            active.control.stop();
        }
        if let Some(job) = &self.side_job {
            job.control.stop();
        }
        if let Some(project) = self.project_mut() {
            choose::end_sensitivity(project);
        }
        vec![Effect::Close]
    }
}
