//! Which rows and columns of a block's weights belong to a group of heads or to a neuron.
//!
//! A group is one key and value head with the query heads that read it; where a block has only one key head, which
//! must stay, a group is one query head. Knows no scores: whoever chooses says what stays. All indices are into weights `[out, in]`.

use super::Model;
use super::config::{ModelConfig, ProjectionKind};
use super::layers::Role;
use std::ops::Range;

/// What stays of one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptParts {
    /// Groups of heads, rising.
    pub groups: Vec<usize>,
    /// Neurons, rising.
    pub neurons: Vec<usize>,
}

/// Rows and columns of a weight that stay; `None` = all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Slice {
    pub rows: Option<Vec<usize>>,
    pub columns: Option<Vec<usize>>,
}

impl ModelConfig {
    /// Everything of a block.
    pub fn all_parts(&self) -> KeptParts {
        KeptParts {
            groups: (0..self.head_groups()).collect(),
            neurons: (0..self.intermediate).collect(),
        }
    }

    /// Groups of heads in a block, each of which can go by itself.
    pub fn head_groups(&self) -> usize {
        match self.shares_one_key() {
            true => self.heads,
            false => self.kv_heads,
        }
    }

    /// Query and key heads of a block in which `groups` stay.
    pub fn heads_of(&self, groups: usize) -> (usize, usize) {
        match self.shares_one_key() {
            true => (groups, 1),
            false => (groups * (self.heads / self.kv_heads), groups),
        }
    }

    /// Whether all query heads of a block read the same key head.
    fn shares_one_key(&self) -> bool {
        self.kv_heads == 1
    }

    /// Inputs of the output projection that a group of heads makes.
    pub fn group_channels(&self, group: usize) -> Range<usize> {
        let width = self.group_width();
        group * width..(group + 1) * width
    }

    /// What stays of a weight with this role. A bias keeps the rows of its weight.
    pub fn slice(&self, role: Role, kept: &KeptParts) -> Slice {
        let queries = || self.channels(&kept.groups, self.group_width());
        let keys = || self.key_channels(&kept.groups);
        let neurons = || kept.neurons.clone();
        let rows = |rows| Slice {
            rows: Some(rows),
            columns: None,
        };
        let columns = |columns| Slice {
            rows: None,
            columns: Some(columns),
        };
        match role {
            Role::Query => rows(queries()),
            Role::Key | Role::Value => rows(keys()),
            Role::QueryKeyValue => rows(self.fused_rows(&kept.groups)),
            Role::Output => columns(queries()),
            Role::Gate | Role::Up => rows(neurons()),
            Role::GateUp => {
                let second = kept.neurons.iter().map(|neuron| self.intermediate + neuron);
                rows(kept.neurons.iter().copied().chain(second).collect())
            }
            Role::Down => columns(neurons()),
            _ => Slice::default(),
        }
    }

    fn fused_rows(&self, groups: &[usize]) -> Vec<usize> {
        let (queries, keys) = (self.query_width(), self.key_width());
        match self.projection {
            // Every head has its own key: its three parts lie together.
            ProjectionKind::Interleaved => self.channels(groups, 3 * self.head_dim),
            _ => {
                let key_rows = |first: usize| {
                    let channels = self.key_channels(groups).into_iter();
                    channels.map(move |channel| first + channel)
                };
                let query_rows = self.channels(groups, self.group_width()).into_iter();
                query_rows
                    .chain(key_rows(queries))
                    .chain(key_rows(queries + keys))
                    .collect()
            }
        }
    }

    /// Query channels of a group.
    fn group_width(&self) -> usize {
        self.query_width() / self.head_groups()
    }

    /// Key (or value) channels that `groups` read.
    fn key_channels(&self, groups: &[usize]) -> Vec<usize> {
        match self.shares_one_key() {
            true => (0..self.key_width()).collect(),
            false => self.channels(groups, self.head_dim),
        }
    }

    /// Channels of `groups` where each has `width` of them.
    fn channels(&self, groups: &[usize], width: usize) -> Vec<usize> {
        let ranges = groups
            .iter()
            .map(|group| group * width..(group + 1) * width);
        ranges.flatten().collect()
    }
}

impl Model {
    /// What stands before the names of tensors of block `index`: `model.layers.3.`.
    pub fn block_prefix(&self, index: usize) -> String {
        format!("{}{index}.", self.block_stem())
    }

    /// The block that a tensor's name puts it in, and the rest of its name; buffers that no plan knows included.
    pub fn block_of<'a>(&self, tensor: &'a str) -> Option<(usize, &'a str)> {
        let rest = tensor.strip_prefix(&self.block_stem())?;
        let (number, rest) = rest.split_once('.')?;
        Some((number.parse().ok()?, rest))
    }

    fn block_stem(&self) -> String {
        format!("{}{}", self.prefix, self.config.family.names().blocks)
    }
}
