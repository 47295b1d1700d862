//! Trainings as values: drafted, foreseen, started, stopped, continued, ended.

#![allow(clippy::unwrap_used)]

use super::super::tests::with_sample;
use crate::studio::action::{Action, View};
use crate::studio::effect::{Job, Purpose};
use crate::studio::event::Outcome;
use crate::studio::runs::{RunId, RunRequest, RunStatus};
use crate::studio::train::{Foresight, Sample, StudentChoice, TrainDraft};
use crate::studio::{Command, Effect, Event, Studio};
use pare_engine::recipe::TrainMode;
use pare_engine::report::{DistillReport, TrainPoint, Verified};
use pare_engine::session::{DistillRequest, StudentSpec};
use std::sync::Arc;

fn draft(studio: &mut Studio, change: impl FnOnce(&mut TrainDraft)) -> Vec<Effect> {
    let mut draft = studio.project().unwrap().train.clone();
    change(&mut draft);
    studio.command(Command::SetTraining(Box::new(draft)))
}

/// What the worker is asked to train.
fn ordered(effects: &[Effect]) -> Option<(RunId, DistillRequest)> {
    effects.iter().find_map(|effect| match effect {
        Effect::Start(Job::Run(order)) => match &order.request {
            RunRequest::Distill(request, _) => Some((order.id, request.as_ref().clone())),
            RunRequest::Compress(_) => None,
        },
        _ => None,
    })
}

fn point(step: u64, loss: f64) -> TrainPoint {
    TrainPoint {
        loss: Some(loss),
        held_out: Some(loss + 0.1),
        ..TrainPoint::before(step)
    }
}

fn report() -> DistillReport {
    DistillReport {
        out: "out".to_owned(),
        mode: "weights".to_owned(),
        steps: 2,
        skipped_steps: 0,
        ended_early: false,
        loss_first: Some(3.0),
        loss_last: Some(1.0),
        held_out_first: Some(3.1),
        held_out_best: Some(1.1),
        best_step: Some(2),
        perplexity_before: None,
        perplexity_after: None,
        reference_perplexity: None,
        evaluation: None,
        seconds: 2.0,
        step_seconds: 1.0,
        tokens_per_second: 100.0,
        of_fma_bound: None,
        parameters: 10,
        trained_parameters: 10,
        memory_bytes: 100,
        peak_rss_bytes: 100,
        sparsity: None,
        export_difference: None,
        bytes: 40,
        verified: Verified {
            tensors: 1,
            max_abs_difference: 0.0,
        },
        recipe: String::new(),
        curve: vec![point(1, 3.0), point(2, 1.0)],
        warnings: Vec::new(),
    }
}

#[test]
fn a_training_is_ordered_told_and_kept_as_a_run() {
    let mut studio = with_sample();
    draft(&mut studio, |draft| {
        draft.settings.steps = 2;
        draft.student = StudentChoice::Width { share: 0.5 };
    });
    let effects = studio.command(Command::Act(Action::StartTraining));
    let (id, request) = ordered(&effects).unwrap();
    assert_eq!(request.student, StudentSpec::Width { share: 0.5 });
    assert_eq!(request.recipe.train.as_ref().unwrap().steps, 2);
    assert!(
        request.recipe.calibration.corpus.is_some(),
        "the calibration text"
    );
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Show(View::Train)))
    );
    assert_eq!(studio.view_at_work(), View::Train);

    studio.event(Event::Began(id));
    studio.event(Event::Stepped(id, vec![point(1, 3.0), point(2, 1.0)]));
    studio.event(Event::Sampled(
        id,
        Sample {
            step: 2,
            text: "once".to_owned(),
        },
    ));
    let (shown, curve) = studio.shown_curve().unwrap();
    assert_eq!(
        (shown, curve.points().len(), curve.samples.len()),
        (id, 2, 1)
    );
    studio.event(Event::Trained(id, Outcome::Done(Arc::new(report()))));
    let run = studio.run(id).unwrap();
    assert_eq!(run.status, RunStatus::Done);
    assert_eq!(run.kind(), "trained: weights");
    assert_eq!(run.bytes(), Some(40));
    assert_eq!(run.training.as_ref().unwrap().losses(), Some([3.1, 1.1]));
    assert!(studio.active.is_none());
    assert_eq!(studio.compared, (None, Some(id)));
    assert_eq!(studio.exportable(), None, "it has no solved layers");
    let copied = studio.command(Command::Act(Action::CopyCurve));
    assert!(
        matches!(&copied[0], Effect::Copy(text) if text.lines().count() == 3),
        "{copied:?}"
    );
}

#[test]
fn a_stopped_training_goes_on_where_it_was() {
    let mut studio = with_sample();
    let effects = studio.command(Command::Train);
    let (id, asked) = ordered(&effects).unwrap();
    studio.event(Event::Began(id));
    studio.event(Event::Stepped(id, vec![point(1, 3.0), point(2, 2.5)]));
    studio.command(Command::Act(Action::StopRun));
    studio.event(Event::Trained(id, Outcome::Stopped));
    assert_eq!(studio.run(id).unwrap().status, RunStatus::Stopped);
    assert_eq!(studio.resumable(), Some(id));

    let effects = studio.command(Command::Resume(id));
    let (again, resumed) = ordered(&effects).unwrap();
    let expected = DistillRequest {
        resume: true,
        ..asked
    };
    assert_eq!((again, resumed), (id, expected));
    // It goes on from the last stored state.
    studio.event(Event::Stepped(id, vec![point(2, 2.4)]));
    let curve = studio.curves.get(id).unwrap();
    assert_eq!(curve.last().unwrap().loss, Some(2.4));
    assert_eq!(curve.points().len(), 2);
}

#[test]
fn a_training_that_waits_is_stopped_at_once() {
    let mut studio = with_sample();
    let (id, _) = ordered(&studio.command(Command::Train)).unwrap();
    studio.command(Command::Train);
    assert_eq!(studio.waiting.len(), 1);
    let effects = studio.command(Command::Act(Action::StopRun));
    assert_eq!(studio.run(id).unwrap().status, RunStatus::Stopped);
    assert!(ordered(&effects).is_some(), "the next one begins");
}

#[test]
fn what_cannot_start_says_why() {
    let mut studio = with_sample();
    let why = |studio: &Studio| Action::StartTraining.availability(studio).unwrap_err();
    draft(&mut studio, |draft| {
        draft.student = StudentChoice::Config(None)
    });
    assert!(why(&studio).contains("config.json"), "{}", why(&studio));
    draft(&mut studio, |draft| {
        draft.student = StudentChoice::Run(None)
    });
    assert!(why(&studio).contains("run"), "{}", why(&studio));
    studio.event(Event::Chosen(Purpose::StudentConfig, Some("c.json".into())));
    assert_eq!(Action::StartTraining.availability(&studio), Ok(()));
    studio.command(Command::Act(Action::CloseModel));
    assert_eq!(why(&studio), "No model is open");
}

#[test]
fn only_the_newest_foresight_counts() {
    let mut studio = with_sample();
    let asked = |effects: &[Effect]| {
        effects.iter().find_map(|effect| match effect {
            Effect::Start(Job::Foresee { control, .. }) => Some(control.clone()),
            _ => None,
        })
    };
    let first = asked(&draft(&mut studio, |draft| draft.settings.batch = 4)).unwrap();
    let second = asked(&draft(&mut studio, |draft| draft.settings.batch = 2)).unwrap();
    assert!(first.is_stopped() && !second.is_stopped());
    let moved = draft(&mut studio, |draft| draft.out = Some("/elsewhere".into()));
    assert!(asked(&moved).is_none(), "where it goes changes nothing");
    for (control, bytes) in [(first, 1), (second, 2)] {
        let foresight = Foresight {
            bytes,
            allowed_bytes: 9,
            parameters: 3,
        };
        studio.event(Event::Foreseen {
            generation: studio.generation,
            control,
            result: Ok(foresight),
        });
    }
    let foreseen = &studio.project().unwrap().foresight;
    assert_eq!(foreseen.answer.as_ref().unwrap().as_ref().unwrap().bytes, 2);
    assert!(foreseen.control.is_none());
}

#[test]
fn teachers_are_added_and_the_command_line_names_them() {
    let mut studio = with_sample();
    studio.event(Event::Chosen(
        Purpose::Teacher,
        Some("/models/other".into()),
    ));
    draft(&mut studio, |draft| draft.others[0].weight = 0.5);
    let effects = studio.command(Command::Act(Action::CopyTraining));
    let Effect::Copy(text) = &effects[0] else {
        panic!("{effects:?}");
    };
    let expected = "pare distill --teacher sample --teacher /models/other --teacher-weight 1 --teacher-weight 0.5 --student depth:0.5 ";
    assert!(text.starts_with(expected), "{text}");
    assert!(text.contains("\n[train]\n"), "{text}");
}

#[test]
fn a_training_is_cloned_with_its_student_settings_and_recipe() {
    let mut studio = with_sample();
    draft(&mut studio, |draft| {
        draft.student = StudentChoice::Open;
        draft.settings.mode = TrainMode::Scales;
        draft.settings.steps = 7;
        draft.corpus = Some("text.txt".into());
    });
    let before = studio.project().unwrap().train.clone();
    let (id, request) = ordered(&studio.command(Command::Act(Action::StartTraining))).unwrap();
    let own = studio.project().unwrap().session.path().to_owned();
    assert_eq!(request.student, StudentSpec::Model(own));
    draft(&mut studio, |draft| *draft = TrainDraft::default());
    let effects = studio.command(Command::CloneRun(id));
    let shown = effects
        .iter()
        .any(|effect| matches!(effect, Effect::Show(View::Train)));
    assert!(shown, "{effects:?}");
    assert_eq!(studio.project().unwrap().train, before);
}
