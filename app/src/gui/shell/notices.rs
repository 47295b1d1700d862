//! Messages: toasts that go by, and a list behind a bell that stays.
//!
//! Toasts are drawn in a corner that no figure uses; each says its level by word and shape. Knows no cause.

use super::bar;
use crate::gui::look::Look;
use crate::gui::scene::Scene;
use crate::studio::Command;
use crate::studio::log::Level;
use egui::{
    Align2, Area, Button, Color32, Frame, Order, Popup, PopupCloseBehavior, RichText, Ui, vec2,
};
use egui_material_icons::icons::{
    ICON_CLOSE, ICON_CONTENT_COPY, ICON_ERROR, ICON_INFO, ICON_NOTIFICATIONS, ICON_WARNING,
};
use std::time::Duration;

/// Toasts in sight; older ones go.
const MOST_TOASTS: usize = 4;

/// Width of a toast and of the list.
const WIDTH: f32 = 360.0;

/// Notices drawn in the list.
const MOST_LISTED: usize = 100;

/// Toasts and the list.
#[derive(Debug, Default)]
pub(super) struct Notices {
    toasts: Vec<Toast>,
    count: u64,
}

#[derive(Debug)]
struct Toast {
    number: u64,
    level: Level,
    text: String,
    /// When it goes; set when it is first drawn.
    until_seconds: Option<f64>,
}

impl Notices {
    pub(super) fn toast(&mut self, level: Level, text: String) {
        self.toasts.retain(|toast| toast.text != text);
        self.count += 1;
        self.toasts.push(Toast {
            number: self.count,
            level,
            text,
            until_seconds: None,
        });
        let extra = self.toasts.len().saturating_sub(MOST_TOASTS);
        self.toasts.drain(..extra);
    }

    /// Takes all toasts away; the list keeps what they said.
    pub(super) fn dismiss_toasts(&mut self) {
        self.toasts.clear();
    }

    /// The bell: how many are unread; a click lists them.
    pub(super) fn bell(&mut self, ui: &mut Ui, scene: &mut Scene<'_>) {
        let unread = scene.studio.unread();
        let icon = ICON_NOTIFICATIONS.codepoint;
        let text = match unread {
            0 => RichText::new(icon),
            99.. => RichText::new(format!("{icon} 99")).color(scene.look.colours.warning),
            unread => RichText::new(format!("{icon} {unread}")).color(scene.look.colours.warning),
        };
        // As wide as two digits need, so that nothing moves when a notice comes.
        let response = ui.add(Button::new(text).min_size(vec2(44.0, 26.0)));
        bar::name(ui, &response, &format!("Notices, {unread} unread"));
        if response.clicked() && unread > 0 {
            scene.push(Command::ReadNotices);
        }
        let response = response.on_hover_text(format!("Notices, {unread} unread"));
        Popup::from_toggle_button_response(&response)
            .close_behavior(PopupCloseBehavior::CloseOnClickOutside)
            .width(WIDTH)
            .show(|ui| list(ui, scene));
    }

    pub(super) fn show(&mut self, ui: &mut Ui, scene: &mut Scene<'_>) {
        let now = ui.input(|input| input.time);
        for toast in &mut self.toasts {
            let lasts = if toast.level == Level::Info { 4.0 } else { 9.0 };
            toast.until_seconds.get_or_insert(now + lasts);
        }
        let is_over = |toast: &Toast| toast.until_seconds.is_some_and(|until| until <= now);
        self.toasts.retain(|toast| !is_over(toast));
        let next = self.toasts.iter().filter_map(|toast| toast.until_seconds);
        let Some(next) = next.min_by(f64::total_cmp) else {
            return;
        };
        let wait = Duration::from_secs_f64((next - now).max(0.0) + 0.01);
        ui.ctx().request_repaint_after(wait);
        let mut dismissed = None;
        Area::new(egui::Id::unique("toasts"))
            .order(Order::Foreground)
            .anchor(Align2::RIGHT_BOTTOM, vec2(-12.0, -12.0))
            .show(ui.ctx(), |ui| {
                for toast in &self.toasts {
                    if draw(ui, scene.look, toast) {
                        dismissed = Some(toast.number);
                    }
                }
            });
        self.toasts.retain(|toast| Some(toast.number) != dismissed);
    }
}

/// Draws a toast; true where it was dismissed.
fn draw(ui: &mut Ui, look: &Look, toast: &Toast) -> bool {
    let (icon, colour) = sign(look, toast.level);
    let mut dismissed = false;
    Frame::popup(ui.style())
        .stroke((1.0, colour))
        .show(ui, |ui| {
            ui.set_width(WIDTH);
            ui.horizontal_top(|ui| {
                ui.label(RichText::new(icon).color(colour));
                let width = ui.available_width() - 32.0;
                ui.allocate_ui(vec2(width, 0.0), |ui| {
                    ui.set_width(width);
                    ui.label(&toast.text);
                });
                let close = ui.add(Button::new(ICON_CLOSE.codepoint).frame(false));
                bar::name(ui, &close, "Dismiss");
                dismissed = close.clicked();
            });
        });
    dismissed
}

/// The list, newest first.
fn list(ui: &mut Ui, scene: &mut Scene<'_>) {
    ui.set_width(WIDTH);
    let notices = &scene.studio.notices;
    ui.horizontal(|ui| {
        ui.strong("Notices");
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            if ui
                .add_enabled(!notices.is_empty(), Button::new("Copy all"))
                .clicked()
            {
                let lines: Vec<String> = notices
                    .iter()
                    .map(|notice| format!("{}: {}", notice.level.word(), notice.text))
                    .collect();
                ui.ctx().copy_text(lines.join("\n"));
            }
        });
    });
    ui.separator();
    if notices.is_empty() {
        ui.label(RichText::new("Warnings and errors will be listed here").weak());
        return;
    }
    let area = egui::ScrollArea::vertical().max_height(420.0);
    area.show(ui, |ui| {
        for (index, notice) in notices.iter().enumerate().rev().take(MOST_LISTED) {
            let (icon, colour) = sign(scene.look, notice.level);
            ui.push_id(index, |ui| {
                ui.horizontal_top(|ui| {
                    ui.label(RichText::new(icon).color(colour));
                    ui.vertical(|ui| {
                        ui.set_width(WIDTH - 76.0);
                        ui.label(RichText::new(notice.level.word()).small().color(colour));
                        ui.label(&notice.text);
                    });
                    let copy = ui.add(Button::new(ICON_CONTENT_COPY.codepoint).frame(false));
                    bar::name(ui, &copy, "Copy notice");
                    if copy.on_hover_text("Copy").clicked() {
                        ui.ctx().copy_text(notice.text.clone());
                    }
                });
            });
            ui.add_space(4.0);
        }
    });
}

/// A shape and a colour for each level.
fn sign(look: &Look, level: Level) -> (&'static str, Color32) {
    match level {
        Level::Info => (ICON_INFO.codepoint, look.colours.accent),
        Level::Warning => (ICON_WARNING.codepoint, look.colours.warning),
        Level::Error => (ICON_ERROR.codepoint, look.colours.error),
    }
}
