//! Bad input through the binary: a plain sentence, the right exit code, nothing lost and nothing half-written.

use crate::place::{Place, files, names, shared};
use safetensors::SafeTensors;
use std::fs;
use std::path::Path;

const COMPRESS: [&str; 8] = [
    "compress",
    "sample",
    "--method",
    "rtn",
    "--sequences",
    "2",
    "--length",
    "16",
];

fn compress(place: &Place, words: &[&str]) -> crate::place::Outcome {
    place.run(&[&COMPRESS[..], words].concat())
}

/// Names beside the cache, which any verb may fill.
fn left(place: &Place) -> Vec<String> {
    let mut names = names(&place.path("."));
    names.retain(|name| name != "cache");
    names.sort();
    names
}

#[test]
fn an_output_folder_that_holds_something_is_left_alone() {
    let place = Place::new();
    fs::create_dir(place.path("out")).unwrap();
    let precious = place.file("out/precious.txt", "mine");
    compress(&place, &["--out", "out"]).refused(1, &["out"]);
    assert_eq!(fs::read_to_string(precious).unwrap(), "mine");
    assert_eq!(left(&place), ["out"]);
}

#[test]
fn places_that_cannot_be_written_are_named() {
    let place = Place::new();
    place.file("file", "not a folder");
    compress(&place, &["--out", "file/out"]).refused(1, &["file/out"]);
    assert_eq!(left(&place), ["file"]);
    if Path::new("/proc/version").exists() {
        compress(&place, &["--out", "/proc/out"]).refused(1, &["/proc/out"]);
    }
}

#[test]
fn the_model_is_not_written_into_itself() {
    let place = Place::new();
    compress(&place, &["--out", "model"]);
    let out = "model/inner";
    place
        .run(&["compress", "model", "--method", "rtn", "--out", out])
        .refused(1, &["model"]);
    assert!(!place.path(out).exists() && !place.path("model/inner.partial").exists());
}

#[test]
fn models_that_are_not_there_or_no_models() {
    let place = Place::new();
    fs::create_dir(place.path("empty")).unwrap();
    place.file("text.safetensors", "this is no safetensors file");
    for model in ["absent", "empty", "text.safetensors"] {
        place.run(&["inspect", model]).refused(1, &[model]);
        compress_model(&place, model).refused(1, &[model]);
    }
}

fn compress_model(place: &Place, model: &str) -> crate::place::Outcome {
    place.run(&["compress", model, "--method", "rtn", "--out", "out"])
}

/// A copy of the sample's folder, its weights changed by `damage`.
fn damaged(place: &Place, damage: impl Fn(&mut Vec<u8>)) {
    let model = place.json(&["inspect", "sample"])["model"].clone();
    fs::create_dir(place.path("model")).unwrap();
    for (name, mut content) in files(Path::new(model.as_str().unwrap())) {
        if name == Path::new("model.safetensors") {
            damage(&mut content);
        }
        fs::write(place.path("model").join(name), content).unwrap();
    }
}

#[test]
fn a_file_cut_short_is_no_model() {
    let place = Place::new();
    damaged(&place, |file| file.truncate(file.len() / 2));
    place
        .run(&["inspect", "model"])
        .refused(1, &["model.safetensors"]);
    compress_model(&place, "model").refused(1, &["model.safetensors"]);
    assert_eq!(left(&place), ["model"]);
}

#[test]
fn weights_that_are_no_numbers_are_named() {
    let place = Place::new();
    let name = "model.layers.1.mlp.up_proj";
    damaged(&place, |file| {
        let tensors = SafeTensors::deserialize(file).unwrap();
        let data = tensors.tensor(&format!("{name}.weight")).unwrap().data();
        let offset = data.as_ptr().addr() - file.as_ptr().addr();
        file[offset..offset + 2].copy_from_slice(&0x7e00_u16.to_le_bytes());
    });
    compress_model(&place, "model").refused(1, &[name]);
    assert!(!place.path("out").exists());
}

#[test]
fn texts_that_are_no_texts() {
    let place = Place::new();
    place.file("latin1.txt", b"caf\xe9 ol\xe9".repeat(2000));
    place.file("empty.txt", "");
    place.file("short.txt", "Once upon a time.");
    for (corpus, words) in [
        ("latin1.txt", &["UTF-8", "latin1.txt"][..]),
        ("empty.txt", &["empty.txt"]),
        ("short.txt", &["tokens", "short.txt"]),
        ("absent.txt", &["absent.txt"]),
    ] {
        let outcome = place.run(&[
            "compress",
            "sample",
            "--out",
            "out",
            "--corpus",
            corpus,
            "--sequences",
            "8",
            "--length",
            "64",
        ]);
        outcome.refused(1, words);
        assert!(!place.path("out").exists(), "{corpus}");
    }
}

#[test]
fn a_method_that_needs_a_text_says_so() {
    let Some(model) = shared("models/stories260K") else {
        return;
    };
    let place = Place::new();
    for method in ["gptq", "awq"] {
        place
            .run(&["compress", &model, "--out", "out", "--method", method])
            .refused(2, &[method, "--corpus"]);
    }
    place.run(&["calibrate", &model]).refused(2, &["--corpus"]);
    assert!(left(&place).is_empty());
}

#[test]
fn a_model_without_a_tokenizer_cannot_read_text() {
    let Some(model) = shared("golden/llama") else {
        return;
    };
    let place = Place::new();
    let text = place.text();
    place
        .run(&["evaluate", &model, "--corpus", &text])
        .refused(1, &["tokenizer"]);
}

#[test]
fn recipes_that_say_what_nobody_understands() {
    let place = Place::new();
    for (text, words) in [
        ("version = 1\n[default]\nbitz = 4\n", &["bitz", "bits"][..]),
        ("version = 1\n[default]\nbits = 9\n", &["bits"]),
        ("version = 7\n", &["version"]),
        (
            "version = 1\n[default]\nmethod = \"magic\"\n",
            &["magic", "gptq"],
        ),
        ("this is no TOML", &["recipe.toml"]),
    ] {
        place.file("recipe.toml", text);
        let outcome = compress(&place, &["--out", "out", "--recipe", "recipe.toml"]);
        outcome.refused(1, words);
        assert_eq!(left(&place), ["recipe.toml"], "{text}");
    }
    compress(&place, &["--out", "out", "--recipe", "absent.toml"]).refused(1, &["absent.toml"]);
}

#[test]
fn strict_refuses_what_a_format_cannot_hold_before_the_run() {
    let place = Place::new();
    let words = ["--out", "out", "--format", "gptq", "--bits", "5"];
    compress(&place, &[&words[..], &["--strict"]].concat()).refused(1, &["gptq"]);
    assert!(left(&place).is_empty());
}

#[test]
fn resuming_what_never_ran_is_refused() {
    let place = Place::new();
    compress(&place, &["--out", "out", "--resume"]).refused(1, &["out"]);
    assert!(left(&place).is_empty());
}

#[cfg(target_os = "linux")]
#[test]
fn a_reader_that_leaves_early_is_no_error() {
    use std::process::Stdio;
    let place = Place::new();
    let mut child = place
        .command(&["inspect", "sample"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[cfg(target_os = "linux")]
#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    let place = Place::new();
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = place
        .command(&["inspect", "sample", "--json"])
        .stdout(full)
        .output()
        .unwrap();
    crate::place::Outcome::of(output).refused(1, &["stdout"]);
}
