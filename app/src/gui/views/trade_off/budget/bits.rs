//! How many weights have how many bits: one bar for the draft, one for the proposal.

use crate::gui::look::Look;
use crate::studio::sparse;
use egui::{Align2, Color32, FontId, Rect, Sense, Ui, pos2, vec2};
use pare_engine::model::LayerInfo;
use pare_engine::recipe::LayerSettings;

/// Height of a bar.
const HEIGHT: f32 = 14.0;
/// Width of what a bar is called.
const NAME_WIDTH: f32 = 56.0;

/// The share of all weights that have these bits; 0 is dense.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct Share {
    pub(in super::super) bits: u8,
    pub(in super::super) share: f32,
}

/// Shares of all compressible weights, few bits first, dense last.
pub(in super::super) fn shares(layers: &[LayerInfo], settings: &[LayerSettings]) -> Vec<Share> {
    let mut weights = [0u64; 9];
    for (info, settings) in layers.iter().zip(settings) {
        if info.compressible {
            weights[place(settings)] += info.parameters;
        }
    }
    let all: u64 = weights.iter().sum();
    let shares = weights.iter().enumerate().map(|(bits, &weights)| Share {
        bits: bits as u8,
        share: weights as f32 / all.max(1) as f32,
    });
    let (dense, codes): (Vec<Share>, Vec<Share>) = shares
        .filter(|share| share.share > 0.0)
        .partition(|share| share.bits == 0);
    [codes, dense].concat()
}

/// Both bars, one above the other.
pub(super) fn show(ui: &mut Ui, look: &Look, before: &[Share], after: &[Share]) {
    for (name, shares) in [("draft", before), ("proposal", after)] {
        bar(ui, look, name, shares);
    }
}

fn place(settings: &LayerSettings) -> usize {
    match sparse::has_codes(settings) {
        false => 0,
        true => usize::from(settings.bits.min(8)),
    }
}

fn bar(ui: &mut Ui, look: &Look, name: &str, shares: &[Share]) {
    let size = vec2(ui.available_width(), HEIGHT + 2.0);
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    let font = FontId::proportional(look.measures.small);
    let painter = ui.painter();
    painter.text(
        rect.left_center(),
        Align2::LEFT_CENTER,
        name,
        font.clone(),
        look.colours.weak,
    );
    let track = Rect::from_min_max(rect.min + vec2(NAME_WIDTH, 1.0), rect.max - vec2(0.0, 1.0));
    let mut left = track.left();
    for share in shares {
        let width = track.width() * share.share;
        let part = Rect::from_min_size(pos2(left, track.top()), vec2(width, HEIGHT));
        left += width;
        let fill = colour(look, share.bits);
        let drawn = match width > 3.0 {
            true => part.with_max_x(part.right() - 1.0),
            false => part,
        };
        painter.rect_filled(drawn, 1, fill);
        let text = match share.bits {
            0 => "dense".to_owned(),
            bits => bits.to_string(),
        };
        let needed = 6.0 * text.len() as f32 + 4.0;
        if width > needed {
            let ink = ink(fill);
            painter.text(
                part.center(),
                Align2::CENTER_CENTER,
                &text,
                font.clone(),
                ink,
            );
        }
    }
    response.on_hover_ui(|ui| {
        for share in shares {
            let bits = match share.bits {
                0 => "dense".to_owned(),
                bits => format!("{bits} bits"),
            };
            ui.label(format!("{bits}: {:.1} % of weights", 100.0 * share.share));
        }
    });
}

/// More bits, further on the way of magnitudes; dense is the colour of the original.
fn colour(look: &Look, bits: u8) -> Color32 {
    match bits {
        0 => look.colours.before,
        bits => Look::magnitude((f32::from(bits) - 2.0) / 6.0),
    }
}

/// What can be read on `fill`.
fn ink(fill: Color32) -> Color32 {
    match fill.intensity() > 0.5 {
        true => Color32::BLACK,
        false => Color32::WHITE,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::studio::draft::LayerEdit;
    use crate::studio::state::testing;
    use pare_engine::solved::Method;

    #[test]
    fn shares_are_of_all_weights_that_can_shrink() {
        let layers = testing::layers(2);
        let draft = testing::draft(&layers);
        let all: Vec<usize> = (0..layers.len()).collect();
        let (draft, _) = draft.edited(&layers, &all, LayerEdit::Bits(4));
        let (draft, _) = draft.edited(&layers, &[1, 2], LayerEdit::Bits(2));
        let (draft, _) = draft.edited(&layers, &[0], LayerEdit::Method(Method::None));
        let found: Vec<(u8, f32)> = shares(&layers, &draft.settings)
            .iter()
            .map(|share| (share.bits, share.share))
            .collect();
        assert_eq!(found, [(2, 0.2), (4, 0.7), (0, 0.1)]);
    }
}
