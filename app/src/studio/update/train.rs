//! Trainings: drafted, foreseen, started, watched, ended.

use crate::studio::action::View;
use crate::studio::command::Command;
use crate::studio::copy;
use crate::studio::effect::{Effect, Job, Purpose};
use crate::studio::event::{Event, Generation, Outcome};
use crate::studio::log::Level;
use crate::studio::runs::{Control, RunId, RunRequest, RunStatus};
use crate::studio::state::Studio;
use crate::studio::train::{Foresight, StudentChoice, Training};
use pare_engine::recipe::{Recipe, TrainMode};
use pare_engine::report::DistillReport;
use pare_engine::session::{DistillRequest, OtherTeacher};
use std::path::PathBuf;
use std::sync::Arc;

impl Studio {
    /// Commands about trainings.
    pub(super) fn train_command(&mut self, command: Command) -> Vec<Effect> {
        match command {
            Command::SetTraining(draft) => {
                if let Some(project) = self.project_mut() {
                    project.train = *draft;
                }
                self.foresee()
            }
            Command::Train => self.train(),
            Command::ShowCurve(run) => {
                self.curves.shown = run;
                self.recall_curve();
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// Events of trainings.
    pub(super) fn train_event(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Stepped(run, points) => {
                let curve = self.curves.entry(run);
                points.into_iter().for_each(|point| curve.add(point));
                Vec::new()
            }
            Event::Sampled(run, sample) => {
                self.curves.entry(run).add_sample(sample);
                Vec::new()
            }
            Event::Trained(run, outcome) => self.trained(run, outcome),
            Event::Foreseen {
                generation,
                control,
                result,
            } => {
                self.foreseen(generation, &control, result);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// The view of the run at work.
    pub fn view_at_work(&self) -> View {
        let run = self.active.as_ref().and_then(|active| self.run(active.id));
        match run.is_some_and(|run| run.training.is_some()) {
            true => View::Train,
            false => View::Run,
        }
    }

    /// Where the next student goes: as a person said, or under its name in the data folder.
    pub fn next_student_out(&self) -> PathBuf {
        let chosen = self.project().and_then(|project| project.train.out.clone());
        chosen.unwrap_or_else(|| self.default_out())
    }

    /// What the engine would be asked; `None` while the draft says too little.
    fn training_request(&self) -> Option<DistillRequest> {
        let project = self.project()?;
        let place = |id: RunId| self.run(id).map(|run| run.out.clone());
        project
            .train
            .request(project, place, self.next_student_out())
    }

    fn train(&mut self) -> Vec<Effect> {
        let Some(project) = self.project() else {
            return Vec::new();
        };
        if let Some(reason) = project.train.why_not(project) {
            return vec![self.tell(Level::Warning, reason)];
        }
        let may_move = project.train.out.is_none();
        let Some(request) = self.training_request() else {
            return Vec::new();
        };
        let prompt = project.train.prompt.clone();
        let training = Training::of(&request, &prompt);
        let request = RunRequest::Distill(Box::new(request), prompt);
        let effects = self.start(request, Some(training), may_move);
        if let Some(project) = self.project_mut() {
            project.train.out = None;
        }
        self.curves.shown = None;
        effects
    }

    /// The draft as a command line, into the clipboard.
    pub(super) fn copy_training(&mut self) -> Vec<Effect> {
        let (Some(project), Some(request)) = (self.project(), self.training_request()) else {
            return Vec::new();
        };
        let text = copy::distill(&project.path, &request);
        vec![
            Effect::Copy(text),
            self.tell(Level::Info, "The command line is in the clipboard"),
        ]
    }

    /// The curve shown as comma-separated values, into the clipboard.
    pub(super) fn copy_curve(&mut self) -> Vec<Effect> {
        let Some((_, curve)) = self.shown_curve() else {
            return Vec::new();
        };
        let text = curve.csv();
        vec![
            Effect::Copy(text),
            self.tell(Level::Info, "The curve is in the clipboard"),
        ]
    }

    /// Asks what the drafted training would take, where that was not asked yet. The newest draft counts.
    pub(super) fn foresee(&mut self) -> Vec<Effect> {
        let request = self.training_request().map(Box::new);
        let generation = self.generation;
        let Some(project) = self.project_mut() else {
            return Vec::new();
        };
        let foresight = &mut project.foresight;
        // Where it goes changes nothing.
        let is_same = match (&foresight.asked, &request) {
            (Some(asked), Some(request)) => {
                let moved = DistillRequest {
                    out: asked.out.clone(),
                    ..request.as_ref().clone()
                };
                **asked == moved
            }
            (asked, request) => asked.is_none() == request.is_none(),
        };
        if is_same {
            return Vec::new();
        }
        if let Some(control) = foresight.control.take() {
            control.stop();
        }
        foresight.asked.clone_from(&request);
        let is_runnable = project.inspection.reason.is_none();
        let Some(request) = request.filter(|_| is_runnable) else {
            foresight.answer = None;
            return Vec::new();
        };
        let control = Arc::new(Control::default());
        foresight.control = Some(control.clone());
        vec![Effect::Start(Job::Foresee {
            generation,
            session: project.session.clone(),
            request,
            control,
        })]
    }

    fn foreseen(
        &mut self,
        generation: Generation,
        control: &Arc<Control>,
        result: Result<Foresight, String>,
    ) {
        let is_current = generation == self.generation;
        let Some(project) = self.project_mut().filter(|_| is_current) else {
            return;
        };
        let at_work = project.foresight.control.as_ref();
        if at_work.is_some_and(|at_work| Arc::ptr_eq(at_work, control)) {
            project.foresight.control = None;
            project.foresight.answer = Some(result);
        }
    }

    fn trained(&mut self, id: RunId, outcome: Outcome<Arc<DistillReport>>) -> Vec<Effect> {
        let name = self.run(id).map(|run| run.name.clone()).unwrap_or_default();
        let (status, report, level, text) = match outcome {
            Outcome::Done(report) => {
                let text = done_words(&name, &report);
                (RunStatus::Done, Some(report), Level::Info, text)
            }
            Outcome::Stopped => {
                let text =
                    format!("{name} was stopped; its state is kept and Resume goes on from it");
                (RunStatus::Stopped, None, Level::Info, text)
            }
            Outcome::Failed(reason) => {
                let text = format!("{name} failed: {reason}");
                (RunStatus::Failed(reason), None, Level::Error, text)
            }
        };
        if let Some(report) = &report {
            self.curves.finish(id, &report.curve);
            if self.compared == (None, None) {
                self.compared = (None, Some(id));
            }
        }
        let mut effects = self.change_run(id, |run| {
            run.status = status;
            if let Some(training) = &mut run.training {
                training.report = report.or(training.report.take());
            }
        });
        effects.push(self.tell(level, text));
        effects.extend(self.run_is_over(id));
        effects
    }

    /// The curve shown comes from the report where nothing was told in this session.
    pub(super) fn recall_curve(&mut self) {
        let Some(run) = self.shown_training() else {
            return;
        };
        let id = run.id;
        if let (None, Some(report)) = (self.curves.get(id), run.trained().cloned()) {
            self.curves.finish(id, &report.curve);
        }
    }

    /// A training like that of the run `name`, to be changed; where it learnt on codes, with the recipe that made them.
    pub(super) fn clone_training(
        &mut self,
        training: &Training,
        name: &str,
        recipe: &Recipe,
    ) -> Vec<Effect> {
        let Some(project) = self.project() else {
            return Vec::new();
        };
        let draft = match training.draft(recipe, project.session.path()) {
            Ok(draft) => draft,
            Err(reason) => return vec![self.tell(Level::Error, reason)],
        };
        let mut effects = match training.mode {
            TrainMode::Weights => Vec::new(),
            _ => self.take_recipe(name, recipe),
        };
        effects.extend(self.command(Command::SetTraining(Box::new(draft))));
        effects.push(Effect::Show(View::Train));
        effects
    }

    /// A file or folder for the draft was chosen.
    pub(super) fn chosen_for_training(&mut self, purpose: &Purpose, path: PathBuf) -> Vec<Effect> {
        let Some(project) = self.project() else {
            return Vec::new();
        };
        let mut draft = project.train.clone();
        match purpose {
            Purpose::Teacher => draft.others.push(OtherTeacher { path, weight: 1.0 }),
            Purpose::Student => draft.student = StudentChoice::Model(Some(path)),
            Purpose::StudentConfig => draft.student = StudentChoice::Config(Some(path)),
            Purpose::TrainingText => draft.corpus = Some(path),
            _ => return Vec::new(),
        }
        self.command(Command::SetTraining(Box::new(draft)))
    }
}

fn done_words(name: &str, report: &DistillReport) -> String {
    let held_out = report.held_out_first.zip(report.held_out_best);
    let loss = match held_out.or(report.loss_first.zip(report.loss_last)) {
        Some((before, after)) => format!(", loss {before:.4} to {after:.4}"),
        None => String::new(),
    };
    let steps = if report.steps == 1 { "step" } else { "steps" };
    format!(
        "{name} is trained: {} {steps}{loss} in {:.1} s",
        report.steps, report.seconds
    )
}

#[cfg(test)]
mod tests;
