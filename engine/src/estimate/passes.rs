//! The operations of one pass through a network, in forward order, for a prompt and for one token.
//!
//! Knows which operations there are; what they cost is for `rates`.

use super::rates::{Looking, Machine, Work, op_time};
use super::{EstimateInput, LayerDemand, LayerTime, OpTime, TimedPart, threads};
use crate::device::{BlockStyle, Corner, EngineProfile};
use crate::model::{LayerKind, Role};

/// Tokens of a pass, and those in the cache before it.
#[derive(Debug, Clone, Copy)]
struct Pass {
    tokens: usize,
    before: usize,
}

/// The model on one engine.
struct Timer<'a> {
    input: &'a EstimateInput,
    machine: Machine<'a>,
    /// For each block, outputs of its products.
    outputs: Vec<f64>,
    style: BlockStyle,
    prefill: Pass,
    decode: Option<Pass>,
}

/// Where the time goes.
pub(super) fn layer_times(
    input: &EstimateInput,
    engine: &EngineProfile,
    ties: bool,
) -> Vec<LayerTime> {
    let timer = Timer::new(input, engine, ties);
    let mut times = vec![timer.embedding()];
    let mut block = None;
    for (index, layer) in input.layers.iter().enumerate() {
        if layer.is_product(ties) && layer.kind == LayerKind::Linear {
            if layer.block != block {
                times.extend(block.into_iter().flat_map(|block| timer.beside(block)));
                block = layer.block;
            }
            times.push(timer.product(index, layer));
        }
    }
    times.extend(block.into_iter().flat_map(|block| timer.beside(block)));
    let heads = input.layers.iter().enumerate();
    let heads =
        heads.filter(|(_, layer)| layer.is_product(ties) && layer.kind != LayerKind::Linear);
    times.extend(heads.map(|(index, layer)| timer.product(index, layer)));
    times.push(timer.fixed());
    times
}

/// What one layer adds.
pub(super) fn layer_milliseconds(
    input: &EstimateInput,
    engine: &EngineProfile,
    layer: &LayerDemand,
    ties: bool,
) -> f64 {
    if !layer.is_product(ties) {
        return 0.0;
    }
    let time = Timer::new(input, engine, ties).product(0, layer);
    time.decode.unwrap_or(time.prefill).milliseconds
}

impl<'a> Timer<'a> {
    fn new(input: &'a EstimateInput, engine: &'a EngineProfile, ties: bool) -> Self {
        let network = &input.network;
        let products = || input.layers.iter().filter(|layer| layer.is_product(ties));
        let held: u64 = products().map(|layer| layer.held_bytes(engine.kind)).sum();
        let mut outputs = vec![0.0; network.windows.len()];
        for layer in products() {
            if let Some(sum) = layer.block.and_then(|block| outputs.get_mut(block)) {
                *sum += layer.rows as f64;
            }
        }
        let cache = network.cache_bytes(input.context, input.kv_cache);
        Self {
            input,
            machine: Machine {
                engine,
                corner: Corner::Likely,
                threads: threads(input, engine),
                working_bytes: (held + cache) as f64,
            },
            outputs,
            style: style(input),
            prefill: Pass {
                tokens: input.prompt.max(1),
                before: 0,
            },
            decode: network.writes_tokens.then_some(Pass {
                tokens: 1,
                before: input.context,
            }),
        }
    }

    fn both(&self, time: impl Fn(Pass) -> OpTime) -> (OpTime, Option<OpTime>) {
        (time(self.prefill), self.decode.map(&time))
    }

    fn product(&self, index: usize, layer: &LayerDemand) -> LayerTime {
        let (prefill, decode) = self.both(|pass| {
            let work = Work {
                product: layer.form.product(),
                rows: layer.rows_of_work(),
                columns: layer.columns,
                tokens: layer.tokens_of(pass.tokens),
                bytes: layer.held_bytes(self.machine.engine.kind),
            };
            let operations = 2.0 * work.rows as f64 * work.columns as f64 * work.tokens as f64;
            op_time(operations, work.bytes as f64, |corner| {
                self.machine.at(corner).product(work)
            })
        });
        LayerTime {
            name: layer.name.clone(),
            layer: Some(index),
            block: layer.block,
            part: TimedPart::Product,
            prefill,
            decode,
        }
    }

    /// What a block does beside its products.
    fn beside(&self, block: usize) -> [LayerTime; 2] {
        let (prefill, decode) = self.both(|pass| {
            let looking = self.looking(block, pass);
            op_time(looking.operations(), looking.bytes, |corner| {
                self.machine.at(corner).attention(looking)
            })
        });
        let attention = self.part(
            format!("block {block} attention"),
            Some(block),
            TimedPart::Attention,
            prefill,
            decode,
        );
        let (prefill, decode) = self.both(|pass| {
            let values = self.outputs.get(block).copied().unwrap_or(0.0) * pass.tokens as f64;
            op_time(values, 0.0, |corner| {
                self.machine
                    .at(corner)
                    .small(self.style, pass.tokens, values)
            })
        });
        let small = self.part(
            format!("block {block} norms and sums"),
            Some(block),
            TimedPart::Small,
            prefill,
            decode,
        );
        [attention, small]
    }

    fn looking(&self, block: usize, pass: Pass) -> Looking {
        let network = &self.input.network;
        let blocks = network.windows.len().max(1) as f64;
        let window = network.windows.get(block).copied().flatten();
        let seen = pass.before + pass.tokens;
        let seen = window.map_or(seen, |window| seen.min(window + pass.tokens));
        let kept = self.input.kv_cache;
        let of_token = match network.writes_tokens {
            true => network.cache_bytes(1, kept) as f64 / blocks,
            false => (4 * network.kept_values()) as f64,
        };
        Looking {
            style: self.style,
            looks: network.looks(block, pass.before, pass.tokens),
            heads: network.heads as f64,
            kv_heads: network.kv_heads as f64,
            channels: network.head_dim as f64,
            bytes: seen as f64 * of_token,
            cached: (pass.tokens == 1 && network.writes_tokens).then_some(kept),
        }
    }

    fn embedding(&self) -> LayerTime {
        let (prefill, decode) = self.both(|pass| {
            let bytes = (pass.tokens * self.input.network.hidden * 4) as f64;
            op_time(0.0, bytes, |corner| self.machine.at(corner).read(bytes))
        });
        self.part(
            "embedding".to_owned(),
            None,
            TimedPart::Embedding,
            prefill,
            decode,
        )
    }

    fn fixed(&self) -> LayerTime {
        let network = &self.input.network;
        let logits = if network.writes_tokens {
            network.vocabulary as f64
        } else {
            0.0
        };
        let (prefill, decode) =
            self.both(|_| op_time(0.0, 0.0, |corner| self.machine.at(corner).fixed(logits)));
        self.part(
            "each pass".to_owned(),
            None,
            TimedPart::Fixed,
            prefill,
            decode,
        )
    }

    fn part(
        &self,
        name: String,
        block: Option<usize>,
        part: TimedPart,
        prefill: OpTime,
        decode: Option<OpTime>,
    ) -> LayerTime {
        LayerTime {
            name,
            layer: None,
            block,
            part,
            prefill,
            decode,
        }
    }
}

/// What stands between the products of its blocks.
fn style(input: &EstimateInput) -> BlockStyle {
    let gates = |layer: &LayerDemand| matches!(layer.role, Role::Gate | Role::GateUp);
    match input.network.writes_tokens {
        false => BlockStyle::Encoder,
        true if input.layers.iter().any(gates) => BlockStyle::Gated,
        true => BlockStyle::Plain,
    }
}
