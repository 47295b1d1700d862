//! One tensor of a GGUF file, seen under its name in transformers: blocks are decoded and rows put back where transformers
//! has them, when values are asked for.
//!
//! Knows places and orders; what a block means is `ggml`'s knowledge.

use super::names::Change;
use crate::checkpoint::files::TensorFile;
use crate::ggml::{self, GgmlType};
use crate::tensor::{Dtype, Matrix, SourceError, TensorInfo};
use rayon::prelude::*;

/// Bytes that are read and decoded at a time.
const CHUNK_BYTES: usize = 4 << 20;

/// A tensor and where its blocks lie.
#[derive(Debug)]
pub(in crate::checkpoint) struct GgufTensor {
    /// Its name in transformers.
    pub(in crate::checkpoint) name: String,
    /// Its name in the file.
    pub(in crate::checkpoint) stored_name: String,
    /// Its shape in transformers, and its bytes as stored.
    pub(in crate::checkpoint) info: TensorInfo,
    /// Its element type.
    pub(in crate::checkpoint) kind: GgmlType,
    /// What lies otherwise than in transformers.
    pub(super) order: Order,
    /// Number of its file among those of the model.
    pub(super) file: usize,
    /// Its first byte.
    pub(super) start: u64,
}

/// What lies otherwise than in transformers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// The converter's change.
    pub change: Change,
    /// Heads that it goes through.
    pub heads: usize,
}

impl Order {
    /// The row of a GGUF tensor of `rows` rows that is row `row` in transformers.
    pub fn stored_row(self, row: usize, rows: usize) -> usize {
        match self.change {
            Change::QueryRows | Change::KeyRows => {
                let width = rows / self.heads;
                let (head, channel) = (row / width, row % width);
                let (half, pair) = (channel / (width / 2), channel % (width / 2));
                head * width + 2 * pair + half
            }
            Change::StackedHeads => {
                let width = rows / self.heads / 3;
                let (head, part, channel) = (row / (3 * width), row / width % 3, row % width);
                (part * self.heads + head) * width + channel
            }
            Change::None | Change::PlusOne | Change::Transposed => row,
        }
    }

    /// Whether `rows` rows can be put in this order.
    pub fn fits(self, rows: usize) -> bool {
        let parts = match self.change {
            Change::QueryRows | Change::KeyRows => 2,
            Change::StackedHeads => 3,
            _ => return true,
        };
        let heads = self.heads.checked_mul(parts);
        heads.is_some_and(|heads| heads > 0 && rows.is_multiple_of(heads))
    }

    fn moves_rows(self) -> bool {
        matches!(
            self.change,
            Change::QueryRows | Change::KeyRows | Change::StackedHeads
        )
    }
}

/// The dtype under which values of a type are handed out.
pub(super) fn dtype_of(kind: GgmlType) -> Dtype {
    match kind {
        GgmlType::F16 => Dtype::F16,
        GgmlType::BF16 => Dtype::BF16,
        _ => Dtype::F32,
    }
}

impl GgufTensor {
    /// All values, in the order of transformers.
    pub(in crate::checkpoint) fn values(
        &self,
        files: &[TensorFile],
    ) -> Result<Vec<f32>, SourceError> {
        let mut stored = self.stored_values(files)?;
        if self.order.change == Change::PlusOne {
            stored.iter_mut().for_each(|value| *value -= 1.0);
        }
        let rows = self.info.shape.first().copied().unwrap_or(1).max(1);
        let columns = stored.len() / rows;
        if self.order.change == Change::Transposed && self.info.shape.len() == 2 {
            // The shape is that of transformers, `[in, out]`; stored are `out` rows.
            return Ok(Matrix::new(columns, rows, stored).transposed().into_data());
        }
        if !self.order.moves_rows() {
            return Ok(stored);
        }
        let mut values = vec![0.0; stored.len()];
        values
            .par_chunks_mut(columns.max(1))
            .enumerate()
            .for_each(|(row, output)| {
                let from = self.order.stored_row(row, rows) * columns;
                output.copy_from_slice(&stored[from..from + columns]);
            });
        Ok(values)
    }

    /// Its blocks.
    pub(in crate::checkpoint) fn bytes(
        &self,
        files: &[TensorFile],
    ) -> Result<Vec<u8>, SourceError> {
        let mut bytes = vec![0; self.info.size_bytes as usize];
        self.read_at(files, self.start, &mut bytes)?;
        Ok(bytes)
    }

    /// Values as they lie in the file.
    fn stored_values(&self, files: &[TensorFile]) -> Result<Vec<f32>, SourceError> {
        let (block_values, block_bytes) = (self.kind.block_values(), self.kind.block_bytes());
        let mut values = vec![0.0; self.info.elements() as usize];
        let chunk_blocks = (CHUNK_BYTES / block_bytes).max(1);
        let mut bytes = Vec::new();
        let mut position = self.start;
        for chunk in values.chunks_mut(chunk_blocks * block_values) {
            bytes.resize(chunk.len() / block_values * block_bytes, 0);
            self.read_at(files, position, &mut bytes)?;
            position += bytes.len() as u64;
            let share = 64 * block_values;
            chunk
                .par_chunks_mut(share)
                .zip(bytes.par_chunks(64 * block_bytes))
                .for_each(|(values, bytes)| ggml::decode(self.kind, bytes, values));
        }
        Ok(values)
    }

    /// Some rows, in the order asked; only their bytes are read where rows are whole blocks.
    pub(in crate::checkpoint) fn rows(
        &self,
        files: &[TensorFile],
        rows: &[usize],
    ) -> Result<Vec<f32>, SourceError> {
        let count = self.info.shape.first().copied().unwrap_or(1);
        let width: usize = self.info.shape.iter().skip(1).product();
        let row_bytes = self.kind.bytes_of(width as u64);
        let (Some(row_bytes), false) = (row_bytes, self.order.change == Change::Transposed) else {
            let all = self.values(files)?;
            let picked = rows
                .iter()
                .flat_map(|row| &all[row * width..(row + 1) * width]);
            return Ok(picked.copied().collect());
        };
        let mut values = vec![0.0; rows.len() * width];
        let mut bytes = vec![0; row_bytes as usize];
        for (&row, output) in rows.iter().zip(values.chunks_mut(width.max(1))) {
            let row = self.order.stored_row(row, count) as u64;
            self.read_at(files, self.start + row * row_bytes, &mut bytes)?;
            ggml::decode(self.kind, &bytes, output);
            if self.order.change == Change::PlusOne {
                output.iter_mut().for_each(|value| *value -= 1.0);
            }
        }
        Ok(values)
    }

    fn read_at(
        &self,
        files: &[TensorFile],
        position: u64,
        bytes: &mut [u8],
    ) -> Result<(), SourceError> {
        let file = &files[self.file];
        file.read_at(position, bytes)
            .map_err(|source| SourceError::Io {
                name: self.name.clone(),
                source,
                path: file.path.display().to_string(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_a_permutation() {
        for (change, heads, rows) in [
            (Change::QueryRows, 4, 32),
            (Change::KeyRows, 2, 12),
            (Change::StackedHeads, 4, 36),
            (Change::None, 0, 5),
        ] {
            let order = Order { change, heads };
            assert!(order.fits(rows));
            let mut seen: Vec<usize> = (0..rows).map(|row| order.stored_row(row, rows)).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..rows).collect::<Vec<_>>(), "{change:?}");
        }
        let order = Order {
            change: Change::QueryRows,
            heads: 1,
        };
        let stored: Vec<usize> = (0..4).map(|row| order.stored_row(row, 4)).collect();
        assert_eq!(stored, [0, 2, 1, 3], "halves become neighbours");
        assert!(!order.fits(3));
    }
}
