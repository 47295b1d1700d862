//! One tensor of a GGUF file, seen under its name in transformers: blocks are decoded and rows put back where transformers
//! has them, when values are asked for.
//!
//! Knows places and orders; what a block means is `ggml`'s knowledge.

use crate::checkpoint::files::TensorFile;
use crate::ggml::{self, GgmlType};
use crate::packed::{Change, Order};
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
    pub(in crate::checkpoint) order: Order,
    /// Number of its file among those of the model.
    pub(super) file: usize,
    /// Its first byte.
    pub(super) start: u64,
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

    /// Some of its bytes, from `offset` on.
    pub(in crate::checkpoint) fn bytes_at(
        &self,
        files: &[TensorFile],
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), SourceError> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.info.size_bytes) {
            return Err(SourceError::Unfit {
                name: self.name.clone(),
                problem: format!("has {} bytes; more were asked for", self.info.size_bytes),
            });
        }
        self.read_at(files, self.start + offset, buffer)
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
