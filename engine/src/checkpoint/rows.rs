//! Some rows of a tensor, without reading the others: what a preview or an estimate looks at.
//!
//! A row is what one index of a tensor's first dimension holds. Works in the caller's thread: few rows are few bytes.

use super::shards::{CHUNK_ELEMENTS, Shards};
use super::values::raise_to_f32;
use super::{Checkpoint, Entry};
use crate::tensor::SourceError;
use std::ops::Range;

impl Checkpoint {
    /// Values of `rows` as f32, in the order asked. Only the bytes of these rows are read, neighbours together; a packed
    /// tensor is read and unpacked as a whole.
    pub fn read_rows(&self, name: &str, rows: &[usize]) -> Result<Vec<f32>, SourceError> {
        let entry = &self.entries[self.find(name)?];
        let shape = match entry {
            Entry::Plain(stored) => &self.shards.tensors[*stored].info.shape,
            Entry::Packed(packed) => &packed.info.shape,
            Entry::Blocks(blocks) => &blocks.info.shape,
        };
        let count = shape.first().copied().unwrap_or(1);
        let width = shape.iter().skip(1).product();
        if let Some(row) = rows.iter().find(|&&row| row >= count) {
            return Err(SourceError::Unfit {
                name: name.to_owned(),
                problem: format!("has {count} rows; row {row} was asked for"),
            });
        }
        match entry {
            Entry::Plain(stored) => self.shards.read_float_rows(*stored, width, rows),
            Entry::Packed(packed) => Ok(pick(&packed.values(&self.shards)?, width, rows)),
            Entry::Blocks(blocks) => blocks.rows(&self.shards.files, rows),
        }
    }
}

impl Shards {
    /// Rows of `width` elements each; the caller keeps inside the tensor.
    fn read_float_rows(
        &self,
        index: usize,
        width: usize,
        rows: &[usize],
    ) -> Result<Vec<f32>, SourceError> {
        let dtype = self.float_dtype(index)?;
        let row_bytes = width * dtype.size_bytes();
        let mut values = vec![0.0; rows.len() * width];
        let mut bytes = Vec::new();
        for run in runs(rows, (CHUNK_ELEMENTS / width.max(1)).max(1)) {
            bytes.resize(run.len() * row_bytes, 0);
            let first = rows[run.start];
            self.read_at(index, first as u64 * row_bytes as u64, &mut bytes)?;
            raise_to_f32(
                dtype,
                &bytes,
                &mut values[run.start * width..run.end * width],
            );
        }
        Ok(values)
    }
}

/// Places in `rows` whose rows lie one behind the other, at most `longest` together.
fn runs(rows: &[usize], longest: usize) -> impl Iterator<Item = Range<usize>> {
    rows.chunk_by(|row, next| row.checked_add(1) == Some(*next))
        .flat_map(move |run| run.chunks(longest))
        .scan(0, |end, run| {
            let start = *end;
            *end += run.len();
            Some(start..*end)
        })
}

/// `rows` of a row-major matrix of `width` columns, in the order asked.
fn pick(values: &[f32], width: usize, rows: &[usize]) -> Vec<f32> {
    let picked = rows
        .iter()
        .flat_map(|row| &values[row * width..(row + 1) * width]);
    picked.copied().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::{Tensor, put, tensor_file};
    use super::*;
    use crate::tensor::{Dtype, WeightSource as _};
    use proptest::prelude::*;

    /// A checkpoint with one tensor `w` of this shape, its values 0, 1, 2, …
    fn counting(dtype: Dtype, shape: &[usize]) -> (tempfile::TempDir, Checkpoint) {
        let count = shape.iter().product();
        let bytes = (0..count).flat_map(|index: usize| match dtype {
            Dtype::F64 => (index as f64).to_le_bytes().to_vec(),
            Dtype::F32 => (index as f32).to_le_bytes().to_vec(),
            Dtype::F16 => half::f16::from_f32(index as f32).to_le_bytes().to_vec(),
            Dtype::BF16 => half::bf16::from_f32(index as f32).to_le_bytes().to_vec(),
            integer => vec![0; integer.size_bytes()],
        });
        let tensor = Tensor {
            name: "w".to_owned(),
            dtype,
            shape: shape.to_vec(),
            bytes: bytes.collect(),
        };
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), "x.safetensors", tensor_file(&[], &[tensor]));
        let checkpoint = Checkpoint::open(&folder.path().join("x.safetensors")).unwrap();
        (folder, checkpoint)
    }

    #[test]
    fn rows_come_in_the_order_asked_in_every_dtype() {
        for dtype in [Dtype::F64, Dtype::F32, Dtype::F16, Dtype::BF16] {
            let (_folder, checkpoint) = counting(dtype, &[5, 3]);
            let found = checkpoint.read_rows("w", &[3, 4, 0, 0]).unwrap();
            let expected = [
                9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 0.0, 1.0, 2.0, 0.0, 1.0, 2.0,
            ];
            assert_eq!(found, expected, "{dtype}");
            assert!(checkpoint.read_rows("w", &[]).unwrap().is_empty());
        }
    }

    #[test]
    fn rows_of_any_number_of_dimensions_are_those_of_the_first() {
        let (_folder, checkpoint) = counting(Dtype::F32, &[2, 2, 2]);
        assert_eq!(
            checkpoint.read_rows("w", &[1]).unwrap(),
            [4.0, 5.0, 6.0, 7.0]
        );
        let (_folder, checkpoint) = counting(Dtype::F32, &[3]);
        assert_eq!(checkpoint.read_rows("w", &[2]).unwrap(), [2.0]);
        let (_folder, checkpoint) = counting(Dtype::F32, &[]);
        assert_eq!(checkpoint.read_rows("w", &[0]).unwrap(), [0.0]);
        let (_folder, checkpoint) = counting(Dtype::F32, &[3, 0]);
        assert!(checkpoint.read_rows("w", &[2]).unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let (_folder, checkpoint) = counting(Dtype::F32, &[5, 3]);
        let error = checkpoint.read_rows("w", &[1, 5]).unwrap_err();
        assert!(
            error.to_string().contains("5 rows; row 5 was"),
            "row 5 of 5: {error}"
        );
        assert!(matches!(
            checkpoint.read_rows("v", &[0]),
            Err(SourceError::Missing { .. })
        ));
        let (_folder, integers) = counting(Dtype::I32, &[5, 3]);
        assert!(matches!(
            integers.read_rows("w", &[0]),
            Err(SourceError::Unfit { .. })
        ));
    }

    proptest! {
        #[test]
        fn any_rows_are_those_of_the_whole(rows in prop::collection::vec(0usize..40, 0..60)) {
            let (_folder, checkpoint) = counting(Dtype::F32, &[40, 2]);
            let whole = checkpoint.read_f32("w").unwrap();
            prop_assert_eq!(checkpoint.read_rows("w", &rows).unwrap(), pick(&whole, 2, &rows));
        }

        #[test]
        fn runs_cover_all_places_in_order(
            rows in prop::collection::vec(0usize..9, 0..30),
            longest in 1usize..5,
        ) {
            let places: Vec<usize> = runs(&rows, longest).flatten().collect();
            prop_assert_eq!(places, (0..rows.len()).collect::<Vec<_>>());
            for run in runs(&rows, longest) {
                prop_assert!(run.len() <= longest, "{run:?}");
                for place in run.clone() {
                    prop_assert_eq!(rows[place], rows[run.start] + (place - run.start));
                }
            }
        }
    }
}
