//! The inspector as a person uses it: options are buttons, one edit is one step, several layers are small pictures.

use crate::desk::Desk;
use egui_kittest::kittest::Queryable as _;
use pare::studio::Command;
use pare::studio::action::Action;
use pare::studio::project::Stage;
use pare_engine::solved::Method;

/// The layers inside blocks, in order.
fn inner(desk: &Desk) -> Vec<usize> {
    let project = desk.studio().project().unwrap();
    let layers = 0..project.layers.len();
    layers
        .filter(|&layer| {
            project.layers[layer].compressible && project.layers[layer].block.is_some()
        })
        .collect()
}

fn bits(desk: &Desk, layer: usize) -> u8 {
    desk.studio().project().unwrap().draft().settings[layer].bits
}

#[test]
fn an_option_is_one_step_on_the_selection() {
    let mut desk = Desk::with_sample();
    let layers = inner(&desk)[..2].to_vec();
    desk.command(Command::SelectLayers(layers.clone()));
    desk.settle();
    let steps = |desk: &Desk| desk.studio().project().unwrap().history.labels().count();
    let before = (steps(&desk), bits(&desk, layers[0]));
    desk.harness
        .get_by_label("3 bits for the selection")
        .click();
    desk.settle();
    assert_eq!(
        layers
            .iter()
            .map(|&layer| bits(&desk, layer))
            .collect::<Vec<_>>(),
        [3, 3]
    );
    assert_eq!(steps(&desk), before.0 + 1);
    desk.command(Command::Act(Action::Undo));
    assert_eq!(bits(&desk, layers[0]), before.1);
    desk.harness.get_by_label("Dense for the selection").click();
    desk.settle();
    let settings = &desk.studio().project().unwrap().draft().settings;
    assert!(
        layers
            .iter()
            .all(|&layer| settings[layer].method == Method::None)
    );
}

#[test]
fn a_point_of_the_curve_sets_its_bits() {
    let mut desk = Desk::with_sample();
    let layer = inner(&desk)[0];
    desk.command(Command::SelectLayers(vec![layer]));
    desk.settle();
    desk.harness.get_by_label_contains("6 bits: error ").click();
    desk.settle();
    assert_eq!(bits(&desk, layer), 6);
}

#[test]
fn one_layer_ends_with_the_method_itself() {
    let mut desk = Desk::with_sample();
    let layer = inner(&desk)[0];
    desk.command(Command::SelectLayers(vec![layer]));
    desk.settle();
    let project = desk.studio().project().unwrap();
    let (answer, is_fresh) = project.answer(layer).unwrap();
    assert_eq!((answer.stage, is_fresh), (Stage::Exact, true));
    let said = desk.harness.query_all_by_label("whole layer, exact GPTQ");
    assert_eq!(said.count(), 2, "beside the name and among the facts");
}

#[test]
fn several_layers_are_small_pictures() {
    let mut desk = Desk::with_sample();
    let layers = inner(&desk)[..5].to_vec();
    desk.command(Command::SelectLayers(layers.clone()));
    desk.settle();
    let name = desk.studio().project().unwrap().layers[layers[1]]
        .name
        .clone();
    let card = format!("Inspect {name}");
    desk.harness.get_by_label(&card).click();
    desk.settle();
    let selected = desk.studio().project().unwrap().selection.layers();
    assert_eq!(selected, [layers[1]]);
}
