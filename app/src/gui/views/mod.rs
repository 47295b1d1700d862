//! One module for each view: what to show, where, how it looks.
//!
//! A view reads the scene, remembers only what is its own (texts being typed, scroll places), and pushes commands.

pub mod compare;
pub mod export;
mod gestures;
pub mod heat_map;
pub mod inspector;
pub mod layers;
pub mod run;
pub mod runs;
pub mod settings;
pub mod size;
pub mod start;
pub mod trade_off;
pub mod train;
mod zeros;

use crate::gui::scene::Scene;
use crate::studio::action::View;
use egui::Ui;

/// What views remember between frames.
#[derive(Debug, Default)]
#[allow(missing_docs)]
pub struct Memory {
    pub compare: compare::Memory,
    pub export: export::Memory,
    pub heat_map: heat_map::Memory,
    pub inspector: inspector::Memory,
    pub layers: layers::Memory,
    pub run: run::Memory,
    pub runs: runs::Memory,
    pub settings: settings::Memory,
    pub size: size::Memory,
    pub start: start::Memory,
    pub trade_off: trade_off::Memory,
    pub train: train::Memory,
}

/// One frame of a view.
pub fn show(view: View, ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    match view {
        View::Start => start::show(ui, scene, &mut memory.start),
        View::Layers => layers::show(ui, scene, &mut memory.layers),
        View::Inspector => inspector::show(ui, scene, &mut memory.inspector),
        View::Sensitivity => heat_map::show(ui, scene, &mut memory.heat_map),
        View::TradeOff => trade_off::show(ui, scene, &mut memory.trade_off),
        View::Run => run::show(ui, scene, &mut memory.run),
        View::Train => train::show(ui, scene, &mut memory.train),
        View::Runs => runs::show(ui, scene, &mut memory.runs),
        View::Compare => compare::show(ui, scene, &mut memory.compare),
        View::Size => size::show(ui, scene, &mut memory.size),
        View::Export => export::show(ui, scene, &mut memory.export),
        View::Settings => settings::show(ui, scene, &mut memory.settings),
    }
}
