//! What training tells, step by step: points as they come, a smooth line through them, texts written on the way.
//!
//! Knows no screen; `version` tells whoever draws when to draw anew.

use crate::studio::runs::RunId;
use pare_engine::report::TrainPoint;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Share of the line's past in its next value.
const INERTIA: f64 = 0.95;

/// A text that the student wrote on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// After this step.
    pub step: u64,
    /// What it wrote.
    pub text: String,
}

/// All that one training told.
#[derive(Debug, Clone, Default)]
pub struct Curve {
    points: Vec<TrainPoint>,
    smooth: Vec<Smooth>,
    /// Texts, oldest first.
    pub samples: Vec<Sample>,
    version: u64,
}

/// The running mean at a point, and the weight that it has gathered (Kingma and Ba 2015, section 3: its bias is taken out).
#[derive(Debug, Clone, Copy, Default)]
struct Smooth {
    sum: f64,
    weight: f64,
}

impl Curve {
    /// A curve of points known at once.
    pub fn of(points: &[TrainPoint]) -> Self {
        let mut curve = Self::default();
        points.iter().for_each(|point| curve.add(*point));
        curve
    }

    /// Takes a point up. Points told before of this step or later ones are forgotten: training went on from there.
    pub fn add(&mut self, point: TrainPoint) {
        let known = self.points.partition_point(|other| other.step < point.step);
        self.points.truncate(known);
        self.smooth.truncate(known);
        let mut smooth = self.smooth.last().copied().unwrap_or_default();
        if let Some(loss) = point.loss {
            smooth.sum = INERTIA * smooth.sum + (1.0 - INERTIA) * loss;
            smooth.weight = INERTIA * smooth.weight + (1.0 - INERTIA);
        }
        self.points.push(point);
        self.smooth.push(smooth);
        self.version += 1;
    }

    /// Takes a text up.
    pub fn add_sample(&mut self, sample: Sample) {
        self.samples.retain(|other| other.step < sample.step);
        self.samples.push(sample);
        self.version += 1;
    }

    /// All points, by step.
    pub fn points(&self) -> &[TrainPoint] {
        &self.points
    }

    /// The smooth loss at the point of this place in `points`.
    pub fn smooth(&self, place: usize) -> Option<f64> {
        let smooth = self.smooth.get(place)?;
        (smooth.weight > 0.0).then(|| smooth.sum / smooth.weight)
    }

    /// Raised with every change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The newest point.
    pub fn last(&self) -> Option<&TrainPoint> {
        self.points.last()
    }

    /// The newest held-out loss and its step.
    pub fn held_out(&self) -> Option<(u64, f64)> {
        let found = |point: &TrainPoint| Some((point.step, point.held_out?));
        self.points.iter().rev().find_map(found)
    }

    /// The point whose step is nearest to `step`, and its place.
    pub fn nearest(&self, step: f64) -> Option<(usize, &TrainPoint)> {
        let after = self
            .points
            .partition_point(|point| (point.step as f64) < step);
        let distance = |place: &usize| (self.points[*place].step as f64 - step).abs();
        let both = [after.checked_sub(1), Some(after)].into_iter().flatten();
        let place = both
            .filter(|place| *place < self.points.len())
            .min_by(|left, right| distance(left).total_cmp(&distance(right)))?;
        Some((place, &self.points[place]))
    }

    /// The curve as comma-separated values; what is not known is empty.
    pub fn csv(&self) -> String {
        let mut text =
            "step,loss,smooth_loss,held_out_loss,learning_rate,gradient_norm\n".to_owned();
        let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
        for (place, point) in self.points.iter().enumerate() {
            let smooth = point.loss.and_then(|_| self.smooth(place));
            // Writing into a String cannot fail.
            let _ = writeln!(
                text,
                "{},{},{},{},{},{}",
                point.step,
                number(point.loss),
                number(smooth),
                number(point.held_out),
                point.rate,
                number(point.gradient_norm)
            );
        }
        text
    }
}

/// Curves of this session, by run.
#[derive(Debug, Clone, Default)]
pub struct Curves {
    of: BTreeMap<RunId, Curve>,
    /// The one that a person wants to see; `None` = the newest.
    pub shown: Option<RunId>,
}

impl Curves {
    /// That of a run.
    pub fn get(&self, run: RunId) -> Option<&Curve> {
        self.of.get(&run)
    }

    /// That of a run, to be changed.
    pub fn entry(&mut self, run: RunId) -> &mut Curve {
        self.of.entry(run).or_default()
    }

    /// Takes up what a finished run reports, where less was told while it ran.
    pub fn finish(&mut self, run: RunId, reported: &[TrainPoint]) {
        let told = self.of.get(&run);
        let is_whole = told
            .and_then(|curve| curve.points.first())
            .is_some_and(|first| first.step <= 1);
        if is_whole {
            return;
        }
        let mut curve = Curve::of(reported);
        if let Some(told) = told {
            told.points.iter().for_each(|point| curve.add(*point));
            curve.samples = told.samples.clone();
            curve.version += told.version;
        }
        self.of.insert(run, curve);
    }

    /// A run is gone.
    pub fn forget(&mut self, run: RunId) {
        self.of.remove(&run);
        if self.shown == Some(run) {
            self.shown = None;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn point(step: u64, loss: f64) -> TrainPoint {
        TrainPoint {
            loss: Some(loss),
            ..TrainPoint::before(step)
        }
    }

    #[test]
    fn a_steady_loss_has_a_steady_line() {
        let points: Vec<TrainPoint> = (1..50).map(|step| point(step, 3.0)).collect();
        let curve = Curve::of(&points);
        for place in [0, 1, 48] {
            assert!(
                (curve.smooth(place).unwrap() - 3.0).abs() < 1e-12,
                "{place}"
            );
        }
        assert_eq!(curve.smooth(49), None);
    }

    #[test]
    fn a_skipped_step_leaves_the_line_where_it_was() {
        let mut curve = Curve::of(&[TrainPoint::before(0), point(1, 2.0)]);
        assert_eq!(
            curve.smooth(0),
            None,
            "nothing is known before the first step"
        );
        curve.add(TrainPoint::before(2));
        assert_eq!(curve.smooth(1), curve.smooth(2));
        assert!(curve.csv().ends_with("2,,,,0,\n"), "{}", curve.csv());
    }

    #[test]
    fn what_goes_on_from_an_earlier_step_forgets_what_came_after() {
        let mut curve = Curve::of(&[point(1, 4.0), point(2, 3.0), point(3, 2.0)]);
        let before = curve.version();
        curve.add(point(2, 3.5));
        let steps: Vec<u64> = curve.points().iter().map(|point| point.step).collect();
        assert_eq!(steps, [1, 2]);
        assert_eq!(curve.last().unwrap().loss, Some(3.5));
        assert!(curve.version() > before);
    }

    #[test]
    fn the_nearest_point_is_found_from_anywhere() {
        let curve = Curve::of(&[point(1, 1.0), point(4, 1.0), point(9, 1.0)]);
        for (step, expected) in [(-3.0, 1), (2.0, 1), (3.0, 4), (6.4, 4), (6.6, 9), (99.0, 9)] {
            assert_eq!(curve.nearest(step).unwrap().1.step, expected, "{step}");
        }
        assert!(Curve::default().nearest(1.0).is_none());
    }

    #[test]
    fn a_report_fills_what_was_told_before_this_session() {
        let mut curves = Curves::default();
        let id = RunId(1);
        curves.entry(id).add(point(3, 1.5));
        curves.finish(id, &[point(1, 3.0), point(2, 2.0), point(3, 1.0)]);
        let losses = curves.get(id).unwrap().points().iter();
        let losses: Vec<_> = losses.map(|point| point.loss.unwrap()).collect();
        assert_eq!(losses, [3.0, 2.0, 1.5], "what was told here stays");
    }
}
