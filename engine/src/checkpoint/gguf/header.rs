//! The header of a GGUF file, validated once at the door: afterwards every tensor lies inside the file, has the bytes that
//! its shape and type ask for, starts where the alignment says, and overlaps no other.
//!
//! ```text
//! "GGUF" version:u32 tensors:u64 keys:u64
//! keys    times  key:text  type:u32  value           text = length:u64 and bytes; array = type:u32, count:u64, values
//! tensors times  name:text  dimensions:u32  sizes:u64 each, innermost first  type:u32  offset:u64
//! padding to the alignment, then tensor data; offsets count from here
//! ```
//! Every byte may be hostile: each length is compared with what is left of the file before anything is taken for it.
//! Versions 2 and 3 differ in nothing that is read here.

mod error;

use super::value::{ARRAY, Kind, Metadata, Number, TEXT, Value};
use crate::ggml::GgmlType;
pub use error::GgufError;
use std::collections::HashSet;
use std::io::{self, Read};

/// Most bytes that a header may have: a quarter of a million tokens with merges and `tokenizer.json` have some 60 MB.
const MAX_HEADER_BYTES: u64 = 128 << 20;

/// Most keys: each takes ten times its bytes in memory.
const MAX_KEYS: u64 = 1 << 16;

/// Most tensors of a file.
const MAX_TENSORS: u64 = 1 << 20;

/// Most texts in all arrays: a quarter of a million tokens have as many merges again. Each takes three times its least bytes.
const MAX_TEXTS: u64 = 1 << 22;

/// Longest key or tensor name.
const MAX_NAME_BYTES: u64 = 65_535;

/// Most dimensions of a tensor.
const MAX_DIMENSIONS: u32 = 4;

const DEFAULT_ALIGNMENT: u64 = 32;

/// Largest alignment: beyond it padding alone could be most of a file.
const MAX_ALIGNMENT: u64 = 1 << 20;

/// A validated header.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Header {
    /// Keys and values.
    pub metadata: Metadata,
    /// Tensors in the order in which the header lists them.
    pub tensors: Vec<HeaderTensor>,
}

/// One tensor of a header.
#[derive(Debug, Clone, PartialEq)]
pub struct HeaderTensor {
    /// Its name, unique in the file.
    pub name: String,
    /// Its element type; `Err` holds the number of one that cannot be read.
    pub kind: Result<GgmlType, u32>,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// First byte, counted from the start of the file.
    pub start: u64,
    /// Bytes of data; 0 where the type cannot be read.
    pub size_bytes: u64,
}

impl Header {
    /// Reads the header of a file of `file_bytes` bytes.
    pub fn read(input: impl Read, file_bytes: u64) -> Result<Self, GgufError> {
        let mut reader = Reader {
            input,
            position: 0,
            texts: 0,
            file_bytes,
        };
        let (tensor_count, key_count) = reader.beginning()?;
        let mut metadata = Metadata::default();
        for _ in 0..key_count {
            let key = reader.text("key", MAX_NAME_BYTES)?;
            let value = reader.value(&key)?;
            if metadata.0.insert(key.clone(), value).is_some() {
                return Err(GgufError::KeyTwice { key });
            }
        }
        let alignment = alignment(&metadata)?;
        let mut names = HashSet::new();
        let mut tensors = Vec::new();
        for _ in 0..tensor_count {
            let tensor = reader.tensor(alignment)?;
            if !names.insert(tensor.name.clone()) {
                return Err(GgufError::TensorTwice { name: tensor.name });
            }
            tensors.push(tensor);
        }
        let data_start = reader.position.next_multiple_of(alignment);
        place(&mut tensors, data_start, file_bytes)?;
        Ok(Self { metadata, tensors })
    }
}

fn alignment(metadata: &Metadata) -> Result<u64, GgufError> {
    if metadata.get("general.alignment").is_none() {
        return Ok(DEFAULT_ALIGNMENT);
    }
    let asked = metadata.count("general.alignment").unwrap_or(0);
    match asked.is_power_of_two() && asked <= MAX_ALIGNMENT {
        true => Ok(asked),
        false => Err(GgufError::Alignment),
    }
}

/// Counts starts from the beginning of the file and checks that data lie inside it, each tensor's alone.
fn place(tensors: &mut [HeaderTensor], data_start: u64, file_bytes: u64) -> Result<(), GgufError> {
    for tensor in tensors.iter_mut() {
        let start = data_start.checked_add(tensor.start);
        let end = start.and_then(|start| start.checked_add(tensor.size_bytes));
        match (start, end) {
            (Some(start), Some(end)) if end <= file_bytes => tensor.start = start,
            _ => {
                return Err(GgufError::OutOfRange {
                    name: tensor.name.clone(),
                });
            }
        }
    }
    let mut order: Vec<&HeaderTensor> = tensors
        .iter()
        .filter(|tensor| tensor.size_bytes > 0)
        .collect();
    order.sort_by_key(|tensor| tensor.start);
    for pair in order.windows(2) {
        if pair[0].start + pair[0].size_bytes > pair[1].start {
            return Err(GgufError::Overlap {
                first: pair[0].name.clone(),
                second: pair[1].name.clone(),
            });
        }
    }
    Ok(())
}

/// Takes pieces from the beginning of a file whose length is known.
struct Reader<R> {
    input: R,
    position: u64,
    /// Texts of arrays so far.
    texts: u64,
    file_bytes: u64,
}

impl<R: Read> Reader<R> {
    /// Magic, version and counts.
    fn beginning(&mut self) -> Result<(u64, u64), GgufError> {
        if self.fixed::<4>("its first bytes")? != *b"GGUF" {
            return Err(GgufError::Magic);
        }
        let version = self.u32("the version")?;
        if !(2..=3).contains(&version) {
            return Err(match version.swap_bytes() {
                1..=3 => GgufError::BigEndian,
                _ => GgufError::Version { version },
            });
        }
        // The shortest tensor has an empty name and no dimensions; the shortest key an empty name and one byte.
        let tensors = self.count("tensors", 24)?;
        let keys = self.count("keys", 13)?;
        for (what, count, most) in [("tensors", tensors, MAX_TENSORS), ("keys", keys, MAX_KEYS)] {
            if count > most {
                return Err(GgufError::TooMany { what, count, most });
            }
        }
        Ok((tensors, keys))
    }

    fn left(&self) -> u64 {
        self.file_bytes
            .min(MAX_HEADER_BYTES)
            .saturating_sub(self.position)
    }

    fn fill(&mut self, buffer: &mut [u8], what: &'static str) -> Result<(), GgufError> {
        if buffer.len() as u64 > self.left() {
            return Err(match self.file_bytes > MAX_HEADER_BYTES {
                true => GgufError::TooLong,
                false => GgufError::Truncated { what },
            });
        }
        self.input
            .read_exact(buffer)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => GgufError::Truncated { what },
                _ => GgufError::Io(error),
            })?;
        self.position += buffer.len() as u64;
        Ok(())
    }

    fn fixed<const SIZE: usize>(&mut self, what: &'static str) -> Result<[u8; SIZE], GgufError> {
        let mut bytes = [0; SIZE];
        self.fill(&mut bytes, what)?;
        Ok(bytes)
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.fixed(what)?))
    }

    fn u64(&mut self, what: &'static str) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.fixed(what)?))
    }

    /// A number of things that take at least `each` bytes.
    fn count(&mut self, what: &'static str, each: u64) -> Result<u64, GgufError> {
        let count = self.u64(what)?;
        let left = self.left();
        match count <= left / each {
            true => Ok(count),
            false => Err(GgufError::Count { what, count, left }),
        }
    }

    fn text(&mut self, what: &'static str, most: u64) -> Result<String, GgufError> {
        let bytes = self.u64(what)?;
        let most = most.min(self.left());
        if bytes > most {
            return Err(GgufError::TextTooLong { what, bytes, most });
        }
        let mut text = vec![0; bytes as usize];
        self.fill(&mut text, what)?;
        String::from_utf8(text).map_err(|_| GgufError::NotUtf8 { what })
    }

    fn value(&mut self, key: &str) -> Result<Value, GgufError> {
        let found = self.u32("the type of a key")?;
        Ok(match found {
            TEXT => Value::Text(self.text("value", u64::MAX)?),
            ARRAY => self.array(key)?,
            number => {
                let kind = kind_of(key, number)?;
                let mut bytes = [0; 8];
                self.fill(&mut bytes[..kind.size_bytes()], "the value of a key")?;
                Value::Number(Number { kind, bytes })
            }
        })
    }

    fn array(&mut self, key: &str) -> Result<Value, GgufError> {
        let found = self.u32("the type of an array")?;
        if found == ARRAY {
            return Err(GgufError::Nested {
                key: key.to_owned(),
            });
        }
        if found == TEXT {
            let count = self.count("texts", 8)?;
            self.texts += count;
            if self.texts > MAX_TEXTS {
                return Err(GgufError::TooMany {
                    what: "texts in arrays",
                    count: self.texts,
                    most: MAX_TEXTS,
                });
            }
            let texts = (0..count).map(|_| self.text("text of an array", u64::MAX));
            return Ok(Value::Texts(texts.collect::<Result<_, _>>()?));
        }
        let kind = kind_of(key, found)?;
        let count = self.count("numbers", kind.size_bytes() as u64)?;
        let mut bytes = vec![0; count as usize * kind.size_bytes()];
        self.fill(&mut bytes, "the numbers of an array")?;
        Ok(Value::Numbers(kind, bytes))
    }

    /// One tensor, its start still counted from the start of the data.
    fn tensor(&mut self, alignment: u64) -> Result<HeaderTensor, GgufError> {
        let name = self.text("tensor name", MAX_NAME_BYTES)?;
        let dimensions = self.u32("the dimensions of a tensor")?;
        if dimensions > MAX_DIMENSIONS {
            return Err(GgufError::Dimensions { name, dimensions });
        }
        let sizes: Vec<u64> = (0..dimensions)
            .map(|_| self.u64("the sizes of a tensor"))
            .collect::<Result<_, _>>()?;
        let number = self.u32("the type of a tensor")?;
        let start = self.u64("the offset of a tensor")?;
        if !start.is_multiple_of(alignment) {
            return Err(GgufError::Misaligned {
                name,
                offset: start,
                alignment,
            });
        }
        let kind = GgmlType::of_number(number).ok_or(number);
        let (shape, size_bytes) = extent(&name, &sizes, kind)?;
        Ok(HeaderTensor {
            name,
            kind,
            shape,
            start,
            size_bytes,
        })
    }
}

fn kind_of(key: &str, found: u32) -> Result<Kind, GgufError> {
    Kind::of(found).ok_or_else(|| GgufError::ValueType {
        key: key.to_owned(),
        found,
    })
}

/// Shape, outermost first, and bytes.
fn extent(
    name: &str,
    sizes: &[u64],
    kind: Result<GgmlType, u32>,
) -> Result<(Vec<usize>, u64), GgufError> {
    let overflow = || GgufError::ShapeOverflow {
        name: name.to_owned(),
    };
    if sizes.contains(&0) {
        return Err(GgufError::EmptyShape {
            name: name.to_owned(),
        });
    }
    let elements = sizes
        .iter()
        .try_fold(1u64, |product, &size| product.checked_mul(size))
        .filter(|&elements| elements <= i64::MAX as u64)
        .ok_or_else(overflow)?;
    let shape = sizes
        .iter()
        .rev()
        .map(|&size| usize::try_from(size).map_err(|_| overflow()))
        .collect::<Result<Vec<usize>, _>>()?;
    let Ok(kind) = kind else {
        return Ok((shape, 0));
    };
    let columns = shape.last().copied().unwrap_or(1);
    if !columns.is_multiple_of(kind.block_values()) {
        return Err(GgufError::PartBlock {
            name: name.to_owned(),
            columns,
            kind,
        });
    }
    let bytes = kind.bytes_of(elements).ok_or_else(overflow)?;
    Ok((shape, bytes))
}

#[cfg(test)]
mod tests;
