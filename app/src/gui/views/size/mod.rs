//! Bytes by block and by role, memory at a context length, and speed by a roofline over data sheets.
//!
//! Lays out; `bars` draws bytes, `machine` memory and speed. Groups of layers are kept until another model is open.

mod bars;
mod machine;

use crate::gui::scene::Scene;
use crate::gui::widgets::empty;
use crate::studio::action::Action;
use egui::Ui;
use pare_engine::model::LayerInfo;
use std::sync::Arc;

/// Panes narrower than this put one part under the other.
const SIDE_BY_SIDE: f32 = 900.0;

/// What the view remembers between frames.
#[derive(Debug, Default)]
pub struct Memory {
    by_role: bool,
    layers: Option<Arc<Vec<LayerInfo>>>,
    blocks: Vec<Group>,
    roles: Vec<Group>,
}

/// Layers that are drawn as one bar.
#[derive(Debug)]
struct Group {
    name: String,
    layers: Vec<usize>,
}

/// One frame.
pub fn show(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    let Some(project) = scene.project() else {
        let sentence = "Open a model to see its bytes, memory and speed";
        empty(
            ui,
            scene,
            sentence,
            &[Action::OpenModel, Action::OpenSample],
        );
        return;
    };
    memory.group(&project.layers);
    egui::ScrollArea::vertical()
        .auto_shrink(false)
        .show(ui, |ui| {
            if ui.available_width() >= SIDE_BY_SIDE {
                ui.columns(2, |columns| {
                    bars::show(&mut columns[0], scene, memory);
                    machine::show(&mut columns[1], scene);
                });
            } else {
                bars::show(ui, scene, memory);
                ui.add_space(12.0);
                machine::show(ui, scene);
            }
        });
}

impl Memory {
    fn group(&mut self, layers: &Arc<Vec<LayerInfo>>) {
        if self
            .layers
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, layers))
        {
            return;
        }
        self.layers = Some(layers.clone());
        self.blocks = grouped(layers, |layer| match layer.block {
            Some(block) => format!("block {block}"),
            None => layer.role.as_str().to_owned(),
        });
        self.roles = grouped(layers, |layer| layer.role.as_str().to_owned());
    }
}

/// Groups in the order in which their first layers come.
fn grouped(layers: &[LayerInfo], name: impl Fn(&LayerInfo) -> String) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let name = name(layer);
        match groups.iter_mut().find(|group| group.name == name) {
            Some(group) => group.layers.push(index),
            None => groups.push(Group {
                name,
                layers: vec![index],
            }),
        }
    }
    groups
}
