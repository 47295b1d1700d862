//! The tables, one step for each version: a file of an older version takes the steps that it lacks.
//!
//! Steps never change once they are released; a new version adds one.

use rusqlite::{Connection, TransactionBehavior};

/// The steps, in order; the first makes version 1.
const STEPS: [&str; 3] = [
    "
    CREATE TABLE windows (opened INTEGER NOT NULL);
    INSERT INTO windows (opened) VALUES (0);
    CREATE TABLE runs (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        model BLOB NOT NULL,
        recipe TEXT NOT NULL,
        recipe_hash TEXT NOT NULL,
        format TEXT NOT NULL,
        out BLOB NOT NULL,
        evaluation_text BLOB,
        created_unix_ms INTEGER NOT NULL,
        status TEXT NOT NULL,
        reason TEXT,
        evaluations TEXT NOT NULL,
        pinned INTEGER NOT NULL
    );
    CREATE TABLE reports (
        run INTEGER PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
        report TEXT NOT NULL,
        histograms TEXT NOT NULL
    );
    CREATE TABLE settings (key TEXT PRIMARY KEY, json TEXT NOT NULL);
    CREATE TABLE drafts (model BLOB PRIMARY KEY, toml TEXT NOT NULL);
",
    "ALTER TABLE drafts ADD COLUMN rest TEXT;",
    "ALTER TABLE runs ADD COLUMN training TEXT;",
];

/// The version that this program writes.
pub(super) const VERSION: i64 = STEPS.len() as i64;

/// The version of the file; 0 where it is new.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Takes the steps that the file lacks, all or none.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    migrate_to(connection, VERSION)
}

/// Takes the steps up to version `to` that the file lacks, all or none.
pub(super) fn migrate_to(connection: &mut Connection, to: i64) -> rusqlite::Result<()> {
    if version(connection)? == to {
        return Ok(());
    }
    // Immediate: two windows that start at once take the steps once.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let from = usize::try_from(version(&transaction)?).unwrap_or(0);
    let until = usize::try_from(to).unwrap_or(0);
    for step in STEPS.iter().take(until).skip(from) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", to)?;
    transaction.commit()
}
