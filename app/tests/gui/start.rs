//! The start view: the sample by one click, a failed opening with its next step, recent models.

use crate::desk::Desk;
use egui::{Theme, vec2};
use egui_kittest::kittest::Queryable as _;
use pare::studio::Command;
use pare::studio::action::Action;

#[test]
fn one_click_opens_the_sample() {
    let mut desk = Desk::open(None, vec2(1024.0, 700.0), Theme::Light);
    desk.harness.get_by_label("Open the sample model").click();
    desk.until("the sample is open", |app| app.studio.project().is_some());
}

#[test]
fn a_failed_opening_says_why_and_can_be_tried_again() {
    let mut desk = Desk::open(
        Some("/no/such/model".into()),
        vec2(1024.0, 700.0),
        Theme::Dark,
    );
    desk.harness.get_by_label("The model could not be opened");
    let reason = desk.studio().open_failure.clone().unwrap().1;
    assert!(
        desk.harness.query_all_by_label(&reason).next().is_some(),
        "{reason}"
    );
    desk.harness.get_by_label("Try again").click();
    desk.harness.run_steps(2);
    desk.settle();
    assert!(
        desk.studio().open_failure.is_some(),
        "it still is not there"
    );
}

#[test]
fn recent_models_are_pinned_opened_and_forgotten() {
    let mut desk = Desk::with_sample();
    desk.command(Command::Act(Action::CloseModel));
    desk.settle();
    desk.harness.get_by_label("Pin sample").click();
    desk.harness.run_steps(2);
    assert!(desk.studio().recents[0].pinned);
    desk.harness.get_by_label("Open sample").click();
    desk.until("the sample is open again", |app| {
        app.studio.project().is_some()
    });
    desk.settle();
    desk.command(Command::Act(Action::CloseModel));
    desk.settle();
    desk.harness.get_by_label("Forget sample").click();
    desk.harness.run_steps(2);
    assert!(desk.studio().recents.is_empty());
}
