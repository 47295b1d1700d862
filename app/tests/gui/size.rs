//! Bytes by block, memory and speed.

use crate::desk::Desk;
use egui_kittest::kittest::Queryable as _;
use pare::studio::Command;
use pare::studio::action::View;
use pare::studio::devices;

#[test]
fn a_click_on_a_bar_selects_its_layers() {
    let mut desk = Desk::with_sample();
    desk.command(Command::Show(View::Size));
    desk.harness.run_steps(2);
    desk.harness
        .get_by_label_contains("block 1:")
        .click_accesskit();
    desk.harness.run_steps(3);
    let project = desk.studio().project().unwrap();
    let selected = project.selection.layers();
    assert!(!selected.is_empty(), "something is selected");
    for layer in selected {
        assert_eq!(
            project.layers[layer].block,
            Some(1),
            "{}",
            project.layers[layer].name
        );
    }
}

#[test]
fn the_headline_tells_speed_for_the_chosen_device() {
    let mut desk = Desk::with_sample();
    let device = &devices::devices()[3];
    let mut preferences = desk.studio().preferences.clone();
    preferences.device.clone_from(&device.name);
    desk.command(Command::Prefer(preferences));
    desk.harness.run_steps(2);
    desk.harness.get_by_label_contains("tok/s");
    let project = desk.studio().project().unwrap();
    let tokens = devices::context_tokens(project, 1_000_000);
    assert_eq!(
        Some(tokens),
        project.inspection.context_length,
        "no longer than the model"
    );
    let demand = devices::demand(project, tokens).unwrap();
    assert_eq!(demand.weights_bytes, project.bytes().1);
}
