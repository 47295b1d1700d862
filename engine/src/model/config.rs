//! `config.json` in both spellings of the transformers library -> one description of the network.
//!
//! Everything that distinguishes families, besides names, ends up here as plain switches, so that the forward pass
//! asks for switches and never for a family. Knows no tensors.

use super::error::ModelError;
use super::family::Family;
use super::keys::Keys;
use super::rope::Rope;
use serde_json::Value;

/// Blocks that a config may claim: far above any model, low enough that a hostile value costs nothing.
const MOST_BLOCKS: usize = 1 << 16;

/// One network, as its `config.json` describes it.
#[derive(Debug, Clone)]
pub struct ModelConfig {
    /// Row of the family table.
    pub family: Family,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Number of blocks.
    pub blocks: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Channels of a head.
    pub head_dim: usize,
    /// Width inside the feed-forward part.
    pub intermediate: usize,
    /// Rows of the embedding table.
    pub vocabulary: usize,
    /// Positions that the model was made for.
    pub context_length: usize,
    /// Whether head and embedding are one tensor.
    pub tied: bool,
    pub(super) norm: NormKind,
    pub(super) norm_epsilon: f64,
    pub(super) arrangement: Arrangement,
    pub(super) activation: Activation,
    pub(super) projection: ProjectionKind,
    /// Weights stored `[in, out]`.
    pub(super) transposed: bool,
    pub(super) head_norms: bool,
    pub(super) qkv_bias: bool,
    pub(super) output_bias: bool,
    pub(super) mlp_bias: bool,
    pub(super) final_norm: bool,
    pub(super) positions: Positions,
    /// Rotary attention of full blocks and, where it differs, of sliding ones; empty without rotary positions.
    pub(super) ropes: Vec<Rope>,
    pub(super) window: Window,
    /// Rows of the token type table; 0 = none.
    pub(super) token_types: usize,
    /// Width of the embedding table.
    pub(super) embedding_width: usize,
    pub(super) embedding_scale: f64,
    query_scale: f64,
    query_scale_falls: bool,
    pub(super) attention_softcap: Option<f64>,
    pub(super) logit_softcap: Option<f64>,
}

/// How a vector is normalized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NormKind {
    /// Root mean square, times weight.
    Rms,
    /// Root mean square, times 1 + weight.
    RmsOnePlus,
    /// Mean and variance, times weight, plus bias.
    Layer,
}

/// Where the norms of a block stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrangement {
    /// `h + attention(norm(h))`, then `h + mlp(norm(h))`; a family with post norms applies them before each sum.
    Before,
    /// `norm(h + attention(h))`, then `norm(h + mlp(h))`.
    After,
    /// `h + attention(norm(h)) + mlp(other norm(h))`.
    Parallel,
}

/// What stands between the two halves of the feed-forward part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activation {
    Silu,
    GeluErf,
    GeluTanh,
    Relu,
}

/// How queries, keys and values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProjectionKind {
    /// Three weights.
    Separate,
    /// One weight: all queries, all keys, all values.
    Stacked,
    /// One weight: query, key and value of head 0, of head 1, …
    Interleaved,
}

/// How a token learns where it stands, besides rotary attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Positions {
    /// Not at the embedding.
    None,
    /// Row `position + offset` of a table with `rows` rows.
    Learned { rows: usize, offset: usize },
    /// As `Learned` with offset `padding + 1`, counting only tokens that are not padding.
    LearnedFromPadding { rows: usize, padding: u32 },
}

/// Which blocks see only the last tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Window {
    /// None.
    Never,
    /// Every block sees this many tokens, itself included.
    Always(usize),
    /// As listed.
    Listed(usize, Vec<bool>),
}

impl ModelConfig {
    /// Reads a `config.json`.
    pub fn parse(config: &Value) -> Result<Self, ModelError> {
        let keys = Keys(config);
        let model_type = keys.word_or("model_type", "")?;
        let family = Family::of(model_type).ok_or_else(|| ModelError::UnknownFamily {
            model_type: model_type.to_owned(),
        })?;
        let mut parsed = Self::common(family, keys)?;
        parsed.read_attention(keys)?;
        parsed.read_family(keys)?;
        parsed.read_ropes(keys)?;
        Ok(parsed)
    }

    /// Sizes that every family has, and the switches of Llama.
    fn common(family: Family, keys: Keys<'_>) -> Result<Self, ModelError> {
        let words = family.size_keys();
        let hidden = keys.dimension(words.hidden)?;
        let blocks = keys.dimension(words.blocks)?;
        if blocks > MOST_BLOCKS {
            return Err(ModelError::bad_key(
                words.blocks,
                format!("is {blocks}, but at most {MOST_BLOCKS} blocks are possible"),
            ));
        }
        let heads = keys.dimension(words.heads)?;
        let context_length = keys.dimension(words.context_length)?;
        let intermediate = match family {
            Family::Gpt2 => keys.dimension_or(words.intermediate, 4 * hidden)?,
            _ => keys.dimension(words.intermediate)?,
        };
        let epsilon = match family {
            // Configs of these families may leave it out, and the classes fix it.
            Family::Opt => 1e-5,
            Family::DistilBert => 1e-12,
            _ => keys.positive(words.norm_epsilon)?,
        };
        Ok(Self {
            family,
            hidden,
            blocks,
            heads,
            kv_heads: heads,
            head_dim: 0,
            intermediate,
            vocabulary: keys.dimension("vocab_size")?,
            context_length,
            tied: keys.flag_or("tie_word_embeddings", family.tied_by_default())?,
            norm: NormKind::Rms,
            norm_epsilon: epsilon,
            arrangement: Arrangement::Before,
            activation: activation(
                words.activation,
                keys.word_or(words.activation, words.default_activation)?,
            )?,
            projection: ProjectionKind::Separate,
            transposed: false,
            head_norms: false,
            qkv_bias: false,
            output_bias: false,
            mlp_bias: false,
            final_norm: true,
            positions: Positions::None,
            ropes: Vec::new(),
            window: Window::Never,
            token_types: 0,
            embedding_width: hidden,
            embedding_scale: 1.0,
            query_scale: 0.0,
            query_scale_falls: false,
            attention_softcap: None,
            logit_softcap: None,
        })
    }

    /// Heads, their width and their scale.
    fn read_attention(&mut self, keys: Keys<'_>) -> Result<(), ModelError> {
        use Family::*;
        let words = self.family.size_keys();
        if matches!(self.family, Llama | Mistral | Qwen2 | Qwen3 | Phi3 | Gemma3) {
            self.kv_heads = keys.dimension_or("num_key_value_heads", self.heads)?;
            self.head_dim = keys.dimension_or_none("head_dim")?.unwrap_or(0);
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(ModelError::bad_key(
                "num_key_value_heads",
                format!(
                    "is {}, which does not divide {} heads",
                    self.kv_heads, self.heads
                ),
            ));
        }
        if self.head_dim == 0 {
            if !self.hidden.is_multiple_of(self.heads) {
                return Err(ModelError::bad_key(
                    words.hidden,
                    format!(
                        "is {}, which is no multiple of {} heads",
                        self.hidden, self.heads
                    ),
                ));
            }
            self.head_dim = self.hidden / self.heads;
        }
        self.query_scale = (self.head_dim as f64).powf(-0.5);
        Ok(())
    }

    /// What each family does differently from Llama.
    fn read_family(&mut self, keys: Keys<'_>) -> Result<(), ModelError> {
        match self.family {
            Family::Llama => {
                self.set_attention_bias(keys.flag_or("attention_bias", false)?);
                self.mlp_bias = keys.flag_or("mlp_bias", false)?;
            }
            Family::Mistral => self.window = window_of_all(keys)?,
            Family::Qwen2 => {
                self.qkv_bias = true;
                self.window = self.window_of_qwen(keys)?;
            }
            Family::Qwen3 => {
                self.set_attention_bias(keys.flag_or("attention_bias", false)?);
                self.head_norms = true;
                self.window = self.window_of_qwen(keys)?;
            }
            Family::Phi3 => {
                self.projection = ProjectionKind::Stacked;
                self.window = window_of_all(keys)?;
            }
            Family::Gemma3 => self.read_gemma3(keys)?,
            Family::Gpt2 => self.read_gpt2(keys)?,
            Family::GptNeox => {
                self.set_layer_norms();
                self.set_attention_bias(keys.flag_or("attention_bias", true)?);
                self.mlp_bias = true;
                self.projection = ProjectionKind::Interleaved;
                if keys.flag_or("use_parallel_residual", true)? {
                    self.arrangement = Arrangement::Parallel;
                }
            }
            Family::Opt => self.read_opt(keys)?,
            Family::Bert | Family::Roberta | Family::DistilBert => self.read_encoder(keys)?,
        }
        Ok(())
    }

    fn read_gemma3(&mut self, keys: Keys<'_>) -> Result<(), ModelError> {
        if keys.flag_or("use_bidirectional_attention", false)? {
            return Err(ModelError::bad_key(
                "use_bidirectional_attention",
                "is true, which is not supported",
            ));
        }
        self.set_attention_bias(keys.flag_or("attention_bias", false)?);
        self.norm = NormKind::RmsOnePlus;
        self.head_norms = true;
        // The reference rounds this factor to the dtype of the weights; in f32 that is f32.
        self.embedding_scale = f64::from((self.hidden as f64).sqrt() as f32);
        self.query_scale = keys.positive_or("query_pre_attn_scalar", 256.0)?.powf(-0.5);
        self.attention_softcap = keys.positive_or_none("attn_logit_softcapping")?;
        self.logit_softcap = keys.positive_or_none("final_logit_softcapping")?;
        let pattern = match keys.dimension_or_none("sliding_window_pattern")? {
            Some(pattern) => pattern,
            None => keys.dimension_or("_sliding_window_pattern", 6)?,
        };
        let sliding = match listed_windows(keys, self.blocks)? {
            Some(listed) => listed,
            None => (1..=self.blocks)
                .map(|number| !number.is_multiple_of(pattern))
                .collect(),
        };
        self.window = Window::Listed(keys.dimension_or("sliding_window", 4096)?, sliding);
        Ok(())
    }

    fn read_gpt2(&mut self, keys: Keys<'_>) -> Result<(), ModelError> {
        self.set_layer_norms();
        self.set_attention_bias(true);
        self.mlp_bias = true;
        self.transposed = true;
        self.projection = ProjectionKind::Stacked;
        self.positions = Positions::Learned {
            rows: self.context_length,
            offset: 0,
        };
        if !keys.flag_or("scale_attn_weights", true)? {
            self.query_scale = 1.0;
        }
        self.query_scale_falls = keys.flag_or("scale_attn_by_inverse_layer_idx", false)?;
        Ok(())
    }

    fn read_opt(&mut self, keys: Keys<'_>) -> Result<(), ModelError> {
        if !keys.flag_or("layer_norm_elementwise_affine", true)? {
            return Err(ModelError::bad_key(
                "layer_norm_elementwise_affine",
                "is false, which is not supported",
            ));
        }
        self.norm = NormKind::Layer;
        let bias = keys.flag_or("enable_bias", true)?;
        self.set_attention_bias(bias);
        self.mlp_bias = bias;
        self.positions = Positions::Learned {
            rows: self.context_length + 2,
            offset: 2,
        };
        self.embedding_width = keys.dimension_or("word_embed_proj_dim", self.hidden)?;
        let before = keys.flag_or("do_layer_norm_before", true)?;
        if !before {
            self.arrangement = Arrangement::After;
        }
        self.final_norm = before && !keys.flag_or("_remove_final_layer_norm", false)?;
        Ok(())
    }

    fn read_encoder(&mut self, keys: Keys<'_>) -> Result<(), ModelError> {
        let positions = keys.word_or("position_embedding_type", "absolute")?;
        if positions != "absolute" {
            return Err(ModelError::bad_key(
                "position_embedding_type",
                format!("is \"{positions}\", but only \"absolute\" is supported"),
            ));
        }
        self.set_layer_norms();
        self.set_attention_bias(true);
        self.mlp_bias = true;
        self.arrangement = Arrangement::After;
        self.final_norm = false;
        self.tied = false;
        let rows = self.context_length;
        self.positions = Positions::Learned { rows, offset: 0 };
        if self.family != Family::DistilBert {
            self.token_types = keys.dimension_or("type_vocab_size", 2)?;
        }
        if self.family == Family::Roberta {
            let padding = keys.count_or_none("pad_token_id")?.unwrap_or(1) as u32;
            self.positions = Positions::LearnedFromPadding { rows, padding };
            self.context_length = rows.saturating_sub(padding as usize + 1).max(1);
        }
        Ok(())
    }

    /// Rotary attention, from `rope_parameters` or from `rope_theta` and `rope_scaling`.
    fn read_ropes(&mut self, keys: Keys<'_>) -> Result<(), ModelError> {
        if !matches!(self.positions, Positions::None) {
            return Ok(());
        }
        let new = keys.object("rope_parameters");
        let kinds: &[(&str, &str, f64)] = match self.family {
            Family::Gemma3 => &[
                ("full_attention", "rope_theta", 1_000_000.0),
                ("sliding_attention", "rope_local_base_freq", 10_000.0),
            ],
            Family::GptNeox => &[("", "rotary_emb_base", 10_000.0)],
            _ => &[("", "rope_theta", 10_000.0)],
        };
        for (index, &(kind, theta_key, default_theta)) in kinds.iter().enumerate() {
            let new = new.map(|rope| rope.object(kind).unwrap_or(rope));
            // The old spelling stretches full attention only.
            let old = keys.object("rope_scaling").filter(|_| index == 0);
            let theta = match new.map(|rope| rope.positive_or_none("rope_theta")) {
                Some(theta) => theta?,
                None => None,
            };
            let theta = match theta {
                Some(theta) => theta,
                None => keys.positive_or(theta_key, default_theta)?,
            };
            let rope = Rope::parse(
                new.or(old),
                keys,
                theta,
                self.rotary_width(new, keys)?,
                self.context_length,
            )?;
            self.ropes.push(rope);
        }
        Ok(())
    }

    fn rotary_width(&self, new: Option<Keys<'_>>, keys: Keys<'_>) -> Result<usize, ModelError> {
        let (old_key, default) = match self.family {
            Family::GptNeox => ("rotary_pct", 0.25),
            _ => ("partial_rotary_factor", 1.0),
        };
        let given = match new {
            Some(rope) => rope.positive_or_none("partial_rotary_factor")?,
            None => None,
        };
        let share = match given {
            Some(share) => share,
            None => keys.positive_or(old_key, default)?,
        };
        if share > 1.0 {
            return Err(ModelError::bad_key(
                "partial_rotary_factor",
                format!("is {share}, but must be at most 1"),
            ));
        }
        Ok((self.head_dim as f64 * share) as usize)
    }

    fn set_layer_norms(&mut self) {
        self.norm = NormKind::Layer;
    }

    fn set_attention_bias(&mut self, present: bool) {
        self.qkv_bias = present;
        self.output_bias = present;
    }

    fn window_of_qwen(&self, keys: Keys<'_>) -> Result<Window, ModelError> {
        let Some(window) = keys.dimension_or_none("sliding_window")? else {
            return Ok(Window::Never);
        };
        if !keys.flag_or("use_sliding_window", false)? {
            return Ok(Window::Never);
        }
        let full = keys.count_or_none("max_window_layers")?.unwrap_or(28);
        let sliding = match listed_windows(keys, self.blocks)? {
            Some(listed) => listed,
            None => (0..self.blocks).map(|block| block >= full).collect(),
        };
        Ok(Window::Listed(window, sliding))
    }

    /// Factor on the queries of one block.
    pub(super) fn query_scale(&self, block: usize) -> f64 {
        if self.query_scale_falls {
            self.query_scale / (block + 1) as f64
        } else {
            self.query_scale
        }
    }

    /// Tokens that one block sees, itself included; `None` = all before it.
    pub(super) fn window(&self, block: usize) -> Option<usize> {
        match &self.window {
            Window::Never => None,
            Window::Always(tokens) => Some(*tokens),
            Window::Listed(tokens, sliding) => sliding[block].then_some(*tokens),
        }
    }

    /// Which of `ropes` one block uses.
    pub(super) fn rope_index(&self, block: usize) -> Option<usize> {
        match self.ropes.len() {
            0 => None,
            1 => Some(0),
            _ => Some(usize::from(self.window(block).is_some())),
        }
    }

    /// Whether the feed-forward part multiplies with a gate.
    pub(super) fn gated(&self) -> bool {
        let names = &self.family.names().block;
        names.gate.is_some() || names.gate_up.is_some()
    }

    /// Width of all query heads together.
    pub(super) fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all key heads together.
    pub(super) fn key_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}

fn window_of_all(keys: Keys<'_>) -> Result<Window, ModelError> {
    Ok(match keys.dimension_or_none("sliding_window")? {
        Some(tokens) => Window::Always(tokens),
        None => Window::Never,
    })
}

/// `layer_types`, where the config has it: which blocks slide.
fn listed_windows(keys: Keys<'_>, blocks: usize) -> Result<Option<Vec<bool>>, ModelError> {
    let Some(list) = keys.get("layer_types").and_then(Value::as_array) else {
        return Ok(None);
    };
    if list.len() != blocks {
        return Err(ModelError::bad_key(
            "layer_types",
            format!("has {} entries, but there are {blocks} blocks", list.len()),
        ));
    }
    let sliding = list.iter().map(|word| match word.as_str() {
        Some("sliding_attention") => Ok(true),
        Some("full_attention") => Ok(false),
        _ => Err(ModelError::bad_key(
            "layer_types",
            format!("holds {word}, but only full_attention and sliding_attention are known"),
        )),
    });
    sliding.collect::<Result<_, _>>().map(Some)
}

fn activation(key: &str, word: &str) -> Result<Activation, ModelError> {
    Ok(match word {
        "silu" | "swish" => Activation::Silu,
        "gelu" | "gelu_python" => Activation::GeluErf,
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" | "gelu_accurate" => Activation::GeluTanh,
        "relu" => Activation::Relu,
        _ => {
            return Err(ModelError::bad_key(
                key,
                format!(
                    "is \"{word}\", but only silu, gelu, gelu_new, gelu_pytorch_tanh and relu are known"
                ),
            ));
        }
    })
}
