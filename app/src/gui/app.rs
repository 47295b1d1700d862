//! The one owner of studio, worker and window state: takes in events, shows a frame, does what was asked, in that order.
//!
//! Views see `&Studio`; this is the only place that changes it. Knows no renderer: `launch` brings the window.

use crate::gui::look::Look;
use crate::gui::scene::Scene;
use crate::gui::shell::{Shell, places};
use crate::gui::views;
use crate::studio::action::Action;
use crate::studio::command::Command;
use crate::studio::effect::Job;
use crate::studio::similarity::Similarity;
use crate::studio::state::{Beginning, Phase};
use crate::studio::worker::Worker;
use crate::studio::{Effect, Event, Studio};
use egui::{Context, Ui};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Events taken in for so long before a frame; the rest comes in the next one.
const EVENT_BUDGET: Duration = Duration::from_millis(10);

/// A running job is shown anew so often.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// The whole window.
#[derive(Debug)]
pub struct App {
    /// What is open, chosen and known.
    pub studio: Studio,
    /// What of the window is no business of the studio: panes, texts being typed, scroll places.
    pub shell: Shell,
    /// What views remember between frames.
    pub memory: views::Memory,
    look: Look,
    worker: Option<Worker>,
    /// Where time is counted from; `None` = it stands still.
    began: Option<Instant>,
    /// Small jobs with files that have not answered yet.
    unanswered: usize,
    commands: Vec<Command>,
    closing: bool,
    shown_theme: Option<(crate::studio::preferences::ThemeChoice, f32)>,
}

impl App {
    /// The app over `context`. `model` is opened first thing.
    pub fn new(
        context: &Context,
        beginning: Beginning,
        model: Option<PathBuf>,
        recipe: Option<PathBuf>,
    ) -> Result<Self, String> {
        let waker = {
            let context = context.clone();
            std::sync::Arc::new(move || context.request_repaint())
        };
        let worker = Worker::start(beginning.data_folder.clone(), waker)?;
        let mut app = Self {
            studio: Studio::new(beginning),
            shell: Shell::new(),
            memory: views::Memory::default(),
            look: Look::new(),
            worker: Some(worker),
            began: Some(Instant::now()),
            unanswered: 0,
            commands: Vec::new(),
            closing: false,
            shown_theme: None,
        };
        app.start(Job::Restore);
        app.shell.recipe_after_open = recipe;
        if let Some(model) = model {
            app.shell.open_after_restore = Some(model);
        }
        Look::install_icons(context);
        app.dress(context);
        Ok(app)
    }

    /// Takes in what workers tell. Returns whether anything came.
    pub fn take_events(&mut self, context: &Context) -> bool {
        let begin = Instant::now();
        let mut any = false;
        while let Some(event) = self.worker.as_ref().and_then(Worker::poll) {
            any = true;
            self.event(event, context);
            if begin.elapsed() > EVENT_BUDGET {
                context.request_repaint();
                break;
            }
        }
        any
    }

    /// Waits for one event at most so long and takes it in: for faces without frames. False where none came.
    pub fn wait(&mut self, context: &Context, at_most: Duration) -> bool {
        let event = self.worker.as_ref().and_then(|worker| worker.wait(at_most));
        match event {
            Some(event) => {
                self.event(event, context);
                true
            }
            None => false,
        }
    }

    /// Whether any lane may still tell something: a model being opened, a run, a preview, estimates.
    pub fn is_busy(&self) -> bool {
        let project = self.studio.project();
        matches!(self.studio.phase, Phase::Opening { .. })
            || self.shell.open_after_restore.is_some()
            || self.studio.is_working()
            || self.studio.side_job.is_some()
            || self.unanswered > 0
            || project.is_some_and(|project| {
                project.preview.busy
                    || project.estimating.is_some()
                    || project.foresight.control.is_some()
                    || project.smaller.is_at_work()
                    || matches!(project.similarity, Similarity::Measuring(_))
                    || project.sensitivity.is_at_work()
                    || matches!(project.inputs, crate::studio::project::Inputs::Gathering(_))
            })
    }

    /// From now on no time passes: for pictures that are the same each time.
    pub fn hold_clock(&mut self) {
        self.began = None;
        self.studio.now_seconds = 0.0;
    }

    /// Stops what is at work, keeps the draft, and waits for workers to end. Nothing is shown any more.
    pub fn finish(&mut self) {
        let Some(worker) = self.worker.take() else {
            return;
        };
        for command in [Command::Close(true), Command::Act(Action::CloseModel)] {
            for effect in self.studio.command(command) {
                if let Effect::Start(job) = effect {
                    worker.start_job(job);
                }
            }
        }
        worker.finish();
    }

    fn tick(&mut self) {
        if let Some(began) = self.began {
            self.studio.now_seconds = began.elapsed().as_secs_f64();
        }
    }

    fn event(&mut self, event: Event, context: &Context) {
        self.tick();
        if is_answer(&event) {
            self.unanswered = self.unanswered.saturating_sub(1);
        }
        let restored = matches!(event, Event::Restored(_));
        if let Event::Restored(saved) = &event {
            self.shell.restore_layout(saved.layout.as_deref());
        }
        let opened = matches!(event, Event::Opened { .. });
        let effects = self.studio.event(event);
        self.perform(effects, context);
        if restored && let Some(model) = self.shell.open_after_restore.take() {
            self.command(Command::Open(model), context);
        }
        if opened
            && let Some(recipe) = self.shell.recipe_after_open.take()
            && self.studio.project().is_some()
        {
            self.command(Command::OpenRecipe(recipe), context);
        }
    }

    /// Does what a person asked.
    pub fn command(&mut self, command: Command, context: &Context) {
        self.tick();
        let effects = self.studio.command(command);
        self.perform(effects, context);
    }

    /// One frame.
    pub fn frame(&mut self, ui: &mut Ui) {
        let context = ui.ctx().clone();
        self.dress(&context);
        self.look.follow(&context);
        let mut commands = std::mem::take(&mut self.commands);
        let mut scene = Scene {
            studio: &self.studio,
            look: &self.look,
            commands: &mut commands,
        };
        self.shell.show(ui, &mut scene, &mut self.memory);
        if !commands.is_empty() {
            // What was asked for shows in the next frame.
            context.request_repaint();
        }
        for command in commands.drain(..) {
            self.command(command, &context);
        }
        self.commands = commands;
        // A path may have been chosen although nothing else was asked.
        self.perform(Vec::new(), &context);
        if let Some(layout) = self.shell.changed_layout() {
            self.start(Job::KeepLayout(layout));
        }
        if self.studio.is_working() || self.studio.side_job.is_some() {
            context.request_repaint_after(PROGRESS_EVERY);
        }
        self.watch_close(&context);
    }

    /// Theme and scale, where the preferences changed.
    fn dress(&mut self, context: &Context) {
        let wanted = (self.studio.preferences.theme, self.studio.preferences.scale);
        if self.shown_theme != Some(wanted) {
            self.look.install(context, wanted.0);
            context.set_zoom_factor(wanted.1);
            self.shown_theme = Some(wanted);
        }
    }

    /// The window's close button asks first where a run is at work.
    fn watch_close(&mut self, context: &Context) {
        let asked = context.input(|input| input.viewport().close_requested());
        if asked && !self.closing {
            context.send_viewport_cmd(egui::ViewportCommand::CancelClose);
            self.command(Command::Close(false), context);
        }
    }

    fn perform(&mut self, effects: Vec<Effect>, context: &Context) {
        for effect in effects {
            match effect {
                Effect::Start(job) => self.start(job),
                Effect::Copy(text) => context.copy_text(text),
                Effect::Ask(purpose) => places::ask(&mut self.shell, purpose, context),
                Effect::Close => {
                    self.closing = true;
                    context.send_viewport_cmd(egui::ViewportCommand::Close);
                }
                effect => self.shell.perform(effect),
            }
        }
        while let Some((purpose, path)) = self.shell.chosen() {
            let effects = self.studio.event(Event::Chosen(purpose, path));
            self.perform(effects, context);
        }
    }

    fn start(&mut self, job: Job) {
        if let Some(worker) = &self.worker {
            self.unanswered += usize::from(is_answered(&job));
            worker.start_job(job);
        }
    }
}

impl eframe::App for App {
    fn logic(&mut self, context: &Context, _frame: &mut eframe::Frame) {
        self.take_events(context);
    }

    fn ui(&mut self, ui: &mut Ui, _frame: &mut eframe::Frame) {
        self.frame(ui);
    }

    fn on_exit(&mut self, _gl: Option<&eframe::glow::Context>) {
        self.finish();
    }
}

/// Whether a small job with files tells when it is done; long ones are seen in the studio's state.
fn is_answered(job: &Job) -> bool {
    matches!(
        job,
        Job::Restore
            | Job::FindDevices(_)
            | Job::ReadRecipe(_)
            | Job::WriteRecipe(..)
            | Job::Look(_)
            | Job::MeasureCache(..)
    )
}

/// Whether `event` is what `is_answered` promises.
fn is_answer(event: &Event) -> bool {
    matches!(
        event,
        Event::Restored(_)
            | Event::DevicesFound { .. }
            | Event::RecipeRead(..)
            | Event::RecipeWritten(..)
            | Event::Looked(_)
            | Event::CacheMeasured(_)
    )
}
