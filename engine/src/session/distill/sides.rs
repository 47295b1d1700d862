//! Files beside the weights, as a student's folder gets them: copied, or written from what a container's metadata stand
//! for.

use super::super::SessionError;
use crate::checkpoint::Checkpoint;
use crate::formats::StoreError;
use crate::formats::store::atomic::write_bytes;
use std::fs;
use std::path::Path;

/// Files that say how another model's weights are stored: beside dense weights they would be wrong.
const OF_STORED_WEIGHTS: [&str; 3] = [
    "quantize_config.json",
    "quant_config.json",
    "quantization_config.json",
];

/// Writes all files beside the weights of `source` into `folder`, `config.json` only where `with_config`; their bytes.
pub(super) fn write_sides(
    source: &Checkpoint,
    folder: &Path,
    with_config: bool,
) -> Result<u64, SessionError> {
    let made = source.made_files().iter();
    let made = made.map(|(path, bytes)| (path, Some(bytes)));
    let lying = source.side_files().iter().map(|path| (path, None));
    let mut total = 0;
    for (side, bytes) in lying.chain(made) {
        let name = side.to_string_lossy();
        let is_skipped = name.ends_with(".index.json")
            || OF_STORED_WEIGHTS.contains(&name.as_ref())
            || (name == "config.json" && !with_config);
        if is_skipped {
            continue;
        }
        let to = folder.join(side);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(StoreError::io("could not be created", parent))?;
        }
        let from = source.root().join(side);
        let read = || fs::read(&from).map_err(StoreError::io("could not be read", &from));
        let bytes = match bytes {
            Some(bytes) => bytes.clone(),
            None => read()?,
        };
        write_bytes(&to, &bytes)?;
        total += bytes.len() as u64;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use super::*;
    use crate::formats::store::stream::{TensorSpec, write_tensors};
    use crate::tensor::Dtype;

    #[test]
    fn what_says_how_other_weights_are_stored_stays_behind() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        fs::create_dir_all(from.join("1_Pooling")).unwrap();
        let spec = TensorSpec {
            name: "x".to_owned(),
            dtype: Dtype::F32,
            shape: vec![1],
        };
        write_tensors(
            &from.join("model.safetensors"),
            &[spec],
            &[],
            |_, output| {
                output.write_all(&[0; 4]).unwrap();
                Ok(())
            },
        )
        .unwrap();
        for (name, text) in [
            ("config.json", "{}"),
            ("tokenizer.json", "{}"),
            ("quantize_config.json", r#"{"bits":4}"#),
            ("1_Pooling/config.json", "{}"),
        ] {
            fs::write(from.join(name), text).unwrap();
        }
        let source = Checkpoint::open(&from).unwrap();
        for (with_config, expected) in [(true, 6), (false, 4)] {
            let to = folder.path().join(format!("to-{with_config}"));
            fs::create_dir_all(&to).unwrap();
            assert_eq!(write_sides(&source, &to, with_config).unwrap(), expected);
            assert_eq!(to.join("config.json").exists(), with_config);
            assert!(to.join("tokenizer.json").exists());
            assert!(to.join("1_Pooling/config.json").exists());
            assert!(!to.join("quantize_config.json").exists());
        }
    }
}
