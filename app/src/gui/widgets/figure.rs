//! A number with the mark of how it is known.

use crate::gui::look::Look;
use crate::studio::figure::{Figure, Mark};
use egui::{Response, RichText, Ui};
use egui_material_icons::icons::ICON_CHECK;

/// Draws `text` (the number as people read it) with the sign of `figure`'s mark; the whole word is on hover.
pub fn figure(ui: &mut Ui, look: &Look, figure: Figure, text: &str) -> Response {
    let colour = match figure.mark {
        Mark::Exact | Mark::Measured => look.colours.text,
        Mark::Estimated => look.colours.text,
        Mark::Stale => look.colours.weak,
    };
    let label = RichText::new(format!("{}{text}", sign(figure.mark))).color(colour);
    ui.label(label).on_hover_text(mark_hint(figure.mark))
}

/// What stands before a number: a shape for each mark, so that colour never says it alone.
pub fn sign(mark: Mark) -> &'static str {
    match mark {
        Mark::Exact => "",
        Mark::Estimated => "≈",
        Mark::Measured => ICON_CHECK.codepoint,
        Mark::Stale => "~",
    }
}

/// What a mark means, in a sentence.
pub fn mark_hint(mark: Mark) -> &'static str {
    match mark {
        Mark::Exact => "Exact: the bytes that will be written",
        Mark::Estimated => "Estimated: on sampled rows, by a quick stand-in of the method",
        Mark::Measured => "Measured: on what a run wrote",
        Mark::Stale => "Stale: for settings that changed since; a new figure is on its way",
    }
}

/// A number with its standard error: both with the digits that the error leaves meaningful.
pub fn interval_text(value: f64, stderr: f64) -> String {
    if !stderr.is_finite() || stderr <= 0.0 {
        return format!("{} ± 0", error_text(value));
    }
    // Two digits of the error.
    let decimals = (1.0 - stderr.log10().floor()).clamp(0.0, 8.0) as usize;
    format!("{value:.decimals$} ± {stderr:.decimals$}")
}

/// A relative error as people read it: three digits, no exponent unless it is tiny.
pub fn error_text(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        value if value < 0.0005 => format!("{value:.1e}"),
        value if value < 0.1 => format!("{value:.4}"),
        value => format!("{value:.3}"),
    }
}

/// A speed with as many digits as it deserves.
pub fn tokens_text(speed: f64) -> String {
    match speed {
        speed if speed >= 999_500.0 => format!("{:.1} M", speed / 1e6),
        speed if speed >= 9_950.0 => format!("{:.0} k", speed / 1e3),
        speed if speed >= 10.0 => format!("{speed:.0}"),
        speed => format!("{speed:.1}"),
    }
}
