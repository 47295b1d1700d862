//! The trained student as a folder that every program opens: the untrained one's names, dtypes and side files with the
//! trained values, written, reopened and compared.

use super::super::{Session, SessionError};
use super::sides::write_sides;
use crate::checkpoint::Checkpoint;
use crate::formats::StoreError;
use crate::formats::emit::{rounded, to_bytes};
use crate::formats::store::stream::{TensorSpec, write_tensors};
use crate::report::{Notice, Observer, Verified};
use crate::tensor::{Dtype, WeightSource as _};
use crate::train::TrainError;
use half::{bf16, f16};
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
                Some(values) => {
                    check_range(&spec.name, &values, spec.dtype, &path)?;
                    to_bytes(&values, spec.dtype)
                }
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
        let total = fs::metadata(&path).map_or(0, |file| file.len());
        Ok(total + write_sides(&self.checkpoint, folder, true)?)
    }
}

/// Whether `dtype` holds all of `values`: no float file has NaN or infinity for a weight, nor a value cut at its range.
fn check_range(tensor: &str, values: &[f32], dtype: Dtype, path: &Path) -> Result<(), StoreError> {
    let largest = match dtype {
        Dtype::F16 => f16::MAX.to_f32(),
        Dtype::BF16 => bf16::MAX.to_f32(),
        _ => f32::MAX,
    };
    let mut values = values.iter();
    match values.find(|value| value.is_nan() || value.abs() > largest) {
        None => Ok(()),
        Some(value) => Err(StoreError::Differs {
            tensor: tensor.to_owned(),
            problem: format!(
                "was trained to a value of {value}, which {dtype} cannot hold; train with a lower rate, or start from a student stored in f32"
            ),
            path: path.to_owned(),
        }),
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
        let mut pairs = expected.iter().zip(&found);
        let is_same = pairs.all(|(one, other)| one.to_bits() == other.to_bits());
        if found.len() != expected.len() || !is_same {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_a_dtype_cannot_hold_are_refused() {
        let rows = [
            (1.0, Dtype::F16, true),
            (65_504.0, Dtype::F16, true),
            (65_520.0, Dtype::F16, false),
            (65_520.0, Dtype::BF16, true),
            (-3.4e38, Dtype::BF16, false),
            (-3.4e38, Dtype::F32, true),
            (f32::NAN, Dtype::F32, false),
            (f32::INFINITY, Dtype::F32, false),
        ];
        for (value, dtype, holds) in rows {
            let found = check_range("x", &[0.0, value], dtype, Path::new("model"));
            assert_eq!(found.is_ok(), holds, "{value} as {dtype}");
            if let Err(error) = found {
                assert!(error.to_string().contains("cannot hold"), "{error}");
            }
        }
    }
}
