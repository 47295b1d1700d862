//! A run in another container, by clicks and text.

use crate::desk::Desk;
use egui::accesskit::Role;
use egui::{Key, Modifiers};
use egui_kittest::kittest::Queryable as _;
use pare::studio::Command;
use pare::studio::action::View;
use pare::studio::runs::RunStatus;

#[test]
fn a_finished_run_is_exported_and_checked() {
    let mut desk = Desk::with_sample();
    desk.command(Command::Run(None));
    desk.settle();
    let status = &desk.studio().runs[0].status;
    assert_eq!(*status, RunStatus::Done);
    desk.command(Command::Show(View::Export));
    desk.harness.run_steps(3);
    let out = desk.folder.path().join("exported");
    desk.harness
        .get_by_role_and_label(Role::TextInput, "To")
        .focus();
    desk.harness.run_steps(2);
    desk.harness.key_press_modifiers(Modifiers::COMMAND, Key::A);
    desk.harness.run_steps(1);
    desk.harness
        .get_by_role_and_label(Role::TextInput, "To")
        .type_text(&out.display().to_string());
    desk.harness.run_steps(2);
    let typed = desk
        .harness
        .get_by_role_and_label(Role::TextInput, "To")
        .value();
    assert_eq!(typed, Some(out.display().to_string()));
    desk.harness.get_by_label("Export as dense").click();
    desk.harness.run_steps(2);
    desk.until("the export is done", |app| app.studio.exported.is_some());
    desk.harness.run_steps(3);
    let report = desk.studio().exported.clone().unwrap().unwrap();
    assert!(report.verified.tensors > 10, "{}", report.verified.tensors);
    assert!(
        out.join("model.safetensors").exists(),
        "the files are there"
    );
    desk.harness.get_by_label("Reopened from disk");
}

#[test]
fn without_a_run_the_view_offers_one() {
    let mut desk = Desk::with_sample();
    desk.command(Command::Show(View::Export));
    desk.harness.run_steps(3);
    desk.harness
        .get_by_label_contains("A finished run can be exported");
}
