//! The tensors of a smaller network, cut out of a larger one's when asked.
//!
//! Names are those of the larger network but for the numbers of blocks; dtypes stay. Tensors lie block by block, what
//! belongs to no block last, each part by falling element size, so that a writer of one file for each part keeps their
//! order. Nothing is changed but rows and columns left out: repaired weights are the writer's.

use crate::model::{KeptParts, LayerInfo, LayerKind, Model, Role, Slice};
use crate::tensor::{SourceError, TensorInfo, WeightSource};
use std::collections::HashMap;
use std::sync::Arc;

/// What stays of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Blocks, rising.
    pub blocks: Vec<usize>,
    /// What stays of each of them.
    pub parts: Vec<KeptParts>,
    /// Tokens, rising; `None` = all.
    pub tokens: Option<Vec<usize>>,
}

impl Cut {
    /// All of `model`.
    pub fn none(model: &Model) -> Self {
        let config = model.config();
        Self {
            blocks: (0..config.blocks).collect(),
            parts: vec![config.all_parts(); config.blocks],
            tokens: None,
        }
    }
}

/// A smaller network's tensors.
pub struct CutSource {
    source: Arc<dyn WeightSource>,
    tensors: Vec<CutTensor>,
    by_name: HashMap<String, usize>,
}

/// One tensor and where it comes from.
struct CutTensor {
    name: String,
    from: String,
    /// The block that it is now in.
    block: Option<usize>,
    info: TensorInfo,
    /// Kept indices of the first dimension, as stored.
    first: Option<Vec<usize>>,
    /// Kept indices of the second.
    second: Option<Vec<usize>>,
}

impl CutSource {
    /// What `cut` leaves of `model`.
    pub fn new(model: &Model, cut: &Cut) -> Self {
        let source = model.source().clone();
        let mut tensors: Vec<CutTensor> = source
            .names()
            .into_iter()
            .filter_map(|name| cut_tensor(model, cut, name))
            .collect();
        tensors.sort_by_key(|tensor| {
            let size = tensor.info.dtype.size_bytes();
            (tensor.block.unwrap_or(usize::MAX), std::cmp::Reverse(size))
        });
        let names = tensors.iter().map(|tensor| tensor.name.clone());
        let by_name = names
            .enumerate()
            .map(|(index, name)| (name, index))
            .collect();
        Self {
            source,
            tensors,
            by_name,
        }
    }

    /// Names of the tensors of a block, or of those in none, in order.
    pub fn part(&self, block: Option<usize>) -> Vec<String> {
        let tensors = self.tensors.iter().filter(|tensor| tensor.block == block);
        tensors.map(|tensor| tensor.name.clone()).collect()
    }

    fn find(&self, name: &str) -> Result<&CutTensor, SourceError> {
        let index = self.by_name.get(name);
        let index = index.ok_or_else(|| SourceError::Missing {
            name: name.to_owned(),
        })?;
        Ok(&self.tensors[*index])
    }
}

impl std::fmt::Debug for CutSource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "CutSource({} tensors)", self.tensors.len())
    }
}

impl WeightSource for CutSource {
    fn names(&self) -> Vec<String> {
        self.tensors
            .iter()
            .map(|tensor| tensor.name.clone())
            .collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        Some(self.find(name).ok()?.info.clone())
    }

    fn read_f32(&self, name: &str) -> Result<Vec<f32>, SourceError> {
        let tensor = self.find(name)?;
        let values = self.source.read_f32(&tensor.from)?;
        if tensor.is_whole() {
            return Ok(values);
        }
        Ok(tensor.select(&self.source, &values, 1))
    }

    fn read_bytes(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        let tensor = self.find(name)?;
        if tensor.is_whole() {
            return self.source.read_bytes(&tensor.from, offset, buffer);
        }
        let size = tensor.info.dtype.size_bytes();
        let whole = self.source.info(&tensor.from);
        let elements = whole.map_or(0, |whole| whole.elements() as usize);
        let mut bytes = vec![0; elements * size];
        self.source.read_bytes(&tensor.from, 0, &mut bytes)?;
        let bytes = tensor.select(&self.source, &bytes, size);
        let offset = offset as usize;
        let wanted = bytes.get(offset..offset + buffer.len());
        let wanted = wanted.ok_or_else(|| SourceError::Unfit {
            name: name.to_owned(),
            problem: format!("has no {} bytes from {offset} on", buffer.len()),
        })?;
        buffer.copy_from_slice(wanted);
        Ok(())
    }
}

impl CutTensor {
    fn is_whole(&self) -> bool {
        self.first.is_none() && self.second.is_none()
    }

    /// The kept elements of `values`, `size` items each.
    fn select<T: Copy>(&self, source: &Arc<dyn WeightSource>, values: &[T], size: usize) -> Vec<T> {
        let shape = source
            .info(&self.from)
            .map_or_else(Vec::new, |info| info.shape);
        let rows = shape.first().copied().unwrap_or(1);
        let width: usize = shape.iter().skip(1).product();
        let all = || (0..rows).collect::<Vec<usize>>();
        let mut kept = Vec::new();
        for row in self.first.clone().unwrap_or_else(all) {
            let line = &values[row * width * size..(row + 1) * width * size];
            match &self.second {
                None => kept.extend_from_slice(line),
                Some(columns) => {
                    for &column in columns {
                        kept.extend_from_slice(&line[column * size..(column + 1) * size]);
                    }
                }
            }
        }
        kept
    }
}

/// One tensor of `model` as `cut` leaves it; `None` where it goes.
fn cut_tensor(model: &Model, cut: &Cut, from: String) -> Option<CutTensor> {
    let info = model.source().info(&from)?;
    let (name, block, slice) = match model.block_of(&from) {
        Some((block, rest)) if block < model.config().blocks => {
            let place = cut.blocks.iter().position(|&kept| kept == block)?;
            let (slice, transposed) = block_slice(model, &from, &cut.parts[place]);
            let name = format!("{}{rest}", model.block_prefix(place));
            (name, Some(place), turned(slice, transposed))
        }
        _ => (
            from.clone(),
            None,
            (token_rows(model, cut, &from, &info), None),
        ),
    };
    let (first, second) = slice;
    let mut shape = info.shape.clone();
    for (dimension, kept) in shape.iter_mut().zip([&first, &second]) {
        if let Some(kept) = kept {
            *dimension = kept.len();
        }
    }
    let elements: u64 = shape.iter().map(|&dimension| dimension as u64).product();
    let info = TensorInfo {
        dtype: info.dtype,
        size_bytes: elements * info.dtype.size_bytes() as u64,
        shape,
    };
    Some(CutTensor {
        name,
        from,
        block,
        info,
        first,
        second,
    })
}

/// What stays of a tensor of a block `[out, in]`, and whether it is stored the other way round.
fn block_slice(model: &Model, tensor: &str, kept: &KeptParts) -> (Slice, bool) {
    let config = model.config();
    let find = |name: &str| model.layers().iter().find(|layer| layer.tensor == name);
    let Some(layer) = find(tensor) else {
        return (Slice::default(), false);
    };
    let slice = match layer.role {
        Role::Bias => {
            let weight = tensor.strip_suffix(".bias");
            let owner = weight.and_then(|name| find(&format!("{name}.weight")));
            Slice {
                rows: owner.and_then(|owner| config.slice(owner.role, kept).rows),
                columns: None,
            }
        }
        role => config.slice(role, kept),
    };
    (without_all(slice, layer), layer.transposed)
}

/// Where everything stays, nothing is selected.
fn without_all(slice: Slice, layer: &LayerInfo) -> Slice {
    let some = |kept: Option<Vec<usize>>, all: usize| kept.filter(|kept| kept.len() < all);
    Slice {
        rows: some(slice.rows, layer.rows),
        columns: some(slice.columns, layer.columns),
    }
}

type Dimensions = (Option<Vec<usize>>, Option<Vec<usize>>);

fn turned(slice: Slice, transposed: bool) -> Dimensions {
    match transposed {
        true => (slice.columns, slice.rows),
        false => (slice.rows, slice.columns),
    }
}

/// Rows that stay of what has one for each token: embedding, head, and whatever stands beside the network.
fn token_rows(model: &Model, cut: &Cut, tensor: &str, info: &TensorInfo) -> Option<Vec<usize>> {
    let tokens = cut.tokens.as_ref()?;
    let layer = model.layers().iter().find(|layer| layer.tensor == tensor);
    let of_tokens = match layer.map(|layer| (layer.kind, layer.role)) {
        Some((LayerKind::Embedding | LayerKind::Head, _)) => true,
        Some((_, Role::Other | Role::Bias)) => {
            let config = model.config();
            // A bias as wide as the residual stream would look the same.
            config.vocabulary != config.hidden && info.shape.first() == Some(&config.vocabulary)
        }
        _ => false,
    };
    of_tokens.then(|| tokens.clone())
}
