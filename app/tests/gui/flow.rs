//! One piece of work through the whole window, over the end of the program: open, edit, undo, run, compare, export, open
//! again.

use crate::desk::Desk;
use egui::{Key, Modifiers, Theme, Vec2};
use pare::studio::Command;
use pare::studio::action::{Action, View};
use pare::studio::draft::LayerEdit;
use pare::studio::runs::{RunId, RunStatus};
use pare_engine::formats::Format;
use pare_engine::session::{Session, SessionOptions};

const SIZE: Vec2 = Vec2::new(1400.0, 900.0);

/// Bits of the layers whose name ends so, in the draft.
fn bits(desk: &Desk, ending: &str) -> Vec<u8> {
    let project = desk.studio().project().unwrap();
    let layers = project.layers.iter().zip(&project.draft().settings);
    let named = layers.filter(|(layer, _)| layer.name.ends_with(ending));
    named.map(|(_, settings)| settings.bits).collect()
}

/// Selects the layers that a filter finds and gives them bits.
fn set_bits(desk: &mut Desk, filter: &str, bits: u8) {
    desk.command(Command::Filter(filter.to_owned()));
    desk.command(Command::Act(Action::SelectAll));
    let edit = LayerEdit::Bits(bits);
    desk.command(Command::Edit {
        edit,
        layers: None,
        gesture: None,
    });
    desk.command(Command::Filter(String::new()));
    desk.settle();
}

fn press(desk: &mut Desk, modifiers: Modifiers, key: Key) {
    desk.harness.key_press_modifiers(modifiers, key);
    desk.harness.run_steps(2);
}

#[test]
fn a_piece_of_work_outlives_the_window() {
    let mut desk = Desk::with_sample();
    set_bits(&mut desk, "down_proj", 6);
    set_bits(&mut desk, "up_proj", 2);
    assert_eq!(
        (bits(&desk, "down_proj"), bits(&desk, "up_proj")),
        (vec![6; 3], vec![2; 3])
    );
    press(&mut desk, Modifiers::COMMAND, Key::Z);
    assert_eq!(bits(&desk, "up_proj"), [4; 3], "the last edit is undone");
    assert_eq!(bits(&desk, "down_proj"), [6; 3], "and only the last");

    press(&mut desk, Modifiers::NONE, Key::F5);
    assert!(desk.studio().is_working(), "F5 runs");
    desk.settle();
    let run = desk.studio().runs[0].clone();
    assert_eq!(run.status, RunStatus::Done, "{:?}", desk.studio().log);
    let report = run.report.as_ref().unwrap();
    let solved = |ending: &str| -> Vec<u8> {
        let layers = report
            .layers
            .iter()
            .filter(|layer| layer.name.ends_with(ending));
        layers.map(|layer| layer.bits).collect()
    };
    assert_eq!(
        (solved("down_proj"), solved("up_proj")),
        (vec![6; 3], vec![4; 3])
    );
    assert!(run.kl().is_some(), "the sample is always measured");

    desk.command(Command::Compare(Some(run.id), None));
    desk.command(Command::Show(View::Compare));
    desk.settle();
    press(&mut desk, Modifiers::COMMAND, Key::E);
    let out = desk.folder.path().join("exported");
    desk.command(Command::Export {
        run: run.id,
        format: Format::Dense,
        out: out.clone(),
    });
    desk.settle();
    let exported = desk.studio().exported.clone().unwrap().unwrap();
    assert_eq!(exported.format, Format::Dense.word(), "{exported:?}");
    let options = SessionOptions {
        threads: Some(1),
        memory_bytes: None,
        cache_folder: desk.folder.path().join("cache"),
        cache_capacity_bytes: 0,
    };
    let reopened = Session::open(&out, options).unwrap();
    let layers = desk.studio().project().unwrap().layers.len();
    assert_eq!(
        reopened.layers().len(),
        layers,
        "the export opens with every layer"
    );

    again(desk, run.id, &run.recipe_hash);
}

/// Closes the window and opens another over the same folders.
fn again(desk: Desk, run: RunId, recipe_hash: &str) {
    let mut desk = Desk::open_in(desk.close(), Some("sample".into()), SIZE, Theme::Light);
    let kept = desk
        .studio()
        .run(run)
        .expect("the run is in the list again");
    assert_eq!(
        (&kept.status, kept.recipe_hash.as_str()),
        (&RunStatus::Done, recipe_hash)
    );
    assert!(kept.report.is_some() && kept.out.join(".pare/report.json").exists());
    assert_eq!(
        bits(&desk, "down_proj"),
        [6; 3],
        "the draft is as it was left"
    );
    let recents = &desk.studio().recents;
    assert!(
        recents
            .iter()
            .any(|recent| recent.path.as_os_str() == "sample"),
        "{recents:?}"
    );
    desk.command(Command::Resume(run));
    desk.settle();
    assert_eq!(
        desk.studio().runs.len(),
        1,
        "a finished run is not run again"
    );
}
