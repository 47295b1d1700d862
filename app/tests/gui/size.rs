//! Bytes by block.

use crate::desk::Desk;
use egui_kittest::kittest::Queryable as _;
use pare::studio::Command;
use pare::studio::action::View;

#[test]
fn a_click_on_a_bar_selects_its_layers() {
    let mut desk = Desk::with_sample();
    desk.command(Command::Show(View::Size));
    desk.harness.run_steps(2);
    desk.harness.get_by_label("Bytes").click();
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
