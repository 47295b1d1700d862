//! Steps between what the device can compute and what it can read, as points and roofs in decimal logarithms.
//!
//! Across: operations for each byte moved. Up: operations in a second. Knows no colours.

use super::{Pass, Speed};
use pare_engine::device::{EngineProfile, Value};
use pare_engine::estimate::TimedPart;

/// A step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// The step, as a place in the estimate's list.
    pub step: usize,
    /// What it is.
    pub part: TimedPart,
    /// Its layer, where it has one.
    pub layer: Option<usize>,
    /// Logarithm of operations for each byte.
    pub x: f64,
    /// Logarithm of operations in a second.
    pub y: f64,
}

/// A roof: a line, its name, and where its number comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Roof {
    /// What limits, and how far.
    pub name: String,
    /// Its ends, left to right.
    pub ends: [[f64; 2]; 2],
    /// Whether it is a limit of operations; otherwise of bytes.
    pub is_compute: bool,
}

/// All points and roofs of one pass.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Roofline {
    /// Steps that compute and move something.
    pub points: Vec<Point>,
    /// Limits.
    pub roofs: Vec<Roof>,
}

/// A limit of an engine.
struct Ceiling {
    name: &'static str,
    /// Logarithm of so many in a second.
    height: f64,
    is_compute: bool,
}

/// How far roofs go beyond points and ridges, in decades.
const MARGIN: f64 = 0.4;

impl Roofline {
    /// The points and roofs of `speed` in `pass`.
    pub fn of(speed: &Speed, pass: Pass) -> Self {
        let steps = speed.estimate.layers.iter().enumerate();
        let points: Vec<Point> = steps
            .filter_map(|(place, step)| {
                let time = pass.of(step)?;
                let is_drawn = time.operations > 0.0 && time.milliseconds > 0.0;
                let intensity = time.intensity().filter(|_| is_drawn)?;
                Some(Point {
                    step: place,
                    part: step.part,
                    layer: step.layer,
                    x: intensity.log10(),
                    y: (time.achieved_gops() * 1e9).log10(),
                })
            })
            .collect();
        let roofs = roofs(&points, &ceilings(speed.engine()));
        Self { points, roofs }
    }
}

fn ceilings(engine: &EngineProfile) -> Vec<Ceiling> {
    let of = |name, value: Option<&Value>, is_compute| {
        let per_second = value?.value * 1e9;
        (per_second > 0.0).then(|| Ceiling {
            name,
            height: per_second.log10(),
            is_compute,
        })
    };
    [
        of("int4", engine.i4_gops.as_ref(), true),
        of("int8", engine.i8_gops.as_ref(), true),
        of("f16", engine.f16_gops.as_ref(), true),
        of("f32", Some(&engine.f32_gops), true),
        of("cache", Some(&engine.cache_gb_per_s), false),
        of("memory", Some(&engine.bandwidth_gb_per_s), false),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn roofs(points: &[Point], ceilings: &[Ceiling]) -> Vec<Roof> {
    let heights = |is_compute: bool| {
        let same = ceilings
            .iter()
            .filter(move |ceiling| ceiling.is_compute == is_compute);
        same.map(|ceiling| ceiling.height)
    };
    let highest = heights(true).reduce(f64::max);
    let (fastest, slowest) = (
        heights(false).reduce(f64::max),
        heights(false).reduce(f64::min),
    );
    let (Some(highest), Some(fastest), Some(slowest)) = (highest, fastest, slowest) else {
        return Vec::new();
    };
    let across = points.iter().map(|point| point.x);
    let left = across.clone().fold(0.0, f64::min) - MARGIN;
    let right = across.fold(highest - slowest, f64::max) + MARGIN;
    let roof = |ceiling: &Ceiling| {
        let Ceiling {
            name,
            height,
            is_compute,
        } = *ceiling;
        let (unit, ends) = match is_compute {
            true => ("op/s", [[height - fastest, height], [right, height]]),
            false => ("B/s", [[left, left + height], [highest - height, highest]]),
        };
        Roof {
            name: format!("{name} {}", rate(10f64.powf(height), unit)),
            ends,
            is_compute,
        }
    };
    ceilings.iter().map(roof).collect()
}

/// A rate with the largest unit that leaves it at least one: `17.1 GB/s`.
pub fn rate(value: f64, unit: &str) -> String {
    let prefixes = [("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)];
    // What was a logarithm may have lost its last digit.
    let fits = |&(_, scale): &(&str, f64)| value * (1.0 + 1e-9) >= scale;
    let (prefix, scale) = prefixes.into_iter().find(fits).unwrap_or(("", 1.0));
    let value = value / scale;
    let digits = usize::from(value < 99.95);
    format!("{value:.digits$} {prefix}{unit}")
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::studio::state;

    #[test]
    fn no_step_stands_above_the_highest_roofs() {
        let speed = testing::speed(&state::testing::layers(2));
        let engine = speed.engine();
        let memory = (engine
            .cache_gb_per_s
            .value
            .max(engine.bandwidth_gb_per_s.value)
            * 1e9)
            .log10();
        let compute = (engine.f32_gops.value * 1e9).log10();
        for pass in Pass::ALL {
            let roofline = Roofline::of(&speed, pass);
            assert!(
                !roofline.points.is_empty() && roofline.roofs.len() >= 3,
                "{pass:?}"
            );
            for point in &roofline.points {
                let most = (point.x + memory).min(compute) + 1e-9;
                assert!(point.y <= most, "{pass:?}: {point:?} over {most}");
            }
        }
    }

    #[test]
    fn rates_have_their_unit() {
        for (value, expected) in [
            (17.1e9, "17.1 GB/s"),
            (512e6, "512 MB/s"),
            (3.35e12, "3.4 TB/s"),
            (12.0, "12.0 B/s"),
            (999_999_999.999_999_9, "1.0 GB/s"),
        ] {
            assert_eq!(rate(value, "B/s"), expected);
        }
    }
}
