//! The runs view, and what is there again after a restart.

use crate::desk::Desk;
use egui::{Theme, Vec2};
use egui_kittest::kittest::Queryable as _;
use pare::studio::action::{Action, View};
use pare::studio::command::Command;
use pare::studio::draft::LayerEdit;
use pare::studio::runs::{Run, RunStatus};
use pare::studio::store::Store;
use pare_engine::recipe::LayerSettings;
use pare_engine::solved::Method;

const SIZE: Vec2 = Vec2::new(1400.0, 1200.0);

/// Two finished runs of the sample, the second at 3 bits.
fn with_two_runs() -> Desk {
    let mut desk = Desk::open(Some("sample".into()), SIZE, Theme::Dark);
    desk.command(Command::SetEvaluation(None));
    desk.command(Command::Run(None));
    desk.settle();
    desk.command(Command::Uniform(3));
    desk.command(Command::Run(None));
    desk.settle();
    desk.command(Command::Show(View::Runs));
    desk.settle();
    desk
}

/// What must come back of every run.
fn kept(desk: &Desk) -> Vec<String> {
    let run = |run: &Run| {
        let report = run.report.as_ref().unwrap();
        let histograms: Vec<_> = report
            .layers
            .iter()
            .map(|layer| &layer.histograms)
            .collect();
        format!(
            "{:?} {} {:?} {} {:?} {} {} {histograms:?}",
            run.id, run.name, run.status, run.pinned, run.out, run.recipe_toml, report.bytes_after
        )
    };
    desk.studio().runs.iter().map(run).collect()
}

/// What is chosen for layers that are quantized: of others, nothing but that they are not.
fn settings(desk: &Desk) -> Vec<String> {
    let draft = desk.studio().project().unwrap().draft();
    let text = |settings: &LayerSettings| match settings.method {
        Method::None => "dense".to_owned(),
        _ => format!("{settings:?}"),
    };
    draft.settings.iter().map(text).collect()
}

#[test]
fn everything_is_there_again_after_a_restart() {
    let mut desk = with_two_runs();
    let id = desk.studio().runs[1].id;
    desk.command(Command::Rename(id, "four bits é".to_owned()));
    desk.command(Command::Pin(id));
    let edit = Command::Edit {
        edit: LayerEdit::Bits(6),
        layers: Some(vec![4]),
        gesture: None,
    };
    desk.command(edit);
    desk.command(Command::Act(Action::ResetLayout));
    desk.settle();
    let before = kept(&desk);
    let chosen = settings(&desk);
    let Desk {
        mut harness,
        folder,
    } = desk;
    eframe::App::on_exit(harness.state_mut(), None);
    drop(harness);

    let data = folder.path().join("data");
    let layout: Option<String> = Store::open(&data).unwrap().0.setting("layout").unwrap();
    assert!(layout.is_some_and(|layout| layout.contains("layers")));
    let desk = Desk::open_in(folder, Some("sample".into()), SIZE, Theme::Dark);
    assert_eq!(before, kept(&desk), "runs, names, pins, reports");
    assert_eq!(chosen, settings(&desk));
    assert_eq!(
        desk.studio().recents[0].path,
        std::path::Path::new("sample")
    );
    assert!(!desk.studio().recents[0].is_missing);
    assert_eq!(desk.studio().next_run, 3);
    assert_eq!(desk.studio().store, Ok(()));
}

#[test]
fn a_run_is_pinned_renamed_and_forgotten() {
    let mut desk = with_two_runs();
    desk.harness
        .get_all_by_label("Pin as baseline")
        .last()
        .unwrap()
        .click();
    desk.harness.run_steps(3);
    assert_eq!(
        desk.studio()
            .runs
            .iter()
            .map(|run| run.pinned)
            .collect::<Vec<_>>(),
        [false, true],
        "the oldest is the last row"
    );
    desk.harness
        .get_by_label("What to do with sample 1")
        .click();
    desk.harness.run_steps(3);
    desk.harness.get_by_label("Rename").click();
    desk.harness.run_steps(3);
    desk.harness
        .get_by_label("New name of the run")
        .type_text(" again");
    desk.harness.run_steps(2);
    desk.harness.key_press(egui::Key::Enter);
    desk.harness.run_steps(3);
    assert_eq!(desk.studio().runs[1].name, "sample 1 again");

    desk.harness
        .get_by_label("What to do with sample 2")
        .click();
    desk.harness.run_steps(3);
    desk.harness.get_by_label("Forget…").click();
    desk.harness.run_steps(3);
    assert_eq!(desk.studio().runs.len(), 2, "it asks first");
    let folder = desk.studio().runs[0].out.clone();
    desk.harness.get_by_label("Forget it").click();
    desk.harness.run_steps(3);
    assert_eq!(desk.studio().runs.len(), 1);
    assert!(folder.exists(), "the folder stays");
}

#[test]
fn a_run_s_recipe_can_be_edited_again() {
    let mut desk = with_two_runs();
    desk.harness
        .get_by_label("What to do with sample 1")
        .click();
    desk.harness.run_steps(3);
    desk.harness.get_by_label("Clone and edit").click();
    desk.settle();
    let recipe = |desk: &Desk| desk.studio().project().unwrap().draft().settings.clone();
    let cloned = recipe(&desk);
    desk.command(Command::Act(Action::Undo));
    assert_ne!(cloned, recipe(&desk), "the clone is one step");
    assert_eq!(desk.studio().runs[0].status, RunStatus::Done);
}

#[test]
fn two_windows_never_share_a_run() {
    let mut first = with_two_runs();
    let data = first.folder.path().join("data");
    let cache = first.folder.path().join("cache");
    let beginning = pare::studio::state::Beginning {
        cache_folder: cache,
        data_folder: Some(data),
        began_unix_ms: 1_800_000_100_000,
    };
    let context = egui::Context::default();
    let mut second = pare::gui::App::new(&context, beginning, Some("sample".into()), None).unwrap();
    let patience = std::time::Duration::from_secs(60);
    while second.is_busy() {
        second.wait(&context, patience);
    }
    second.command(Command::SetEvaluation(None), &context);
    second.command(Command::Run(None), &context);
    first.command(Command::Run(None));
    while second.is_busy() {
        second.wait(&context, patience);
    }
    first.settle();
    let (ours, theirs) = (&first.studio().runs[0], &second.studio.runs[0]);
    assert_eq!([&ours.status, &theirs.status], [&RunStatus::Done; 2]);
    assert_ne!(ours.id, theirs.id);
    assert_ne!(ours.out, theirs.out);
    eframe::App::on_exit(&mut second, None);
}
