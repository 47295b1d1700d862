//! Token ids from a `.safetensors`: tensor `input_ids`, i64, i32 or u32, any shape; rows follow one another.

use super::error::CorpusError;
use safetensors::{Dtype, SafeTensors};
use std::path::Path;

/// All ids, row after row.
pub(super) fn read(path: &Path) -> Result<Vec<u32>, CorpusError> {
    let bytes = std::fs::read(path).map_err(|source| CorpusError::Io {
        source,
        path: path.to_path_buf(),
    })?;
    parse(&bytes).map_err(|problem| CorpusError::Ids {
        problem,
        path: path.to_path_buf(),
    })
}

fn parse(bytes: &[u8]) -> Result<Vec<u32>, String> {
    let tensors = SafeTensors::deserialize(bytes)
        .map_err(|error| format!("it is no safetensors file ({error})"))?;
    let tensor = tensors
        .tensor("input_ids")
        .map_err(|_| "there is no tensor named input_ids".to_owned())?;
    let data = tensor.data();
    match tensor.dtype() {
        Dtype::I64 => checked(whole(data).map(i64::from_le_bytes)),
        Dtype::I32 => checked(whole(data).map(|bytes| i64::from(i32::from_le_bytes(bytes)))),
        Dtype::U32 => checked(whole(data).map(|bytes| i64::from(u32::from_le_bytes(bytes)))),
        other => Err(format!(
            "input_ids is {other:?}; it has to be I64, I32 or U32"
        )),
    }
}

fn whole<const SIZE: usize>(data: &[u8]) -> impl Iterator<Item = [u8; SIZE]> {
    let (values, _) = data.as_chunks::<SIZE>();
    values.iter().copied()
}

fn checked(values: impl Iterator<Item = i64>) -> Result<Vec<u32>, String> {
    let numbered = values.enumerate();
    numbered
        .map(|(position, id)| {
            u32::try_from(id).map_err(|_| format!("id {id} at position {position} is no token id"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use safetensors::tensor::TensorView;

    fn file(name: &str, dtype: Dtype, bytes: &[u8], size: usize) -> Vec<u8> {
        let view = TensorView::new(dtype, vec![bytes.len() / size], bytes).unwrap();
        safetensors::serialize([(name, view)], None).unwrap()
    }

    #[test]
    fn integers_of_three_kinds() {
        let i64s = [5i64, 70_000].map(i64::to_le_bytes).concat();
        let u32s = [5u32, 70_000].map(u32::to_le_bytes).concat();
        let rows = [
            (Dtype::I64, &i64s, 8),
            (Dtype::I32, &u32s, 4),
            (Dtype::U32, &u32s, 4),
        ];
        for (dtype, bytes, size) in rows {
            let read = parse(&file("input_ids", dtype, bytes, size));
            assert_eq!(read.unwrap(), [5, 70_000], "{dtype:?}");
        }
    }

    #[test]
    fn bad_ids_say_why() {
        let negative = [3i64, -1].map(i64::to_le_bytes).concat();
        let rows = [
            (b"no header".to_vec(), "no safetensors"),
            (
                file("ids", Dtype::I64, &negative, 8),
                "no tensor named input_ids",
            ),
            (
                file("input_ids", Dtype::F32, &negative, 4),
                "I64, I32 or U32",
            ),
            (
                file("input_ids", Dtype::I64, &negative, 8),
                "id -1 at position 1",
            ),
        ];
        for (bytes, expected) in rows {
            let problem = parse(&bytes).unwrap_err();
            assert!(problem.contains(expected), "{problem} lacks {expected}");
        }
    }
}
