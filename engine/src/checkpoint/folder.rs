//! Which files of a folder make up a model: one `model.safetensors`, shards with an index, or shards without one.
//!
//! Names in an index may be hostile: a shard is a plain file name inside the folder, never a path. Knows no tensor data.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::error::CheckpointError;
use super::files::read_json;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const MAX_INDEX_BYTES: u64 = 100_000_000;
pub(super) const MAX_CONFIG_BYTES: u64 = 16_000_000;
const PICKLED: [&str; 5] = ["bin", "pt", "pth", "ckpt", "pkl"];

/// The weight files of a folder, and what an index promises about them.
#[derive(Debug, PartialEq)]
pub(super) struct WeightFiles {
    /// Paths, in the order of their names.
    pub(super) paths: Vec<PathBuf>,
    /// Tensor name to shard name, in the order of tensor names; empty without an index.
    pub(super) promised: BTreeMap<String, String>,
}

/// A JSON file of `folder`, where there is one.
pub(super) fn read_optional(
    folder: &Path,
    name: &str,
    what: &'static str,
) -> Result<Option<serde_json::Value>, CheckpointError> {
    let path = folder.join(name);
    match path.exists() {
        true => read_json(&path, what, MAX_CONFIG_BYTES).map(Some),
        false => Ok(None),
    }
}

/// Finds the weight files of `folder`. `model.safetensors` comes before an index, as other loaders have it.
pub(super) fn find_weights(folder: &Path) -> Result<WeightFiles, CheckpointError> {
    let names = file_names(folder)?;
    if names.contains(SINGLE) {
        return Ok(without_index(folder, [SINGLE.to_owned()]));
    }
    if names.contains(INDEX) {
        return read_index(folder, &names);
    }
    let weights: Vec<String> = names
        .iter()
        .filter(|name| has_extension(name, &["safetensors"]))
        .cloned()
        .collect();
    if weights.is_empty() {
        return Err(no_weights(folder, &names));
    }
    refuse_incomplete_series(folder, &weights)?;
    Ok(without_index(folder, weights))
}

/// The GGUF file of a folder without safetensors files: the only one, or the first of a series.
pub(super) fn only_gguf(folder: &Path) -> Result<Option<PathBuf>, CheckpointError> {
    let names = file_names(folder)?;
    if names
        .iter()
        .any(|name| has_extension(name, &["safetensors"]))
    {
        return Ok(None);
    }
    let mut found = names.iter().filter(|name| has_extension(name, &["gguf"]));
    let Some(first) = found.next() else {
        return Ok(None);
    };
    let series = series_of(first, ".gguf");
    let others = |name: &&String| series.is_none() || series_of(name, ".gguf") != series;
    match found.find(others) {
        None => Ok(Some(folder.join(first))),
        Some(other) => Err(CheckpointError::GgufModel {
            problem: format!(
                "{first} lies beside {other}, and a folder holds one model; name one of the files"
            ),
            path: folder.to_owned(),
        }),
    }
}

/// Files to copy beside a rewritten model (config, tokenizer, pooling, licence), relative to `folder`, sorted.
pub(super) fn side_files(folder: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    let mut found: Vec<PathBuf> = file_names(folder)?
        .into_iter()
        .filter(|name| is_side_file(name))
        .map(PathBuf::from)
        .collect();
    // Sentence transformers keep the settings of their later modules in numbered folders: `1_Pooling/config.json`.
    for inner in entry_names(folder)? {
        let numbered = inner.split_once('_').is_some_and(|(number, _)| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        });
        let settings = Path::new(&inner).join("config.json");
        if numbered && folder.join(&settings).is_file() {
            found.push(settings);
        }
    }
    found.sort();
    Ok(found)
}

fn is_side_file(name: &str) -> bool {
    let licence = name.starts_with("LICENSE") || name.starts_with("NOTICE");
    // Of plain texts only vocabularies belong to a model: any other may be a corpus.
    let vocabulary = ["vocab.txt", "merges.txt"].contains(&name);
    let settings = has_extension(name, &["json", "model", "jinja", "tiktoken"]);
    !name.starts_with('.') && !name.ends_with(".index.json") && (licence || vocabulary || settings)
}

fn has_extension(name: &str, extensions: &[&str]) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|found| extensions.iter().any(|&extension| found == extension))
}

fn without_index(folder: &Path, names: impl IntoIterator<Item = String>) -> WeightFiles {
    WeightFiles {
        paths: names.into_iter().map(|name| folder.join(name)).collect(),
        promised: BTreeMap::new(),
    }
}

/// Names of the regular files of `folder` (links followed). Names that are not Unicode are none of ours.
fn file_names(folder: &Path) -> Result<BTreeSet<String>, CheckpointError> {
    let mut names = entry_names(folder)?;
    names.retain(|name| folder.join(name).is_file());
    Ok(names)
}

fn entry_names(folder: &Path) -> Result<BTreeSet<String>, CheckpointError> {
    let unread = |source| CheckpointError::Io {
        what: "the folder",
        source,
        path: folder.to_owned(),
    };
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder).map_err(unread)? {
        names.extend(entry.map_err(unread)?.file_name().into_string().ok());
    }
    Ok(names)
}

fn no_weights(folder: &Path, names: &BTreeSet<String>) -> CheckpointError {
    let path = folder.to_owned();
    if let Some(found) = names.iter().find(|name| has_extension(name, &PICKLED)) {
        return CheckpointError::Pickled {
            found: found.clone(),
            path,
        };
    }
    if names.iter().any(|name| has_extension(name, &["onnx"])) {
        CheckpointError::Onnx { path }
    } else if names.is_empty() {
        CheckpointError::EmptyFolder { path }
    } else {
        CheckpointError::NoWeights { path }
    }
}

fn read_index(folder: &Path, names: &BTreeSet<String>) -> Result<WeightFiles, CheckpointError> {
    let path = folder.join(INDEX);
    let wrong = |problem: &str| CheckpointError::Index {
        problem: problem.to_owned(),
        path: path.clone(),
    };
    let index = read_json(&path, "the shard index", MAX_INDEX_BYTES)?;
    let map = index
        .get("weight_map")
        .and_then(|map| map.as_object())
        .ok_or_else(|| wrong("has no weight_map"))?;
    let mut promised = BTreeMap::new();
    for (tensor, shard) in map {
        let shard = shard
            .as_str()
            .ok_or_else(|| wrong(&format!("gives tensor {tensor} no file name")))?;
        promised.insert(tensor.clone(), shard.to_owned());
    }
    if promised.is_empty() {
        return Err(wrong("names no tensors"));
    }
    let shards: BTreeSet<&String> = promised.values().collect();
    for &shard in &shards {
        check_shard(folder, &path, names, shard)?;
    }
    let paths = shards.into_iter().map(|shard| folder.join(shard)).collect();
    Ok(WeightFiles { paths, promised })
}

fn check_shard(
    folder: &Path,
    index: &Path,
    names: &BTreeSet<String>,
    shard: &str,
) -> Result<(), CheckpointError> {
    if !is_plain_file_name(shard) {
        return Err(CheckpointError::ShardEscapes {
            shard: shard.to_owned(),
            path: index.to_owned(),
        });
    }
    if !names.contains(shard) {
        return Err(CheckpointError::MissingShard {
            shard: shard.to_owned(),
            path: folder.to_owned(),
        });
    }
    Ok(())
}

/// Whether `name` can only mean a file directly inside a folder, on any operating system.
fn is_plain_file_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', ':', '\0'])
}

/// Shards named `…-00002-of-00005.safetensors` must all be there.
fn refuse_incomplete_series(folder: &Path, names: &[String]) -> Result<(), CheckpointError> {
    let series: BTreeSet<(&str, u32)> = names
        .iter()
        .filter_map(|name| series_of(name, ".safetensors"))
        .collect();
    for (stem, total) in series {
        // A hostile total of 99999 costs as many comparisons, no memory.
        for number in 1..=total {
            let shard = format!("{stem}-{number:05}-of-{total:05}.safetensors");
            if names.binary_search(&shard).is_err() {
                return Err(CheckpointError::MissingShard {
                    shard,
                    path: folder.to_owned(),
                });
            }
        }
    }
    Ok(())
}

/// `("model", 5)` of `model-00002-of-00005` and an ending.
fn series_of<'a>(name: &'a str, ending: &str) -> Option<(&'a str, u32)> {
    let (rest, total) = name.strip_suffix(ending)?.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    let five_digits =
        |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    if five_digits(number) && five_digits(total) {
        Some((stem, total.parse().ok()?))
    } else {
        None
    }
}
