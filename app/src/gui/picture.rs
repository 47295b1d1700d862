//! A picture of the studio without a display: the real application on a stage, at rest, with a view in front.
//!
//! The same request gives the same picture: time stands still, nothing kept by earlier sessions is read, and the picture
//! is taken once every job has answered. A run made for the picture tells its own times and so is the exception.

use super::App;
use super::headless::{Stage, write_png};
use crate::studio::Command;
use crate::studio::action::{Action, View};
use crate::studio::log::{Level, Log};
use crate::studio::preferences::ThemeChoice;
use crate::studio::request::{OpenOutcome, OpenRequest, PictureRequest};
use crate::studio::runs::RunStatus;
use crate::studio::state::Beginning;
use egui::{Theme, Vec2};
use pare_engine::device::DeviceProfile;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Jobs may take so long until the picture is given up.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a wait looks whether the person wants to stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Frames until everything rests: messages that go by need a few seconds of them.
const MOST_FRAMES: usize = 80;

/// Draws what is asked for and writes it. A run for the picture is one of `now_unix_ms`.
pub fn draw(
    request: &OpenRequest,
    wanted: &PictureRequest,
    now_unix_ms: i64,
) -> Result<OpenOutcome, String> {
    let folder = match wanted.run {
        true => Some(TemporaryFolder::new()?),
        false => None,
    };
    let beginning = Beginning {
        cache_folder: request.cache_folder.clone(),
        data_folder: folder.as_ref().map(|folder| folder.0.clone()),
        began_unix_ms: now_unix_ms,
    };
    let mut set = Set::new(request, wanted, beginning)?;
    let drawn = set.play(request, wanted);
    set.app.finish();
    let outcome = match drawn {
        Ok(Some(size_pixels)) => Ok(OpenOutcome::Drawn {
            file: wanted.file.clone(),
            size_pixels,
        }),
        Ok(None) => Ok(OpenOutcome::Stopped),
        Err(reason) => Err(reason),
    };
    drop(folder);
    outcome
}

/// The application on its stage.
struct Set<'a> {
    stage: Stage,
    app: App,
    wanted: &'a PictureRequest,
    began: Instant,
}

/// The person asked to stop.
struct Stopped;

impl<'a> Set<'a> {
    fn new(
        request: &OpenRequest,
        wanted: &'a PictureRequest,
        beginning: Beginning,
    ) -> Result<Self, String> {
        let [width, height] = wanted.size_points.map(f32::from);
        let theme = match wanted.theme {
            ThemeChoice::Light => Theme::Light,
            ThemeChoice::Dark | ThemeChoice::System => Theme::Dark,
        };
        let stage = Stage::new(Vec2::new(width, height), wanted.scale, theme);
        // The start view is what is there without a model.
        let model = (wanted.view != Some(View::Start)).then(|| request.model.clone());
        let mut app = App::new(stage.context(), beginning, model, request.recipe.clone())?;
        app.studio.limits = request.limits;
        // What this machine has free is another figure each time.
        if let Some(device) = DeviceProfile::builtin().get(2) {
            app.studio.preferences.device = device.name.clone();
        }
        app.hold_clock();
        Ok(Self {
            stage,
            app,
            wanted,
            began: Instant::now(),
        })
    }

    /// From opening to the file; `None` where the person stopped it.
    fn play(
        &mut self,
        request: &OpenRequest,
        wanted: &PictureRequest,
    ) -> Result<Option<[u32; 2]>, String> {
        type Step<'a> = &'a dyn Fn(&mut Set<'_>) -> Result<(), String>;
        let steps: [Step<'_>; 5] = [
            &|set| set.check_open(request),
            &|set| set.run(),
            &|set| set.select(),
            &|set| {
                if let Some(view) = wanted.view {
                    set.ask(Command::Show(view));
                }
                Ok(())
            },
            // What only goes by would hide what stays, and tells of times.
            &|set| {
                set.app.shell.dismiss_toasts();
                set.ask(Command::ReadNotices);
                Ok(())
            },
        ];
        for step in steps {
            if let Some(Stopped) = self.rest()? {
                return Ok(None);
            }
            step(self)?;
        }
        if let Some(Stopped) = self.rest()? {
            return Ok(None);
        }
        let picture = self.stage.picture();
        write_png(&wanted.file, &picture).map_err(|error| error.to_string())?;
        Ok(Some([picture.width(), picture.height()]))
    }

    /// Frames and events until nothing moves and every job has answered.
    fn rest(&mut self) -> Result<Option<Stopped>, String> {
        loop {
            while self.app.is_busy() {
                if self.wanted.stop.is_raised() {
                    return Ok(Some(Stopped));
                }
                if self.began.elapsed() > PATIENCE {
                    return Err(format!(
                        "The picture was given up after {} s: jobs are still at work. A smaller model, or no --run, is quicker",
                        PATIENCE.as_secs()
                    ));
                }
                self.app.wait(self.stage.context(), LOOK_EVERY);
            }
            let app = &mut self.app;
            self.stage.settle(MOST_FRAMES, |ui| app.frame(ui));
            if !self.app.is_busy() && !self.app.take_events(self.stage.context()) {
                return Ok(None);
            }
        }
    }

    fn ask(&mut self, command: Command) {
        self.app.command(command, self.stage.context());
    }

    /// What the model and the recipe came to.
    fn check_open(&mut self, request: &OpenRequest) -> Result<(), String> {
        if let Some((_, reason)) = &self.app.studio.open_failure {
            return Err(reason.clone());
        }
        // Statistics are gathered the first time and found the next: the log says which, so it begins anew here.
        self.app.studio.log = Log::default();
        let project = self.app.studio.project();
        let is_read = project.is_some_and(|project| project.recipe_file.is_some());
        match request.recipe.is_some() && project.is_some() && !is_read {
            true => Err(self.last_error("The recipe could not be read")),
            false => Ok(()),
        }
    }

    /// Runs the draft, where asked.
    fn run(&mut self) -> Result<(), String> {
        if !self.wanted.run || self.wanted.view == Some(View::Start) {
            return Ok(());
        }
        Action::StartRun.availability(&self.app.studio)?;
        self.ask(Command::Act(Action::StartRun));
        // Stopping is seen by the next wait.
        self.rest()?;
        match self.app.studio.runs.first().map(|run| &run.status) {
            Some(RunStatus::Failed(reason)) => Err(reason.clone()),
            Some(_) => Ok(()),
            None => Err(self.last_error("No run could be started")),
        }
    }

    /// Selects what was asked for; the inspector without a word shows the largest layer.
    fn select(&mut self) -> Result<(), String> {
        if let Some(filter) = &self.wanted.select {
            self.ask(Command::Filter(filter.clone()));
            if let Some(problem) = self.problem_of_filter() {
                return Err(format!("--select: {problem}"));
            }
            self.ask(Command::Act(Action::SelectAll));
            self.ask(Command::Filter(String::new()));
            let project = self.app.studio.project();
            if project.is_some_and(|project| project.selection.is_empty()) {
                return Err(format!("No layer fits --select: {filter}"));
            }
        } else if self.wanted.view == Some(View::Inspector)
            && let Some(layer) = self.largest_layer()
        {
            self.ask(Command::SelectLayers(vec![layer]));
        }
        Ok(())
    }

    fn problem_of_filter(&self) -> Option<String> {
        self.app.studio.project()?.filter_problem.clone()
    }

    /// The first of the largest layers that can be compressed.
    fn largest_layer(&self) -> Option<usize> {
        let layers = &self.app.studio.project()?.layers;
        let inner = |&layer: &usize| layers[layer].compressible && layers[layer].block.is_some();
        (0..layers.len())
            .filter(inner)
            .rev()
            .max_by_key(|&layer| layers[layer].parameters)
    }

    fn last_error(&self, otherwise: &str) -> String {
        let notices = self.app.studio.notices.iter().rev();
        let mut errors = notices.filter(|notice| notice.level == Level::Error);
        errors
            .next()
            .map_or_else(|| otherwise.to_owned(), |notice| notice.text.clone())
    }
}

/// A folder that goes away with its value.
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn new() -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("pare-picture-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|error| {
            format!(
                "A folder for the run could not be made: {error}. Set TMPDIR to a folder that can be written: {}",
                path.display()
            )
        })?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // What cannot be removed lies where the system clears up.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
