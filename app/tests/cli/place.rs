//! A folder of its own for each test, and the binary run inside it.

use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// Little calibration, for tests that ask about files and not about quality.
pub(crate) const QUICK: [&str; 6] = ["--sequences", "8", "--length", "64", "--group", "32"];

/// A folder that goes away with the test. The binary's cache lies in it too.
pub(crate) struct Place {
    folder: TempDir,
}

/// What one run of the binary left.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            folder: TempDir::with_prefix("pare-test-").unwrap(),
        }
    }

    /// A path inside the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A path inside the folder, as a word for the command line.
    pub(crate) fn word(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// A file with this content; its path as a word.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), content).unwrap();
        self.word(name)
    }

    /// A text long enough for the windows of `QUICK`, in words that any tokenizer knows.
    pub(crate) fn text(&self) -> String {
        let sentence = "Once upon a time there was a little cat. The cat was happy and went home. ";
        self.file("text.txt", sentence.repeat(60))
    }

    /// The binary, ready to run in this folder.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, words: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pare"));
        command
            .args(words)
            .current_dir(self.folder.path())
            .env("XDG_CACHE_HOME", self.path("cache"))
            .stdin(Stdio::null());
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, words: &[S]) -> Outcome {
        Outcome::of(self.command(words).output().unwrap())
    }

    /// Runs the binary with `--json` and reads its one document.
    pub(crate) fn json<S: AsRef<OsStr>>(&self, words: &[S]) -> Value {
        let mut words: Vec<&OsStr> = words.iter().map(AsRef::as_ref).collect();
        words.push(OsStr::new("--json"));
        self.run(&words).json()
    }

    /// `pare compress sample --out out`, quick, and these words; its document.
    pub(crate) fn compress(&self, out: &str, words: &[&str]) -> Value {
        let text = self.text();
        let mut all = vec!["compress", "sample", "--out", out, "--evaluate", &text];
        all.extend(QUICK);
        all.extend(words);
        self.json(&all)
    }
}

impl Outcome {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The one document on stdout of a run that went well.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// stdout of a run that went well.
    pub(crate) fn page(&self) -> &str {
        assert_eq!(self.code, Some(0), "{self:?}");
        &self.stdout
    }

    /// Checks a refusal: its exit code, a plain sentence with `words` in it, and nothing on stdout.
    pub(crate) fn refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.stdout, "", "stdout is for answers: {self:?}");
        let last = self.stderr.lines().last().unwrap_or_default();
        for word in words {
            assert!(last.contains(word), "`{word}` is not in {last:?}: {self:?}");
        }
        for ugly in [
            "panicked",
            "RUST_BACKTRACE",
            "Err(",
            "Error {",
            "Some(",
            "None",
        ] {
            assert!(!self.stderr.contains(ugly), "`{ugly}`: {self:?}");
        }
    }
}

/// Checks that `document` has all of `keys`.
pub(crate) fn has_keys(document: &Value, keys: &[&str]) {
    for key in keys {
        assert!(document.get(key).is_some(), "no `{key}` in {document:#}");
    }
}

/// A path inside the folder `shared` beside the repository; says so and gives nothing where it is absent.
pub(crate) fn shared(path: &str) -> Option<String> {
    let shared = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")).join(path);
    if shared.exists() {
        Some(shared.to_str().unwrap().to_owned())
    } else {
        println!("skipped: {} is absent", shared.display());
        None
    }
}

/// Every file under `folder` with its content, `.pare` apart.
pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    gather(folder, folder, &mut found);
    found
}

fn gather(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_owned();
        if name == Path::new(".pare") {
            continue;
        }
        if path.is_dir() {
            gather(root, &path, found);
        } else {
            found.insert(name, fs::read(&path).unwrap());
        }
    }
}

/// Checks that two folders hold the same files with the same bytes.
pub(crate) fn same_bytes(left: &Path, right: &Path) {
    let (left, right) = (files(left), files(right));
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&left), names(&right));
    for (name, content) in &left {
        assert!(*content == right[name], "{} differs", name.display());
    }
}

/// Checks that the layers kept by two runs are the same files.
pub(crate) fn same_layers(left: &Path, right: &Path) {
    same_bytes(&left.join(".pare/layers"), &right.join(".pare/layers"));
}

/// Names in `folder`, or none where it does not exist.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}
