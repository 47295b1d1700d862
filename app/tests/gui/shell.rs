//! What is around the views: menus, headline, palette, notices, questions for paths, dropped files.

use crate::desk::Desk;
use egui::{DroppedFile, Event, Key, Modifiers, Theme, vec2};
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use pare::studio::Command;
use pare::studio::action::{Action, View};
use pare::studio::draft::LayerEdit;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file as a desktop hands it over.
#[derive(Debug)]
struct Dropped(PathBuf);

impl DroppedFile for Dropped {
    fn path(&self) -> &Path {
        &self.0
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        Err("nobody reads it".to_owned())
    }
}

fn press(desk: &mut Desk, modifiers: Modifiers, key: Key) {
    desk.harness.key_press_modifiers(modifiers, key);
    desk.harness.run_steps(2);
}

fn open_palette(desk: &mut Desk) {
    press(desk, Modifiers::COMMAND | Modifiers::SHIFT, Key::P);
}

fn type_text(desk: &mut Desk, text: &str) {
    desk.harness.event(Event::Text(text.to_owned()));
    desk.harness.run_steps(3);
}

fn edit_two(desk: &mut Desk) {
    let project = desk.studio().project().unwrap();
    let layers: Vec<usize> = (0..project.layers.len())
        .filter(|&layer| {
            project.layers[layer].compressible && project.layers[layer].block.is_some()
        })
        .take(2)
        .collect();
    desk.command(Command::SelectLayers(layers));
    desk.command(Command::Edit {
        edit: LayerEdit::Bits(3),
        layers: None,
        gesture: None,
    });
    desk.settle();
}

#[test]
fn the_palette_finds_and_runs_an_action() {
    let mut desk = Desk::with_sample();
    open_palette(&mut desk);
    type_text(&mut desk, "invsel");
    desk.harness.get_by_label("Invert selection");
    press(&mut desk, Modifiers::NONE, Key::Enter);
    let project = desk.studio().project().unwrap();
    assert!(project.selection.len() > 10, "{}", project.selection.len());
    assert!(
        desk.harness.query_by_label("Invert selection").is_none(),
        "the palette closes"
    );
}

#[test]
fn the_palette_finds_layers_and_moves_by_keys() {
    let mut desk = Desk::with_sample();
    press(&mut desk, Modifiers::COMMAND, Key::P);
    type_text(&mut desk, "2.mlp.down");
    press(&mut desk, Modifiers::NONE, Key::ArrowDown);
    press(&mut desk, Modifiers::NONE, Key::ArrowUp);
    press(&mut desk, Modifiers::NONE, Key::Enter);
    let project = desk.studio().project().unwrap();
    let chosen = project
        .selection
        .cursor()
        .map(|layer| &project.layers[layer].name);
    assert_eq!(
        chosen.map(String::as_str),
        Some("model.layers.2.mlp.down_proj")
    );
}

#[test]
fn a_disabled_action_says_why_and_stays() {
    let mut desk = Desk::open(None, vec2(1024.0, 700.0), Theme::Light);
    open_palette(&mut desk);
    type_text(&mut desk, "save recipe as");
    let entry = desk.harness.get_by_label("Save recipe as…");
    assert!(entry.accesskit_node().is_disabled());
    press(&mut desk, Modifiers::NONE, Key::Enter);
    desk.harness.get_by_label("Save recipe as…").hover();
    desk.harness.run_steps(8);
    assert!(
        desk.harness.query_by_label("No model is open").is_some(),
        "the reason is under the pointer"
    );
    press(&mut desk, Modifiers::NONE, Key::Escape);
    assert!(desk.harness.query_by_label("Save recipe as…").is_none());
}

#[test]
fn undo_says_in_the_menu_what_it_takes_back() {
    let mut desk = Desk::with_sample();
    edit_two(&mut desk);
    let label = desk
        .studio()
        .project()
        .unwrap()
        .history
        .undo_label()
        .unwrap()
        .to_owned();
    assert!(label.contains("2 layers"), "{label}");
    desk.harness.get_by_label("Edit").click();
    desk.harness.run_steps(3);
    let entry = format!("Undo {label}");
    desk.harness.get_by_label_contains(&entry).click();
    desk.harness.run_steps(3);
    assert_eq!(desk.studio().project().unwrap().history.undo_label(), None);
    press(&mut desk, Modifiers::COMMAND, Key::Y);
    assert!(
        desk.studio()
            .project()
            .unwrap()
            .history
            .undo_label()
            .is_some(),
        "Ctrl+Y does it again"
    );
    press(&mut desk, Modifiers::COMMAND, Key::Z);
    assert!(
        desk.studio()
            .project()
            .unwrap()
            .history
            .undo_label()
            .is_none()
    );
    press(&mut desk, Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    assert!(
        desk.studio()
            .project()
            .unwrap()
            .history
            .undo_label()
            .is_some()
    );
}

#[test]
fn a_dropped_folder_opens_and_a_hovering_one_is_announced() {
    let mut desk = Desk::with_sample();
    let folder = desk.studio().project().unwrap().session.path().to_owned();
    desk.harness
        .input_mut()
        .dropped_files
        .push(Arc::new(Dropped(folder.clone())));
    desk.harness.step();
    desk.harness.input_mut().dropped_files.clear();
    desk.until("the dropped model is open", |app| {
        app.studio
            .project()
            .is_some_and(|project| !project.is_sample)
    });
    assert_eq!(desk.studio().project().unwrap().path, folder);
    assert_eq!(desk.studio().recents.len(), 2, "both are recent models");
    desk.settle();
    press(&mut desk, Modifiers::COMMAND, Key::Num2);
    desk.until("Ctrl+2 opens the second recent model", |app| {
        app.studio
            .project()
            .is_some_and(|project| project.is_sample)
    });
}

#[test]
fn a_path_can_be_typed_where_no_dialog_is() {
    let mut desk = Desk::open(None, vec2(1024.0, 700.0), Theme::Dark);
    press(&mut desk, Modifiers::COMMAND, Key::O);
    type_text(&mut desk, "sample");
    press(&mut desk, Modifiers::NONE, Key::Enter);
    desk.until("the sample is open", |app| app.studio.project().is_some());
    press(&mut desk, Modifiers::COMMAND, Key::O);
    desk.harness.get_by_label("Cancel");
    press(&mut desk, Modifiers::NONE, Key::Escape);
    assert!(
        desk.harness.query_by_label("Cancel").is_none(),
        "Esc closes the question"
    );
}

#[test]
fn notices_are_counted_and_read() {
    let mut desk = Desk::open(
        Some("/no/such/model".into()),
        vec2(1024.0, 700.0),
        Theme::Dark,
    );
    assert_eq!(desk.studio().unread(), 1);
    desk.harness.get_by_label("Notices, 1 unread").click();
    desk.harness.run_steps(3);
    assert_eq!(desk.studio().unread(), 0, "opening the list reads them");
    desk.harness.get_by_label("Copy notice");
}

#[test]
fn the_list_of_shortcuts_opens_with_f1_and_question_mark() {
    let mut desk = Desk::open(None, vec2(1024.0, 700.0), Theme::Dark);
    for key in [Key::F1, Key::Questionmark] {
        press(&mut desk, Modifiers::NONE, key);
        desk.harness.get_by_label("Close");
        press(&mut desk, Modifiers::NONE, Key::Escape);
        assert!(desk.harness.query_by_label("Close").is_none());
    }
}

#[test]
fn the_headline_keeps_its_places_and_fits_a_narrow_window() {
    for width in [1024.0, 1400.0] {
        let mut desk = Desk::open(Some("sample".into()), vec2(width, 700.0), Theme::Dark);
        let place = |desk: &Desk| {
            let memory = desk.harness.get_by_label_contains("Memory fits");
            let bits = desk.harness.get_by_label_contains("Bits / weight");
            (bits.rect(), memory.rect())
        };
        let before = place(&desk);
        edit_two(&mut desk);
        assert_eq!(
            place(&desk),
            before,
            "figures stay where they are at {width}"
        );
        let menus = desk.harness.get_by_label("Help").rect();
        assert!(
            menus.right() < before.0.left(),
            "menus and figures do not meet at {width}"
        );
    }
}

#[test]
fn closing_asks_only_while_a_run_is_at_work() {
    let mut desk = Desk::with_sample();
    desk.command(Command::Run(None));
    desk.command(Command::Close(false));
    desk.harness.run_steps(2);
    desk.harness.get_by_label("Keep the window").click();
    desk.harness.run_steps(2);
    assert!(desk.harness.query_by_label("Keep the window").is_none());
    desk.settle();
    desk.command(Command::Act(Action::Show(View::Runs)));
}
