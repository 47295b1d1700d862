//! The slow twin: the same networks in plain f64 loops, one vector at a time, straight from their descriptions.

use super::memory::Memory;
use super::shapes::{random_model, relative_error, shapes, some_ids, values};
use crate::model::config::{
    Activation, Arrangement, ModelConfig, NormKind, Positions, ProjectionKind,
};
use crate::packed::ActivationPlan;
use crate::settings::Activations;
use std::collections::BTreeMap;

type Vector = Vec<f64>;

pub(in crate::model) struct Twin<'a> {
    pub(in crate::model) config: &'a ModelConfig,
    pub(in crate::model) memory: &'a Memory,
    /// How layers round their inputs and what their groups are, by their tensors' names; the others do not.
    pub(in crate::model) plans: BTreeMap<String, (ActivationPlan, usize)>,
}

impl Twin<'_> {
    fn tensor(&self, name: &str) -> Option<&(Vec<usize>, Vec<f32>)> {
        self.memory.tensors.get(name)
    }

    fn row(&self, name: &str, row: usize) -> Vector {
        let (shape, values) = self.tensor(name).unwrap();
        let row = &values[row * shape[1]..(row + 1) * shape[1]];
        row.iter().map(|&value| f64::from(value)).collect()
    }

    fn linear(&self, name: &str, input: &[f64]) -> Vector {
        let tensor = format!("{name}.weight");
        let (shape, weight) = self.tensor(&tensor).unwrap();
        let input = &match self.plans.get(&tensor) {
            Some((plan, group)) => rounded(input, plan, *group),
            None => input.to_vec(),
        };
        let transposed = self.config.transposed && name.contains(".h.");
        let outputs = if transposed { shape[1] } else { shape[0] };
        let weight_at = |output: usize, input_index: usize| {
            f64::from(if transposed {
                weight[input_index * outputs + output]
            } else {
                weight[output * input.len() + input_index]
            })
        };
        let bias = self.tensor(&format!("{name}.bias"));
        (0..outputs)
            .map(|output| {
                let start = bias.map_or(0.0, |(_, bias)| f64::from(bias[output]));
                let products = input.iter().enumerate();
                start
                    + products
                        .map(|(index, x)| x * weight_at(output, index))
                        .sum::<f64>()
            })
            .collect()
    }

    fn norm(&self, name: &str, input: &[f64]) -> Vector {
        let (_, weight) = self.tensor(&format!("{name}.weight")).unwrap();
        let count = input.len() as f64;
        let mean = match self.config.norm {
            NormKind::Layer => input.iter().sum::<f64>() / count,
            _ => 0.0,
        };
        let variance = input.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        let spread = (variance + self.config.norm_epsilon).sqrt();
        let one = f64::from(u8::from(self.config.norm == NormKind::RmsOnePlus));
        let bias = self.tensor(&format!("{name}.bias"));
        input
            .iter()
            .enumerate()
            .map(|(index, x)| {
                let shift = bias.map_or(0.0, |(_, bias)| f64::from(bias[index]));
                (x - mean) / spread * (f64::from(weight[index]) + one) + shift
            })
            .collect()
    }

    fn embed(&self, prefix: &str, ids: &[u32]) -> Vec<Vector> {
        let names = self.config.family.names();
        let mut counted = 0;
        ids.iter()
            .enumerate()
            .map(|(position, &id)| {
                let table = format!("{prefix}{}.weight", names.embedding);
                let mut hidden = self.row(&table, id as usize);
                hidden
                    .iter_mut()
                    .for_each(|x| *x *= self.config.embedding_scale);
                if self.config.embedding_width != self.config.hidden {
                    hidden = self.linear(&format!("{prefix}project_in"), &hidden);
                }
                let row = match self.config.positions {
                    Positions::None => None,
                    Positions::Learned { offset, .. } => Some(position + offset),
                    Positions::LearnedFromPadding { padding, .. } if id == padding => {
                        Some(padding as usize)
                    }
                    Positions::LearnedFromPadding { padding, .. } => {
                        counted += 1;
                        Some(padding as usize + counted)
                    }
                };
                if let Some(row) = row {
                    let table = format!("{prefix}{}.weight", names.position.unwrap());
                    add(&mut hidden, &self.row(&table, row));
                }
                if self.config.token_types > 0 {
                    let table = format!("{prefix}{}.weight", names.token_type.unwrap());
                    add(&mut hidden, &self.row(&table, 0));
                }
                match names.embedding_norm {
                    Some(norm) => self.norm(&format!("{prefix}{norm}"), &hidden),
                    None => hidden,
                }
            })
            .collect()
    }

    /// Query, key and value heads of one token: `[head][channel]`.
    fn heads(&self, at: &str, input: &[f64]) -> [Vec<Vector>; 3] {
        let (config, names) = (self.config, &self.config.family.names().block);
        let width = config.head_dim;
        let cut = |all: &[f64]| all.chunks(width).map(<[f64]>::to_vec).collect::<Vec<_>>();
        match config.projection {
            ProjectionKind::Separate => [names.query, names.key, names.value]
                .map(|name| cut(&self.linear(&format!("{at}{}", name.unwrap()), input))),
            ProjectionKind::Stacked => {
                let all = cut(&self.linear(&format!("{at}{}", names.fused.unwrap()), input));
                let (heads, keys) = (config.heads, config.kv_heads);
                [
                    all[..heads].to_vec(),
                    all[heads..heads + keys].to_vec(),
                    all[heads + keys..].to_vec(),
                ]
            }
            ProjectionKind::Interleaved => {
                let all = cut(&self.linear(&format!("{at}{}", names.fused.unwrap()), input));
                [0, 1, 2].map(|part| {
                    (0..config.heads)
                        .map(|head| all[3 * head + part].clone())
                        .collect()
                })
            }
        }
    }

    fn rotate(&self, head: &mut [f64], block: usize, position: usize, tokens: usize) {
        let Some(rope) = self.config.rope_index(block) else {
            return;
        };
        let rope = &self.config.ropes[rope];
        // The tables themselves are held to transformers by the golden models.
        let (cosines, sines) = rope.tables(0, tokens);
        let half = rope.width() / 2;
        for pair in 0..half {
            let cosine = f64::from(cosines[position * half + pair]);
            let sine = f64::from(sines[position * half + pair]);
            let (first, second) = (head[pair], head[pair + half]);
            head[pair] = first * cosine - second * sine;
            head[pair + half] = second * cosine + first * sine;
        }
    }

    fn attention(&self, at: &str, block: usize, inputs: &[Vector]) -> Vec<Vector> {
        let (config, names) = (self.config, &self.config.family.names().block);
        let projected: Vec<_> = inputs
            .iter()
            .enumerate()
            .map(|(position, input)| {
                let mut parts = self.heads(at, input);
                for (part, norm) in [(0, names.query_norm), (1, names.key_norm)] {
                    for head in &mut parts[part] {
                        if config.head_norms {
                            *head = self.norm(&format!("{at}{}", norm.unwrap()), head);
                        }
                        self.rotate(head, block, position, inputs.len());
                    }
                }
                parts
            })
            .collect();
        (0..inputs.len())
            .map(|query| {
                let mut joined = Vec::new();
                for head in 0..config.heads {
                    let group = head / (config.heads / config.kv_heads);
                    let seen: Vec<usize> = (0..inputs.len())
                        .filter(|&key| {
                            config.family.is_encoder()
                                || key <= query
                                    && config
                                        .window(block)
                                        .is_none_or(|window| query - key < window)
                        })
                        .collect();
                    let scores: Vector = seen
                        .iter()
                        .map(|&key| {
                            let product =
                                dot(&projected[query][0][head], &projected[key][1][group]);
                            let score = product * config.query_scale(block);
                            config
                                .attention_softcap
                                .map_or(score, |cap| cap * (score / cap).tanh())
                        })
                        .collect();
                    let shares = softmax(&scores);
                    let mut mixed = vec![0.0; config.head_dim];
                    for (&key, share) in seen.iter().zip(&shares) {
                        for (sum, value) in mixed.iter_mut().zip(&projected[key][2][group]) {
                            *sum += share * value;
                        }
                    }
                    joined.extend(mixed);
                }
                self.linear(&format!("{at}{}", names.output), &joined)
            })
            .collect()
    }

    fn mlp(&self, at: &str, input: &[f64]) -> Vector {
        let (config, names) = (self.config, &self.config.family.names().block);
        let named = |name: Option<&str>| self.linear(&format!("{at}{}", name.unwrap()), input);
        let inner = if names.gate_up.is_some() {
            let both = named(names.gate_up);
            let (gate, up) = both.split_at(config.intermediate);
            gate.iter()
                .zip(up)
                .map(|(g, u)| activate(config, *g) * u)
                .collect()
        } else if names.gate.is_some() {
            let (gate, up) = (named(names.gate), named(names.up));
            gate.iter()
                .zip(&up)
                .map(|(g, u)| activate(config, *g) * u)
                .collect()
        } else {
            named(names.up)
                .iter()
                .map(|x| activate(config, *x))
                .collect::<Vector>()
        };
        self.linear(&format!("{at}{}", names.down), &inner)
    }

    fn block(&self, prefix: &str, block: usize, hidden: Vec<Vector>) -> Vec<Vector> {
        let (config, names) = (self.config, self.config.family.names());
        let at = format!("{prefix}{}{block}.", names.blocks);
        let names = &names.block;
        let norm = |name: &str, x: &[f64]| self.norm(&format!("{at}{name}"), x);
        let norm_if = |name: Option<&str>, x: Vector| name.map_or(x.clone(), |name| norm(name, &x));
        let before = config.arrangement != Arrangement::After;
        let inputs: Vec<Vector> = hidden
            .iter()
            .map(|h| {
                if before {
                    norm(names.attention_norm, h)
                } else {
                    h.clone()
                }
            })
            .collect();
        let attended = self.attention(&at, block, &inputs);
        hidden
            .into_iter()
            .zip(attended)
            .map(|(h, attended)| {
                let mut sum = h.clone();
                add(&mut sum, &norm_if(names.attention_post_norm, attended));
                let (mut sum, input) = match config.arrangement {
                    Arrangement::Before => (sum.clone(), norm(names.mlp_norm, &sum)),
                    Arrangement::Parallel => (sum, norm(names.mlp_norm, &h)),
                    Arrangement::After => {
                        let sum = norm(names.attention_norm, &sum);
                        (sum.clone(), sum)
                    }
                };
                add(
                    &mut sum,
                    &norm_if(names.mlp_post_norm, self.mlp(&at, &input)),
                );
                if before {
                    sum
                } else {
                    norm(names.mlp_norm, &sum)
                }
            })
            .collect()
    }

    pub(in crate::model) fn run(&self, ids: &[u32]) -> Vec<f32> {
        let (config, names) = (self.config, self.config.family.names());
        let prefix = names.prefixes[0];
        let mut hidden = self.embed(prefix, ids);
        for block in 0..config.blocks {
            hidden = self.block(prefix, block, hidden);
        }
        let finish = |mut h: Vector| {
            if config.family.is_encoder() {
                return h;
            }
            if config.final_norm {
                h = self.norm(&format!("{prefix}{}", names.final_norm.unwrap()), &h);
            }
            if config.embedding_width != config.hidden {
                h = self.linear(&format!("{prefix}project_out"), &h);
            }
            let head = if config.tied {
                format!("{prefix}{}", names.embedding)
            } else {
                names.head.unwrap().to_owned()
            };
            let logits = self.linear(&head, &h);
            let capped = |x: f64| config.logit_softcap.map_or(x, |cap| cap * (x / cap).tanh());
            logits.into_iter().map(capped).collect()
        };
        hidden
            .into_iter()
            .flat_map(finish)
            .map(|x| x as f32)
            .collect()
    }
}

/// Inputs as 8 bits leave them: whole multiples of a step, 127 of them at most. Blocks end where groups do.
fn rounded(input: &[f64], plan: &ActivationPlan, group: usize) -> Vector {
    let (group, block) = match (plan.mode, plan.block, group) {
        (Activations::None, ..) => return input.to_vec(),
        (Activations::Static8, ..) | (_, 0, _) => (input.len(), input.len()),
        (_, block, 0) => (input.len(), block),
        (_, block, group) => (group, block),
    };
    let round = |block: &[f64]| {
        let largest = block.iter().fold(0f64, |most, x| most.max(x.abs()));
        let step = plan.static_step.map_or(largest / 127.0, f64::from);
        let to_step = move |x: &f64| match step > 0.0 {
            true => (x / step).round_ties_even().clamp(-127.0, 127.0) * step,
            false => 0.0,
        };
        block.iter().map(to_step).collect::<Vector>()
    };
    let groups = input.chunks(group);
    groups
        .flat_map(|group| group.chunks(block).flat_map(round).collect::<Vector>())
        .collect()
}

fn add(sum: &mut [f64], other: &[f64]) {
    sum.iter_mut()
        .zip(other)
        .for_each(|(sum, other)| *sum += other);
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

fn softmax(scores: &[f64]) -> Vector {
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vector = scores.iter().map(|score| (score - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

fn activate(config: &ModelConfig, x: f64) -> f64 {
    match config.activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Relu => x.max(0.0),
        Activation::GeluErf => 0.5 * x * (1.0 + erf(x / 2f64.sqrt())),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        }
    }
}

/// The error function by its series; good for the few units that tests reach.
fn erf(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        let n = f64::from(n);
        term *= -x * x / n;
        sum += term / (2.0 * n + 1.0);
    }
    (2.0 / std::f64::consts::PI.sqrt()) * sum
}

#[test]
fn every_family_in_other_shapes_equals_its_twin_in_plain_loops() {
    for (label, config) in shapes() {
        let (parsed, weights, model) = random_model(&config);
        let ids = some_ids(13, parsed.vocabulary, 5);
        let twin = Twin {
            config: &parsed,
            memory: &weights,
            plans: BTreeMap::new(),
        };
        let found = values(&model.forward(&ids).unwrap());
        let error = relative_error(&found, &twin.run(&ids));
        assert!(error <= 1e-5, "{label}: {error}");
    }
}
