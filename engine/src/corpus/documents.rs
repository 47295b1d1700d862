//! Texts as files hold them: a `.txt` is one document, a `.jsonl` has one in each record.
//!
//! Knows no tokens. Bad bytes and bad lines are errors that say where they are.

use super::error::CorpusError;
use std::path::Path;

/// The texts of a `.txt` (one) or a `.jsonl` (one for each record, in file order). Never none, and not all blank.
pub fn read_documents(path: &Path) -> Result<Vec<String>, CorpusError> {
    let documents = match extension(path).as_str() {
        "txt" => vec![read_text(path)?],
        "jsonl" => read_records(path)?,
        _ => {
            let path = path.to_path_buf();
            return Err(CorpusError::UnknownKind { path });
        }
    };
    if documents.iter().all(|document| document.trim().is_empty()) {
        let name = path.display().to_string();
        return Err(CorpusError::Empty { name });
    }
    Ok(documents)
}

/// The sentences of a `.txt` (its lines) or a `.jsonl` (its records), blank ones left out: what an encoder embeds.
pub fn read_sentences(path: &Path) -> Result<Vec<String>, CorpusError> {
    let documents = read_documents(path)?;
    let pieces: Vec<&str> = match extension(path).as_str() {
        "txt" => documents.iter().flat_map(|text| text.lines()).collect(),
        _ => documents.iter().map(String::as_str).collect(),
    };
    let sentences = pieces.into_iter().map(str::trim);
    let filled = sentences.filter(|sentence| !sentence.is_empty());
    Ok(filled.map(str::to_owned).collect())
}

/// Whole file as UTF-8.
pub(super) fn read_text(path: &Path) -> Result<String, CorpusError> {
    let bytes = std::fs::read(path).map_err(|source| CorpusError::Io {
        source,
        path: path.to_path_buf(),
    })?;
    String::from_utf8(bytes).map_err(|error| CorpusError::NotUtf8 {
        offset: error.utf8_error().valid_up_to(),
        path: path.to_path_buf(),
    })
}

/// The file name's ending in lower case, without the dot.
pub(super) fn extension(path: &Path) -> String {
    let ending = path.extension().unwrap_or_default();
    ending.to_string_lossy().to_lowercase()
}

fn read_records(path: &Path) -> Result<Vec<String>, CorpusError> {
    let text = read_text(path)?;
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| {
            record_text(line).map_err(|problem| CorpusError::Line {
                line: index + 1,
                problem,
                path: path.to_path_buf(),
            })
        })
        .collect()
}

fn record_text(line: &str) -> Result<String, String> {
    let record: serde_json::Value =
        serde_json::from_str(line).map_err(|error| format!("is not JSON ({error})"))?;
    match record.get("text") {
        Some(serde_json::Value::String(text)) => Ok(text.clone()),
        Some(_) => Err("has a \"text\" that is not a string".into()),
        None => Err("has no \"text\" field".into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    #![expect(
        clippy::disallowed_methods,
        reason = "files of a test that a crash may leave half written"
    )]
    use super::*;

    fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    fn message(name: &str, bytes: &[u8]) -> String {
        let (_folder, path) = file(name, bytes);
        let message = read_documents(&path).unwrap_err().to_string();
        assert!(
            message.ends_with(&path.display().to_string()),
            "the path stands last: {message}"
        );
        message
    }

    #[test]
    fn bad_files_say_where() {
        let rows: [(&str, &[u8], &str); 7] = [
            ("a.txt", b"abc\xffdef", "byte 3"),
            ("a.txt", b" \n ", "empty"),
            ("a.jsonl", b"", "empty"),
            (
                "a.jsonl",
                b"{\"text\": \"a\"}\n\n{\"txt\": 1}",
                "line 3 has no \"text\"",
            ),
            (
                "a.jsonl",
                b"{\"text\": 1}",
                "line 1 has a \"text\" that is not a string",
            ),
            (
                "a.jsonl",
                b"{\"text\": \"a\"}\n{\"text\"",
                "line 2 is not JSON",
            ),
            ("a.csv", b"a", ".jsonl"),
        ];
        for (name, bytes, expected) in rows {
            let message = message(name, bytes);
            assert!(message.contains(expected), "{message} lacks {expected}");
        }
        let missing = read_documents(Path::new("/nowhere/a.txt")).unwrap_err();
        assert!(matches!(missing, CorpusError::Io { .. }), "{missing}");
    }

    #[test]
    fn sentences_are_lines_or_records() {
        let (_folder, path) = file("a.TXT", b"one\r\n\n two \n");
        assert_eq!(read_sentences(&path).unwrap(), ["one", "two"]);
        let (_folder, path) = file(
            "a.jsonl",
            b"{\"text\": \"one\\ntwo\"}\n{\"text\": \"three\"}",
        );
        assert_eq!(read_sentences(&path).unwrap(), ["one\ntwo", "three"]);
        assert_eq!(read_documents(&path).unwrap(), ["one\ntwo", "three"]);
    }
}
