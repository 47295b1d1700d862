//! Models opened from temporary folders: right ones, and every wrong one that a download or a stranger can produce.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::shards::CHUNK_ELEMENTS;
use super::testing::{f32_file, file_of, put};
use super::*;
use crate::tensor::WeightSource;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// An existing file, open for changes.
fn writable(path: &Path) -> std::fs::File {
    std::fs::OpenOptions::new().write(true).open(path).unwrap()
}

fn error_of(path: &Path) -> CheckpointError {
    Checkpoint::open(path).unwrap_err()
}

fn index_of(entries: &[(&str, &str)]) -> String {
    let map: serde_json::Map<String, serde_json::Value> = entries
        .iter()
        .map(|&(tensor, shard)| (tensor.to_owned(), shard.into()))
        .collect();
    serde_json::json!({ "metadata": {}, "weight_map": map }).to_string()
}

/// Two shards and their index.
fn sharded() -> tempfile::TempDir {
    let folder = folder();
    put(folder.path(), "one.safetensors", f32_file(&[("a", &[1.0])]));
    put(
        folder.path(),
        "two.safetensors",
        f32_file(&[("b", &[2.0, 3.0])]),
    );
    let index = index_of(&[("a", "one.safetensors"), ("b", "two.safetensors")]);
    put(folder.path(), "model.safetensors.index.json", index);
    folder
}

#[test]
fn a_single_file_opens_and_reads() {
    let folder = folder();
    put(
        folder.path(),
        "x.safetensors",
        f32_file(&[("a", &[1.0, -2.5]), ("b", &[])]),
    );
    let checkpoint = Checkpoint::open(&folder.path().join("x.safetensors")).unwrap();
    assert_eq!(checkpoint.container(), Container::SingleFile);
    assert_eq!(checkpoint.names(), ["a", "b"]);
    assert_eq!(checkpoint.read_f32("a").unwrap(), [1.0, -2.5]);
    assert_eq!(checkpoint.read_f32("b").unwrap(), [0.0f32; 0]);
    let mut bytes = [0; 4];
    checkpoint.read_bytes("a", 4, &mut bytes).unwrap();
    assert_eq!(f32::from_le_bytes(bytes), -2.5);
}

#[test]
fn values_longer_than_a_chunk_arrive_in_order() {
    let folder = folder();
    let values: Vec<f32> = (0..3 * CHUNK_ELEMENTS + 17)
        .map(|index| index as f32)
        .collect();
    put(
        folder.path(),
        "x.safetensors",
        f32_file(&[("pad", &[0.5]), ("a", &values)]),
    );
    let checkpoint = Checkpoint::open(&folder.path().join("x.safetensors")).unwrap();
    assert!(checkpoint.read_f32("a").unwrap() == values);
}

#[test]
fn reading_past_a_tensor_is_refused() {
    let folder = folder();
    put(
        folder.path(),
        "x.safetensors",
        f32_file(&[("a", &[1.0]), ("secret", &[2.0])]),
    );
    let checkpoint = Checkpoint::open(&folder.path().join("x.safetensors")).unwrap();
    for offset in [1, 4, u64::MAX] {
        let error = checkpoint.read_bytes("a", offset, &mut [0; 4]).unwrap_err();
        assert!(matches!(error, SourceError::Unfit { .. }), "{error}");
    }
    let error = checkpoint.read_f32("absent").unwrap_err();
    assert!(matches!(error, SourceError::Missing { .. }), "{error}");
}

#[test]
fn integers_are_bytes_not_floats() {
    let folder = folder();
    let header = r#"{"ids":{"dtype":"I64","shape":[1,1],"data_offsets":[0,8]}}"#;
    put(
        folder.path(),
        "x.safetensors",
        file_of(header, &7i64.to_le_bytes()),
    );
    let checkpoint = Checkpoint::open(&folder.path().join("x.safetensors")).unwrap();
    assert_eq!(checkpoint.info("ids").unwrap().shape, [1, 1]);
    let error = checkpoint.read_f32("ids").unwrap_err();
    assert!(error.to_string().contains("i64 values"), "{error}");
    let mut bytes = [0; 8];
    checkpoint.read_bytes("ids", 0, &mut bytes).unwrap();
    assert_eq!(i64::from_le_bytes(bytes), 7);
}

#[test]
fn eight_bit_floats_are_listed_but_not_read() {
    let folder = folder();
    let header = r#"{"w":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}"#;
    put(folder.path(), "x.safetensors", file_of(header, &[0; 2]));
    let checkpoint = Checkpoint::open(&folder.path().join("x.safetensors")).unwrap();
    assert_eq!(checkpoint.names(), [""; 0]);
    assert_eq!(checkpoint.unreadable()[0].dtype, "F8_E4M3");
    let error = checkpoint.read_f32("w").unwrap_err();
    assert!(error.to_string().contains("F8_E4M3"), "{error}");
    let error = checkpoint.check_readable().unwrap_err();
    assert!(error.to_string().contains("would be lost"), "{error}");
}

#[test]
fn a_folder_opens_with_its_config_and_side_files() {
    let folder = folder();
    put(
        folder.path(),
        "model.safetensors",
        f32_file(&[("a", &[1.0])]),
    );
    put(
        folder.path(),
        "golden.safetensors",
        f32_file(&[("a", &[2.0])]),
    );
    put(folder.path(), "config.json", r#"{"model_type":"llama"}"#);
    put(folder.path(), "tokenizer.json", "{}");
    put(folder.path(), "weights.bin", "no");
    put(folder.path(), "corpus.txt", "no");
    std::fs::create_dir(folder.path().join("1_Pooling")).unwrap();
    put(folder.path(), "1_Pooling/config.json", "{}");
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(checkpoint.container(), Container::HuggingFace);
    assert_eq!(checkpoint.read_f32("a").unwrap(), [1.0]);
    assert_eq!(checkpoint.config_json().unwrap()["model_type"], "llama");
    let expected = ["1_Pooling/config.json", "config.json", "tokenizer.json"].map(PathBuf::from);
    assert_eq!(checkpoint.side_files(), expected);
}

#[test]
fn shards_open_with_their_index() {
    let folder = sharded();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(checkpoint.tensor_files().len(), 2);
    assert_eq!(checkpoint.read_f32("b").unwrap(), [2.0, 3.0]);
    assert!(
        checkpoint.side_files().is_empty(),
        "the old index must not be copied"
    );
}

#[test]
fn shards_open_without_an_index() {
    let folder = folder();
    put(
        folder.path(),
        "m-00001-of-00002.safetensors",
        f32_file(&[("a", &[1.0])]),
    );
    put(
        folder.path(),
        "m-00002-of-00002.safetensors",
        f32_file(&[("b", &[2.0])]),
    );
    assert_eq!(Checkpoint::open(folder.path()).unwrap().names(), ["a", "b"]);
}

#[test]
fn a_missing_shard() {
    let folder = sharded();
    std::fs::remove_file(folder.path().join("two.safetensors")).unwrap();
    let error = error_of(folder.path());
    assert!(
        matches!(&error, CheckpointError::MissingShard { shard, .. } if shard == "two.safetensors"),
        "{error}"
    );
}

#[test]
fn a_missing_shard_of_a_series_without_an_index() {
    let folder = folder();
    put(
        folder.path(),
        "m-00001-of-00003.safetensors",
        f32_file(&[("a", &[1.0])]),
    );
    let error = error_of(folder.path());
    assert!(
        matches!(&error, CheckpointError::MissingShard { shard, .. } if shard == "m-00002-of-00003.safetensors"),
        "{error}"
    );
}

#[test]
fn an_index_that_names_a_missing_tensor() {
    let folder = sharded();
    let index = index_of(&[("a", "one.safetensors"), ("ghost", "two.safetensors")]);
    put(folder.path(), "model.safetensors.index.json", index);
    let error = error_of(folder.path());
    assert!(
        matches!(&error, CheckpointError::MissingTensor { tensor, .. } if tensor == "ghost"),
        "{error}"
    );
}

#[test]
fn an_index_that_puts_a_tensor_into_the_wrong_shard() {
    let folder = sharded();
    let index = index_of(&[("a", "two.safetensors"), ("b", "two.safetensors")]);
    put(folder.path(), "model.safetensors.index.json", index);
    let error = error_of(folder.path());
    assert!(
        matches!(error, CheckpointError::MissingTensor { .. }),
        "{error}"
    );
}

#[test]
fn shard_names_that_leave_the_folder() {
    let outside = [
        "../x.safetensors",
        "/etc/passwd",
        "a/b",
        "..",
        ".",
        "",
        "C:\\x",
        "a\\..\\b",
    ];
    for shard in outside {
        let folder = sharded();
        put(
            folder.path(),
            "model.safetensors.index.json",
            index_of(&[("a", shard)]),
        );
        let error = error_of(folder.path());
        assert!(
            matches!(error, CheckpointError::ShardEscapes { .. }),
            "{shard:?}: {error}"
        );
    }
}

#[test]
fn indexes_that_make_no_sense() {
    for index in [
        "{}",
        r#"{"weight_map":[]}"#,
        r#"{"weight_map":{}}"#,
        r#"{"weight_map":{"a":1}}"#,
    ] {
        let folder = sharded();
        put(folder.path(), "model.safetensors.index.json", index);
        let error = error_of(folder.path());
        assert!(
            matches!(error, CheckpointError::Index { .. }),
            "{index}: {error}"
        );
    }
}

#[test]
fn an_index_that_is_no_json() {
    let folder = sharded();
    put(folder.path(), "model.safetensors.index.json", "{");
    let error = error_of(folder.path());
    assert!(matches!(error, CheckpointError::NotJson { .. }), "{error}");
}

#[test]
fn a_tensor_in_two_shards() {
    let folder = sharded();
    put(
        folder.path(),
        "two.safetensors",
        f32_file(&[("b", &[2.0]), ("a", &[3.0])]),
    );
    let error = error_of(folder.path());
    assert!(
        matches!(error, CheckpointError::TensorTwice { .. }),
        "{error}"
    );
}

#[test]
fn nothing_there() {
    let folder = folder();
    let error = error_of(&folder.path().join("absent"));
    assert!(matches!(error, CheckpointError::NotFound { .. }), "{error}");
}

#[test]
fn an_empty_folder() {
    let folder = folder();
    let error = error_of(folder.path());
    assert!(
        matches!(error, CheckpointError::EmptyFolder { .. }),
        "{error}"
    );
}

#[test]
fn a_folder_without_weights() {
    let folder = folder();
    put(folder.path(), "config.json", "{}");
    let error = error_of(folder.path());
    assert!(
        matches!(error, CheckpointError::NoWeights { .. }),
        "{error}"
    );
}

#[test]
fn pickled_weights_are_to_be_converted() {
    for name in ["pytorch_model.bin", "model.pt", "weights.pth"] {
        let folder = folder();
        put(folder.path(), name, "x");
        let error = error_of(folder.path());
        assert!(matches!(error, CheckpointError::Pickled { .. }), "{error}");
        assert!(
            error.to_string().contains("convert them to safetensors"),
            "{error}"
        );
    }
}

#[test]
fn a_file_that_is_no_safetensors() {
    let folder = folder();
    put(folder.path(), "model.pt", "x");
    let error = error_of(&folder.path().join("model.pt"));
    assert!(
        matches!(error, CheckpointError::UnknownFile { .. }),
        "{error}"
    );
}

#[cfg(unix)]
#[test]
fn neither_file_nor_folder() {
    let error = error_of(Path::new("/dev/null"));
    assert!(matches!(error, CheckpointError::NotAFile { .. }), "{error}");
}

#[test]
fn a_folder_named_like_a_weight_file() {
    let folder = folder();
    std::fs::create_dir(folder.path().join("model.safetensors")).unwrap();
    let error = error_of(folder.path());
    assert!(
        matches!(error, CheckpointError::EmptyFolder { .. }),
        "{error}"
    );
}

#[test]
fn a_config_that_is_no_json() {
    let folder = folder();
    put(
        folder.path(),
        "model.safetensors",
        f32_file(&[("a", &[1.0])]),
    );
    put(folder.path(), "config.json", "{\"model_type\": ");
    let error = error_of(folder.path());
    assert!(matches!(error, CheckpointError::NotJson { .. }), "{error}");
}

#[test]
fn a_config_beyond_the_limit() {
    let folder = folder();
    put(
        folder.path(),
        "model.safetensors",
        f32_file(&[("a", &[1.0])]),
    );
    put(folder.path(), "config.json", "{}");
    let config = writable(&folder.path().join("config.json"));
    config.set_len(folder::MAX_CONFIG_BYTES + 1).unwrap();
    let error = error_of(folder.path());
    assert!(matches!(error, CheckpointError::TooLarge { .. }), "{error}");
}

#[test]
fn wrong_headers_are_refused_with_the_path_last() {
    let right = f32_file(&[("a", &[1.0, 2.0])]);
    let mut long = right.clone();
    long[6] = 1;
    for bytes in [&right[..right.len() - 1], &right[..4], &long, b""] {
        let folder = folder();
        put(folder.path(), "model.safetensors", bytes);
        let error = error_of(folder.path());
        assert!(matches!(error, CheckpointError::Header { .. }), "{error}");
        assert!(error.to_string().ends_with("model.safetensors"), "{error}");
    }
}

#[test]
fn a_file_that_shrinks_under_us_is_an_error() {
    let folder = folder();
    let path = folder.path().join("x.safetensors");
    put(
        folder.path(),
        "x.safetensors",
        f32_file(&[("a", &[1.0, 2.0])]),
    );
    let checkpoint = Checkpoint::open(&path).unwrap();
    writable(&path).set_len(20).unwrap();
    let error = checkpoint.read_f32("a").unwrap_err();
    assert!(matches!(error, SourceError::Io { .. }), "{error}");
}

/// Headers only: a sparse file as large as a 7-billion-parameter model opens at once.
#[cfg(unix)]
#[test]
fn a_huge_checkpoint_opens_from_its_header_alone() {
    let folder = folder();
    let path = folder.path().join("x.safetensors");
    let bytes = 13_500_000_000u64;
    let header = format!(
        r#"{{"w":{{"dtype":"BF16","shape":[{}],"data_offsets":[0,{bytes}]}}}}"#,
        bytes / 2
    );
    put(folder.path(), "x.safetensors", file_of(&header, &[]));
    let file = writable(&path);
    if file.set_len(8 + header.len() as u64 + bytes).is_err() {
        println!("skipped: this file system has no sparse files");
        return;
    }
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(checkpoint.info("w").unwrap().size_bytes, bytes);
}
