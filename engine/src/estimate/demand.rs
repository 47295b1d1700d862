//! What running a network asks of a machine: its products with their bytes, its cache, its working memory.
//!
//! Counts only; knows no device and no second.

use crate::device::EngineKind;
use crate::model::{LayerInfo, LayerKind, ModelConfig, Role, cache_token_bytes};
use crate::packed::{FLOAT_BYTES, FactorKind, Form, Stored};
use crate::settings::{KvCache, LayerSettings};
use crate::solved::Method;

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
    /// Thin matrices whose product is added.
    pub factors: Option<FactorKind>,
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
        if !info.compressible {
            return Self::held(info, Form::Dense, stored_bytes);
        }
        let stored = Stored::of_settings(settings, info.rows, info.columns, info.dtype);
        let factors = stored.factors.filter(|_| settings.method != Method::None);
        Self::held(info, Form::of(settings), stored_bytes).with_factors(factors)
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
            factors: None,
        }
    }

    /// The same with factors that are held beside it.
    pub fn with_factors(self, factors: Option<FactorKind>) -> Self {
        Self { factors, ..self }
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
            (form, EngineKind::Cpu) => {
                form.panel_bytes(self.rows, self.columns)
                    + self.factor_values() * self.factor_bytes()
            }
        }
    }

    /// Rows of its width that take as many multiplications as it does.
    pub(super) fn rows_of_work(&self) -> usize {
        let of_weights = match self.form {
            Form::Nothing => 0,
            _ => self.rows,
        };
        of_weights + (self.factor_values() as usize).div_ceil(self.columns.max(1))
    }

    fn factor_values(&self) -> u64 {
        let sides = (self.rows + self.columns) as u64;
        self.factors
            .map_or(0, |factors| factors.rank as u64 * sides)
    }

    fn factor_bytes(&self) -> u64 {
        self.factors
            .map_or(0, |factors| factors.dtype.size_bytes() as u64)
    }

    /// Tokens' worth of work of one pass with `tokens` tokens: the head works for the last alone.
    pub(super) fn tokens_of(&self, tokens: usize) -> usize {
        match self.kind {
            LayerKind::Head | LayerKind::Embedding => tokens.min(1),
            _ => tokens,
        }
    }
}
