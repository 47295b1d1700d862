//! A planned model becomes files, and the files are opened again and compared.
//!
//! At most one layer is in memory at a time. Every file is whole or absent; the folder gets its final name from whoever
//! called, after `verify`. Knows no solver: layers come from the run folder.

use super::emit;
use super::layout::{Content, FileContent, Placement, Plan, PlannedLayer, PlannedTensor};
use super::onnx;
use super::store::stream::{TensorSpec, write_tensors};
use super::store::{StoreError, StoredLayer, atomic, changed_tensor_of_run, layer_of_run};
use crate::checkpoint::Checkpoint;
use crate::distortion::worst;
use crate::packed::{ActivationPlan, LayerManifest, PackedSource, Part};
use crate::report::{Notice, Observer, Verified};
use crate::tensor::WeightSource;
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

/// Bytes that are copied at a time.
const COPY_BYTES: usize = 8 << 20;

/// Writes every file of `plan` into the run folder `run`, whose solved layers and changed tensors it takes.
pub fn assemble_run(
    run: &Path,
    plan: &Plan,
    source: &dyn WeightSource,
    observer: &dyn Observer,
) -> Result<(), StoreError> {
    assemble(run, run, plan, source, observer)
}

/// Opens the model in `run` again and compares every solved layer and changed tensor.
pub fn verify_run(
    run: &Path,
    plan: &Plan,
    observer: &dyn Observer,
) -> Result<Verified, StoreError> {
    verify(run, run, plan, None, observer)
}

/// `assemble_run` into another folder.
pub(super) fn assemble(
    folder: &Path,
    run: &Path,
    plan: &Plan,
    source: &dyn WeightSource,
    observer: &dyn Observer,
) -> Result<(), StoreError> {
    observer.notice(Notice::Stage {
        name: "writing the model",
        steps: tensor_count(plan),
    });
    let mut writer = Writer {
        run,
        plan,
        source,
        observer,
        packed: None,
        done: 0,
    };
    for file in &plan.files {
        let path = folder.join(&file.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(StoreError::io("could not be created", parent))?;
        }
        match &file.content {
            FileContent::Tensors { metadata, tensors } => {
                writer.write_file(&path, metadata, tensors)?;
            }
            FileContent::Text(text) => atomic::write_file(&path, |output| {
                output
                    .write_all(text)
                    .map_err(StoreError::io("could not be written", &path))
            })?,
            FileContent::Gguf(gguf) => {
                super::gguf::write_run(&path, gguf, plan, run, source, observer)?
            }
            FileContent::Onnx(onnx) => {
                let mut materials = onnx::Materials::new(plan, run, Some(source));
                onnx::write_data(&path, onnx, &mut materials, observer)?;
            }
            FileContent::Copy(from) => copy_file(from, &path, file.size_bytes)?,
        }
    }
    Ok(())
}

/// `verify_run` of another folder. Where the `source` is known, a container of other tensors than its own is compared with
/// those too.
pub(super) fn verify(
    folder: &Path,
    run: &Path,
    plan: &Plan,
    source: Option<&dyn WeightSource>,
    observer: &dyn Observer,
) -> Result<Verified, StoreError> {
    observer.notice(Notice::Stage {
        name: "reading it again",
        steps: tensor_count(plan),
    });
    for file in &plan.files {
        if let FileContent::Gguf(gguf) = &file.content {
            let path = folder.join(&file.path);
            return super::gguf::verify_run(&path, gguf, plan, run, observer);
        }
        if let FileContent::Onnx(onnx) = &file.content {
            let mut materials = onnx::Materials::new(plan, run, source);
            return onnx::verify(folder, onnx, &mut materials, observer);
        }
    }
    let mut verified = Verified {
        tensors: 0,
        max_abs_difference: 0.0,
    };
    let reopened = Checkpoint::open(folder)?;
    let reader = Verifier {
        folder,
        run,
        reopened: &reopened,
    };
    for layer in &plan.layers {
        observer.check()?;
        if let Some(manifest) = &layer.carried {
            reader.compare_carried(manifest)?;
            verified.tensors += 1;
        } else if layer.placement != Placement::Source {
            let difference = reader.compare_layer(layer)?;
            verified.max_abs_difference = verified.max_abs_difference.max(difference);
            verified.tensors += 1;
            observer.step(verified.tensors as u64, tensor_count(plan));
        }
    }
    for tensor in tensors(plan).filter(|tensor| tensor.content == Content::Source) {
        observer.check()?;
        reader.compare_info(&tensor.spec)?;
        if let Some(difference) = reader.compare_changed(&tensor.spec)? {
            verified.max_abs_difference = verified.max_abs_difference.max(difference);
            verified.tensors += 1;
        }
    }
    observer.step(tensor_count(plan), tensor_count(plan));
    Ok(verified)
}

fn tensors(plan: &Plan) -> impl Iterator<Item = &PlannedTensor> {
    plan.files.iter().flat_map(|file| match &file.content {
        FileContent::Tensors { tensors, .. } => tensors.as_slice(),
        _ => &[],
    })
}

fn tensor_count(plan: &Plan) -> u64 {
    tensors(plan).count() as u64
}

struct Writer<'a> {
    run: &'a Path,
    plan: &'a Plan,
    source: &'a dyn WeightSource,
    observer: &'a dyn Observer,
    /// The layer whose parts are being written, and its parts.
    packed: Option<(usize, Vec<Part>)>,
    done: u64,
}

impl Writer<'_> {
    fn write_file(
        &mut self,
        path: &Path,
        metadata: &[(String, String)],
        tensors: &[PlannedTensor],
    ) -> Result<(), StoreError> {
        let specs: Vec<TensorSpec> = tensors.iter().map(|tensor| tensor.spec.clone()).collect();
        write_tensors(path, &specs, metadata, |index, output| {
            self.observer.check()?;
            self.write_tensor(path, &tensors[index], output)?;
            self.done += 1;
            self.observer.step(self.done, tensor_count(self.plan));
            Ok(())
        })
    }

    fn write_tensor(
        &mut self,
        path: &Path,
        tensor: &PlannedTensor,
        output: &mut dyn Write,
    ) -> Result<(), StoreError> {
        let failed = StoreError::io("could not be written", path);
        match tensor.content {
            Content::Layer { layer, part } => {
                let parts = self.parts_of(layer)?;
                output.write_all(&parts[part].bytes).map_err(failed)
            }
            Content::Source => {
                if let Some(values) = changed_tensor_of_run(self.run, &tensor.spec.name)? {
                    let bytes = emit::to_bytes(&values, tensor.spec.dtype);
                    return output.write_all(&bytes).map_err(failed);
                }
                self.copy_tensor(path, &tensor.spec, output)
            }
        }
    }

    fn parts_of(&mut self, index: usize) -> Result<&[Part], StoreError> {
        if self.packed.as_ref().is_none_or(|(held, _)| *held != index) {
            // The old layer goes before the new one comes.
            self.packed = None;
            let layer = &self.plan.layers[index];
            let stored = stored_layer(self.run, layer)?;
            let parts = emit::layer_parts(layer, &stored)?;
            self.packed = Some((index, parts));
        }
        Ok(self.packed.as_ref().map_or(&[], |(_, parts)| parts))
    }

    /// The source's bytes; where the source holds the tensor packed, its values in the planned dtype.
    fn copy_tensor(
        &self,
        path: &Path,
        spec: &TensorSpec,
        output: &mut dyn Write,
    ) -> Result<(), StoreError> {
        let failed = StoreError::io("could not be written", path);
        let info = self.source.info(&spec.name);
        if info.is_none_or(|info| info.size_bytes != spec.size_bytes()) {
            let values = self.source.read_f32(&spec.name)?;
            let bytes = emit::to_bytes(&values, spec.dtype);
            return output.write_all(&bytes).map_err(failed);
        }
        let mut buffer = vec![0; COPY_BYTES.min(spec.size_bytes() as usize)];
        let mut offset = 0;
        while offset < spec.size_bytes() {
            self.observer.check()?;
            let length = (spec.size_bytes() - offset).min(COPY_BYTES as u64) as usize;
            self.source
                .read_bytes(&spec.name, offset, &mut buffer[..length])?;
            output.write_all(&buffer[..length]).map_err(&failed)?;
            offset += length as u64;
        }
        Ok(())
    }
}

/// Copies a side file; one that changed since it was planned is an error.
fn copy_file(from: &Path, path: &Path, size_bytes: u64) -> Result<(), StoreError> {
    atomic::write_file(path, |output| {
        let file = fs::File::open(from).map_err(StoreError::io("could not be read", from))?;
        let copied = io::copy(&mut file.take(size_bytes + 1), output)
            .map_err(StoreError::io("could not be copied", from))?;
        if copied == size_bytes {
            Ok(())
        } else {
            let changed = io::Error::other("it changed while the job ran");
            Err(StoreError::io("could not be copied", from)(changed))
        }
    })
}

fn stored_layer(run: &Path, layer: &PlannedLayer) -> Result<StoredLayer, StoreError> {
    layer_of_run(run, &layer.name)?.ok_or_else(|| StoreError::NoLayer {
        layer: layer.name.clone(),
        path: run.to_owned(),
    })
}

struct Verifier<'a> {
    folder: &'a Path,
    run: &'a Path,
    reopened: &'a Checkpoint,
}

impl Verifier<'_> {
    /// Largest difference between the solved values and the reopened ones. Containers that hold codes give the solved
    /// values exactly; a dense one gives them rounded to its dtype.
    fn compare_layer(&self, layer: &PlannedLayer) -> Result<f64, StoreError> {
        let stored = stored_layer(self.run, layer)?;
        let solved = emit::dense_values(&stored.solved, layer.tensor.transposed).into_data();
        let found = self.reopened.read_f32(&layer.tensor.name)?;
        let same = match layer.placement {
            Placement::Source | Placement::Carried | Placement::Dense => {
                found == emit::rounded(&solved, layer.tensor.dtype)
            }
            Placement::External(external) if !external.is_exact() => {
                found == emit::external_values(layer, &external, &stored)?.data()
            }
            Placement::Pare(..)
            | Placement::External(_)
            | Placement::Blocks(_)
            | Placement::Onnx(_) => found == solved,
        };
        let activations = match layer.placement {
            Placement::Pare(..) => stored.activations,
            Placement::External(external) if !external.activation_kind().is_none() => {
                stored.activations
            }
            _ => ActivationPlan::NONE,
        };
        if self.reopened.activations(&layer.tensor.name)? != activations {
            return Err(self.differs(&layer.tensor.name, "rounded its inputs otherwise"));
        }
        if same {
            Ok(largest_difference(&solved, &found))
        } else {
            Err(self.differs(&layer.tensor.name, "held other values"))
        }
    }

    /// Whether what was taken over is found again; its parts are compared among the tensors of the source.
    fn compare_carried(&self, manifest: &LayerManifest) -> Result<(), StoreError> {
        let tensor = &manifest.tensor.name;
        self.reopened.activations(tensor)?;
        if self.reopened.manifest(tensor) == Some(manifest) {
            Ok(())
        } else {
            Err(self.differs(tensor, "was packed otherwise"))
        }
    }

    fn compare_info(&self, spec: &TensorSpec) -> Result<(), StoreError> {
        let found = self.reopened.info(&spec.name);
        if found.is_some_and(|info| info.dtype == spec.dtype && info.shape == spec.shape) {
            Ok(())
        } else {
            Err(self.differs(&spec.name, "had another shape or dtype"))
        }
    }

    fn compare_changed(&self, spec: &TensorSpec) -> Result<Option<f64>, StoreError> {
        let Some(values) = changed_tensor_of_run(self.run, &spec.name)? else {
            return Ok(None);
        };
        let found = self.reopened.read_f32(&spec.name)?;
        if found == emit::rounded(&values, spec.dtype) {
            Ok(Some(largest_difference(&values, &found)))
        } else {
            Err(self.differs(&spec.name, "held other values"))
        }
    }

    fn differs(&self, tensor: &str, problem: &str) -> StoreError {
        StoreError::Differs {
            tensor: tensor.to_owned(),
            problem: problem.to_owned(),
            path: self.folder.to_owned(),
        }
    }
}

fn largest_difference(left: &[f32], right: &[f32]) -> f64 {
    left.iter()
        .zip(right)
        .map(|(left, right)| (f64::from(*left) - f64::from(*right)).abs())
        .fold(0.0, worst)
}
