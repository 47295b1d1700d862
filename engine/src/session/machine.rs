//! What the session needs to know of the machine: free memory, and the memory of this process.
//!
//! Linux tells both in `/proc`; elsewhere the answers are a stated default and nothing.

use std::fs;

/// Working memory assumed where the system does not say how much is free.
const ASSUMED_FREE_BYTES: u64 = 4 << 30;

/// Memory that programs could still take without swapping; `None` where the system does not tell.
pub fn available_memory_bytes() -> Option<u64> {
    read_kilobytes("/proc/meminfo", "MemAvailable:")
}

/// Memory of the machine; `None` where the system does not tell.
pub(super) fn total_memory_bytes() -> Option<u64> {
    read_kilobytes("/proc/meminfo", "MemTotal:")
}

/// Memory that this process holds now; 0 where the system does not tell.
pub fn resident_bytes() -> u64 {
    read_kilobytes("/proc/self/status", "VmRSS:").unwrap_or(0)
}

/// The process's high-water mark; 0 where the system does not tell.
pub fn peak_rss_bytes() -> u64 {
    read_kilobytes("/proc/self/status", "VmHWM:").unwrap_or(0)
}

/// Half of what is free now: the documented default of `--memory`.
pub(super) fn default_memory_bytes() -> u64 {
    available_memory_bytes().unwrap_or(ASSUMED_FREE_BYTES) / 2
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
    fn linux_tells_all() {
        if cfg!(target_os = "linux") {
            assert!(default_memory_bytes() > 0);
            let resident = resident_bytes();
            assert!(resident > 100_000, "a running process takes memory");
            assert!(peak_rss_bytes() >= resident, "the mark is the highest");
        }
    }
}
