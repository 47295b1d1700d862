//! This machine's profile: measured when asked, kept beside the statistics, found again while it holds.
//!
//! A profile holds for one processor, instruction set, number of threads and version of the program; another is another
//! file.

use super::machine::total_memory_bytes;
use super::{SessionError, SessionOptions, thread_pool};
use crate::device::DeviceProfile;
use crate::formats::StoreError;
use crate::formats::store::atomic;
use crate::measure::profile::{PROFILE_STEPS, ProfileError, profile_key, profile_machine};
use crate::report::{Notice, Observer};
use crate::units::hex;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::PathBuf;

/// Profiles are some ten thousand bytes; anything far larger is none.
const MOST_BYTES: u64 = 4 << 20;
/// Changes when what is measured, or how it is kept, changes.
const VERSION: u32 = 2;
/// Memory assumed where the system does not tell.
const ASSUMED_MEMORY_BYTES: u64 = 8 << 30;

/// Measures this machine on `options.threads` threads, in some seconds, and keeps what is found in the cache folder.
pub fn measure_machine(
    options: &SessionOptions,
    observer: &dyn Observer,
) -> Result<DeviceProfile, SessionError> {
    let pool = thread_pool(options)?;
    observer.notice(Notice::Stage {
        name: "measuring this machine",
        steps: PROFILE_STEPS,
    });
    let memory = total_memory_bytes().unwrap_or(ASSUMED_MEMORY_BYTES);
    let measured = pool.install(|| profile_machine(memory, observer))?;
    let engines = measured.engines.iter();
    let mut unrest = engines.filter_map(|engine| engine.calibration.as_ref()?.unrest.as_deref());
    if let Some(unrest) = unrest.next() {
        observer.notice(Notice::Warning(unrest));
    }
    let path = pool.install(|| path_of(options));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(StoreError::io("could not be created", folder))?;
    }
    let text = serde_json::to_string_pretty(&measured).map_err(|error| SessionError::Input {
        problem: format!("what was measured cannot be written down ({error}); measure again"),
        path: path.clone(),
    })?;
    atomic::write_bytes(&path, text.as_bytes())?;
    Ok(measured)
}

/// What was measured of this machine with `options.threads` threads; `None` where it was not, or no longer holds.
pub fn find_profile(options: &SessionOptions) -> Option<DeviceProfile> {
    let path = thread_pool(options).ok()?.install(|| path_of(options));
    let small = fs::metadata(&path).is_ok_and(|file| file.len() <= MOST_BYTES);
    let bytes = small.then(|| fs::read(&path).ok()).flatten()?;
    let found: DeviceProfile = serde_json::from_slice(&bytes).ok()?;
    found.check().is_ok().then_some(found)
}

/// The file for this processor, instruction set, number of threads (those of the current pool) and version.
fn path_of(options: &SessionOptions) -> PathBuf {
    let key = format!(
        "{}; {}; version {VERSION}",
        profile_key(),
        env!("CARGO_PKG_VERSION")
    );
    let name = hex(&Sha256::digest(key.as_bytes())[..8]);
    options
        .cache_folder
        .join("machine")
        .join(format!("{name}.json"))
}

impl From<ProfileError> for SessionError {
    fn from(error: ProfileError) -> Self {
        match error {
            ProfileError::Stopped(stopped) => Self::Stopped(stopped),
            ProfileError::Model(error) => Self::Model(error),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn options(folder: &std::path::Path, threads: usize) -> SessionOptions {
        SessionOptions {
            threads: Some(threads),
            memory_bytes: None,
            cache_folder: folder.to_owned(),
            cache_capacity_bytes: 0,
        }
    }

    #[test]
    fn profiles_are_found_while_they_hold_and_damage_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let one = options(folder.path(), 1);
        assert_eq!(find_profile(&one), None);
        let path = thread_pool(&one).unwrap().install(|| path_of(&one));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let device = &DeviceProfile::builtin()[0];
        atomic::write_bytes(&path, &serde_json::to_vec(device).unwrap()).unwrap();
        assert_eq!(find_profile(&one).unwrap().name, device.name);
        assert_eq!(
            find_profile(&options(folder.path(), 2)),
            None,
            "other threads"
        );
        for damage in ["", "{}", "[1]", "{\"name\": \"x\"}"] {
            atomic::write_bytes(&path, damage.as_bytes()).unwrap();
            assert_eq!(find_profile(&one), None, "{damage:?}");
        }
    }
}
