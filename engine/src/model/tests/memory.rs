//! A `WeightSource` in memory, for tests only.

use crate::tensor::{Dtype, SourceError, TensorInfo, WeightSource};
use std::collections::BTreeMap;
use std::path::Path;

/// Named f32 tensors.
#[derive(Debug, Default, Clone)]
pub(in crate::model) struct Memory {
    pub(in crate::model) tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Memory {
    /// The float tensors of a safetensors file.
    pub(in crate::model) fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let tensors = file.tensors().into_iter().map(|(name, view)| {
            let values = match view.dtype() {
                safetensors::Dtype::F32 => view
                    .data()
                    .as_chunks::<4>()
                    .0
                    .iter()
                    .map(|bytes| f32::from_le_bytes(*bytes))
                    .collect(),
                safetensors::Dtype::BF16 => view
                    .data()
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .map(|bytes| half::bf16::from_le_bytes(*bytes).to_f32())
                    .collect(),
                safetensors::Dtype::F16 => view
                    .data()
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .map(|bytes| half::f16::from_le_bytes(*bytes).to_f32())
                    .collect(),
                safetensors::Dtype::I64 => view
                    .data()
                    .as_chunks::<8>()
                    .0
                    .iter()
                    .map(|bytes| i64::from_le_bytes(*bytes) as f32)
                    .collect(),
                other => panic!("{name} is {other:?}"),
            };
            (name, (view.shape().to_vec(), values))
        });
        Self {
            tensors: tensors.collect(),
        }
    }
}

impl WeightSource for Memory {
    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        let (shape, values) = self.tensors.get(name)?;
        Some(TensorInfo {
            dtype: Dtype::F32,
            shape: shape.clone(),
            size_bytes: 4 * values.len() as u64,
        })
    }

    fn read_f32(&self, name: &str) -> Result<Vec<f32>, SourceError> {
        let found = self.tensors.get(name).map(|(_, values)| values.clone());
        found.ok_or_else(|| SourceError::Missing {
            name: name.to_owned(),
        })
    }

    fn read_bytes(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        let values = self.read_f32(name)?;
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let start = offset as usize;
        buffer.copy_from_slice(&bytes[start..start + buffer.len()]);
        Ok(())
    }
}
