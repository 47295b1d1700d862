//! The network as a whole: how large it would be with parts taken out.

use crate::studio::effect::{Effect, Job};
use crate::studio::event::{Generation, Outcome};
use crate::studio::log::Level;
use crate::studio::project::Project;
use crate::studio::runs::Control;
use crate::studio::similarity::Similarity;
use crate::studio::smaller::{Plan, Question};
use crate::studio::state::Studio;
use crate::studio::steps;
use std::sync::Arc;

impl Studio {
    /// Asks how large the draft and its steps would be, where that follows from no list of layers and settings. The newest draft counts.
    pub(super) fn ask_sizes(&mut self) -> Vec<Effect> {
        let generation = self.generation;
        let Some(project) = self.project_mut() else {
            return Vec::new();
        };
        let mut questions = questions(project);
        project.smaller.current = questions.last().map(|question| question.plan.clone());
        questions.retain(|question| project.smaller.get(&question.plan).is_none());
        let plans: Vec<Plan> = questions.iter().map(|one| one.plan.clone()).collect();
        let smaller = &mut project.smaller;
        if smaller
            .job
            .as_ref()
            .is_some_and(|(_, asked)| *asked == plans)
        {
            return Vec::new();
        }
        if let Some((control, _)) = smaller.job.take() {
            control.stop();
        }
        if questions.is_empty() {
            return Vec::new();
        }
        let control = Arc::new(Control::default());
        smaller.job = Some((control.clone(), plans));
        vec![Effect::Start(Job::Size {
            generation,
            session: project.session.clone(),
            questions,
            control,
        })]
    }

    /// Measures how little each block changes what passes through it.
    pub(super) fn compare_blocks(&mut self) -> Vec<Effect> {
        let generation = self.generation;
        let Some(project) = self.project_mut() else {
            return Vec::new();
        };
        let control = Arc::new(Control::default());
        project.similarity = Similarity::Measuring(control.clone());
        vec![Effect::Start(Job::CompareBlocks {
            generation,
            session: project.session.clone(),
            settings: project.draft().calibration.clone(),
            control,
        })]
    }

    pub(super) fn stop_comparing(&mut self) -> Vec<Effect> {
        if let Some(project) = self.project_mut()
            && let Similarity::Measuring(control) = &project.similarity
        {
            control.stop();
            project.similarity = Similarity::Unknown;
        }
        Vec::new()
    }

    pub(super) fn blocks_compared(
        &mut self,
        generation: Generation,
        control: &Arc<Control>,
        result: Outcome<Vec<f64>>,
    ) -> Vec<Effect> {
        let is_current = generation == self.generation;
        let Some(project) = self.project_mut().filter(|_| is_current) else {
            return Vec::new();
        };
        match &project.similarity {
            Similarity::Measuring(at_work) if Arc::ptr_eq(at_work, control) => {}
            _ => return Vec::new(),
        }
        let (similarity, problem) = match result {
            Outcome::Done(similarity) => (Similarity::Known(similarity), None),
            Outcome::Stopped => (Similarity::Unknown, None),
            Outcome::Failed(reason) => (Similarity::Failed(reason.clone()), Some(reason)),
        };
        project.similarity = similarity;
        let told = problem.map(|reason| self.tell(Level::Error, reason));
        told.into_iter().collect()
    }

    pub(super) fn sized(
        &mut self,
        generation: Generation,
        control: &Arc<Control>,
        answers: Vec<(Plan, Result<u64, String>)>,
    ) -> Vec<Effect> {
        let is_current = generation == self.generation;
        let Some(project) = self.project_mut().filter(|_| is_current) else {
            return Vec::new();
        };
        let job = project.smaller.job.as_ref();
        if job.is_some_and(|(at_work, _)| Arc::ptr_eq(at_work, control)) {
            project.smaller.job = None;
            project.smaller.take(answers);
        }
        Vec::new()
    }
}

/// The draft in force step by step; the last one is the draft itself.
fn questions(project: &Project) -> Vec<Question> {
    let draft = project.draft();
    if !draft.waits_for_plan() {
        return Vec::new();
    }
    let all = steps::kinds(draft).into_iter();
    all.map(|kind| Question::of(&steps::draft_up_to(draft, kind), &project.layers))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::with_sample;
    use crate::studio::action::Action;
    use crate::studio::effect::Job;
    use crate::studio::{Command, Effect, Event};
    use pare_engine::recipe::Structure;

    #[test]
    fn the_newest_structure_is_asked_for_once_and_answered() {
        let mut studio = with_sample();
        let structure = |neurons| Structure {
            neurons,
            ..Structure::default()
        };
        let asked = |effects: &[Effect]| {
            effects.iter().find_map(|effect| match effect {
                Effect::Start(Job::Size {
                    questions, control, ..
                }) => Some((questions.clone(), control.clone())),
                _ => None,
            })
        };
        let effects = studio.command(Command::SetStructure(structure(0.25), None));
        let (_, first) = asked(&effects).unwrap();
        assert_eq!(studio.project().unwrap().planned_bytes(), None);
        let effects = studio.command(Command::SetStructure(structure(0.5), None));
        let (questions, second) = asked(&effects).unwrap();
        assert!(first.is_stopped() && !second.is_stopped());
        let answers = |bytes| {
            let answers = questions.iter().map(|one| (one.plan.clone(), Ok(bytes)));
            answers.collect::<Vec<_>>()
        };
        for (control, bytes, expected) in [(first, 7, None), (second, 9, Some(Ok(9)))] {
            studio.event(Event::Sized {
                generation: studio.generation,
                control,
                answers: answers(bytes),
            });
            assert_eq!(studio.project().unwrap().planned_bytes(), expected);
        }
        assert!(asked(&studio.command(Command::Filter("q".to_owned()))).is_none());
        studio.command(Command::Act(Action::Undo));
        studio.command(Command::Act(Action::Undo));
        let project = studio.project().unwrap();
        assert_eq!(project.planned_bytes(), Some(Ok(project.bytes().1)));
    }
}
