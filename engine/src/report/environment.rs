//! With what a run was made. Stands in its report alone and is no part of what must repeat.

use serde::{Deserialize, Serialize};

/// With what a run was made, as `.pare/report.json` keeps it under `environment`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Pare's version.
    pub pare_version: String,
    /// Threads that worked.
    pub threads: usize,
    /// The best instruction set that the kernels used.
    pub instruction_set: String,
    /// Seconds since 1970 when the run ended; null where the clock stands before that.
    pub finished_unix_seconds: Option<u64>,
    /// The text that calibrated or trained; null where none did.
    #[serde(default)]
    pub calibration_text: Option<TextDigest>,
    /// The text that measured; null where none did.
    #[serde(default)]
    pub evaluation_text: Option<TextDigest>,
}

/// A text, so that it can be known again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextDigest {
    /// Name of the file, without its folder.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// SHA-256 of them, in hexadecimal.
    pub sha256: String,
}
