//! Layers against options as a person uses the map: cells clicked, painted, reached by keys, and what they show.

use crate::desk::Desk;
use egui::accesskit::Role;
use egui::{Event, Key, Modifiers, PointerButton, Pos2, Theme, Vec2, vec2};
use egui_kittest::Node;
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use pare::studio::action::{Action, View};
use pare::studio::sensitivity::SensitivityState;
use pare::studio::state::Phase;
use pare::studio::{Command, Project};
use pare_engine::allocate::Predictor;
use pare_engine::formats::Format;
use pare_engine::report::{LayerSensitivity, Measure, OptionError, Probe, SensitivityTable};
use pare_engine::settings::LayerOption;
use pare_engine::solved::Method;
use std::sync::Arc;

const QUERY: &str = "model.layers.0.self_attn.q_proj";
const KEY: &str = "model.layers.0.self_attn.k_proj";
const VALUE: &str = "model.layers.0.self_attn.v_proj";
const OUTPUT: &str = "model.layers.0.self_attn.o_proj";

fn project(desk: &Desk) -> &Project {
    desk.studio().project().unwrap()
}

fn index(desk: &Desk, name: &str) -> usize {
    let layers = &project(desk).layers;
    layers.iter().position(|layer| layer.name == name).unwrap()
}

/// The options of layers in the draft, as words.
fn options(desk: &Desk, names: &[&str]) -> Vec<String> {
    let settings = &project(desk).draft().settings;
    let option = |name: &&str| LayerOption::of(&settings[index(desk, name)]).unwrap();
    names.iter().map(|name| option(name).to_string()).collect()
}

/// A layer hurts the more the further it is from the middle; nobody has judged v_proj at 2 bits.
fn table(project: &Project) -> SensitivityTable {
    let options = LayerOption::all();
    let judged = project.layers.iter().enumerate();
    let judged = judged.filter(|(_, info)| info.compressible);
    let count = project.rows.total as f64;
    let layers = judged.enumerate().map(|(number, (layer, info))| {
        let pain = 0.3 + (number as f64 / count - 0.5).abs() + (number % 7) as f64 * 0.15;
        let error = |option: LayerOption| {
            let LayerOption::Grid { bits, group } = option else {
                return Some(known(0.0, 0.0, Method::None, info.size_bytes));
            };
            let scales = info.parameters / group as u64 * 3;
            let bytes = info.parameters * u64::from(bits) / 8 + scales;
            let error = pain * 0.5_f64.powi(i32::from(bits)) * (group as f64 / 32.0).powf(0.2);
            let is_missing = info.name.ends_with("v_proj") && bits == 2;
            (!is_missing).then(|| known(error, 0.3 * error * error, Method::Gptq, bytes))
        };
        LayerSensitivity {
            layer,
            name: info.name.clone(),
            weights: info.parameters,
            errors: options.iter().map(|&option| error(option)).collect(),
            probes: vec![Probe {
                option: LayerOption::Grid { bits: 3, group: 64 },
                loss: 0.02 * pain,
            }],
        }
    });
    SensitivityTable {
        measure: Measure::Kl,
        method: Method::Gptq,
        layers: layers.collect(),
        options,
        anchors: Vec::new(),
        scored: 2048,
    }
}

fn known(error: f64, loss: f64, method: Method, bytes: u64) -> OptionError {
    OptionError {
        output_error: 40.0 * error * error,
        relative_output_error: Some(error),
        gradient_loss: Some(loss),
        method,
        bytes,
    }
}

/// The sample with a table as if it had been measured, the map in front.
fn with_map(size: Vec2, theme: Theme) -> Desk {
    let mut desk = Desk::open(Some("sample".into()), size, theme);
    let table = table(project(&desk));
    let Phase::Open(project) = &mut desk.harness.state_mut().studio.phase else {
        unreachable!("the sample is open");
    };
    project.sensitivity.table = Arc::new(table);
    project.sensitivity.state = SensitivityState::Ready;
    desk.command(Command::Show(View::Sensitivity));
    desk.harness.run_steps(3);
    desk
}

/// The sample with an empty map; the trade-off, which offers to measure too, is out of sight.
fn unmeasured() -> Desk {
    let mut desk = Desk::with_sample();
    for view in [View::Size, View::Sensitivity] {
        desk.command(Command::Show(view));
    }
    desk.harness.run_steps(3);
    desk
}

fn usual() -> Desk {
    with_map(vec2(1400.0, 900.0), Theme::Dark)
}

fn cell<'a>(desk: &'a Desk, label: &'a str) -> Node<'a> {
    desk.harness.get_by_role_and_label(Role::GridCell, label)
}

fn click(desk: &mut Desk, layer: &str, option: &str) {
    cell(desk, &format!("{layer} {option}")).click();
    desk.harness.run_steps(3);
}

fn press(desk: &mut Desk, key: Key) {
    desk.harness.key_press_modifiers(Modifiers::NONE, key);
    desk.harness.run_steps(3);
}

/// Steps that undo can take back.
fn steps(desk: &Desk) -> usize {
    project(desk).history.labels().count()
}

fn undo(desk: &mut Desk) {
    desk.command(Command::Act(Action::Undo));
    desk.harness.run_steps(2);
}

#[test]
fn an_empty_pane_offers_to_measure() {
    let desk = unmeasured();
    desk.harness.get_by_label("Measure sensitivity");
    desk.harness.get_by_label("Measure sensitivity quickly");
}

#[test]
fn measuring_fills_the_map() {
    let mut desk = unmeasured();
    press_button(&mut desk, "Measure sensitivity quickly");
    desk.settle();
    let sensitivity = &project(&desk).sensitivity;
    assert_eq!(sensitivity.state, SensitivityState::Ready);
    assert_eq!(sensitivity.table.missing(), 0, "cells that nobody judged");
    let losses = ["2/128", "4/128", "8/128"].map(|option| {
        let label = format!("{QUERY} {option}");
        cell(&desk, &label)
            .accesskit_node()
            .numeric_value()
            .unwrap()
    });
    assert!(
        losses.is_sorted_by(|left, right| left > right),
        "{losses:?}"
    );
    desk.harness.get_by_label_contains("errors by rounding");
    desk.harness
        .get_by_label_contains("losses by one gradient pass on");
}

#[test]
fn a_click_sets_and_undo_takes_it_back() {
    let mut desk = usual();
    let before = options(&desk, &[QUERY, KEY]);
    click(&mut desk, KEY, "6/128");
    assert_eq!(options(&desk, &[QUERY, KEY]), ["4/128", "6/128"]);
    click(&mut desk, QUERY, "dense");
    assert_eq!(options(&desk, &[QUERY, KEY]), ["dense", "6/128"]);
    undo(&mut desk);
    undo(&mut desk);
    assert_eq!(options(&desk, &[QUERY, KEY]), before);
}

#[test]
fn a_click_inside_the_selection_sets_all_of_it() {
    let mut desk = usual();
    let row = |desk: &Desk, name: &str| {
        let node = desk.harness.get_by_role_and_label(Role::RowHeader, name);
        node.rect().center()
    };
    let (first, last) = (row(&desk, QUERY), row(&desk, VALUE));
    press_at(&mut desk, first, Modifiers::NONE);
    press_at(&mut desk, last, Modifiers::SHIFT);
    assert_eq!(project(&desk).selection.len(), 3);
    let before = steps(&desk);
    click(&mut desk, KEY, "5/128");
    let found = options(&desk, &[QUERY, KEY, VALUE, OUTPUT]);
    assert_eq!(found, ["5/128", "5/128", "5/128", "4/128"]);
    assert_eq!(steps(&desk), before + 1);
    click(&mut desk, OUTPUT, "3/128");
    let found = options(&desk, &[VALUE, OUTPUT]);
    assert_eq!(found, ["5/128", "3/128"], "outside it one layer alone");
}

fn press_button(desk: &mut Desk, label: &str) {
    desk.harness.get_by_label(label).click();
    desk.harness.run_steps(3);
}

fn press_at(desk: &mut Desk, at: Pos2, modifiers: Modifiers) {
    desk.harness.hover_at(at);
    for pressed in [true, false] {
        desk.harness.event_modifiers(
            Event::PointerButton {
                pos: at,
                button: PointerButton::Primary,
                pressed,
                modifiers,
            },
            modifiers,
        );
    }
    desk.harness.run_steps(3);
}

/// Presses on one cell, goes over others, lets go on the last.
fn drag(desk: &mut Desk, cells: &[(&str, &str)]) {
    let places: Vec<Pos2> = cells
        .iter()
        .map(|(layer, option)| cell(desk, &format!("{layer} {option}")).rect().center())
        .collect();
    desk.harness.drag_at(places[0]);
    desk.harness.run_steps(1);
    for &place in &places[1..] {
        desk.harness.hover_at(place);
        desk.harness.run_steps(2);
    }
    desk.harness.drop_at(places[places.len() - 1]);
    desk.harness.run_steps(3);
}

#[test]
fn a_drag_paints_a_column_or_a_row_as_one_step() {
    let mut desk = usual();
    let locked = index(&desk, KEY);
    desk.command(Command::Lock(vec![locked], true));
    let before = steps(&desk);
    // Swift and not straight: rows between are painted too, and the column stays the one it began in.
    drag(
        &mut desk,
        &[(QUERY, "3/128"), (VALUE, "3/128"), (OUTPUT, "5/128")],
    );
    let found = options(&desk, &[QUERY, KEY, VALUE, OUTPUT]);
    assert_eq!(
        found,
        ["3/128", "4/128", "3/128", "3/128"],
        "locked layers take no paint"
    );
    assert_eq!(steps(&desk), before + 1);
    drag(
        &mut desk,
        &[(QUERY, "4/128"), (QUERY, "5/128"), (QUERY, "8/128")],
    );
    assert_eq!(options(&desk, &[QUERY, VALUE]), ["8/128", "3/128"]);
    assert_eq!(steps(&desk), before + 2);
    undo(&mut desk);
    undo(&mut desk);
    assert_eq!(options(&desk, &[QUERY, VALUE, OUTPUT]), ["4/128"; 3]);
}

#[test]
fn what_cannot_be_had_takes_no_click() {
    let mut desk = usual();
    let locked = index(&desk, KEY);
    desk.command(Command::Lock(vec![locked], true));
    desk.command(Command::SetFormat(Format::Gptq));
    desk.harness.run_steps(3);
    press_button(&mut desk, "All groups");
    let before = steps(&desk);
    click(&mut desk, KEY, "8/64");
    for option in ["5/64", "8/128"] {
        click(&mut desk, QUERY, option);
        let found = options(&desk, &[QUERY, KEY]);
        assert_eq!(found, ["4/128"; 2], "gptq has no {option} for 64 columns");
    }
    assert_eq!(steps(&desk), before);
    click(&mut desk, QUERY, "8/64");
    assert_eq!(options(&desk, &[QUERY]), ["8/64"]);
}

#[test]
fn cells_and_legend_say_their_numbers() {
    let mut desk = usual();
    let value = |desk: &Desk, label: &str| cell(desk, label).accesskit_node().numeric_value();
    assert_eq!(
        value(&desk, &format!("{VALUE} 2/128")),
        None,
        "nobody judged it"
    );
    assert_eq!(value(&desk, &format!("{QUERY} dense")), Some(0.0));
    let loss = value(&desk, &format!("{QUERY} 4/128")).unwrap();
    assert!(loss > 0.0, "{loss}");
    desk.harness.get_by_label_contains("KL from ");
    desk.harness.get_by_label_contains("of 418 cells");
    press_button(&mut desk, "Output error");
    let error = value(&desk, &format!("{QUERY} 4/128")).unwrap();
    assert!(error > loss, "{error} after {loss}");
    desk.harness
        .get_by_label_contains("relative output error from ");
}

#[test]
fn the_filter_and_all_groups_say_which_cells_there_are() {
    let mut desk = usual();
    desk.command(Command::Filter("k_proj".to_owned()));
    desk.harness.run_steps(3);
    assert_eq!(desk.harness.query_all_by_role(Role::RowHeader).count(), 3);
    assert_eq!(desk.harness.query_all_by_role(Role::GridCell).count(), 21);
    press_button(&mut desk, "All groups");
    click(&mut desk, KEY, "3/32");
    assert_eq!(options(&desk, &[KEY]), ["3/32"]);
}

#[test]
fn keys_move_a_mark_and_take_its_option() {
    let mut desk = usual();
    click(&mut desk, QUERY, "4/128");
    for key in [Key::ArrowDown, Key::ArrowRight, Key::Enter] {
        press(&mut desk, key);
    }
    assert_eq!(
        options(&desk, &[QUERY, KEY, VALUE]),
        ["4/128", "5/128", "4/128"]
    );
    press(&mut desk, Key::ArrowDown);
    press(&mut desk, Key::Num8);
    assert_eq!(options(&desk, &[KEY, VALUE]), ["5/128", "8/128"]);
}

#[test]
fn the_cheapest_below_a_loss_is_taken_as_one_step() {
    let mut desk = usual();
    desk.command(Command::Filter("block:0".to_owned()));
    press_button(&mut desk, "Cheapest under");
    let before = steps(&desk);
    press_button(&mut desk, "Apply cheapest");
    assert_eq!(steps(&desk), before + 1);
    let project = project(&desk);
    let predictor = Predictor::new(&project.sensitivity.table);
    for &layer in &project.rows.visible {
        let option = LayerOption::of(&project.draft().settings[layer]).unwrap();
        let loss = |option: LayerOption| predictor.layer_loss(layer, option).unwrap();
        let name = &project.layers[layer].name;
        assert!(loss(option) <= 1e-3, "{name}: {option}");
        let fewer = LayerOption::Grid {
            bits: option.bits().unwrap() - 1,
            group: 128,
        };
        assert!(loss(fewer) > 1e-3, "{name}: {fewer} would do");
    }
}
