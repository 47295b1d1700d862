//! Axes: where a value lies between two ends, and which values are written beside them.
//!
//! Knows no drawing.

use super::text::significant;

/// From the low end (0) to the high end (1).
#[derive(Debug, Clone)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    is_log: bool,
    /// Values written beside it, with their text.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Even steps from 0 or below to `high` or a little above.
    pub(super) fn linear(low: f64, high: f64, text: fn(f64) -> String) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        let step = nice_step((high - low) / 5.0);
        let (first, last) = ((low / step).floor(), (high / step).ceil());
        let ticks = (0..=(last - first) as usize)
            .map(|index| (first + index as f64) * step)
            .map(|value| (value, text(value)));
        Self {
            low: first * step,
            high: last * step,
            is_log: false,
            ticks: ticks.collect(),
        }
    }

    /// Whole numbers, each in the middle of a place of its own; `text` names some of them.
    pub(super) fn places(number: usize, text: impl Fn(usize) -> String) -> Self {
        let step = number.div_ceil(16).max(1);
        let shown = (0..number).step_by(step);
        Self {
            low: -0.5,
            high: number.max(1) as f64 - 0.5,
            is_log: false,
            ticks: shown.map(|place| (place as f64, text(place))).collect(),
        }
    }

    /// Equal ratios between two values above 0.
    pub(super) fn log(low: f64, high: f64, text: fn(f64) -> String) -> Self {
        let (first, last) = (low.log10().floor(), high.log10().ceil());
        let last = if last > first { last } else { first + 1.0 };
        let decades = (last - first) as i32;
        let within: &[f64] = match decades {
            0..=2 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let every = (decades / 8 + 1) as usize;
        let mut ticks = Vec::new();
        for decade in (0..=decades).step_by(every) {
            let power = 10f64.powi(first as i32 + decade);
            let values = within.iter().map(|value| value * power);
            ticks.extend(
                values
                    .filter(|value| *value <= 10f64.powf(last) * 1.000_001)
                    .map(|value| (value, text(value))),
            );
        }
        Self {
            low: 10f64.powf(first),
            high: 10f64.powf(last),
            is_log: true,
            ticks,
        }
    }

    /// Where `value` lies: 0 at the low end, 1 at the high end, never outside.
    pub(super) fn share(&self, value: f64) -> f64 {
        let share = match self.is_log {
            true => (value / self.low).ln() / (self.high / self.low).ln(),
            false => (value - self.low) / (self.high - self.low),
        };
        if share.is_finite() {
            share.clamp(0.0, 1.0)
        } else {
            0.0
        }
    }
}

/// 1, 2 or 5 times a power of ten, not below `rough`.
fn nice_step(rough: f64) -> f64 {
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough * 0.999_999);
    step.unwrap_or(10.0 * power)
}

/// A tick in few digits.
pub(super) fn short(value: f64) -> String {
    let text = significant(value, 3);
    match text.split_once('e') {
        Some((number, power)) => format!("{}e{power}", trimmed(number)),
        None => trimmed(&text).to_owned(),
    }
}

/// Without zeros that say nothing.
fn trimmed(number: &str) -> &str {
    match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn ends_lie_on_round_numbers() {
        let axis = Axis::linear(0.0, 43.0, short);
        assert_eq!(texts(&axis), ["0", "10", "20", "30", "40", "50"]);
        assert_eq!((axis.share(0.0), axis.share(25.0)), (0.0, 0.5));
        let axis = Axis::log(0.004, 0.3, short);
        assert_eq!(texts(&axis), ["0.001", "0.01", "0.1", "1"]);
        assert!((axis.share(0.01) - 1.0 / 3.0).abs() < 1e-12);
        let narrow = Axis::log(0.02, 0.06, short);
        assert_eq!(texts(&narrow), ["0.01", "0.02", "0.05", "0.1"]);
        let places = Axis::places(3, |place| place.to_string());
        assert_eq!((texts(&places).len(), places.share(1.0)), (3, 0.5));
    }

    #[test]
    fn nothing_breaks_an_axis() {
        for (low, high) in [(0.0, 0.0), (1.0, 1.0), (0.0, 1e300), (1e-300, 1e300)] {
            for axis in [
                Axis::linear(low, high, short),
                Axis::log(low.max(1e-300), high.max(1e-300), short),
            ] {
                assert!(axis.ticks.len() < 100, "{low} to {high}");
                for value in [f64::NAN, f64::INFINITY, -1.0, low, high] {
                    assert!((0.0..=1.0).contains(&axis.share(value)), "{value}");
                }
            }
        }
    }
}
