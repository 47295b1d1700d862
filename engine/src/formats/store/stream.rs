//! A safetensors file written in one pass: header first, from shapes alone, then every tensor's bytes in order.
//!
//! Nothing is held in memory but the piece at hand, so that a file may be larger than memory. The header's length is
//! known before anything is written: plans count with it.

use super::{StoreError, atomic};
use crate::tensor::Dtype;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::path::Path;

/// Name, dtype and shape of a tensor that will be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Name in the file.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
}

impl TensorSpec {
    /// Bytes of its data.
    pub fn size_bytes(&self) -> u64 {
        let elements: u64 = self
            .shape
            .iter()
            .map(|&dimension| dimension as u64)
            .product();
        elements * self.dtype.size_bytes() as u64
    }
}

/// The file's first bytes: length, JSON header, padding to 8 bytes with spaces.
pub fn header_bytes(tensors: &[TensorSpec], metadata: &[(String, String)]) -> Vec<u8> {
    let mut header = Map::new();
    if !metadata.is_empty() {
        let pairs = metadata
            .iter()
            .map(|(key, value)| (key.clone(), Value::from(value.as_str())));
        header.insert("__metadata__".to_owned(), Value::Object(pairs.collect()));
    }
    let mut offset = 0;
    for tensor in tensors {
        let end = offset + tensor.size_bytes();
        let entry = json!({ "dtype": dtype_word(tensor.dtype), "shape": tensor.shape, "data_offsets": [offset, end] });
        header.insert(tensor.name.clone(), entry);
        offset = end;
    }
    let mut json = Value::Object(header).to_string().into_bytes();
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut json);
    bytes
}

/// Exact bytes of a file that holds `tensors` and `metadata`.
pub fn file_bytes(tensors: &[TensorSpec], metadata: &[(String, String)]) -> u64 {
    let data: u64 = tensors.iter().map(TensorSpec::size_bytes).sum();
    header_bytes(tensors, metadata).len() as u64 + data
}

/// Writes the file at `path` atomically. `emit` is called once for each tensor, in order, and writes exactly its bytes.
pub fn write_tensors(
    path: &Path,
    tensors: &[TensorSpec],
    metadata: &[(String, String)],
    mut emit: impl FnMut(usize, &mut dyn Write) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    atomic::write_file(path, |writer| {
        let failed = StoreError::io("could not be written", path);
        writer
            .write_all(&header_bytes(tensors, metadata))
            .map_err(failed)?;
        for (index, tensor) in tensors.iter().enumerate() {
            let mut counted = Counted {
                inner: writer,
                written: 0,
            };
            emit(index, &mut counted)?;
            if counted.written != tensor.size_bytes() {
                return Err(StoreError::Miscounted {
                    tensor: tensor.name.clone(),
                    planned: tensor.size_bytes(),
                    written: counted.written,
                });
            }
        }
        Ok(())
    })
}

/// The safetensors word of a dtype.
fn dtype_word(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F64 => "F64",
        Dtype::F32 => "F32",
        Dtype::F16 => "F16",
        Dtype::BF16 => "BF16",
        Dtype::I64 => "I64",
        Dtype::I32 => "I32",
        Dtype::I16 => "I16",
        Dtype::I8 => "I8",
        Dtype::U64 => "U64",
        Dtype::U32 => "U32",
        Dtype::U16 => "U16",
        Dtype::U8 => "U8",
        Dtype::Bool => "BOOL",
    }
}

struct Counted<'a> {
    inner: &'a mut dyn Write,
    written: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn specs() -> Vec<TensorSpec> {
        let spec = |name: &str, dtype, shape: &[usize]| TensorSpec {
            name: name.into(),
            dtype,
            shape: shape.into(),
        };
        vec![
            spec("b", Dtype::F32, &[2, 1]),
            spec("a", Dtype::U8, &[3]),
            spec("none", Dtype::F16, &[0]),
        ]
    }

    #[test]
    fn the_safetensors_crate_reads_what_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let metadata = vec![("format".to_owned(), "pt".to_owned())];
        let bytes: [&[u8]; 3] = [&[0, 0, 128, 63, 0, 0, 0, 64], &[7, 8, 9], &[]];
        write_tensors(&path, &specs(), &metadata, |index, writer| {
            writer.write_all(bytes[index]).unwrap();
            Ok(())
        })
        .unwrap();
        let file = std::fs::read(&path).unwrap();
        assert_eq!(file.len() as u64, file_bytes(&specs(), &metadata));
        let read = safetensors::SafeTensors::deserialize(&file).unwrap();
        for (spec, expected) in specs().iter().zip(bytes) {
            let tensor = read.tensor(&spec.name).unwrap();
            assert_eq!(
                (tensor.shape(), tensor.data()),
                (spec.shape.as_slice(), expected),
                "{}",
                spec.name
            );
        }
    }

    #[test]
    fn a_tensor_of_the_wrong_length_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let written = write_tensors(&path, &specs(), &[], |_, writer| {
            writer.write_all(&[1]).unwrap();
            Ok(())
        });
        assert!(matches!(
            written,
            Err(StoreError::Miscounted {
                planned: 8,
                written: 1,
                ..
            })
        ));
        assert!(!path.exists());
    }
}
