//! The wire of protocol buffers, as far as ONNX needs it: numbers, texts and nested messages, written and read.
//!
//! A message is a run of fields: a key `number << 3 | kind`, then a varint (kind 0), 8 bytes (1), a length and so many
//! bytes (2), or 4 bytes (5). Source: protobuf.dev, "Encoding". Knows no message of ONNX.

/// A message being written.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// A number; negative ones take ten bytes.
    pub(super) fn number(&mut self, field: u32, value: i64) {
        self.key(field, 0);
        self.varint(value as u64);
    }

    /// A float.
    pub(super) fn float(&mut self, field: u32, value: f32) {
        self.key(field, 5);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Bytes.
    pub(super) fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.key(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// A text.
    pub(super) fn text(&mut self, field: u32, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    /// A nested message.
    pub(super) fn message(&mut self, field: u32, message: Message) {
        self.bytes(field, &message.0);
    }

    /// All that was written.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn key(&mut self, field: u32, kind: u64) {
        self.varint(u64::from(field) << 3 | kind);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// A field that was read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Field<'a> {
    /// A varint.
    Number(i64),
    /// Four bytes.
    Float(f32),
    /// Bytes, a text or a message.
    Bytes(&'a [u8]),
    /// Eight bytes, which no message here has.
    Eight,
}

/// Reads the fields of a message, in order: `(number, field)`. Ends with an error where the bytes are no message.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

/// Bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is cut short or no protocol buffer")]
pub(super) struct NoMessage;

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn read(&mut self) -> Result<(u32, Field<'a>), NoMessage> {
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| NoMessage)?;
        let field = match key & 7 {
            0 => Field::Number(self.varint()? as i64),
            1 => self.take(8).map(|_| Field::Eight)?,
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| NoMessage)?;
                Field::Bytes(self.take(length)?)
            }
            5 => {
                let bytes = self.take(4)?.try_into().map_err(|_| NoMessage)?;
                Field::Float(f32::from_le_bytes(bytes))
            }
            _ => return Err(NoMessage),
        };
        Ok((number, field))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], NoMessage> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(NoMessage)?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, NoMessage> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(NoMessage)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Field<'a>), NoMessage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.rest = &[];
        }
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_written_as_the_documents_show_them() {
        let mut message = Message::default();
        message.number(1, 150);
        message.text(2, "testing");
        let expected = b"\x08\x96\x01\x12\x07testing";
        assert_eq!(message.into_bytes(), expected);
    }

    proptest! {
        #[test]
        fn fields_come_back(numbers in prop::collection::vec((1u32..1 << 29, any::<i64>()), 0..5), text in ".{0,300}") {
            let (mut message, mut inner) = (Message::default(), Message::default());
            numbers.iter().for_each(|&(field, value)| message.number(field, value));
            inner.text(1, &text);
            inner.float(2, 0.5);
            message.message(7, inner);
            let bytes = message.into_bytes();
            let found: Vec<_> = Fields::new(&bytes).collect::<Result<_, _>>().unwrap();
            let expected: Vec<_> = numbers.iter().map(|&(field, value)| (field, Field::Number(value))).collect();
            prop_assert_eq!(&found[..numbers.len()], &expected[..]);
            let (7, Field::Bytes(inner)) = found[numbers.len()] else { panic!("{found:?}") };
            let inner: Vec<_> = Fields::new(inner).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(inner, vec![(1, Field::Bytes(text.as_bytes())), (2, Field::Float(0.5))]);
        }

        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Fields::new(&bytes).count() <= bytes.len() + 1);
        }
    }
}
