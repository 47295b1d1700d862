//! Bits within a time: what the engine chooses by prices in time, as `pare allocate --latency-ms` does.
//!
//! Made for a device and a draft once; a drag asks it with every frame.

use crate::studio::project::Project;
use crate::studio::proposal;
use pare_engine::formats::layout::stored_bytes;
use pare_engine::recipe::LayerSettings;
use pare_engine::session::{LatencyTarget, RunShape, TimedGround, TimedPlanner, WithinTime};
use std::sync::Arc;

/// What chooses by time; `None` where the device or the table is not known.
pub(super) fn timed_planner(project: &Project) -> Option<TimedPlanner> {
    project.sensitivity.planner.as_ref()?;
    let speed = project.latency.speed()?;
    let question = project.latency.question.as_ref()?;
    let draft = project.draft();
    let target = LatencyTarget {
        device: speed.profile.as_ref().clone(),
        engine: Some(speed.engine().name.clone()),
        run: RunShape {
            context: Some(question.context_tokens),
            prompt: Some(question.prompt_tokens),
            kv_cache: Some(draft.kv_cache),
            threads: question.threads,
        },
    };
    let ground = TimedGround {
        table: project.sensitivity.table.as_ref().clone(),
        settings: draft.settings.clone(),
        format: draft.format,
        rules: proposal::rules(project),
    };
    let timed = project
        .session
        .timed_planner(ground, &target, draft.kv_cache);
    // Why bits cannot be chosen is told of the planner of bytes.
    timed.ok()
}

/// Seconds of the fastest recipe known, and of the largest on the front of sizes.
pub(super) fn front_seconds(project: &Project) -> Option<[f64; 2]> {
    let timed = project.sensitivity.timed.as_ref()?;
    let planner = project.sensitivity.planner.as_ref()?;
    let seconds = |settings: &[LayerSettings]| timed.milliseconds(settings) / 1e3;
    let fastest = seconds(&timed.fastest().ok()?.settings);
    let largest = planner
        .solve(project.sensitivity.front.last()?.bytes)
        .ok()?;
    let largest = seconds(&largest.settings);
    Some([fastest.min(largest), fastest.max(largest)])
}

/// What `seconds` of a token buy, in bytes of all compressible layers; the fastest where nothing is so fast.
pub(super) fn within(
    timed: &Arc<TimedPlanner>,
    project: &Project,
    seconds: f64,
) -> Option<WithinTime> {
    let mut found = timed.within(1e3 * seconds).ok()?;
    found.best = found.best.or_else(|| timed.fastest().ok());
    for allocation in [&mut found.best, &mut found.uniform].into_iter().flatten() {
        allocation.bytes = bytes_of(project, &allocation.settings);
    }
    Some(found)
}

fn bytes_of(project: &Project, settings: &[LayerSettings]) -> u64 {
    let layers = project.layers.iter().zip(settings);
    let compressible = layers.filter(|(info, _)| info.compressible);
    compressible
        .map(|(info, settings)| stored_bytes(project.draft().format, info, settings))
        .sum()
}
