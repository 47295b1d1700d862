//! A number with the mark of how it is known.

use crate::gui::look::Look;
use crate::studio::figure::{Figure, Mark};
use egui::{Response, RichText, Ui};
use egui_material_icons::icons::{ICON_CHECK, ICON_SPEED};

/// Draws `text` (the number as people read it) with the sign of `figure`'s mark; the whole word is on hover.
pub fn figure(ui: &mut Ui, look: &Look, figure: Figure, text: &str) -> Response {
    let colour = match figure.mark {
        Mark::Exact | Mark::Measured => look.colours.text,
        Mark::Estimated | Mark::Calibrated => look.colours.text,
        Mark::Stale => look.colours.weak,
    };
    let label = RichText::new(format!("{}{text}", sign(figure.mark))).color(colour);
    ui.label(label).on_hover_text(mark_hint(figure.mark))
}

/// The same for a time that was computed of a device.
pub fn time_figure(ui: &mut Ui, look: &Look, figure: Figure, text: &str) -> Response {
    let label = RichText::new(format!("{}{text}", sign(figure.mark))).color(look.colours.text);
    ui.label(label).on_hover_text(time_hint(figure.mark))
}

/// What a mark means of a time.
pub fn time_hint(mark: Mark) -> &'static str {
    match mark {
        Mark::Calibrated => mark_hint(mark),
        Mark::Measured => "Measured here",
        _ => "Estimated: computed from data sheets and published measurements of the device",
    }
}

/// What stands before a number: a shape for each mark, so that colour never says it alone.
pub fn sign(mark: Mark) -> &'static str {
    match mark {
        Mark::Exact => "",
        Mark::Estimated => "≈",
        Mark::Calibrated => ICON_SPEED.codepoint,
        Mark::Measured => ICON_CHECK.codepoint,
        Mark::Stale => "~",
    }
}

/// What a mark means, in a sentence.
pub fn mark_hint(mark: Mark) -> &'static str {
    match mark {
        Mark::Exact => "Exact: the bytes that will be written",
        Mark::Estimated => "Estimated: on sampled rows, by a quick stand-in of the method",
        Mark::Calibrated => "Calibrated: computed from what this machine measured of itself",
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

/// A time in seconds as people read it, three digits: `12.3 µs`, `4.56 ms`, `7.8 s`.
pub fn time_text(seconds: f64) -> String {
    let (value, unit) = match seconds {
        seconds if seconds >= 0.9995 => (seconds, "s"),
        seconds if seconds >= 0.000_999_5 => (seconds * 1e3, "ms"),
        seconds => (seconds * 1e6, "µs"),
    };
    format!("{} {unit}", three_digits(value))
}

/// A number with three digits, more where it is large.
pub fn three_digits(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        value if value >= 99.95 => format!("{value:.0}"),
        value if value >= 9.995 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_their_unit() {
        for (seconds, expected) in [
            (0.0, "0 µs"),
            (1.234e-6, "1.23 µs"),
            (12.34e-6, "12.3 µs"),
            (999.6e-6, "1.00 ms"),
            (0.0456, "45.6 ms"),
            (0.9996, "1.00 s"),
            (432.1, "432 s"),
        ] {
            assert_eq!(time_text(seconds), expected, "{seconds}");
        }
    }
}
