//! The train view: a small training of the sample by clicks, stopped, continued, finished; its curve; its run.

use crate::desk::Desk;
use crate::reproduce::content;
use egui::accesskit::Role;
use egui::{Theme, Vec2, vec2};
use egui_kittest::kittest::Queryable as _;
use pare::studio::action::View;
use pare::studio::command::Command;
use pare::studio::runs::{RunId, RunStatus};
use pare::studio::train::StudentChoice;
use pare_engine::report::TrainPoint;
use std::time::Instant;

/// The sample with a training of `steps` small steps drafted, its view in front.
fn desk(size: Vec2, steps: u64) -> Desk {
    let mut desk = Desk::open(Some("sample".into()), size, Theme::Dark);
    desk.command(Command::SetEvaluation(None));
    let mut draft = desk.studio().project().unwrap().train.clone();
    draft.settings.steps = steps;
    draft.settings.batch = 2;
    draft.settings.length = 32;
    draft.settings.held_out = 2;
    draft.settings.check_every = 2;
    draft.settings.warm_up = 2;
    draft.prompt.every = 3;
    desk.command(Command::SetTraining(Box::new(draft)));
    desk.command(Command::Show(View::Train));
    desk.settle();
    desk
}

fn click(desk: &mut Desk, label: &str) {
    let all = desk.harness.get_all_by_role_and_label(Role::Button, label);
    all.last().unwrap().click();
    desk.harness.step();
}

fn until_steps(desk: &mut Desk, count: usize) {
    desk.until("some steps are done", |app| {
        let curve = app.studio.shown_curve();
        curve.is_some_and(|(_, curve)| curve.points().len() >= count)
    });
}

#[test]
fn a_training_runs_stops_goes_on_and_lands_in_runs() {
    let mut desk = desk(vec2(1400.0, 1600.0), 6);
    let foreseen = desk.studio().project().unwrap().foresight.answer.clone();
    let foreseen = foreseen.unwrap().unwrap();
    click(&mut desk, "Train");
    desk.settle();
    let whole = desk.studio().runs[0].clone();
    assert_eq!(whole.status, RunStatus::Done, "{:?}", desk.studio().notices);
    let report = whole.trained().unwrap().clone();
    assert_eq!((report.steps, report.mode.as_str()), (6, "weights"));
    assert_eq!(
        report.memory_bytes, foreseen.bytes,
        "what was foreseen is what is stated"
    );
    assert_eq!(report.parameters, foreseen.parameters);
    let (_, curve) = desk.studio().shown_curve().unwrap();
    let steps: Vec<u64> = curve.points().iter().map(|point| point.step).collect();
    assert_eq!(steps, [0, 1, 2, 3, 4, 5, 6]);
    let texts = curve.samples.iter();
    let texts: Vec<_> = texts
        .map(|sample| (sample.step, sample.text.starts_with("The")))
        .collect();
    assert_eq!(
        texts,
        [(0, true), (3, true), (6, true)],
        "{:?}",
        curve.samples
    );
    desk.harness.get_by_label("step 3");

    // The same again, stopped on its way by a click, and continued.
    click(&mut desk, "Train");
    until_steps(&mut desk, 2);
    desk.harness.get_by_label_contains("Stop").click();
    desk.harness.step();
    desk.settle();
    let stopped = desk.studio().runs[0].clone();
    if stopped.status == RunStatus::Stopped {
        desk.harness.get_by_label_contains("can be continued");
        click(&mut desk, "Continue");
        desk.settle();
    }
    let resumed = desk.studio().runs[0].clone();
    assert_eq!(
        resumed.status,
        RunStatus::Done,
        "{:?}",
        desk.studio().notices
    );
    let (one, other) = (content(&whole.out), content(&resumed.out));
    let tensors = std::path::Path::new("model.safetensors");
    assert!(
        one[tensors] == other[tensors],
        "the same weights, stopped or not"
    );

    desk.command(Command::Show(View::Runs));
    desk.harness.run_steps(2);
    let kinds = desk.harness.get_all_by_label("trained: weights").count();
    assert_eq!(kinds, 2);
    desk.command(Command::Compare(None, Some(resumed.id)));
    desk.command(Command::Show(View::Compare));
    desk.harness.run_steps(2);
    desk.harness.get_by_label("Size");
}

#[test]
fn what_learns_on_codes_is_trained_by_clicks() {
    let mut desk = desk(vec2(1400.0, 1600.0), 2);
    // Button, word in the report.
    let modes = [
        ("Scales", "scales"),
        ("QAT", "qat"),
        ("Rounding", "round"),
        ("Adapter", "adapter"),
    ];
    for (trainings, (button, word)) in modes.into_iter().enumerate() {
        // After a training its curves stand in front.
        click(&mut desk, "Setup");
        click(&mut desk, button);
        let student = desk.studio().project().unwrap().train.student.clone();
        let is_expected = match trainings {
            0 => student == StudentChoice::Open,
            _ => matches!(student, StudentChoice::Run(Some(_))),
        };
        assert!(
            is_expected,
            "{button}: the open model, then the newest run with codes; found {student:?}"
        );
        click(&mut desk, "Train");
        desk.settle();
        let run = desk.studio().runs[0].clone();
        let notices = &desk.studio().notices;
        assert_eq!(run.status, RunStatus::Done, "{button}: {notices:?}");
        let report = run.trained().unwrap();
        assert_eq!((report.mode.as_str(), report.steps), (word, 2), "{button}");
        assert!(report.trained_parameters > 0, "{button}");
    }
}

#[test]
fn kinds_of_students_and_knobs_are_chosen_by_clicks() {
    let mut desk = desk(vec2(1400.0, 1600.0), 6);
    let student = desk
        .harness
        .get_by_role_and_label(Role::ComboBox, "Student");
    student.click();
    desk.harness.run_steps(2);
    click(&mut desk, "fresh, of a config");
    desk.harness.run_steps(2);
    let reason = pare::studio::Action::StartTraining.availability(desk.studio());
    assert!(reason.is_err(), "no config is chosen");
    click(&mut desk, "More…");
    desk.harness.run_steps(2);
    let field = desk.harness.get_by_label("Seed of training");
    field.scroll_to_me();
    desk.harness.run_steps(3);
    desk.harness.get_by_label("Patience");
}

/// Points of a long training that nobody waited for.
fn pretend(desk: &mut Desk, steps: u64) -> RunId {
    let point = |step: u64| {
        let way = step as f64 / steps as f64;
        let wave = ((step * 2_654_435_761) % 1000) as f64 / 1000.0 - 0.5;
        TrainPoint {
            loss: match step {
                0 => None,
                step if step % 397 == 20 => None,
                _ => Some(4.2 * (-1.6 * way).exp() * (1.0 + 0.25 * wave)),
            },
            held_out: step
                .is_multiple_of(steps / 20)
                .then(|| 4.1 * (-1.5 * way).exp() + 0.05),
            rate: 1e-4
                * (step as f64 / 40.0).min(1.0)
                * (0.55 + 0.45 * (std::f64::consts::PI * way).cos()),
            gradient_norm: Some(1.0 + wave),
            tokens_per_second: 5321.0,
            seconds_left: 372.0 * (1.0 - way),
            ..TrainPoint::before(step)
        }
    };
    let studio = &mut desk.harness.state_mut().studio;
    let id = studio.runs[0].id;
    studio.curves.forget(id);
    (0..=steps).for_each(|step| studio.curves.entry(id).add(point(step)));
    id
}

#[test]
fn a_hundred_thousand_steps_take_no_more_of_a_frame_than_ten_thousand() {
    let mut desk = desk(vec2(1400.0, 1600.0), 1);
    click(&mut desk, "Train");
    desk.settle();
    let mut frame = |steps: u64| {
        pretend(&mut desk, steps);
        desk.harness.run_steps(3);
        let began = Instant::now();
        desk.harness.run_steps(10);
        began.elapsed().as_secs_f64() / 10.0
    };
    let (few, many) = (frame(10_000), frame(100_000));
    assert!(many < 2.0 * few + 0.004, "{few} s and {many} s");
}

#[test]
#[ignore = "writes pictures for people who work on the view"]
fn pictures() {
    let folder = std::path::PathBuf::from("/tmp/train-pictures");
    std::fs::create_dir_all(&folder).unwrap();
    for (theme, word) in [(Theme::Dark, "dark"), (Theme::Light, "light")] {
        for size in [
            vec2(1400.0, 900.0),
            vec2(1024.0, 700.0),
            vec2(2000.0, 1400.0),
        ] {
            let name = |what: &str| folder.join(format!("{what}-{word}-{}.png", size.x));
            let mut desk = Desk::open(Some("sample".into()), size, theme);
            desk.command(Command::Show(View::Train));
            desk.settle();
            desk.picture(&name("setup"));
            let mut draft = desk.studio().project().unwrap().train.clone();
            draft.settings.steps = 1;
            draft.settings.batch = 1;
            draft.settings.length = 16;
            desk.command(Command::SetEvaluation(None));
            desk.command(Command::SetTraining(Box::new(draft)));
            desk.command(Command::Train);
            desk.settle();
            pretend(&mut desk, 2000);
            desk.harness.run_steps(3);
            desk.picture(&name("curves"));
            desk.command(Command::Show(View::Runs));
            desk.harness.run_steps(3);
            desk.picture(&name("runs"));
        }
    }
}
