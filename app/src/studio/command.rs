//! What a face asks of the studio.
//!
//! A value for each thing that can be asked; carries all that is needed. Knows no widget.

use super::action::{Action, View};
use super::draft::LayerEdit;
use super::effect::Purpose;
use super::history::Gesture;
use super::preferences::Preferences;
use super::proposal::BudgetRules;
use super::rows::SortKey;
use super::runs::RunId;
use super::selection::Join;
use super::sensitivity::SensitivityEffort;
use super::steps::StepKind;
use super::train::TrainDraft;
use pare_engine::formats::Format;
use pare_engine::recipe::{CalibrationSettings, Structure};
use pare_engine::settings::{KvCache, LayerOption};
use std::path::PathBuf;

/// What a face asks of the studio.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Do something from the list of actions.
    Act(Action),

    /// Open a model: a folder, a file, or the word `sample`.
    Open(PathBuf),
    /// A file was dropped or chosen whose kind is not known: a model or a recipe.
    Take(PathBuf),
    /// Read a recipe.
    OpenRecipe(PathBuf),
    /// Write the recipe.
    SaveRecipe(PathBuf),
    /// Forget a recent model.
    ForgetRecent(PathBuf),
    /// Keep a recent model at the top, or no longer.
    PinRecent(PathBuf),

    /// A click on a layer's row.
    Select(usize, Join),
    /// Select exactly these (a drag, a click on a group or bar).
    SelectLayers(Vec<usize>),
    /// All of them in, or all out.
    ToggleLayers(Vec<usize>),
    /// Move the cursor by rows; `true` reaches.
    Step(isize, bool),
    /// The pointer is over this layer, anywhere.
    Hover(Option<usize>),
    /// Text of the filter.
    Filter(String),
    /// Sort by a column; twice turns around, three times is forward order again.
    Sort(SortKey),
    /// Fold or unfold a block of rows.
    Fold(Option<usize>),

    /// Edit the selection (or the layers named), as part of a gesture or alone.
    Edit {
        /// What to change.
        edit: LayerEdit,
        /// On which layers; `None` = the selection.
        layers: Option<Vec<usize>>,
        /// The gesture that it belongs to.
        gesture: Option<Gesture>,
    },
    /// The pointer went up, the field lost the caret.
    EndGesture,
    /// Lock or free layers.
    Lock(Vec<usize>, bool),
    /// The text that calibrates and how much of it.
    SetCalibration(CalibrationSettings),
    /// The text that measures.
    SetEvaluation(Option<PathBuf>),
    /// The container.
    SetFormat(Format),
    /// How keys and values of earlier tokens are kept.
    SetKvCache(KvCache),
    /// What is taken out of the network as a whole, as part of a gesture or alone.
    SetStructure(Structure, Option<Gesture>),
    /// Stop comparing blocks with their inputs.
    StopComparing,
    /// Take one step of the draft, and those before it, as the draft: what a run of it would measure.
    TakeStep(StepKind),
    /// Take a run's recipe as the draft.
    CloneRun(RunId),
    /// Take a run's recipe as the draft, with what this container holds.
    CloneFitted(RunId, Format),
    /// Take the nearest settings that a container holds into the draft, as one step.
    FitDraft(Format),
    /// Take the draft of uniform bits: a baseline, as one step.
    Uniform(u8),

    /// Measure how much each layer hurts at every option.
    MeasureSensitivity(SensitivityEffort),
    /// Stop that; what is finished is kept.
    StopSensitivity,
    /// Propose bits within a budget: stored bytes of all compressible layers. Sent with every frame of a drag.
    SetBudget(u64),
    /// Propose bits within a time: seconds of a token on the chosen device. Sent with every frame of a drag.
    SetLatencyBudget(f64),
    /// The drag ended.
    SettleBudget,
    /// What proposals must keep to.
    SetBudgetRules(BudgetRules),
    /// Take the proposal into the draft, as one step.
    ApplyProposal,
    /// Drop the proposal.
    DiscardProposal,
    /// Give layers an option (a cell of the heat map), as part of a gesture or alone.
    PaintOption {
        /// The layers.
        layers: Vec<usize>,
        /// What they get.
        option: LayerOption,
        /// The gesture that it belongs to.
        gesture: Option<Gesture>,
    },

    /// What is to be trained next.
    SetTraining(Box<TrainDraft>),
    /// Train it.
    Train,
    /// Show the curve of this training; `None` = of the newest.
    ShowCurve(Option<RunId>),

    /// Start a run of the draft in a folder; `None` = in the data folder under the run's name.
    Run(Option<PathBuf>),
    /// Where the next run goes; `None` = in the data folder under the run's name.
    SetDestination(Option<PathBuf>),
    /// Go on with a stopped run.
    Resume(RunId),
    /// Take a waiting run out of the queue.
    Unqueue(RunId),
    /// Pin or unpin as the baseline.
    Pin(RunId),
    /// Another name.
    Rename(RunId, String),
    /// Take a run out of the list (its folder stays).
    Forget(RunId),
    /// Measure a run again.
    Evaluate(RunId),
    /// What to compare: two runs, or a run and the original (`None`).
    Compare(Option<RunId>, Option<RunId>),
    /// Write text with both sides of the comparison.
    Generate {
        /// The text to go on from.
        prompt: String,
        /// Most new tokens.
        tokens: usize,
        /// 0 = greedy.
        temperature: f64,
        /// Seed of both.
        seed: u64,
    },
    /// Stop what the playground or another short job does.
    StopGenerating,

    /// Write a run in another container.
    Export {
        /// The run.
        run: RunId,
        /// The container.
        format: Format,
        /// The folder to make.
        out: PathBuf,
    },
    /// Write the page that tells of a run.
    SaveReport(RunId, PathBuf),
    /// Look what an export would meet: free space, the place.
    CheckPlace(PathBuf),
    /// An export as a command line, into the clipboard.
    CopyExport {
        /// The run.
        run: RunId,
        /// The container.
        format: Format,
        /// The folder to make.
        out: PathBuf,
    },

    /// Other preferences.
    Prefer(Preferences),
    /// Empty the cache of statistics.
    ClearCache,
    /// Ask for a file or folder.
    Choose(Purpose),
    /// How many bytes the cache holds is wanted.
    MeasureCache,
    /// Show a view.
    Show(View),
    /// All notices were seen.
    ReadNotices,
    /// The window wants to close; `true` = even with a run at work.
    Close(bool),
}
