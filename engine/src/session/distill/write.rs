//! The trained student as a folder that every program opens: the untrained one's names, dtypes and side files with the
//! trained values, written, reopened and compared.

use super::super::{Session, SessionError};
use crate::checkpoint::Checkpoint;
use crate::formats::StoreError;
use crate::formats::emit::{rounded, to_bytes};
use crate::formats::store::atomic::write_bytes;
use crate::formats::store::stream::{TensorSpec, write_tensors};
use crate::report::{Notice, Observer, Verified};
use crate::tensor::WeightSource as _;
use crate::train::TrainError;
use std::fs;
use std::path::Path;

/// The file of all tensors.
const TENSORS: &str = "model.safetensors";

/// The trained values of a tensor, row-major; `None` where it was not trained.
pub(super) type Values<'a> = dyn Fn(&str) -> Result<Option<Vec<f32>>, TrainError> + 'a;

impl Session {
    /// Writes this model into `folder` with the values of `trained` in place of its own.
    pub(super) fn write_trained(
        &self,
        trained: &Values<'_>,
        folder: &Path,
        observer: &dyn Observer,
    ) -> Result<u64, SessionError> {
        let source = self.checkpoint.as_ref();
        let specs: Vec<TensorSpec> = source
            .names()
            .into_iter()
            .filter_map(|name| {
                let info = source.info(&name)?;
                Some(TensorSpec {
                    name,
                    dtype: info.dtype,
                    shape: info.shape,
                })
            })
            .collect();
        observer.notice(Notice::Stage {
            name: "writing the model",
            steps: specs.len() as u64,
        });
        let path = folder.join(TENSORS);
        let metadata = [("format".to_owned(), "pt".to_owned())];
        write_tensors(&path, &specs, &metadata, |index, output| {
            observer.check()?;
            let spec = &specs[index];
            let values = trained(&spec.name).map_err(|error| {
                let error = std::io::Error::other(error.to_string());
                StoreError::io("could not be made", &path)(error)
            })?;
            let bytes = match values {
                Some(values) => to_bytes(&values, spec.dtype),
                None => {
                    let mut bytes = vec![0; spec.size_bytes() as usize];
                    source.read_bytes(&spec.name, 0, &mut bytes)?;
                    bytes
                }
            };
            let failed = StoreError::io("could not be written", &path);
            output.write_all(&bytes).map_err(failed)?;
            observer.step(index as u64 + 1, specs.len() as u64);
            Ok(())
        })?;
        let mut total = fs::metadata(&path).map_or(0, |file| file.len());
        for side in self.checkpoint.side_files() {
            if side.to_string_lossy().ends_with(".index.json") {
                continue;
            }
            let from = self.checkpoint.root().join(side);
            let to = folder.join(side);
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent)
                    .map_err(StoreError::io("could not be created", parent))?;
            }
            let bytes = fs::read(&from).map_err(StoreError::io("could not be read", &from))?;
            write_bytes(&to, &bytes)?;
            total += bytes.len() as u64;
        }
        Ok(total)
    }
}

/// Opens what was written again and compares it with the values that were to be written.
pub(super) fn verify(folder: &Path, trained: &Values<'_>) -> Result<Verified, SessionError> {
    let reopened = Checkpoint::open(folder).map_err(StoreError::from)?;
    let mut verified = Verified {
        tensors: 0,
        max_abs_difference: 0.0,
    };
    for name in reopened.names() {
        let (Some(values), Some(info)) = (trained(&name)?, reopened.info(&name)) else {
            continue;
        };
        let expected = rounded(&values, info.dtype);
        let found = reopened.read_f32(&name)?;
        let pairs = expected.iter().zip(&found);
        let difference = pairs.map(|(one, other)| f64::from((one - other).abs()));
        let difference = difference.fold(0.0, f64::max);
        if found.len() != expected.len() || difference.is_nan() || difference > 0.0 {
            return Err(StoreError::Differs {
                tensor: name,
                problem: "has other values".to_owned(),
                path: folder.to_owned(),
            }
            .into());
        }
        verified.tensors += 1;
    }
    Ok(verified)
}
