//! Bytes by block and by role, memory and speed on a device.
//!
//! Lays out; `bars` draws bytes, `speed` everything that a device decides. Groups of layers are kept until another model is
//! open.

mod bars;
pub(in crate::gui) mod speed;
mod steps;

use crate::gui::scene::Scene;
use crate::gui::widgets::empty;
use crate::studio::Project;
use crate::studio::action::Action;
use crate::studio::latency::Pass;
use egui::{Align, Layout, ScrollArea, Ui};

/// Panes wider than this show two parts side by side.
const SIDE_BY_SIDE: f32 = 900.0;

/// Panes lower than this scroll as a whole.
const LOW: f32 = 320.0;

/// A part of the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Waterfall,
    Bytes,
    Steps,
    Roofline,
    Devices,
}

impl Section {
    fn title(self) -> &'static str {
        match self {
            Self::Waterfall => "Waterfall",
            Self::Bytes => "Bytes",
            Self::Steps => "Steps",
            Self::Roofline => "Roofline",
            Self::Devices => "Devices",
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::Waterfall => {
                "What each block, end, attention and small operation takes, one after another"
            }
            Self::Bytes => "Bytes before and after by block or role",
            Self::Steps => "Bytes saved and loss of each step: structure, zeros, codes, factors",
            Self::Roofline => "How near each layer comes to what the device can compute and read",
            Self::Devices => "Every device beside the others",
        }
    }
}

/// What the view remembers between frames.
#[derive(Debug)]
pub struct Memory {
    /// The part that is shown; of two, the left one.
    left: Section,
    /// Of two, the right one.
    right: Section,
    speed: speed::Memory,
    bars: bars::Memory,
    steps: steps::Memory,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            left: Section::Waterfall,
            right: Section::Roofline,
            speed: speed::Memory::default(),
            bars: bars::Memory::default(),
            steps: steps::Memory::default(),
        }
    }
}

/// One frame.
pub fn show(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    let Some(project) = scene.studio.project() else {
        let sentence = "Open a model to see its bytes, memory and speed";
        let actions = [Action::OpenModel, Action::OpenSample];
        return empty(ui, scene, sentence, &actions);
    };
    if ui.available_height() >= LOW {
        return content(ui, scene, project, memory, true);
    }
    // Where the head leaves no room, all of it scrolls.
    ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        content(ui, scene, project, memory, false);
    });
}

fn content(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    memory: &mut Memory,
    scrolls: bool,
) {
    speed::head(ui, scene, project);
    ui.add_space(scene.look.measures.grid);
    if ui.available_width() >= SIDE_BY_SIDE {
        ui.columns(2, |columns| {
            let (left, right) = columns.split_at_mut(1);
            let first = [Section::Waterfall, Section::Bytes, Section::Steps];
            let second = [Section::Roofline, Section::Devices];
            if !first.contains(&memory.left) {
                memory.left = first[0];
            }
            tabs(&mut left[0], memory, &first, false);
            part(&mut left[0], scene, project, memory, (memory.left, scrolls));
            tabs(&mut right[0], memory, &second, true);
            part(
                &mut right[0],
                scene,
                project,
                memory,
                (memory.right, scrolls),
            );
        });
    } else {
        let all = [
            Section::Waterfall,
            Section::Roofline,
            Section::Bytes,
            Section::Steps,
            Section::Devices,
        ];
        tabs(ui, memory, &all, false);
        part(ui, scene, project, memory, (memory.left, scrolls));
    }
}

/// The names of parts, and where it matters which pass they show.
fn tabs(ui: &mut Ui, memory: &mut Memory, sections: &[Section], is_right: bool) {
    ui.horizontal(|ui| {
        let shown = match is_right {
            true => &mut memory.right,
            false => &mut memory.left,
        };
        for &section in sections {
            ui.selectable_value(shown, section, section.title())
                .on_hover_text(section.hint());
        }
        let has_passes = matches!(*shown, Section::Waterfall | Section::Roofline);
        if has_passes {
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                for pass in Pass::ALL.into_iter().rev() {
                    ui.selectable_value(&mut memory.speed.pass, pass, pass.title());
                }
            });
        }
    });
}

/// A part; where the whole view scrolls, it does not scroll itself.
fn part(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    memory: &mut Memory,
    (section, scrolls): (Section, bool),
) {
    let mut content = |ui: &mut Ui| match section {
        Section::Bytes => bars::show(ui, scene, &mut memory.bars),
        Section::Steps => steps::show(ui, scene, project, &mut memory.steps),
        section => speed::section(ui, scene, project, &mut memory.speed, section),
    };
    if !scrolls {
        return content(ui);
    }
    ScrollArea::vertical()
        .id_salt(section.title())
        .auto_shrink(false)
        .show(ui, content);
}
