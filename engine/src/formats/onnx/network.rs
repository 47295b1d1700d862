//! A whole network as a graph: what stands before the blocks, the blocks, the head.
//!
//! Inputs and outputs are named as Hugging Face's optimum names them: `input_ids` and `attention_mask` `[batch, tokens]`,
//! `token_type_ids` where the network has types; `logits`, of an encoder `last_hidden_state`. Computes what `model` computes for
//! each sequence; tokens whose mask is 0 are looked at by no other, and a decoder counts positions without them.
//! Knows no bytes: weights are named, and lie where `weight` says.

use super::element::Element;
use super::graph::{Graph, Origin, Size, Value};
use super::weight::{OnnxForm, OnnxWeight, PartKind};
use crate::model::{ModelConfig, Names, NormKind, Positions};
use crate::packed::ActivationKind;
use crate::tensor::{Dtype, WeightSource};
use std::collections::HashMap;

/// The sizes of token ids.
const TOKENS: [Size; 2] = [Size::Named("batch_size"), Size::Named("sequence_length")];

/// A network being written down.
pub(super) struct Network<'a> {
    pub(super) config: &'a ModelConfig,
    pub(super) names: &'static Names,
    prefix: &'static str,
    source: &'a dyn WeightSource,
    /// The places of weights by their tensors; all others stay values of their own dtype.
    weights: &'a HashMap<String, OnnxWeight>,
    pub(super) graph: Graph,
}

/// What all blocks share.
pub(super) struct Shared {
    /// What is added to scores of full blocks, and of sliding ones, where there are some: 0, or a very low number.
    /// `[batch, 1, rows, tokens]`.
    pub(super) full: Option<Value>,
    pub(super) sliding: Option<Value>,
    /// Cosines and sines of each rope, `[batch, tokens, 1, pairs]`.
    pub(super) rotations: Vec<(Value, Value)>,
}

/// The inputs of a graph, and what follows from them.
pub(super) struct Inputs {
    pub(super) ids: Value,
    pub(super) mask: Value,
    types: Option<Value>,
    /// `[batch, tokens]`, of encoders `[tokens]`; from 0 on.
    pub(super) positions: Value,
}

impl<'a> Network<'a> {
    /// The graph of the network that `config` describes with the tensors of `source`.
    pub(super) fn graph(
        config: &'a ModelConfig,
        source: &'a dyn WeightSource,
        weights: &'a HashMap<String, OnnxWeight>,
    ) -> Result<Graph, String> {
        let mut network = Self {
            config,
            names: config.family.names(),
            prefix: config.prefix_in(source),
            source,
            weights,
            graph: Graph::default(),
        };
        let inputs = network.inputs();
        let shared = network.shared(&inputs);
        let mut hidden = network.embed(&inputs)?;
        for block in 0..config.blocks {
            hidden = network.block(block, &hidden, &shared)?;
        }
        network.head(&hidden)?;
        Ok(network.graph)
    }

    fn is_encoder(&self) -> bool {
        self.config.family.is_encoder()
    }

    fn inputs(&mut self) -> Inputs {
        let ids = self.graph.input("input_ids", Element::I64, &TOKENS);
        let mask = self.graph.input("attention_mask", Element::I64, &TOKENS);
        let types = (self.config.token_types > 1)
            .then(|| self.graph.input("token_type_ids", Element::I64, &TOKENS));
        let positions = match (self.is_encoder(), self.config.positions) {
            (_, Positions::LearnedFromPadding { padding, .. }) => {
                self.positions_from_padding(&ids, padding)
            }
            (true, _) => self.graph.places("positions", &ids),
            (false, _) => self.graph.positions_by_mask("positions", &mask),
        };
        Inputs {
            ids,
            mask,
            types,
            positions,
        }
    }

    /// How many tokens that are no padding stand before each; padding itself has -1.
    fn positions_from_padding(&mut self, ids: &Value, padding: u32) -> Value {
        let graph = &mut self.graph;
        let padding = graph.int(i64::from(padding));
        let is_padding = graph.node("positions/is_padding", "Equal", &[ids, &padding], &[]);
        let counts = graph.node("positions/counts", "Not", &[&is_padding], &[]);
        let counts = graph.cast("positions/ones", &counts, Element::I64);
        let sums = graph.running_sum("positions/sums", &counts);
        let sums = graph.multiply("positions/counted", &sums, &counts);
        let one = graph.int(1);
        graph.subtract("positions", &sums, &one)
    }

    /// Hidden states `[batch, tokens, hidden]`.
    fn embed(&mut self, inputs: &Inputs) -> Result<Value, String> {
        let (config, names) = (self.config, self.names);
        let table = self.full_name(names.embedding);
        let mut hidden = self.table_rows(&table, config.embedding_width, &inputs.ids)?;
        if config.embedding_scale != 1.0 {
            hidden = self
                .graph
                .scale("embedding/scaled", &hidden, config.embedding_scale);
        }
        if let (Some(name), true) = (names.project_in, config.embedding_width != config.hidden) {
            let sizes = [config.hidden, config.embedding_width];
            hidden = self.linear(&self.full_name(name), sizes, false, &hidden)?;
        }
        if let Some(name) = names.position.filter(|_| has_position_table(config)) {
            let shift = match config.positions {
                Positions::Learned { offset, .. } => offset as i64,
                Positions::LearnedFromPadding { padding, .. } => i64::from(padding) + 1,
                Positions::None => 0,
            };
            let shift = self.graph.int(shift);
            let rows = self.graph.add("position/rows", &inputs.positions, &shift);
            let name = self.full_name(name);
            let looked_up = self.table_rows(&name, config.hidden, &rows)?;
            hidden = self.graph.add("embedding/placed", &hidden, &looked_up);
        }
        if let Some(name) = names.token_type.filter(|_| config.token_types > 0) {
            let name = self.full_name(name);
            let rows = match &inputs.types {
                Some(types) => types.clone(),
                None => self.graph.int(0),
            };
            let looked_up = self.table_rows(&name, config.hidden, &rows)?;
            hidden = self.graph.add("embedding/typed", &hidden, &looked_up);
        }
        match names.embedding_norm {
            Some(name) => self.norm(&self.full_name(name), config.hidden, &hidden),
            None => Ok(hidden),
        }
    }

    fn head(&mut self, hidden: &Value) -> Result<(), String> {
        let (config, names) = (self.config, self.names);
        let mut hidden = hidden.clone();
        if let Some(name) = names.final_norm.filter(|_| config.final_norm) {
            hidden = self.norm(&self.full_name(name), config.hidden, &hidden)?;
        }
        let width = config.embedding_width;
        if let (Some(name), true) = (names.project_out, width != config.hidden) {
            let sizes = [width, config.hidden];
            hidden = self.linear(&self.full_name(name), sizes, false, &hidden)?;
        }
        if self.is_encoder() {
            let sizes = [TOKENS[0], TOKENS[1], Size::Fixed(width)];
            self.graph
                .output("last_hidden_state", &hidden, Element::F32, &sizes);
            return Ok(());
        }
        let mut logits = match names.head.filter(|_| !config.tied) {
            Some(name) => self.linear(name, [config.vocabulary, width], false, &hidden)?,
            None => self.tied_head(&self.full_name(names.embedding), &hidden)?,
        };
        if let Some(limit) = config.logit_softcap {
            logits = self.graph.softcap("head/capped", &logits, limit);
        }
        let sizes = [TOKENS[0], TOKENS[1], Size::Fixed(config.vocabulary)];
        self.graph.output("logits", &logits, Element::F32, &sizes);
        Ok(())
    }

    /// The norm `name` (without `.weight`) of the last dimension.
    pub(super) fn norm(
        &mut self,
        name: &str,
        width: usize,
        input: &Value,
    ) -> Result<Value, String> {
        let epsilon = self.config.norm_epsilon();
        let plus_one = self.config.norm == NormKind::RmsOnePlus;
        let weight = self.vector(&format!("{name}.weight"), width, plus_one)?;
        if self.config.norm == NormKind::Layer {
            let bias = self.vector(&format!("{name}.bias"), width, false)?;
            return Ok(self.graph.layer_norm(name, input, &weight, &bias, epsilon));
        }
        Ok(self.graph.rms_norm(name, input, &weight, epsilon))
    }

    /// A norm's or bias's values, in F32.
    pub(super) fn vector(
        &mut self,
        tensor: &str,
        width: usize,
        plus_one: bool,
    ) -> Result<Value, String> {
        self.check_shape(tensor, &[width])?;
        let kind = PartKind::Values {
            turned: false,
            plus_one,
        };
        Ok(self.store(tensor, kind, Element::F32, &[width]))
    }

    /// A name with what stands before all names.
    pub(super) fn full_name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Where a weight lies; one that nobody speaks of, as values of its dtype.
    pub(super) fn place_of(&self, tensor: &str, is_table: bool) -> Result<OnnxWeight, String> {
        if let Some(weight) = self.weights.get(tensor) {
            return Ok(*weight);
        }
        let info = self.source.info(tensor);
        let dtype = info.map_or(Dtype::F32, |info| info.dtype);
        Ok(OnnxWeight {
            form: OnnxForm::Values(dtype),
            factors: None,
            activations: ActivationKind::NONE,
            is_table,
        })
    }

    /// The sizes of a table of which only the width is known.
    pub(super) fn table_shape(&self, tensor: &str, width: usize) -> Result<[usize; 2], String> {
        match self.source.info(tensor).map(|info| info.shape).as_deref() {
            Some(&[rows, columns]) if columns == width => Ok([rows, columns]),
            Some(shape) => Err(format!("its tensor {tensor} has shape {shape:?}")),
            None => Err(format!("its tensor {tensor} is missing")),
        }
    }

    /// Refuses a tensor of another shape than the configuration's.
    pub(super) fn check_shape(&self, tensor: &str, shape: &[usize]) -> Result<(), String> {
        match self.source.info(tensor) {
            Some(info) if info.shape == shape => Ok(()),
            Some(info) => Err(format!(
                "its tensor {tensor} has shape {:?} instead of {shape:?}",
                info.shape
            )),
            None => Err(format!("its tensor {tensor} is missing")),
        }
    }

    /// A stored tensor of the checkpoint's `tensor`.
    pub(super) fn store(
        &mut self,
        tensor: &str,
        kind: PartKind,
        element: Element,
        shape: &[usize],
    ) -> Value {
        let origin = Origin {
            tensor: tensor.to_owned(),
            kind,
        };
        let name = format!("{tensor}{}", kind.suffix());
        self.graph.store(&name, element, shape, origin)
    }
}

fn has_position_table(config: &ModelConfig) -> bool {
    !matches!(config.positions, Positions::None)
}
