//! What a person has chosen so far: settings of every layer, the text that calibrates, the container.
//!
//! A draft is a value: edits make a new one. Knows no rules (`compose` turns drafts into recipes and back), no undo and
//! no screen.

pub use super::layer_edit::LayerEdit;
use super::sparse;
use pare_engine::compress::need_of;
use pare_engine::formats::{Format, layout};
use pare_engine::model::{LayerInfo, LayerKind};
use pare_engine::recipe::{
    BlockChoice, CalibrationSettings, LayerSettings, PruneMethod, Structure,
};
use pare_engine::settings::{Activations, KvCache};
use pare_engine::solved::Method;
use std::path::PathBuf;

/// Fewest bits of a code.
pub const MIN_BITS: u8 = 2;
/// Most bits of a code.
pub const MAX_BITS: u8 = 8;
/// Group sizes that a person can pick; 0 is a whole row.
pub const GROUPS: [usize; 6] = [0, 32, 64, 128, 256, 512];

/// Everything that decides the bytes of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// One for each layer of the model, in its order; `Method::None` keeps a layer as it is.
    pub settings: Vec<LayerSettings>,
    /// Layers that edits leave alone.
    pub locked: Vec<bool>,
    /// What a layer gets that is quantized for the first time.
    pub template: LayerSettings,
    /// Which text calibrates.
    pub calibration: CalibrationSettings,
    /// The text that measures, if any.
    pub evaluation: Option<PathBuf>,
    /// What is taken out of the network as a whole, before anything else is done.
    pub structure: Structure,
    /// How keys and values of earlier tokens are kept.
    pub kv_cache: KvCache,
    /// Whether a choice that the container cannot hold is an error.
    pub strict: bool,
    /// The container.
    pub format: Format,
}

/// The method's name as the field writes it.
pub fn method_name(method: Method) -> &'static str {
    match method {
        Method::Rtn => "RTN",
        Method::Gptq => "GPTQ",
        Method::Awq => "AWQ",
        Method::Hqq => "HQQ",
        Method::Nf4 => "NF4",
        Method::Palette => "palette",
        Method::Float => "floats",
        Method::None => "dense",
    }
}

/// How inputs are rounded, as people say it.
pub fn activations_name(mode: Activations) -> &'static str {
    match mode {
        Activations::None => "as they are",
        Activations::Dynamic8 => "int8 per token",
        Activations::Static8 => "int8 static",
    }
}

/// What smoothing does, for people who meet it.
pub const SMOOTHING: &str =
    "SmoothQuant: moves range from the inputs, which are rounded with few scales, into the weights";

/// Whether smoothing can be asked of a layer of these settings: AWQ has scales of its own, and what stays as it is stays.
pub fn can_be_smoothed(settings: &LayerSettings) -> bool {
    !matches!(settings.method, Method::None | Method::Awq)
}

/// What matters most of `settings`, as people say it: `GPTQ, 4 bits, group 64, 2:4 by Wanda`.
pub fn settings_in_words(settings: &LayerSettings) -> String {
    let method = method_name(settings.method);
    let weights = match (settings.method, settings.group) {
        (Method::None, _) => return method.to_owned(),
        (Method::Float, _) => method.to_owned(),
        (Method::Palette, _) => format!("{method}, {} bits", settings.bits),
        (_, 0) => format!("{method}, {} bits, one scale per row", settings.bits),
        (_, group) => format!("{method}, {} bits, group {group}", settings.bits),
    };
    let weights = format!("{weights}{}", sparse::in_words(settings));
    match settings.activations {
        Activations::None => weights,
        mode => format!("{weights}, inputs {}", activations_name(mode)),
    }
}

/// Settings in a few signs: `GPTQ 4/64 2:4`.
pub fn short_words(settings: &LayerSettings) -> String {
    let method = method_name(settings.method);
    let codes = match (settings.method, settings.group) {
        (Method::None | Method::Float, _) => method.to_owned(),
        (Method::Palette, _) => format!("{method} {}", settings.bits),
        (_, 0) => format!("{method} {}/row", settings.bits),
        (_, group) => format!("{method} {}/{group}", settings.bits),
    };
    let zeros = sparse::zeros_text(settings).map(|zeros| format!(" {zeros}"));
    let factors = sparse::rank_of(settings).map(|_| " + factors");
    codes + zeros.as_deref().unwrap_or_default() + factors.unwrap_or_default()
}

/// Methods that a layer can have: embeddings and heads have no inputs that could calibrate.
pub fn methods_of(layer: &LayerInfo) -> &'static [Method] {
    match is_end(layer) {
        true => &[
            Method::Rtn,
            Method::Hqq,
            Method::Nf4,
            Method::Palette,
            Method::Float,
            Method::None,
        ],
        false => &Method::ALL,
    }
}

/// Whether the layer is an embedding or the output head, of which no inputs are gathered.
pub fn is_end(layer: &LayerInfo) -> bool {
    matches!(layer.kind, LayerKind::Embedding | LayerKind::Head)
}

impl Draft {
    /// Whether bytes follow from no list of layers and settings: the network gets another shape, or the weights decide.
    pub fn waits_for_plan(&self) -> bool {
        let mut settings = self.settings.iter();
        !self.structure.is_none() || settings.any(LayerSettings::waits_for_weights)
    }

    /// This draft with `edit` done to those of `layers` that are compressible and not locked, and how many changed.
    pub fn edited(&self, infos: &[LayerInfo], layers: &[usize], edit: LayerEdit) -> (Self, usize) {
        let mut draft = self.clone();
        let mut changed = 0;
        for &layer in layers {
            if !infos[layer].compressible || self.locked[layer] {
                continue;
            }
            let edited = edit.apply(self.settings[layer], &self.template);
            let settings = possible(&infos[layer], edited);
            if settings != self.settings[layer] {
                draft.settings[layer] = settings;
                changed += 1;
            }
        }
        (draft, changed)
    }

    /// This draft with the nearest settings that `format` holds, locked layers left alone.
    pub fn fitted(&self, infos: &[LayerInfo], format: Format) -> Self {
        let asked = infos.iter().cloned().zip(self.settings.iter().copied());
        let asked: Vec<(LayerInfo, LayerSettings)> = asked.collect();
        let mut draft = self.clone();
        for (layer, settings) in layout::fitted(format, &asked, &self.locked)
            .into_iter()
            .enumerate()
        {
            if infos[layer].compressible && !self.locked[layer] {
                draft.settings[layer] = settings;
            }
        }
        draft
    }

    /// This draft with `layers` locked or free.
    pub fn with_lock(&self, layers: &[usize], locked: bool) -> Self {
        let mut draft = self.clone();
        for &layer in layers {
            draft.locked[layer] = locked;
        }
        draft
    }

    /// Whether any layer asks for something that looks at inputs.
    pub fn needs_text(&self) -> bool {
        let structure = &self.structure;
        let of_structure = structure.heads > 0.0 || structure.neurons > 0.0 || structure.vocabulary;
        let by_likeness = matches!(structure.blocks, BlockChoice::Count(count) if count > 0);
        let of_layers = |settings| need_of(settings).is_some();
        of_structure || by_likeness || self.settings.iter().any(of_layers)
    }
}

/// `settings` with a method, zeros and inputs that the layer can have.
pub fn possible(layer: &LayerInfo, settings: LayerSettings) -> LayerSettings {
    let mut settings = settings;
    if !methods_of(layer).contains(&settings.method) {
        settings.method = Method::Rtn;
    }
    if layer.kind == LayerKind::Embedding {
        settings.activations = Activations::None;
    }
    if is_end(layer) {
        settings.smooth = 0.0;
        // No inputs are gathered there.
        if settings.activations == Activations::Static8 {
            settings.activations = Activations::Dynamic8;
        }
        if !settings.prune.is_none() {
            settings.prune.method = PruneMethod::Magnitude;
        }
    }
    settings.settled()
}
