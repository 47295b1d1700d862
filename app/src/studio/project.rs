//! An open model: what is chosen, what is known, what is selected. Questions about it; changes happen in `update`.

use super::draft::{self, Draft, LayerEdit};
use super::estimates::Estimates;
use super::figure::{Figure, Mark};
use super::filter::Filter;
use super::history::History;
use super::latency::Latency;
use super::proposal::{BudgetRules, Proposal};
use super::quality::Outlook;
use super::rows::{LayerFigures, Rows, Sort};
use super::runs::Control;
use super::selection::Selection;
use super::sensitivity::Sensitivity;
use super::similarity::Similarity;
use super::smaller::Smaller;
use super::train::{Foresight, TrainDraft};
use pare_engine::model::LayerInfo;
use pare_engine::preview::Preview;
use pare_engine::recipe::{LayerSettings, role_word};
use pare_engine::report::LayerReport;
use pare_engine::session::{DistillRequest, Inspection, OriginalInputs, Session};
use pare_engine::solved::Method;
use pare_engine::units::{BitsPerWeight, Bytes};
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

/// An open model and all that is chosen and known about it.
#[derive(Debug)]
pub struct Project {
    /// As it was named: a path or `sample`.
    pub path: PathBuf,
    /// A short name for people.
    pub name: String,
    /// Whether it is the built-in sample.
    pub is_sample: bool,
    /// The engine's model.
    pub session: Arc<Session>,
    /// What is in it.
    pub inspection: Arc<Inspection>,
    /// Every tensor; all indices point here.
    pub layers: Arc<Vec<LayerInfo>>,
    /// Drafts, done and undone.
    pub history: History,
    /// The draft as last saved or opened: what the dirty mark compares with.
    pub saved: Arc<Draft>,
    /// The file it was saved to or opened from.
    pub recipe_file: Option<PathBuf>,
    /// Selected layers.
    pub selection: Selection,
    /// The layer under the pointer, in any view.
    pub hovered: Option<usize>,
    /// The filter as typed.
    pub filter_text: String,
    /// The last filter that made sense.
    pub filter: Filter,
    /// What is wrong with the text typed.
    pub filter_problem: Option<String>,
    /// Order of rows.
    pub sort: Sort,
    /// Blocks folded away.
    pub folded: BTreeSet<Option<usize>>,
    /// The rows of the table.
    pub rows: Rows,
    /// Figures of every layer.
    pub figures: Vec<LayerFigures>,
    /// Totals over the model.
    pub totals: Totals,
    /// Totals over the selection.
    pub selected_totals: Totals,
    /// Errors estimated.
    pub estimates: Estimates,
    /// How little each block changes what passes through it.
    pub similarity: Similarity,
    /// Bytes of drafts that take parts out of the network.
    pub smaller: Smaller,
    /// Speed and memory of the draft on the chosen device.
    pub latency: Latency,
    /// Size against quality: baselines, runs, the last draft.
    pub outlook: Outlook,
    /// How much each layer hurts.
    pub sensitivity: Sensitivity,
    /// The budget last set: stored bytes of all compressible layers.
    pub budget_bytes: Option<u64>,
    /// The budget last set, where it was one of time: seconds of a token on the chosen device.
    pub budget_seconds: Option<f64>,
    /// What proposals must keep to.
    pub budget_rules: BudgetRules,
    /// Bits proposed within the budget, not yet in the draft.
    pub proposal: Option<Proposal>,
    /// Proposals made so far.
    pub proposals: u64,
    /// Errors measured by runs, with the settings they are for.
    pub measured: HashMap<usize, (LayerSettings, LayerReport)>,
    /// The estimate job at work.
    pub estimating: Option<Arc<Control>>,
    /// Previews by layer: the newest answer, and what was asked.
    pub preview: PreviewState,
    /// Statistics of inputs.
    pub inputs: Inputs,
    /// What is to be trained next, with this model as the first teacher.
    pub train: TrainDraft,
    /// What that would take.
    pub foresight: Foreseen,
    /// Rules that hit nothing and the like, from the recipe opened.
    pub warnings: Vec<String>,
}

/// What is foreseen of a training, and what was asked last.
#[derive(Debug, Default)]
pub struct Foreseen {
    /// What was asked last.
    pub asked: Option<Box<DistillRequest>>,
    /// The job at work.
    pub control: Option<Arc<Control>>,
    /// The newest answer.
    pub answer: Option<Result<Foresight, String>>,
}

/// Sums over layers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Totals {
    /// Layers summed.
    pub layers: usize,
    /// Weights.
    pub weights: u64,
    /// Bytes before.
    pub bytes_before: u64,
    /// Bytes to be written.
    pub bytes_after: u64,
    /// How they are known.
    pub bytes_mark: Mark,
    /// Weights of the layers that are not kept dense.
    pub compressed_weights: u64,
    /// Bytes to be written of those.
    pub compressed_bytes: u64,
    /// Root of the mean squared relative error over layers, weighted by weights; `None` while any is unknown.
    pub error: Option<Figure>,
    /// Seconds of each token written that the layers take; `None` while any is unknown.
    pub latency: Option<Figure>,
}

impl Totals {
    /// Stored bits for each weight over the layers that are not kept dense, as runs report it; over all where all are.
    pub fn bits_per_weight(&self) -> f64 {
        match self.compressed_weights {
            0 => BitsPerWeight::of(Bytes(self.bytes_after), self.weights).0,
            weights => BitsPerWeight::of(Bytes(self.compressed_bytes), weights).0,
        }
    }
}

/// The inspector's previews.
#[derive(Debug, Clone, Default)]
pub struct PreviewState {
    /// The question last asked.
    pub question: u64,
    /// What was asked: layer and settings.
    pub asked: Vec<(usize, LayerSettings)>,
    /// The newest answers, by layer.
    pub answers: HashMap<usize, Answer>,
    /// Whether better answers are on their way.
    pub busy: bool,
    /// Ends the job at work.
    pub control: Option<Arc<Control>>,
}

/// How much work went into a preview.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Some rows, by a quick stand-in of the method.
    Sampled,
    /// All rows, by a quick stand-in of the method.
    Whole,
    /// All rows, by the method itself.
    Exact,
}

/// A preview and what it is about.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The question that it answers: grows with each, so that it names what is shown.
    pub question: u64,
    /// The settings that it is for.
    pub settings: LayerSettings,
    /// How much work went into it.
    pub stage: Stage,
    /// Whether no better answer follows.
    pub is_last: bool,
    /// Whether other inputs are known since.
    pub is_outdated: bool,
    /// The preview.
    pub result: Result<Arc<Preview>, String>,
}

/// Statistics of inputs: what output errors and GPTQ previews need.
#[derive(Debug, Clone, Default)]
pub enum Inputs {
    /// Nobody asked, or there is no text.
    #[default]
    None,
    /// On their way.
    Gathering(Arc<Control>),
    /// There.
    Ready(Arc<OriginalInputs>),
    /// They could not be gathered; the words are for people.
    Failed(String),
}

impl Project {
    /// The draft in force.
    pub fn draft(&self) -> &Arc<Draft> {
        self.history.draft()
    }

    /// Bytes of all tensors before and after, those that nothing compresses included.
    pub fn bytes(&self) -> (u64, u64) {
        let sum = |(before, after), figures: &LayerFigures| {
            (before + figures.bytes_before, after + figures.bytes_after)
        };
        self.figures.iter().fold((0, 0), sum)
    }

    /// Bytes of all tensors that the draft in force would write; where parts are taken out of the network or weights decide,
    /// as a dry run tells, and `None` while that is at work.
    pub fn planned_bytes(&self) -> Option<Result<u64, String>> {
        match self.draft().waits_for_plan() {
            false => Some(Ok(self.bytes().1)),
            true => self.smaller.now().cloned(),
        }
    }

    /// Whether the draft differs from what was saved.
    pub fn is_dirty(&self) -> bool {
        *self.draft().as_ref() != *self.saved.as_ref()
    }

    /// Statistics of inputs, where gathered.
    pub fn inputs(&self) -> Option<&Arc<OriginalInputs>> {
        match &self.inputs {
            Inputs::Ready(inputs) => Some(inputs),
            _ => None,
        }
    }

    /// Why the draft cannot be run, if it cannot.
    pub fn why_no_run(&self) -> Option<String> {
        if self.layers.iter().all(|layer| !layer.compressible) {
            return Some("This model has no layer that can be compressed".to_owned());
        }
        if self.draft().needs_text() && self.draft().calibration.corpus.is_none() {
            return Some(
                "GPTQ, AWQ, Wanda, SparseGPT and what is fitted need a calibration text; choose one in the Run view".to_owned(),
            );
        }
        if self.draft().needs_text()
            && let Some(reason) = &self.inspection.reason
        {
            return Some(format!(
                "What looks at inputs (GPTQ, AWQ, Wanda, SparseGPT) needs to run the network: {reason}"
            ));
        }
        None
    }

    /// Why inputs cannot be gathered, if they cannot.
    pub fn why_no_calibration(&self) -> Option<String> {
        if let Some(reason) = &self.inspection.reason {
            return Some(format!("The network cannot be run: {reason}"));
        }
        match (&self.draft().calibration.corpus, &self.inputs) {
            (None, _) => Some("No calibration text is chosen".to_owned()),
            (_, Inputs::Gathering(_)) => Some("Calibration is at work".to_owned()),
            _ => None,
        }
    }

    /// Why sensitivity cannot be measured, if it cannot.
    pub fn why_no_sensitivity(&self) -> Option<String> {
        if let Some(reason) = &self.inspection.reason {
            return Some(format!("The network cannot be run: {reason}"));
        }
        if self.draft().calibration.corpus.is_none() {
            return Some("No calibration text is chosen".to_owned());
        }
        let is_measuring = self.sensitivity.is_measuring();
        is_measuring.then(|| "Sensitivity is being measured".to_owned())
    }

    /// Why no proposal can be applied, if none can.
    pub fn why_no_apply(&self) -> Option<String> {
        match &self.proposal {
            None => Some("No bits are proposed; set a budget in the trade-off".to_owned()),
            Some(proposal) if proposal.changes.is_empty() => {
                Some("The draft has the proposed bits already".to_owned())
            }
            Some(_) => None,
        }
    }

    /// The newest preview of `layer`, and whether it is about what is chosen and known now.
    pub fn answer(&self, layer: usize) -> Option<(&Answer, bool)> {
        let answer = self.preview.answers.get(&layer)?;
        let is_fresh = !answer.is_outdated && answer.settings == self.draft().settings[layer];
        Some((answer, is_fresh))
    }

    /// What a run measured of `layer` with exactly the settings chosen now.
    pub fn measured_now(&self, layer: usize) -> Option<&LayerReport> {
        let (settings, report) = self.measured.get(&layer)?;
        (*settings == self.draft().settings[layer]).then_some(report)
    }

    /// The error of `layer` under `settings`: measured where a run had them, else estimated; `None` where neither is known.
    pub fn error_under(&self, layer: usize, settings: &LayerSettings) -> Option<Figure> {
        if settings.method == Method::None {
            return Some(Figure::exact(0.0));
        }
        if let Some((measured_for, report)) = self.measured.get(&layer)
            && measured_for == settings
            && let Some(error) = report.relative_output_error
        {
            return Some(Figure::measured(error));
        }
        match self.estimates.get(layer, settings) {
            Some(Ok(estimate)) => Some(Figure::estimated(estimate.relative_error)),
            _ => None,
        }
    }

    /// `layer` as it would be at `bits`.
    pub fn option(&self, layer: usize, bits: u8) -> LayerSettings {
        let draft = self.draft();
        let edit = LayerEdit::Bits(bits);
        let settings = edit.apply(draft.settings[layer], &draft.template);
        draft::possible(&self.layers[layer], settings)
    }

    /// `layer` as it would be with such a share of zeros.
    pub fn with_zeros(&self, layer: usize, share: f64) -> LayerSettings {
        let draft = self.draft();
        let edit = LayerEdit::Sparsity(share);
        let settings = edit.apply(draft.settings[layer], &draft.template);
        draft::possible(&self.layers[layer], settings)
    }

    /// Inputs known or on their way are about another text, or gone.
    pub fn forget_inputs(&mut self) {
        if let Inputs::Gathering(control) = &self.inputs {
            control.stop();
        }
        self.inputs = Inputs::None;
        if let Similarity::Measuring(control) = std::mem::take(&mut self.similarity) {
            control.stop();
        }
        self.inputs_changed();
    }

    /// Other inputs are known, or none any more: estimates and previews are asked for anew, and late answers do not count.
    pub fn inputs_changed(&mut self) {
        if let Some(control) = self.estimating.take() {
            control.stop();
        }
        self.estimates.clear();
        if let Some(control) = self.preview.control.take() {
            control.stop();
        }
        self.preview.asked.clear();
        for answer in self.preview.answers.values_mut() {
            answer.is_outdated = true;
        }
    }

    /// Layers with the same last word in their names, in all blocks.
    pub fn same_role(&self, layer: usize) -> Vec<usize> {
        let word = role_word(&self.layers[layer].name);
        let fits = |other: &LayerInfo| other.compressible && role_word(&other.name) == word;
        (0..self.layers.len())
            .filter(|&other| fits(&self.layers[other]))
            .collect()
    }

    /// The draft with every inner layer at `bits`; locked layers stay.
    pub fn uniform(&self, bits: u8) -> Draft {
        let inner: Vec<usize> = (0..self.layers.len())
            .filter(|&layer| self.layers[layer].block.is_some())
            .collect();
        let draft = self.draft();
        let is_dense = |&layer: &usize| draft.settings[layer].method == Method::None;
        let dense: Vec<usize> = inner.iter().copied().filter(is_dense).collect();
        let template = LayerEdit::Paste(draft.template);
        let (woken, _) = draft.edited(&self.layers, &dense, template);
        woken.edited(&self.layers, &inner, LayerEdit::Bits(bits)).0
    }
}
