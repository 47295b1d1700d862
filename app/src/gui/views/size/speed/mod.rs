//! Speed and memory on a device: what is asked, what it comes to, where the time goes, every device beside the others.
//!
//! ```text
//! controls · summary · memory    above everything
//! waterfall · roofline · table   one of them, or two side by side
//! ```
//! Draws what the studio holds; asks nothing of the engine itself but other devices, one in a frame.

mod controls;
mod memory;
mod roofline;
mod summary;
mod table;
mod waterfall;

pub(in crate::gui) use controls::{device_picker, device_rows};
pub(in crate::gui) use summary::{measure, tokens_band};

use super::Section;
use crate::gui::scene::Scene;
use crate::studio::Project;
use crate::studio::latency::Pass;
use egui::{RichText, Ui};

/// What the parts remember between frames.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) pass: Pass,
    waterfall: waterfall::Memory,
    roofline: roofline::Memory,
    table: table::Memory,
}

/// What stands above every part.
pub(super) fn head(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project) {
    controls::show(ui, scene, project);
    let device = scene.studio.devices.find(&scene.studio.preferences.device);
    let speed = project.latency.speed();
    summary::show(ui, scene, speed.map(AsRef::as_ref), device);
    if let Some(demand) = &project.latency.demand {
        memory::show(ui, scene.look, demand, device);
    }
}

/// One of the parts.
pub(super) fn section(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    memory: &mut Memory,
    section: Section,
) {
    if section == Section::Devices {
        return table::show(ui, scene, project, &mut memory.table);
    }
    let Some(speed) = project.latency.speed() else {
        let reason = project.latency.reason().unwrap_or("…");
        ui.label(RichText::new(reason).color(scene.look.colours.weak));
        ui.label("Other devices are told of under Devices");
        return;
    };
    let pass = match speed.estimate.decode {
        Some(_) => memory.pass,
        None => Pass::Prefill,
    };
    match section {
        Section::Roofline => {
            roofline::show(ui, scene, project, &mut memory.roofline, (speed, pass))
        }
        _ => waterfall::show(ui, scene, project, &mut memory.waterfall, (speed, pass)),
    }
}
