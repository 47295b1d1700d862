//! What the session needs to know of the machine: free memory and the process's own high-water mark.
//!
//! Linux tells both in `/proc`; elsewhere the answers are a stated default and nothing.

use std::fs;

/// Working memory assumed where the system does not say how much is free.
const ASSUMED_FREE_BYTES: u64 = 4 << 30;

/// Half of what is free now: the documented default of `--memory`.
pub(super) fn default_memory_bytes() -> u64 {
    read_kilobytes("/proc/meminfo", "MemAvailable:").unwrap_or(ASSUMED_FREE_BYTES) / 2
}

/// The process's high-water mark; 0 where the system does not tell.
pub(super) fn peak_rss_bytes() -> u64 {
    read_kilobytes("/proc/self/status", "VmHWM:").unwrap_or(0)
}

fn read_kilobytes(path: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_tells_both() {
        if cfg!(target_os = "linux") {
            assert!(default_memory_bytes() > 0);
            assert!(peak_rss_bytes() > 100_000, "a running process takes memory");
        }
    }
}
