//! How a model pools, as the files of a sentence-transformers folder describe it.
//!
//! `modules.json` names the folder of the pooling's `config.json` and says whether embeddings are normalized.

use super::error::EvaluateError;
use crate::score::{Pooling, PoolingMode};
use serde_json::Value;
use std::path::Path;

/// The keys of a pooling config, in the order in which several of them are joined.
const KEYS: [(&str, Option<PoolingMode>); 6] = [
    ("pooling_mode_cls_token", Some(PoolingMode::First)),
    ("pooling_mode_max_tokens", Some(PoolingMode::Max)),
    ("pooling_mode_mean_tokens", Some(PoolingMode::Mean)),
    (
        "pooling_mode_mean_sqrt_len_tokens",
        Some(PoolingMode::MeanRoot),
    ),
    ("pooling_mode_weightedmean_tokens", None),
    ("pooling_mode_lasttoken", Some(PoolingMode::Last)),
];

impl Pooling {
    /// Reads `modules.json` and the pooling's config of a model folder; without them it is the plain mean.
    pub fn read(folder: &Path) -> Result<Self, EvaluateError> {
        let modules = read_json(&folder.join("modules.json"))?;
        let entries = modules.as_ref().and_then(Value::as_array);
        let module = |kind: &str| {
            let mut entries = entries.into_iter().flatten();
            entries.find(|entry| {
                let name = entry.get("type").and_then(Value::as_str);
                name.is_some_and(|name| name.rsplit('.').next() == Some(kind))
            })
        };
        let place = match module("Pooling") {
            Some(entry) => entry.get("path").and_then(Value::as_str),
            None => None,
        };
        let path = folder
            .join(place.unwrap_or("1_Pooling"))
            .join("config.json");
        let modes = match read_json(&path)? {
            Some(config) => modes(&config).map_err(|problem| EvaluateError::Pooling {
                problem,
                path: path.clone(),
            })?,
            None => vec![PoolingMode::Mean],
        };
        Ok(Self {
            modes,
            normalize: module("Normalize").is_some(),
        })
    }
}

fn modes(config: &Value) -> Result<Vec<PoolingMode>, String> {
    let mut modes = Vec::new();
    for (key, mode) in KEYS {
        if config.get(key).and_then(Value::as_bool) != Some(true) {
            continue;
        }
        modes.push(mode.ok_or_else(|| format!("{key} is not supported"))?);
    }
    if modes.is_empty() {
        return Err("no pooling mode is switched on".to_owned());
    }
    Ok(modes)
}

/// `None` where there is no file.
fn read_json(path: &Path) -> Result<Option<Value>, EvaluateError> {
    let unclear = |problem: String| EvaluateError::Pooling {
        problem,
        path: path.to_path_buf(),
    };
    match std::fs::read_to_string(path) {
        Ok(text) => match serde_json::from_str(&text) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(unclear(format!("it is not JSON ({error})"))),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unclear(format!("it cannot be read ({error})"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    #![expect(
        clippy::disallowed_methods,
        reason = "files of a test that a crash may leave half written"
    )]
    use super::*;

    #[test]
    fn files_of_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let plain = Pooling::read(folder.path()).unwrap();
        assert_eq!(
            (plain.modes, plain.normalize),
            (vec![PoolingMode::Mean], false)
        );

        let modules = r#"[{"type": "sentence_transformers.models.Transformer", "path": ""},
            {"type": "sentence_transformers.models.Pooling", "path": "2_Pooling"},
            {"type": "sentence_transformers.models.Normalize", "path": "3"}]"#;
        std::fs::write(folder.path().join("modules.json"), modules).unwrap();
        std::fs::create_dir(folder.path().join("2_Pooling")).unwrap();
        let config = folder.path().join("2_Pooling/config.json");
        std::fs::write(&config, r#"{"pooling_mode_cls_token": true}"#).unwrap();
        let read = Pooling::read(folder.path()).unwrap();
        assert_eq!(
            (read.modes, read.normalize),
            (vec![PoolingMode::First], true)
        );

        std::fs::write(&config, r#"{"pooling_mode_weightedmean_tokens": true}"#).unwrap();
        let message = Pooling::read(folder.path()).unwrap_err().to_string();
        assert!(message.contains("weightedmean"), "{message}");
        std::fs::write(&config, "{}").unwrap();
        assert!(Pooling::read(folder.path()).is_err());
    }
}
