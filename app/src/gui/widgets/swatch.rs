//! A colour and its word, as one thing: neither stands at the end of a line without the other.

use crate::gui::look::Look;
use egui::{Align2, Color32, FontId, Rect, Sense, Ui, vec2};

/// Width of the colour.
const WIDTH: f32 = 10.0;
/// Between the colour and its word.
const GAP: f32 = 4.0;

/// Draws `colour`, `height` points high, and its word.
pub fn swatch(ui: &mut Ui, look: &Look, colour: Color32, height: f32, word: &str) {
    let font = FontId::proportional(look.measures.small);
    let galley = ui
        .painter()
        .layout_no_wrap(word.to_owned(), font, look.colours.weak);
    let size = vec2(WIDTH + GAP + galley.size().x, galley.size().y.max(WIDTH));
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, word));
    let colour_rect = Align2::LEFT_CENTER.align_size_within_rect(vec2(WIDTH, height), rect);
    let painter = ui.painter();
    painter.rect_filled(colour_rect, 2, colour);
    let text_rect: Rect = Align2::RIGHT_CENTER.align_size_within_rect(galley.size(), rect);
    painter.galley(text_rect.min, galley, look.colours.weak);
}
