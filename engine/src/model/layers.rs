//! The list of a checkpoint's tensors, in an order and in words that people read.
//!
//! The list is made from headers alone, and for unknown architectures too: then every two-dimensional float weight is a
//! layer that can be compressed.

use super::config::ModelConfig;
use super::plan::{Plan, PlannedTensor, find_prefix};
use crate::tensor::{Dtype, Matrix, SourceError, TensorInfo, WeightSource};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;

/// What a tensor does in the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Role {
    Query,
    Key,
    Value,
    /// Query, key and value in one weight.
    QueryKeyValue,
    /// Attention's output projection.
    Output,
    Gate,
    Up,
    /// Gate and up in one weight.
    GateUp,
    Down,
    Embedding,
    /// Learned positions and token types.
    Position,
    Head,
    Norm,
    Bias,
    Other,
}

impl Role {
    /// As `inspect` prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Query => "attention.q",
            Self::Key => "attention.k",
            Self::Value => "attention.v",
            Self::QueryKeyValue => "attention.qkv",
            Self::Output => "attention.o",
            Self::Gate => "mlp.gate",
            Self::Up => "mlp.up",
            Self::GateUp => "mlp.gate_up",
            Self::Down => "mlp.down",
            Self::Embedding => "embedding",
            Self::Position => "position",
            Self::Head => "head",
            Self::Norm => "norm",
            Self::Bias => "bias",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl serde::Serialize for Role {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// How a tensor takes part in compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerKind {
    /// A weight of a block, multiplied with activations.
    Linear,
    /// The token embedding.
    Embedding,
    /// The output head.
    Head,
    /// Anything else: norms, biases, positions, buffers.
    Other,
}

/// One tensor of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerInfo {
    /// The tensor's name without `.weight`: what recipes match.
    pub name: String,
    /// The tensor's name.
    pub tensor: String,
    /// What it does.
    pub role: Role,
    /// How it takes part in compression.
    pub kind: LayerKind,
    /// The block that it belongs to.
    pub block: Option<usize>,
    /// Outputs; the first dimension of what is no weight.
    pub rows: usize,
    /// Inputs; the product of all further dimensions of what is no weight.
    pub columns: usize,
    /// Shape, as stored.
    pub shape: Vec<usize>,
    /// Element type, as stored.
    pub dtype: Dtype,
    /// Bytes, as stored.
    pub size_bytes: u64,
    /// Elements.
    pub parameters: u64,
    /// Stored `[in, out]` (Conv1D) instead of `[out, in]`.
    pub transposed: bool,
    /// Whether a recipe can name it.
    pub compressible: bool,
    /// Held by the source in the parts of the `pare` format, `size_bytes` of them: a copy in that format takes them over
    /// where a recipe leaves the layer as it is. Only whoever knows the container says so.
    pub packed: bool,
    /// Layers with the same number are one weight in runtimes that fuse q/k/v or gate/up, and must agree there.
    pub fused_peers: Option<usize>,
}

impl LayerInfo {
    /// The weights `[out, in]`, turned where `source` stores them `[in, out]`.
    pub fn read(&self, source: &dyn WeightSource) -> Result<Matrix, SourceError> {
        let values = source.read_f32(&self.tensor)?;
        Ok(if self.transposed {
            Matrix::new(self.columns, self.rows, values).transposed()
        } else {
            Matrix::new(self.rows, self.columns, values)
        })
    }
}

/// Every tensor of `source`: of a known network in forward order with all others after it, else in the container's
/// order with numbers read as numbers (block 2 before block 10).
pub fn list_layers(source: &dyn WeightSource, config: Option<&ModelConfig>) -> Vec<LayerInfo> {
    let planned = config.map_or_else(Vec::new, |config| {
        Plan::new(config, find_prefix(config, source)).all()
    });
    let ranks: HashMap<&str, usize> = planned
        .iter()
        .enumerate()
        .map(|(rank, tensor)| (tensor.name.as_str(), rank))
        .collect();
    let mut names = source.names();
    names.sort_by(|left, right| {
        let rank = |name: &String| ranks.get(name.as_str()).copied().unwrap_or(usize::MAX);
        rank(left)
            .cmp(&rank(right))
            .then_with(|| natural_order(left, right))
    });
    names
        .into_iter()
        .filter_map(|name| {
            let info = source.info(&name)?;
            let planned = ranks.get(name.as_str()).map(|&rank| &planned[rank]);
            Some(describe(name, info, planned, config))
        })
        .collect()
}

fn describe(
    tensor: String,
    info: TensorInfo,
    planned: Option<&PlannedTensor>,
    config: Option<&ModelConfig>,
) -> LayerInfo {
    let is_weight = info.shape.len() == 2 && info.dtype.is_float() && tensor.ends_with(".weight");
    let kind = match planned {
        Some(planned) => planned.kind,
        None if is_weight && config.is_none() => LayerKind::Linear,
        None => LayerKind::Other,
    };
    let role = match planned {
        Some(planned) => planned.role,
        None if tensor.ends_with(".bias") && info.shape.len() == 1 => Role::Bias,
        None => Role::Other,
    };
    let transposed = planned.is_some_and(|planned| planned.transposed);
    let first = info.shape.first().copied().unwrap_or(1);
    let rest = info.shape.iter().skip(1).product();
    let (rows, columns) = if transposed {
        (rest, first)
    } else {
        (first, rest)
    };
    LayerInfo {
        name: tensor.strip_suffix(".weight").unwrap_or(&tensor).to_owned(),
        role,
        kind,
        block: planned.and_then(|planned| planned.block),
        rows,
        columns,
        dtype: info.dtype,
        size_bytes: info.size_bytes,
        parameters: info.elements(),
        transposed,
        compressible: is_weight && kind != LayerKind::Other,
        packed: false,
        fused_peers: planned.zip(config).and_then(fused_peers),
        shape: info.shape,
        tensor,
    }
}

fn fused_peers((planned, config): (&PlannedTensor, &ModelConfig)) -> Option<usize> {
    let block = planned.block?;
    match planned.role {
        Role::Query | Role::Key | Role::Value => Some(2 * block),
        Role::Gate | Role::Up if config.gated() => Some(2 * block + 1),
        _ => None,
    }
}

/// Text order in which runs of digits compare as numbers.
fn natural_order(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    loop {
        let (Some(&one), Some(&other)) = (left.first(), right.first()) else {
            return left.len().cmp(&right.len());
        };
        if one.is_ascii_digit() && other.is_ascii_digit() {
            let (number, left_rest) = split_digits(left);
            let (other_number, right_rest) = split_digits(right);
            let order = number
                .len()
                .cmp(&other_number.len())
                .then_with(|| number.cmp(other_number));
            if order != Ordering::Equal {
                return order;
            }
            (left, right) = (left_rest, right_rest);
        } else if one != other {
            return one.cmp(&other);
        } else {
            (left, right) = (&left[1..], &right[1..]);
        }
    }
}

/// The run of digits at the start, without leading zeros, and what follows it.
fn split_digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    let zeros = text[..end].iter().take_while(|&&byte| byte == b'0').count();
    (&text[zeros..end], &text[end..])
}
