//! Runs asked for: queued, started, paused, stopped, resumed; measuring, writing text and exporting beside them.

use crate::studio::action::View;
use crate::studio::command::Command;
use crate::studio::compose;
use crate::studio::copy;
use crate::studio::effect::{Effect, Job};
use crate::studio::event::{Event, Outcome};
use crate::studio::log::Level;
use crate::studio::project::Project;
use crate::studio::runs::{
    ActiveRun, Control, Progress, Run, RunId, RunOrder, RunRequest, RunStatus, recipe_hash,
};
use crate::studio::state::{Playground, SideJob, Studio};
use crate::studio::train::Training;
use pare_engine::formats::Format;
use pare_engine::recipe::TrainMode;
use pare_engine::session::{CompressRequest, EvaluateRequest, GenerateRequest};
use std::path::PathBuf;
use std::sync::Arc;

impl Studio {
    /// Commands about runs.
    pub(super) fn run_command(&mut self, command: Command) -> Vec<Effect> {
        match command {
            Command::Run(out) => self.start_run(out),
            Command::SetDestination(path) => {
                self.destination = path;
                Vec::new()
            }
            Command::Resume(id) => self.resume(id),
            Command::Unqueue(id) => self.unqueue(id),
            Command::Pin(id) => self.pin(id),
            Command::Rename(id, name) => self.change_run(id, |run| run.name = name),
            Command::Forget(id) => self.forget(id),
            Command::Evaluate(id) => self.evaluate(id),
            Command::Generate {
                prompt,
                tokens,
                temperature,
                seed,
            } => self.generate(GenerateRequest {
                prompt,
                tokens,
                temperature,
                top_k: None,
                top_p: 1.0,
                seed,
                kv: None,
            }),
            Command::StopGenerating => {
                if let Some(job) = &self.side_job {
                    job.control.stop();
                }
                Vec::new()
            }
            Command::Export { run, format, out } => self.export(run, format, out),
            Command::CopyExport { run, format, out } => self.copy_export(run, format, &out),
            _ => Vec::new(),
        }
    }

    /// Where the next run of the open model goes: as a person said, or under its name in the data folder.
    pub fn next_out(&self) -> PathBuf {
        self.destination
            .clone()
            .unwrap_or_else(|| self.default_out())
    }

    /// The next run's name in the data folder.
    pub(super) fn default_out(&self) -> PathBuf {
        let name = self
            .project()
            .map_or("run", |project| project.name.as_str());
        let folder = self.runs_folder.clone().unwrap_or_default();
        folder.join(format!("{}-{}", file_safe(name), self.next_run))
    }

    fn start_run(&mut self, out: Option<PathBuf>) -> Vec<Effect> {
        let may_move = out.is_none() && self.destination.is_none();
        let out = out.unwrap_or_else(|| self.next_out());
        let Some(project) = self.project() else {
            return Vec::new();
        };
        if let Some(reason) = project.why_no_run() {
            return vec![self.tell(Level::Warning, reason)];
        }
        let draft = project.draft();
        let recipe = compose::recipe(draft, &project.layers);
        let request = CompressRequest {
            recipe,
            out,
            format: draft.format,
            evaluate: draft.evaluation.clone(),
            resume: false,
            keep_layers: true,
        };
        self.destination = None;
        let request = RunRequest::Compress(Box::new(request));
        self.start(request, None, may_move)
    }

    /// A new run of the open model: kept, and put behind those that wait.
    pub(super) fn start(
        &mut self,
        request: RunRequest,
        training: Option<Training>,
        may_move: bool,
    ) -> Vec<Effect> {
        let Some(project) = self.project() else {
            return Vec::new();
        };
        let run = self.new_run(project, &request, training);
        let session = project.session.clone();
        self.next_run += 1;
        let order = RunOrder {
            id: run.id,
            session,
            request,
            may_move,
            control: Arc::new(Control::default()),
        };
        self.runs.insert(0, run.clone());
        let mut effects = vec![Effect::Start(Job::KeepRun(Box::new(run)))];
        effects.extend(self.enqueue(order));
        effects
    }

    fn new_run(&self, project: &Project, request: &RunRequest, training: Option<Training>) -> Run {
        let (recipe, format, evaluate) = match request {
            RunRequest::Compress(request) => (&request.recipe, request.format, &request.evaluate),
            RunRequest::Distill(request, _) => {
                let mode = training.as_ref().map(|training| training.mode);
                let format = match mode {
                    Some(TrainMode::Weights | TrainMode::Adapter) | None => Format::Dense,
                    Some(_) => Format::Pare,
                };
                (&request.recipe, format, &request.evaluate)
            }
        };
        let recipe_toml = recipe.to_toml();
        Run {
            id: RunId(self.run_base + self.next_run),
            name: format!("{} {}", project.name, self.next_run),
            model: project.path.clone(),
            recipe_hash: recipe_hash(&recipe_toml),
            recipe_toml,
            format: format.word().to_owned(),
            out: request.out().to_owned(),
            evaluation_text: evaluate.clone(),
            created_unix_ms: self.began_unix_ms + (self.now_seconds * 1000.0) as i64,
            status: RunStatus::Waiting,
            training,
            report: None,
            evaluations: Vec::new(),
            pinned: false,
        }
    }

    pub(super) fn enqueue(&mut self, order: RunOrder) -> Vec<Effect> {
        let view = match order.request {
            RunRequest::Compress(_) => View::Run,
            RunRequest::Distill(..) => View::Train,
        };
        self.waiting.push_back(order);
        let mut effects = self.start_next();
        effects.push(Effect::Show(view));
        effects
    }

    /// Starts the next waiting run, if none is at work.
    pub(super) fn start_next(&mut self) -> Vec<Effect> {
        if self.active.is_some() {
            return Vec::new();
        }
        let Some(order) = self.waiting.pop_front() else {
            return Vec::new();
        };
        self.active = Some(ActiveRun {
            id: order.id,
            control: order.control.clone(),
            progress: Progress {
                stage: "waiting for other work".to_owned(),
                ..Progress::default()
            },
            layers: Vec::new(),
            stopping: false,
        });
        vec![Effect::Start(Job::Run(order))]
    }

    fn unqueue(&mut self, id: RunId) -> Vec<Effect> {
        self.waiting.retain(|order| order.id != id);
        self.change_run(id, |run| {
            if run.status == RunStatus::Waiting {
                run.status = RunStatus::Stopped;
            }
        })
    }

    pub(super) fn pause_or_continue(&mut self) -> Vec<Effect> {
        if let Some(active) = &self.active {
            active.control.set_paused(!active.control.is_paused());
        }
        Vec::new()
    }

    pub(super) fn stop_run(&mut self) -> Vec<Effect> {
        let Some(active) = &mut self.active else {
            return Vec::new();
        };
        active.control.stop();
        active.stopping = true;
        let id = active.id;
        let has_begun = self
            .run(id)
            .is_none_or(|run| run.status != RunStatus::Waiting);
        match has_begun {
            true => Vec::new(),
            // The lane is at other work and will skip it.
            false if self.run(id).is_some_and(|run| run.training.is_some()) => {
                self.train_event(Event::Trained(id, Outcome::Stopped))
            }
            false => self.run_event(Event::Ended(id, Outcome::Stopped)),
        }
    }

    /// One baseline for each model.
    fn pin(&mut self, id: RunId) -> Vec<Effect> {
        let Some(model) = self.run(id).map(|run| run.model.clone()) else {
            return Vec::new();
        };
        let others = self.runs.iter();
        let others = others.filter(|run| run.pinned && run.model == model && run.id != id);
        let others: Vec<RunId> = others.map(|run| run.id).collect();
        let mut effects = self.change_run(id, |run| run.pinned = !run.pinned);
        for other in others {
            effects.extend(self.change_run(other, |run| run.pinned = false));
        }
        effects
    }

    fn forget(&mut self, id: RunId) -> Vec<Effect> {
        if self.active.as_ref().is_some_and(|active| active.id == id) {
            return vec![self.tell(Level::Info, "A run at work cannot be taken out of the list")];
        }
        self.waiting.retain(|order| order.id != id);
        self.runs.retain(|run| run.id != id);
        self.curves.forget(id);
        self.take_measured();
        let mut effects = vec![Effect::Start(Job::DropRun(id))];
        effects.extend(self.refresh());
        effects
    }

    /// Changes what of a run may change, and keeps it.
    pub(super) fn change_run(&mut self, id: RunId, change: impl FnOnce(&mut Run)) -> Vec<Effect> {
        let Some(run) = self.runs.iter_mut().find(|run| run.id == id) else {
            return Vec::new();
        };
        change(run);
        vec![Effect::Start(Job::KeepRun(Box::new(run.clone())))]
    }

    fn evaluate(&mut self, id: RunId) -> Vec<Effect> {
        let Some(run) = self.run(id) else {
            return Vec::new();
        };
        let text = run.evaluation_text.clone();
        let text = text.or_else(|| self.project().and_then(|p| p.draft().evaluation.clone()));
        let Some(corpus) = text else {
            return vec![self.tell(
                Level::Warning,
                "Measuring needs a text; choose an evaluation text in the Run view",
            )];
        };
        let is_sample = run.model.as_os_str() == crate::studio::sample::WORD;
        let reference = match (is_sample, self.project()) {
            (false, _) => Some(run.model.clone()),
            (true, Some(project)) if project.is_sample => Some(project.session.path().to_owned()),
            (true, _) => {
                let text = "Open the sample model first: this run is compared with it";
                return vec![self.tell(Level::Warning, text)];
            }
        };
        let job = Job::Evaluate {
            id,
            model: run.out.clone(),
            options: self.session_options(),
            request: EvaluateRequest {
                corpus: Some(corpus),
                reference,
                length: None,
                windows: None,
                sts: None,
                kv: None,
            },
            control: Arc::new(Control::default()),
        };
        self.side(format!("Measuring {}", run.name), job)
    }

    fn generate(&mut self, request: GenerateRequest) -> Vec<Effect> {
        let place = |side: Option<RunId>| match side {
            Some(id) => self.run(id).map(|run| run.out.clone()),
            None => self
                .project()
                .map(|project| project.session.path().to_owned()),
        };
        let (Some(left), Some(right)) = (place(self.compared.0), place(self.compared.1)) else {
            return vec![self.tell(Level::Warning, "Choose two sides to compare first")];
        };
        if self.side_job.is_none() {
            self.playground = Playground {
                prompt: request.prompt.clone(),
                busy: true,
                ..Playground::default()
            };
        }
        let job = Job::Generate {
            models: [left, right],
            options: self.session_options(),
            request,
            control: Arc::new(Control::default()),
        };
        self.side("Writing text".to_owned(), job)
    }

    fn export(&mut self, id: RunId, format: Format, out: PathBuf) -> Vec<Effect> {
        let Some(run) = self.run(id).map(|run| run.out.clone()) else {
            return Vec::new();
        };
        if self.side_job.is_none() {
            self.exported = None;
        }
        let job = Job::Export {
            run,
            format,
            out,
            options: self.session_options(),
            control: Arc::new(Control::default()),
        };
        self.side(format!("Exporting to {}", format.word()), job)
    }

    fn copy_export(&mut self, id: RunId, format: Format, out: &std::path::Path) -> Vec<Effect> {
        let Some(run) = self.run(id) else {
            return Vec::new();
        };
        vec![
            Effect::Copy(copy::export(&run.out, format, out)),
            self.tell(Level::Info, "The command line is in the clipboard"),
        ]
    }

    /// A long job beside runs; one at a time.
    pub(super) fn side(&mut self, name: String, job: Job) -> Vec<Effect> {
        if let Some(running) = &self.side_job {
            let text = format!("{} is still at work; stop it first", running.name);
            return vec![self.tell(Level::Warning, text)];
        }
        let control = match &job {
            Job::Evaluate { control, .. }
            | Job::Generate { control, .. }
            | Job::Export { control, .. }
            | Job::Report { control, .. }
            | Job::MeasureMachine { control, .. } => control.clone(),
            _ => Arc::new(Control::default()),
        };
        self.side_job = Some(SideJob {
            name,
            control,
            share: None,
            measures_machine: matches!(job, Job::MeasureMachine { .. }),
        });
        vec![Effect::Start(job)]
    }
}

/// Letters that every file system takes.
fn file_safe(name: &str) -> String {
    let safe = |letter: char| match letter {
        letter if letter.is_alphanumeric() || "-_.".contains(letter) => letter,
        _ => '-',
    };
    let name: String = name.chars().map(safe).collect();
    match name.trim_start_matches('.') {
        "" => "model".to_owned(),
        name => name.to_owned(),
    }
}
