//! The window on a test stand: opened without a display, with a run that is only pretended, frames timed one by one.

use egui::{Event, RawInput, Theme, pos2, vec2};
use pare::gui::App;
use pare::gui::headless::Stage;
use pare::studio::Command;
use pare::studio::runs::{ActiveRun, Control, Progress, Run, RunId, RunStatus};
use pare::studio::sensitivity::SensitivityState;
use pare::studio::state::{Beginning, Phase};
use pare::studio::train::{Prompt, Training};
use pare_engine::model::LayerInfo;
use pare_engine::recipe::TrainMode;
use pare_engine::report::{LayerSensitivity, Measure, OptionError, SensitivityTable, TrainPoint};
use pare_engine::settings::LayerOption;
use pare_engine::solved::Method;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The run that is pretended.
const PRETENDED: RunId = RunId(1);

/// Steps of the run that is pretended.
const STEPS: u64 = 100_000;

/// The window and its stage.
pub(crate) struct Stand {
    pub(crate) app: App,
    stage: Stage,
    step: u64,
}

impl Stand {
    /// Opens `model` and waits until every job has answered.
    pub(crate) fn open(folder: &Path, model: &Path) -> Self {
        let mut stand = Self::open_to_table(folder, model);
        while stand.app.is_busy() {
            stand
                .app
                .wait(stand.stage.context(), Duration::from_millis(100));
        }
        stand
    }

    /// Opens `model` and draws the first frame with its table.
    pub(crate) fn open_to_table(folder: &Path, model: &Path) -> Self {
        let stage = Stage::new(vec2(1400.0, 900.0), 1.0, Theme::Dark);
        let beginning = Beginning {
            cache_folder: folder.join("cache"),
            data_folder: None,
            began_unix_ms: 0,
        };
        let app = App::new(stage.context(), beginning, Some(model.to_owned()), None).unwrap();
        let mut stand = Self {
            app,
            stage,
            step: 0,
        };
        while stand.app.studio.project().is_none() {
            stand
                .app
                .wait(stand.stage.context(), Duration::from_millis(100));
            let failure = &stand.app.studio.open_failure;
            assert!(failure.is_none(), "{failure:?}");
        }
        stand.frame();
        stand
    }

    pub(crate) fn command(&mut self, command: Command) {
        self.app.command(command, self.stage.context());
    }

    /// From now on each frame finds news of a run.
    pub(crate) fn pretend_run(&mut self) {
        let id = PRETENDED;
        let control = Arc::new(Control::default());
        let studio = &mut self.app.studio;
        let model = studio.project().unwrap().path.clone();
        studio.runs.insert(0, run(id, model));
        studio.active = Some(ActiveRun {
            id,
            control,
            progress: Progress::default(),
            layers: Vec::new(),
            stopping: false,
        });
    }

    /// From now on the run is a training that told `STEPS` steps and tells one more in each frame.
    pub(crate) fn pretend_training(&mut self) {
        let studio = &mut self.app.studio;
        let Some(run) = studio.runs.iter_mut().find(|run| run.id == PRETENDED) else {
            return;
        };
        run.training = Some(Training {
            weight: 1.0,
            others: Vec::new(),
            student: "depth:0.5".to_owned(),
            mode: TrainMode::Weights,
            prompt: Prompt::default(),
            report: None,
        });
        let points: Vec<TrainPoint> = (0..STEPS).map(point).collect();
        studio.curves.finish(PRETENDED, &points);
    }

    /// From now on every layer is judged at every option.
    pub(crate) fn pretend_sensitivity(&mut self) {
        let Phase::Open(project) = &mut self.app.studio.phase else {
            return;
        };
        let judged = project.layers.iter().enumerate();
        let judged = judged.filter(|(_, info)| info.compressible);
        let table = SensitivityTable {
            measure: Measure::Kl,
            method: Method::Gptq,
            options: LayerOption::all(),
            layers: judged.map(|(layer, info)| judge(layer, info)).collect(),
            anchors: Vec::new(),
            scored: 2048,
        };
        project.sensitivity.table = Arc::new(table);
        project.sensitivity.state = SensitivityState::Ready;
    }

    /// Seconds of each of `count` frames, with what `before` does counted in. The pointer moves all the time.
    pub(crate) fn frames(&mut self, count: usize, before: impl Fn(&mut Self, usize)) -> Vec<f64> {
        for _ in 0..3 {
            self.frame();
        }
        let mut seconds = Vec::with_capacity(count);
        for frame in 0..count {
            let began = Instant::now();
            before(self, frame);
            self.frame();
            seconds.push(began.elapsed().as_secs_f64());
        }
        seconds
    }

    fn frame(&mut self) {
        self.step += 1;
        if let Some(active) = &mut self.app.studio.active {
            active.progress = progress(self.step);
        }
        let studio = &mut self.app.studio;
        if studio
            .run(PRETENDED)
            .is_some_and(|run| run.training.is_some())
        {
            studio.curves.entry(PRETENDED).add(point(STEPS + self.step));
        }
        self.app.take_events(self.stage.context());
        let across = (self.step * 37 % 1400) as f32;
        let down = (60 + self.step * 13 % 800) as f32;
        let input = RawInput {
            events: vec![Event::PointerMoved(pos2(across, down))],
            ..RawInput::default()
        };
        let app = &mut self.app;
        self.stage.frame(input, |ui| app.frame(ui));
    }
}

fn judge(layer: usize, info: &LayerInfo) -> LayerSensitivity {
    let error = |option: LayerOption| {
        let error = (1.0 + layer as f64 * 0.37 % 1.0) * 0.5_f64.powi(option.bits()?.into());
        Some(OptionError {
            output_error: error * error,
            relative_output_error: Some(error),
            gradient_loss: Some(0.3 * error * error),
            method: Method::Gptq,
            bytes: info.parameters * u64::from(option.bits()?) / 8,
        })
    };
    LayerSensitivity {
        layer,
        name: info.name.clone(),
        weights: info.parameters,
        errors: LayerOption::all().into_iter().map(error).collect(),
        probes: Vec::new(),
    }
}

fn run(id: RunId, model: PathBuf) -> Run {
    Run {
        id,
        name: "pretended".to_owned(),
        model,
        recipe_toml: String::new(),
        recipe_hash: "0".repeat(12),
        format: "pare".to_owned(),
        out: PathBuf::from("pretended"),
        evaluation_text: None,
        created_unix_ms: 0,
        status: RunStatus::Running,
        training: None,
        report: None,
        evaluations: Vec::new(),
        pinned: false,
    }
}

/// A loss that falls and scatters; held out every hundred steps.
fn point(step: u64) -> TrainPoint {
    let scatter = (step * 7919 % 1000) as f64 / 1000.0;
    let loss = 2.0 + 8.0 / (1.0 + 0.01 * step as f64);
    TrainPoint {
        loss: Some(loss + 0.2 * scatter),
        held_out: step.is_multiple_of(100).then_some(loss),
        ..TrainPoint::before(step)
    }
}

fn progress(step: u64) -> Progress {
    Progress {
        stage: "solving".to_owned(),
        done: step % STEPS,
        total: STEPS,
        layers_done: (step % 1000) as usize,
        layers: 1000,
        last_layer: Some("model.layers.1.mlp.up_proj".to_owned()),
        seconds_per_layer: Some(0.2),
        elapsed_seconds: 0.01 * step as f64,
        eta_seconds: Some(100.0),
        resident_bytes: 100_000_000 + step,
    }
}
