//! A bar of two shares: how much there was, how much there will be.

use crate::gui::look::Look;
use egui::{Rect, Response, Sense, Ui, Vec2, vec2};

/// Draws `after` over `before`, both as shares (0 to 1) of the full width.
pub fn share_bar(ui: &mut Ui, look: &Look, size: Vec2, before: f32, after: f32) -> Response {
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    let inner = rect.shrink2(vec2(0.0, (rect.height() - 8.0).max(0.0) / 2.0));
    let part = |share: f32| {
        let width = inner.width() * share.clamp(0.0, 1.0);
        Rect::from_min_size(inner.min, vec2(width, inner.height()))
    };
    let painter = ui.painter();
    painter.rect_filled(part(before), 1, look.colours.before.gamma_multiply(0.35));
    painter.rect_filled(part(after), 1, look.colours.after);
    response
}
