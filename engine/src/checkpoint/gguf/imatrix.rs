//! Files of llama.cpp's `imatrix`: the mean square of every layer's inputs, in both forms that exist.
//!
//! ```text
//! GGUF   tensors NAME.in_sum2 and NAME.counts in F32: sums of squares, and how many tokens they are of
//! older  entries:i32, each: length:i32, name, calls:i32, values:i32, f32 each (sums of a mean for each call)
//! ```
//! Every byte may be hostile. Knows no model.

use super::header::{GgufError, Header, HeaderTensor};
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::files::TensorFile;
use crate::ggml::{self, GgmlType};
use std::collections::{BTreeMap, HashMap};
use std::io::BufReader;
use std::path::Path;

/// Largest file that is read: entries of the widest models have some megabytes.
const MAX_BYTES: u64 = 1 << 30;

/// What a sums tensor's name ends with.
pub const SUMS: &str = ".in_sum2";

/// What a counts tensor's name ends with.
pub const COUNTS: &str = ".counts";

/// Mean squares by the names of tensors in GGUF.
pub fn read(path: &Path) -> Result<BTreeMap<String, Vec<f32>>, CheckpointError> {
    let (file, bytes) = TensorFile::open_bare(path)?;
    let unread = |source| CheckpointError::Io {
        what: "the imatrix",
        source,
        path: path.to_owned(),
    };
    let wrong = |problem: String| CheckpointError::GgufModel {
        problem,
        path: path.to_owned(),
    };
    if bytes > MAX_BYTES {
        return Err(wrong(format!(
            "has {bytes} bytes, more than an imatrix can have ({MAX_BYTES})"
        )));
    }
    let mut magic = [0; 4];
    if bytes >= 4 {
        file.read_at(0, &mut magic).map_err(unread)?;
    }
    if &magic != b"GGUF" {
        let mut whole = vec![0; bytes as usize];
        file.read_at(0, &mut whole).map_err(unread)?;
        return older(&whole).ok_or_else(|| wrong("is no imatrix of either form".to_owned()));
    }
    let header = Header::read(BufReader::new(file.stream()), bytes);
    let header = header.map_err(|source| match source {
        GgufError::Io(source) => unread(source),
        source => CheckpointError::Gguf {
            source,
            path: path.to_owned(),
        },
    })?;
    let floats = |tensor: &HeaderTensor| -> Result<Vec<f32>, CheckpointError> {
        if tensor.kind != Ok(GgmlType::F32) {
            return Err(wrong(format!(
                "holds {} as something else than F32",
                tensor.name
            )));
        }
        let mut bytes = vec![0; tensor.size_bytes as usize];
        file.read_at(tensor.start, &mut bytes).map_err(unread)?;
        let mut values = vec![0.0; bytes.len() / 4];
        ggml::decode(GgmlType::F32, &bytes, &mut values);
        Ok(values)
    };
    let mut entries = BTreeMap::new();
    let tensors = header.tensors.iter();
    let by_name: HashMap<&str, &HeaderTensor> = tensors
        .map(|tensor| (tensor.name.as_str(), tensor))
        .collect();
    for tensor in &header.tensors {
        let Some(name) = tensor.name.strip_suffix(SUMS) else {
            continue;
        };
        let counted = format!("{name}{COUNTS}");
        let counts = by_name.get(counted.as_str());
        let counts = counts.ok_or_else(|| wrong(format!("lacks {counted}")))?;
        let (mut sums, counts) = (floats(tensor)?, floats(counts)?);
        // Experts have a count each; what is read here is one matrix.
        let [count] = counts[..] else {
            continue;
        };
        if count > 0.0 {
            sums.iter_mut().for_each(|sum| *sum /= count);
            entries.insert(name.to_owned(), checked(name, sums).map_err(wrong)?);
        }
    }
    match entries.is_empty() {
        true => Err(wrong("holds no entry of an imatrix".to_owned())),
        false => Ok(entries),
    }
}

fn checked(name: &str, squares: Vec<f32>) -> Result<Vec<f32>, String> {
    match squares
        .iter()
        .all(|&square| square.is_finite() && square >= 0.0)
    {
        true => Ok(squares),
        false => Err(format!("holds numbers of {name} that are no mean squares")),
    }
}

fn older(bytes: &[u8]) -> Option<BTreeMap<String, Vec<f32>>> {
    let mut rest = bytes;
    let count = take_count(&mut rest)?;
    let mut entries = BTreeMap::new();
    for _ in 0..count {
        let length = take_count(&mut rest)?;
        let name = String::from_utf8(take(&mut rest, length)?.to_vec()).ok()?;
        let calls = take_count(&mut rest)?;
        let values = take_count(&mut rest)?;
        let bytes = take(&mut rest, values.checked_mul(4)?)?;
        let mut squares = vec![0.0; values];
        ggml::decode(GgmlType::F32, bytes, &mut squares);
        if calls > 0 {
            squares
                .iter_mut()
                .for_each(|square| *square /= calls as f32);
            entries.insert(name.clone(), checked(&name, squares).ok()?);
        }
    }
    (!entries.is_empty()).then_some(entries)
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

fn take_count(rest: &mut &[u8]) -> Option<usize> {
    let bytes: [u8; 4] = take(rest, 4)?.try_into().ok()?;
    usize::try_from(i32::from_le_bytes(bytes)).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn entry(name: &str, calls: i32, values: &[f32]) -> Vec<u8> {
        let mut bytes = (name.len() as i32).to_le_bytes().to_vec();
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend(calls.to_le_bytes());
        bytes.extend((values.len() as i32).to_le_bytes());
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        bytes
    }

    #[test]
    fn the_older_form_is_read() {
        let mut bytes = 2i32.to_le_bytes().to_vec();
        bytes.extend(entry("blk.0.attn_q.weight", 4, &[8.0, 2.0]));
        bytes.extend(entry("blk.0.unused", 0, &[1.0]));
        let entries = older(&bytes).unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries["blk.0.attn_q.weight"], [2.0, 0.5]);
        for length in 0..bytes.len() {
            assert!(older(&bytes[..length]).is_none(), "cut to {length}");
        }
        let hostile = [&i32::MAX.to_le_bytes()[..], &i32::MAX.to_le_bytes()].concat();
        assert!(older(&hostile).is_none());
        let nan = [&1i32.to_le_bytes()[..], &entry("x", 1, &[f32::NAN])].concat();
        assert!(older(&nan).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = older(&bytes);
        }
    }
}
