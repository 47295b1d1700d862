//! `config.json` in both spellings of the transformers library -> `ModelConfig`.
//!
//! Every default is the reference class's own. Knows no tensors.

use super::super::error::ModelError;
use super::super::family::Family;
use super::super::keys::Keys;
use super::super::rope::Rope;
use super::{Activation, Arrangement, ModelConfig, NormKind, Positions, ProjectionKind, Window};
use serde_json::Value;

/// Blocks that a config may claim: far above any model, low enough that a hostile value costs nothing.
const MOST_BLOCKS: usize = 1 << 16;

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
            // The reference classes fix these two.
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
