//! The word `sample`: the built-in model and its texts, put into the cache folder when first asked for.
//!
//! The folder is named by a hash of the files, made beside its place and renamed into it, so that two processes may ask
//! at once. Knows nothing of what the model is; `assets/README.md` tells how it was made.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Where one file of `assets/sample` goes, and its content.
macro_rules! asset {
    ($folder:literal, $name:literal) => {
        (
            concat!($folder, $name),
            include_bytes!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../assets/sample/",
                $name
            )) as &[u8],
        )
    };
}

/// The word on the command line.
pub const WORD: &str = "sample";
/// Each file of the sample. The texts lie beside the model's folder: what lies in it belongs to the model and is copied
/// along with it.
const FILES: [(&str, &[u8]); 7] = [
    asset!("model/", "config.json"),
    asset!("model/", "generation_config.json"),
    asset!("model/", "tokenizer.json"),
    asset!("model/", "tokenizer_config.json"),
    asset!("model/", "model.safetensors"),
    asset!("", "calibration.txt"),
    asset!("", "evaluation.txt"),
];

/// The sample could not be put into the cache folder.
#[derive(Debug, thiserror::Error)]
#[error("The sample model cannot be unpacked: {source}. Choose another folder with --cache: {}", cache.display())]
pub struct SampleError {
    source: io::Error,
    cache: PathBuf,
}

/// What a text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// Statistics.
    Calibration,
    /// Scores.
    Evaluation,
}

/// Whether `model` is the word and not a path. `./sample` is a path.
pub fn is_word(model: &Path) -> bool {
    model == Path::new(WORD) && model.as_os_str() == WORD
}

/// Where `model` lies: the sample's folder for the word, else `model`.
pub fn model(model: &Path, cache: &Path) -> Result<PathBuf, SampleError> {
    if is_word(model) {
        Ok(folder(cache)?.join("model"))
    } else {
        Ok(model.to_owned())
    }
}

/// Where the text `path` lies: the sample's for the word, else `path`.
pub fn text(path: &Path, what: Text, cache: &Path) -> Result<PathBuf, SampleError> {
    if !is_word(path) {
        return Ok(path.to_owned());
    }
    let name = match what {
        Text::Calibration => "calibration.txt",
        Text::Evaluation => "evaluation.txt",
    };
    Ok(folder(cache)?.join(name))
}

/// The sample's folder inside `cache`; written first where it is missing or was changed.
fn folder(cache: &Path) -> Result<PathBuf, SampleError> {
    let place = cache.join(format!("{WORD}-{:016x}", hash(&FILES)));
    if holds(&place, &FILES) {
        return Ok(place);
    }
    write(&place, &FILES).map_err(|source| SampleError {
        source,
        cache: cache.to_owned(),
    })?;
    Ok(place)
}

fn holds(place: &Path, files: &[(&str, &[u8])]) -> bool {
    files
        .iter()
        .all(|(name, content)| fs::read(place.join(name)).is_ok_and(|found| found == *content))
}

fn write(place: &Path, files: &[(&str, &[u8])]) -> io::Result<()> {
    let parent = place.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let draft = parent.join(format!(".{name}.{}.partial", std::process::id()));
    let done = fill(&draft, files).and_then(|()| settle(&draft, place, files));
    if done.is_err() {
        // The error that matters is the first one.
        let _ = fs::remove_dir_all(&draft);
    }
    done
}

fn fill(draft: &Path, files: &[(&str, &[u8])]) -> io::Result<()> {
    fs::create_dir_all(draft.join("model"))?;
    files
        .iter()
        .try_for_each(|(name, content)| write_file(&draft.join(name), content))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the folder has a draft's name until all of its files are whole"
)]
fn write_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Renames `draft` to `place`, in place of whatever damaged thing lies there; another process may have been faster.
fn settle(draft: &Path, place: &Path, files: &[(&str, &[u8])]) -> io::Result<()> {
    if fs::rename(draft, place).is_ok() {
        return Ok(());
    }
    if !holds(place, files) {
        fs::remove_dir_all(place)?;
        return fs::rename(draft, place);
    }
    fs::remove_dir_all(draft)
}

/// FNV-1a over names and contents: names a version of the sample, guards nothing.
fn hash(files: &[(&str, &[u8])]) -> u64 {
    let bytes = files
        .iter()
        .flat_map(|(name, content)| name.bytes().chain(content.iter().copied()));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    #![allow(clippy::disallowed_methods)] // Damages files on purpose.
    use super::*;

    const SOME: [(&str, &[u8]); 2] = [("a.txt", b"one"), ("model/b.txt", b"two")];

    #[test]
    fn files_are_written_once_and_mended() {
        let cache = tempfile::tempdir().unwrap();
        let place = cache.path().join("deep/sample");
        assert!(!holds(&place, &SOME));
        write(&place, &SOME).unwrap();
        assert!(holds(&place, &SOME));
        fs::write(place.join("a.txt"), "broken").unwrap();
        assert!(!holds(&place, &SOME));
        write(&place, &SOME).unwrap();
        assert!(holds(&place, &SOME));
        let names = fs::read_dir(cache.path().join("deep")).unwrap().count();
        assert_eq!(names, 1, "no draft is left");
    }

    #[test]
    fn only_the_bare_word_is_the_sample() {
        for (path, expected) in [
            ("sample", true),
            ("./sample", false),
            ("sample/", false),
            ("x", false),
        ] {
            assert_eq!(is_word(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn other_content_has_another_name() {
        assert_ne!(hash(&SOME), hash(&SOME[..1]));
    }
}
