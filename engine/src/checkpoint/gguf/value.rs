//! Metadata of a GGUF file: keys with typed values.
//!
//! Integers and floats keep the width that the file gave them. Arrays of numbers stay the bytes that they were, so that
//! opening a file never takes more memory than a small multiple of its header.

use std::collections::BTreeMap;

/// The type of a number, as GGUF numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    U64,
    I64,
    F64,
}

/// The number of texts among the types of GGUF.
pub const TEXT: u32 = 8;

/// The number of arrays among the types of GGUF.
pub const ARRAY: u32 = 9;

impl Kind {
    const ALL: [(Self, u32, usize); 11] = [
        (Self::U8, 0, 1),
        (Self::I8, 1, 1),
        (Self::U16, 2, 2),
        (Self::I16, 3, 2),
        (Self::U32, 4, 4),
        (Self::I32, 5, 4),
        (Self::F32, 6, 4),
        (Self::Bool, 7, 1),
        (Self::U64, 10, 8),
        (Self::I64, 11, 8),
        (Self::F64, 12, 8),
    ];

    /// The kind of a number in a file; `None` of texts, arrays and anything unknown.
    pub fn of(number: u32) -> Option<Self> {
        let row = Self::ALL.iter().find(|row| row.1 == number)?;
        Some(row.0)
    }

    /// Its number in a file.
    pub fn number(self) -> u32 {
        self.row().1
    }

    /// Bytes of one number.
    pub fn size_bytes(self) -> usize {
        self.row().2
    }

    fn row(self) -> (Self, u32, usize) {
        let row = Self::ALL.into_iter().find(|row| row.0 == self);
        row.expect("every kind has a row")
    }
}

/// One number as it lies in the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number {
    /// Its type.
    pub kind: Kind,
    /// Little-endian bytes; those after the type's size are zero.
    pub bytes: [u8; 8],
}

impl Number {
    /// The number of `kind` in these bytes, which are as many as it has.
    pub fn of(kind: Kind, bytes: &[u8]) -> Self {
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        Self { kind, bytes: wide }
    }

    /// As a whole number, where it is one.
    pub fn whole(self) -> Option<i128> {
        let low = u64::from_le_bytes(self.bytes);
        Some(match self.kind {
            Kind::U8 | Kind::U16 | Kind::U32 | Kind::U64 | Kind::Bool => i128::from(low),
            Kind::I8 => i128::from(low as u8 as i8),
            Kind::I16 => i128::from(low as u16 as i16),
            Kind::I32 => i128::from(low as u32 as i32),
            Kind::I64 => i128::from(low as i64),
            Kind::F32 | Kind::F64 => return None,
        })
    }

    /// As a float.
    pub fn float(self) -> f64 {
        let low = u64::from_le_bytes(self.bytes);
        match self.kind {
            Kind::F32 => f64::from(f32::from_bits(low as u32)),
            Kind::F64 => f64::from_bits(low),
            _ => self.whole().unwrap_or_default() as f64,
        }
    }
}

/// The value of a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number or a truth value.
    Number(Number),
    /// A text.
    Text(String),
    /// Many texts.
    Texts(Vec<String>),
    /// Many numbers of one kind, as they lie in the file.
    Numbers(Kind, Vec<u8>),
}

impl Value {
    /// A `u32`.
    pub fn u32(value: u32) -> Self {
        Self::Number(Number::of(Kind::U32, &value.to_le_bytes()))
    }

    /// An `f32`.
    pub fn f32(value: f32) -> Self {
        Self::Number(Number::of(Kind::F32, &value.to_le_bytes()))
    }

    /// A truth value.
    pub fn flag(value: bool) -> Self {
        Self::Number(Number::of(Kind::Bool, &[u8::from(value)]))
    }

    /// Many `f32`.
    pub fn floats(values: &[f32]) -> Self {
        Self::Numbers(
            Kind::F32,
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        )
    }

    /// Many `i32`.
    pub fn integers(values: &[i32]) -> Self {
        Self::Numbers(
            Kind::I32,
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        )
    }

    /// The numbers of an array.
    pub fn numbers(&self) -> Option<impl Iterator<Item = Number>> {
        let Self::Numbers(kind, bytes) = self else {
            return None;
        };
        let numbers = bytes.chunks_exact(kind.size_bytes());
        Some(numbers.map(|bytes| Number::of(*kind, bytes)))
    }
}

/// All keys of a file. Each question answers `None` where the key is absent or holds something else.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metadata(pub BTreeMap<String, Value>);

impl Metadata {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// A text.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Many texts.
    pub fn texts(&self, key: &str) -> Option<&[String]> {
        match self.get(key)? {
            Value::Texts(texts) => Some(texts),
            _ => None,
        }
    }

    /// A count of 0 or more.
    pub fn count(&self, key: &str) -> Option<u64> {
        match self.get(key)? {
            Value::Number(number) => u64::try_from(number.whole()?).ok(),
            _ => None,
        }
    }

    /// A whole number of 0 or more, or the one that an array repeats.
    pub fn same_count(&self, key: &str) -> Option<u64> {
        let Some(mut numbers) = self.get(key)?.numbers() else {
            return self.count(key);
        };
        let first = numbers.next()?;
        let same = numbers.all(|number| number == first);
        u64::try_from(first.whole()?).ok().filter(|_| same)
    }

    /// A float, or a whole number as one.
    pub fn float(&self, key: &str) -> Option<f64> {
        match self.get(key)? {
            Value::Number(number) => Some(number.float()),
            _ => None,
        }
    }

    /// A truth value.
    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.get(key)? {
            Value::Number(number) if number.kind == Kind::Bool => Some(number.bytes[0] != 0),
            _ => None,
        }
    }

    /// Many numbers as floats.
    pub fn floats(&self, key: &str) -> Option<Vec<f64>> {
        Some(self.get(key)?.numbers()?.map(Number::float).collect())
    }
}
