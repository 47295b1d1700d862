//! Mean squares of inputs in llama.cpp's two `imatrix` forms: GGUF, and the binary one before it, which is still read.
//!
//! As with llama.cpp's own program the file's ending chooses: `.dat` means the older form. `checkpoint::gguf::imatrix` draws
//! both.

use super::container::{ALIGNMENT, Listed, header};
use crate::checkpoint::gguf::imatrix::{COUNTS, SUMS};
use crate::checkpoint::gguf::value::Value;
use crate::formats::store::{StoreError, atomic};
use crate::ggml::GgmlType;
use std::collections::BTreeMap;
use std::path::Path;

/// Writes mean squares, by the names of tensors in GGUF. `dataset` is a word for the text, `drawn` its sequences and their
/// tokens.
pub fn write_imatrix(
    path: &Path,
    entries: &BTreeMap<String, Vec<f32>>,
    dataset: &str,
    drawn: (usize, usize),
) -> Result<(), StoreError> {
    let is_older = path.extension().is_some_and(|ending| ending == "dat");
    let file = match is_older {
        true => older(entries, dataset, drawn.0),
        false => newer(entries, dataset, drawn),
    };
    atomic::write_bytes(path, &file)
}

/// Sums over so many calls of a mean for each, then the number of calls and the text's name.
fn older(entries: &BTreeMap<String, Vec<f32>>, dataset: &str, calls: usize) -> Vec<u8> {
    let number = |value: usize| i32::try_from(value).unwrap_or(i32::MAX).to_le_bytes();
    let mut file = number(entries.len()).to_vec();
    for (name, squares) in entries {
        file.extend(number(name.len()));
        file.extend(name.as_bytes());
        file.extend(number(calls));
        file.extend(number(squares.len()));
        let sums = squares.iter().map(|square| square * calls as f32);
        file.extend(sums.flat_map(f32::to_le_bytes));
    }
    file.extend(number(calls));
    file.extend(number(dataset.len()));
    file.extend(dataset.as_bytes());
    file
}

fn newer(entries: &BTreeMap<String, Vec<f32>>, dataset: &str, drawn: (usize, usize)) -> Vec<u8> {
    let keys = [
        ("general.type", Value::Text("imatrix".to_owned())),
        ("imatrix.datasets", Value::Texts(vec![dataset.to_owned()])),
        ("imatrix.chunk_count", Value::u32(drawn.0 as u32)),
        ("imatrix.chunk_size", Value::u32(drawn.1 as u32)),
    ];
    let keys = keys.map(|(key, value)| (key.to_owned(), value));
    let tokens = (drawn.0 * drawn.1) as f32;
    let tensors: Vec<(String, Vec<usize>, Vec<f32>)> = entries
        .iter()
        .flat_map(|(name, squares)| {
            let sums = squares.iter().map(|square| square * tokens).collect();
            [
                (format!("{name}{SUMS}"), vec![1, squares.len()], sums),
                (format!("{name}{COUNTS}"), vec![1, 1], vec![tokens]),
            ]
        })
        .collect();
    let mut offset = 0;
    let mut listed = Vec::new();
    let mut data: Vec<u8> = Vec::new();
    for (name, shape, values) in &tensors {
        listed.push(Listed {
            name,
            shape,
            kind: GgmlType::F32,
            offset,
        });
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        data.resize(data.len().next_multiple_of(ALIGNMENT as usize), 0);
        offset = data.len() as u64;
    }
    let mut file = header(&keys, &listed);
    file.append(&mut data);
    file
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::checkpoint::gguf::imatrix;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let entries = BTreeMap::from([
            ("blk.0.attn_q.weight".to_owned(), vec![0.5, 0.0, 2.0]),
            ("blk.1.ffn_down.weight".to_owned(), vec![1.0; 40]),
        ]);
        for name in ["imatrix.gguf", "imatrix.dat"] {
            let path = folder.path().join(name);
            write_imatrix(&path, &entries, "text", (2, 8)).unwrap();
            assert_eq!(imatrix::read(&path).unwrap(), entries, "{name}");
        }
    }
}
