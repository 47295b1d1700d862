//! Budgets counted in time: the row over the plot, its answer, and the machine that has to be measured first.

use crate::desk::Desk;
use egui::accesskit::Role;
use egui::{Key, Modifiers};
use egui_kittest::kittest::Queryable as _;
use pare::studio::action::View;
use pare::studio::devices::THIS_MACHINE;
use pare::studio::proposal;
use pare::studio::sensitivity::SensitivityEffort;
use pare::studio::{Command, Project};
use pare_engine::device::DeviceProfile;
use pare_engine::monitor::Monitor;
use pare_engine::recipe::Recipe;
use pare_engine::report::{Notice, Observer};
use pare_engine::session::{
    AllocateRequest, Budget, Effort, LatencyTarget, RunShape, SensitivityRequest, Slice,
};
use pare_engine::settings::LayerOption;

/// Nobody looks on.
struct Unseen;

impl Monitor for Unseen {
    fn step(&self, _done: u64, _total: u64) {}

    fn should_stop(&self) -> bool {
        false
    }
}

impl Observer for Unseen {
    fn notice(&self, _notice: Notice<'_>) {}
}

fn project(desk: &Desk) -> &Project {
    desk.studio().project().unwrap()
}

/// The trade-off with sensitivity measured, for a device of the table.
fn measured_desk() -> Desk {
    let mut desk = Desk::with_sample();
    let mut preferences = desk.studio().preferences.clone();
    preferences.device = DeviceProfile::builtin()[0].name.clone();
    desk.command(Command::Prefer(preferences));
    desk.command(Command::Show(View::TradeOff));
    desk.command(Command::MeasureSensitivity(SensitivityEffort::Quick));
    desk.settle();
    desk
}

fn choose_kind(desk: &mut Desk, word: &str) {
    let kind = "Kind of budget";
    desk.harness
        .get_by_role_and_label(Role::ComboBox, kind)
        .click();
    desk.harness.run_steps(3);
    desk.harness.get_by_label(word).click();
    desk.harness.run_steps(3);
}

fn type_time(desk: &mut Desk, text: &str) {
    let name = "Time budget as a number";
    let field = |desk: &Desk| {
        desk.harness
            .get_by_role_and_label(Role::TextInput, name)
            .rect()
            .center()
    };
    let place = field(desk);
    desk.harness.drag_at(place);
    desk.harness.drop_at(place);
    desk.harness.run_steps(2);
    desk.harness.key_press_modifiers(Modifiers::COMMAND, Key::A);
    desk.harness.run_steps(1);
    let field = desk.harness.get_by_role_and_label(Role::TextInput, name);
    field.type_text(text);
    desk.harness.run_steps(1);
    desk.harness.key_press(Key::Enter);
    desk.harness.run_steps(3);
}

#[test]
fn a_time_is_chosen_typed_and_told_in_bytes_again() {
    let mut desk = measured_desk();
    choose_kind(&mut desk, "time");
    let [fastest, slowest] = project(&desk).sensitivity.front_seconds.unwrap();
    let asked = (fastest + slowest) / 2.0;
    type_time(&mut desk, &format!("{:.3} us", 1e6 * asked));
    let found = project(&desk).proposal.clone().unwrap();
    let seconds = found.budget_seconds.unwrap();
    assert!((seconds - asked).abs() < 1e-3 * asked, "{seconds}");
    assert!(found.is_settled && found.seconds.unwrap() <= seconds * (1.0 + 1e-5));
    type_time(&mut desk, "fast");
    let refused = "\"fast\" is no time; write 5.5 ms or 180 tok/s";
    desk.harness.get_by_label(refused);
    assert_eq!(project(&desk).proposal, Some(found.clone()));

    choose_kind(&mut desk, "size");
    let again = project(&desk).proposal.clone().unwrap();
    assert_eq!(again.budget_seconds, None);
    assert_eq!(again.budget_bytes, found.bytes, "told in the other unit");
}

#[test]
fn the_answer_is_the_command_lines() {
    let mut desk = measured_desk();
    let [fastest, slowest] = project(&desk).sensitivity.front_seconds.unwrap();
    for share in [0.2, 0.5, 0.8] {
        let milliseconds = 1e3 * (fastest + share * (slowest - fastest));
        desk.command(Command::SetLatencyBudget(milliseconds / 1e3));
        let project = project(&desk);
        let draft = project.draft();
        let estimate = &project.latency.speed().unwrap().estimate;
        let request = AllocateRequest {
            sensitivity: SensitivityRequest {
                recipe: Recipe {
                    default: draft.template,
                    calibration: draft.calibration.clone(),
                    ..Recipe::default()
                },
                format: draft.format,
                options: LayerOption::all(),
                ends: true,
                effort: Effort::quick(),
                slice: Slice::usual(false),
            },
            budget: Budget::Milliseconds(milliseconds),
            target: Some(LatencyTarget {
                device: DeviceProfile::builtin()[0].clone(),
                engine: None,
                run: RunShape {
                    context: Some(estimate.context),
                    prompt: Some(estimate.prompt),
                    ..RunShape::default()
                },
            }),
            rules: proposal::rules(project),
            verify: None,
        };
        let report = project.session.allocate(&request, &Unseen).unwrap();
        let expected = report.recipe.resolve(&project.layers);
        let proposal = project.proposal.as_ref().unwrap();
        for (layer, decision) in expected.decisions.iter().enumerate() {
            let info = &project.layers[layer];
            if info.compressible {
                let found = LayerOption::of(&proposal.settings[layer]);
                let expected = LayerOption::of(&decision.settings);
                assert_eq!(found, expected, "{}, {milliseconds} ms", info.name);
            }
        }
    }
}

#[test]
fn this_machine_is_measured_by_a_click_and_told_of_at_once() {
    let mut desk = Desk::with_sample();
    desk.command(Command::Show(View::Size));
    desk.settle();
    desk.harness.get_by_label("Measure this machine").click();
    desk.harness.run_steps(2);
    assert!(desk.studio().measuring().is_some(), "the job is at work");
    desk.settle();
    let studio = desk.studio();
    assert!(studio.measuring().is_none(), "{:?}", studio.notices);
    let speed = project(&desk).latency.speed().unwrap();
    assert_eq!(studio.devices.find("").name, THIS_MACHINE);
    assert!(speed.tokens_per_second().unwrap().value > 0.0);
    assert!(project(&desk).totals.latency.is_some(), "in the table too");
    desk.harness.get_by_label_contains("Speed, calibrated");
    desk.harness.get_by_label_contains("block 1:");
}
