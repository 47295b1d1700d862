//! What the studio keeps between sessions, in one SQLite file of the user's data folder: runs with their reports,
//! preferences, recent models, the layout, drafts.
//!
//! Several windows share the file: it is in WAL mode, every write is one transaction, and each window numbers its runs from
//! a base of its own. Knows no studio and no thread; what goes wrong is a value.

mod runs;
mod schema;
#[cfg(test)]
mod tests;

use super::kept::KeptDraft;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Name of the file in the data folder.
pub const FILE_NAME: &str = "studio.sqlite";

/// How long a window waits for another one that writes.
const PATIENCE: Duration = Duration::from_secs(3);

/// Larger files are not read through at each start; damage shows when it is met.
const MAX_CHECKED_BYTES: u64 = 64 << 20;

/// Why the store does not work.
#[derive(Debug, thiserror::Error)]
pub enum StoreProblem {
    /// A later Pare wrote it.
    #[error(
        "nothing of this session is kept: the studio's file was written by a newer version of Pare (layout {found}, this one knows {known}); update Pare, or move the file away; {path}"
    )]
    Newer {
        /// The version found.
        found: i64,
        /// The newest version known.
        known: i64,
        /// The file.
        path: PathBuf,
    },
    /// The folder cannot be made.
    #[error(
        "nothing of this session is kept: the data folder could not be made: {source}; check permissions and space; {path}"
    )]
    Folder {
        /// The system's word.
        source: std::io::Error,
        /// The folder.
        path: PathBuf,
    },
    /// Another window writes for too long.
    #[error(
        "the studio's file is held by another window; close that window or try again later; {path}"
    )]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// It may only be read.
    #[error(
        "nothing of this session is kept: the studio's file or its folder is read-only; make both writable; {path}"
    )]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// It is no database, or pages of it are not what was written.
    #[error("the studio's file is damaged; {path}")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// Anything else that SQLite says.
    #[error("the studio's file could not be used: {source}; check space and permissions; {path}")]
    Sqlite {
        /// SQLite's word.
        source: rusqlite::Error,
        /// The file.
        path: PathBuf,
    },
}

/// The open file.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
}

impl Store {
    /// Opens or makes the file in `folder`. A damaged one is moved aside first; the second value says so.
    pub fn open(folder: &Path) -> Result<(Self, Option<String>), StoreProblem> {
        Self::open_with(folder, PATIENCE)
    }

    /// The same, waiting `patience` for other windows.
    fn open_with(
        folder: &Path,
        patience: Duration,
    ) -> Result<(Self, Option<String>), StoreProblem> {
        fs::create_dir_all(folder).map_err(|source| StoreProblem::Folder {
            source,
            path: folder.to_owned(),
        })?;
        let path = folder.join(FILE_NAME);
        match Self::open_file(&path, patience) {
            Err(StoreProblem::Damaged { .. }) => {
                let aside = move_aside(&path)?;
                let notice = format!(
                    "The studio's file was damaged and is kept as {}; runs, recent models and preferences begin anew",
                    aside.display()
                );
                Self::open_file(&path, patience).map(|store| (store, Some(notice)))
            }
            opened => opened.map(|store| (store, None)),
        }
    }

    /// Opens what is there to look up one thing; makes nothing.
    pub fn peek(folder: &Path) -> Option<Self> {
        let path = folder.join(FILE_NAME);
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
        let connection = Connection::open_with_flags(&path, flags).ok()?;
        connection.busy_timeout(PATIENCE).ok()?;
        let store = Self { connection, path };
        (schema::version(&store.connection).ok()? == schema::VERSION).then_some(store)
    }

    fn open_file(path: &Path, patience: Duration) -> Result<Self, StoreProblem> {
        let open = || -> rusqlite::Result<(Connection, i64)> {
            let connection = Connection::open(path)?;
            connection.busy_timeout(patience)?;
            let version = schema::version(&connection)?;
            Ok((connection, version))
        };
        let (mut connection, version) = open().map_err(|source| problem(source, path))?;
        if version > schema::VERSION {
            return Err(StoreProblem::Newer {
                found: version,
                known: schema::VERSION,
                path: path.to_owned(),
            });
        }
        let mut prepare = || -> rusqlite::Result<bool> {
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.pragma_update(None, "synchronous", "normal")?;
            schema::migrate(&mut connection)?;
            is_whole(&connection, path)
        };
        match prepare() {
            Ok(true) => Ok(Self {
                connection,
                path: path.to_owned(),
            }),
            Ok(false) => Err(StoreProblem::Damaged {
                path: path.to_owned(),
            }),
            Err(source) => Err(problem(source, path)),
        }
    }

    /// A base for this window's run numbers that no other window has or had.
    pub fn new_base(&mut self) -> Result<i64, StoreProblem> {
        let allocate = |connection: &Connection| {
            connection.query_row(
                "UPDATE windows SET opened = opened + 1 RETURNING opened",
                [],
                |row| row.get(0),
            )
        };
        let opened: i64 = allocate(&self.connection).map_err(|source| self.problem(source))?;
        Ok(opened << 32)
    }

    /// A setting as it was kept. One of another version's shape is as good as none.
    pub fn setting<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StoreProblem> {
        let text: Option<String> = self
            .connection
            .query_row("SELECT json FROM settings WHERE key = ?1", [key], |row| {
                row.get(0)
            })
            .optional()
            .map_err(|source| self.problem(source))?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Keeps a setting.
    pub fn keep_setting(&self, key: &str, value: &impl Serialize) -> Result<(), StoreProblem> {
        let json = serde_json::to_string(value)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
            .map_err(|source| self.problem(source))?;
        self.write(
            "INSERT INTO settings (key, json) VALUES (?1, ?2)
             ON CONFLICT (key) DO UPDATE SET json = excluded.json",
            params![key, json],
        )
    }

    /// The draft that `model` was left with. What is beside its recipe and of another version's shape is as good as none.
    pub fn draft(&self, model: &Path) -> Result<Option<KeptDraft>, StoreProblem> {
        let read = |row: &rusqlite::Row<'_>| {
            let rest: Option<String> = row.get(1)?;
            Ok(KeptDraft {
                toml: row.get(0)?,
                rest: rest.and_then(|rest| serde_json::from_str(&rest).ok()),
            })
        };
        self.connection
            .query_row(
                "SELECT toml, rest FROM drafts WHERE model = ?1",
                [model.as_os_str().as_encoded_bytes()],
                read,
            )
            .optional()
            .map_err(|source| self.problem(source))
    }

    /// Keeps the draft of `model`.
    pub fn keep_draft(&self, model: &Path, draft: &KeptDraft) -> Result<(), StoreProblem> {
        let rest = draft.rest.as_ref().map(serde_json::to_string).transpose();
        let rest = rest
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
            .map_err(|source| self.problem(source))?;
        self.write(
            "INSERT INTO drafts (model, toml, rest) VALUES (?1, ?2, ?3)
             ON CONFLICT (model) DO UPDATE SET toml = excluded.toml, rest = excluded.rest",
            params![model.as_os_str().as_encoded_bytes(), draft.toml, rest],
        )
    }

    fn write(&self, sql: &str, values: impl rusqlite::Params) -> Result<(), StoreProblem> {
        let written = self.connection.execute(sql, values);
        written.map(drop).map_err(|source| self.problem(source))
    }

    fn problem(&self, source: rusqlite::Error) -> StoreProblem {
        problem(source, &self.path)
    }
}

fn problem(source: rusqlite::Error, path: &Path) -> StoreProblem {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreProblem::Damaged { path }
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreProblem::Locked { path },
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => StoreProblem::ReadOnly { path },
        _ => StoreProblem::Sqlite { source, path },
    }
}

/// Whether every page is what was written; files too large to ask at each start pass.
fn is_whole(connection: &Connection, path: &Path) -> rusqlite::Result<bool> {
    if fs::metadata(path).is_ok_and(|file| file.len() > MAX_CHECKED_BYTES) {
        return Ok(true);
    }
    let word: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok(word == "ok")
}

/// Gives the file and what belongs to it the first free name `….damaged-N`.
fn move_aside(path: &Path) -> Result<PathBuf, StoreProblem> {
    let with = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let mut number = 1;
    while with(&format!(".damaged-{number}")).exists() {
        number += 1;
    }
    for part in ["-wal", "-shm"] {
        // Parts are there only where a window was cut off.
        let _ = fs::rename(with(part), with(&format!(".damaged-{number}{part}")));
    }
    let aside = with(&format!(".damaged-{number}"));
    match fs::rename(path, &aside) {
        Ok(()) => Ok(aside),
        Err(source) => Err(StoreProblem::Folder {
            source,
            path: path.to_owned(),
        }),
    }
}
