//! Opening and leaving models, recent models, recipes read and written.

use super::choose::end_sensitivity;
use super::load::{autosave, project, read_draft};
use crate::studio::compose;
use crate::studio::effect::{Effect, Job, Purpose};
use crate::studio::event::{Generation, Opened};
use crate::studio::figure::short_count;
use crate::studio::log::Level;
use crate::studio::project::Inputs;
use crate::studio::runs::RunStatus;
use crate::studio::state::{Phase, Recent, Saved, Studio};
use pare_engine::recipe::Recipe;
use pare_engine::session::SessionOptions;
use std::path::{Path, PathBuf};

/// Recent models kept.
const MOST_RECENTS: usize = 30;

impl Studio {
    /// How sessions may use the machine.
    pub fn session_options(&self) -> SessionOptions {
        SessionOptions {
            threads: self.limits.threads.or(self.preferences.threads),
            memory_bytes: self.limits.memory_bytes.or(self.preferences.memory_bytes),
            cache_folder: self.cache_folder(),
            cache_capacity_bytes: self.preferences.cache_capacity_bytes,
        }
    }

    pub(super) fn open(&mut self, path: PathBuf) -> Vec<Effect> {
        let mut effects = self.leave();
        self.generation.0 += 1;
        self.open_failure = None;
        let before = match std::mem::take(&mut self.phase) {
            Phase::Nothing => None,
            Phase::Opening { before, .. } => before,
            Phase::Open(project) => Some(project),
        };
        self.phase = Phase::Opening {
            path: path.clone(),
            before,
        };
        effects.push(Effect::Start(Job::Open {
            generation: self.generation,
            path,
            options: self.session_options(),
        }));
        effects
    }

    /// A dropped file: recipes by their ending, everything else is a model.
    pub(super) fn take(&mut self, path: PathBuf) -> Vec<Effect> {
        let is_recipe = path.extension().is_some_and(|ending| ending == "toml");
        match (is_recipe, self.project().is_some()) {
            (true, true) => vec![Effect::Start(Job::ReadRecipe(path))],
            (true, false) => vec![self.tell(
                Level::Warning,
                format!(
                    "A recipe needs an open model; open a model first: {}",
                    path.display()
                ),
            )],
            (false, _) => self.open(path),
        }
    }

    pub(super) fn close_model(&mut self) -> Vec<Effect> {
        let effects = self.leave();
        self.generation.0 += 1;
        self.phase = Phase::Nothing;
        effects
    }

    /// Ends what is at work for the open model (not its runs) and keeps its draft.
    fn leave(&mut self) -> Vec<Effect> {
        let Some(project) = self.project_mut() else {
            return Vec::new();
        };
        for control in [&project.estimating, &project.preview.control]
            .into_iter()
            .flatten()
        {
            control.stop();
        }
        if let Inputs::Gathering(control) = &project.inputs {
            control.stop();
        }
        end_sensitivity(project);
        autosave(project)
    }

    pub(super) fn opened(
        &mut self,
        generation: Generation,
        path: PathBuf,
        result: Result<Opened, String>,
    ) -> Vec<Effect> {
        if generation != self.generation {
            return Vec::new();
        }
        let opened = match result {
            Ok(opened) => opened,
            Err(reason) => {
                self.open_failure = Some((path, reason.clone()));
                let mut effects = self.come_back();
                effects.push(self.tell(Level::Error, reason));
                return effects;
            }
        };
        let project = project(path, opened);
        let summary = format!(
            "{}, {} parameters",
            project
                .inspection
                .family
                .as_deref()
                .unwrap_or("unknown architecture"),
            short_count(project.inspection.parameters)
        );
        let mut effects = self.remember_recent(&project.path, summary);
        let name = project.name.clone();
        let warnings = project.warnings.clone();
        self.phase = Phase::Open(Box::new(project));
        self.take_measured();
        self.log
            .write(Level::Info, self.now_seconds, format!("Opened {name}"));
        for warning in warnings {
            effects.push(self.tell(Level::Warning, warning));
        }
        effects.extend(self.calibrate(true));
        effects.extend(self.refresh());
        effects.extend(self.foresee());
        self.recall_curve();
        effects
    }

    /// The model that was open before, as it was left; what was at work for it is asked anew.
    fn come_back(&mut self) -> Vec<Effect> {
        let Phase::Opening {
            before: Some(mut project),
            ..
        } = std::mem::take(&mut self.phase)
        else {
            return Vec::new();
        };
        let was_gathering = matches!(project.inputs, Inputs::Gathering(_));
        match was_gathering {
            true => project.forget_inputs(),
            false => project.inputs_changed(),
        }
        self.phase = Phase::Open(project);
        let mut effects = match was_gathering {
            true => self.calibrate(true),
            false => Vec::new(),
        };
        effects.extend(self.refresh());
        effects
    }

    pub(super) fn restored(&mut self, saved: Saved) -> Vec<Effect> {
        if let Some(preferences) = saved.preferences {
            self.preferences = preferences;
        }
        self.recents = saved.recents;
        self.runs = saved.runs;
        for run in &mut self.runs {
            if matches!(run.status, RunStatus::Running | RunStatus::Waiting) {
                run.status = RunStatus::Interrupted;
            }
        }
        self.next_run = saved.next_run.max(1);
        self.run_base = saved.run_base;
        self.take_measured();
        let mut effects = self.find_devices();
        match saved.problem.or(saved.notice.clone()) {
            None => {}
            Some(notice) if saved.notice.is_some() => {
                effects.push(self.tell(Level::Warning, notice));
            }
            Some(problem) => {
                self.store = Err(problem.clone());
                effects.push(self.tell(Level::Warning, problem));
            }
        }
        effects
    }

    fn remember_recent(&mut self, path: &Path, summary: String) -> Vec<Effect> {
        let old = self.recents.iter().position(|recent| recent.path == path);
        let pinned = old.is_some_and(|old| self.recents.remove(old).pinned);
        self.recents.insert(
            0,
            Recent {
                path: path.to_owned(),
                pinned,
                summary,
                is_missing: false,
            },
        );
        self.sort_recents()
    }

    pub(super) fn forget_recent(&mut self, path: &Path) -> Vec<Effect> {
        self.recents.retain(|recent| recent.path != path);
        self.sort_recents()
    }

    pub(super) fn pin_recent(&mut self, path: &Path) -> Vec<Effect> {
        for recent in self.recents.iter_mut().filter(|recent| recent.path == path) {
            recent.pinned = !recent.pinned;
        }
        self.sort_recents()
    }

    fn sort_recents(&mut self) -> Vec<Effect> {
        self.recents.sort_by_key(|recent| !recent.pinned);
        self.recents.truncate(MOST_RECENTS);
        vec![Effect::Start(Job::KeepRecents(self.recents.clone()))]
    }

    pub(super) fn save_recipe(&mut self, path: PathBuf) -> Vec<Effect> {
        let Some(project) = self.project() else {
            return Vec::new();
        };
        let toml = compose::recipe(project.draft(), &project.layers).to_toml();
        vec![Effect::Start(Job::WriteRecipe(path, toml))]
    }

    pub(super) fn recipe_written(
        &mut self,
        path: PathBuf,
        result: Result<(), String>,
    ) -> Vec<Effect> {
        if let Err(reason) = result {
            return vec![self.tell(Level::Error, reason)];
        }
        if let Some(project) = self.project_mut() {
            project.saved = project.draft().clone();
            project.recipe_file = Some(path.clone());
        }
        vec![self.tell(Level::Info, format!("Recipe saved: {}", path.display()))]
    }

    pub(super) fn recipe_read(
        &mut self,
        path: PathBuf,
        result: Result<String, String>,
    ) -> Vec<Effect> {
        let parsed = result.and_then(|text| {
            Recipe::parse(&text).map_err(|error| format!("{error}: {}", path.display()))
        });
        let recipe = match parsed {
            Ok(recipe) => recipe.relative_to(path.parent().unwrap_or(Path::new(""))),
            Err(reason) => return vec![self.tell(Level::Error, reason)],
        };
        let Some(project) = self.project_mut() else {
            return Vec::new();
        };
        let before = project.draft().calibration.clone();
        let (draft, warnings) = read_draft(project, &recipe);
        project.history.push(draft, "open recipe".to_owned(), None);
        project.saved = project.draft().clone();
        project.recipe_file = Some(path);
        let mut effects: Vec<Effect> = warnings
            .into_iter()
            .map(|warning| self.tell(Level::Warning, warning))
            .collect();
        effects.extend(self.calibration_changed(&before));
        effects.extend(self.draft_changed());
        effects
    }

    pub(super) fn chosen(&mut self, purpose: Purpose, path: Option<PathBuf>) -> Vec<Effect> {
        use crate::studio::command::Command;
        let Some(path) = path else {
            return Vec::new();
        };
        match purpose {
            Purpose::Model => self.open(path),
            Purpose::Recipe => vec![Effect::Start(Job::ReadRecipe(path))],
            Purpose::SaveRecipe => self.save_recipe(path),
            Purpose::CalibrationText => {
                let Some(project) = self.project() else {
                    return Vec::new();
                };
                let mut calibration = project.draft().calibration.clone();
                calibration.corpus = Some(path.to_string_lossy().into_owned());
                self.command(Command::SetCalibration(calibration))
            }
            Purpose::EvaluationText => self.command(Command::SetEvaluation(Some(path))),
            Purpose::ExportFolder => self.command(Command::CheckPlace(path)),
            Purpose::SaveReport(id) => self.command(Command::SaveReport(id, path)),
            Purpose::Teacher
            | Purpose::Student
            | Purpose::StudentConfig
            | Purpose::TrainingText => self.chosen_for_training(&purpose, path),
        }
    }
}
