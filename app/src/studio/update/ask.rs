//! What is asked of the background lanes as the draft and the selection change, and how answers come in.

use crate::studio::effect::{Effect, Job};
use crate::studio::estimates::{EstimateKey, MOST_PREVIEWS, OPTION_BITS};
use crate::studio::event::{Generation, Outcome};
use crate::studio::log::Level;
use crate::studio::project::{Answer, Inputs, Project, Stage};
use crate::studio::runs::Control;
use crate::studio::sparse;
use crate::studio::state::Studio;
use pare_engine::preview::Estimate;
use pare_engine::recipe::LayerSettings;
use pare_engine::session::OriginalInputs;
use pare_engine::solved::Method;
use std::sync::Arc;

/// Previews kept, those shown and those seen before.
const MOST_ANSWERS: usize = 64;

impl Studio {
    /// Asks for estimates of what is chosen, then of every layer in every baseline. A job at work goes on unless something
    /// that is looked at now would have to wait for it.
    pub(super) fn ask_estimates(&mut self) -> Vec<Effect> {
        let generation = self.generation;
        let Some(project) = self.project_mut() else {
            return Vec::new();
        };
        if let Some(control) = &project.estimating {
            if !is_urgent(project) {
                return Vec::new();
            }
            control.stop();
        }
        let job = project.estimates.begin(looked_at(project));
        let wanted = wishes(project);
        let wanted = project.estimates.ask(wanted.into_iter());
        if wanted.is_empty() {
            project.estimating = None;
            return Vec::new();
        }
        let control = Arc::new(Control::default());
        project.estimating = Some(control.clone());
        vec![Effect::Start(Job::Estimate {
            generation,
            job,
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
        let asked: Vec<(usize, LayerSettings)> = looked_at(project)
            .into_iter()
            .map(|layer| (layer, draft.settings[layer]))
            .collect();
        if asked == project.preview.asked {
            return Vec::new();
        }
        if let Some(control) = project.preview.control.take() {
            control.stop();
        }
        let preview = &mut project.preview;
        preview.asked = asked.clone();
        preview.question += 1;
        preview.busy = !asked.is_empty();
        if preview.answers.len() > MOST_ANSWERS {
            let is_asked = |layer: &usize| asked.iter().any(|(asked, _)| asked == layer);
            preview.answers.retain(|layer, _| is_asked(layer));
        }
        let control = Arc::new(Control::default());
        preview.control = Some(control.clone());
        let question = preview.question;
        // The method itself takes long: several layers are compared by what is quick.
        let until = match asked.len() {
            1 => Stage::Exact,
            _ => Stage::Whole,
        };
        let (session, inputs) = (&project.session, project.inputs());
        let job = |(layer, settings)| {
            Effect::Start(Job::Preview {
                generation,
                question,
                session: session.clone(),
                inputs: inputs.cloned(),
                layer,
                settings,
                until,
                control: control.clone(),
            })
        };
        asked.into_iter().map(job).collect()
    }

    pub(super) fn estimated(
        &mut self,
        generation: Generation,
        job: u64,
        estimates: Vec<(EstimateKey, Result<Estimate, String>)>,
        finished: bool,
    ) -> Vec<Effect> {
        let is_current = generation == self.generation;
        let Some(project) = self.project_mut().filter(|_| is_current) else {
            return Vec::new();
        };
        if !project.estimates.is_valid(job) {
            return Vec::new();
        }
        for (key, estimate) in estimates {
            project.estimates.insert(key, estimate);
        }
        if finished && project.estimates.is_newest(job) {
            project.estimating = None;
            project.estimates.forget_asked();
        }
        self.refresh()
    }

    pub(super) fn previewed(
        &mut self,
        generation: Generation,
        layer: usize,
        answer: Answer,
    ) -> Vec<Effect> {
        let is_current = generation == self.generation;
        let Some(project) = self.project_mut().filter(|_| is_current) else {
            return Vec::new();
        };
        let preview = &mut project.preview;
        if answer.question != preview.question {
            return Vec::new();
        }
        preview.answers.insert(layer, answer);
        let (question, answers) = (preview.question, &preview.answers);
        let is_answered = |layer: &usize| {
            let answer = answers.get(layer);
            answer.is_some_and(|answer| answer.question == question && answer.is_last)
        };
        preview.busy = !preview.asked.iter().all(|(layer, _)| is_answered(layer));
        Vec::new()
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
        control: &Control,
        result: Outcome<Arc<OriginalInputs>>,
    ) -> Vec<Effect> {
        let is_current = generation == self.generation && !control.is_stopped();
        let Some(project) = self.project_mut().filter(|_| is_current) else {
            return Vec::new();
        };
        match result {
            Outcome::Done(inputs) => {
                project.inputs = Inputs::Ready(inputs);
                project.inputs_changed();
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

/// The selected layers that are previewed: the one at the cursor first.
fn looked_at(project: &Project) -> Vec<usize> {
    let mut layers = project.selection.layers();
    layers.retain(|&layer| project.layers[layer].compressible);
    if let Some(cursor) = project.selection.cursor() {
        layers.sort_by_key(|&layer| layer != cursor);
    }
    layers.truncate(MOST_PREVIEWS);
    layers
}

/// `layers` as chosen, but for dense ones, whose error is known.
fn chosen<'a>(
    project: &'a Project,
    layers: impl IntoIterator<Item = usize> + 'a,
) -> impl Iterator<Item = (usize, LayerSettings)> + 'a {
    let settings = &project.draft().settings;
    let chosen = layers
        .into_iter()
        .map(move |layer| (layer, settings[layer]));
    chosen.filter(|(_, settings)| settings.method != Method::None)
}

/// Each layer looked at, at all bits that it could have.
fn own_options(
    project: &Project,
    layers: Vec<usize>,
) -> impl Iterator<Item = (usize, LayerSettings)> {
    layers
        .into_iter()
        .flat_map(|layer| OPTION_BITS.map(|bits| (layer, project.option(layer, bits))))
}

/// Each layer looked at that is pruned, with more and fewer zeros.
fn own_zeros(
    project: &Project,
    layers: Vec<usize>,
) -> impl Iterator<Item = (usize, LayerSettings)> {
    let draft = project.draft();
    layers.into_iter().flat_map(move |layer| {
        let zeros = sparse::zeros_of(&draft.settings[layer]);
        let shares = zeros.map_or_else(Vec::new, |zeros| sparse::shares(zeros.pattern));
        let with = move |share| (layer, project.with_zeros(layer, share));
        shares.into_iter().map(with)
    })
}

/// Each inner layer as in every baseline, one layer after the other: a layer is read once for all of them.
fn baselines(project: &Project) -> impl Iterator<Item = (usize, LayerSettings)> {
    let baselines = &project.outlook.baselines;
    let quantized = |(_, settings): &(usize, LayerSettings)| settings.method != Method::None;
    compressible(project)
        .into_iter()
        .flat_map(|layer| {
            baselines
                .iter()
                .map(move |base| (layer, base.settings[layer]))
        })
        .filter(quantized)
}

/// What a person waits for: the layers looked at, chosen settings first; then what the totals need.
fn front(project: &Project) -> Vec<(usize, LayerSettings)> {
    let looked_at = looked_at(project);
    let mut wishes: Vec<_> = chosen(project, looked_at.clone()).collect();
    wishes.extend(own_options(project, looked_at.clone()));
    wishes.extend(own_zeros(project, looked_at));
    wishes.extend(chosen(project, compressible(project)));
    wishes
}

/// What a person waits for, then every layer as in every baseline.
fn wishes(project: &Project) -> Vec<(usize, LayerSettings)> {
    let mut wishes = front(project);
    wishes.extend(baselines(project));
    wishes
}

fn compressible(project: &Project) -> Vec<usize> {
    let layers = 0..project.layers.len();
    layers
        .filter(|&layer| project.layers[layer].compressible)
        .collect()
}

/// Whether something that a person waits for is not asked for, or stands behind what nobody looks at any more.
fn is_urgent(project: &Project) -> bool {
    let estimates = &project.estimates;
    let now = looked_at(project);
    let has_moved = estimates.looked_at() != now;
    front(project).iter().any(|(layer, settings)| {
        let waits_behind = has_moved && now.contains(layer);
        let is_known = estimates.get(*layer, settings).is_some();
        !is_known && (waits_behind || !estimates.is_asked(*layer, settings))
    })
}

#[cfg(test)]
mod tests;
