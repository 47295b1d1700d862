//! The predicted front, the band in which measured losses lie around it, and each run's prediction beside its measurement.

use super::units::Scale;
use crate::studio::quality::{Outlook, Prediction};

/// An area between two lines.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Band {
    pub(super) x: Vec<f64>,
    pub(super) low: Vec<f64>,
    pub(super) high: Vec<f64>,
}

/// Points of a line: more would be closer together than pixels.
const MOST_POINTS: usize = 400;

/// The front as a line, down to a tenth of the least loss of uniform bits: below, decades would push together what is
/// decided above. Losses of zero have no logarithm.
pub(super) fn front(outlook: &Outlook, scale: Scale) -> Vec<[f64; 2]> {
    let uniform = outlook.baselines.iter();
    let least = uniform
        .filter_map(|base| base.place.predicted)
        .reduce(f64::min);
    let floor = 0.1 * least.unwrap_or(0.0);
    let points = outlook.front.iter();
    let mut seen: Vec<[f64; 2]> = points
        .filter(|point| point.predicted_loss > floor)
        .map(|point| [scale.value(point.bytes), point.predicted_loss.log10()])
        .collect();
    let step = seen.len().div_ceil(MOST_POINTS).max(1);
    let last = seen.last().copied();
    seen = seen.into_iter().step_by(step).collect();
    if seen.last() != last.as_ref() {
        seen.extend(last);
    }
    seen
}

/// Where the middle half of measured losses would lie: the front over the quartiles of predicted / measured.
pub(super) fn band(outlook: &Outlook, front: &[[f64; 2]]) -> Option<Band> {
    let [lower, upper] = outlook.prediction.as_ref()?.spread?;
    let is_spread = lower > 0.0 && upper >= lower && upper.is_finite();
    (is_spread && front.len() > 1).then(|| Band {
        x: front.iter().map(|[x, _]| *x).collect(),
        low: front.iter().map(|[_, y]| y - upper.log10()).collect(),
        high: front.iter().map(|[_, y]| y - lower.log10()).collect(),
    })
}

/// Of each run measured and predicted, both places.
pub(super) fn twins(outlook: &Outlook, scale: Scale) -> Vec<[[f64; 2]; 2]> {
    let twin = |run: &crate::studio::quality::RunPlace| {
        let (measured, predicted) = (run.loss?.0, run.place.predicted?);
        let x = scale.value(run.place.bytes);
        let is_seen = measured > 0.0 && predicted > 0.0;
        is_seen.then(|| [[x, measured.log10()], [x, predicted.log10()]])
    };
    outlook.runs.iter().filter_map(twin).collect()
}

/// How predictions held: `Rank correlation 0.98, ratio 1.04 over 7 runs`.
pub(super) fn said(prediction: &Prediction) -> String {
    let runs = match prediction.runs {
        1 => "1 run".to_owned(),
        runs => format!("{runs} runs"),
    };
    let ratio = prediction.median_ratio;
    match prediction.rank_correlation {
        Some(correlation) => {
            format!("Rank correlation {correlation:.2}, ratio {ratio:.2} over {runs}")
        }
        None => format!("Predicted / measured {ratio:.2} over {runs}"),
    }
}

/// The fewest bytes of the front whose predicted loss is at most `loss`; its last point's where none is.
pub(super) fn smallest_under(outlook: &Outlook, loss: f64) -> Option<u64> {
    let front = &outlook.front;
    let above = front.partition_point(|point| point.predicted_loss > loss);
    let point = front.get(above).or(front.last())?;
    Some(point.bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    #![allow(clippy::field_reassign_with_default)] // Its other fields are not ours to name.
    use super::*;
    use pare_engine::allocate::FrontPoint;
    use std::sync::Arc;

    fn outlook() -> Outlook {
        let point = |(bytes, predicted_loss)| FrontPoint {
            bytes,
            predicted_loss,
        };
        let points = [(10, 1.0), (20, 0.1), (30, 0.01), (40, 0.0)].map(point);
        let mut outlook = Outlook::default();
        outlook.front = Arc::new(points.to_vec());
        outlook
    }

    #[test]
    fn a_loss_names_the_smallest_size_under_it() {
        for (loss, expected) in [
            (2.0, 10),
            (1.0, 10),
            (0.5, 20),
            (0.1, 20),
            (0.001, 40),
            (-1.0, 40),
        ] {
            assert_eq!(smallest_under(&outlook(), loss), Some(expected), "{loss}");
        }
        assert_eq!(smallest_under(&Outlook::default(), 1.0), None);
    }

    #[test]
    fn the_band_lies_around_what_was_measured() {
        let mut outlook = outlook();
        outlook.prediction = Some(Prediction {
            runs: 3,
            rank_correlation: Some(1.0),
            median_ratio: 1.0,
            spread: Some([0.5, 2.0]),
        });
        let line = front(&outlook, Scale::default());
        let band = band(&outlook, &line).unwrap();
        assert_eq!(line.len(), 3, "zero has no logarithm");
        let at = |values: &[f64]| (10f64.powf(values[1]) * 1e9).round() / 1e9;
        assert_eq!((at(&band.low), at(&band.high)), (0.05, 0.2));
    }

    #[test]
    fn predictions_are_said_as_far_as_they_are_known() {
        let few = Prediction {
            runs: 1,
            rank_correlation: None,
            median_ratio: 1.041,
            spread: None,
        };
        let many = Prediction {
            runs: 7,
            rank_correlation: Some(0.98),
            ..few
        };
        for (prediction, expected) in [
            (few, "Predicted / measured 1.04 over 1 run"),
            (many, "Rank correlation 0.98, ratio 1.04 over 7 runs"),
        ] {
            assert_eq!(said(&prediction), expected);
        }
    }
}
