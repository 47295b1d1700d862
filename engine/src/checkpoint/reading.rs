//! An open model as a source of tensors, plain or packed: values are read when they are asked for.
//!
//! Packed layers are listed as the dense tensors that they stand for; their parts are found by their own names, but not
//! listed.

use super::{Checkpoint, Entry};
use crate::ggml::{self, GgmlType};
use crate::packed::{ActivationPlan, Blocks, LayerManifest, PackedSource, Stored};
use crate::solved::Solved;
use crate::tensor::{Dtype, SourceError, TensorInfo, WeightSource};

impl WeightSource for Checkpoint {
    fn names(&self) -> Vec<String> {
        (0..self.entries.len())
            .map(|index| self.name_of(index).to_owned())
            .collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        let Some(&index) = self.by_name.get(name) else {
            return Some(self.shards.tensors[self.part(name)?].info.clone());
        };
        Some(match &self.entries[index] {
            Entry::Plain(stored) => self.shards.tensors[*stored].info.clone(),
            Entry::Packed(packed) => packed.info.clone(),
            Entry::Blocks(blocks) => blocks.info.clone(),
        })
    }

    fn read_f32(&self, name: &str) -> Result<Vec<f32>, SourceError> {
        self.values(&self.entries[self.find(name)?])
    }

    fn read_bytes(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        let part = self.part(name).map(Entry::Plain);
        let (index, entry) = match &part {
            Some(part) => (usize::MAX, part),
            None => {
                let index = self.find(name)?;
                (index, &self.entries[index])
            }
        };
        let total = match entry {
            Entry::Plain(stored) => self.shards.tensors[*stored].info.size_bytes,
            Entry::Packed(packed) => packed.info.elements() * 4,
            Entry::Blocks(blocks) => blocks.info.elements() * blocks.info.dtype.size_bytes() as u64,
        };
        let end = offset.checked_add(buffer.len() as u64);
        let Some(end) = end.filter(|&end| end <= total) else {
            return Err(SourceError::Unfit {
                name: name.to_owned(),
                problem: format!(
                    "has {total} bytes; {} bytes from {offset} on were asked for",
                    buffer.len()
                ),
            });
        };
        match entry {
            Entry::Plain(stored) => self.shards.read_at(*stored, offset, buffer),
            Entry::Packed(_) | Entry::Blocks(_) => {
                let values = self.unpacked(index)?;
                match entry {
                    Entry::Blocks(blocks) if blocks.info.dtype != Dtype::F32 => {
                        copy_halves(&values, blocks.kind, offset as usize, buffer);
                    }
                    _ => copy_bytes(&values, offset as usize, buffer),
                }
                if end == total {
                    self.forget_unpacked();
                }
                Ok(())
            }
        }
    }

    fn read_blocks(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        match &self.entries[self.find(name)?] {
            Entry::Blocks(blocks) => blocks.bytes_at(&self.shards.files, offset, buffer),
            _ => Err(SourceError::Unfit {
                name: name.to_owned(),
                problem: "is not stored in blocks of ggml".to_owned(),
            }),
        }
    }
}

impl PackedSource for Checkpoint {
    fn is_packed(&self, tensor: &str) -> bool {
        Self::is_packed(self, tensor)
    }

    fn solved(&self, tensor: &str) -> Result<Option<(Solved, ActivationPlan)>, SourceError> {
        let index = self.by_name.get(tensor);
        match index.map(|&index| &self.entries[index]) {
            Some(Entry::Packed(packed)) => packed.layer(&self.shards).map(Some),
            _ => Ok(None),
        }
    }

    fn stored(&self, tensor: &str) -> Option<Stored> {
        Some(Self::stored(self, tensor)?.0)
    }

    fn blocks(&self, tensor: &str) -> Option<Blocks> {
        match &self.entries[*self.by_name.get(tensor)?] {
            Entry::Blocks(blocks) => Some(Blocks {
                kind: blocks.kind,
                order: blocks.order,
            }),
            _ => None,
        }
    }

    fn manifest(&self, tensor: &str) -> Option<&LayerManifest> {
        match &self.entries[*self.by_name.get(tensor)?] {
            Entry::Plain(_) | Entry::Blocks(_) => None,
            Entry::Packed(packed) => packed.manifest(),
        }
    }
}

/// The same of values that are stored in two bytes each: they are read as they were.
fn copy_halves(values: &[f32], kind: GgmlType, position: usize, buffer: &mut [u8]) {
    let first = position / 2;
    let last = (position + buffer.len()).div_ceil(2);
    let mut bytes = vec![0; 2 * (last - first)];
    ggml::encode_row(kind, &values[first..last], None, &mut bytes);
    buffer.copy_from_slice(&bytes[position % 2..][..buffer.len()]);
}

/// Little-endian bytes of `values` from byte `position` on, which may lie inside a value.
fn copy_bytes(values: &[f32], mut position: usize, mut buffer: &mut [u8]) {
    while !buffer.is_empty() {
        let bytes = values[position / 4].to_le_bytes();
        let from = &bytes[position % 4..];
        let count = from.len().min(buffer.len());
        let (now, later) = buffer.split_at_mut(count);
        now.copy_from_slice(&from[..count]);
        position += count;
        buffer = later;
    }
}
