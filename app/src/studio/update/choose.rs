//! Bits chosen by what layers hurt: measuring, budgets, proposals.

use super::load::autosave;
use super::plan::restate;
use crate::studio::command::Command;
use crate::studio::draft::{Draft, LayerEdit};
use crate::studio::effect::{Effect, Job};
use crate::studio::event::{Generation, Outcome};
use crate::studio::log::Level;
use crate::studio::project::Project;
use crate::studio::runs::Control;
use crate::studio::sensitivity::{
    Basis, Known, SensitivityEffort, SensitivityJob, SensitivityState, SensitivityStep, empty_table,
};
use crate::studio::state::Studio;
use pare_engine::report::{LayerSensitivity, Measure};
use std::sync::Arc;

impl Studio {
    /// Commands about sensitivity, budgets and proposals.
    pub(super) fn choose(&mut self, command: Command) -> Vec<Effect> {
        match command {
            Command::MeasureSensitivity(effort) => self.measure_sensitivity(effort),
            Command::StopSensitivity => self.stop_sensitivity(),
            Command::SetBudget(bytes) => self.set_budget(bytes),
            Command::SetLatencyBudget(seconds) => self.set_latency_budget(seconds),
            Command::SettleBudget => {
                let Some(project) = self.project_mut() else {
                    return Vec::new();
                };
                if let Some(proposal) = &mut project.proposal {
                    proposal.is_settled = true;
                }
                autosave(project)
            }
            Command::SetBudgetRules(rules) => {
                let Some(project) = self.project_mut() else {
                    return Vec::new();
                };
                project.budget_rules = rules;
                self.draft_changed()
            }
            Command::ApplyProposal => self.apply_proposal(),
            Command::DiscardProposal => {
                if let Some(project) = self.project_mut() {
                    project.proposal = None;
                }
                Vec::new()
            }
            Command::PaintOption {
                layers,
                option,
                gesture,
            } => self.edit(LayerEdit::Option(option), Some(layers), gesture),
            _ => Vec::new(),
        }
    }

    /// Measures how much each layer hurts, beside whatever else is at work.
    pub(super) fn measure_sensitivity(&mut self, effort: SensitivityEffort) -> Vec<Effect> {
        let Some(project) = self.project() else {
            return Vec::new();
        };
        if let Some(reason) = project.why_no_sensitivity() {
            return vec![self.tell(Level::Warning, reason)];
        }
        self.ask_sensitivity(effort, false)
    }

    fn ask_sensitivity(&mut self, effort: SensitivityEffort, only_find: bool) -> Vec<Effect> {
        let generation = self.generation;
        let Some(project) = self.project_mut() else {
            return Vec::new();
        };
        let basis = Basis::of(project.draft(), &project.layers);
        let request = basis.request(project.draft().format, effort, project.session.is_encoder());
        let control = Arc::new(Control::default());
        begin(
            project,
            SensitivityJob {
                control: control.clone(),
                basis,
                only_find,
            },
        );
        vec![Effect::Start(Job::Sensitivity {
            generation,
            session: project.session.clone(),
            request: Box::new(request),
            only_find,
            control,
        })]
    }

    fn stop_sensitivity(&mut self) -> Vec<Effect> {
        let Some(project) = self.project_mut() else {
            return Vec::new();
        };
        end_sensitivity(project);
        self.look_ahead();
        Vec::new()
    }

    /// Looks once whether what the draft would measure was measured before.
    pub(super) fn find_sensitivity(&mut self) -> Vec<Effect> {
        let Some(project) = self.project_mut() else {
            return Vec::new();
        };
        if project.sensitivity.is_at_work() || project.inputs().is_none() {
            return Vec::new();
        }
        let basis = Some(Basis::of(project.draft(), &project.layers));
        if [&project.sensitivity.basis, &project.sensitivity.looked_for].contains(&&basis) {
            return Vec::new();
        }
        project.sensitivity.looked_for = basis;
        self.ask_sensitivity(SensitivityEffort::Full, true)
    }

    pub(super) fn sensitivity_grew(
        &mut self,
        generation: Generation,
        control: &Arc<Control>,
        rows: Vec<LayerSensitivity>,
        step: SensitivityStep,
    ) -> Vec<Effect> {
        let Some(project) = self.waiting_for(generation, control) else {
            return Vec::new();
        };
        let sensitivity = &mut project.sensitivity;
        sensitivity.state = SensitivityState::Measuring(step);
        if rows.is_empty() {
            return Vec::new();
        }
        sensitivity.take_rows(rows);
        self.look_ahead();
        Vec::new()
    }

    pub(super) fn sensitivity_done(
        &mut self,
        generation: Generation,
        control: &Arc<Control>,
        result: Outcome<Box<Known>>,
    ) -> Vec<Effect> {
        let Some(project) = self.waiting_for(generation, control) else {
            return Vec::new();
        };
        let Some(job) = project.sensitivity.job.take() else {
            return Vec::new();
        };
        let failed = match result {
            Outcome::Done(known) => {
                let sensitivity = &mut project.sensitivity;
                if let Some(table) = known.table {
                    sensitivity.table = Arc::new(table);
                    sensitivity.basis = Some(job.basis);
                    sensitivity.agreement = known.agreement;
                    sensitivity.version += 1;
                }
                None
            }
            Outcome::Stopped => None,
            Outcome::Failed(reason) => Some(reason),
        };
        settle(project);
        if let (Some(reason), false) = (&failed, job.only_find) {
            project.sensitivity.state = SensitivityState::Failed(reason.clone());
        }
        let mut effects: Vec<Effect> = failed
            .map(|reason| self.tell(Level::Error, reason))
            .into_iter()
            .collect();
        self.look_ahead();
        effects.extend(self.find_sensitivity());
        effects
    }

    /// The open model, where it waits for the job of `control`.
    fn waiting_for(
        &mut self,
        generation: Generation,
        control: &Arc<Control>,
    ) -> Option<&mut Project> {
        let is_current = generation == self.generation;
        let project = self.project_mut().filter(|_| is_current)?;
        let job = project.sensitivity.job.as_ref()?;
        Arc::ptr_eq(&job.control, control).then_some(project)
    }

    /// The proposal becomes the draft: settings alone, everything else stays.
    fn apply_proposal(&mut self) -> Vec<Effect> {
        let Some(project) = self.project_mut() else {
            return Vec::new();
        };
        let Some(proposal) = project.proposal.take() else {
            return Vec::new();
        };
        let draft = Draft {
            settings: proposal.settings,
            ..project.draft().as_ref().clone()
        };
        let label = format!("apply proposed bits to {} layers", proposal.changes.len());
        project.history.push(draft, label, None);
        self.draft_changed()
    }
}

/// Stops the job at work; what it told so far stays, and what it kept beside the moments is found again.
pub(super) fn end_sensitivity(project: &mut Project) {
    if let Some(job) = project.sensitivity.job.take() {
        job.control.stop();
        settle(project);
    }
}

/// A job begins: what is known goes on where it is about the same.
fn begin(project: &mut Project, job: SensitivityJob) {
    let is_encoder = project.session.is_encoder();
    let sensitivity = &mut project.sensitivity;
    if let Some(before) = sensitivity.job.take() {
        before.control.stop();
    }
    if !job.only_find {
        if sensitivity.basis.as_ref() != Some(&job.basis) {
            let measure = match is_encoder {
                true => Measure::CosineDistance,
                false => Measure::Kl,
            };
            sensitivity.table = Arc::new(empty_table(measure, job.basis.method()));
            sensitivity.basis = Some(job.basis.clone());
            sensitivity.agreement = None;
            sensitivity.version += 1;
        }
        sensitivity.state = SensitivityState::Measuring(SensitivityStep {
            stage: "preparing".to_owned(),
            ..SensitivityStep::default()
        });
    }
    sensitivity.job = Some(job);
}

/// How what is known stands once no job is at work.
fn settle(project: &mut Project) {
    let sensitivity = &mut project.sensitivity;
    sensitivity.state = match sensitivity.has_rows() {
        false => SensitivityState::Absent,
        true => SensitivityState::Ready,
    };
    restate(project);
}

#[cfg(test)]
pub(super) mod tests;
