//! Size against quality on the sample: what is known before a run, and after one.

use crate::desk::Desk;
use egui::accesskit::Role;
use egui::{Key, Modifiers, Pos2, Rect, Theme, Vec2, pos2, vec2};
use egui_kittest::kittest::Queryable as _;
use pare::studio::action::{Action, View};
use pare::studio::figure::Mark;
use pare::studio::proposal::BudgetRules;
use pare::studio::quality;
use pare::studio::sensitivity::SensitivityEffort;
use pare::studio::{Command, Project};
use pare_engine::settings::LayerOption;
use std::collections::BTreeMap;

fn project(desk: &Desk) -> &Project {
    desk.studio().project().unwrap()
}

#[test]
fn baselines_fall_in_error_and_grow_in_size() {
    let desk = Desk::with_sample();
    let baselines = &project(&desk).outlook.baselines;
    let bytes: Vec<u64> = baselines.iter().map(|base| base.place.bytes).collect();
    let errors: Vec<f64> = baselines
        .iter()
        .map(|base| base.place.error.unwrap().value)
        .collect();
    assert_eq!(bytes.len(), 6);
    assert!(bytes.is_sorted(), "{bytes:?}");
    assert!(errors.iter().rev().is_sorted(), "{errors:?}");
    assert_eq!(
        quality::headline(desk.studio()),
        None,
        "no run was measured"
    );
}

#[test]
fn a_measured_run_makes_the_guide_known() {
    let mut desk = Desk::with_sample();
    desk.command(Command::Show(View::TradeOff));
    desk.command(Command::Act(Action::StartRun));
    desk.settle();
    let measured = desk.studio().runs[0].loss().unwrap().value;
    let headline = quality::headline(desk.studio()).unwrap();
    assert_eq!((headline.value, headline.mark), (measured, Mark::Measured));
    desk.command(Command::Uniform(3));
    desk.settle();
    let headline = quality::headline(desk.studio()).unwrap();
    assert_eq!(headline.mark, Mark::Estimated);
    assert!(
        headline.value > measured,
        "{} after fewer bits, {measured} before",
        headline.value
    );
    let outlook = &project(&desk).outlook;
    let (now, ghost) = (outlook.now.unwrap(), outlook.ghost.unwrap());
    assert!(
        now.bytes < ghost.bytes,
        "the ghost is the draft before: {now:?}, {ghost:?}"
    );
}

#[test]
fn without_sensitivity_the_pane_offers_to_measure_it() {
    let mut desk = Desk::with_sample();
    desk.command(Command::Show(View::TradeOff));
    desk.harness.run_steps(3);
    for label in [
        "Sensitivity is not measured yet",
        "Measure sensitivity quickly",
    ] {
        assert!(desk.harness.query_by_label(label).is_some(), "{label}");
    }
    let slider = desk.harness.query_by_label("Budget");
    assert!(slider.is_none(), "there is no front to slide along");
}

/// The pane with sensitivity measured, by rounding.
fn measured_desk(size: Vec2, theme: Theme) -> Desk {
    let mut desk = Desk::open(Some("sample".into()), size, theme);
    desk.command(Command::Show(View::TradeOff));
    desk.command(Command::MeasureSensitivity(SensitivityEffort::Quick));
    desk.settle();
    assert!(
        project(&desk).outlook.front.len() > 3,
        "{:?}",
        (
            &desk.studio().notices,
            &project(&desk).sensitivity.state,
            &project(&desk).sensitivity.problem
        )
    );
    desk
}

fn wide_desk() -> Desk {
    measured_desk(Vec2::new(1400.0, 900.0), Theme::Dark)
}

/// Presses on `from`, moves over `to` in steps, and lets go.
fn drag(desk: &mut Desk, from: Pos2, to: Pos2) {
    desk.harness.hover_at(from);
    desk.harness.run_steps(2);
    desk.harness.drag_at(from);
    desk.harness.run_steps(1);
    for step in 1..=4 {
        let at = from + (to - from) * (step as f32 / 4.0);
        desk.harness.hover_at(at);
        desk.harness.run_steps(1);
    }
    desk.harness.drop_at(to);
    desk.harness.run_steps(3);
}

fn rect_of(desk: &Desk, role: Role, label: &str) -> Rect {
    desk.harness.get_by_role_and_label(role, label).rect()
}

/// Bits and groups of all layers in the draft.
fn bits(desk: &Desk) -> Vec<(u8, usize)> {
    let settings = &project(desk).draft().settings;
    settings
        .iter()
        .map(|settings| (settings.bits, settings.group))
        .collect()
}

#[test]
fn a_dragged_budget_becomes_one_step_of_the_draft() {
    let mut desk = wide_desk();
    let before = bits(&desk);
    let slider = rect_of(&desk, Role::Slider, "Budget");
    let at = |share: f32| pos2(slider.left() + share * slider.width(), slider.center().y);
    drag(&mut desk, at(0.5), at(0.33));
    let proposal = project(&desk).proposal.clone().unwrap();
    assert!(proposal.is_settled, "the drag has ended");
    assert!(
        proposal.bytes <= proposal.budget_bytes,
        "{} within {}",
        proposal.bytes,
        proposal.budget_bytes
    );
    assert_eq!(bits(&desk), before, "nothing is in the draft yet");

    desk.harness.key_press(Key::Enter);
    desk.harness.run_steps(3);
    desk.settle();
    let now = project(&desk);
    assert!(now.proposal.is_none(), "the slider had the keys");
    assert!(now.totals.bytes_after <= proposal.budget_bytes);
    assert_eq!(now.totals.bytes_after, proposal.bytes, "to the byte");
    let label = now.history.undo_label().unwrap();
    assert!(label.starts_with("apply proposed bits"), "{label}");
    let ghost = now.outlook.ghost.unwrap();
    assert_ne!(
        ghost.bytes, proposal.bytes,
        "the recipe before is the ghost"
    );
    assert!(ghost.predicted.is_some());
    desk.command(Command::Act(Action::Undo));
    assert_eq!(bits(&desk), before, "one step");

    drag(&mut desk, at(0.5), at(0.6));
    assert!(project(&desk).proposal.is_some());
    desk.harness.key_press(Key::Escape);
    desk.harness.run_steps(3);
    assert!(project(&desk).proposal.is_none(), "Escape drops it");
    assert_eq!(bits(&desk), before);
}

#[test]
fn a_budget_is_taken_as_typed_and_as_dragged_in_the_plot() {
    let mut desk = wide_desk();
    let field = |desk: &Desk| {
        let field = desk
            .harness
            .get_by_role_and_label(Role::TextInput, "Budget as a number");
        field.focus();
    };
    field(&desk);
    desk.harness.run_steps(2);
    desk.harness.key_press_modifiers(Modifiers::COMMAND, Key::A);
    desk.harness.run_steps(1);
    let typed = desk
        .harness
        .get_by_role_and_label(Role::TextInput, "Budget as a number");
    typed.type_text("8.5 bpw");
    desk.harness.run_steps(1);
    desk.harness.key_press(Key::Enter);
    desk.harness.run_steps(3);
    let weights = project(&desk).totals.weights;
    let proposal = project(&desk).proposal.clone().unwrap();
    let expected = (8.5 * weights as f64 / 8.0).floor() as u64;
    assert_eq!(proposal.budget_bytes, expected, "8.5 bits of {weights}");

    let line = rect_of(&desk, Role::Slider, "Budget line");
    let to = line.center() + vec2(-40.0, 0.0);
    drag(&mut desk, line.center(), to);
    let less = project(&desk).proposal.clone().unwrap();
    assert!(less.budget_bytes < proposal.budget_bytes, "{less:?}");
    assert!(less.bytes <= less.budget_bytes);

    let line = rect_of(&desk, Role::Slider, "KL line");
    let from = line.center();
    drag(&mut desk, from, from - vec2(0.0, 30.0));
    let worse = project(&desk).proposal.clone().unwrap();
    let losses = (worse.predicted.unwrap(), less.predicted.unwrap());
    assert!(
        worse.bytes < less.bytes && losses.0 > losses.1,
        "more loss allows fewer bytes: {losses:?}"
    );
}

#[test]
fn rules_hold_and_rows_select() {
    let mut desk = wide_desk();
    let front = project(&desk).outlook.front.clone();
    let budget = front[front.len() / 2].bytes;
    let rules = BudgetRules {
        fused: true,
        ..BudgetRules::default()
    };
    desk.command(Command::SetBudgetRules(rules));
    desk.command(Command::SetBudget(budget));
    desk.harness.run_steps(3);
    let proposal = project(&desk).proposal.clone().unwrap();
    let mut groups: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (info, settings) in project(&desk).layers.iter().zip(&proposal.settings) {
        if let Some(peers) = info.fused_peers {
            let option = LayerOption::of(settings).unwrap().to_string();
            groups.entry(peers).or_default().push(option);
        }
    }
    assert!(!groups.is_empty(), "the sample has q/k/v and gate/up");
    for (peers, options) in groups {
        let is_alike = options.iter().all(|option| *option == options[0]);
        assert!(is_alike, "{peers}: {options:?}");
    }
    let change = proposal.changes[0];
    let name = project(&desk).layers[change.layer].name.clone();
    let option = |settings| LayerOption::of(settings).unwrap().to_string();
    let label = format!("{name}: {} to {}", option(&change.from), option(&change.to));
    let row = desk.harness.get_by_label(&label);
    row.click_accesskit();
    desk.harness.run_steps(3);
    assert_eq!(project(&desk).selection.layers(), [change.layer]);
}

#[test]
fn what_was_predicted_of_a_run_stands_beside_what_was_measured() {
    let mut desk = wide_desk();
    desk.command(Command::Act(Action::StartRun));
    desk.settle();
    let outlook = &project(&desk).outlook;
    let run = &outlook.runs[0];
    assert!(
        run.loss.is_some() && run.place.predicted.is_some(),
        "{run:?}"
    );
    let said = desk.harness.query_by_label_contains("Predicted / measured");
    assert!(said.is_some(), "the pane says how far they lie apart");
}
