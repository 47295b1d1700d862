//! Bits chosen by what layers hurt: measuring, budgets, proposals.

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
            Command::SettleBudget => {
                if let Some(proposal) = self.project_mut().and_then(|p| p.proposal.as_mut()) {
                    proposal.is_settled = true;
                }
                Vec::new()
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
        let request = basis.request(project.draft().format, effort);
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
            request,
            only_find,
            control,
        })]
    }

    fn stop_sensitivity(&mut self) -> Vec<Effect> {
        let Some(project) = self.project_mut() else {
            return Vec::new();
        };
        if let Some(job) = project.sensitivity.job.take() {
            job.control.stop();
            settle(project);
        }
        Vec::new()
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
        match result {
            Outcome::Done(known) => {
                let sensitivity = &mut project.sensitivity;
                if let Some(table) = known.table {
                    sensitivity.table = Arc::new(table);
                    sensitivity.basis = Some(job.basis);
                    sensitivity.agreement = known.agreement;
                    sensitivity.version += 1;
                }
                settle(project);
                Vec::new()
            }
            Outcome::Stopped => {
                settle(project);
                Vec::new()
            }
            Outcome::Failed(reason) => {
                project.sensitivity.state = SensitivityState::Failed(reason.clone());
                vec![self.tell(Level::Error, reason)]
            }
        }
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

    fn set_budget(&mut self, bytes: u64) -> Vec<Effect> {
        if let Some(project) = self.project_mut() {
            project.budget_bytes = Some(bytes);
        }
        Vec::new()
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
    let now = Basis::of(project.draft(), &project.layers);
    let sensitivity = &mut project.sensitivity;
    sensitivity.state = match sensitivity.has_rows() {
        false => SensitivityState::Absent,
        true if sensitivity.basis.as_ref() == Some(&now) => SensitivityState::Ready,
        true => SensitivityState::Stale,
    };
}
