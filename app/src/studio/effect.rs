//! What the studio wants done outside itself: jobs for workers, questions to the desktop, changes to the window.
//!
//! Values only; a face and the worker do them.

use super::action::View;
use super::estimates::Wanted;
use super::event::Generation;
use super::kept::KeptDraft;
use super::preferences::Preferences;
use super::project::Stage;
use super::runs::{Control, Run, RunId, RunOrder};
use super::smaller::Question;
use pare_engine::formats::Format;
use pare_engine::recipe::{CalibrationSettings, LayerSettings};
use pare_engine::session::{
    DistillRequest, EvaluateRequest, GenerateRequest, OriginalInputs, ReportRequest,
    SensitivityRequest, Session, SessionOptions,
};
use std::path::PathBuf;
use std::sync::Arc;

/// What a chosen file is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// A model's folder.
    Model,
    /// A recipe to read.
    Recipe,
    /// A recipe to write.
    SaveRecipe,
    /// The text that calibrates.
    CalibrationText,
    /// The text that measures.
    EvaluationText,
    /// The folder that an export is put into.
    ExportFolder,
    /// The page that tells of a run.
    SaveReport(RunId),
    /// A model to learn from, beside the open one.
    Teacher,
    /// A model to train.
    Student,
    /// The `config.json` of a fresh student.
    StudentConfig,
    /// The text to train on.
    TrainingText,
}

/// What the studio wants done outside itself.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Work for a lane.
    Start(Job),
    /// Text for the clipboard.
    Copy(String),
    /// A file dialog.
    Ask(Purpose),
    /// Put the caret into the filter.
    FocusFilter,
    /// Open the palette.
    OpenPalette,
    /// Open the list of shortcuts.
    OpenShortcuts,
    /// Show a view.
    Show(View),
    /// The next pane.
    NextPane,
    /// Panes as at first.
    ResetLayout,
    /// A short-lived message for the eye; the log has it too.
    Toast(super::log::Level, String),
    /// Ask whether to leave with a run at work.
    ConfirmClose,
    /// Leave.
    Close,
}

/// Lanes run side by side; jobs of one lane wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Runs, calibration, measuring, exports.
    Long,
    /// The inspector's previews: the newest question wins.
    Preview,
    /// Estimates of many layers, opening of models.
    Quick,
    /// Measuring of sensitivity: takes minutes beside everything else.
    Sensitivity,
    /// Looks whether inputs or sensitivity lie in the cache: reads a whole model once to know it again, and must not wait for a run.
    Look,
    /// Store, recipes, looks at folders.
    Disk,
}

/// Work for a lane; owns all it needs.
#[derive(Debug, Clone)]
pub enum Job {
    /// Open a model.
    Open {
        /// Which opening.
        generation: Generation,
        /// As it was named.
        path: PathBuf,
        /// How it may use the machine.
        options: SessionOptions,
    },
    /// Estimate layers under settings.
    Estimate {
        /// About which model.
        generation: Generation,
        /// Its number: answers of jobs about other inputs are dropped.
        job: u64,
        /// The model.
        session: Arc<Session>,
        /// Statistics of inputs, where gathered.
        inputs: Option<Arc<OriginalInputs>>,
        /// What is asked.
        wanted: Vec<Wanted>,
        /// Ends it early.
        control: Arc<Control>,
    },
    /// Preview a layer: sampled rows, then all, then by the method itself.
    Preview {
        /// About which model.
        generation: Generation,
        /// Which question; an older one is dropped.
        question: u64,
        /// The model.
        session: Arc<Session>,
        /// Statistics of inputs, where gathered.
        inputs: Option<Arc<OriginalInputs>>,
        /// The layer.
        layer: usize,
        /// Its settings.
        settings: LayerSettings,
        /// The best answer that is wanted.
        until: Stage,
        /// Ends it early.
        control: Arc<Control>,
    },
    /// How large smaller networks would be.
    Size {
        /// About which model.
        generation: Generation,
        /// The model.
        session: Arc<Session>,
        /// What is asked.
        questions: Vec<Question>,
        /// Ends it early.
        control: Arc<Control>,
    },
    /// Compare each block's input with its output.
    CompareBlocks {
        /// About which model.
        generation: Generation,
        /// The model.
        session: Arc<Session>,
        /// On which text.
        settings: CalibrationSettings,
        /// Ends it early.
        control: Arc<Control>,
    },
    /// Gather statistics of inputs.
    Calibrate {
        /// About which model.
        generation: Generation,
        /// The model.
        session: Arc<Session>,
        /// Which text.
        settings: CalibrationSettings,
        /// Only look whether they are there.
        only_find: bool,
        /// Ends it early.
        control: Arc<Control>,
    },
    /// Measure how much each layer hurts.
    Sensitivity {
        /// About which model.
        generation: Generation,
        /// The model.
        session: Arc<Session>,
        /// What is asked.
        request: Box<SensitivityRequest>,
        /// Only look whether it was measured before.
        only_find: bool,
        /// Ends or pauses it.
        control: Arc<Control>,
    },
    /// What a training would take.
    Foresee {
        /// About which model.
        generation: Generation,
        /// The model: the first teacher.
        session: Arc<Session>,
        /// What would be asked.
        request: Box<DistillRequest>,
        /// Ends it early.
        control: Arc<Control>,
    },
    /// A run, or a training.
    Run(RunOrder),
    /// Measure a run again.
    Evaluate {
        /// The run.
        id: RunId,
        /// The folder of the run.
        model: PathBuf,
        /// How it may use the machine.
        options: SessionOptions,
        /// What is asked.
        request: EvaluateRequest,
        /// Ends it early.
        control: Arc<Control>,
    },
    /// Write text with two models.
    Generate {
        /// Folders or files of the two.
        models: [PathBuf; 2],
        /// How they may use the machine.
        options: SessionOptions,
        /// What is asked of both.
        request: GenerateRequest,
        /// Ends it early.
        control: Arc<Control>,
    },
    /// Write a run in another container.
    Export {
        /// The run's folder.
        run: PathBuf,
        /// The container.
        format: Format,
        /// The folder to make.
        out: PathBuf,
        /// How it may use the machine.
        options: SessionOptions,
        /// Ends it early.
        control: Arc<Control>,
    },
    /// Write the page that tells of a run.
    Report {
        /// The run's folder, and the page to write.
        request: ReportRequest,
        /// Ends it early.
        control: Arc<Control>,
    },
    /// Measure what this machine can do.
    MeasureMachine {
        /// How it may use the machine.
        options: SessionOptions,
        /// Ends it early.
        control: Arc<Control>,
    },
    /// What was measured of this machine before, and a person's own devices. Takes how sessions use the machine.
    FindDevices(SessionOptions),
    /// Open the store and tell what it kept.
    Restore,
    /// Keep a run.
    KeepRun(Box<Run>),
    /// Drop a run from the store.
    DropRun(RunId),
    /// Keep preferences.
    KeepPreferences(Box<Preferences>),
    /// Keep recent models.
    KeepRecents(Vec<super::state::Recent>),
    /// Keep how panes lay.
    KeepLayout(String),
    /// Keep the draft of a model.
    KeepDraft {
        /// The model.
        model: PathBuf,
        /// Its draft.
        draft: KeptDraft,
    },
    /// Read a recipe.
    ReadRecipe(PathBuf),
    /// Write a recipe.
    WriteRecipe(PathBuf, String),
    /// What lies at a place.
    Look(PathBuf),
    /// How large the cache is; `true` = empty it first.
    MeasureCache(PathBuf, bool),
}

impl Job {
    /// Where it runs.
    pub fn lane(&self) -> Lane {
        match self {
            Self::Open { .. } | Self::Estimate { .. } => Lane::Quick,
            Self::Preview { .. } => Lane::Preview,
            Self::Calibrate {
                only_find: true, ..
            }
            | Self::Sensitivity {
                only_find: true, ..
            }
            | Self::Foresee { .. }
            | Self::Size { .. } => Lane::Look,
            Self::Sensitivity { .. } => Lane::Sensitivity,
            Self::Calibrate { .. }
            | Self::CompareBlocks { .. }
            | Self::Run(_)
            | Self::Evaluate { .. }
            | Self::Generate { .. }
            | Self::Export { .. }
            | Self::Report { .. }
            | Self::MeasureMachine { .. } => Lane::Long,
            _ => Lane::Disk,
        }
    }

    /// What it does, for the log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Open { .. } => "opening a model",
            Self::Estimate { .. } => "estimating",
            Self::Preview { .. } => "previewing",
            Self::CompareBlocks { .. } => "comparing blocks",
            Self::Size { .. } => "planning a smaller network",
            Self::Calibrate { .. } => "calibrating",
            Self::Sensitivity { .. } => "measuring sensitivity",
            Self::Foresee { .. } => "foreseeing a training",
            Self::Run(_) => "a run",
            Self::Evaluate { .. } => "measuring",
            Self::Generate { .. } => "writing text",
            Self::Export { .. } => "exporting",
            Self::Report { .. } => "writing a report",
            Self::MeasureMachine { .. } => "measuring this machine",
            Self::FindDevices(_) => "looking for devices",
            Self::Restore => "opening the store",
            Self::KeepRun(_) | Self::DropRun(_) => "keeping runs",
            Self::KeepPreferences(_) => "keeping preferences",
            Self::KeepRecents(_) => "keeping recent models",
            Self::KeepLayout(_) => "keeping the layout",
            Self::KeepDraft { .. } => "keeping the draft",
            Self::ReadRecipe(_) => "reading a recipe",
            Self::WriteRecipe(..) => "writing a recipe",
            Self::Look(_) => "looking at a folder",
            Self::MeasureCache(..) => "measuring the cache",
        }
    }
}
