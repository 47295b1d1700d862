//! One way of being wrong at a time, then any bytes at all. Knows no file: headers are put together byte by byte.

#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

/// Bytes of a header, put together piece by piece.
#[derive(Clone, Default)]
pub(crate) struct Bytes(Vec<u8>);

impl Bytes {
    fn begin(tensors: u64, keys: u64) -> Self {
        Self::default().raw(b"GGUF").u32(3).u64(tensors).u64(keys)
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn u32(self, value: u32) -> Self {
        self.raw(&value.to_le_bytes())
    }

    fn u64(self, value: u64) -> Self {
        self.raw(&value.to_le_bytes())
    }

    fn text(self, text: &str) -> Self {
        self.u64(text.len() as u64).raw(text.as_bytes())
    }

    fn key(self, key: &str, value: u32) -> Self {
        self.text(key).u32(4).u32(value)
    }

    fn tensor(self, name: &str, sizes: &[u64], kind: u32, offset: u64) -> Self {
        let start = self.text(name).u32(sizes.len() as u32);
        let with_sizes = sizes.iter().fold(start, |bytes, &size| bytes.u64(size));
        with_sizes.u32(kind).u64(offset)
    }

    /// Pads to the data and adds `bytes` of them.
    fn data(mut self, bytes: usize) -> Self {
        let start = self.0.len().next_multiple_of(32);
        self.0.resize(start + bytes, 7);
        self
    }

    fn read(&self) -> Result<Header, GgufError> {
        Header::read(self.0.as_slice(), self.0.len() as u64)
    }

    fn problem(&self) -> String {
        self.read().unwrap_err().to_string()
    }
}

fn good() -> Bytes {
    Bytes::begin(2, 3)
        .text("general.architecture")
        .u32(8)
        .text("llama")
        .key("llama.block_count", 2)
        .text("list")
        .u32(9)
        .u32(8)
        .u64(2)
        .text("a")
        .text("")
        .tensor("a.weight", &[32, 3], 8, 0)
        .tensor("b.weight", &[4], 0, 128)
        .data(144)
}

#[test]
fn a_good_header_is_read() {
    let header = good().read().unwrap();
    assert_eq!(header.metadata.text("general.architecture"), Some("llama"));
    assert_eq!(header.metadata.count("llama.block_count"), Some(2));
    assert_eq!(header.metadata.texts("list").unwrap(), ["a", ""]);
    let first = &header.tensors[0];
    assert_eq!(first.shape, [3, 32]);
    assert_eq!((first.kind, first.size_bytes), (Ok(GgmlType::Q8_0), 102));
    assert_eq!(first.start % 32, 0);
    assert_eq!(header.tensors[1].start, first.start + 128);
}

#[test]
fn each_way_of_being_wrong_has_its_words() {
    let huge = 1u64 << 60;
    let one = || Bytes::begin(1, 0);
    let cases: Vec<(Bytes, &str)> = vec![
        (Bytes::default().raw(b"GGU"), "cut short"),
        (
            Bytes::default().raw(b"GGML").u32(3).u64(0).u64(0),
            "does not begin with GGUF",
        ),
        (
            Bytes::default().raw(b"GGUF").u32(1).u64(0).u64(0),
            "version 1",
        ),
        (
            Bytes::default()
                .raw(b"GGUF")
                .raw(&3u32.to_be_bytes())
                .u64(0)
                .u64(0),
            "big-endian",
        ),
        (Bytes::begin(huge, 0), "claims 1152921504606846976 tensors"),
        (Bytes::begin(0, huge), "keys"),
        (
            Bytes::begin(0, 1).u64(huge).raw(&[0; 40]),
            "a key claims 1152921504606846976 bytes",
        ),
        (
            Bytes::begin(0, 1).text("k").u32(8).u64(huge).raw(&[0; 40]),
            "a value claims",
        ),
        (
            Bytes::begin(0, 1)
                .text("k")
                .u32(9)
                .u32(6)
                .u64(huge)
                .raw(&[0; 40]),
            "numbers",
        ),
        (
            Bytes::begin(0, 1)
                .text("k")
                .u32(9)
                .u32(8)
                .u64(huge)
                .raw(&[0; 40]),
            "texts",
        ),
        (
            Bytes::begin(0, 1)
                .text("k")
                .u32(9)
                .u32(9)
                .u64(1)
                .raw(&[0; 40]),
            "arrays inside an array",
        ),
        (
            Bytes::begin(0, 1).text("k").u32(77).raw(&[0; 40]),
            "type 77",
        ),
        (
            Bytes::begin(0, 1).u64(2).raw(&[0xff, 0xfe]).u32(4).u32(1),
            "not UTF-8",
        ),
        (Bytes::begin(0, 2).key("k", 1).key("k", 2), "key k twice"),
        (
            Bytes::begin(0, 1).key("general.alignment", 0).data(0),
            "power of two",
        ),
        (
            Bytes::begin(0, 1).key("general.alignment", 24).data(0),
            "power of two",
        ),
        (
            Bytes::begin(0, 1).key("general.alignment", 1 << 31).data(0),
            "power of two",
        ),
        (
            one().tensor("t", &[1, 1, 1, 1, 1], 0, 0).data(64),
            "5 dimensions",
        ),
        (
            one().tensor("t", &[1 << 33, 1 << 33, 0], 0, 0).data(64),
            "a dimension of 0",
        ),
        (one().tensor("t", &[0], 0, 0).data(64), "a dimension of 0"),
        (
            Bytes::begin(0, 70_000).raw(&[0; 1_000_000]),
            "at most 65536 are read",
        ),
        (
            one().tensor("t", &[1 << 40, 1 << 40], 0, 0).data(64),
            "more elements than can be counted",
        ),
        (
            one().tensor("t", &[u64::MAX], 8, 0).data(64),
            "more elements than can be counted",
        ),
        (
            one().tensor("t", &[31], 8, 0).data(64),
            "no whole blocks of Q8_0",
        ),
        (one().tensor("t", &[8], 0, 4).data(64), "no multiple of 32"),
        (one().tensor("t", &[8], 0, 32).data(32), "outside the file"),
        (
            one().tensor("t", &[8], 0, u64::MAX - 31).data(64),
            "outside the file",
        ),
        (
            one().tensor("t", &[1 << 40], 0, 0).data(64),
            "outside the file",
        ),
        (
            Bytes::begin(2, 0)
                .tensor("t", &[8], 0, 0)
                .tensor("t", &[8], 0, 32)
                .data(64),
            "tensor t twice",
        ),
        (
            Bytes::begin(2, 0)
                .tensor("t", &[16], 0, 0)
                .tensor("u", &[8], 0, 32)
                .data(64),
            "t and u overlap",
        ),
    ];
    for (bytes, expected) in cases {
        let problem = bytes.problem();
        assert!(
            problem.contains(expected),
            "expected {expected:?}: {problem}"
        );
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let whole = good();
    for length in 0..whole.0.len() {
        let cut = Bytes(whole.0[..length].to_vec());
        assert!(cut.read().is_err(), "{length} of {} bytes", whole.0.len());
    }
}

#[test]
fn seeds_of_the_fuzzer_give_an_answer() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/gguf");
    let mut good = 0;
    for entry in std::fs::read_dir(seeds).unwrap() {
        let bytes = Bytes(std::fs::read(entry.unwrap().path()).unwrap());
        good += u32::from(bytes.read().is_ok());
    }
    assert_eq!(
        good, 3,
        "one with tensors, one with every kind of number, one with a long token"
    );
}

#[test]
fn unknown_types_are_listed() {
    let header = Bytes::begin(1, 0)
        .tensor("t", &[256], 19, 0)
        .data(50)
        .read()
        .unwrap();
    assert_eq!(header.tensors[0].kind, Err(19));
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Bytes::default().raw(b"GGUF").u32(3).raw(&bytes).read();
    }

    #[test]
    fn a_good_header_with_some_bytes_changed_is_refused_or_stays_inside(
        changes in prop::collection::vec((0usize..400, any::<u8>()), 1..4),
    ) {
        let mut bytes = good();
        let length = bytes.0.len();
        for (place, value) in changes {
            bytes.0[place % length] = value;
        }
        if let Ok(header) = bytes.read() {
            for tensor in &header.tensors {
                prop_assert!(tensor.start + tensor.size_bytes <= length as u64);
            }
        }
    }
}

#[test]
fn texts_of_arrays_are_capped_over_the_whole_header() {
    let bytes = Bytes::begin(0, 1)
        .text("tokens")
        .u32(9)
        .u32(8)
        .u64(MAX_TEXTS + 1);
    let problem = Header::read(bytes.0.as_slice(), 1 << 27)
        .unwrap_err()
        .to_string();
    assert!(problem.contains("4194305 texts in arrays"), "{problem}");
    let two = Bytes::begin(0, 2).text("a").u32(9).u32(8).u64(1).text("x");
    let two = two.text("b").u32(9).u32(8).u64(MAX_TEXTS);
    let problem = Header::read(two.0.as_slice(), 1 << 27)
        .unwrap_err()
        .to_string();
    assert!(problem.contains("4194305 texts in arrays"), "{problem}");
}
