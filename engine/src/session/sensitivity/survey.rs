//! A sensitivity table in the making: which layers are judged, what is known of them, what is missing, and its notes in
//! the cache.
//!
//! A layer's note is named by the text that is scored and by the settings that options do not change, so that a draft
//! whose bits change finds its table again.

use super::super::choose_requests::SensitivityRequest;
use super::super::original_inputs::OriginalInputs;
use super::super::scored_text::ScoredText;
use super::super::{Session, SessionError};
use super::judged::{
    asked_options, in_order, judged_layers, key_of, settings_of, unchanged, with_inputs_of,
};
use crate::formats::layout::stored_bytes;
use crate::model::{LayerInfo, LayerKind};
use crate::recipe::Recipe;
use crate::report::{Anchor, LayerSensitivity, Measure, OptionError, SensitivityTable};
use crate::sensitivity::{OutputGains, StoredRow, rounded};
use crate::settings::{Activations, KvCache, LayerOption, LayerSettings, Rank};
use crate::solved::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Part of every name of a note: raised when what is kept, or how it is made, changes.
pub(super) const NOTES_VERSION: &str = "sensitivity-1";

/// One layer that is judged.
#[derive(Debug)]
pub(super) struct Judging {
    /// Index into the model's list.
    pub(super) layer: usize,
    /// Its settings, which options change.
    pub(super) base: LayerSettings,
    /// What is known of it.
    pub(super) row: StoredRow,
    /// The name of its note.
    pub(super) note: String,
}

/// Whose errors: those of plain rounding, or of the method that the recipe asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Rounding,
    Own,
}

/// A table in the making.
#[derive(Debug)]
pub(super) struct Survey<'a> {
    pub(super) session: &'a Session,
    pub(super) request: &'a SensitivityRequest,
    pub(super) inputs: OriginalInputs,
    pub(super) text: ScoredText,
    pub(super) options: Vec<LayerOption>,
    pub(super) judging: Vec<Judging>,
    pub(super) anchors: Vec<Anchor>,
    pub(super) gains: OutputGains,
    /// What names every note of this text.
    key: String,
}

impl<'a> Survey<'a> {
    /// With all that is kept.
    pub(super) fn new(
        session: &'a Session,
        request: &'a SensitivityRequest,
        inputs: OriginalInputs,
        text: ScoredText,
    ) -> Result<Self, SessionError> {
        let method = request.recipe.default.method;
        if matches!(
            method,
            Method::None | Method::Nf4 | Method::Palette | Method::Float
        ) {
            return Err(session.input_problem(&format!(
                "method {} has no bits to choose; take rtn, gptq, awq or hqq",
                method.word()
            )));
        }
        let key = key_of(&(NOTES_VERSION, text.fingerprint()));
        text.check()
            .map_err(|problem| session.input_problem(problem))?;
        let judging = judged_layers(session, request, &inputs, &key);
        if judging.is_empty() {
            return Err(session.input_problem(
                "no layer can be judged: the recipe leaves all as they are, or the model has no linear layer",
            ));
        }
        let mut survey = Self {
            session,
            request,
            options: in_order(&asked_options(request)),
            inputs,
            text,
            judging,
            anchors: Vec::new(),
            gains: OutputGains::new(),
            key,
        };
        survey.anchors = survey.kept(&survey.anchors_note());
        for anchor in &mut survey.anchors {
            anchor.loss = rounded(anchor.loss);
        }
        Ok(survey)
    }

    /// All that is known.
    pub(super) fn table(&self) -> SensitivityTable {
        let asked = &self.request.effort.anchors;
        let anchors = self.anchors.iter().copied();
        SensitivityTable {
            measure: self.text.measure(),
            method: self.request.recipe.default.method,
            options: self.options.clone(),
            layers: self
                .judging
                .iter()
                .map(|judging| self.row(judging))
                .collect(),
            anchors: anchors
                .filter(|anchor| asked.contains(&anchor.option))
                .collect(),
            scored: self.text.scored(),
        }
    }

    /// One row of it.
    pub(super) fn row(&self, judging: &Judging) -> LayerSensitivity {
        let info = &self.session.layers[judging.layer];
        let own = self.method(judging, self.asked());
        let probes = self.request.effort.probes.iter();
        LayerSensitivity {
            layer: judging.layer,
            name: info.name.clone(),
            weights: info.parameters,
            errors: self
                .options
                .iter()
                .map(|&option| self.error(judging, option))
                .collect(),
            probes: probes
                .filter_map(|&option| judging.row.probe(option, own))
                .collect(),
        }
    }

    fn error(&self, judging: &Judging, option: LayerOption) -> Option<OptionError> {
        let info = &self.session.layers[judging.layer];
        let own = self.method(judging, self.asked());
        let rounding = self.method(judging, By::Rounding);
        let known = |method| judging.row.cell(option, method, false);
        let error = match option {
            LayerOption::Dense => Some(unchanged()),
            _ => known(own).or_else(|| known(rounding)),
        };
        let settings = option.apply(&judging.base, own);
        let bytes = stored_bytes(self.request.format, info, &settings);
        error.map(|error| OptionError {
            bytes,
            // What another question left would be one layer's alone.
            gradient_loss: error.gradient_loss.filter(|_| self.request.effort.gradient),
            ..error
        })
    }

    /// Whose errors are asked.
    pub(super) fn asked(&self) -> By {
        match self.request.effort.own_method {
            true => By::Own,
            false => By::Rounding,
        }
    }

    /// The method that judges a layer.
    pub(super) fn method(&self, judging: &Judging, by: By) -> Method {
        match by {
            By::Rounding => Method::Rtn,
            By::Own => judging.base.method,
        }
    }

    /// Options whose error under `method` is not known.
    pub(super) fn cells_missing(&self, judging: &Judging, method: Method) -> Vec<LayerOption> {
        let own = self.method(judging, self.asked());
        let with_gradient = self.has_gradient(judging);
        let known = |option, method| judging.row.cell(option, method, with_gradient).is_some();
        // Rounding stands in only until the method's own error is there.
        let missing = |&option: &LayerOption| !known(option, method) && !known(option, own);
        self.changes(judging).filter(missing).collect()
    }

    /// Options at which the loss with this layer alone changed is asked and not known.
    pub(super) fn probes_missing(&self, judging: &Judging) -> Vec<LayerOption> {
        let own = self.method(judging, self.asked());
        let wanted = in_order(&self.request.effort.probes).into_iter();
        let missing = |&option: &LayerOption| {
            self.changes_by(judging, option) && judging.row.probe(option, own).is_none()
        };
        wanted.filter(missing).collect()
    }

    /// Cells whose error by the asked method is known.
    pub(super) fn cells_known(&self) -> usize {
        let known = |judging: &Judging| {
            let own = self.method(judging, self.asked());
            let cells = self
                .changes(judging)
                .filter(|&option| judging.row.cell(option, own, false).is_some());
            cells.count()
        };
        self.judging.iter().map(known).sum()
    }

    /// Cells of which anything is known.
    pub(super) fn has_cells(&self) -> bool {
        self.judging.iter().any(|judging| {
            self.changes(judging)
                .any(|option| self.error(judging, option).is_some())
        })
    }

    /// Whether a gradient pass weighs a layer's errors: an embedding has no output that a gradient could weigh.
    pub(super) fn has_gradient(&self, judging: &Judging) -> bool {
        let is_embedding = self.session.layers[judging.layer].kind == LayerKind::Embedding;
        let is_weighed = self.gains.is_empty() || self.gains_of(judging).is_some();
        self.request.effort.gradient && !is_embedding && is_weighed
    }

    /// What weighs the errors of a layer's outputs.
    pub(super) fn gains_of(&self, judging: &Judging) -> Option<&[f64]> {
        self.gains.get(judging.layer)?.as_deref()
    }

    /// The recipe with every judged layer at `option`, and all others as they are.
    pub(super) fn recipe_with(&self, option: LayerOption) -> Recipe {
        let layers = &self.session.layers;
        let mut settings = settings_of(&self.request.recipe, layers);
        for judging in &self.judging {
            if option != LayerOption::Dense && !self.changes_by(judging, option) {
                continue;
            }
            let chosen = option.apply(&judging.base, judging.base.method);
            settings[judging.layer] = with_inputs_of(&settings[judging.layer], chosen);
        }
        self.request.recipe.saying(layers, &settings)
    }

    /// What is told of a recipe that rounds more than weights: layers alone are judged by their weights, and only whole
    /// models are run as the recipe says.
    pub(super) fn uncounted(&self) -> Option<String> {
        let recipe = &self.request.recipe;
        let settings = settings_of(recipe, &self.session.layers);
        let judged = self.judging.iter().map(|judging| settings[judging.layer]);
        let modes = judged.map(|settings| settings.activations);
        let mode = modes.max_by_key(|mode| *mode != Activations::None)?;
        let mut rounded = Vec::new();
        if mode != Activations::None {
            rounded.push(format!("inputs (activations {})", mode.word()));
        }
        if recipe.kv_cache != KvCache::F32 && self.text.measure() == Measure::Kl {
            let word = recipe.kv_cache.word();
            rounded.push(format!("keys and values (kv_cache {word})"));
        }
        let counted = match self.request.effort.anchors.is_empty() {
            true => "no whole model is measured, so predicted losses leave that out",
            false => "only the whole models that are measured count that",
        };
        (!rounded.is_empty()).then(|| {
            let rounded = rounded.join(" and ");
            format!("layers are judged by their weights alone; the recipe rounds {rounded} too, and {counted}")
        })
    }

    /// What is told of a recipe with zeros or factors where no option has any: options say all of what a layer's weights
    /// become.
    pub(super) fn left_out(&self) -> Option<String> {
        let mut bases = self.judging.iter().map(|judging| judging.base);
        let base = bases.find(|base| !base.prune.is_none() || base.rank != Rank::None)?;
        let says_more = |option: &LayerOption| {
            matches!(
                option,
                LayerOption::Pruned { .. } | LayerOption::LowRank { .. }
            )
        };
        if base.prune.is_none() {
            let text = "the recipe asks for factors beside codes, which no option can say: layers that are chosen for lose them";
            return Some(text.to_owned());
        }
        (!self.options.iter().any(says_more)).then(|| {
            format!(
                "the recipe asks for zeros, and no option that is judged has any: layers that are chosen for lose them; name options with zeros, such as {}/{}@2:4",
                base.bits, base.group
            )
        })
    }

    pub(super) fn anchors_note(&self) -> String {
        // Whole models: what the layers that are not judged have counts too.
        let recipe = &self.request.recipe;
        let mut named: Vec<(bool, LayerSettings)> = settings_of(recipe, &self.session.layers)
            .into_iter()
            .map(|settings| (false, settings))
            .collect();
        for judging in &self.judging {
            let base = LayerSettings {
                bits: 0,
                group: 0,
                ..judging.base
            };
            let (is_judged, settings) = &mut named[judging.layer];
            *settings = with_inputs_of(settings, base);
            *is_judged = true;
        }
        let key = key_of(&(&self.key, named, recipe.kv_cache));
        format!("{NOTES_VERSION}-anchors-{key}")
    }

    pub(super) fn gains_note(&self) -> String {
        let seed = self.request.recipe.calibration.seed;
        format!("{NOTES_VERSION}-gains-{}", key_of(&(&self.key, seed)))
    }

    /// Gains that an earlier pass left; none where they do not fit the model.
    pub(super) fn kept_gains(&self) -> OutputGains {
        let mut gains: OutputGains = self.kept(&self.gains_note());
        for gain in gains.iter_mut().flatten().flatten() {
            *gain = rounded(*gain);
        }
        let layers = &self.session.layers;
        let fits = |(gains, info): (&Option<Vec<f64>>, &LayerInfo)| {
            gains.as_ref().is_none_or(|gains| {
                let are_gains = gains.iter().all(|gain| gain.is_finite() && *gain >= 0.0);
                gains.len() == info.rows && are_gains
            })
        };
        match gains.len() == layers.len() && gains.iter().zip(layers).all(fits) {
            true => gains,
            false => OutputGains::new(),
        }
    }

    /// What a note says; the empty value where it is absent or damaged.
    pub(super) fn kept<T: DeserializeOwned + Default>(&self, note: &str) -> T {
        let bytes = self.inputs.note(note);
        let read = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        read.unwrap_or_default()
    }

    pub(super) fn keep<T: Serialize + ?Sized>(
        &self,
        note: &str,
        value: &T,
    ) -> Result<(), SessionError> {
        let bytes = serde_json::to_vec(value).expect("numbers and words can be written");
        self.inputs.keep_note(note, &bytes)
    }

    /// The options that change a layer.
    fn changes(&self, judging: &Judging) -> impl Iterator<Item = LayerOption> {
        let options = self.options.iter().copied();
        options.filter(|&option| self.changes_by(judging, option))
    }

    /// Whether an option changes a layer. Zeros and factors are chosen by what a layer sees, which outside blocks nobody
    /// gathers.
    fn changes_by(&self, judging: &Judging, option: LayerOption) -> bool {
        let is_inner = self.inputs.stage_of(judging.layer).is_some();
        match option {
            LayerOption::Dense => false,
            LayerOption::Grid { .. } => true,
            LayerOption::Pruned { .. } | LayerOption::LowRank { .. } => is_inner,
        }
    }
}
