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

/// Opens a folder of this `config.json` and these tensors.
pub(super) fn open_folder(
    config: &serde_json::Value,
    tensors: &[Tensor],
) -> Result<super::Checkpoint, super::CheckpointError> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    put(folder.path(), "config.json", config.to_string());
    put(
        folder.path(),
        "model.safetensors",
        tensor_file(&[], tensors),
    );
    // Files stay readable while they are open, also after their folder is gone.
    super::Checkpoint::open(folder.path())
}

/// The tensors of a layer of another program's container.
pub(super) fn tensors_of(layer: &str, parts: Vec<crate::packed::Part>) -> Vec<Tensor> {
    let parts = parts.into_iter().map(|part| Tensor {
        name: format!("{layer}.{}", part.suffix),
        dtype: part.dtype,
        shape: part.shape,
        bytes: part.bytes,
    });
    parts.collect()
}

/// A layer on `config` whose codes, zeros and scales all differ a little.
pub(super) fn layer_on(
    config: crate::grid::GridConfig,
    rows: usize,
    columns: usize,
) -> crate::solved::Solved {
    let levels = 1usize << config.bits;
    let mut grid = crate::grid::AffineGrid::neutral(config, rows, columns);
    for (index, scale) in grid.scales.iter_mut().enumerate() {
        *scale = config.scale_dtype.snap_scale(0.01 * (index + 1) as f32);
    }
    if !config.symmetric {
        for (index, zero) in grid.zeros.iter_mut().enumerate() {
            *zero = (index % levels) as f32;
        }
    }
    crate::solved::Solved {
        method: crate::solved::Method::Rtn,
        codes: crate::solved::Codes {
            rows,
            columns,
            values: (0..rows * columns)
                .map(|index| ((index * 7 + index / columns) % levels) as u8)
                .collect(),
        },
        grid: crate::solved::Grid::Affine(grid),
        mask: None,
        factors: None,
        loss: None,
        warnings: Vec::new(),
    }
}

/// Why nothing was opened.
pub(super) fn refusal(result: Result<super::Checkpoint, super::CheckpointError>) -> String {
    match result {
        Ok(_) => panic!("expected an error"),
        Err(error) => error.to_string(),
    }
}
