//! One named test for each way in which a header can be wrong, and what holds for any bytes.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::super::testing::file_of;
use super::*;

const TWO: &str = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[3],"data_offsets":[8,11]}}"#;

fn error_of(header: &str, data_bytes: usize) -> HeaderError {
    Header::of_bytes(&file_of(header, &vec![0; data_bytes])).unwrap_err()
}

fn named(name: &str) -> String {
    name.to_owned()
}

#[test]
fn a_right_header_gives_places_in_the_file() {
    let header = Header::of_bytes(&file_of(TWO, &[0; 11])).unwrap();
    assert_eq!(header.metadata["format"], "pt");
    let start = (8 + TWO.len()) as u64;
    let places: Vec<_> = header
        .tensors
        .iter()
        .map(|tensor| (tensor.name.as_str(), tensor.start, tensor.size_bytes))
        .collect();
    assert_eq!(places, [("a", start, 8), ("b", start + 8, 3)]);
}

#[test]
fn padding_after_the_json_is_allowed() {
    assert!(Header::of_bytes(&file_of(&format!("{TWO}    "), &[0; 11])).is_ok());
}

#[test]
fn no_tensors_is_a_file_too() {
    assert_eq!(Header::of_bytes(&file_of("{}", &[])).unwrap().tensors, []);
}

#[test]
fn fewer_than_eight_bytes() {
    for file_bytes in 0..8 {
        assert_eq!(
            Header::of_bytes(&vec![0; file_bytes]).unwrap_err(),
            HeaderError::TooSmall {
                file_bytes: file_bytes as u64
            }
        );
    }
}

#[test]
fn header_longer_than_the_file() {
    for header_bytes in [12, u64::MAX, u64::MAX - 7] {
        let mut file = header_bytes.to_le_bytes().to_vec();
        file.extend_from_slice(b"{} ");
        assert_eq!(
            Header::of_bytes(&file).unwrap_err(),
            HeaderError::LongerThanFile {
                header_bytes,
                file_bytes: 11
            }
        );
    }
}

#[test]
fn header_beyond_the_limit() {
    let header_bytes = MAX_HEADER_BYTES + 1;
    assert_eq!(
        Header::json_length(header_bytes.to_le_bytes(), u64::MAX).unwrap_err(),
        HeaderError::TooLong { header_bytes }
    );
}

#[test]
fn wrong_header_length_cuts_the_json() {
    let mut file = file_of(TWO, &[0; 11]);
    file[0] -= 1;
    let error = Header::of_bytes(&file).unwrap_err();
    assert!(matches!(error, HeaderError::NotJson { .. }), "{error}");
}

#[test]
fn not_utf8() {
    let mut file = file_of(TWO, &[0; 11]);
    file[8 + 60] = 0xff;
    assert_eq!(Header::of_bytes(&file).unwrap_err(), HeaderError::NotUtf8);
}

#[test]
fn not_the_json_of_a_safetensors_file() {
    let wrong = [
        "",
        "[]",
        "{",
        "nonsense",
        "{} {}",
        r#"{"a":1}"#,
        r#"{"a":{"dtype":"F32","shape":[1]}}"#,
        r#"{"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}"#,
        r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}"#,
        r#"{"__metadata__":{"format":1}}"#,
    ];
    for header in wrong {
        let error = error_of(header, 4);
        assert!(
            matches!(error, HeaderError::NotJson { .. }),
            "{header}: {error}"
        );
    }
}

#[test]
fn the_tensor_with_a_wrong_entry_is_named() {
    let error = error_of(
        r#"{"a.b":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}"#,
        4,
    );
    assert!(error.to_string().contains("tensor a.b"), "{error}");
}

#[test]
fn a_duplicate_name() {
    let header = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#;
    assert_eq!(
        error_of(header, 2),
        HeaderError::Duplicate { name: named("a") }
    );
}

#[test]
fn a_shape_that_overflows() {
    let shapes = [
        "[9223372036854775807,4]",
        "[4294967296,4294967296]",
        "[18446744073709551615]",
    ];
    for shape in shapes {
        let header = format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":[0,4]}}}}"#);
        assert_eq!(
            error_of(&header, 4),
            HeaderError::ShapeOverflow { name: named("a") },
            "{shape}"
        );
    }
}

#[test]
fn part_of_a_byte() {
    let header = r#"{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}"#;
    assert_eq!(
        error_of(header, 2),
        HeaderError::PartByte { name: named("a") }
    );
}

#[test]
fn a_shape_that_needs_other_bytes_than_its_offsets_span() {
    let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#;
    assert_eq!(
        error_of(header, 4),
        HeaderError::SizeMismatch {
            name: named("a"),
            needed: 8,
            offset_bytes: 4
        }
    );
}

#[test]
fn offsets_that_run_backwards() {
    let header = r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[4,0]}}"#;
    assert_eq!(
        error_of(header, 4),
        HeaderError::Backwards { name: named("a") }
    );
}

#[test]
fn overlapping_offsets() {
    let header = r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#;
    assert_eq!(
        error_of(header, 6),
        HeaderError::Overlap {
            first: named("a"),
            second: named("b")
        }
    );
}

#[test]
fn a_hole_between_tensors() {
    let header = r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#;
    assert_eq!(
        error_of(header, 6),
        HeaderError::Hole {
            name: named("a"),
            bytes: 2
        }
    );
}

#[test]
fn offsets_out_of_range() {
    let header = r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[1000,1004]}}"#;
    assert_eq!(
        error_of(header, 4),
        HeaderError::OutOfRange { name: named("a") }
    );
}

#[test]
fn a_truncated_file() {
    assert_eq!(
        error_of(TWO, 10),
        HeaderError::Truncated {
            announced: 11,
            present: 10
        }
    );
}

#[test]
fn bytes_that_belong_to_no_tensor() {
    assert_eq!(error_of(TWO, 13), HeaderError::Trailing { bytes: 2 });
}

/// Headers that are often right: entries laid end to end, then perhaps nudged.
fn almost_right() -> impl Strategy<Value = (String, usize)> {
    let entry = ("[a-c]{1,2}", 0..5usize, 0..3usize, 0..12usize);
    (proptest::collection::vec(entry, 0..4), 0..8usize).prop_map(|(entries, cut)| {
        let mut end = 0;
        let rows: Vec<String> = entries
            .iter()
            .map(|(name, elements, dtype, nudge)| {
                let (dtype, size) = [("U8", 1), ("F16", 2), ("F32", 4)][*dtype];
                let start = end + usize::from(*nudge == 0);
                end = start + elements * size + usize::from(*nudge == 1);
                format!(
                    r#""{name}":{{"dtype":"{dtype}","shape":[{elements}],"data_offsets":[{start},{end}]}}"#
                )
            })
            .collect();
        let data_bytes = if cut == 0 { end / 2 } else { end };
        (format!("{{{}}}", rows.join(",")), data_bytes)
    })
}

proptest! {
    #[test]
    fn any_bytes_are_answered(file in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Header::of_bytes(&file);
    }

    #[test]
    fn any_text_is_answered(text in "[ \\[\\]{}\":,0-9aeEF.dtypeshapedata_offsets-]{0,120}") {
        let _ = Header::of_bytes(&file_of(&text, &[0; 4]));
    }

    /// What we take, the safetensors library takes, with the same places. It takes more: duplicate names.
    #[test]
    fn what_we_take_the_library_takes((text, data_bytes) in almost_right()) {
        let file = file_of(&text, &vec![0; data_bytes]);
        let theirs = safetensors::SafeTensors::deserialize(&file);
        match Header::of_bytes(&file) {
            Ok(ours) => {
                let theirs = theirs.unwrap();
                prop_assert_eq!(ours.tensors.len(), theirs.len());
                for tensor in ours.tensors {
                    let view = theirs.tensor(&tensor.name).unwrap();
                    prop_assert_eq!(view.shape(), &tensor.shape[..]);
                    prop_assert_eq!(view.data().len() as u64, tensor.size_bytes);
                }
            }
            Err(HeaderError::Duplicate { .. }) => {}
            Err(error) => prop_assert!(theirs.is_err(), "we alone refuse: {}", error),
        }
    }
}

/// The seeds of the fuzz target, held to what the target asserts.
#[test]
fn fuzz_seeds_are_answered() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/header");
    let mut right = 0;
    for seed in std::fs::read_dir(seeds).unwrap() {
        let file = std::fs::read(seed.unwrap().path()).unwrap();
        if let Ok(header) = Header::of_bytes(&file) {
            right += 1;
            for tensor in header.tensors {
                assert!(tensor.start + tensor.size_bytes <= file.len() as u64);
            }
        }
    }
    assert_eq!(right, 3, "right, empty and eight-bit-floats");
}
