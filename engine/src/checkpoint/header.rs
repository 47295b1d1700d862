//! The header of a safetensors file, validated once at the door: afterwards every tensor lies inside the file, has the
//! bytes that its shape asks for, and overlaps no other.
//!
//! ```text
//! byte 0        8                        8 + n                     end of file
//!      | n: u64 | JSON of n bytes        | tensor data, no holes   |
//! ```
//!
//! Every byte may be hostile: nothing is allocated beyond the size of the file, and every sum is checked.
//! Knows no folder, shard or model.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::fmt;

use safetensors::tensor::TensorInfo as RawInfo;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

/// Bytes before the JSON.
pub(super) const PREFIX_BYTES: usize = 8;

/// Longest JSON that is read; the safetensors library has the same bound.
pub(super) const MAX_HEADER_BYTES: u64 = 100_000_000;

/// A validated header.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// The `__metadata__` strings.
    pub metadata: BTreeMap<String, String>,
    /// Tensors in the order in which their data lies in the file.
    pub tensors: Vec<HeaderTensor>,
}

/// One tensor of a header.
#[derive(Debug, Clone, PartialEq)]
pub struct HeaderTensor {
    /// Its name, unique in the file.
    pub name: String,
    /// Its element type, which may be one that values cannot be read from.
    pub dtype: safetensors::Dtype,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// First byte, counted from the start of the file.
    pub start: u64,
    /// Bytes of data.
    pub size_bytes: u64,
}

/// Why bytes are no safetensors file. One variant for each way of being wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum HeaderError {
    #[error("it has only {file_bytes} bytes, too few for a safetensors file")]
    TooSmall { file_bytes: u64 },
    #[error(
        "its header claims {header_bytes} bytes but the file has only {file_bytes}: it was cut short or is no safetensors file"
    )]
    LongerThanFile { header_bytes: u64, file_bytes: u64 },
    #[error("its header claims {header_bytes} bytes, more than the {MAX_HEADER_BYTES} allowed")]
    TooLong { header_bytes: u64 },
    #[error("its header is not UTF-8 text")]
    NotUtf8,
    #[error("its header is not the JSON of a safetensors file ({problem})")]
    NotJson { problem: String },
    #[error("its header names the tensor {name} twice")]
    Duplicate { name: String },
    #[error("the shape of tensor {name} has more elements than can be counted")]
    ShapeOverflow { name: String },
    #[error("the elements of tensor {name} fill no whole number of bytes")]
    PartByte { name: String },
    #[error(
        "tensor {name} needs {needed} bytes for its shape, but its offsets span {offset_bytes}"
    )]
    SizeMismatch {
        name: String,
        needed: u64,
        offset_bytes: u64,
    },
    #[error("the offsets of tensor {name} run backwards")]
    Backwards { name: String },
    #[error("the data of tensors {first} and {second} overlap")]
    Overlap { first: String, second: String },
    #[error("there is a hole of {bytes} bytes before the data of tensor {name}")]
    Hole { name: String, bytes: u64 },
    #[error("the offsets of tensor {name} lie outside the file")]
    OutOfRange { name: String },
    #[error(
        "its header announces {announced} bytes of tensors but only {present} follow: it was cut short"
    )]
    Truncated { announced: u64, present: u64 },
    #[error("{bytes} bytes follow the last tensor and belong to none")]
    Trailing { bytes: u64 },
}

impl Header {
    /// Validates a whole file that is in memory.
    pub fn of_bytes(file: &[u8]) -> Result<Self, HeaderError> {
        let file_bytes = file.len() as u64;
        let prefix = file
            .first_chunk()
            .ok_or(HeaderError::TooSmall { file_bytes })?;
        let length = Self::json_length(*prefix, file_bytes)?;
        Self::of_json(&file[PREFIX_BYTES..PREFIX_BYTES + length], file_bytes)
    }

    /// Length of the JSON that follows `prefix`; it fits into the file.
    pub(super) fn json_length(
        prefix: [u8; PREFIX_BYTES],
        file_bytes: u64,
    ) -> Result<usize, HeaderError> {
        let header_bytes = u64::from_le_bytes(prefix);
        if header_bytes > file_bytes.saturating_sub(PREFIX_BYTES as u64) {
            return Err(HeaderError::LongerThanFile {
                header_bytes,
                file_bytes,
            });
        }
        if header_bytes > MAX_HEADER_BYTES {
            return Err(HeaderError::TooLong { header_bytes });
        }
        Ok(header_bytes as usize)
    }

    /// Validates the JSON of a file of `file_bytes` bytes.
    pub(super) fn of_json(json: &[u8], file_bytes: u64) -> Result<Self, HeaderError> {
        let text = std::str::from_utf8(json).map_err(|_| HeaderError::NotUtf8)?;
        let mut raw = RawHeader::parse(text)?;
        refuse_duplicates(&raw.tensors)?;
        raw.tensors.sort_by_key(|(_, info)| info.data_offsets);
        let data_start = (PREFIX_BYTES + json.len()) as u64;
        let tensors = place(raw.tensors, data_start, file_bytes - data_start)?;
        Ok(Self {
            metadata: raw.metadata,
            tensors,
        })
    }
}

/// Checks the offsets of tensors sorted by them, and counts them from the start of the file.
fn place(
    sorted: Vec<(String, RawInfo)>,
    data_start: u64,
    data_bytes: u64,
) -> Result<Vec<HeaderTensor>, HeaderError> {
    let mut tensors: Vec<HeaderTensor> = Vec::with_capacity(sorted.len());
    let mut expected_start = 0;
    for (name, info) in sorted {
        let (start, end) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
        if end < start {
            return Err(HeaderError::Backwards { name });
        }
        if start < expected_start {
            let first = tensors.pop().map_or_else(String::new, |last| last.name);
            return Err(HeaderError::Overlap {
                first,
                second: name,
            });
        }
        if start > expected_start {
            return Err(if end > data_bytes {
                HeaderError::OutOfRange { name }
            } else {
                let bytes = start - expected_start;
                HeaderError::Hole { name, bytes }
            });
        }
        let needed = needed_bytes(&name, &info)?;
        if needed != end - start {
            return Err(HeaderError::SizeMismatch {
                name,
                needed,
                offset_bytes: end - start,
            });
        }
        expected_start = end;
        tensors.push(HeaderTensor {
            name,
            dtype: info.dtype,
            shape: info.shape,
            start: data_start.saturating_add(start),
            size_bytes: needed,
        });
    }
    if expected_start > data_bytes {
        return Err(HeaderError::Truncated {
            announced: expected_start,
            present: data_bytes,
        });
    }
    if expected_start < data_bytes {
        let bytes = data_bytes - expected_start;
        return Err(HeaderError::Trailing { bytes });
    }
    Ok(tensors)
}

/// Bytes that shape and element type ask for; elements smaller than a byte must fill whole ones.
fn needed_bytes(name: &str, info: &RawInfo) -> Result<u64, HeaderError> {
    let overflow = || HeaderError::ShapeOverflow {
        name: name.to_owned(),
    };
    let elements = info
        .shape
        .iter()
        .try_fold(1u64, |product, &dimension| {
            product.checked_mul(dimension as u64)
        })
        .ok_or_else(overflow)?;
    let bits = elements
        .checked_mul(info.dtype.bitsize() as u64)
        .ok_or_else(overflow)?;
    if bits % 8 == 0 {
        Ok(bits / 8)
    } else {
        Err(HeaderError::PartByte {
            name: name.to_owned(),
        })
    }
}

fn refuse_duplicates(tensors: &[(String, RawInfo)]) -> Result<(), HeaderError> {
    let mut seen = HashSet::with_capacity(tensors.len());
    match tensors.iter().find(|(name, _)| !seen.insert(name.as_str())) {
        Some((name, _)) => Err(HeaderError::Duplicate { name: name.clone() }),
        None => Ok(()),
    }
}

/// The JSON as it stands: duplicates kept, so that they can be refused.
#[derive(Default)]
struct RawHeader {
    metadata: BTreeMap<String, String>,
    tensors: Vec<(String, RawInfo)>,
}

impl RawHeader {
    fn parse(text: &str) -> Result<Self, HeaderError> {
        let not_json = |error: serde_json::Error| HeaderError::NotJson {
            problem: error.to_string(),
        };
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let raw = deserializer
            .deserialize_map(Self::default())
            .map_err(not_json)?;
        deserializer.end().map_err(not_json)?;
        Ok(raw)
    }
}

impl<'de> Visitor<'de> for RawHeader {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Self, A::Error> {
        while let Some(name) = entries.next_key::<String>()? {
            if name == "__metadata__" {
                self.metadata
                    .extend(entries.next_value::<BTreeMap<_, _>>()?);
            } else {
                let info = entries
                    .next_value::<RawInfo>()
                    .map_err(|error| A::Error::custom(format!("tensor {name}: {error}")))?;
                self.tensors.push((name, info));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests;
