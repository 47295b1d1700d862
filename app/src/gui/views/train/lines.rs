//! What of a curve is drawn: at most two points for each column of pixels, made anew only when the curve, the axes or the
//! part in sight change.
//!
//! Knows no look. The highest and lowest point of each column stay, so that no spike is lost.

use crate::studio::runs::RunId;
use crate::studio::train::Curve;
use egui_plot::PlotPoint;
use pare_engine::report::TrainPoint;

/// Which axes are logarithmic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Axes {
    pub(super) log_steps: bool,
    pub(super) log_loss: bool,
}

impl Axes {
    /// Where a step lies.
    pub(super) fn x(self, step: u64) -> f64 {
        match self.log_steps {
            true => (step.max(1) as f64).log10(),
            false => step as f64,
        }
    }

    /// The step at a place.
    pub(super) fn step(self, x: f64) -> f64 {
        match self.log_steps {
            true => 10f64.powf(x),
            false => x,
        }
    }

    /// Where a loss lies; `None` where it has no place.
    pub(super) fn y(self, loss: f64) -> Option<f64> {
        match self.log_loss {
            true if loss > 0.0 => Some(loss.log10()),
            true => None,
            false => loss.is_finite().then_some(loss),
        }
    }
}

/// What the lines were made for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Question {
    pub(super) run: RunId,
    pub(super) version: u64,
    pub(super) axes: Axes,
    /// Columns of pixels.
    pub(super) columns: usize,
    /// The part in sight; `None` = all.
    pub(super) window: Option<[f64; 2]>,
}

/// What is drawn.
#[derive(Debug, Default)]
pub(super) struct Lines {
    made_for: Option<Question>,
    pub(super) raw: Vec<PlotPoint>,
    pub(super) smooth: Vec<PlotPoint>,
    pub(super) held_out: Vec<PlotPoint>,
    pub(super) rate: Vec<PlotPoint>,
    pub(super) skipped: Vec<PlotPoint>,
}

impl Lines {
    /// Makes the lines anew where the question is another one. Whether it was.
    pub(super) fn follow(&mut self, question: Question, curve: &Curve) -> bool {
        if self.made_for == Some(question) {
            return false;
        }
        self.made_for = Some(question);
        self.make(question, curve);
        true
    }

    fn make(&mut self, question: Question, curve: &Curve) {
        let axes = question.axes;
        let points = curve.points();
        let part = in_sight(points, axes, question.window);
        let shown = || points[part.clone()].iter().enumerate();
        let thin = Thin::over(points, &part, axes, question.columns);
        let place = |point: &TrainPoint, loss: f64| Some([axes.x(point.step), axes.y(loss)?]);

        self.raw = thin.line(shown().filter_map(|(_, point)| place(point, point.loss?)));
        let smooth =
            |(index, point): (usize, &TrainPoint)| place(point, curve.smooth(part.start + index)?);
        self.smooth = thin.line(shown().filter_map(smooth));
        let held_out = shown().filter_map(|(_, point)| place(point, point.held_out?));
        self.held_out = thin.line(held_out);

        // The learning rate has a scale of its own: from the floor of the losses to their ceiling.
        let heights = self.raw.iter().chain(&self.held_out).map(|point| point.y);
        let (low, high) = heights.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| {
            (low.min(y), high.max(y))
        });
        let (low, high) = if low < high { (low, high) } else { (0.0, 1.0) };
        let peak = points.iter().map(|point| point.rate).fold(0.0, f64::max);
        let rates = shown().filter(|(_, point)| point.step > 0 && peak > 0.0);
        let rates = rates.map(|(_, point)| {
            let share = point.rate / peak;
            [axes.x(point.step), low + share * (high - low)]
        });
        self.rate = thin.line(rates);
        let is_skipped = |point: &TrainPoint| point.step > 0 && point.loss.is_none();
        let skipped = shown().filter(|(_, point)| is_skipped(point));
        self.skipped = thin.line(skipped.map(|(_, point)| [axes.x(point.step), low]));
    }
}

/// The points in sight, and one beyond each end so that lines reach it.
fn in_sight(points: &[TrainPoint], axes: Axes, window: Option<[f64; 2]>) -> std::ops::Range<usize> {
    let Some([from, to]) = window else {
        return 0..points.len();
    };
    let first = points.partition_point(|point| axes.x(point.step) < from);
    let last = points.partition_point(|point| axes.x(point.step) <= to);
    let (first, last) = (first.saturating_sub(1), (last + 1).min(points.len()));
    first.min(last)..last
}

/// Thins out what is denser than pixels.
struct Thin {
    begin: f64,
    columns_for_each: f64,
}

impl Thin {
    fn over(
        points: &[TrainPoint],
        part: &std::ops::Range<usize>,
        axes: Axes,
        columns: usize,
    ) -> Self {
        let ends = points[part.clone()]
            .first()
            .zip(points[part.clone()].last());
        let (begin, end) = ends.map_or((0.0, 1.0), |(first, last)| {
            (axes.x(first.step), axes.x(last.step))
        });
        Self {
            begin,
            columns_for_each: columns.max(1) as f64 / (end - begin).max(1e-12),
        }
    }

    /// The lowest and the highest place of each column, in the order in which they come.
    fn line(&self, places: impl Iterator<Item = [f64; 2]>) -> Vec<PlotPoint> {
        let mut line: Vec<PlotPoint> = Vec::new();
        let mut now: Option<(i64, [f64; 2], [f64; 2])> = None;
        for place in places {
            let column = ((place[0] - self.begin) * self.columns_for_each) as i64;
            match &mut now {
                Some((of, low, high)) if *of == column => {
                    if place[1] < low[1] {
                        *low = place;
                    } else if place[1] > high[1] {
                        *high = place;
                    }
                }
                _ => {
                    push(&mut line, now);
                    now = Some((column, place, place));
                }
            }
        }
        push(&mut line, now);
        line
    }
}

fn push(line: &mut Vec<PlotPoint>, column: Option<(i64, [f64; 2], [f64; 2])>) {
    let Some((_, low, high)) = column else {
        return;
    };
    let (first, second) = if low[0] <= high[0] {
        (low, high)
    } else {
        (high, low)
    };
    line.push(PlotPoint::new(first[0], first[1]));
    if first != second {
        line.push(PlotPoint::new(second[0], second[1]));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Instant;

    const LINEAR: Axes = Axes {
        log_steps: false,
        log_loss: false,
    };

    fn curve(steps: u64) -> Curve {
        let point = |step: u64| TrainPoint {
            loss: match step {
                700 => Some(99.0),
                step if step % 1000 == 5 => None,
                step => Some(2.0 + (step as f64 * 0.7).sin()),
            },
            held_out: step.is_multiple_of(500).then_some(2.5),
            rate: 1e-4,
            ..TrainPoint::before(step)
        };
        Curve::of(&(1..=steps).map(point).collect::<Vec<_>>())
    }

    fn question(axes: Axes, window: Option<[f64; 2]>) -> Question {
        Question {
            run: RunId(1),
            version: 0,
            axes,
            columns: 400,
            window,
        }
    }

    #[test]
    fn a_long_curve_is_thin_and_keeps_its_spikes() {
        let curve = curve(20_000);
        let mut lines = Lines::default();
        assert!(lines.follow(question(LINEAR, None), &curve));
        assert!(
            !lines.follow(question(LINEAR, None), &curve),
            "once is enough"
        );
        assert!(lines.raw.len() <= 802, "{}", lines.raw.len());
        assert!(
            lines.raw.iter().any(|point| point.y == 99.0),
            "the spike stays"
        );
        assert!(lines.raw.windows(2).all(|pair| pair[0].x <= pair[1].x));
        assert_eq!(lines.skipped.len(), 20);
        assert_eq!(lines.held_out.len(), 40);
    }

    #[test]
    fn a_part_in_sight_is_drawn_finer() {
        let curve = curve(20_000);
        let mut lines = Lines::default();
        lines.follow(question(LINEAR, Some([1000.0, 1100.0])), &curve);
        // One skipped step, and one point beyond each end.
        assert_eq!(lines.raw.len(), 102);
        assert_eq!((lines.raw[0].x, lines.raw[101].x), (999.0, 1101.0));
        lines.follow(question(LINEAR, Some([30_000.0, 40_000.0])), &curve);
        assert!(lines.raw.len() <= 1, "nothing is there");
    }

    #[test]
    fn logarithms_have_no_place_for_nothing() {
        let both = Axes {
            log_steps: true,
            log_loss: true,
        };
        assert_eq!((both.x(0), both.x(1), both.x(100)), (0.0, 0.0, 2.0));
        assert_eq!((both.y(0.0), both.y(100.0)), (None, Some(2.0)));
        assert_eq!(LINEAR.y(f64::NAN), None);
        assert!((both.step(both.x(40)) - 40.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_to_draw_is_drawn() {
        let mut lines = Lines::default();
        lines.follow(question(LINEAR, None), &Curve::default());
        assert!(lines.raw.is_empty() && lines.rate.is_empty());
        lines.follow(question(LINEAR, Some([3.0, 1.0])), &curve(3));
    }

    #[test]
    fn a_hundred_thousand_steps_are_thinned_quickly() {
        let curve = curve(100_000);
        let mut lines = Lines::default();
        let began = Instant::now();
        lines.follow(question(LINEAR, None), &curve);
        // A tenth of a second: a bound that holds on a loaded machine, without optimization.
        assert!(began.elapsed().as_secs_f64() < 0.1, "{:?}", began.elapsed());
    }
}
