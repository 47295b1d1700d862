//! The header of a safetensors file, byte for byte, before any data exists.
//!
//! Tensors lie by falling element size, so that every one starts on a multiple of its element size: some loaders map
//! files and need that. The header is padded with spaces to a multiple of eight bytes.

use super::PlannedTensor;
use crate::tensor::Dtype;
use serde_json::{Map, Value, json};

/// Orders the tensors, gives each its offset, and writes the header with `metadata`.
pub(super) fn lay_out(tensors: &mut [PlannedTensor], metadata: &[(String, String)]) -> Vec<u8> {
    tensors.sort_by_key(|tensor| std::cmp::Reverse(tensor.dtype.size_bytes()));
    let mut offset = 0;
    for tensor in tensors.iter_mut() {
        tensor.offset = offset;
        offset += tensor.size_bytes;
    }
    let mut header = header_bytes(tensors, metadata);
    let length = header.len() as u64;
    for tensor in tensors {
        tensor.offset += length;
    }
    header.shrink_to_fit();
    header
}

fn header_bytes(tensors: &[PlannedTensor], metadata: &[(String, String)]) -> Vec<u8> {
    let mut entries = Map::new();
    let texts: Map<String, Value> = metadata
        .iter()
        .map(|(key, text)| (key.clone(), Value::String(text.clone())))
        .collect();
    entries.insert("__metadata__".to_owned(), Value::Object(texts));
    for tensor in tensors {
        let entry = json!({
            "dtype": dtype_word(tensor.dtype),
            "shape": tensor.shape,
            "data_offsets": [tensor.offset, tensor.offset + tensor.size_bytes],
        });
        entries.insert(tensor.name.clone(), entry);
    }
    let mut text = Value::Object(entries).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text);
    bytes
}

/// As safetensors spells it.
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
