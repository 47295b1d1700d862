//! Zeros, factors and structure as a person chooses them: in the inspector, in the table, for the whole recipe.

use crate::desk::Desk;
use egui::accesskit::Role;
use egui_kittest::kittest::Queryable as _;
use pare::studio::action::{Action, View};
use pare::studio::draft::LayerEdit;
use pare::studio::rows::SortKey;
use pare::studio::{Command, Project, sparse};
use pare_engine::mask::SparsityPattern;
use pare_engine::recipe::{BlockChoice, LayerSettings, PruneMethod, Rank, Structure};
use pare_engine::solved::Method;

fn project(desk: &Desk) -> &Project {
    desk.studio().project().unwrap()
}

fn settings(desk: &Desk, layer: usize) -> LayerSettings {
    project(desk).draft().settings[layer]
}

/// The sample with one layer of a block selected.
fn with_selected() -> (Desk, usize) {
    let mut desk = Desk::with_sample();
    let layer = project(&desk).rows.visible[3];
    desk.command(Command::SelectLayers(vec![layer]));
    desk.settle();
    (desk, layer)
}

fn choose(desk: &mut Desk, list: &str, row: &str) {
    desk.harness
        .get_by_role_and_label(Role::ComboBox, list)
        .click();
    desk.harness.run_steps(3);
    desk.harness.get_by_label(row).click();
    desk.settle();
}

#[test]
fn pruning_is_chosen_and_its_error_follows_the_slider() {
    let (mut desk, layer) = with_selected();
    let steps = project(&desk).history.labels().count();
    choose(&mut desk, "Pruning", "magnitude");
    let pruned = settings(&desk, layer);
    assert_eq!(pruned.prune.method, PruneMethod::Magnitude);
    assert_eq!(sparse::zeros_text(&pruned).as_deref(), Some("50 %"));
    let half = project(&desk).figures[layer];
    let slider = desk
        .harness
        .get_by_role_and_label(Role::Slider, "Share of zeros")
        .rect();
    let at = |share: f32| egui::pos2(slider.left() + share * slider.width(), slider.center().y);
    desk.harness.drag_at(at(0.5));
    desk.harness.run_steps(1);
    desk.harness.hover_at(at(0.7));
    desk.harness.run_steps(1);
    desk.harness.hover_at(at(0.9));
    desk.harness.run_steps(1);
    desk.harness.drop_at(at(0.9));
    desk.settle();
    let share = settings(&desk, layer).prune.sparsity;
    assert!(share > 0.7, "{share}");
    let more = project(&desk).figures[layer];
    let [less_error, more_error] = [half, more].map(|figures| figures.error.unwrap().value);
    assert!(more_error > less_error, "{more_error} after {less_error}");
    assert!(more.bytes_after < half.bytes_after, "zeros are not stored");
    assert_eq!(project(&desk).history.labels().count(), steps + 2);

    choose(&mut desk, "Pattern of zeros", "2:4");
    let pattern = settings(&desk, layer).prune.pattern;
    assert_eq!(pattern, SparsityPattern::TWO_OF_FOUR);
    desk.harness
        .get_by_label_contains("1:4, 75 % zeros: error ")
        .click_accesskit();
    desk.settle();
    let pattern = settings(&desk, layer).prune.pattern;
    assert_eq!(pattern, SparsityPattern::NOfM { kept: 1, of: 4 });
    choose(&mut desk, "Rank of factors", "rank 16");
    assert_eq!(settings(&desk, layer).rank, Rank::Fixed(16));
    choose(&mut desk, "Pruning", "not pruned");
    assert!(settings(&desk, layer).prune.is_none());
}

#[test]
fn the_table_shows_zeros_sorts_and_filters_by_them() {
    let mut desk = Desk::with_sample();
    let header = "Sort by zeros";
    assert!(desk.harness.query_by_label(header).is_none(), "none yet");
    let layers = project(&desk).rows.visible[2..5].to_vec();
    for (&layer, share) in layers.iter().zip([0.6, 0.8, 0.7]) {
        desk.command(Command::Edit {
            edit: LayerEdit::Sparsity(share),
            layers: Some(vec![layer]),
            gesture: None,
        });
    }
    desk.settle();
    desk.harness.get_by_label(header).click();
    desk.harness.run_steps(3);
    assert_eq!(project(&desk).sort.key, SortKey::Zeros);
    let shares: Vec<f64> = project(&desk)
        .rows
        .visible
        .iter()
        .map(|&layer| sparse::share_of(&settings(&desk, layer)))
        .collect();
    assert!(shares.is_sorted(), "{shares:?}");
    desk.command(Command::Filter("sparsity>0.65".to_owned()));
    assert_eq!(project(&desk).rows.visible, [layers[2], layers[1]]);
    desk.command(Command::Filter("prune:none".to_owned()));
    let rows = &project(&desk).rows;
    assert_eq!(rows.matching, rows.total - 3);
}

#[test]
fn structure_is_of_the_whole_recipe_and_travels_with_it() {
    let mut desk = Desk::with_sample();
    desk.command(Command::Show(View::Run));
    desk.settle();
    desk.harness.get_by_label("drop unused tokens").click();
    desk.harness.run_steps(3);
    assert!(project(&desk).draft().structure.vocabulary);
    for name in [
        "Share of heads that goes",
        "Share of neurons that goes",
        "Blocks that go",
    ] {
        desk.harness.get_by_label(name);
    }
    let effects = desk
        .harness
        .state_mut()
        .studio
        .command(Command::Act(Action::CopyRecipe));
    let text = format!("{effects:?}");
    assert!(text.contains("vocabulary = true"), "{text}");
    desk.command(Command::Act(Action::Undo));
    let structure = &project(&desk).draft().structure;
    assert_eq!(
        *structure,
        Structure {
            repair: true,
            ..Structure::default()
        }
    );
}

#[test]
fn steps_tell_bytes_and_offer_what_would_measure_them() {
    let mut desk = Desk::with_sample();
    let all = project(&desk).rows.visible.clone();
    desk.command(Command::Edit {
        edit: LayerEdit::Pattern(SparsityPattern::TWO_OF_FOUR),
        layers: Some(all[1..].to_vec()),
        gesture: None,
    });
    desk.command(Command::Show(View::Size));
    desk.settle();
    desk.harness.get_by_label("Steps").click();
    desk.settle();
    desk.harness.get_by_label_contains("zeros: −");
    desk.harness.get_by_label_contains("codes: −");
    desk.harness
        .get_by_label("Take as draft up to zeros")
        .click();
    desk.settle();
    let draft = project(&desk).draft();
    let inner = all
        .iter()
        .filter(|&&layer| project(&desk).layers[layer].block.is_some());
    for &layer in inner {
        assert_eq!(draft.settings[layer].method, Method::Float, "{layer}");
    }
    desk.command(Command::Act(Action::Undo));
    assert_eq!(settings(&desk, all[2]).method, Method::Gptq);
}

#[test]
fn a_smaller_network_is_planned_and_blocks_go_by_a_click() {
    let mut desk = Desk::with_sample();
    desk.command(Command::Show(View::Run));
    desk.settle();
    let whole = project(&desk).bytes().1;
    let structure = Structure {
        neurons: 0.5,
        repair: true,
        ..Structure::default()
    };
    desk.command(Command::SetStructure(structure, None));
    desk.settle();
    let planned = project(&desk).planned_bytes().unwrap().unwrap();
    assert!(planned < whole, "{planned} of {whole}");

    let compare = Action::CompareBlocks.label();
    desk.harness.get_by_label(&compare).click();
    desk.settle();
    let similarity = project(&desk).similarity.of_blocks().unwrap().to_vec();
    assert_eq!(similarity.len(), 3);
    assert!(similarity.iter().all(|cosine| (-1.0..1.0).contains(cosine)));
    desk.harness
        .get_by_label_contains("Block 1 stays: ")
        .click();
    desk.settle();
    let draft = project(&desk).draft().clone();
    assert_eq!(draft.structure.blocks, BlockChoice::These(vec![1]));
    desk.harness.get_by_label_contains("Block 1 goes: ");
    let fewer = project(&desk).planned_bytes().unwrap().unwrap();
    assert!(fewer < planned, "{fewer} of {planned}");
}
