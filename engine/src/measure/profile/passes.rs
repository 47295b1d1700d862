//! What a pass costs beside its products, by running small networks of the usual families through the very code that
//! runs models: what is left of their times once the products are taken off.
//!
//! Two widths and several lengths tell parts that are paid once, for each value, and for each look at another token.

use super::clock::typical;
use super::{ProfileError, random};
use crate::device::{BlockCosts, BlockStyle, CachedLooks, KernelTable, LookCosts};
use crate::model::{Block, BlockCache, LayerKind, Model};
use crate::monitor::Monitor;
use crate::settings::KvCache;
use candle_core::{Device, Tensor};
use serde_json::{Value, json};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Positions of the networks: more than is ever read.
const POSITIONS: usize = 4096;
/// Tokens of the prompts.
const PROMPTS: [usize; 3] = [32, 192, 512];
/// Cached tokens before a token is written.
const BEFORE: [usize; 2] = [64, 1024];
/// Tokens that are written on one cache.
const STEPS: usize = 48;
/// For each time of a prompt.
const BUDGET: Duration = Duration::from_millis(12);
/// Rows of the table whose logits tell what one costs.
const VOCABULARY: usize = 16_384;

/// One width of a network.
#[derive(Clone, Copy)]
struct Width {
    hidden: usize,
    heads: usize,
    kv_heads: usize,
    inner: usize,
}

const NARROW: Width = Width {
    hidden: 64,
    heads: 4,
    kv_heads: 4,
    inner: 128,
};
const WIDE: Width = Width {
    hidden: 512,
    heads: 8,
    kv_heads: 8,
    inner: 1024,
};
/// As wide, with keys that four heads share.
const GROUPED: Width = Width {
    kv_heads: 2,
    ..WIDE
};

impl Width {
    fn channels(self) -> f64 {
        (self.hidden / self.heads) as f64
    }
}

/// A block and what is known of it.
struct Probe<'a> {
    width: Width,
    model: Model,
    block: Block,
    /// The table of its products.
    kernel: &'a KernelTable,
    monitor: &'a dyn Monitor,
}

/// What passes cost on this machine; `kernel` is the table of 8-bit codes under 8-bit inputs.
pub(super) struct PassCosts {
    pub(super) blocks: Vec<BlockCosts>,
    pub(super) cached: Vec<CachedLooks>,
    pub(super) pass_us: f64,
    pub(super) logit_ns: f64,
}

/// Measures them.
pub(super) fn measure(
    kernel: &KernelTable,
    monitor: &dyn Monitor,
) -> Result<PassCosts, ProfileError> {
    let probe = |style, width| Probe::new(style, width, kernel, monitor);
    let gated = (
        probe(BlockStyle::Gated, NARROW)?,
        probe(BlockStyle::Gated, WIDE)?,
    );
    let shared = probe(BlockStyle::Gated, GROUPED)?;
    let mut cached = Vec::new();
    for kept in KvCache::ALL {
        let costs = line(
            (NARROW.channels(), gated.0.cached_look_ns(kept)?),
            (WIDE.channels(), gated.1.cached_look_ns(kept)?),
        );
        let own = WIDE.heads as f64 * gated.1.cached_look_ns(kept)?;
        let grouped = WIDE.heads as f64 * shared.cached_look_ns(kept)?;
        let heads = (WIDE.heads - GROUPED.kv_heads) as f64 / WIDE.heads as f64;
        let part = (own - grouped) / (own * heads).max(f64::MIN_POSITIVE);
        cached.push(CachedLooks {
            kept,
            shared: part.clamp(0.0, 1.0),
            costs: LookCosts {
                look_ns: costs.0,
                channel_ns: costs.1,
            },
        });
    }
    let looks = cached[0].costs;
    let mut blocks = vec![block_costs(BlockStyle::Gated, &gated, Some(looks))?];
    for (style, looks) in [
        (BlockStyle::Plain, Some(looks)),
        (BlockStyle::Encoder, None),
    ] {
        let probes = (probe(style, NARROW)?, probe(style, WIDE)?);
        blocks.push(block_costs(style, &probes, looks)?);
    }
    let few = ends_us(NARROW.hidden, kernel, monitor)?;
    let many = ends_us(VOCABULARY, kernel, monitor)?;
    let logit_us = (many - few).max(0.0) / (VOCABULARY - NARROW.hidden) as f64;
    Ok(PassCosts {
        blocks,
        cached,
        pass_us: (few - logit_us * NARROW.hidden as f64).max(0.0),
        logit_ns: logit_us * 1e3,
    })
}

/// The costs of blocks from those of a narrow and a wide one; `looks` are those at a cache, where it has one.
fn block_costs(
    style: BlockStyle,
    probes: &(Probe<'_>, Probe<'_>),
    looks: Option<LookCosts>,
) -> Result<BlockCosts, ProfileError> {
    let (narrow, wide) = probes;
    let (narrow_prompt, wide_prompt) = (narrow.prompt()?, wide.prompt()?);
    let of_look = line(
        (NARROW.channels(), narrow_prompt.look_ns),
        (WIDE.channels(), wide_prompt.look_ns),
    );
    let (token_us, token_value_us) = match looks {
        Some(looks) => line(
            (narrow.outputs(), narrow.token_us(looks)?),
            (wide.outputs(), wide.token_us(looks)?),
        ),
        None => (0.0, 0.0),
    };
    Ok(BlockCosts {
        style,
        token_us,
        token_value_ns: token_value_us * 1e3,
        prompt_us: wide_prompt.each_us,
        prompt_value_ns: wide_prompt.token_us * 1e3 / wide.outputs(),
        looks: LookCosts {
            look_ns: of_look.0,
            channel_ns: of_look.1,
        },
    })
}

/// What is left of a prompt's time once products are taken off.
struct Prompt {
    each_us: f64,
    token_us: f64,
    /// For a look of one head.
    look_ns: f64,
}

impl<'a> Probe<'a> {
    fn new(
        style: BlockStyle,
        width: Width,
        kernel: &'a KernelTable,
        monitor: &'a dyn Monitor,
    ) -> Result<Self, ProfileError> {
        let model = random::packed_network(&config(style, width, width.hidden))?;
        Ok(Self {
            width,
            block: model.load_block(0)?,
            model,
            kernel,
            monitor,
        })
    }

    /// Outputs of its products.
    fn outputs(&self) -> f64 {
        let rows = self.linears().map(|layer| layer.rows as f64);
        rows.sum()
    }

    fn linears(&self) -> impl Iterator<Item = &crate::model::LayerInfo> {
        let layers = self.model.layers().iter();
        layers.filter(|layer| layer.kind == LayerKind::Linear)
    }

    /// What its products take, as an estimate would tell: from the nearest cache, or from where so much of them lies.
    fn products_us(&self, tokens: usize) -> f64 {
        let weights = || {
            self.linears()
                .map(|layer| (layer.rows * layer.columns) as f64)
        };
        let megabytes = weights().sum::<f64>() / 1e6;
        let gb_per_s = self.kernel.gb_per_s_at(megabytes);
        let launch_us = self.kernel.launch_us();
        let times = weights().map(|weights| {
            let near = self.kernel.microseconds_at(tokens as f64, weights);
            near.max(launch_us + weights / gb_per_s * 1e-3)
        });
        times.sum()
    }

    fn hidden(&self, tokens: usize) -> Result<Tensor, ProfileError> {
        let values = random::floats(tokens * self.width.hidden);
        Ok(Tensor::from_vec(
            values,
            (1, tokens, self.width.hidden),
            &Device::Cpu,
        )?)
    }

    /// Microseconds of one token after `before` others, typically.
    fn step_us(&self, before: usize, kept: KvCache) -> Result<f64, ProfileError> {
        let mut cache = BlockCache::new(kept);
        let prompt = self.hidden(before)?;
        self.block
            .forward(&prompt, &self.model.context(before)?, Some(&mut cache))?;
        let token = self.hidden(1)?;
        let mut times = Vec::with_capacity(STEPS);
        for step in 0..STEPS {
            self.monitor.check()?;
            let context = self.model.context_after(before + step, 1)?;
            let started = Instant::now();
            black_box(self.block.forward(&token, &context, Some(&mut cache))?);
            times.push(started.elapsed().as_secs_f64() * 1e6);
        }
        times.sort_by(f64::total_cmp);
        Ok(times[STEPS / 2])
    }

    /// Nanoseconds of one head's look at one cached token.
    fn cached_look_ns(&self, kept: KvCache) -> Result<f64, ProfileError> {
        let [few, many] = BEFORE;
        let more_us = self.step_us(many, kept)? - self.step_us(few, kept)?;
        Ok(more_us.max(0.0) * 1e3 / ((many - few) * self.width.heads) as f64)
    }

    /// What one token costs beside products and looks, microseconds.
    fn token_us(&self, looks: LookCosts) -> Result<f64, ProfileError> {
        let before = BEFORE[0];
        let seen = (before + STEPS / 2) * self.width.heads;
        let looking = seen as f64 * looks.nanoseconds(self.width.channels()) * 1e-3;
        let left = self.step_us(before, KvCache::F32)? - self.products_us(1) - looking;
        Ok(left.max(0.0))
    }

    /// A parabola through what is left at three lengths.
    fn prompt(&self) -> Result<Prompt, ProfileError> {
        let mut left = [0.0; PROMPTS.len()];
        for (left, tokens) in left.iter_mut().zip(PROMPTS) {
            *left = self.prompt_us(tokens)? - self.products_us(tokens);
        }
        let [one, two, three] = PROMPTS.map(|tokens| tokens as f64);
        let slope = |from: usize, to: usize, width: f64| (left[to] - left[from]) / width;
        let curve = (slope(1, 2, three - two) - slope(0, 1, two - one)) / (three - one);
        let curve = curve.max(0.0);
        let straight = |place: usize, tokens: f64| left[place] - curve * tokens * tokens;
        let token_us = ((straight(2, three) - straight(0, one)) / (three - one)).max(0.0);
        let each_us = (straight(0, one) - token_us * one).max(0.0);
        // Of a decoder, half of the square are looks.
        let looks = if self.model.is_encoder() { 1.0 } else { 0.5 };
        Ok(Prompt {
            each_us,
            token_us,
            look_ns: curve * 1e3 / (looks * self.width.heads as f64),
        })
    }

    fn prompt_us(&self, tokens: usize) -> Result<f64, ProfileError> {
        let hidden = self.hidden(tokens)?;
        let context = self.model.context(tokens)?;
        let seconds = typical::<ProfileError>(self.monitor, BUDGET, || {
            let mut cache = BlockCache::new(KvCache::F32);
            let cache = (!self.model.is_encoder()).then_some(&mut cache);
            black_box(self.block.forward(&hidden, &context, cache)?);
            Ok(())
        })?;
        Ok(seconds * 1e6)
    }
}

/// What one token costs outside of blocks beside the head's product, microseconds.
fn ends_us(
    vocabulary: usize,
    kernel: &KernelTable,
    monitor: &dyn Monitor,
) -> Result<f64, ProfileError> {
    let model = random::packed_network(&config(BlockStyle::Gated, NARROW, vocabulary))?;
    let ends = model.load_ends()?;
    let seconds = typical::<ProfileError>(monitor, BUDGET, || {
        let context = model.context_after(100, 1)?;
        let hidden = ends.embed(&[1], &context)?;
        let logits = ends.head(&hidden)?.flatten_all()?.to_vec1::<f32>()?;
        // The likeliest token is the cheapest choice.
        black_box(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        Ok(())
    })?;
    let head = kernel.microseconds_at(1.0, (vocabulary * NARROW.hidden) as f64);
    Ok((seconds * 1e6 - head).max(0.0))
}

/// The line through two points: its height at 0 and its slope, neither below 0.
fn line(one: (f64, f64), other: (f64, f64)) -> (f64, f64) {
    let slope = ((other.1 - one.1) / (other.0 - one.0)).max(0.0);
    ((one.1 - slope * one.0).max(0.0), slope)
}

fn config(style: BlockStyle, width: Width, vocabulary: usize) -> Value {
    let Width {
        hidden,
        heads,
        kv_heads,
        inner,
    } = width;
    match style {
        BlockStyle::Gated => json!({
            "model_type": "llama", "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": 1,
            "num_attention_heads": heads, "num_key_value_heads": kv_heads, "vocab_size": vocabulary,
            "max_position_embeddings": POSITIONS, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
            "tie_word_embeddings": false, "hidden_act": "silu"}),
        BlockStyle::Plain => json!({
            "model_type": "gpt2", "n_embd": hidden, "n_inner": inner, "n_layer": 1, "n_head": heads,
            "vocab_size": vocabulary, "n_positions": POSITIONS, "layer_norm_epsilon": 1e-5,
            "activation_function": "gelu_new"}),
        BlockStyle::Encoder => json!({
            "model_type": "bert", "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": 1,
            "num_attention_heads": heads, "vocab_size": vocabulary, "max_position_embeddings": POSITIONS,
            "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu"}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_never_fall_below_nothing() {
        let rows = [
            ((1.0, 3.0), (2.0, 5.0), (1.0, 2.0)),
            ((1.0, 3.0), (2.0, 2.0), (3.0, 0.0)),
            ((1.0, 1.0), (2.0, 5.0), (0.0, 4.0)),
        ];
        for (one, other, expected) in rows {
            assert_eq!(line(one, other), expected, "{one:?} {other:?}");
        }
    }
}
