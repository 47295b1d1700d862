//! What is to be trained: teachers, student, how, on which text; and whether it can start.
//!
//! ```text
//! order     what the engine is asked, and what a run keeps of it
//! curve     what training tells, step by step
//! ```
//!
//! Values only. Knows no widget, no thread and no file.

pub mod curve;
pub mod order;

pub use curve::{Curve, Curves, Sample};
pub use order::{Foresight, Prompt, Training};

use super::project::Project;
use super::runs::{Run, RunId, RunStatus};
use pare_engine::recipe::{TrainMode, TrainSettings};
use pare_engine::session::{OtherTeacher, StudentSpec};
use std::path::{Path, PathBuf};

/// All modes, in the order in which they are offered.
pub const MODES: [TrainMode; 5] = [
    TrainMode::Weights,
    TrainMode::Scales,
    TrainMode::Round,
    TrainMode::Qat,
    TrainMode::Adapter,
];

/// Who is trained, as a person chooses.
#[derive(Debug, Clone, PartialEq)]
pub enum StudentChoice {
    /// The teacher with a share of its blocks.
    Depth {
        /// Share that stays.
        share: f64,
        /// Blocks at even distances stay, instead of those that change their input most.
        evenly: bool,
    },
    /// The teacher with a share of its heads and neurons.
    Width {
        /// Share that stays.
        share: f64,
    },
    /// Fresh weights of a `config.json`; `None` until one is chosen.
    Config(Option<PathBuf>),
    /// The open model itself; where codes are trained, compressed as drafted.
    Open,
    /// Another model; `None` until one is chosen.
    Model(Option<PathBuf>),
    /// What a run of this model wrote; `None` until one is chosen.
    Run(Option<RunId>),
}

/// What is to be trained next.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainDraft {
    /// Weight of the open model: the first teacher.
    pub weight: f64,
    /// Further teachers.
    pub others: Vec<OtherTeacher>,
    /// Who is trained.
    pub student: StudentChoice,
    /// How.
    pub settings: TrainSettings,
    /// The text to train on; `None` = that of calibration.
    pub corpus: Option<PathBuf>,
    /// The texts that it is to write on its way.
    pub prompt: Prompt,
    /// Where the student goes; `None` = in the data folder under the run's name.
    pub out: Option<PathBuf>,
}

impl Default for TrainDraft {
    /// Half the blocks of the open model, by the engine's own settings.
    fn default() -> Self {
        Self {
            weight: 1.0,
            others: Vec::new(),
            student: StudentChoice::Depth {
                share: 0.5,
                evenly: false,
            },
            settings: TrainSettings::default(),
            corpus: None,
            prompt: Prompt {
                text: "The".to_owned(),
                every: 50,
            },
            out: None,
        }
    }
}

impl StudentChoice {
    /// The choice that gives `spec` beside the open model `open`.
    pub fn of_spec(spec: StudentSpec, open: &Path) -> Self {
        match spec {
            StudentSpec::Depth { share, evenly } => Self::Depth { share, evenly },
            StudentSpec::Width { share } => Self::Width { share },
            StudentSpec::Config(path) => Self::Config(Some(path)),
            StudentSpec::Model(path) if path == open => Self::Open,
            StudentSpec::Model(path) => Self::Model(Some(path)),
        }
    }
}

/// What a mode is called.
pub fn mode_name(mode: TrainMode) -> &'static str {
    match mode {
        TrainMode::Weights => "Weights",
        TrainMode::Scales => "Scales",
        TrainMode::Round => "Rounding",
        TrainMode::Qat => "QAT",
        TrainMode::Adapter => "Adapter",
    }
}

/// What a mode changes, in a sentence.
pub fn mode_sentence(mode: TrainMode) -> &'static str {
    match mode {
        TrainMode::Weights => "Every weight of a dense student learns what the teachers say",
        TrainMode::Scales => "Scales and zeros of a quantized student learn; its codes stay",
        TrainMode::Round => "Each weight learns whether it is rounded up or down, block by block",
        TrainMode::Qat => "Weights learn behind fake quantization and are then stored as codes",
        TrainMode::Adapter => "Low-rank matrices learn beside frozen weights",
    }
}

/// Runs of the open model that can be a student, newest first.
pub fn student_runs<'a>(runs: impl Iterator<Item = &'a Run>) -> impl Iterator<Item = &'a Run> {
    runs.filter(|run| run.status == RunStatus::Done)
}

impl TrainDraft {
    /// The text to train on: its own, else that of calibration.
    pub fn text(&self, project: &Project) -> Option<String> {
        let own = self
            .corpus
            .as_ref()
            .map(|path| path.to_string_lossy().into_owned());
        own.or_else(|| project.draft().calibration.corpus.clone())
    }

    /// Why it cannot start, if it cannot. The engine knows more; what it refuses is told when it is asked.
    pub fn why_not(&self, project: &Project) -> Option<String> {
        if let Some(reason) = &project.inspection.reason {
            return Some(format!("The network cannot be run: {reason}"));
        }
        let missing = match &self.student {
            StudentChoice::Config(None) => Some("Choose the student's config.json"),
            StudentChoice::Model(None) => Some("Choose the student's folder"),
            StudentChoice::Run(None) => Some("Choose the run that is trained on"),
            _ => None,
        };
        if let Some(missing) = missing {
            return Some(missing.to_owned());
        }
        self.text(project)
            .is_none()
            .then(|| "Choose a text to train on".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_without_a_full_stop() {
        for mode in MODES {
            let sentence = mode_sentence(mode);
            assert!(
                !sentence.ends_with('.') && !mode_name(mode).is_empty(),
                "{sentence}"
            );
        }
    }
}
