//! The run view and what stands behind it: runs to the end, stopped, resumed, queued, paused, refused; a panic.

use crate::desk::Desk;
use crate::reproduce::content;
use egui::accesskit::Role;
use egui::{Theme, Vec2};
use egui_kittest::kittest::Queryable as _;
use pare::studio::action::{Action, View};
use pare::studio::command::Command;
use pare::studio::effect::Job;
use pare::studio::estimates::{EstimateKey, Wanted};
use pare::studio::event::{Event, Generation};
use pare::studio::runs::RunStatus;
use pare::studio::worker::Worker;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A pane high enough for all that the view shows.
fn desk() -> Desk {
    let mut desk = Desk::open(
        Some("sample".into()),
        Vec2::new(1400.0, 1400.0),
        Theme::Dark,
    );
    desk.command(Command::Show(View::Run));
    desk.settle();
    desk
}

/// Waits until the run at work has solved `count` layers.
fn until_solved(desk: &mut Desk, count: usize) {
    desk.until("some layers are solved", |app| {
        let active = app.studio.active.as_ref();
        active.is_some_and(|active| active.layers.len() >= count)
    });
}

fn statuses(desk: &Desk) -> Vec<RunStatus> {
    let runs = desk.studio().runs.iter();
    runs.map(|run| run.status.clone()).collect()
}

#[test]
fn a_stopped_and_resumed_run_has_the_same_bytes() {
    let mut desk = desk();
    desk.command(Command::SetEvaluation(None));
    desk.harness
        .get_all_by_role_and_label(Role::Button, "Run")
        .last()
        .unwrap()
        .click();
    desk.harness.step();
    desk.settle();
    desk.command(Command::Act(Action::StartRun));
    until_solved(&mut desk, 3);
    desk.harness.get_by_label_contains("Stop").click();
    desk.settle();
    assert_eq!(statuses(&desk), [RunStatus::Stopped, RunStatus::Done]);
    desk.harness.get_by_label("Resume stopped run").click();
    desk.harness.step();
    desk.settle();
    assert_eq!(statuses(&desk), [RunStatus::Done, RunStatus::Done]);
    let folders: Vec<_> = desk.studio().runs.iter().map(|run| &run.out).collect();
    let (resumed, whole) = (content(folders[0]), content(folders[1]));
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&resumed), names(&whole));
    for (name, bytes) in &whole {
        assert!(resumed[name] == *bytes, "{} differs", name.display());
    }
}

#[test]
fn runs_wait_for_each_other_and_can_be_taken_out() {
    let mut desk = desk();
    desk.command(Command::SetEvaluation(None));
    for _ in 0..3 {
        desk.command(Command::Run(None));
    }
    assert_eq!(desk.studio().waiting.len(), 2);
    desk.harness.step();
    let second = desk.harness.get_all_by_label_contains("Remove").next();
    second.unwrap().click();
    desk.harness.step();
    assert_eq!(desk.studio().waiting.len(), 1, "the second was taken out");
    desk.settle();
    let expected = [RunStatus::Done, RunStatus::Stopped, RunStatus::Done];
    assert_eq!(statuses(&desk), expected);
}

#[test]
fn a_paused_run_rests_until_it_goes_on() {
    let mut desk = desk();
    desk.command(Command::SetEvaluation(None));
    desk.command(Command::Run(None));
    until_solved(&mut desk, 2);
    desk.harness.get_by_label_contains("Pause").click();
    desk.harness.step();
    assert!(desk.studio().active.as_ref().unwrap().control.is_paused());
    let context = desk.harness.ctx.clone();
    // What was on its way comes in; then nothing more.
    while desk
        .harness
        .state_mut()
        .wait(&context, Duration::from_millis(400))
    {}
    let active = desk.studio().active.as_ref();
    let solved = active.expect("a paused run is still at work").layers.len();
    let layers = desk.studio().project().unwrap().layers.len();
    assert!(solved < layers, "{solved} of {layers}");
    desk.harness.step();
    desk.harness.get_by_label_contains("Continue").click();
    desk.harness.step();
    desk.settle();
    assert_eq!(statuses(&desk), [RunStatus::Done]);
}

#[test]
fn a_folder_that_is_taken_is_never_written_to() {
    let mut desk = desk();
    desk.command(Command::SetEvaluation(None));
    let meant = desk.studio().next_out();
    std::fs::create_dir_all(meant.join("mine")).unwrap();
    // Nobody chose it: the next free name will do.
    desk.command(Command::Run(None));
    desk.settle();
    let run = &desk.studio().runs[0];
    assert_eq!(run.status, RunStatus::Done);
    assert_eq!(run.out, meant.with_file_name("sample-1-2"));
    // A person chose it: the run fails and says why.
    desk.command(Command::SetDestination(Some(meant.clone())));
    desk.command(Command::Act(Action::StartRun));
    desk.settle();
    let RunStatus::Failed(reason) = &desk.studio().runs[0].status else {
        panic!("{:?}", desk.studio().runs[0].status);
    };
    assert!(reason.contains("not empty"), "{reason}");
    assert_eq!(desk.studio().unread(), 1, "{:?}", desk.studio().notices);
    assert_eq!(std::fs::read_dir(&meant).unwrap().count(), 1);
    assert_eq!(desk.studio().destination, None, "it was meant for one run");
}

#[test]
fn a_panic_in_a_job_is_told_and_its_lane_goes_on() {
    let desk = Desk::with_sample();
    let project = desk.studio().project().unwrap();
    let settings = project.draft().settings[0];
    let estimate = |layer: usize| Job::Estimate {
        generation: Generation(7),
        job: 1,
        session: project.session.clone(),
        inputs: None,
        wanted: vec![Wanted {
            key: EstimateKey::new(layer, &settings),
            settings,
        }],
        control: Arc::default(),
    };
    let worker = Worker::start(None, Arc::new(|| {})).unwrap();
    worker.start_job(estimate(99_999));
    worker.start_job(estimate(0));
    let patience = Duration::from_secs(60);
    let panicked = worker.wait(patience);
    let Some(Event::Panicked { job, message }) = panicked else {
        panic!("{panicked:?}");
    };
    assert_eq!(job, "estimating");
    assert!(message.contains("99999"), "{message}");
    let answered = worker.wait(patience);
    assert!(
        matches!(answered, Some(Event::Estimated { .. })),
        "{answered:?}"
    );
    worker.finish();
}

#[test]
fn texts_are_taken_once_they_are_finished() {
    let mut desk = desk();
    let field = desk
        .harness
        .get_by_role_and_label(Role::TextInput, "Evaluation text");
    field.focus();
    desk.harness.step();
    desk.harness
        .key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::A);
    desk.harness
        .get_by_role_and_label(Role::TextInput, "Evaluation text")
        .type_text("/texts/é.txt");
    desk.harness.step();
    let evaluation = |desk: &Desk| desk.studio().project().unwrap().draft().evaluation.clone();
    assert_ne!(
        evaluation(&desk),
        Some("/texts/é.txt".into()),
        "still typing"
    );
    desk.harness.key_press(egui::Key::Enter);
    desk.harness.run_steps(2);
    assert_eq!(evaluation(&desk), Some("/texts/é.txt".into()));
    desk.harness.get_by_label("Clear").click();
    desk.harness.run_steps(2);
    assert_eq!(evaluation(&desk), None);
}
