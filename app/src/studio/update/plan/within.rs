//! Bits within a time: where on the front of sizes a token takes no longer than asked for.
//!
//! A step that reads less takes no longer, so that times rise along the front; what is found is asked of the device again.

use super::settled;
use crate::studio::project::Project;

/// Seconds of a token at both ends of the front, the fewest first; `None` where the device or the front is not known.
pub(super) fn front_seconds(project: &Project) -> Option<[f64; 2]> {
    let front = &project.sensitivity.front;
    let ends = [front.first()?.bytes, front.last()?.bytes].map(|bytes| seconds_at(project, bytes));
    match ends {
        [Some(first), Some(last)] => Some([first.min(last), first.max(last)]),
        _ => None,
    }
}

/// The most bytes on the front at which a token takes `seconds` at most; the fewest where none is so fast.
pub(super) fn bytes_within(project: &Project, seconds: f64) -> Option<u64> {
    let front = &project.sensitivity.front;
    let is_fast = |bytes: u64| seconds_at(project, bytes).is_some_and(|found| found <= seconds);
    let slow = front.partition_point(|point| is_fast(point.bytes));
    let place = slow.saturating_sub(1);
    seconds_at(project, front.get(place)?.bytes)?;
    Some(front[place].bytes)
}

fn seconds_at(project: &Project, bytes: u64) -> Option<f64> {
    let planner = project.sensitivity.planner.as_ref()?;
    let allocation = planner.solve(bytes).ok()?;
    project
        .latency
        .seconds_of(project, &settled(project, &allocation))
}
