//! What running a network asks of a machine: its products with their bytes, its cache, its working memory.
//!
//! Counts only; knows no device and no second.

use crate::device::{EngineKind, Product, Weights};
use crate::grid::ScaleDtype;
use crate::model::{LayerInfo, LayerKind, ModelConfig, Role, cache_token_bytes};
use crate::packed::{CodeKind, Stored};
use crate::settings::{Activations, KvCache, LayerSettings, Rank};
use crate::solved::Method;
use crate::tensor::Dtype;

/// Rows of the panels in which codes are held, and columns that are unpacked at once: multiples of them are stored.
const PANEL_ROWS: usize = 16;
const PANEL_UNIT: usize = 32;
/// Bytes of a value in floats, as Pare computes on processors.
const FLOAT_BYTES: u64 = 4;

/// The numbers of a network beside its weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Width of the residual stream.
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Channels of a head.
    pub head_dim: usize,
    /// Rows of the embedding table.
    pub vocabulary: usize,
    /// Positions that the model was made for.
    pub context_length: usize,
    /// For each block, the tokens that it sees at most; `None` = all.
    pub windows: Vec<Option<usize>>,
    /// Whether it writes tokens one by one; an encoder reads only.
    pub writes_tokens: bool,
}

/// One tensor and how it is held.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerDemand {
    /// Its name without `.weight`.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// How it takes part in compression.
    pub kind: LayerKind,
    /// The block that it belongs to.
    pub block: Option<usize>,
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub columns: usize,
    /// Elements.
    pub parameters: u64,
    /// Bytes in the written file.
    pub stored_bytes: u64,
    /// How its weights are held while it runs.
    pub form: Form,
}

/// How weights are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// As floats.
    Dense,
    /// Codes of a grid.
    Codes {
        /// Bits of a code, 2 to 8.
        bits: u8,
        /// Weights per scale; 0 = a row.
        group: usize,
        /// Bytes of a scale and its zero in the kernels' memory.
        group_bytes: u64,
        /// How inputs are rounded.
        activations: Activations,
    },
    /// 4-bit codes into a table of levels, one f32 scale for each block of so many weights.
    Levels {
        /// Weights per scale.
        block: usize,
    },
}

impl Network {
    /// What a configuration says.
    pub fn of(config: &ModelConfig, writes_tokens: bool) -> Self {
        Self {
            hidden: config.hidden,
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            vocabulary: config.vocabulary,
            context_length: config.context_length,
            windows: (0..config.blocks)
                .map(|block| config.window(block))
                .collect(),
            writes_tokens,
        }
    }

    /// Keys and values that one block keeps for one token.
    pub(super) fn kept_values(&self) -> u64 {
        2 * self.kv_heads as u64 * self.head_dim as u64
    }

    /// Bytes of keys and values of `tokens` tokens.
    pub fn cache_bytes(&self, tokens: usize, kept: KvCache) -> u64 {
        if !self.writes_tokens {
            return 0;
        }
        let of_token = cache_token_bytes(kept, self.kv_heads, self.head_dim);
        of_token * self.windows.len() as u64 * tokens as u64
    }

    /// Tokens that `tokens` new ones look at together in a block, `before` them in the cache; each sees itself too.
    pub(super) fn looks(&self, block: usize, before: usize, tokens: usize) -> f64 {
        let (before, tokens) = (before as f64, tokens as f64);
        let all = if self.writes_tokens {
            tokens * before + tokens * (tokens + 1.0) / 2.0
        } else {
            tokens * tokens
        };
        match self.windows.get(block).copied().flatten() {
            Some(window) => all.min(tokens * window as f64),
            None => all,
        }
    }
}

impl LayerDemand {
    /// A tensor of a model, stored in a container that keeps codes, under these settings.
    pub fn new(info: &LayerInfo, settings: &LayerSettings, stored_bytes: u64) -> Self {
        let form = match info.compressible {
            true => Form::of(settings),
            false => Form::Dense,
        };
        Self::held(info, form, stored_bytes)
    }

    /// A tensor of a model in this form.
    pub fn held(info: &LayerInfo, form: Form, stored_bytes: u64) -> Self {
        // Codes whose panels would outgrow floats are held as floats.
        let floats = FLOAT_BYTES * info.rows as u64 * info.columns as u64;
        let form = match form.panel_bytes(info.rows, info.columns) > floats {
            true => Form::Dense,
            false => form,
        };
        Self {
            name: info.name.clone(),
            role: info.role,
            kind: info.kind,
            block: info.block,
            rows: info.rows,
            columns: info.columns,
            parameters: info.parameters,
            stored_bytes,
            form,
        }
    }

    /// Whether it is multiplied with activations in each pass. `ties` = the embedding is the head too.
    pub(super) fn is_product(&self, ties: bool) -> bool {
        match self.kind {
            LayerKind::Linear | LayerKind::Head => true,
            LayerKind::Embedding => ties,
            LayerKind::Other => false,
        }
    }

    /// Bytes that an engine of this kind holds: processors run Pare, which computes dense weights in f32; elsewhere
    /// runtimes keep them as stored.
    pub fn held_bytes(&self, kind: EngineKind) -> u64 {
        match (self.form, kind) {
            (Form::Dense, EngineKind::Cpu) => FLOAT_BYTES * self.parameters,
            (_, EngineKind::Gpu | EngineKind::Npu) => self.stored_bytes,
            (form, EngineKind::Cpu) => form.panel_bytes(self.rows, self.columns),
        }
    }

    /// Tokens' worth of work of one pass with `tokens` tokens: the head works for the last alone.
    pub(super) fn tokens_of(&self, tokens: usize) -> usize {
        match self.kind {
            LayerKind::Head | LayerKind::Embedding => tokens.min(1),
            _ => tokens,
        }
    }
}

impl Form {
    /// The form that these settings ask for.
    pub fn of(settings: &LayerSettings) -> Self {
        let is_plain = settings.prune.is_none() && settings.rank == Rank::None;
        match settings.method {
            Method::None => Self::Dense,
            _ if !is_plain => Self::Dense,
            // The dtype of what is stored decides nothing here.
            _ => Self::of_code(
                CodeKind::of_settings(settings, Dtype::F32),
                settings.activations,
            ),
        }
    }

    /// The form of packed weights whose inputs are rounded so. Zeros, palettes and factors are computed as floats.
    pub fn of_stored(stored: Stored, activations: Activations) -> Self {
        match stored.is_plain() {
            true => Self::of_code(stored.code, activations),
            false => Self::Dense,
        }
    }

    fn of_code(code: CodeKind, activations: Activations) -> Self {
        match code {
            CodeKind::Palette { .. } | CodeKind::Floats { .. } | CodeKind::Nothing => Self::Dense,
            CodeKind::Nf4 { block, .. } => Self::Levels { block },
            CodeKind::Affine {
                bits,
                group,
                symmetric,
                scale_dtype,
                fractional_zeros,
            } => Self::Codes {
                bits,
                group,
                group_bytes: group_bytes(scale_dtype, symmetric, fractional_zeros),
                activations,
            },
        }
    }

    /// The product that it runs as.
    pub fn product(self) -> Product {
        let (weights, integer) = match self {
            Self::Dense => (Weights::Float, false),
            Self::Codes {
                bits, activations, ..
            } => (Weights::Codes(bits), activations != Activations::None),
            Self::Levels { .. } => (Weights::Levels, false),
        };
        Product { weights, integer }
    }

    /// Bytes in the memory order of the kernels.
    fn panel_bytes(self, rows: usize, columns: usize) -> u64 {
        let padded_rows = rows.next_multiple_of(PANEL_ROWS) as u64;
        match self {
            Self::Dense => FLOAT_BYTES * rows as u64 * columns as u64,
            Self::Codes {
                bits,
                group,
                group_bytes,
                ..
            } => {
                // 7 bits take the room of 8.
                let bits = if bits == 7 { 8 } else { u64::from(bits) };
                let group = if group == 0 {
                    columns
                } else {
                    group.min(columns)
                }
                .max(1);
                let (whole, rest) = (columns / group, columns % group);
                let padded =
                    whole * group.next_multiple_of(PANEL_UNIT) + rest.next_multiple_of(PANEL_UNIT);
                let groups = columns.div_ceil(group) as u64;
                padded_rows * (padded as u64 * bits / 8 + groups * group_bytes)
            }
            Self::Levels { block } => {
                let blocks = columns.div_ceil(block.max(1)) as u64;
                let padded = columns.next_multiple_of(PANEL_UNIT) as u64;
                padded_rows * (padded / 2 + blocks * FLOAT_BYTES)
            }
        }
    }
}

/// Bytes of a scale and a zero as kernels keep them: each in its narrowest exact form.
fn group_bytes(scale_dtype: ScaleDtype, symmetric: bool, fractional_zeros: bool) -> u64 {
    let scale = match scale_dtype {
        ScaleDtype::F16 => 2,
        ScaleDtype::BF16 | ScaleDtype::F32 => FLOAT_BYTES,
    };
    let zero = match (fractional_zeros, symmetric) {
        (true, _) => FLOAT_BYTES,
        (false, true) => 0,
        (false, false) => 1,
    };
    scale + zero
}
