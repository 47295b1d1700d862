//! Which tensors a network consists of: names, shapes and roles, from family table and config alone.
//!
//! The one list that the check at opening, `list_layers`, the loader and trainers share. Reads no data.

use super::config::{Arrangement, ModelConfig, NormKind, Positions, ProjectionKind};
use super::error::ModelError;
use super::family::Names;
use super::layers::{LayerKind, Role};
use crate::tensor::WeightSource;

/// One tensor that the network needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedTensor {
    /// Full name, as stored.
    pub name: String,
    /// Shape, as stored.
    pub shape: Vec<usize>,
    /// What it does.
    pub role: Role,
    /// What kind of layer it is.
    pub kind: LayerKind,
    /// The block that it belongs to.
    pub block: Option<usize>,
    /// Stored `[in, out]` instead of `[out, in]`.
    pub transposed: bool,
}

/// Names and shapes of one network.
#[derive(Debug, Clone)]
pub(super) struct Plan<'a> {
    config: &'a ModelConfig,
    names: &'static Names,
    prefix: &'a str,
}

/// The prefix under which `source` keeps the embedding; the usual one where it keeps none.
pub(super) fn find_prefix(config: &ModelConfig, source: &dyn WeightSource) -> &'static str {
    let names = config.family.names();
    let holds = |prefix: &&&str| {
        source
            .info(&format!("{prefix}{}.weight", names.embedding))
            .is_some()
    };
    names
        .prefixes
        .iter()
        .find(holds)
        .unwrap_or(&names.prefixes[0])
}

impl ModelConfig {
    /// Every tensor of such a network, in forward order, under its usual names: what a trainer has to make.
    pub fn tensors(&self) -> Vec<PlannedTensor> {
        Plan::new(self, self.family.names().prefixes[0]).all()
    }
}

impl ModelConfig {
    /// What stands before the names of `source`'s tensors.
    pub fn prefix_in(&self, source: &dyn WeightSource) -> &'static str {
        find_prefix(self, source)
    }

    /// Whether `source` holds such a network: names, shapes and dtypes, from headers alone.
    pub fn check(&self, source: &dyn WeightSource) -> Result<(), ModelError> {
        Plan::new(self, find_prefix(self, source)).check(source)
    }
}

impl<'a> Plan<'a> {
    pub(super) fn new(config: &'a ModelConfig, prefix: &'a str) -> Self {
        Self {
            config,
            names: config.family.names(),
            prefix,
        }
    }

    pub(super) fn all(&self) -> Vec<PlannedTensor> {
        let mut all = self.front();
        for block in 0..self.config.blocks {
            all.extend(self.block(block));
        }
        all.extend(self.back());
        all
    }

    /// Tensors between token ids and the first block.
    pub(super) fn front(&self) -> Vec<PlannedTensor> {
        let config = self.config;
        let mut list = Listing::new(self.prefix.to_owned(), None, config);
        let width = config.embedding_width;
        let table = |rows| vec![rows, width];
        list.table(
            self.names.embedding,
            table(config.vocabulary),
            Role::Embedding,
        );
        let hidden_table = |rows| vec![rows, config.hidden];
        if let (Some(name), Positions::Learned { rows, .. })
        | (Some(name), Positions::LearnedFromPadding { rows, .. }) =
            (self.names.position, config.positions)
        {
            list.table(name, hidden_table(rows), Role::Position);
        }
        if let (Some(name), 1..) = (self.names.token_type, config.token_types) {
            list.table(name, hidden_table(config.token_types), Role::Position);
        }
        if let Some(name) = self.names.embedding_norm {
            list.norm(name, config.hidden);
        }
        if let (Some(name), true) = (self.names.project_in, width != config.hidden) {
            list.table(name, vec![config.hidden, width], Role::Other);
        }
        list.tensors
    }

    /// Tensors of one block, in forward order.
    pub(super) fn block(&self, index: usize) -> Vec<PlannedTensor> {
        let (config, names) = (self.config, &self.names.block);
        let prefix = format!("{}{}{index}.", self.prefix, self.names.blocks);
        let mut list = Listing::new(prefix, Some(index), config);
        let (hidden, queries, keys) = (config.hidden, config.query_width(), config.key_width());
        let norm_first = config.arrangement != Arrangement::After;
        if norm_first {
            list.norm(names.attention_norm, hidden);
        }
        let bias = config.qkv_bias;
        list.linear(names.query, queries, hidden, bias, Role::Query);
        list.linear(names.key, keys, hidden, bias, Role::Key);
        list.linear(names.value, keys, hidden, bias, Role::Value);
        list.linear(
            names.fused,
            queries + 2 * keys,
            hidden,
            bias,
            Role::QueryKeyValue,
        );
        if config.head_norms {
            names
                .query_norm
                .iter()
                .for_each(|name| list.norm(name, config.head_dim));
            names
                .key_norm
                .iter()
                .for_each(|name| list.norm(name, config.head_dim));
        }
        list.linear(
            Some(names.output),
            hidden,
            queries,
            config.output_bias,
            Role::Output,
        );
        names
            .attention_post_norm
            .iter()
            .for_each(|name| list.norm(name, hidden));
        if !norm_first {
            list.norm(names.attention_norm, hidden);
        } else {
            list.norm(names.mlp_norm, hidden);
        }
        let (inner, bias) = (config.intermediate, config.mlp_bias);
        list.linear(names.gate, inner, hidden, bias, Role::Gate);
        list.linear(names.gate_up, 2 * inner, hidden, bias, Role::GateUp);
        list.linear(names.up, inner, hidden, bias, Role::Up);
        list.linear(Some(names.down), hidden, inner, bias, Role::Down);
        names
            .mlp_post_norm
            .iter()
            .for_each(|name| list.norm(name, hidden));
        if !norm_first {
            list.norm(names.mlp_norm, hidden);
        }
        list.tensors
    }

    /// Tensors after the last block; a tied head is not repeated.
    pub(super) fn back(&self) -> Vec<PlannedTensor> {
        let config = self.config;
        let mut list = Listing::new(self.prefix.to_owned(), None, config);
        if let (Some(name), true) = (self.names.final_norm, config.final_norm) {
            list.norm(name, config.hidden);
        }
        let width = config.embedding_width;
        if let (Some(name), true) = (self.names.project_out, width != config.hidden) {
            list.table(name, vec![width, config.hidden], Role::Other);
        }
        if let (Some(name), false) = (self.names.head, config.tied) {
            // The head stands beside the network, not inside it: no prefix.
            list.prefix.clear();
            list.table(name, vec![config.vocabulary, width], Role::Head);
        }
        list.tensors
    }

    /// Checks names, shapes and dtypes from headers; reads no data.
    pub(super) fn check(&self, source: &dyn WeightSource) -> Result<(), ModelError> {
        check(&self.front(), source)?;
        for block in 0..self.config.blocks {
            check(&self.block(block), source)?;
        }
        check(&self.back(), source)
    }
}

fn check(tensors: &[PlannedTensor], source: &dyn WeightSource) -> Result<(), ModelError> {
    for tensor in tensors {
        let name = || tensor.name.clone();
        let info = source
            .info(&tensor.name)
            .ok_or_else(|| ModelError::MissingTensor { name: name() })?;
        if info.shape != tensor.shape {
            return Err(ModelError::WrongShape {
                name: name(),
                found: info.shape,
                expected: tensor.shape.clone(),
            });
        }
        if !info.dtype.is_float() {
            return Err(ModelError::NotFloat {
                name: name(),
                dtype: info.dtype,
            });
        }
    }
    Ok(())
}

/// A list being written, with what its entries share.
struct Listing<'a> {
    prefix: String,
    block: Option<usize>,
    config: &'a ModelConfig,
    tensors: Vec<PlannedTensor>,
}

impl<'a> Listing<'a> {
    fn new(prefix: String, block: Option<usize>, config: &'a ModelConfig) -> Self {
        Self {
            prefix,
            block,
            config,
            tensors: Vec::new(),
        }
    }

    fn push(&mut self, name: String, shape: Vec<usize>, role: Role, kind: LayerKind) {
        let transposed = kind == LayerKind::Linear && self.config.transposed;
        self.tensors.push(PlannedTensor {
            name: format!("{}{name}", self.prefix),
            shape,
            role,
            kind,
            block: self.block,
            transposed,
        });
    }

    fn norm(&mut self, name: &str, width: usize) {
        self.push(
            format!("{name}.weight"),
            vec![width],
            Role::Norm,
            LayerKind::Other,
        );
        if self.config.norm == NormKind::Layer {
            self.push(
                format!("{name}.bias"),
                vec![width],
                Role::Bias,
                LayerKind::Other,
            );
        }
    }

    fn table(&mut self, name: &str, shape: Vec<usize>, role: Role) {
        let kind = match role {
            Role::Embedding => LayerKind::Embedding,
            Role::Head => LayerKind::Head,
            _ => LayerKind::Other,
        };
        self.push(format!("{name}.weight"), shape, role, kind);
    }

    fn linear(
        &mut self,
        name: Option<&'static str>,
        rows: usize,
        columns: usize,
        bias: bool,
        role: Role,
    ) {
        let Some(name) = name else { return };
        let shape = if self.config.transposed {
            vec![columns, rows]
        } else {
            vec![rows, columns]
        };
        self.push(format!("{name}.weight"), shape, role, LayerKind::Linear);
        if bias {
            self.push(
                format!("{name}.bias"),
                vec![rows],
                Role::Bias,
                LayerKind::Other,
            );
        }
    }
}

impl ProjectionKind {
    /// Row of the fused weight that makes channel `channel` of the values.
    pub(super) fn value_row(self, config: &ModelConfig, channel: usize) -> usize {
        match self {
            Self::Separate => channel,
            Self::Stacked => config.query_width() + config.key_width() + channel,
            Self::Interleaved => {
                let (head, inside) = (channel / config.head_dim, channel % config.head_dim);
                (3 * head + 2) * config.head_dim + inside
            }
        }
    }
}
