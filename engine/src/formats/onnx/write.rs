//! The file of tensors beside a graph: written one tensor at a time, read again and compared.
//!
//! Solved layers and changed tensors come from a run folder, all else from the model that it was made of.

use super::codes::Layer;
use super::element::Element;
use super::graph::StoredTensor;
use super::plan::OnnxPlan;
use super::proto::{self, ReadTensor};
use super::read_back::{self, StoredParts};
use super::weight::{OnnxForm, PartKind};
use super::{DATA_FILE, MODEL_FILE};
use crate::formats::emit;
use crate::formats::layout::{Placement, Plan, PlannedLayer};
use crate::formats::store::{StoreError, StoredLayer, atomic, changed_tensor_of_run, layer_of_run};
use crate::report::{Observer, Verified};
use crate::solved::Solved;
use crate::tensor::{Dtype, Matrix, WeightSource};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Zeros between tensors are fewer than this.
const MOST_PADDING: usize = 4096;

/// Where a model's tensors come from.
pub(in crate::formats) struct Materials<'a> {
    run: &'a Path,
    /// `None` where only what the run made is known.
    source: Option<&'a dyn WeightSource>,
    /// Layers of the plan by their tensors.
    layers: HashMap<&'a str, &'a PlannedLayer>,
    /// The layer that was asked for last.
    last: Option<(String, Option<StoredLayer>)>,
}

impl<'a> Materials<'a> {
    pub(in crate::formats) fn new(
        plan: &'a Plan,
        run: &'a Path,
        source: Option<&'a dyn WeightSource>,
    ) -> Self {
        let layers = plan.layers.iter();
        Self {
            run,
            source,
            layers: layers
                .map(|layer| (layer.tensor.name.as_str(), layer))
                .collect(),
            last: None,
        }
    }

    /// The solved layer of a tensor; `None` where it was left as it was.
    fn solved(&mut self, tensor: &str) -> Result<Option<&StoredLayer>, StoreError> {
        if self.last.as_ref().is_none_or(|(held, _)| held != tensor) {
            // The old layer goes before the new one comes.
            self.last = None;
            let layer = self.layers.get(tensor);
            let layer = layer.filter(|layer| layer.placement != Placement::Source);
            let stored = match layer {
                Some(layer) => Some(layer_of_run(self.run, &layer.name)?.ok_or_else(|| {
                    StoreError::NoLayer {
                        layer: layer.name.clone(),
                        path: self.run.to_owned(),
                    }
                })?),
                None => None,
            };
            self.last = Some((tensor.to_owned(), stored));
        }
        Ok(self.last.as_ref().and_then(|(_, stored)| stored.as_ref()))
    }

    /// The bytes of a stored tensor; `None` where they come from a source that is not known.
    fn bytes(
        &mut self,
        plan: &OnnxPlan,
        tensor: &StoredTensor,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let (name, kind) = (&tensor.origin.tensor, tensor.origin.kind);
        let PartKind::Values { turned, plus_one } = kind else {
            let weight = plan.weights.get(name).copied();
            let stored = self.solved(name)?;
            let (Some(weight), Some(stored)) = (weight, stored) else {
                return Err(StoreError::NoLayer {
                    layer: name.clone(),
                    path: self.run.to_owned(),
                });
            };
            let layer = Layer {
                name,
                weight,
                solved: &stored.solved,
                activations: &stored.activations,
            };
            return Ok(Some(layer.bytes(kind)?));
        };
        let dtype = tensor.element.float_dtype().unwrap_or(Dtype::F32);
        let factors_beside = plan
            .weights
            .get(name)
            .is_some_and(|weight| weight.factors.is_some());
        let values = match self.solved(name)? {
            Some(stored) if factors_beside => {
                let without = Solved {
                    factors: None,
                    ..stored.solved.clone()
                };
                Some(emit::dense_values(&without, false).into_data())
            }
            Some(stored) => Some(emit::dense_values(&stored.solved, false).into_data()),
            None => None,
        };
        if let Some(values) = values {
            let planned = self.layers.get(name.as_str());
            let (rows, columns) = planned.map_or((0, 0), |layer| (layer.rows, layer.columns));
            let is_table = plan.weights.get(name).is_some_and(|weight| weight.is_table);
            // Solved values are `[out, in]`, whatever the checkpoint has.
            let matrix = Matrix::new(rows, columns, values);
            let matrix = if is_table {
                matrix
            } else {
                matrix.transposed()
            };
            return Ok(Some(emit::to_bytes(matrix.data(), dtype)));
        }
        let values = match (changed_tensor_of_run(self.run, name)?, self.source) {
            (Some(values), _) => values,
            (None, Some(source)) => source.read_f32(name)?,
            (None, None) => return Ok(None),
        };
        let values = match (turned, tensor.shape.as_slice()) {
            (true, &[columns, rows]) => Matrix::new(rows, columns, values).transposed().into_data(),
            _ if plus_one => values.iter().map(|value| value + 1.0).collect(),
            _ => values,
        };
        Ok(Some(emit::to_bytes(&values, dtype)))
    }
}

/// Writes the tensors of `plan` to the file at `path`.
pub(in crate::formats) fn write_data(
    path: &Path,
    plan: &OnnxPlan,
    materials: &mut Materials<'_>,
    observer: &dyn Observer,
) -> Result<(), StoreError> {
    let failed = StoreError::io("could not be written", path);
    atomic::write_file(path, |output| {
        let mut end = 0;
        for (done, tensor) in plan.tensors.iter().enumerate() {
            observer.check()?;
            let bytes = materials.bytes(plan, tensor)?.unwrap_or_default();
            if bytes.len() as u64 != tensor.size_bytes {
                return Err(StoreError::Miscounted {
                    tensor: tensor.name.clone(),
                    planned: tensor.size_bytes,
                    written: bytes.len() as u64,
                });
            }
            let padding = (tensor.offset - end) as usize;
            output
                .write_all(&[0; MOST_PADDING][..padding])
                .map_err(&failed)?;
            output.write_all(&bytes).map_err(&failed)?;
            end = tensor.offset + tensor.size_bytes;
            observer.step(done as u64 + 1, plan.tensors.len() as u64);
        }
        Ok(())
    })
}

/// Reads both files in `folder` again: every tensor where and what it was planned to be, and solved layers the values that they
/// stand for.
pub(in crate::formats) fn verify(
    folder: &Path,
    plan: &OnnxPlan,
    materials: &mut Materials<'_>,
    observer: &dyn Observer,
) -> Result<Verified, StoreError> {
    let found = read_graph(&folder.join(MODEL_FILE), plan)?;
    let path = folder.join(DATA_FILE);
    let unread = StoreError::io("could not be read", &path);
    let mut file = File::open(&path).map_err(&unread)?;
    let mut verified = Verified {
        tensors: 0,
        max_abs_difference: 0.0,
    };
    let mut layer = LayerParts::default();
    for (done, (tensor, read)) in plan.tensors.iter().zip(&found).enumerate() {
        observer.check()?;
        let mut bytes = vec![0; tensor.size_bytes as usize];
        file.seek(SeekFrom::Start(read.offset)).map_err(&unread)?;
        file.read_exact(&mut bytes).map_err(&unread)?;
        if let Some(expected) = materials.bytes(plan, tensor)? {
            if expected != bytes {
                return Err(differs(&path, &tensor.name, "held other bytes"));
            }
            verified.tensors += 1;
        }
        let (name, kind) = (&tensor.origin.tensor, tensor.origin.kind);
        if layer.tensor != *name {
            layer = LayerParts {
                tensor: name.clone(),
                parts: Vec::new(),
            };
        }
        layer.parts.push((kind, bytes));
        let is_last = plan
            .tensors
            .get(done + 1)
            .is_none_or(|next| next.origin.tensor != *name);
        if is_last && let Some(stored) = materials.solved(name)? {
            let difference = layer.difference(plan, &stored.solved);
            let difference =
                difference.ok_or_else(|| differs(&path, &tensor.name, "held other values"))?;
            verified.max_abs_difference = verified.max_abs_difference.max(difference);
        }
        observer.step(done as u64 + 1, plan.tensors.len() as u64);
    }
    Ok(verified)
}

/// The tensors that the graph's file names, each as planned.
fn read_graph(path: &Path, plan: &OnnxPlan) -> Result<Vec<ReadTensor>, StoreError> {
    let bytes = fs::read(path).map_err(StoreError::io("could not be read", path))?;
    let (found, _) = proto::read(&bytes).map_err(|error| {
        let error = std::io::Error::new(std::io::ErrorKind::InvalidData, error);
        StoreError::io("could not be read", path)(error)
    })?;
    if found.len() != plan.tensors.len() {
        return Err(differs(path, "of the graph", "were not as many as planned"));
    }
    for (tensor, found) in plan.tensors.iter().zip(&found) {
        let shape = tensor.shape.iter().map(|&size| size as i64);
        let is_same = found.name == tensor.name
            && found.element == Some(tensor.element)
            && shape.eq(found.shape.iter().copied())
            && found.location == DATA_FILE
            && (found.offset, found.length) == (tensor.offset, tensor.size_bytes);
        if !is_same {
            return Err(differs(path, &tensor.name, "had another place or shape"));
        }
    }
    Ok(found)
}

fn differs(path: &Path, tensor: &str, problem: &str) -> StoreError {
    StoreError::Differs {
        tensor: tensor.to_owned(),
        problem: problem.to_owned(),
        path: path.to_owned(),
    }
}

/// The tensors of one weight, as they were read.
#[derive(Default)]
struct LayerParts {
    tensor: String,
    parts: Vec<(PartKind, Vec<u8>)>,
}

impl StoredParts for LayerParts {
    fn part(&self, kind: PartKind) -> Option<&[u8]> {
        let found = self.parts.iter().find(|(held, _)| *held == kind);
        found.map(|(_, bytes)| bytes.as_slice())
    }
}

impl LayerParts {
    /// How far the weights are from the solved ones; `None` where codes stand for others. Factors were compared as bytes.
    fn difference(&self, plan: &OnnxPlan, solved: &Solved) -> Option<f64> {
        let (rows, columns) = (solved.codes.rows, solved.codes.columns);
        let plain = Solved {
            factors: None,
            ..solved.clone()
        };
        let weight = plan.weights.get(&self.tensor)?;
        match weight.form {
            OnnxForm::Bytes(_) | OnnxForm::Blocks { .. } => {
                let found = read_back::weights(weight, rows, columns, self)?;
                (found.data() == plain.dequantize().data()).then_some(0.0)
            }
            OnnxForm::Nothing => Some(0.0),
            OnnxForm::Values(dtype) => {
                let values = emit::dense_values(solved, false);
                let dtype = Element::of_weights(dtype).float_dtype()?;
                let rounded = emit::rounded(values.data(), dtype);
                let differences = values.data().iter().zip(&rounded);
                let sizes = differences.map(|(left, right)| (left - right).abs());
                Some(f64::from(sizes.fold(0.0, f32::max)))
            }
        }
    }
}
