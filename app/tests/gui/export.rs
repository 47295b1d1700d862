//! A run in another container, by clicks and text.

use crate::desk::Desk;
use egui::accesskit::Role;
use egui::{Key, Modifiers};
use egui_kittest::kittest::Queryable as _;
use pare::studio::Command;
use pare::studio::action::View;
use pare::studio::runs::RunStatus;
use pare_engine::monitor::Unwatched;
use pare_engine::session::{ReportRequest, write_report};
use pare_engine::solved::Method;

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

#[test]
fn a_recipe_is_fitted_to_a_format_in_one_step() {
    let mut desk = Desk::with_sample();
    desk.command(Command::Uniform(5));
    desk.settle();
    desk.command(Command::Show(View::Export));
    desk.harness.run_steps(3);
    desk.harness.get_by_label("Fit the recipe to gptq").click();
    desk.harness.run_steps(3);
    desk.settle();
    let draft = desk.studio().project().unwrap().draft().clone();
    let codes = draft.settings.iter();
    let codes = codes.filter(|settings| settings.method != Method::None);
    let bits: Vec<u8> = codes.map(|settings| settings.bits).collect();
    assert!(
        !bits.is_empty() && bits.iter().all(|&bits| bits == 4),
        "{bits:?}"
    );
    assert!(
        desk.harness
            .query_by_label("Fit the recipe to gptq")
            .is_none()
    );
}

#[test]
fn the_report_of_a_run_is_what_the_engine_writes() {
    let mut desk = Desk::with_sample();
    desk.command(Command::Run(None));
    desk.settle();
    let run = desk.studio().runs[0].clone();
    let [saved, expected] = ["saved", "expected.html"].map(|name| desk.folder.path().join(name));
    desk.command(Command::SaveReport(run.id, saved));
    desk.until("the report is written", |app| app.studio.side_job.is_none());
    let request = ReportRequest {
        run: run.out,
        out: expected.clone(),
        csv: None,
        allocation: None,
    };
    write_report(&request, &Unwatched).unwrap();
    let saved = desk.folder.path().join("saved.html");
    assert_eq!(
        std::fs::read(saved).unwrap(),
        std::fs::read(expected).unwrap()
    );
    desk.command(Command::Show(View::Runs));
    desk.harness.run_steps(3);
    desk.harness.get_by_label("Save report…");
}
