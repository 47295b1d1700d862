//! What the engine is asked to train, what a run keeps of it, and how the engine foresees it.

use super::{StudentChoice, TrainDraft};
use crate::studio::compose;
use crate::studio::project::Project;
use crate::studio::runs::{Run, RunId};
use pare_engine::recipe::{Recipe, TrainMode};
use pare_engine::report::DistillReport;
use pare_engine::session::{DistillRequest, OtherTeacher, StudentSpec};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Texts that a student is to write on its way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// What it goes on from; empty = nothing is written.
    pub text: String,
    /// Steps between texts; 0 = only before and after.
    pub every: u64,
}

impl Prompt {
    /// Whether a text is wanted after `step` of `steps`.
    pub fn is_due(&self, step: u64, steps: u64) -> bool {
        let is_end = step == 0 || step == steps;
        !self.text.trim().is_empty()
            && (is_end || self.every > 0 && step.is_multiple_of(self.every))
    }
}

/// What makes a run a training, beside its recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Weight of the first teacher: the run's model.
    pub weight: f64,
    /// Further teachers with their weights.
    pub others: Vec<(PathBuf, f64)>,
    /// The student, as `--student` takes it.
    pub student: String,
    /// What is trained.
    pub mode: TrainMode,
    /// The texts that it is to write on its way.
    #[serde(default)]
    pub prompt: Prompt,
    /// What came of it; kept apart.
    #[serde(skip)]
    pub report: Option<Arc<DistillReport>>,
}

/// What the engine foresees of a training, from shapes alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foresight {
    /// Memory that it takes at its peak.
    pub bytes: u64,
    /// Memory that it may take.
    pub allowed_bytes: u64,
    /// Weights of the student.
    pub parameters: u64,
}

impl TrainDraft {
    /// The student in the engine's words; `None` while it is not chosen. `place` tells where a run lies.
    fn spec(
        &self,
        project: &Project,
        place: impl Fn(RunId) -> Option<PathBuf>,
    ) -> Option<StudentSpec> {
        Some(match &self.student {
            StudentChoice::Depth { share, evenly } => StudentSpec::Depth {
                share: *share,
                evenly: *evenly,
            },
            StudentChoice::Width { share } => StudentSpec::Width { share: *share },
            StudentChoice::Config(path) => StudentSpec::Config(path.clone()?),
            StudentChoice::Open => StudentSpec::Model(project.session.path().to_owned()),
            StudentChoice::Model(path) => StudentSpec::Model(path.clone()?),
            StudentChoice::Run(id) => StudentSpec::Model(place((*id)?)?),
        })
    }

    /// What the engine is asked; `None` while the draft says too little. `place` tells where a run lies.
    pub fn request(
        &self,
        project: &Project,
        place: impl Fn(RunId) -> Option<PathBuf>,
        out: PathBuf,
    ) -> Option<DistillRequest> {
        let draft = project.draft();
        let mut calibration = draft.calibration.clone();
        calibration.corpus = self.text(project);
        Some(DistillRequest {
            weight: self.weight,
            others: self.others.clone(),
            student: self.spec(project, place)?,
            recipe: Recipe {
                calibration,
                train: Some(self.settings.clone()),
                ..match self.settings.mode {
                    TrainMode::Weights => Recipe::default(),
                    // A student without codes is compressed first, as the draft says.
                    _ => compose::recipe(draft, &project.layers),
                }
            },
            out,
            evaluate: draft.evaluation.clone(),
            resume: false,
        })
    }
}

impl Training {
    /// The draft that asks for the same again, beside the open model `open`; an error says what cannot be read any more.
    pub fn draft(&self, recipe: &Recipe, open: &Path) -> Result<TrainDraft, String> {
        let spec = self.student.parse::<StudentSpec>();
        Ok(TrainDraft {
            weight: self.weight,
            others: self.other_teachers(),
            student: StudentChoice::of_spec(spec.map_err(|error| error.to_string())?, open),
            settings: recipe.train.clone().unwrap_or_default(),
            corpus: recipe.calibration.corpus.as_ref().map(PathBuf::from),
            prompt: self.prompt.clone(),
            out: None,
        })
    }

    fn other_teachers(&self) -> Vec<OtherTeacher> {
        let others = self.others.iter();
        let teacher = |(path, weight): &(PathBuf, f64)| OtherTeacher {
            path: path.clone(),
            weight: *weight,
        };
        others.map(teacher).collect()
    }

    /// What a run keeps of `request`.
    pub fn of(request: &DistillRequest, prompt: &Prompt) -> Self {
        let others = request.others.iter();
        let mode = request.recipe.train.as_ref().map(|train| train.mode);
        Self {
            weight: request.weight,
            others: others.map(|one| (one.path.clone(), one.weight)).collect(),
            student: request.student.to_string(),
            mode: mode.unwrap_or_default(),
            prompt: prompt.clone(),
            report: None,
        }
    }

    /// The request that goes on with `run`; an error says what of it cannot be read any more.
    pub fn resumed(&self, run: &Run) -> Result<DistillRequest, String> {
        Ok(DistillRequest {
            weight: self.weight,
            others: self.other_teachers(),
            student: self
                .student
                .parse::<StudentSpec>()
                .map_err(|error| error.to_string())?,
            recipe: Recipe::parse(&run.recipe_toml).map_err(|error| error.to_string())?,
            out: run.out.clone(),
            evaluate: run.evaluation_text.clone(),
            resume: true,
        })
    }

    /// Loss before and after, held out where anything was.
    pub fn losses(&self) -> Option<[f64; 2]> {
        let report = self.report.as_ref()?;
        let held_out = report.held_out_first.zip(report.held_out_best);
        let (before, after) = held_out.or(report.loss_first.zip(report.loss_last))?;
        Some([before, after])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_due_at_both_ends_and_between() {
        let prompt = |text: &str, every| Prompt {
            text: text.to_owned(),
            every,
        };
        // Prompt, step, expected of 25 steps.
        let cases = [
            (prompt("a", 10), 0, true),
            (prompt("a", 10), 10, true),
            (prompt("a", 10), 15, false),
            (prompt("a", 10), 25, true),
            (prompt("a", 0), 10, false),
            (prompt(" ", 10), 10, false),
        ];
        for (prompt, step, expected) in cases {
            assert_eq!(prompt.is_due(step, 25), expected, "{prompt:?} {step}");
        }
    }
}
