//! A rising curve through a few measured points that may contradict each other.
//!
//! Straight in the logarithms of both axes, since errors and losses span many orders of magnitude. Knows not what the axes
//! mean.

/// Least rise between two points, as a slope: what rises must not stand still.
const LEAST_SLOPE: f64 = 0.01;

/// A rising curve.
#[derive(Debug, Clone)]
pub(super) struct Curve {
    /// Logarithms of both axes, by rising first.
    knots: Vec<(f64, f64)>,
    /// Slope after the last knot.
    slope_above: f64,
}

/// What happens after the last point. Before the first the slope is 1: there the loss is proportional to the error.
#[derive(Debug, Clone, Copy)]
pub(super) enum Above {
    /// Slope 1 again.
    Proportional,
    /// The slope of the last two points, within limits.
    LastSlope {
        /// Fewest and most.
        limits: (f64, f64),
    },
}

impl Curve {
    /// A curve through `points`, all positive; points out of order are pooled. `None` where there is no point.
    pub(super) fn through(points: &[(f64, f64)], above: Above) -> Option<Self> {
        let mut logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
        logs.sort_by(|left, right| left.0.total_cmp(&right.0).then(left.1.total_cmp(&right.1)));
        let knots = raised(pooled(merged(&logs)));
        let slope_above = match (above, knots.as_slice()) {
            (_, []) => return None,
            (Above::LastSlope { limits }, [.., before, last]) => {
                let slope = (last.1 - before.1) / (last.0 - before.0);
                slope.clamp(limits.0, limits.1)
            }
            _ => 1.0,
        };
        Some(Self { knots, slope_above })
    }

    /// The curve's height over `x`; 0 over 0 and less.
    pub(super) fn at(&self, x: f64) -> f64 {
        if x <= 0.0 {
            return 0.0;
        }
        let x = x.ln();
        let after = self.knots.partition_point(|knot| knot.0 <= x);
        let height = match (self.knots[..after].last(), self.knots.get(after)) {
            (Some(left), Some(right)) => {
                let slope = (right.1 - left.1) / (right.0 - left.0);
                left.1 + slope * (x - left.0)
            }
            (Some(last), None) => last.1 + self.slope_above * (x - last.0),
            (None, Some(first)) => first.1 + (x - first.0),
            (None, None) => return 0.0,
        };
        height.exp()
    }
}

/// Points over the same place become one, at their mean height.
fn merged(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let same_place = points.chunk_by(|left, right| left.0 == right.0);
    same_place
        .map(|points| {
            let sum: f64 = points.iter().map(|point| point.1).sum();
            (points[0].0, sum / points.len() as f64)
        })
        .collect()
}

/// The nearest heights that never fall (pool adjacent violators).
fn pooled(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let mut pools: Vec<(f64, usize)> = Vec::with_capacity(points.len());
    for &(_, height) in &points {
        let mut pool = (height, 1);
        while let Some(&before) = pools.last()
            && before.0 > pool.0
        {
            let count = before.1 + pool.1;
            let sum = before.0 * before.1 as f64 + pool.0 * pool.1 as f64;
            pool = (sum / count as f64, count);
            pools.pop();
        }
        pools.push(pool);
    }
    let heights = pools
        .into_iter()
        .flat_map(|(height, count)| std::iter::repeat_n(height, count));
    points.iter().map(|point| point.0).zip(heights).collect()
}

/// Heights that rise by the least slope where they would stand still.
fn raised(mut points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    for place in 1..points.len() {
        let (x, height) = points[place - 1];
        let least = height + LEAST_SLOPE * (points[place].0 - x);
        points[place].1 = points[place].1.max(least);
    }
    points
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const LIMITED: Above = Above::LastSlope { limits: (0.5, 1.5) };

    fn near(left: f64, right: f64) -> bool {
        (left - right).abs() <= 1e-12 * right.abs()
    }

    #[test]
    fn curves_pass_through_points_and_go_on() {
        let square = Curve::through(&[(1.0, 1.0), (10.0, 100.0)], LIMITED).unwrap();
        let rows = [
            (1.0, 1.0),
            (10.0, 100.0),
            (100.0_f64.sqrt(), 100.0),
            (2.0, 4.0),
            (0.01, 0.01),
            (1000.0, 100.0 * 100.0_f64.powf(1.5)),
            (0.0, 0.0),
        ];
        for (x, expected) in rows {
            let found = square.at(x);
            assert!(near(found, expected), "{x}: {found}, expected {expected}");
        }
        let one = Curve::through(&[(2.0, 6.0)], LIMITED).unwrap();
        assert!(near(one.at(4.0), 12.0) && near(one.at(1.0), 3.0));
        assert!(Curve::through(&[], LIMITED).is_none());
    }

    #[test]
    fn points_out_of_order_are_pooled() {
        let curve = Curve::through(&[(1.0, 4.0), (2.0, 1.0), (2.0, 1.0)], Above::Proportional);
        let curve = curve.unwrap();
        assert!(near(curve.at(1.0), 2.0), "{}", curve.at(1.0));
        assert!(curve.at(2.0) > curve.at(1.0) && curve.at(2.0) < 2.1);
    }

    proptest! {
        #[test]
        fn curves_rise(
            points in prop::collection::vec((1e-9_f64..1e3, 1e-12_f64..10.0), 1..7),
            x in 1e-12_f64..1e4,
            times in 1.001_f64..100.0,
        ) {
            for above in [LIMITED, Above::Proportional] {
                let curve = Curve::through(&points, above).unwrap();
                prop_assert!(curve.at(x) < curve.at(x * times), "{curve:?}");
            }
        }
    }
}
