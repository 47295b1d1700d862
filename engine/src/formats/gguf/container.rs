//! The header of a GGUF file as bytes: version 3, numbers little-endian, data aligned to 32 bytes.
//!
//! Knows keys, names and sizes; what they mean is others' question. `checkpoint::gguf::header` draws the layout.

use crate::checkpoint::gguf::value::{ARRAY, TEXT, Value};
use crate::ggml::GgmlType;

/// Where data may begin.
pub(super) const ALIGNMENT: u64 = 32;

const VERSION: u32 = 3;

/// A tensor as a header lists it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Listed<'a> {
    pub(super) name: &'a str,
    /// Outermost first.
    pub(super) shape: &'a [usize],
    pub(super) kind: GgmlType,
    /// From the start of the data on.
    pub(super) offset: u64,
}

/// Everything before the data, padded to the alignment.
pub(super) fn header(keys: &[(String, Value)], tensors: &[Listed<'_>]) -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    put_u32(&mut bytes, VERSION);
    put_u64(&mut bytes, tensors.len() as u64);
    put_u64(&mut bytes, keys.len() as u64);
    for (key, value) in keys {
        put_text(&mut bytes, key);
        put_value(&mut bytes, value);
    }
    for tensor in tensors {
        put_text(&mut bytes, tensor.name);
        put_u32(&mut bytes, tensor.shape.len() as u32);
        for &size in tensor.shape.iter().rev() {
            put_u64(&mut bytes, size as u64);
        }
        put_u32(&mut bytes, tensor.kind.number());
        put_u64(&mut bytes, tensor.offset);
    }
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT as usize), 0);
    bytes
}

fn put_u32(bytes: &mut Vec<u8>, value: u32) {
    bytes.extend_from_slice(&value.to_le_bytes());
}

fn put_u64(bytes: &mut Vec<u8>, value: u64) {
    bytes.extend_from_slice(&value.to_le_bytes());
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_u64(bytes, text.len() as u64);
    bytes.extend_from_slice(text.as_bytes());
}

fn put_value(bytes: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Number(number) => {
            put_u32(bytes, number.kind.number());
            bytes.extend_from_slice(&number.bytes[..number.kind.size_bytes()]);
        }
        Value::Text(text) => {
            put_u32(bytes, TEXT);
            put_text(bytes, text);
        }
        Value::Texts(texts) => {
            put_u32(bytes, ARRAY);
            put_u32(bytes, TEXT);
            put_u64(bytes, texts.len() as u64);
            for text in texts {
                put_text(bytes, text);
            }
        }
        Value::Numbers(kind, numbers) => {
            put_u32(bytes, ARRAY);
            put_u32(bytes, kind.number());
            put_u64(bytes, (numbers.len() / kind.size_bytes()) as u64);
            bytes.extend_from_slice(numbers);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::checkpoint::gguf::header::Header;
    use proptest::prelude::*;

    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<u32>().prop_map(Value::u32),
            (-1e9f32..1e9).prop_map(Value::f32),
            any::<bool>().prop_map(Value::flag),
            ".{0,9}".prop_map(Value::Text),
            prop::collection::vec(".{0,5}", 0..5).prop_map(Value::Texts),
            prop::collection::vec(-9f32..9.0, 0..5).prop_map(|values| Value::floats(&values)),
            prop::collection::vec(any::<i32>(), 0..5).prop_map(|values| Value::integers(&values)),
        ]
    }

    proptest! {
        #[test]
        fn a_header_comes_back(values in prop::collection::vec(any_value(), 0..8)) {
            let keys: Vec<(String, Value)> =
                values.into_iter().enumerate().map(|(at, value)| (format!("key.{at}"), value)).collect();
            let listed = Listed { name: "blk.0.x", shape: &[2, 64], kind: GgmlType::Q4_0, offset: 32 };
            let mut file = header(&keys, &[listed]);
            prop_assert_eq!(file.len() % 32, 0);
            let data_start = file.len() as u64;
            file.resize(file.len() + 32 + 72, 0);
            let read = Header::read(file.as_slice(), file.len() as u64).unwrap();
            prop_assert_eq!(read.metadata.0.into_iter().collect::<Vec<_>>(), keys);
            let tensor = &read.tensors[0];
            prop_assert_eq!((tensor.start, tensor.size_bytes), (data_start + 32, 72));
            prop_assert_eq!(&tensor.shape, &[2, 64]);
        }
    }
}
