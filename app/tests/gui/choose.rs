//! Bits chosen from what was measured, through the real workers: sensitivity, a budget, a run, and the same model opened
//! again.

use crate::desk::Desk;
use egui::{Theme, Vec2};
use pare::studio::Command;
use pare::studio::action::Action;
use pare::studio::runs::RunStatus;
use pare::studio::sensitivity::{SensitivityEffort, SensitivityState};

const SIZE: Vec2 = Vec2::new(1400.0, 900.0);

#[test]
fn a_budget_becomes_bits_that_are_measured_and_found_again() {
    let mut desk = Desk::with_sample();
    let state = |desk: &Desk| desk.studio().project().unwrap().sensitivity.state.clone();
    assert_eq!(state(&desk), SensitivityState::Absent);
    desk.command(Command::MeasureSensitivity(SensitivityEffort::Quick));
    assert!(matches!(state(&desk), SensitivityState::Measuring(_)));
    desk.settle();
    assert_eq!(state(&desk), SensitivityState::Ready);
    let project = desk.studio().project().unwrap();
    assert_eq!(project.sensitivity.table.missing(), 0);
    let front = project.outlook.front.clone();
    let problem = &project.sensitivity.problem;
    assert!(front.len() > 5, "{front:?}: {problem:?}");
    let budget = front[front.len() / 3].bytes;
    desk.command(Command::SetBudget(budget));
    desk.command(Command::SettleBudget);
    let proposal = desk.studio().project().unwrap().proposal.clone().unwrap();
    assert!(proposal.bytes <= budget && !proposal.changes.is_empty());
    let uniform = proposal.uniform.unwrap();
    assert!(
        proposal.predicted.unwrap() <= uniform.predicted,
        "{proposal:?}"
    );
    desk.command(Command::Act(Action::ApplyProposal));
    desk.command(Command::Act(Action::StartRun));
    desk.settle();
    let studio = desk.studio();
    assert_eq!(
        studio.runs[0].status,
        RunStatus::Done,
        "{:?}",
        studio.notices
    );
    let outlook = &studio.project().unwrap().outlook;
    let place = &outlook.runs[0].place;
    assert_eq!(place.bytes, proposal.bytes, "to the byte");
    assert!(place.predicted.is_some(), "{place:?}");
    assert!(
        outlook.runs[0].loss.is_some(),
        "{:?}",
        studio.runs[0].report
    );
    assert_eq!(outlook.prediction.unwrap().runs, 1);

    let folder = desk.close();
    let desk = Desk::open_in(folder, Some("sample".into()), SIZE, Theme::Dark);
    assert_eq!(
        state(&desk),
        SensitivityState::Ready,
        "it is kept beside the inputs"
    );
    let project = desk.studio().project().unwrap();
    assert_eq!(project.budget_bytes, Some(budget));
    assert_eq!(project.totals.bytes_after, proposal.bytes);
    assert!(project.outlook.front.len() > 5);
}
