//! How an encoder pools, as the files of a sentence-transformers folder say it.
//!
//! `modules.json` names the folder of the pooling's `config.json` and says whether embeddings are normalized. Knows no folder:
//! whoever asks says how a file is read, because those of some containers lie nowhere on disk.

use crate::score::{Pooling, PoolingMode};
use serde_json::{Value, json};
use std::path::PathBuf;

/// The list of modules.
const MODULES: &str = "modules.json";

/// Where the pooling's settings usually lie.
const USUAL_FOLDER: &str = "1_Pooling";

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

/// What is wrong with a file that describes pooling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolingProblem {
    /// The file's name, relative to the model.
    pub file: String,
    /// The end of a sentence that begins with it.
    pub problem: String,
}

/// How a model pools whose files `read` gives as JSON (`None`: there is no such file); without them it is the plain mean.
pub fn pooling_of(
    read: &dyn Fn(&str) -> Result<Option<Value>, String>,
) -> Result<Pooling, PoolingProblem> {
    let read = |file: &str| {
        read(file).map_err(|problem| PoolingProblem {
            file: file.to_owned(),
            problem,
        })
    };
    let modules = read(MODULES)?;
    let entries = modules.as_ref().and_then(Value::as_array);
    let module = |kind: &str| {
        let mut entries = entries.into_iter().flatten();
        entries.find(|entry| {
            let name = entry["type"].as_str();
            name.is_some_and(|name| name.rsplit('.').next() == Some(kind))
        })
    };
    let place = module("Pooling").and_then(|entry| entry["path"].as_str());
    let place = place.unwrap_or(USUAL_FOLDER);
    if place.contains(['/', '\\', ':']) || place == ".." {
        return Err(PoolingProblem {
            file: MODULES.to_owned(),
            problem: format!("it keeps the pooling outside the model, in {place}"),
        });
    }
    let file = match place {
        "" => "config.json".to_owned(),
        place => format!("{place}/config.json"),
    };
    let modes = match read(&file)? {
        Some(config) => modes(&config).map_err(|problem| PoolingProblem { file, problem })?,
        None => vec![PoolingMode::Mean],
    };
    Ok(Pooling {
        modes,
        normalize: module("Normalize").is_some(),
    })
}

/// The files that say of a model of `width` channels that it pools by `mode`.
pub(super) fn files_of(mode: PoolingMode, width: usize) -> [(PathBuf, Value); 2] {
    let keys = KEYS.iter();
    let mut config: serde_json::Map<String, Value> = keys
        .map(|(key, of)| ((*key).to_owned(), json!(*of == Some(mode))))
        .collect();
    config.insert("word_embedding_dimension".to_owned(), json!(width));
    let module = |index: usize, path: &str, kind: &str| {
        json!({
            "idx": index, "name": index.to_string(), "path": path,
            "type": format!("sentence_transformers.models.{kind}"),
        })
    };
    let modules = json!([
        module(0, "", "Transformer"),
        module(1, USUAL_FOLDER, "Pooling")
    ]);
    [
        (PathBuf::from(MODULES), modules),
        (
            PathBuf::from(USUAL_FOLDER).join("config.json"),
            Value::Object(config),
        ),
    ]
}

fn modes(config: &Value) -> Result<Vec<PoolingMode>, String> {
    let mut modes = Vec::new();
    for (key, mode) in KEYS {
        if config[key] == true {
            modes.push(mode.ok_or_else(|| format!("{key} is not supported"))?);
        }
    }
    match modes.is_empty() {
        true => Err("no pooling mode is switched on".to_owned()),
        false => Ok(modes),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pooling(files: &[(&str, Value)]) -> Result<Pooling, PoolingProblem> {
        let found = |name: &str| files.iter().find(|(file, _)| *file == name);
        pooling_of(&|name| Ok(found(name).map(|(_, json)| json.clone())))
    }

    #[test]
    fn modules_say_how() {
        let plain = pooling(&[]).unwrap();
        assert_eq!(
            (plain.modes, plain.normalize),
            (vec![PoolingMode::Mean], false)
        );
        let modules = json!([
            {"type": "sentence_transformers.models.Transformer", "path": ""},
            {"type": "sentence_transformers.models.Pooling", "path": "2_Pooling"},
            {"type": "sentence_transformers.models.Normalize", "path": "3"},
        ]);
        let with = |config: Value| {
            pooling(&[
                ("modules.json", modules.clone()),
                ("2_Pooling/config.json", config),
            ])
        };
        let read = with(json!({"pooling_mode_cls_token": true})).unwrap();
        assert_eq!(
            (read.modes, read.normalize),
            (vec![PoolingMode::First], true)
        );
        let problem = with(json!({"pooling_mode_weightedmean_tokens": true})).unwrap_err();
        assert!(problem.problem.contains("weightedmean"), "{problem:?}");
        assert!(with(json!({})).is_err());
        let outside = json!([{"type": "x.Pooling", "path": "../other"}]);
        let problem = pooling(&[("modules.json", outside)]).unwrap_err();
        assert!(problem.problem.contains("outside"), "{problem:?}");
    }

    #[test]
    fn what_is_made_is_read() {
        for mode in [
            PoolingMode::First,
            PoolingMode::Max,
            PoolingMode::Mean,
            PoolingMode::MeanRoot,
            PoolingMode::Last,
        ] {
            let files = files_of(mode, 8);
            let files = files.map(|(path, json)| (path.to_string_lossy().into_owned(), json));
            let named: Vec<(&str, Value)> = files
                .iter()
                .map(|(path, json)| (path.as_str(), json.clone()))
                .collect();
            assert_eq!(pooling(&named).unwrap().modes, [mode]);
        }
    }
}
