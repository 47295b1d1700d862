//! With what a run is made, told to its report: version, threads, instruction set, texts, the moment of its end.

use crate::kernels::instruction_set;
use crate::monitor::Monitor;
use crate::report::{Environment, TextDigest};
use crate::units::hex;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// The texts of a run as they were when it began.
#[derive(Debug, Default)]
pub(super) struct Texts {
    calibration: Option<TextDigest>,
    evaluation: Option<TextDigest>,
}

impl Texts {
    /// Reads them through, before hours pass in which somebody may edit them. Those that cannot be read are left out.
    pub(super) fn of(
        calibration: Option<&str>,
        evaluation: Option<&Path>,
        monitor: &dyn Monitor,
    ) -> Self {
        Self {
            calibration: calibration.and_then(|path| text(Path::new(path), monitor)),
            evaluation: evaluation.and_then(|path| text(path, monitor)),
        }
    }
}

/// The environment of the run that ends now, in the pool that worked.
pub(super) fn environment(texts: Texts) -> Environment {
    Environment {
        pare_version: env!("CARGO_PKG_VERSION").to_owned(),
        threads: rayon::current_num_threads(),
        instruction_set: instruction_set().word().to_owned(),
        finished_unix_seconds: now(),
        calibration_text: texts.calibration,
        evaluation_text: texts.evaluation,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the date of a run stands in its report alone, beside its seconds; nothing else depends on it"
)]
fn now() -> Option<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.ok().map(|since| since.as_secs())
}

fn text(path: &Path, monitor: &dyn Monitor) -> Option<TextDigest> {
    let (bytes, sha256) = sha256_of_file(path, monitor).ok()??;
    Some(TextDigest {
        name: path.file_name()?.to_string_lossy().into_owned(),
        bytes,
        sha256,
    })
}

/// Bytes of a file and their SHA-256 in hexadecimal; `None` where `monitor` wants an end.
pub(super) fn sha256_of_file(
    path: &Path,
    monitor: &dyn Monitor,
) -> std::io::Result<Option<(u64, String)>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is no ordinary file"));
    }
    let mut file = File::open(path)?;
    let mut buffer = vec![0; CHUNK_BYTES];
    let (mut bytes, mut digest) = (0, Sha256::new());
    loop {
        if monitor.check().is_err() {
            return Ok(None);
        }
        match file.read(&mut buffer)? {
            0 => return Ok(Some((bytes, hex(&digest.finalize())))),
            read => {
                bytes += read as u64;
                digest.update(&buffer[..read]);
            }
        }
    }
}
