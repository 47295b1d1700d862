//! The compare view: two finished runs, their metrics, layers and texts.

use crate::desk::Desk;
use egui::accesskit::Role;
use egui::{Theme, Vec2};
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use pare::studio::action::View;
use pare::studio::command::Command;

#[test]
fn two_runs_side_by_side() {
    let mut desk = Desk::open(
        Some("sample".into()),
        Vec2::new(2400.0, 1600.0),
        Theme::Dark,
    );
    desk.command(Command::Run(None));
    desk.settle();
    assert!(desk.studio().runs[0].kl().is_some(), "it was measured");
    desk.command(Command::Uniform(2));
    desk.command(Command::Run(None));
    desk.settle();
    let ids: Vec<_> = desk.studio().runs.iter().map(|run| run.id).collect();
    desk.command(Command::Compare(Some(ids[1]), Some(ids[0])));
    desk.command(Command::Show(View::Compare));
    desk.settle();
    for metric in ["KL mean, nats", "Perplexity", "Flips", "Bits per weight"] {
        desk.harness.get_by_label(metric);
    }
    // The recipes differ by bits, in whole roles.
    desk.harness.get_by_label_contains("q_proj in");

    desk.harness.get_by_label("Swap sides").click();
    desk.harness.run_steps(2);
    assert_eq!(desk.studio().compared, (Some(ids[0]), Some(ids[1])));

    // A click on a layer selects it in every view.
    let report = desk.studio().runs[0].report.clone().unwrap();
    let name = report.layers[3].name.clone();
    let layer = desk.harness.get_by_role_and_label(Role::Row, &name);
    layer.click();
    desk.harness.run_steps(3);
    let project = desk.studio().project().unwrap();
    let selected = project.selection.cursor().unwrap();
    assert_eq!(project.layers[selected].name, name);

    let generate = desk.harness.get_all_by_role(Role::Button).find(|node| {
        node.accesskit_node()
            .label()
            .is_some_and(|label| label.contains("Generate"))
    });
    generate.unwrap().click();
    desk.harness.step();
    desk.settle();
    let playground = &desk.studio().playground;
    assert_eq!(playground.problem, None);
    assert!(playground.texts.iter().all(|text| !text.is_empty()));
    desk.harness.run_steps(2);
    desk.harness.get_by_label_contains("The texts part at byte");
}
