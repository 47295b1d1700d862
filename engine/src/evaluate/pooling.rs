//! How an open model pools; `checkpoint::pooling_of` knows the files that say so.

use super::error::EvaluateError;
use crate::checkpoint::{Checkpoint, PoolingProblem, pooling_of};
use crate::score::Pooling;
use serde_json::Value;
use std::io;
use std::path::Path;

impl Pooling {
    /// Reads the files of an open model, whether they lie in its folder or are made of its container; without them it is the
    /// plain mean.
    pub fn read(checkpoint: &Checkpoint) -> Result<Self, EvaluateError> {
        let root = checkpoint.root();
        let made = |name: &str| {
            let mut files = checkpoint.made_files().iter();
            files.find(|(path, _)| path == Path::new(name))
        };
        let read = |name: &str| match made(name) {
            Some((_, text)) => parsed(text).map(Some),
            // Beside a single file lie others' files.
            None if !root.is_dir() => Ok(None),
            None => read_json(&root.join(name)),
        };
        pooling_of(&read).map_err(|PoolingProblem { file, problem }| EvaluateError::Pooling {
            problem,
            path: root.join(file),
        })
    }
}

/// `None` where there is no file.
fn read_json(path: &Path) -> Result<Option<Value>, String> {
    match std::fs::read(path) {
        Ok(text) => parsed(&text).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("it cannot be read ({error})")),
    }
}

fn parsed(text: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(text).map_err(|error| format!("it is not JSON ({error})"))
}
