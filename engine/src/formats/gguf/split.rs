//! Which tensors lie in which file of a series, each with a header of its own.
//!
//! As llama.cpp's `llama-gguf-split` has it: the first file tells everything of the model, the others their number alone.
//! Knows no model.

use super::container::{ALIGNMENT, Listed, header};
use super::plan::{GgufFile, GgufPart};
use crate::checkpoint::gguf::value::{Kind, Number, Value};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Files for `parts`, whose places in their file are set, each of at most `split_bytes` where that is possible.
pub(super) fn files(
    keys: &[(String, Value)],
    parts: &mut [GgufPart],
    split_bytes: Option<u64>,
) -> Vec<GgufFile> {
    let ranges = match split_bytes {
        Some(most) => ranges(keys, parts, most),
        None => std::iter::once(0..parts.len()).collect(),
    };
    let (count, tensors) = (ranges.len(), parts.len());
    let numbered = ranges.into_iter().enumerate();
    let files = numbered.map(|(number, range)| {
        let mut own = if number == 0 {
            keys.to_vec()
        } else {
            Vec::new()
        };
        if count > 1 {
            own.extend(series_keys(number, count, tensors));
        }
        let parts = &mut parts[range.clone()];
        place(parts);
        GgufFile {
            header: header(&own, &listed(parts)),
            parts: range,
        }
    });
    files.collect()
}

/// Bytes of a file.
pub(super) fn size_of(file: &GgufFile, parts: &[GgufPart]) -> u64 {
    let last = parts[file.parts.clone()].last();
    let data = last.map_or(0, |part| padded(part.offset + part.size_bytes));
    file.header.len() as u64 + data
}

/// The files' paths, where one alone would lie at `path`.
pub(super) fn paths(path: &Path, count: usize) -> Vec<PathBuf> {
    if count == 1 {
        return vec![path.to_owned()];
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let names = (1..=count).map(|number| format!("{stem}-{number:05}-of-{count:05}.gguf"));
    names.map(|name| path.with_file_name(name)).collect()
}

fn series_keys(number: usize, count: usize, tensors: usize) -> [(String, Value); 3] {
    let short = |value: usize| {
        let value = u16::try_from(value).unwrap_or(u16::MAX);
        Value::Number(Number::of(Kind::U16, &value.to_le_bytes()))
    };
    let tensors = i32::try_from(tensors).unwrap_or(i32::MAX);
    let tensors = Value::Number(Number::of(Kind::I32, &tensors.to_le_bytes()));
    [
        ("split.no".to_owned(), short(number)),
        ("split.count".to_owned(), short(count)),
        ("split.tensors.count".to_owned(), tensors),
    ]
}

/// One file behind the other is filled.
fn ranges(keys: &[(String, Value)], parts: &[GgufPart], most: u64) -> Vec<Range<usize>> {
    let of_series = series_keys(0, 2, 0);
    let alone = header(&of_series, &[]).len() as u64;
    let first = header(&[keys, &of_series].concat(), &[]).len() as u64;
    let mut ranges = Vec::new();
    let (mut start, mut bytes) = (0, first);
    for (index, part) in parts.iter().enumerate() {
        let added = padded(part.size_bytes) + listed_bytes(part);
        if index > start && bytes + added > most {
            ranges.push(start..index);
            (start, bytes) = (index, alone);
        }
        bytes += added;
    }
    ranges.push(start..parts.len());
    ranges
}

/// At most so many bytes tell of a tensor in a header.
fn listed_bytes(part: &GgufPart) -> u64 {
    (part.name.len() + 8 + 4 + 8 * part.shape.len() + 4 + 8) as u64 + ALIGNMENT
}

fn listed(parts: &[GgufPart]) -> Vec<Listed<'_>> {
    let parts = parts.iter().map(|part| Listed {
        name: &part.name,
        shape: &part.shape,
        kind: part.kind,
        offset: part.offset,
    });
    parts.collect()
}

/// Puts parts one behind the other.
fn place(parts: &mut [GgufPart]) {
    let mut offset = 0;
    for part in parts {
        part.offset = offset;
        offset = padded(offset + part.size_bytes);
    }
}

fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(ALIGNMENT)
}
