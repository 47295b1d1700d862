//! Tensors in memory as a `WeightSource`: models that tests and tools make without a file.

use pare_engine::tensor::{Dtype, SourceError, TensorInfo, WeightSource};
use std::collections::BTreeMap;

/// Named f32 tensors.
#[derive(Debug, Clone, Default)]
pub struct MemorySource {
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl MemorySource {
    /// Adds or replaces a tensor.
    ///
    /// # Panics
    /// If the number of values does not fit the shape.
    pub fn insert(&mut self, name: &str, shape: &[usize], values: Vec<f32>) {
        assert_eq!(values.len(), shape.iter().product::<usize>(), "{name}");
        self.tensors
            .insert(name.to_owned(), (shape.to_vec(), values));
    }

    /// All tensors by name: shape and values.
    pub fn tensors(&self) -> &BTreeMap<String, (Vec<usize>, Vec<f32>)> {
        &self.tensors
    }

    /// The same tensors with values that `change` has gone over; it is given name, shape and values.
    pub fn map(&self, mut change: impl FnMut(&str, &[usize], &mut [f32])) -> Self {
        let mut mapped = self.clone();
        for (name, (shape, values)) in &mut mapped.tensors {
            change(name, shape, values);
        }
        mapped
    }

    fn get(&self, name: &str) -> Result<&(Vec<usize>, Vec<f32>), SourceError> {
        self.tensors.get(name).ok_or_else(|| SourceError::Missing {
            name: name.to_owned(),
        })
    }
}

impl WeightSource for MemorySource {
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
        self.get(name).map(|(_, values)| values.clone())
    }

    fn read_bytes(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        let (_, values) = self.get(name)?;
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        let mut wanted = bytes.skip(offset as usize);
        for place in buffer {
            *place = wanted.next().ok_or_else(|| SourceError::Unfit {
                name: name.to_owned(),
                problem: "is shorter than what was asked".to_owned(),
            })?;
        }
        Ok(())
    }
}
