//! What follows from a sensitivity table: the planner, the front, proposals within a budget.
//!
//! Made anew where the table, the draft or the rules changed, never in a frame that changes none of them.

mod within;

use crate::studio::draft::possible;
use crate::studio::effect::Effect;
use crate::studio::project::Project;
use crate::studio::proposal::{self, Change, Proposal, UniformChoice};
use crate::studio::sensitivity::{Basis, PlannedFor, SensitivityState};

use crate::studio::state::Studio;
use pare_engine::allocate::{Allocation, Planner};
use pare_engine::recipe::LayerSettings;
use pare_engine::session::WithinTime;
use pare_engine::settings::LayerOption;
use std::sync::Arc;

impl Studio {
    /// Proposes bits within a budget, at once: a drag calls this with every frame.
    pub(super) fn set_budget(&mut self, bytes: u64) -> Vec<Effect> {
        if let Some(project) = self.project_mut() {
            project.budget_bytes = Some(bytes);
            project.budget_seconds = None;
            propose(project, false);
        }
        Vec::new()
    }

    /// Proposes bits within a time, at once.
    pub(super) fn set_latency_budget(&mut self, seconds: f64) -> Vec<Effect> {
        if let Some(project) = self.project_mut() {
            project.budget_seconds = Some(seconds);
            propose(project, false);
        }
        Vec::new()
    }
}

/// Makes anew what follows from table, draft and rules, where any of them changed.
pub(super) fn plan(project: &mut Project) {
    let now = PlannedFor {
        version: project.sensitivity.version,
        draft: project.draft().clone(),
        rules: project.budget_rules.clone(),
    };
    let is_same = |planned: &PlannedFor| {
        planned.version == now.version
            && Arc::ptr_eq(&planned.draft, &now.draft)
            && planned.rules == now.rules
    };
    if project
        .sensitivity
        .planned_for
        .as_ref()
        .is_some_and(is_same)
    {
        return follow_device(project);
    }
    project.sensitivity.planned_for = Some(now);
    restate(project);
    let planned = project.sensitivity.has_rows().then(|| planner(project));
    let sensitivity = &mut project.sensitivity;
    sensitivity.problem = None;
    sensitivity.planner = None;
    sensitivity.front = Arc::default();
    match planned {
        None => {}
        Some(Ok(planner)) => {
            sensitivity.front = Arc::new(planner.front().to_vec());
            sensitivity.planner = Some(Arc::new(planner));
        }
        Some(Err(reason)) => sensitivity.problem = Some(reason),
    }
    project.sensitivity.timed_for = None;
    follow_device(project);
}

/// Whether what is known is about what is chosen now.
pub(super) fn restate(project: &mut Project) {
    let is_current =
        project.sensitivity.basis.as_ref() == Some(&Basis::of(project.draft(), &project.layers));
    let sensitivity = &mut project.sensitivity;
    let is_settled = matches!(
        sensitivity.state,
        SensitivityState::Ready | SensitivityState::Stale
    );
    if is_settled {
        sensitivity.state = match is_current {
            true => SensitivityState::Ready,
            false => SensitivityState::Stale,
        };
    }
}

/// What of the plan depends on the device: made anew where the device's answer is another.
pub(super) fn follow_device(project: &mut Project) {
    let version = Some(project.latency.version);
    if project.sensitivity.timed_for == version {
        return;
    }
    project.sensitivity.timed_for = version;
    project.sensitivity.timed = within::timed_planner(project).map(Arc::new);
    project.sensitivity.front_seconds = within::front_seconds(project);
    if let Some(proposal) = &project.proposal {
        let is_settled = proposal.is_settled;
        propose(project, is_settled);
    }
}

fn planner(project: &Project) -> Result<Planner, String> {
    let draft = project.draft();
    Planner::new(
        &project.sensitivity.table,
        &project.layers,
        &draft.settings,
        draft.format,
        &proposal::rules(project),
    )
    .map_err(|error| error.to_string())
}

/// The best that the budget last set allows, in place of what was proposed before.
fn propose(project: &mut Project, is_settled: bool) {
    let proposal = proposed(project, is_settled);
    project.proposals += u64::from(proposal.is_some());
    if let Some(proposal) = &proposal {
        project.budget_bytes = Some(proposal.budget_bytes);
    }
    project.proposal = proposal;
}

fn proposed(project: &Project, is_settled: bool) -> Option<Proposal> {
    let sensitivity = &project.sensitivity;
    let planner = sensitivity.planner.as_ref()?;
    let in_time = || {
        let timed = sensitivity.timed.as_ref()?;
        within::within(timed, project, project.budget_seconds?)
    };
    let in_bytes = || {
        // Less than the least is a wish for the least.
        let within = project.budget_bytes?.max(planner.smallest_bytes());
        Some(WithinTime {
            best: planner.solve(within).ok(),
            uniform: planner.uniform(within),
        })
    };
    // Of a machine that is not measured any more no time is known: bytes stand in.
    let chosen = in_time().or_else(in_bytes)?;
    let allocation = chosen.best?;
    let settings = settled(project, &allocation);
    let changes = changes(project, &settings);
    let is_of_time = project.budget_seconds.is_some();
    Some(Proposal {
        budget_bytes: match is_of_time {
            true => allocation.bytes,
            false => project.budget_bytes?,
        },
        budget_seconds: project.budget_seconds,
        seconds: project.latency.seconds_of(project, &settings),
        changes,
        bytes: allocation.bytes,
        predicted: sensitivity.predict(&project.layers, &settings),
        uniform: chosen
            .uniform
            .and_then(|uniform| uniform_choice(project, planner, &uniform)),
        is_settled,
        version: project.proposals + 1,
        settings,
    })
}

/// What the draft would have: locked layers as they are, the others with a method that they can have.
fn settled(project: &Project, allocation: &Allocation) -> Vec<LayerSettings> {
    let draft = project.draft();
    let of = |(layer, info)| match proposal::is_free(project, layer) {
        true => possible(info, allocation.settings[layer]),
        false => draft.settings[layer],
    };
    project.layers.iter().enumerate().map(of).collect()
}

fn changes(project: &Project, settings: &[LayerSettings]) -> Vec<Change> {
    let draft = project.draft();
    let pairs = draft.settings.iter().zip(settings).enumerate();
    pairs
        .filter(|(_, (from, to))| !is_alike(from, to))
        .map(|(layer, (from, to))| Change {
            layer,
            from: *from,
            to: *to,
            gain: gain(project, layer, from, to),
        })
        .collect()
}

/// Whether the same would be written.
fn is_alike(from: &LayerSettings, to: &LayerSettings) -> bool {
    let is_dense = |settings| LayerOption::of(settings) == Some(LayerOption::Dense);
    from == to || (is_dense(from) && is_dense(to))
}

/// How much less loss one change alone leaves.
fn gain(project: &Project, layer: usize, from: &LayerSettings, to: &LayerSettings) -> Option<f64> {
    let predictor = project.sensitivity.planner.as_ref()?.predictor();
    let loss = |settings| predictor.layer_loss(layer, LayerOption::of(settings)?);
    Some(loss(from)? - loss(to)?)
}

fn uniform_choice(
    project: &Project,
    planner: &Planner,
    uniform: &Allocation,
) -> Option<UniformChoice> {
    Some(UniformChoice {
        option: planner.free().find_map(|layer| uniform.options[layer])?,
        bytes: uniform.bytes,
        predicted: uniform.predicted_loss,
        seconds: project
            .latency
            .seconds_of(project, &settled(project, uniform)),
    })
}

#[cfg(test)]
mod tests;
