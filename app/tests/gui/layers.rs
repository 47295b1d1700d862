//! The table of layers as a person uses it: rows selected, filtered, edited, undone.

use crate::desk::Desk;
use egui::accesskit::Role;
use egui::{Event, Key, Modifiers, PointerButton, Theme, vec2};
use egui_kittest::Node;
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use pare::studio::{Command, Project};
use pare_engine::recipe::LayerSettings;
use pare_engine::solved::Method;
use safetensors::tensor::{Dtype, TensorView};
use std::path::Path;

const QUERY: &str = "model.layers.0.self_attn.q_proj";
const KEY: &str = "model.layers.0.self_attn.k_proj";
const VALUE: &str = "model.layers.0.self_attn.v_proj";
const OUTPUT: &str = "model.layers.0.self_attn.o_proj";
const GATE: &str = "model.layers.0.mlp.gate_proj";
const CTRL_SHIFT: Modifiers = Modifiers {
    command: true,
    shift: true,
    ..Modifiers::NONE
};

fn project(desk: &Desk) -> &Project {
    desk.studio().project().unwrap()
}

fn row<'a>(desk: &'a Desk, name: &'a str) -> Node<'a> {
    desk.harness.get_by_role_and_label(Role::Row, name)
}

fn click(desk: &mut Desk, name: &str, modifiers: Modifiers) {
    row(desk, name).click_modifiers(modifiers);
    desk.harness.run_steps(3);
}

fn press(desk: &mut Desk, key: Key, modifiers: Modifiers) {
    desk.harness.key_press_modifiers(modifiers, key);
    desk.harness.run_steps(3);
}

fn press_button(desk: &mut Desk, label: &str) {
    desk.harness.get_by_label(label).click();
    desk.harness.run_steps(3);
}

fn type_filter(desk: &mut Desk, text: &str) {
    press(desk, Key::F, Modifiers::COMMAND);
    desk.harness.event(Event::Text(text.to_owned()));
    desk.harness.run_steps(3);
}

/// Last words of the names of selected layers, in the model's order.
fn selected(desk: &Desk) -> Vec<&str> {
    let project = project(desk);
    let layers = project.selection.layers().into_iter();
    let names = layers.map(|layer| project.layers[layer].name.as_str());
    names.map(|name| name.rsplit('.').next().unwrap()).collect()
}

fn settings(desk: &Desk, name: &str) -> LayerSettings {
    let project = project(desk);
    let layer = project.layers.iter().position(|layer| layer.name == name);
    project.draft().settings[layer.unwrap()]
}

fn bits(desk: &Desk, names: &[&str]) -> Vec<u8> {
    names.iter().map(|name| settings(desk, name).bits).collect()
}

#[test]
fn clicks_select_as_file_managers_do() {
    let mut desk = Desk::with_sample();
    let cases: [(&str, Modifiers, &[&str]); 8] = [
        (KEY, Modifiers::NONE, &["k_proj"]),
        (OUTPUT, Modifiers::SHIFT, &["k_proj", "v_proj", "o_proj"]),
        (VALUE, Modifiers::SHIFT, &["k_proj", "v_proj"]),
        (QUERY, Modifiers::SHIFT, &["q_proj", "k_proj"]),
        (OUTPUT, Modifiers::COMMAND, &["q_proj", "k_proj", "o_proj"]),
        (
            GATE,
            CTRL_SHIFT,
            &["q_proj", "k_proj", "o_proj", "gate_proj"],
        ),
        (KEY, Modifiers::COMMAND, &["q_proj", "o_proj", "gate_proj"]),
        (VALUE, Modifiers::NONE, &["v_proj"]),
    ];
    for (name, modifiers, expected) in cases {
        click(&mut desk, name, modifiers);
        assert_eq!(selected(&desk), expected, "{name} {modifiers:?}");
    }
    click(&mut desk, "Block 0", Modifiers::NONE);
    assert_eq!(
        selected(&desk).len(),
        7,
        "a block's header selects its layers"
    );
    click(&mut desk, "Embedding", Modifiers::COMMAND);
    assert_eq!(selected(&desk).len(), 8);
    click(&mut desk, "Block 0", Modifiers::COMMAND);
    assert_eq!(selected(&desk), ["embed_tokens"]);
    desk.harness.get_by_label("1 selected");
}

#[test]
fn a_drag_over_rows_selects_them_and_shrinks_again() {
    let mut desk = Desk::with_sample();
    let [start, end, back] = [QUERY, GATE, KEY].map(|name| row(&desk, name).rect().center());
    desk.harness.drag_at(start);
    desk.harness.run_steps(1);
    desk.harness.hover_at(end);
    desk.harness.run_steps(3);
    assert_eq!(selected(&desk).len(), 5, "{:?}", selected(&desk));
    desk.harness.hover_at(back);
    desk.harness.run_steps(3);
    desk.harness.drop_at(back);
    desk.harness.run_steps(3);
    assert_eq!(selected(&desk), ["q_proj", "k_proj"]);
}

#[test]
fn keys_walk_fold_and_select() {
    let mut desk = Desk::with_sample();
    let (none, shift, command) = (Modifiers::NONE, Modifiers::SHIFT, Modifiers::COMMAND);
    click(&mut desk, QUERY, none);
    press(&mut desk, Key::ArrowDown, none);
    assert_eq!(selected(&desk), ["k_proj"]);
    press(&mut desk, Key::ArrowDown, shift);
    press(&mut desk, Key::ArrowDown, shift);
    press(&mut desk, Key::ArrowUp, shift);
    assert_eq!(selected(&desk), ["k_proj", "v_proj"]);
    press(&mut desk, Key::End, none);
    let last = *project(&desk).rows.visible.last().unwrap();
    assert_eq!(project(&desk).selection.cursor(), Some(last));
    let name = project(&desk).layers[last].name.clone();
    row(&desk, &name);
    press(&mut desk, Key::PageUp, none);
    let paged = project(&desk).selection.cursor().unwrap();
    assert!(paged < last, "a page up from {last}: {paged}");
    press(&mut desk, Key::Home, none);
    assert_eq!(selected(&desk), ["embed_tokens"]);
    press(&mut desk, Key::A, command);
    assert_eq!(selected(&desk).len(), project(&desk).rows.visible.len());
    press(&mut desk, Key::Escape, none);
    assert!(selected(&desk).is_empty());
    click(&mut desk, QUERY, none);
    press(&mut desk, Key::I, command);
    assert!(!selected(&desk).is_empty() && !project(&desk).selection.contains(1));
    click(&mut desk, QUERY, none);
    press(&mut desk, Key::ArrowLeft, none);
    assert!(
        desk.harness
            .query_by_role_and_label(Role::Row, QUERY)
            .is_none()
    );
    desk.harness.get_by_label("1 selected, 1 hidden");
    press(&mut desk, Key::ArrowRight, none);
    row(&desk, QUERY);
    press_button(&mut desk, "Fold Block 0");
    assert!(
        desk.harness
            .query_by_role_and_label(Role::Row, QUERY)
            .is_none()
    );
}

#[test]
fn the_filter_filters_as_it_is_typed_and_tells_what_is_wrong() {
    let mut desk = Desk::with_sample();
    click(&mut desk, QUERY, Modifiers::NONE);
    type_filter(&mut desk, "down_proj");
    let matching = project(&desk).rows.matching;
    assert!(matching > 1 && matching < project(&desk).rows.total);
    let total = project(&desk).rows.total;
    desk.harness.get_by_label(&format!("{matching} of {total}"));
    desk.harness.get_by_label("1 selected, 1 hidden");
    desk.harness.event(Event::Text(" bits<".to_owned()));
    desk.harness.run_steps(3);
    assert_eq!(
        project(&desk).rows.matching,
        matching,
        "the rows of before stay"
    );
    desk.harness
        .get_by_label_contains("Not a number after bits<");
    desk.harness.event(Event::Text("5".to_owned()));
    desk.harness.run_steps(3);
    assert_eq!(project(&desk).filter_problem, None);
    assert_eq!(selected(&desk), ["q_proj"], "digits typed are no bits");
    assert_eq!(bits(&desk, &[QUERY]), [4]);
    press_button(&mut desk, "Select all matches");
    assert_eq!(selected(&desk), vec!["down_proj"; matching]);
    press_button(&mut desk, "Remove filter bits<5");
    assert_eq!(project(&desk).filter_text, "down_proj");
    press(&mut desk, Key::F, Modifiers::COMMAND);
    press(&mut desk, Key::Escape, Modifiers::NONE);
    assert_eq!(project(&desk).filter_text, "");
    press(&mut desk, Key::Escape, Modifiers::NONE);
    assert_eq!(
        selected(&desk).len(),
        matching,
        "Escape left the field, not the selection"
    );
    press(&mut desk, Key::Escape, Modifiers::NONE);
    assert!(selected(&desk).is_empty());
}

#[test]
fn keys_edit_the_selection_and_undo_takes_back_whole_gestures() {
    let mut desk = Desk::with_sample();
    let (none, names) = (Modifiers::NONE, [QUERY, KEY, VALUE]);
    click(&mut desk, QUERY, none);
    click(&mut desk, KEY, Modifiers::SHIFT);
    let cases = [
        (Key::Num6, [6, 6, 4]),
        (Key::CloseBracket, [7, 7, 4]),
        (Key::OpenBracket, [6, 6, 4]),
        (Key::Num2, [2, 2, 4]),
    ];
    for (key, expected) in cases {
        press(&mut desk, key, none);
        assert_eq!(bits(&desk, &names), expected, "{key:?}");
    }
    press(&mut desk, Key::Z, Modifiers::COMMAND);
    assert_eq!(bits(&desk, &names), [6, 6, 4]);
    press(&mut desk, Key::Z, CTRL_SHIFT);
    assert_eq!(bits(&desk, &names), [2, 2, 4]);
    press(&mut desk, Key::Num0, none);
    assert_eq!(settings(&desk, KEY).method, Method::None);
    press_button(&mut desk, "Set 8 bits");
    assert_eq!(bits(&desk, &names), [8, 8, 4]);
    press(&mut desk, Key::L, none);
    press(&mut desk, Key::Num3, none);
    assert_eq!(bits(&desk, &names), [8, 8, 4], "locked layers stay");
    press_button(&mut desk, &format!("Unlock {KEY}"));
    press(&mut desk, Key::M, none);
    press_button(&mut desk, "HQQ");
    assert_eq!(settings(&desk, QUERY).method, Method::Hqq);
    click(&mut desk, VALUE, Modifiers::COMMAND);
    press(&mut desk, Key::D, Modifiers::COMMAND);
    assert_eq!(
        settings(&desk, VALUE),
        settings(&desk, QUERY),
        "filled down"
    );
}

#[test]
fn cells_edit_their_row_or_the_selection_it_is_in() {
    let mut desk = Desk::with_sample();
    press_button(&mut desk, &format!("Group of {KEY}"));
    press_button(&mut desk, "Group 32");
    assert_eq!(settings(&desk, KEY).group, 32);
    assert_ne!(settings(&desk, QUERY).group, 32);
    click(&mut desk, QUERY, Modifiers::NONE);
    click(&mut desk, VALUE, Modifiers::COMMAND);
    press_button(&mut desk, &format!("Bits of {VALUE}"));
    press_button(&mut desk, "5 bits");
    assert_eq!(bits(&desk, &[QUERY, KEY, VALUE]), [5, 4, 5]);
    let steps = project(&desk).history.labels().count();
    let at = desk
        .harness
        .get_by_label(&format!("Bits of {KEY}"))
        .rect()
        .center();
    desk.harness.drag_at(at);
    desk.harness.run_steps(1);
    for moved in [10.0, 20.0, 30.0, 44.0] {
        desk.harness.hover_at(at + vec2(moved, 0.0));
        desk.harness.run_steps(2);
    }
    desk.harness.drop_at(at + vec2(44.0, 0.0));
    desk.harness.run_steps(3);
    assert_eq!(bits(&desk, &[QUERY, KEY, VALUE]), [5, 7, 5]);
    assert_eq!(
        project(&desk).history.labels().count(),
        steps + 1,
        "a drag is one step"
    );
}

#[test]
fn the_context_menu_selects_its_row_and_says_what_cannot_be_done() {
    let mut desk = Desk::with_sample();
    click(&mut desk, QUERY, Modifiers::NONE);
    press(&mut desk, Key::Num7, Modifiers::NONE);
    desk.harness.event(Event::Copy);
    desk.harness.run_steps(3);
    row(&desk, KEY).click_button(PointerButton::Secondary);
    desk.harness.run_steps(3);
    assert_eq!(selected(&desk), ["k_proj"]);
    let fill = desk
        .harness
        .get_by_label("Fill down from the first selected layer");
    assert!(
        fill.accesskit_node().is_disabled(),
        "one layer has nobody to fill"
    );
    let paste = desk.harness.get_by_label("Paste layer settings");
    paste.click();
    desk.harness.run_steps(3);
    assert_eq!(settings(&desk, KEY), settings(&desk, QUERY));
    desk.harness.event(Event::Paste("anything".to_owned()));
    desk.harness.run_steps(3);
    click(&mut desk, VALUE, Modifiers::NONE);
    desk.harness.event(Event::Paste("anything".to_owned()));
    desk.harness.run_steps(3);
    assert_eq!(bits(&desk, &[VALUE]), [7]);
}

#[test]
fn headers_sort_up_down_and_back() {
    let mut desk = Desk::with_sample();
    let errors = |desk: &Desk| -> Vec<f64> {
        let project = project(desk);
        let figures = project
            .rows
            .visible
            .iter()
            .map(|&layer| project.figures[layer]);
        figures
            .map(|figures| figures.error.unwrap().value)
            .collect()
    };
    press_button(&mut desk, "Sort by error");
    assert!(errors(&desk).is_sorted());
    press_button(&mut desk, "Sort by error");
    assert!(errors(&desk).is_sorted_by(|left, right| left >= right));
    press_button(&mut desk, "Sort by error");
    assert!(project(&desk).rows.visible.is_sorted());
}

#[test]
fn the_row_under_the_pointer_is_everyone_s() {
    let mut desk = Desk::with_sample();
    row(&desk, VALUE).hover();
    desk.harness.run_steps(3);
    let hovered = project(&desk).hovered.unwrap();
    assert_eq!(project(&desk).layers[hovered].name, VALUE);
    desk.harness.hover_at(egui::pos2(4.0, 4.0));
    desk.harness.run_steps(3);
    assert_eq!(project(&desk).hovered, None);
}

/// A file of so many small weights under names of a model that nobody knows.
fn write_model(folder: &Path, layers: usize) {
    let bytes = vec![60u8; 8 * 32 * 2];
    let tensors = (0..layers).map(|layer| {
        let name = format!("model.layers.{layer}.mlp.up_proj.weight");
        let view = TensorView::new(Dtype::F16, vec![8, 32], &bytes).unwrap();
        (name, view)
    });
    safetensors::serialize_to_file(tensors, None, &folder.join("model.safetensors")).unwrap();
}

#[test]
fn a_thousand_layers_scroll_filter_and_edit_at_once() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path(), 1000);
    let size = vec2(1024.0, 700.0);
    let mut desk = Desk::open(Some(folder.path().to_owned()), size, Theme::Light);
    assert_eq!(project(&desk).rows.total, 1000);
    press(&mut desk, Key::End, Modifiers::NONE);
    row(&desk, "model.layers.999.mlp.up_proj");
    desk.command(Command::Filter("re:layers\\.50\\d\\.".to_owned()));
    desk.harness.run_steps(2);
    desk.harness.get_by_label("10 of 1000");
    desk.command(Command::Filter(String::new()));
    press(&mut desk, Key::A, Modifiers::COMMAND);
    press(&mut desk, Key::Num3, Modifiers::NONE);
    let draft = project(&desk).draft();
    assert!(draft.settings.iter().all(|settings| settings.bits == 3));
}

#[test]
fn both_themes_show_selected_rows() {
    for theme in [Theme::Dark, Theme::Light] {
        let mut desk = Desk::open(Some("sample".into()), vec2(1024.0, 700.0), theme);
        let place = row(&desk, QUERY).rect();
        let before = desk.harness.render().unwrap();
        click(&mut desk, QUERY, Modifiers::NONE);
        desk.harness.hover_at(egui::pos2(4.0, 4.0));
        desk.harness.run_steps(3);
        let after = desk.harness.render().unwrap();
        // Between the name's end and the column's, inside the row: nothing but its ground.
        let (x, y) = (place.right() as u32 - 3, place.center().y as u32);
        let [ground, chosen] = [before, after].map(|picture| picture.get_pixel(x, y).0);
        assert_ne!(
            ground, chosen,
            "{theme:?}: a selected row has its own colour"
        );
        assert!(
            chosen[2] > chosen[0],
            "{theme:?}: {chosen:?} is the accent's"
        );
    }
}
