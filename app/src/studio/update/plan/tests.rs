//! Budgets and proposals: what is proposed, what is applied, what keeps it from that.

#![allow(clippy::unwrap_used)]

use super::super::choose::tests::{measured, settings};
use super::super::tests::{edit, with_sample};
use crate::studio::action::Action;
use crate::studio::draft::LayerEdit;
use crate::studio::effect::Job;
use crate::studio::proposal::{self, BudgetRules};
use crate::studio::{Command, Effect, Project, Studio};
use pare_engine::device::DeviceProfile;
use pare_engine::model::LayerKind;
use pare_engine::settings::LayerOption;

/// A budget in the middle of the front.
fn middle(studio: &Studio) -> u64 {
    let front = &studio.project().unwrap().outlook.front;
    front[front.len() / 2].bytes
}

#[test]
fn a_proposal_keeps_to_budget_and_locks_and_is_one_step() {
    let mut studio = measured();
    let locked: Vec<usize> = studio.project().unwrap().rows.visible[3..6].to_vec();
    studio.command(Command::Lock(locked.clone(), true));
    let before = settings(&studio);
    let steps = studio.project().unwrap().history.labels().count();
    let budget = middle(&studio);
    for bytes in [budget + 4000, budget + 2000, budget] {
        assert!(studio.command(Command::SetBudget(bytes)).is_empty());
    }
    let project = studio.project().unwrap();
    let proposal = project.proposal.clone().unwrap();
    assert!(!proposal.is_settled);
    assert_eq!((proposal.budget_bytes, project.proposals), (budget, 3));
    assert!(proposal.bytes <= budget, "{} of {budget}", proposal.bytes);
    assert!(!proposal.changes.is_empty());
    let is_kept = |layer: &usize| {
        let info = &project.layers[*layer];
        locked.contains(layer) || matches!(info.kind, LayerKind::Embedding | LayerKind::Head)
    };
    for change in &proposal.changes {
        assert!(!is_kept(&change.layer), "{change:?} is locked or an end");
        assert_eq!(change.from, before[change.layer]);
        assert_eq!(change.to, proposal.settings[change.layer]);
        assert!(change.gain.is_some(), "{change:?}");
    }
    assert_eq!(settings(&studio), before, "nothing is applied yet");
    let effects = studio.command(Command::SettleBudget);
    assert!(
        matches!(&effects[..], [Effect::Start(Job::KeepDraft { .. })]),
        "{effects:?}"
    );
    assert!(
        studio
            .project()
            .unwrap()
            .proposal
            .as_ref()
            .unwrap()
            .is_settled
    );
    let kept = studio.project().unwrap().draft().clone();
    studio.command(Command::ApplyProposal);
    let project = studio.project().unwrap();
    assert_eq!(project.proposal, None);
    assert_eq!(
        project.totals.bytes_after, proposal.bytes,
        "as predicted, to the byte"
    );
    assert_eq!(project.history.labels().count(), steps + 1);
    let draft = project.draft();
    assert_eq!(
        (&draft.locked, &draft.calibration, draft.format),
        (&kept.locked, &kept.calibration, kept.format)
    );
    let predicted = project.outlook.now.unwrap().predicted.unwrap();
    let expected = proposal.predicted.unwrap();
    assert!(
        (predicted - expected).abs() <= 1e-9 * expected,
        "{predicted}, not {expected}"
    );
    studio.command(Command::Act(Action::Undo));
    assert_eq!(settings(&studio), before);
}

#[test]
fn a_proposal_follows_edits_and_rules_until_it_is_dropped() {
    let mut studio = measured();
    studio.command(Command::SetBudget(middle(&studio)));
    let first = studio.project().unwrap().proposal.clone().unwrap();
    edit(&mut studio, 2, LayerEdit::Bits(8));
    let second = studio.project().unwrap().proposal.clone().unwrap();
    assert!(second.version > first.version);
    assert!(second.changes.iter().all(|change| change.from != change.to));
    studio.command(Command::SetBudgetRules(BudgetRules {
        allowed: vec![(
            "*".to_owned(),
            vec![LayerOption::Grid {
                bits: 4,
                group: 128,
            }],
        )],
        ..BudgetRules::default()
    }));
    let project = studio.project().unwrap();
    let third = project.proposal.clone().unwrap();
    let free = (0..project.layers.len()).filter(|&layer| proposal::is_free(project, layer));
    for layer in free {
        assert_eq!(
            (third.settings[layer].bits, third.settings[layer].group),
            (4, 128)
        );
    }
    studio.command(Command::DiscardProposal);
    assert_eq!(studio.project().unwrap().proposal, None);
    edit(&mut studio, 3, LayerEdit::Bits(5));
    assert_eq!(studio.project().unwrap().proposal, None, "it stays dropped");
    assert!(Action::ApplyProposal.availability(&studio).is_err());
}

#[test]
fn locks_that_leave_nothing_to_choose_say_so() {
    let mut studio = measured();
    let all: Vec<usize> = (0..studio.project().unwrap().layers.len()).collect();
    studio.command(Command::Lock(all, true));
    studio.command(Command::SetBudget(1));
    let project = studio.project().unwrap();
    assert_eq!(project.proposal, None);
    let problem = project.sensitivity.problem.clone().unwrap();
    assert!(problem.contains("nothing to choose"), "{problem}");
}

#[test]
fn a_budget_without_a_table_proposes_nothing() {
    let mut studio = with_sample();
    studio.command(Command::SetBudget(100_000));
    let project = studio.project().unwrap();
    assert_eq!(
        (project.budget_bytes, &project.proposal),
        (Some(100_000), &None)
    );
}

/// The least loss on the front of sizes that takes no longer than `seconds`.
fn best_of_the_byte_front(project: &Project, seconds: f64) -> Option<f64> {
    let planner = project.sensitivity.planner.as_ref().unwrap();
    let front = project.sensitivity.front.iter();
    let solved = front.map(|point| planner.solve(point.bytes).unwrap());
    let is_fast = |settings: &[_]| {
        let found = project.latency.seconds_of(project, settings).unwrap();
        found <= seconds
    };
    let fast = solved.filter(|found| is_fast(&found.settings));
    fast.map(|found| {
        project
            .sensitivity
            .predict(&project.layers, &found.settings)
            .unwrap()
    })
    .min_by(f64::total_cmp)
}

#[test]
fn a_budget_of_time_proposes_what_is_as_fast_and_is_one_step() {
    let mut studio = measured();
    let mut preferences = studio.preferences.clone();
    preferences.device = DeviceProfile::builtin()[0].name.clone();
    studio.command(Command::Prefer(preferences.clone()));
    let [fastest, slowest] = studio.project().unwrap().sensitivity.front_seconds.unwrap();
    assert!(0.0 < fastest && fastest < slowest, "{fastest} to {slowest}");
    let steps = studio.project().unwrap().history.labels().count();
    let (mut last, mut last_loss) = (0, f64::INFINITY);
    for share in [0.0, 0.1, 0.3, 0.5, 0.6, 0.9, 1.0] {
        let asked = fastest + share * (slowest - fastest);
        studio.command(Command::SetLatencyBudget(asked));
        let project = studio.project().unwrap();
        let proposal = project.proposal.as_ref().unwrap();
        let found = proposal.seconds.unwrap();
        assert!(found <= asked * (1.0 + 1e-5), "{found} s of {asked} s");
        let loss = proposal.predicted.unwrap();
        assert!(loss <= last_loss, "more time, no more loss: {loss}");
        let of_bytes = best_of_the_byte_front(project, asked);
        assert!(
            of_bytes.is_none_or(|of_bytes| loss <= of_bytes),
            "{share}: {loss} in {found} of {asked} s, and {of_bytes:?} on the front of sizes"
        );
        (last, last_loss) = (proposal.bytes, loss);
    }
    studio.command(Command::SetLatencyBudget((fastest + slowest) / 2.0));
    let before = studio.project().unwrap().proposal.clone().unwrap();
    // The same time on a faster device leaves room for more.
    preferences.device = DeviceProfile::builtin()[2].name.clone();
    studio.command(Command::Prefer(preferences));
    let after = studio.project().unwrap().proposal.clone().unwrap();
    assert!(after.bytes > before.bytes && after.version > before.version);
    studio.command(Command::ApplyProposal);
    let project = studio.project().unwrap();
    assert_eq!(project.history.labels().count(), steps + 1);
    let speed = project.latency.speed().unwrap();
    assert_eq!(
        Some(speed.estimate.decode.unwrap().milliseconds / 1e3),
        after.seconds
    );
    studio.command(Command::SetBudget(last));
    let proposal = studio.project().unwrap().proposal.clone().unwrap();
    assert_eq!(proposal.budget_seconds, None, "bytes count again");
}
