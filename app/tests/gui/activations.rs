//! How layers round their inputs, chosen in the bar and in the inspector.

use crate::desk::Desk;
use egui::accesskit::Role;
use egui::{Key, Modifiers, Theme, Vec2};
use egui_kittest::kittest::Queryable as _;
use pare_engine::recipe::LayerSettings;
use pare_engine::settings::Activations;

const QUERY: &str = "model.layers.0.self_attn.q_proj";

fn settings(desk: &Desk) -> LayerSettings {
    let project = desk.studio().project().unwrap();
    let mut layers = project.layers.iter();
    let layer = layers.position(|layer| layer.name == QUERY).unwrap();
    project.draft().settings[layer]
}

fn press(desk: &mut Desk, label: &str) {
    desk.harness.get_by_label(label).click();
    desk.harness.run_steps(3);
}

#[test]
fn inputs_are_chosen_for_the_selection_and_undone() {
    // In a narrower bar they are among what is changed seldom.
    let mut desk = Desk::open(Some("sample".into()), Vec2::new(2000.0, 900.0), Theme::Dark);
    desk.harness.get_by_role_and_label(Role::Row, QUERY).click();
    desk.harness.run_steps(3);
    assert_eq!(settings(&desk).activations, Activations::None);
    press(&mut desk, "Activations of the selection");
    press(&mut desk, "int8 per token");
    assert_eq!(settings(&desk).activations, Activations::Dynamic8);
    desk.settle();

    press(&mut desk, "More settings of the selection");
    press(&mut desk, "32 inputs");
    assert_eq!(settings(&desk).activation_block, 32);
    desk.harness.key_press(Key::Escape);
    desk.harness.run_steps(3);
    for expected in [(0, Activations::Dynamic8), (0, Activations::None)] {
        desk.harness.key_press_modifiers(Modifiers::COMMAND, Key::Z);
        desk.harness.run_steps(3);
        let found = settings(&desk);
        assert_eq!((found.activation_block, found.activations), expected);
    }
}
