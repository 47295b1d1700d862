//! Why bytes are no GGUF file. Knows no path: whoever reads a file says which.

use super::{MAX_ALIGNMENT, MAX_DIMENSIONS, MAX_HEADER_BYTES};
use crate::ggml::GgmlType;
use std::io;

/// Why bytes are no GGUF file. One variant for each way of being wrong.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum GgufError {
    #[error("it ends in the middle of its header ({what}): it was cut short")]
    Truncated { what: &'static str },
    #[error("it could not be read ({0})")]
    Io(io::Error),
    #[error("it does not begin with GGUF")]
    Magic,
    #[error("it has version {version}; versions 2 and 3 are read")]
    Version { version: u32 },
    #[error("its numbers are big-endian, which is not read")]
    BigEndian,
    #[error("it claims {count} {what}; at most {most} are read")]
    TooMany {
        what: &'static str,
        count: u64,
        most: u64,
    },
    #[error("it claims {count} {what}, more than its {left} remaining bytes can hold")]
    Count {
        what: &'static str,
        count: u64,
        left: u64,
    },
    #[error(
        "a {what} claims {bytes} bytes, but at most {most} are possible there: it was cut short or its header is wrong"
    )]
    TextTooLong {
        what: &'static str,
        bytes: u64,
        most: u64,
    },
    #[error("a {what} is not UTF-8 text")]
    NotUtf8 { what: &'static str },
    #[error("its header has more than {MAX_HEADER_BYTES} bytes")]
    TooLong,
    #[error("key {key} has type {found}, which is unknown")]
    ValueType { key: String, found: u32 },
    #[error("key {key} holds arrays inside an array")]
    Nested { key: String },
    #[error("it has the key {key} twice")]
    KeyTwice { key: String },
    #[error("general.alignment must be a power of two from 1 to {MAX_ALIGNMENT}")]
    Alignment,
    #[error("it names the tensor {name} twice")]
    TensorTwice { name: String },
    #[error("tensor {name} has {dimensions} dimensions; at most {MAX_DIMENSIONS} are possible")]
    Dimensions { name: String, dimensions: u32 },
    #[error("tensor {name} has a dimension of 0")]
    EmptyShape { name: String },
    #[error("the shape of tensor {name} has more elements than can be counted")]
    ShapeOverflow { name: String },
    #[error("tensor {name} has rows of {columns} values, which are no whole blocks of {kind}")]
    PartBlock {
        name: String,
        columns: usize,
        kind: GgmlType,
    },
    #[error("tensor {name} begins at offset {offset}, which is no multiple of {alignment}")]
    Misaligned {
        name: String,
        offset: u64,
        alignment: u64,
    },
    #[error(
        "the data of tensor {name} lie outside the file: it was cut short or its header is wrong"
    )]
    OutOfRange { name: String },
    #[error("the data of tensors {first} and {second} overlap")]
    Overlap { first: String, second: String },
}
