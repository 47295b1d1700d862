//! One GGUF file, or all files of a series `…-00001-of-00003.gguf` of which any one is named.
//!
//! The name must agree with what each header says of itself. Knows no architecture.

use super::header::{GgufError, Header};
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::files::TensorFile;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// Most files of a series.
const MOST_FILES: u64 = 4096;

/// The files of a model in order.
pub(super) struct Opened {
    pub(super) files: Vec<TensorFile>,
    /// One for each file.
    pub(super) headers: Vec<Header>,
}

pub(super) fn open(path: &Path) -> Result<Opened, CheckpointError> {
    let (file, header) = open_one(path)?;
    let count = header.metadata.count("split.count").unwrap_or(1);
    if count <= 1 {
        return Ok(Opened {
            files: vec![file],
            headers: vec![header],
        });
    }
    drop(file);
    let mut opened = Opened {
        files: Vec::new(),
        headers: Vec::new(),
    };
    for (number, path) in series(path, count)?.into_iter().enumerate() {
        if !path.is_file() {
            return Err(CheckpointError::MissingShard {
                shard: path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                path: path.parent().unwrap_or(Path::new(".")).to_owned(),
            });
        }
        let (file, header) = open_one(&path)?;
        let found = (
            header.metadata.count("split.no"),
            header.metadata.count("split.count"),
        );
        if found != (Some(number as u64), Some(count)) {
            let problem =
                format!("does not call itself file {number} of {count} (split.no, split.count)");
            return Err(CheckpointError::GgufModel { problem, path });
        }
        opened.files.push(file);
        opened.headers.push(header);
    }
    let promised = opened.headers[0].metadata.count("split.tensors.count");
    let tensors: usize = opened
        .headers
        .iter()
        .map(|header| header.tensors.len())
        .sum();
    if promised.is_some_and(|promised| promised != tensors as u64) {
        let problem = format!(
            "promises {} tensors in all files, which hold {tensors}",
            promised.unwrap_or_default()
        );
        return Err(CheckpointError::GgufModel {
            problem,
            path: path.to_owned(),
        });
    }
    Ok(opened)
}

fn open_one(path: &Path) -> Result<(TensorFile, Header), CheckpointError> {
    let (file, file_bytes) = TensorFile::open_bare(path)?;
    let header = Header::read(BufReader::with_capacity(1 << 16, file.stream()), file_bytes);
    let header = header.map_err(|source| match source {
        GgufError::Io(source) => CheckpointError::Io {
            what: "the header of the weights",
            source,
            path: path.to_owned(),
        },
        source => CheckpointError::Gguf {
            source,
            path: path.to_owned(),
        },
    })?;
    Ok((file, header))
}

/// The paths of a series of which `path` is one.
fn series(path: &Path, count: u64) -> Result<Vec<PathBuf>, CheckpointError> {
    let wrong = |problem: String| CheckpointError::GgufModel {
        problem,
        path: path.to_owned(),
    };
    if count > MOST_FILES {
        return Err(wrong(format!(
            "claims to be one of {count} files; at most {MOST_FILES} are read"
        )));
    }
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let stem = stem_of(name, count).ok_or_else(|| {
        wrong(format!(
            "is one of {count} files, but its name does not end with -NNNNN-of-{count:05}.gguf"
        ))
    })?;
    let names = (1..=count).map(|number| series_name(stem, number, count));
    Ok(names.map(|name| path.with_file_name(name)).collect())
}

/// The name of file `number` (from 1 on) of a series.
pub(super) fn series_name(stem: &str, number: u64, count: u64) -> String {
    format!("{stem}-{number:05}-of-{count:05}.gguf")
}

/// `"model"` of `model-00002-of-00005.gguf`.
fn stem_of(name: &str, count: u64) -> Option<&str> {
    let rest = name.strip_suffix(&format!("-of-{count:05}.gguf"))?;
    let (stem, number) = rest.rsplit_once('-')?;
    let digits = number.len() == 5 && number.bytes().all(|byte| byte.is_ascii_digit());
    digits.then_some(stem)
}
