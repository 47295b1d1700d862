//! Speed, memory and bytes by block: the column, the device picked, the waterfall, the roofline, bars.

use crate::desk::Desk;
use egui::{Theme, Vec2};
use egui_kittest::kittest::Queryable as _;
use pare::studio::Command;
use pare::studio::action::View;
use pare::studio::rows::SortKey;
use pare_engine::device::DeviceProfile;
use pare_engine::settings::KvCache;

/// A window with the view in it, for a device of the table.
fn desk(size: [f32; 2], theme: Theme) -> Desk {
    let mut desk = Desk::open(Some("sample".into()), Vec2::from(size), theme);
    let mut preferences = desk.studio().preferences.clone();
    preferences.device = DeviceProfile::builtin()[2].name.clone();
    desk.command(Command::Prefer(preferences));
    desk.command(Command::Show(View::Size));
    desk.settle();
    desk
}

fn wide() -> Desk {
    desk([1400.0, 900.0], Theme::Dark)
}

#[test]
fn a_machine_that_was_not_measured_says_so_and_offers_to() {
    let mut desk = Desk::with_sample();
    desk.command(Command::Show(View::Size));
    desk.harness.run_steps(2);
    desk.harness.get_by_label_contains("Speed, not known");
    desk.harness.get_by_label("Not measured yet");
    desk.harness.get_by_label("Measure this machine");
}

#[test]
fn the_device_is_picked_from_the_headline() {
    let mut desk = wide();
    let other = DeviceProfile::builtin()[1].name.clone();
    desk.harness
        .get_by_label_contains("Speed, estimated")
        .click();
    desk.harness.run_steps(3);
    desk.harness.get_by_label(&other).click();
    desk.harness.run_steps(3);
    assert_eq!(desk.studio().preferences.device, other);
    let speed = desk.studio().project().unwrap().latency.speed().unwrap();
    assert_eq!(speed.estimate.device, other);
}

#[test]
fn rows_sort_by_latency() {
    let mut desk = wide();
    desk.harness.get_by_label("Sort by latency").click();
    desk.harness.run_steps(3);
    let project = desk.studio().project().unwrap();
    assert_eq!(project.sort.key, SortKey::Latency);
    let times: Vec<f64> = project
        .rows
        .visible
        .iter()
        .map(|&layer| project.figures[layer].latency.unwrap().value)
        .collect();
    assert!(times.is_sorted() && times[0] > 0.0, "{times:?}");
}

/// What a click on the line of block 1 selects.
fn click_on_block_1(desk: &mut Desk) {
    desk.command(Command::SelectLayers(Vec::new()));
    desk.harness
        .get_by_label_contains("block 1:")
        .click_accesskit();
    desk.harness.run_steps(3);
    let project = desk.studio().project().unwrap();
    let selected = project.selection.layers();
    assert!(!selected.is_empty(), "something is selected");
    for layer in selected {
        let info = &project.layers[layer];
        assert_eq!(info.block, Some(1), "{}", info.name);
    }
}

#[test]
fn a_block_selects_its_layers_everywhere() {
    let mut desk = wide();
    for part in ["Waterfall", "Bytes"] {
        desk.harness.get_by_label(part).click();
        desk.settle();
        click_on_block_1(&mut desk);
    }
}

#[test]
fn a_line_of_one_step_selects_its_layer() {
    let mut desk = wide();
    desk.harness.get_by_label("By layer").click();
    desk.harness.run_steps(3);
    desk.harness
        .get_by_label_contains("0 · q_proj:")
        .click_accesskit();
    desk.harness.run_steps(3);
    let project = desk.studio().project().unwrap();
    let selected = project.selection.layers();
    let names: Vec<&str> = selected
        .iter()
        .map(|&layer| project.layers[layer].name.as_str())
        .collect();
    assert!(
        matches!(names[..], [name] if name.ends_with("0.self_attn.q_proj")),
        "{names:?}"
    );
}

#[test]
fn both_passes_and_every_part_are_drawn_at_every_size() {
    for (size, theme) in [
        ([1400.0, 900.0], Theme::Dark),
        ([1024.0, 700.0], Theme::Light),
    ] {
        let mut desk = desk(size, theme);
        for part in ["Roofline", "Bytes", "Devices", "Waterfall"] {
            desk.harness.get_by_label(part).click();
            desk.settle();
        }
        desk.harness.get_by_label("Prefill").click();
        desk.settle();
        desk.harness.get_by_label_contains("Memory: Fits");
    }
}

#[test]
fn keys_and_values_are_kept_as_chosen() {
    let mut desk = wide();
    let kept = |desk: &Desk| {
        let speed = desk.studio().project().unwrap().latency.speed().unwrap();
        speed.estimate.memory_bytes.kv_cache
    };
    let before = kept(&desk);
    desk.command(Command::SetKvCache(KvCache::Int8));
    assert!(kept(&desk) < before / 2, "{} of {before}", kept(&desk));
}

#[test]
fn other_devices_are_listed_with_what_they_come_to() {
    let mut desk = wide();
    desk.harness.get_by_label("Devices").click();
    desk.settle();
    let other = DeviceProfile::builtin()[1].name.clone();
    desk.harness.get_by_label(&other).click();
    desk.harness.run_steps(3);
    assert_eq!(desk.studio().preferences.device, other);
}
