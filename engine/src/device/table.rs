//! Tables of devices as TOML: the one that is compiled in, and those of users, which are read as hostile input.
//!
//! ```toml
//! [[device]]
//! name = "My board"
//! memory_gb = { value = 8.0, basis = "datasheet", source = "the maker's page" }   # low and high may be told too
//! [[device.engine]]
//! name = "cpu"
//! kind = "cpu"                     # cpu | gpu | npu
//! threads = 4
//! instructions = "neon dotprod"
//! f32_gops = { … }                 # every key of `EngineProfile`
//! ```

use super::profile::{DeviceProfile, EngineProfile};
use super::value::is_plain;
use serde::Deserialize;
use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest table that is read.
const MOST_BYTES: u64 = 1 << 20;
/// Most devices of a table, and most engines of a device.
const MOST_DEVICES: usize = 500;
const MOST_ENGINES: usize = 16;
/// Most threads that any machine is believed to have.
const MOST_THREADS: usize = 4096;
/// Longest name.
const MOST_NAME_CHARS: usize = 80;

/// Why a table of devices cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The operating system refused.
    #[error("the table of devices could not be read: {source}; check the file: {path}")]
    Io {
        /// Its word.
        source: std::io::Error,
        /// The file.
        path: PathBuf,
    },
    /// It is larger than any table is.
    #[error(
        "the table of devices is larger than {} bytes; keep only devices in it: {path}",
        MOST_BYTES
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Something in it is wrong.
    #[error("the table of devices cannot be used: {problem}; correct it: {path}")]
    Table {
        /// What is wrong, as a clause.
        problem: String,
        /// The file.
        path: PathBuf,
    },
}

/// The devices of a user's table.
pub fn read_table(path: &Path) -> Result<Vec<DeviceProfile>, DeviceError> {
    let failed = |source| DeviceError::Io {
        source,
        path: path.to_owned(),
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    // One byte more than allowed tells a larger file.
    file.take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(DeviceError::TooLarge {
            path: path.to_owned(),
        });
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is no UTF-8 text".to_owned());
    text.and_then(|text| parse_table(&text))
        .map_err(|problem| DeviceError::Table {
            problem,
            path: path.to_owned(),
        })
}

/// The devices of a table's text, or what is wrong, as a clause.
pub fn parse_table(text: &str) -> Result<Vec<DeviceProfile>, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Table {
        #[serde(default)]
        device: Vec<DeviceProfile>,
    }
    let table: Table = toml::from_str(text).map_err(|error| one_line(&error, text))?;
    if table.device.len() > MOST_DEVICES {
        return Err(format!("it names more than {MOST_DEVICES} devices"));
    }
    let mut names = HashSet::new();
    for device in &table.device {
        check(device)?;
        if !names.insert(device.name.to_lowercase()) {
            return Err(format!("{:?} stands in it twice", device.name));
        }
    }
    Ok(table.device)
}

/// What is wrong with a device, as a clause.
pub(super) fn check(device: &DeviceProfile) -> Result<(), String> {
    if !is_plain(&device.name, MOST_NAME_CHARS) {
        return Err(format!(
            "a device needs a name of 1 to {MOST_NAME_CHARS} characters on one line"
        ));
    }
    let name = &device.name;
    if device.memory_gb.value <= 0.0 {
        return Err(format!("{name:?} has no memory"));
    }
    if device.engines.is_empty() || device.engines.len() > MOST_ENGINES {
        return Err(format!("{name:?} needs 1 to {MOST_ENGINES} engines"));
    }
    let mut names = HashSet::new();
    for engine in &device.engines {
        check_engine(engine).map_err(|problem| format!("{name:?}: {problem}"))?;
        if !names.insert(engine.name.to_lowercase()) {
            return Err(format!("{name:?} has the engine {:?} twice", engine.name));
        }
    }
    Ok(())
}

fn check_engine(engine: &EngineProfile) -> Result<(), String> {
    if !is_plain(&engine.name, MOST_NAME_CHARS) {
        return Err("an engine needs a name on one line".to_owned());
    }
    let name = &engine.name;
    if !engine.instructions.is_empty() && !is_plain(&engine.instructions, MOST_NAME_CHARS) {
        return Err(format!(
            "the instructions of {name:?} are no words on one line"
        ));
    }
    if !(1..=MOST_THREADS).contains(&engine.threads) {
        return Err(format!("{name:?} needs 1 to {MOST_THREADS} threads"));
    }
    // Costs and an absent cache may be 0; what divides may not.
    let may_be_zero = ["cache_mb", "cache_gb_per_s", "launch_us", "fixed_us"];
    for (key, value) in engine.values() {
        if value.low <= 0.0 && !may_be_zero.contains(&key) {
            return Err(format!("{key} of {name:?} must be above 0, its band too"));
        }
    }
    if engine.cache_mb.high > 0.0 && engine.cache_gb_per_s.low <= 0.0 {
        return Err(format!(
            "cache_gb_per_s of {name:?} must be above 0, its band too"
        ));
    }
    for (key, share) in [
        ("gemm_fraction", &engine.gemm_fraction),
        ("stream_fraction", &engine.stream_fraction),
    ] {
        if share.value > 1.0 {
            return Err(format!("{key} of {name:?} is a share of a peak: 1 at most"));
        }
    }
    match &engine.calibration {
        Some(calibration) => calibration
            .check()
            .map_err(|problem| format!("{name:?}: {problem}")),
        None => Ok(()),
    }
}

/// What the reader of TOML says, with the line where it stands.
fn one_line(error: &toml::de::Error, text: &str) -> String {
    let problem = error.message().lines().next().unwrap_or_default();
    match error.span() {
        Some(span) => {
            let before = text.get(..span.start).unwrap_or_default();
            format!("line {}: {problem}", before.matches('\n').count() + 1)
        }
        None => problem.to_owned(),
    }
}
