//! What a person has chosen so far: settings of every layer, the text that calibrates, the container.
//!
//! A draft is a value: edits make a new one. Knows no rules (`compose` turns drafts into recipes and back), no undo and
//! no screen.

use pare_engine::compress::need_of;
use pare_engine::formats::Format;
use pare_engine::model::{LayerInfo, LayerKind};
use pare_engine::recipe::{CalibrationSettings, ColumnOrder, LayerSettings, Refine};
use pare_engine::settings::{Activations, KvCache, LayerOption};
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
    /// How keys and values of earlier tokens are kept.
    pub kv_cache: KvCache,
    /// Whether a choice that the container cannot hold is an error.
    pub strict: bool,
    /// The container.
    pub format: Format,
}

/// One change to the settings of a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LayerEdit {
    /// Another method; `none` keeps the layer dense.
    Method(Method),
    /// Bits of a code; quantizes a dense layer with the template's method.
    Bits(u8),
    /// Bits up or down by so many, within 2 to 8.
    BitsBy(i8),
    /// Weights per scale, 0 = a row.
    Group(usize),
    /// Zero in the middle.
    Symmetric(bool),
    /// Column order of GPTQ.
    Order(ColumnOrder),
    /// When GPTQ refines.
    Refine(Refine),
    /// Steps of the clip search.
    ClipSearch(u32),
    /// Share of the mean diagonal added to the Gram matrix.
    Damping(f64),
    /// NF4: quantize the block scales too.
    DoubleQuant(bool),
    /// How inputs are rounded when the layer runs.
    Activations(Activations),
    /// Inputs that share a scale of a token, 0 = all of them.
    ActivationBlock(usize),
    /// SmoothQuant's exponent, 0 = off.
    Smooth(f64),
    /// Bits and group at once, or dense.
    Option(LayerOption),
    /// All settings of another layer.
    Paste(LayerSettings),
}

impl LayerEdit {
    /// What the edit does, as the end of "Undo …".
    pub fn label(&self) -> String {
        match self {
            Self::Method(Method::None) => "keep dense".to_owned(),
            Self::Method(method) => format!("set {}", method_name(*method)),
            Self::Bits(bits) => format!("set {bits}-bit"),
            Self::BitsBy(step) if *step > 0 => "raise bits".to_owned(),
            Self::BitsBy(_) => "lower bits".to_owned(),
            Self::Group(0) => "set one scale per row".to_owned(),
            Self::Group(group) => format!("set group {group}"),
            Self::Symmetric(true) => "set symmetric".to_owned(),
            Self::Symmetric(false) => "set asymmetric".to_owned(),
            Self::Order(_) => "set column order".to_owned(),
            Self::Refine(_) => "set refinement".to_owned(),
            Self::ClipSearch(_) => "set clip search".to_owned(),
            Self::Damping(_) => "set damping".to_owned(),
            Self::DoubleQuant(_) => "set double quantization".to_owned(),
            Self::Activations(Activations::None) => "leave inputs as they are".to_owned(),
            Self::Activations(mode) => format!("set inputs {}", activations_name(*mode)),
            Self::ActivationBlock(_) => "set blocks of inputs".to_owned(),
            Self::Smooth(_) => "set smoothing".to_owned(),
            Self::Option(LayerOption::Dense) => "keep dense".to_owned(),
            Self::Option(option) => format!("set {option}"),
            Self::Paste(_) => "paste settings".to_owned(),
        }
    }

    /// `settings` after the edit. `template` tells what a dense layer becomes once bits or a group are named.
    pub fn apply(&self, settings: LayerSettings, template: &LayerSettings) -> LayerSettings {
        let woken = || match settings.method {
            Method::None => LayerSettings {
                method: awake(template.method),
                ..settings
            },
            _ => settings,
        };
        match *self {
            Self::Method(method) => with_method(settings, method),
            Self::Bits(bits) => with_bits(woken(), bits, template),
            Self::BitsBy(step) if settings.method != Method::None => {
                let bits = settings.bits.saturating_add_signed(step);
                with_bits(settings, bits, template)
            }
            Self::BitsBy(_) => settings,
            Self::Group(group) => LayerSettings { group, ..woken() },
            Self::Symmetric(symmetric) => LayerSettings {
                symmetric,
                ..settings
            },
            Self::Order(order) => LayerSettings { order, ..settings },
            Self::Refine(refine) => LayerSettings { refine, ..settings },
            Self::ClipSearch(clip_search) => LayerSettings {
                clip_search,
                ..settings
            },
            Self::Damping(damping) => LayerSettings {
                damping,
                ..settings
            },
            Self::DoubleQuant(double_quant) => LayerSettings {
                double_quant,
                ..settings
            },
            Self::Activations(activations) => LayerSettings {
                activations,
                ..settings
            },
            Self::ActivationBlock(activation_block) => LayerSettings {
                activation_block,
                ..settings
            },
            Self::Smooth(smooth) => LayerSettings { smooth, ..settings },
            Self::Option(LayerOption::Dense) => with_method(settings, Method::None),
            Self::Option(option @ (LayerOption::Pruned { .. } | LayerOption::LowRank { .. })) => {
                option.apply(&settings, awake(template.method))
            }
            Self::Option(LayerOption::Grid { bits, group }) => {
                let settings = on_a_grid(with_bits(woken(), bits, template), template);
                LayerSettings { group, ..settings }
            }
            Self::Paste(pasted) => LayerSettings {
                prefix: settings.prefix,
                ..pasted
            },
        }
    }
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
        Method::Float => "float",
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

/// What matters most of `settings`, as people say it: `GPTQ, 4 bits, group 64`.
pub fn settings_in_words(settings: &LayerSettings) -> String {
    let method = method_name(settings.method);
    let weights = match (settings.method, settings.group) {
        (Method::None, _) => return method.to_owned(),
        (_, 0) => format!("{method}, {} bits, one scale per row", settings.bits),
        (_, group) => format!("{method}, {} bits, group {group}", settings.bits),
    };
    match settings.activations {
        Activations::None => weights,
        mode => format!("{weights}, inputs {}", activations_name(mode)),
    }
}

/// Methods that a layer can have: embeddings and heads have no inputs that could calibrate.
pub fn methods_of(layer: &LayerInfo) -> &'static [Method] {
    match layer.kind {
        LayerKind::Embedding | LayerKind::Head => {
            &[Method::Rtn, Method::Hqq, Method::Nf4, Method::None]
        }
        _ => &Method::ALL,
    }
}

fn awake(method: Method) -> Method {
    match method {
        Method::None => Method::Gptq,
        method => method,
    }
}

fn with_method(settings: LayerSettings, method: Method) -> LayerSettings {
    LayerSettings { method, ..settings }
}

/// NF4 codes have 4 bits; other bits lead back to the template's method.
fn with_bits(settings: LayerSettings, bits: u8, template: &LayerSettings) -> LayerSettings {
    let bits = bits.clamp(MIN_BITS, MAX_BITS);
    let settings = match bits {
        4 => settings,
        _ => on_a_grid(settings, template),
    };
    LayerSettings { bits, ..settings }
}

/// NF4 has levels of its own; a grid is asked for.
fn on_a_grid(settings: LayerSettings, template: &LayerSettings) -> LayerSettings {
    match (settings.method, template.method) {
        (Method::Nf4, Method::Nf4 | Method::None) => with_method(settings, Method::Rtn),
        (Method::Nf4, method) => with_method(settings, method),
        _ => settings,
    }
}

impl Draft {
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
        self.settings
            .iter()
            .any(|settings| need_of(settings).is_some())
    }
}

/// `settings` with a method and inputs that the layer can have.
pub fn possible(layer: &LayerInfo, settings: LayerSettings) -> LayerSettings {
    let settings = match methods_of(layer).contains(&settings.method) {
        true => settings,
        false => with_method(settings, Method::Rtn),
    };
    let activations = match (layer.kind, settings.activations) {
        (LayerKind::Embedding, _) => Activations::None,
        // No inputs are gathered there.
        (LayerKind::Head, Activations::Static8) => Activations::Dynamic8,
        (_, activations) => activations,
    };
    let is_end = matches!(layer.kind, LayerKind::Embedding | LayerKind::Head);
    LayerSettings {
        activations,
        smooth: if is_end { 0.0 } else { settings.smooth },
        ..settings
    }
}
