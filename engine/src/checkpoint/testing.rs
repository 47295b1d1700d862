//! Safetensors files made by hand, right and wrong ones, for tests.

use std::path::Path;

use crate::tensor::Dtype;

/// A file of this header text and these data bytes, with a right length in front.
pub(super) fn file_of(header: &str, data: &[u8]) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(data);
    file
}

/// A tensor of a right file.
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Vec<u8>,
}

/// A right file of these tensors and metadata.
pub(super) fn tensor_file(metadata: &[(&str, &str)], tensors: &[Tensor]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    if !metadata.is_empty() {
        let texts: std::collections::BTreeMap<_, _> = metadata.iter().copied().collect();
        header.insert("__metadata__".to_owned(), serde_json::json!(texts));
    }
    let mut data: Vec<u8> = Vec::new();
    for tensor in tensors {
        let start = data.len();
        data.extend_from_slice(&tensor.bytes);
        let entry = serde_json::json!({
            "dtype": tensor.dtype.to_string().to_uppercase(),
            "shape": tensor.shape,
            "data_offsets": [start, data.len()],
        });
        header.insert(tensor.name.clone(), entry);
    }
    file_of(&serde_json::Value::Object(header).to_string(), &data)
}

/// A right file of one-dimensional f32 tensors.
pub(super) fn f32_file(tensors: &[(&str, &[f32])]) -> Vec<u8> {
    let tensors: Vec<Tensor> = tensors
        .iter()
        .map(|(name, values)| Tensor {
            name: (*name).to_owned(),
            dtype: Dtype::F32,
            shape: vec![values.len()],
            bytes: values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        })
        .collect();
    tensor_file(&[], &tensors)
}

/// Writes `bytes` to `folder/name`.
#[expect(
    clippy::disallowed_methods,
    reason = "a half-written file in a temporary folder harms nobody"
)]
pub(super) fn put(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    std::fs::write(folder.join(name), bytes).expect("a temporary folder can be written");
}
