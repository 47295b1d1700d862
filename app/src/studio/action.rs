//! Everything a person can ask for by name: one list feeds menus, the palette, shortcuts and context menus.
//!
//! An action without its own words for "why not" is always available. Knows no keys: `shortcut` does.

pub use super::shortcut::Shortcut;
use super::similarity::why_no_comparison;
use super::state::{Phase, Studio};
pub use super::view::View;

/// Everything a person can ask for by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Choose a model folder.
    OpenModel,
    /// Open the built-in model.
    OpenSample,
    /// Open the recent model of this place in the list, 1 to 9.
    OpenRecent(u8),
    /// Leave the model.
    CloseModel,
    /// Read a recipe into the draft.
    OpenRecipe,
    /// Write the draft to its file.
    SaveRecipe,
    /// Write the draft to a file of choice.
    SaveRecipeAs,
    /// Take the last edit back.
    Undo,
    /// Do it again.
    Redo,
    /// Copy settings of the layer at the cursor.
    CopySettings,
    /// Give them to the selection.
    PasteSettings,
    /// Give the first selected layer's settings to the rest of the selection.
    FillDown,
    /// Give the cursor's settings to all layers of its role.
    ApplyToRole,
    /// Keep the selection dense.
    KeepDense,
    /// Lock or free the selection.
    ToggleLock,
    /// Select every visible layer.
    SelectAll,
    /// Select the others.
    InvertSelection,
    /// Select nothing.
    ClearSelection,
    /// Select all layers of the cursor's role.
    SelectRole,
    /// Put the caret into the filter.
    FocusFilter,
    /// Gather statistics of inputs.
    Calibrate,
    /// Measure how little each block changes what passes through it.
    CompareBlocks,
    /// Measure how much each layer hurts at every option.
    MeasureSensitivity,
    /// The same by plain rounding and one gradient pass.
    SketchSensitivity,
    /// Stop that.
    StopSensitivity,
    /// Take the proposed bits into the draft.
    ApplyProposal,
    /// Drop them.
    DiscardProposal,
    /// Measure what this machine can do.
    MeasureMachine,
    /// Start a run of the draft.
    StartRun,
    /// Pause or go on.
    PauseRun,
    /// Stop the run at work.
    StopRun,
    /// Go on with the newest stopped run of this model.
    ResumeRun,
    /// Train what the train view says.
    StartTraining,
    /// The training as a command line.
    CopyTraining,
    /// The curve of a training as comma-separated values.
    CopyCurve,
    /// The export view.
    Export,
    /// The draft's run as a command line.
    CopyCommandLine,
    /// The recipe as text.
    CopyRecipe,
    /// The palette.
    Palette,
    /// The list of shortcuts.
    Shortcuts,
    /// Larger.
    ZoomIn,
    /// Smaller.
    ZoomOut,
    /// As it was.
    ZoomReset,
    /// Panes as at first.
    ResetLayout,
    /// The next pane.
    NextPane,
    /// Show a view.
    Show(View),
    /// Leave the program.
    Quit,
}

impl Action {
    /// All actions, in the palette's order.
    pub fn all() -> impl Iterator<Item = Self> {
        const PLAIN: [Action; 45] = [
            Action::OpenModel,
            Action::OpenSample,
            Action::CloseModel,
            Action::OpenRecipe,
            Action::SaveRecipe,
            Action::SaveRecipeAs,
            Action::Undo,
            Action::Redo,
            Action::CopySettings,
            Action::PasteSettings,
            Action::FillDown,
            Action::ApplyToRole,
            Action::KeepDense,
            Action::ToggleLock,
            Action::SelectAll,
            Action::InvertSelection,
            Action::ClearSelection,
            Action::SelectRole,
            Action::FocusFilter,
            Action::Calibrate,
            Action::CompareBlocks,
            Action::MeasureSensitivity,
            Action::SketchSensitivity,
            Action::StopSensitivity,
            Action::ApplyProposal,
            Action::DiscardProposal,
            Action::MeasureMachine,
            Action::StartRun,
            Action::PauseRun,
            Action::StopRun,
            Action::ResumeRun,
            Action::StartTraining,
            Action::CopyTraining,
            Action::CopyCurve,
            Action::Export,
            Action::CopyCommandLine,
            Action::CopyRecipe,
            Action::Palette,
            Action::Shortcuts,
            Action::ZoomIn,
            Action::ZoomOut,
            Action::ZoomReset,
            Action::ResetLayout,
            Action::NextPane,
            Action::Quit,
        ];
        PLAIN
            .into_iter()
            .chain(View::ALL.into_iter().map(Self::Show))
            .chain((1..=9).map(Self::OpenRecent))
    }

    /// What menus and the palette call it. "…" where more will be asked.
    pub fn label(self) -> String {
        let text = match self {
            Self::OpenModel => "Open model…",
            Self::OpenSample => "Open the sample model",
            Self::OpenRecent(place) => return format!("Open recent model {place}"),
            Self::CloseModel => "Close model",
            Self::OpenRecipe => "Open recipe…",
            Self::SaveRecipe => "Save recipe",
            Self::SaveRecipeAs => "Save recipe as…",
            Self::Undo => "Undo",
            Self::Redo => "Redo",
            Self::CopySettings => "Copy layer settings",
            Self::PasteSettings => "Paste layer settings",
            Self::FillDown => "Fill down from the first selected layer",
            Self::ApplyToRole => "Apply to same role in all blocks",
            Self::KeepDense => "Keep dense",
            Self::ToggleLock => "Lock or unlock layers",
            Self::SelectAll => "Select all visible layers",
            Self::InvertSelection => "Invert selection",
            Self::ClearSelection => "Clear selection",
            Self::SelectRole => "Select same role in all blocks",
            Self::FocusFilter => "Find layers",
            Self::Calibrate => "Calibrate",
            Self::CompareBlocks => "Compare blocks with their inputs",
            Self::MeasureSensitivity => "Measure sensitivity",
            Self::SketchSensitivity => "Measure sensitivity quickly",
            Self::StopSensitivity => "Stop measuring sensitivity",
            Self::ApplyProposal => "Apply proposed bits",
            Self::DiscardProposal => "Discard proposed bits",
            Self::MeasureMachine => "Measure this machine",
            Self::StartRun => "Run",
            Self::PauseRun => "Pause or continue run",
            Self::StopRun => "Stop run",
            Self::ResumeRun => "Resume stopped run",
            Self::StartTraining => "Train",
            Self::CopyTraining => "Copy training as command line",
            Self::CopyCurve => "Copy curve as CSV",
            Self::Export => "Export…",
            Self::CopyCommandLine => "Copy run as command line",
            Self::CopyRecipe => "Copy recipe as text",
            Self::Palette => "Command palette",
            Self::Shortcuts => "Keyboard shortcuts",
            Self::ZoomIn => "Zoom in",
            Self::ZoomOut => "Zoom out",
            Self::ZoomReset => "Reset zoom",
            Self::ResetLayout => "Reset panes",
            Self::NextPane => "Next pane",
            Self::Show(view) => return format!("Show {}", view.title().to_lowercase()),
            Self::Quit => "Quit",
        };
        text.to_owned()
    }

    /// The label with what it would do now: the step that undo takes back, the model that a recent place names.
    pub fn label_in(self, studio: &Studio) -> String {
        let history = studio.project().map(|project| &project.history);
        let step = |verb: &str, label: Option<&str>| match label {
            Some(label) => format!("{verb} {label}"),
            None => verb.to_owned(),
        };
        match self {
            Self::Undo => step("Undo", history.and_then(|history| history.undo_label())),
            Self::Redo => step("Redo", history.and_then(|history| history.redo_label())),
            Self::PauseRun => match &studio.active {
                Some(active) if active.control.is_paused() => "Continue run".to_owned(),
                _ => "Pause run".to_owned(),
            },
            Self::OpenRecent(place) => match recent(studio, place) {
                Some(recent) => format!("Open recent {}", recent.path.display()),
                None => self.label(),
            },
            _ => self.label(),
        }
    }

    /// Whether it can be done now; an error says why not.
    pub fn availability(self, studio: &Studio) -> Result<(), String> {
        let open = || match &studio.phase {
            Phase::Open(project) => Ok(project),
            _ => Err("No model is open".to_owned()),
        };
        let selected = || match open()?.selection.is_empty() {
            true => Err("No layer is selected".to_owned()),
            false => Ok(()),
        };
        match self {
            Self::CloseModel
            | Self::OpenRecipe
            | Self::SaveRecipe
            | Self::SaveRecipeAs
            | Self::SelectAll
            | Self::InvertSelection
            | Self::FocusFilter
            | Self::CopyRecipe => open().map(drop),
            Self::Undo => match open()?.history.undo_label() {
                Some(_) => Ok(()),
                None => Err("Nothing was edited".to_owned()),
            },
            Self::Redo => match open()?.history.redo_label() {
                Some(_) => Ok(()),
                None => Err("Nothing was undone".to_owned()),
            },
            Self::CopySettings
            | Self::ApplyToRole
            | Self::KeepDense
            | Self::ToggleLock
            | Self::ClearSelection
            | Self::SelectRole => selected(),
            Self::FillDown => match open()?.selection.len() {
                0 | 1 => Err("Fewer than two layers are selected".to_owned()),
                _ => Ok(()),
            },
            Self::PasteSettings => match studio.copied {
                Some(_) => selected(),
                None => Err("No layer settings were copied".to_owned()),
            },
            Self::OpenRecent(place) => match recent(studio, place) {
                None => Err(format!("There is no recent model {place}")),
                Some(recent) if recent.is_missing => {
                    Err(format!("It is gone: {}", recent.path.display()))
                }
                Some(_) => Ok(()),
            },
            Self::Calibrate => open()?.why_no_calibration().map_or(Ok(()), Err),
            Self::CompareBlocks => why_no_comparison(open()?).map_or(Ok(()), Err),
            Self::MeasureSensitivity | Self::SketchSensitivity => {
                open()?.why_no_sensitivity().map_or(Ok(()), Err)
            }
            Self::StopSensitivity => match open()?.sensitivity.is_measuring() {
                true => Ok(()),
                false => Err("Sensitivity is not being measured".to_owned()),
            },
            Self::ApplyProposal => open()?.why_no_apply().map_or(Ok(()), Err),
            Self::DiscardProposal => match open()?.proposal {
                Some(_) => Ok(()),
                None => Err("No bits are proposed; set a budget in the trade-off".to_owned()),
            },
            Self::MeasureMachine => why_no_measuring(studio).map_or(Ok(()), Err),
            Self::StartRun | Self::CopyCommandLine => open()?.why_no_run().map_or(Ok(()), Err),
            Self::StartTraining | Self::CopyTraining => {
                let project = open()?;
                project.train.why_not(project).map_or(Ok(()), Err)
            }
            Self::CopyCurve => match studio.shown_curve() {
                Some(_) => Ok(()),
                None => Err("No training has told anything yet".to_owned()),
            },
            Self::PauseRun | Self::StopRun => match studio.active {
                Some(_) => Ok(()),
                None => Err("No run is at work".to_owned()),
            },
            Self::ResumeRun => match studio.resumable() {
                Some(_) => Ok(()),
                None => Err("No run of this model was stopped".to_owned()),
            },
            Self::Export => match studio.exportable() {
                Some(_) => Ok(()),
                None => Err("No finished run keeps its solved layers; run first".to_owned()),
            },
            _ => Ok(()),
        }
    }
}

/// Why this machine cannot be measured now: what works beside it would be measured too.
fn why_no_measuring(studio: &Studio) -> Option<String> {
    let project = studio.project();
    let sensitivity = project.is_some_and(|project| project.sensitivity.is_measuring());
    match (&studio.side_job, &studio.active) {
        (Some(job), _) => Some(format!("{} is at work", job.name)),
        (None, Some(_)) => Some("A run is at work and would slow the kernels".to_owned()),
        (None, None) => sensitivity
            .then(|| "Sensitivity is being measured and would slow the kernels".to_owned()),
    }
}

/// The recent model at a place of the list, counted from 1.
pub(super) fn recent(studio: &Studio, place: u8) -> Option<&super::state::Recent> {
    studio.recents.get(usize::from(place).checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sentences_of_their_own() {
        let mut labels: Vec<String> = Action::all().map(Action::label).collect();
        for label in &labels {
            assert!(!label.ends_with('.'), "{label}");
            assert!(label.starts_with(char::is_uppercase), "{label}");
        }
        let count = labels.len();
        labels.sort();
        labels.dedup();
        assert_eq!(labels.len(), count, "no two actions have one label");
    }
}
