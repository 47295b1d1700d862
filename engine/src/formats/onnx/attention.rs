//! Attention between its projections, norms, positions, and who sees whom.
//!
//! Grouped heads share keys by broadcasting: queries are `[batch, key heads, group, tokens, channels]`, keys and values have
//! one in place of the group. A token that may look at none, which only padding is, looks at all alike; its output means nothing.

use super::block::Projected;
use super::element::Element;
use super::graph::{Attribute, Graph, Value};
use super::network::{Inputs, Network, Shared};
use crate::model::Rope;

/// What is added to the score of a token that is not seen: the lowest number, so that sums stay finite.
const UNSEEN: f32 = f32::MIN;

impl Network<'_> {
    /// Masks and rotary tables.
    pub(super) fn shared(&mut self, inputs: &Inputs) -> Shared {
        let config = self.config;
        let graph = &mut self.graph;
        let real = graph.cast("mask/real", &inputs.mask, Element::Bool);
        let real = graph.unsqueeze("mask/of_keys", &real, &[1, 2]);
        if config.family.is_encoder() {
            return Shared {
                full: Some(graph.as_bias("mask/full", &real)),
                sliding: None,
                rotations: Vec::new(),
            };
        }
        let places = graph.places("mask/places", &inputs.ids);
        let rows = graph.unsqueeze("mask/rows", &places, &[1]);
        let keys = graph.unsqueeze("mask/keys", &places, &[0]);
        let before = graph.node("mask/before", "LessOrEqual", &[&keys, &rows], &[]);
        let seen = graph.node("mask/seen", "And", &[&before, &real], &[]);
        let is_full_used = (0..config.blocks).any(|block| config.window(block).is_none());
        let full = is_full_used.then(|| graph.as_bias("mask/full", &seen));
        let window = (0..config.blocks).find_map(|block| config.window(block));
        let sliding = window.map(|tokens| {
            let tokens = graph.int(tokens.min(i64::MAX as usize) as i64);
            let first = graph.subtract("mask/first", &rows, &tokens);
            let near = graph.node("mask/near", "Greater", &[&keys, &first], &[]);
            let seen = graph.node("mask/near_seen", "And", &[&seen, &near], &[]);
            graph.as_bias("mask/sliding", &seen)
        });
        let ropes = config.ropes.iter().enumerate();
        let rotations = ropes
            .map(|(index, rope)| graph.rotation(&format!("rope.{index}"), rope, &inputs.positions))
            .collect();
        Shared {
            full,
            sliding,
            rotations,
        }
    }

    /// Values mixed by attention, `[batch, tokens, heads * channels]`.
    pub(super) fn mix(
        &mut self,
        block: usize,
        prefix: &str,
        projected: Projected,
        shared: &Shared,
    ) -> Result<Value, String> {
        let config = self.config;
        let (heads, key_heads, channels) = (config.heads, config.kv_heads, config.head_dim);
        let name = |what: &str| format!("{prefix}attention/{what}");
        let by_head = |heads: usize| [0, 0, heads as i64, channels as i64];
        let queries = self
            .graph
            .reshape(&name("queries"), &projected.queries, &by_head(heads));
        let keys = self
            .graph
            .reshape(&name("keys"), &projected.keys, &by_head(key_heads));
        let values = self
            .graph
            .reshape(&name("values"), &projected.values, &by_head(key_heads));
        let (query_norm, key_norm) = (self.names.block.query_norm, self.names.block.key_norm);
        let queries = self.prepare(block, prefix, query_norm, queries, shared)?;
        let keys = self.prepare(block, prefix, key_norm, keys, shared)?;
        let graph = &mut self.graph;
        let queries = graph.scale(&name("scaled"), &queries, config.query_scale(block));
        let group = heads / key_heads;
        let queries = match group {
            1 => graph.transpose(&name("queries_by_head"), &queries, &[0, 2, 1, 3]),
            _ => {
                let shape = [0, 0, key_heads as i64, group as i64, channels as i64];
                let grouped = graph.reshape(&name("grouped"), &queries, &shape);
                graph.transpose(&name("queries_by_head"), &grouped, &[0, 2, 3, 1, 4])
            }
        };
        let mut keys = graph.transpose(&name("keys_by_head"), &keys, &[0, 2, 3, 1]);
        let mut values = graph.transpose(&name("values_by_head"), &values, &[0, 2, 1, 3]);
        let seen = match config.window(block) {
            Some(_) => shared.sliding.clone(),
            None => shared.full.clone(),
        };
        let mut bias = seen.expect("masks are made of all kinds of blocks that there are");
        if group > 1 {
            keys = graph.unsqueeze(&name("keys_of_group"), &keys, &[2]);
            values = graph.unsqueeze(&name("values_of_group"), &values, &[2]);
            bias = graph.unsqueeze(&name("bias_of_group"), &bias, &[2]);
        }
        let mut scores = graph.product(&name("scores"), &queries, &keys);
        if let Some(limit) = config.attention_softcap {
            scores = graph.softcap(&name("capped"), &scores, limit);
        }
        let scores = graph.add(&name("seen"), &scores, &bias);
        let shares = graph.softmax(&name("shares"), &scores);
        let mixed = graph.product(&name("mixed"), &shares, &values);
        let order: &[i64] = if group > 1 {
            &[0, 3, 1, 2, 4]
        } else {
            &[0, 2, 1, 3]
        };
        let mixed = graph.transpose(&name("by_token"), &mixed, order);
        let shape = [0, 0, config.query_width() as i64];
        Ok(graph.reshape(&name("joined"), &mixed, &shape))
    }

    /// Norm and rotation of heads.
    fn prepare(
        &mut self,
        block: usize,
        prefix: &str,
        norm: Option<&str>,
        heads: Value,
        shared: &Shared,
    ) -> Result<Value, String> {
        let mut heads = heads;
        if let Some(norm) = norm.filter(|_| self.config.head_norms) {
            heads = self.norm(&format!("{prefix}{norm}"), self.config.head_dim, &heads)?;
        }
        let Some(rope) = self.config.rope_index(block) else {
            return Ok(heads);
        };
        let pairs = self.config.ropes[rope].frequencies().len();
        let rest = self.config.head_dim - 2 * pairs;
        let (cosines, sines) = &shared.rotations[rope];
        let name = format!("{}/rotated", heads.name());
        Ok(self
            .graph
            .rotate(&name, &heads, [pairs, pairs, rest], cosines, sines))
    }
}

impl Graph {
    /// `(x - mean) / sqrt(variance + epsilon) * weight + bias`.
    pub(super) fn layer_norm(
        &mut self,
        name: &str,
        input: &Value,
        weight: &Value,
        bias: &Value,
        epsilon: f64,
    ) -> Value {
        let attributes = [
            ("axis", Attribute::Int(-1)),
            ("epsilon", Attribute::Float(epsilon as f32)),
        ];
        let inputs = [input, weight, bias];
        self.node(name, "LayerNormalization", &inputs, &attributes)
    }

    /// `x / sqrt(mean(x²) + epsilon) * weight`.
    pub(super) fn rms_norm(
        &mut self,
        name: &str,
        input: &Value,
        weight: &Value,
        epsilon: f64,
    ) -> Value {
        let squares = self.multiply(&format!("{name}/squares"), input, input);
        let mean = self.mean(&format!("{name}/mean"), &squares);
        let epsilon = self.float(epsilon as f32);
        let mean = self.add(&format!("{name}/above_zero"), &mean, &epsilon);
        let root = self.node(&format!("{name}/root"), "Sqrt", &[&mean], &[]);
        let even = self.divide(&format!("{name}/even"), input, &root);
        self.multiply(name, &even, weight)
    }

    /// 0, 1, 2, … `[tokens]`.
    pub(super) fn places(&mut self, name: &str, ids: &Value) -> Value {
        let shape = self.node(&format!("{name}/shape"), "Shape", &[ids], &[]);
        let (zero, one) = (self.int(0), self.int(1));
        let tokens = self.gather(&format!("{name}/tokens"), &shape, &one);
        self.node(name, "Range", &[&zero, &tokens, &one], &[])
    }

    /// How many tokens that are not masked stand before each, `[batch, tokens]`; at least 0.
    pub(super) fn positions_by_mask(&mut self, name: &str, mask: &Value) -> Value {
        let sums = self.running_sum(&format!("{name}/sums"), mask);
        let (zero, one) = (self.int(0), self.int(1));
        let before = self.subtract(&format!("{name}/before"), &sums, &one);
        self.node(name, "Max", &[&before, &zero], &[])
    }

    /// 0 where `seen`, elsewhere a very low number.
    fn as_bias(&mut self, name: &str, seen: &Value) -> Value {
        let (zero, unseen) = (self.float(0.0), self.float(UNSEEN));
        self.node(name, "Where", &[seen, &zero, &unseen], &[])
    }

    /// Cosines and sines of all positions, `[batch, tokens, 1, pairs]`.
    fn rotation(&mut self, name: &str, rope: &Rope, positions: &Value) -> (Value, Value) {
        let short: Vec<f32> = rope.frequencies().iter().map(|&turn| turn as f32).collect();
        let mut frequencies = self.floats(&format!("{name}.frequencies"), &short);
        if let Some((tokens, long)) = rope.long() {
            let long: Vec<f32> = long.iter().map(|&turn| turn as f32).collect();
            let long = self.floats(&format!("{name}.long_frequencies"), &long);
            let no_axes = [("keepdims", Attribute::Int(0))];
            let last = format!("{name}/last");
            let last = self.node(&last, "ReduceMax", &[positions], &no_axes);
            let limit = self.int(tokens as i64);
            let inputs = [&last, &limit];
            let is_long = format!("{name}/is_long");
            let is_long = self.node(&is_long, "GreaterOrEqual", &inputs, &[]);
            let inputs = [&is_long, &long, &frequencies];
            frequencies = self.node(&format!("{name}/frequencies"), "Where", &inputs, &[]);
        }
        let positions = self.cast(&format!("{name}/positions"), positions, Element::F32);
        let positions = self.unsqueeze(&format!("{name}/of_tokens"), &positions, &[2, 3]);
        let angles = self.multiply(&format!("{name}/angles"), &positions, &frequencies);
        let mut cosines = self.node(&format!("{name}/cosines"), "Cos", &[&angles], &[]);
        let mut sines = self.node(&format!("{name}/sines"), "Sin", &[&angles], &[]);
        if rope.magnitude() != 1.0 {
            cosines = self.scale(&format!("{name}/long_cosines"), &cosines, rope.magnitude());
            sines = self.scale(&format!("{name}/long_sines"), &sines, rope.magnitude());
        }
        (cosines, sines)
    }

    /// Turns pairs of channels; `widths`: first halves, second halves, what stays.
    fn rotate(
        &mut self,
        name: &str,
        heads: &Value,
        widths: [usize; 3],
        cosines: &Value,
        sines: &Value,
    ) -> Value {
        let widths = if widths[2] == 0 {
            &widths[..2]
        } else {
            &widths[..]
        };
        let parts = self.split(&format!("{name}/split"), heads, widths);
        let (first, second) = (&parts[0], &parts[1]);
        let step = |what: &str| format!("{name}/{what}");
        let kept = self.multiply(&step("first_kept"), first, cosines);
        let moved = self.multiply(&step("second_moved"), second, sines);
        let turned_first = self.subtract(&step("first"), &kept, &moved);
        let kept = self.multiply(&step("second_kept"), second, cosines);
        let moved = self.multiply(&step("first_moved"), first, sines);
        let turned_second = self.add(&step("second"), &kept, &moved);
        let mut turned = vec![&turned_first, &turned_second];
        turned.extend(parts.get(2));
        self.join(name, &turned)
    }
}
