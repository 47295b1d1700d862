//! What is around the views: the bar on top, panes, palette, notices, dialogs.
//!
//! Owns the state of the window that is no business of the studio. Knows no view's inside.

mod bar;
pub(in crate::gui) mod dialogs;
mod dock;
mod drops;
pub(in crate::gui) mod headline;
mod keys;
mod menus;
mod notices;
mod palette;
pub mod places;

use crate::gui::scene::Scene;
use crate::gui::views;
use crate::studio::Effect;
use crate::studio::action::View;
use crate::studio::effect::Purpose;
use crate::studio::state::Phase;
use egui::Ui;
use std::path::PathBuf;

/// The window's own state.
#[derive(Debug)]
pub struct Shell {
    dock: dock::Dock,
    palette: palette::Palette,
    notices: notices::Notices,
    dialogs: dialogs::Dialogs,
    places: places::Places,
    /// Opened once the store has told what it kept.
    pub open_after_restore: Option<PathBuf>,
    /// Read once the model is open.
    pub recipe_after_open: Option<PathBuf>,
}

impl Shell {
    /// The shell with panes as at first.
    pub fn new() -> Self {
        Self {
            dock: dock::Dock::new(),
            palette: palette::Palette::default(),
            notices: notices::Notices::default(),
            dialogs: dialogs::Dialogs::default(),
            places: places::Places::default(),
            open_after_restore: None,
            recipe_after_open: None,
        }
    }

    /// One frame.
    pub fn show(&mut self, ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut views::Memory) {
        let is_asked = self.palette.is_open() || self.dialogs.is_open() || self.places.is_open();
        if !is_asked {
            keys::listen(ui, scene);
        }
        bar::show(ui, scene, &mut self.notices);
        self.body(ui, scene, memory);
        self.palette.show(ui, scene);
        self.notices.show(ui, scene);
        self.dialogs.show(ui, scene);
        self.places.show(ui, scene);
        drops::show(ui, scene);
    }

    fn body(&mut self, ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut views::Memory) {
        let frame = egui::Frame::new().fill(scene.look.colours.surface);
        egui::CentralPanel::no_frame().frame(frame).show(ui, |ui| {
            if matches!(scene.studio.phase, Phase::Open(_)) || self.dock.is_asked_for() {
                self.dock.show(ui, scene, memory);
            } else {
                views::show(View::Start, ui, scene, memory);
            }
        });
    }

    /// Effects that are the window's.
    pub fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Show(view) => self.dock.focus(view),
            Effect::NextPane => self.dock.next(),
            Effect::ResetLayout => self.dock.reset(),
            Effect::OpenPalette => self.palette.open(),
            Effect::OpenShortcuts => self.dialogs.open_shortcuts(),
            Effect::FocusFilter => self.dock.focus_filter = true,
            Effect::Toast(level, text) => self.notices.toast(level, text),
            Effect::ConfirmClose => self.dialogs.confirm_close(),
            Effect::Start(_) | Effect::Copy(_) | Effect::Ask(_) | Effect::Close => {}
        }
    }

    /// A layout kept from an earlier session.
    pub fn restore_layout(&mut self, layout: Option<&str>) {
        self.dock.restore(layout);
    }

    /// The layout as text, where a person changed it since the last call.
    pub fn changed_layout(&mut self) -> Option<String> {
        self.dock.changed()
    }

    /// A file that a person chose, and for what.
    pub fn chosen(&mut self) -> Option<(Purpose, Option<PathBuf>)> {
        self.places.chosen()
    }

    /// Takes away all messages that go by.
    pub fn dismiss_toasts(&mut self) {
        self.notices.dismiss_toasts();
    }
}

impl Default for Shell {
    fn default() -> Self {
        Self::new()
    }
}
