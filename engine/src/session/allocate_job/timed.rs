//! The best bits within a time on a device: planners whose prices are times.
//!
//! What an option costs depends on all layers together, since how much is read decides where it lies. So layers are timed
//! about several recipes, and what is chosen is timed as a whole. Fast enough for a slider.

use super::super::choose_requests::LatencyTarget;
use super::super::{Session, SessionError};
use super::clock::{Clock, TOLERANCE};
use super::of_layers;
use crate::allocate::{AllocateError, Allocation, Planner, Rules};
use crate::formats::Format;
use crate::report::SensitivityTable;
use crate::settings::{KvCache, LayerSettings};
use std::fmt;

/// Times layers are timed again about what was chosen.
const TIMINGS: usize = 3;

/// Times the fastest recipe is looked for about the one found before.
const SMALLEST_TIMINGS: usize = 3;

/// What bits are chosen by, whatever the budget.
#[derive(Debug, Clone)]
pub struct TimedGround {
    /// How much each layer hurts.
    pub table: SensitivityTable,
    /// What each layer has now.
    pub settings: Vec<LayerSettings>,
    /// The container.
    pub format: Format,
    /// What must hold.
    pub rules: Rules,
}

/// What a time buys.
#[derive(Debug, Clone, PartialEq)]
pub struct WithinTime {
    /// The best recipe known that is as fast; `None` where none is.
    pub best: Option<Allocation>,
    /// The best that gives all free layers one option.
    pub uniform: Option<Allocation>,
}

/// Chooses bits within a time. Of its allocations, `bytes` are picoseconds.
pub struct TimedPlanner {
    ground: TimedGround,
    clock: Clock,
    /// About what each layer has now.
    first: About,
    /// About the smallest recipe: what fits a cache is fast only if all is small.
    smallest: About,
}

/// A planner, and the settings about which layers were timed for it.
#[derive(Debug, Clone)]
pub(super) struct About {
    planner: Planner,
    settings: Vec<LayerSettings>,
}

impl About {
    pub(super) fn into_parts(self) -> (Planner, Vec<LayerSettings>) {
        (self.planner, self.settings)
    }
}

impl Session {
    /// Chooses bits by times on `target`; keys and values are kept as the target says, else as `kept`.
    pub fn timed_planner(
        &self,
        ground: TimedGround,
        target: &LatencyTarget,
        kept: KvCache,
    ) -> Result<TimedPlanner, SessionError> {
        let clock = Clock::new(self, target, ground.format, kept)?;
        Ok(TimedPlanner::of(ground, clock)?)
    }
}

impl TimedPlanner {
    pub(super) fn of(ground: TimedGround, clock: Clock) -> Result<Self, AllocateError> {
        let first = priced(&ground, &clock, ground.settings.clone())?;
        let mut smallest = first.clone();
        for _ in 0..SMALLEST_TIMINGS {
            let fastest = smallest.planner.solve(smallest.planner.smallest_bytes())?;
            if fastest.settings == smallest.settings {
                break;
            }
            smallest = priced(&ground, &clock, fastest.settings)?;
        }
        Ok(Self {
            ground,
            clock,
            first,
            smallest,
        })
    }

    /// What `milliseconds` of a token (of an encoder, of the prompt) buy.
    pub fn within(&self, milliseconds: f64) -> Result<WithinTime, AllocateError> {
        let about = self.about(milliseconds)?;
        let room = self.room(&about, milliseconds);
        let uniform = |room| about.planner.uniform(room);
        Ok(WithinTime {
            best: self.solve(&about, milliseconds),
            uniform: self.clock.within(milliseconds, room, &uniform),
        })
    }

    /// The fastest recipe known.
    pub fn fastest(&self) -> Result<Allocation, AllocateError> {
        let planner = &self.smallest.planner;
        let cheapest = planner.solve(planner.smallest_bytes())?;
        // Prices that differ by their rounding alone are one.
        let rounding = self.clock.layers().len() as u64;
        let better = planner.solve(planner.smallest_bytes() + rounding)?;
        let least = self.milliseconds(&cheapest.settings);
        let is_as_fast = self.milliseconds(&better.settings) <= least * (1.0 + TOLERANCE);
        Ok(if is_as_fast { better } else { cheapest })
    }

    /// Milliseconds of a token; of an encoder, of the prompt.
    pub fn milliseconds(&self, settings: &[LayerSettings]) -> f64 {
        self.clock.milliseconds(settings)
    }

    /// The planner that makes the best of `milliseconds`: layers are timed about what the one before chose.
    pub(super) fn about(&self, milliseconds: f64) -> Result<About, AllocateError> {
        let mut made = vec![self.first.clone()];
        while made.len() < TIMINGS {
            let last = &made[made.len() - 1];
            let room = self.room(last, milliseconds);
            let next = last
                .planner
                .solve(room.max(last.planner.smallest_bytes()))?;
            made.push(priced(&self.ground, &self.clock, next.settings)?);
        }
        made.push(self.smallest.clone());
        let loss = |about: &About| {
            let found = self.solve(about, milliseconds);
            found.map_or(f64::INFINITY, |found| found.predicted_loss)
        };
        let losses: Vec<f64> = made.iter().map(loss).collect();
        // Of equals the last, which knows the fastest.
        let best = (0..made.len())
            .rev()
            .min_by(|left, right| losses[*left].total_cmp(&losses[*right]));
        Ok(made.swap_remove(best.expect("some were made")))
    }

    fn solve(&self, about: &About, milliseconds: f64) -> Option<Allocation> {
        let solve = |room| about.planner.solve(room).ok();
        let room = self.room(about, milliseconds);
        self.clock.within(milliseconds, room, &solve)
    }

    fn room(&self, about: &About, milliseconds: f64) -> u64 {
        let layers = of_layers(&about.planner, &about.settings);
        self.clock.room(milliseconds, &about.settings, layers)
    }
}

fn priced(
    ground: &TimedGround,
    clock: &Clock,
    settings: Vec<LayerSettings>,
) -> Result<About, AllocateError> {
    let planner = Planner::priced(
        &ground.table,
        clock.layers(),
        &ground.settings,
        ground.format,
        &ground.rules,
        clock.price(&settings),
    )?;
    Ok(About { planner, settings })
}

impl fmt::Debug for TimedPlanner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TimedPlanner")
            .field("ground", &self.ground)
            .finish_non_exhaustive()
    }
}
