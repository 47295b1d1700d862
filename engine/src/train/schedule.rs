//! The learning rate of each step: a rise, then constant, linear or cosine (Loshchilov and Hutter 2017, arXiv 1608.03983).

use crate::recipe::Schedule;

/// A learning rate over the steps of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateSchedule {
    /// How it falls.
    pub kind: Schedule,
    /// Highest rate.
    pub peak: f64,
    /// Steps until the highest rate.
    pub warm_up: u64,
    /// All steps.
    pub steps: u64,
    /// The last step's rate as a share of the highest.
    pub last_share: f64,
}

impl RateSchedule {
    /// The rate of step `step`, counted from 0.
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warm_up {
            return self.peak * (step + 1) as f64 / self.warm_up as f64;
        }
        let falling = self.steps.saturating_sub(self.warm_up + 1).max(1) as f64;
        let progress = ((step - self.warm_up) as f64 / falling).min(1.0);
        let left = match self.kind {
            Schedule::Constant => 1.0,
            Schedule::Linear => 1.0 - progress,
            Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        };
        match self.kind {
            Schedule::Constant => self.peak,
            _ => self.peak * (self.last_share + (1.0 - self.last_share) * left),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_rise_to_the_peak_and_fall_to_the_last_share() {
        for (kind, middle, last) in [
            (Schedule::Constant, 2.0, 2.0),
            (Schedule::Linear, 1.1, 0.2),
            (Schedule::Cosine, 1.1, 0.2),
        ] {
            let schedule = RateSchedule {
                kind,
                peak: 2.0,
                warm_up: 4,
                steps: 15,
                last_share: 0.1,
            };
            let rates = [0, 3, 4, 9, 14, 20].map(|step| schedule.rate(step));
            let expected = [0.5, 2.0, 2.0, middle, last, last];
            for (found, expected) in rates.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-12, "{kind:?}: {rates:?}");
            }
        }
    }
}
