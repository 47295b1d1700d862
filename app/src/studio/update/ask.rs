//! What is asked of the background lanes as the draft and the selection change, and how answers come in.

use crate::studio::effect::{Effect, Job};
use crate::studio::estimates::{EstimateKey, MOST_PREVIEWS, OPTION_BITS, option};
use crate::studio::event::{Generation, Outcome};
use crate::studio::log::Level;
use crate::studio::project::{Inputs, Project};
use crate::studio::runs::Control;
use crate::studio::state::Studio;
use pare_engine::preview::{Estimate, Preview};
use pare_engine::recipe::LayerSettings;
use pare_engine::session::OriginalInputs;
use pare_engine::solved::Method;
use std::sync::Arc;

impl Studio {
    /// Asks for estimates of what is chosen, then of every layer at every option.
    pub(super) fn ask_estimates(&mut self) -> Vec<Effect> {
        let generation = self.generation;
        let Some(project) = self.project_mut() else {
            return Vec::new();
        };
        if project.estimating.is_some() {
            // What is missing then is asked for when the job at work has ended.
            return Vec::new();
        }
        let wanted = wishes(project);
        let wanted = project.estimates.ask(wanted.into_iter());
        if wanted.is_empty() {
            return Vec::new();
        }
        let control = Arc::new(Control::default());
        project.estimating = Some(control.clone());
        vec![Effect::Start(Job::Estimate {
            generation,
            session: project.session.clone(),
            inputs: project.inputs().cloned(),
            wanted,
            control,
        })]
    }

    /// Asks for previews of the selected layers, where they are not those asked for last.
    pub(super) fn ask_previews(&mut self) -> Vec<Effect> {
        let generation = self.generation;
        let Some(project) = self.project_mut() else {
            return Vec::new();
        };
        let draft = project.draft().clone();
        let mut layers = project.selection.layers();
        if let Some(cursor) = project.selection.cursor() {
            // The layer at the cursor is answered first.
            layers.sort_by_key(|&layer| layer != cursor);
        }
        layers.truncate(MOST_PREVIEWS);
        let asked: Vec<(usize, LayerSettings)> = layers
            .into_iter()
            .map(|layer| (layer, draft.settings[layer]))
            .collect();
        if asked == project.preview.asked {
            return Vec::new();
        }
        if let Some(control) = project.preview.control.take() {
            control.stop();
        }
        project.preview.asked = asked.clone();
        project.preview.question += 1;
        project.preview.busy = !asked.is_empty();
        project.preview.unfinished = asked.iter().map(|&(layer, _)| layer).collect();
        let control = Arc::new(Control::default());
        project.preview.control = Some(control.clone());
        let question = project.preview.question;
        let (session, inputs) = (&project.session, project.inputs());
        let job = |(layer, settings)| {
            Effect::Start(Job::Preview {
                generation,
                question,
                session: session.clone(),
                inputs: inputs.cloned(),
                layer,
                settings,
                control: control.clone(),
            })
        };
        asked.into_iter().map(job).collect()
    }

    pub(super) fn estimated(
        &mut self,
        generation: Generation,
        estimates: Vec<(EstimateKey, Result<Estimate, String>)>,
        finished: bool,
    ) -> Vec<Effect> {
        if generation != self.generation {
            return Vec::new();
        }
        let Some(project) = self.project_mut() else {
            return Vec::new();
        };
        for (key, estimate) in estimates {
            project.estimates.insert(key, estimate);
        }
        if finished {
            project.estimating = None;
            project.estimates.forget_asked();
        }
        self.refresh()
    }

    pub(super) fn previewed(
        &mut self,
        question: u64,
        layer: usize,
        result: Result<Arc<Preview>, String>,
        finished: bool,
    ) {
        let Some(project) = self.project_mut() else {
            return;
        };
        let preview = &mut project.preview;
        if question != preview.question {
            return;
        }
        let asked = preview.asked.iter().find(|(asked, _)| *asked == layer);
        if let Some(&(_, settings)) = asked {
            preview.answers.insert(layer, (settings, result));
        }
        if finished {
            preview.unfinished.remove(&layer);
        }
        preview.busy = !preview.unfinished.is_empty();
    }

    /// Gathers statistics of inputs, or only looks whether they are there. The sample's are gathered at once: it takes a
    /// second.
    pub(super) fn calibrate(&mut self, only_find: bool) -> Vec<Effect> {
        let generation = self.generation;
        let Some(project) = self.project_mut() else {
            return Vec::new();
        };
        if project.why_no_calibration().is_some() {
            return Vec::new();
        }
        let control = Arc::new(Control::default());
        project.inputs = Inputs::Gathering(control.clone());
        vec![Effect::Start(Job::Calibrate {
            generation,
            session: project.session.clone(),
            settings: project.draft().calibration.clone(),
            only_find: only_find && !project.is_sample,
            control,
        })]
    }

    pub(super) fn calibrated(
        &mut self,
        generation: Generation,
        result: Outcome<Arc<OriginalInputs>>,
    ) -> Vec<Effect> {
        let is_current = generation == self.generation;
        let Some(project) = self.project_mut().filter(|_| is_current) else {
            return Vec::new();
        };
        match result {
            Outcome::Done(inputs) => {
                project.inputs = Inputs::Ready(inputs);
                if let Some(control) = project.estimating.take() {
                    control.stop();
                }
                project.estimates.clear();
                project.preview.asked.clear();
                self.refresh()
            }
            Outcome::Stopped => {
                project.inputs = Inputs::None;
                Vec::new()
            }
            Outcome::Failed(reason) => {
                project.inputs = Inputs::Failed(reason.clone());
                vec![self.tell(Level::Error, reason)]
            }
        }
    }
}

/// Every layer as chosen, selected ones first; then at every option.
fn wishes(project: &Project) -> Vec<(usize, LayerSettings)> {
    let draft = project.draft();
    let mut layers: Vec<usize> = (0..project.layers.len())
        .filter(|&layer| project.layers[layer].compressible)
        .collect();
    layers.sort_by_key(|&layer| !project.selection.contains(layer));
    let chosen = layers.iter().map(|&layer| (layer, draft.settings[layer]));
    let chosen = chosen.filter(|(_, settings)| settings.method != Method::None);
    let options = OPTION_BITS.into_iter().flat_map(|bits| {
        layers
            .iter()
            .map(move |&layer| (layer, option(draft.template, bits)))
    });
    chosen.chain(options).collect()
}
