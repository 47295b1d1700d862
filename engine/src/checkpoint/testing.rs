//! Safetensors files made by hand, right and wrong ones, for tests.

use std::path::Path;

/// A file of this header text and these data bytes, with a right length in front.
pub(super) fn file_of(header: &str, data: &[u8]) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(data);
    file
}

/// A right file of one-dimensional f32 tensors.
pub(super) fn f32_file(tensors: &[(&str, &[f32])]) -> Vec<u8> {
    let mut header = Vec::new();
    let mut data: Vec<u8> = Vec::new();
    for (name, values) in tensors {
        let start = data.len();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        header.push(format!(
            r#""{name}":{{"dtype":"F32","shape":[{}],"data_offsets":[{start},{}]}}"#,
            values.len(),
            data.len()
        ));
    }
    file_of(&format!("{{{}}}", header.join(",")), &data)
}

/// Writes `bytes` to `folder/name`.
pub(super) fn put(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    std::fs::write(folder.join(name), bytes).expect("a temporary folder can be written");
}
