//! Steps one after another as lines: one for each block and each end, or one for each step.
//!
//! Knows no colours.

use super::Pass;
use pare_engine::estimate::{LayerTime, TimedPart};
use pare_engine::model::LayerInfo;
use pare_engine::recipe::role_word;

/// A stretch of a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Segment {
    /// The step, as a place in the estimate's list.
    pub step: usize,
    /// What it is.
    pub part: TimedPart,
    /// Its layer, where it has one.
    pub layer: Option<usize>,
    /// When it begins.
    pub begins: f64,
    /// How long it takes, in seconds.
    pub seconds: f64,
}

/// A line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// What it is called.
    pub name: String,
    /// When it begins, in seconds since the first.
    pub begins: f64,
    /// How long it takes.
    pub seconds: f64,
    /// What it is made of.
    pub segments: Vec<Segment>,
    /// Its layers.
    pub layers: Vec<usize>,
}

/// The lines of `steps` in `pass`; `by_step` gives each step a line of its own. What takes no time has no line.
pub fn lines(steps: &[LayerTime], layers: &[LayerInfo], pass: Pass, by_step: bool) -> Vec<Line> {
    let together = |left: &LayerTime, right: &LayerTime| {
        !by_step && left.block.is_some() && left.block == right.block
    };
    let (mut begins, mut first) = (0.0, 0);
    let mut lines = Vec::new();
    for chunk in steps.chunk_by(together) {
        let mut line = Line {
            name: name(&chunk[0], layers, by_step),
            begins,
            seconds: 0.0,
            segments: Vec::with_capacity(chunk.len()),
            layers: chunk.iter().filter_map(|step| step.layer).collect(),
        };
        for (place, step) in chunk.iter().enumerate() {
            let seconds = pass.of(step).map_or(0.0, |time| time.milliseconds / 1e3);
            line.segments.push(Segment {
                step: first + place,
                part: step.part,
                layer: step.layer,
                begins: begins + line.seconds,
                seconds,
            });
            line.seconds += seconds;
        }
        first += chunk.len();
        begins += line.seconds;
        if line.seconds > 0.0 {
            lines.push(line);
        }
    }
    lines
}

fn name(first: &LayerTime, layers: &[LayerInfo], by_step: bool) -> String {
    let own = match (first.layer, first.part) {
        (Some(layer), _) => role_word(&layers[layer].name),
        (None, part) => super::part_name(part),
    };
    match (first.block, by_step) {
        (Some(block), true) => format!("{block} · {own}"),
        (Some(block), false) => format!("block {block}"),
        (None, _) => own.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::studio::state;

    #[test]
    fn lines_follow_each_other_and_lose_nothing() {
        let layers = state::testing::layers(2);
        let estimate = testing::speed(&layers).estimate;
        for by_step in [false, true] {
            for pass in Pass::ALL {
                let lines = lines(&estimate.layers, &layers, pass, by_step);
                let mut end = 0.0;
                for line in &lines {
                    assert!((line.begins - end).abs() < 1e-12, "{}: {end}", line.name);
                    end += line.seconds;
                    let parts: f64 = line.segments.iter().map(|segment| segment.seconds).sum();
                    assert!((parts - line.seconds).abs() < 1e-12, "{}", line.name);
                }
                let times = estimate.layers.iter().filter_map(|step| pass.of(step));
                let all: f64 = times.map(|time| time.milliseconds / 1e3).sum();
                assert!((end - all).abs() < 1e-9 * all, "{pass:?}: {end} of {all}");
            }
        }
    }

    #[test]
    fn blocks_are_one_line_and_ends_are_their_own() {
        let layers = state::testing::layers(2);
        let estimate = testing::speed(&layers).estimate;
        let lines = lines(&estimate.layers, &layers, Pass::Decode, false);
        let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
        assert_eq!(
            names,
            ["lookup", "block 0", "block 1", "lm_head", "each pass"]
        );
        assert_eq!(lines[1].layers, [1, 2, 3, 4]);
        let steps: Vec<usize> = lines
            .iter()
            .flat_map(|line| &line.segments)
            .map(|segment| segment.step)
            .collect();
        let expected: Vec<usize> = (0..estimate.layers.len()).collect();
        assert_eq!(steps, expected);
    }
}
