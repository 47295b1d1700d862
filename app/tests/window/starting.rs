//! Starting: each renderer, the fallback from one to the other, time to the window, memory, idleness, two windows at once.

use crate::desktop::{Desktop, until};
use crate::window::{PATIENCE, Window, pare};
use std::fs;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// An idle window is watched for so long.
const IDLE: Duration = Duration::from_secs(3);
/// Ticks of 10 ms that idleness may cost: timers of drivers.
const IDLE_TICKS: u64 = 3;
/// More than any renderer takes here, drivers in software included.
const MOST_RESIDENT_BYTES: u64 = 500_000_000;

#[test]
fn each_renderer_starts_rests_and_closes() {
    let Some(desktop) = Desktop::start() else {
        return;
    };
    let folder = TempDir::new().unwrap();
    for renderer in ["glow", "wgpu", "auto"] {
        let words = ["open", "sample", "--renderer", renderer];
        let window = Window::open(&desktop, pare(&desktop, folder.path(), &words));
        let before = window.cpu_ticks();
        std::thread::sleep(IDLE);
        let ticks = window.cpu_ticks() - before;
        let resident = window.resident_bytes();
        println!(
            "{renderer}: window after {:.2} s, {ticks} ticks in {IDLE:?} of idleness, {:.0} MB resident",
            window.shown_after.as_secs_f64(),
            resident as f64 / 1e6
        );
        window.picture(&format!("renderer-{renderer}"));
        assert!(
            ticks <= IDLE_TICKS,
            "{renderer}: {ticks} ticks while nothing happens"
        );
        assert!(
            resident < MOST_RESIDENT_BYTES,
            "{renderer}: {resident} bytes"
        );
        window.close();
    }
}

#[test]
fn where_one_renderer_does_not_start_the_other_draws() {
    let Some(desktop) = Desktop::start() else {
        return;
    };
    let folder = TempDir::new().unwrap();
    // No such thing on Linux, so that wgpu finds nothing to draw with.
    let without_wgpu = |words: &[&str]| {
        let mut command = pare(&desktop, folder.path(), words);
        command.env("WGPU_BACKEND", "dx12");
        command
    };
    let window = Window::open(&desktop, without_wgpu(&["open", "sample"]));
    window.picture("fallback");
    window.close();
    let refused = without_wgpu(&["open", "sample", "--renderer", "wgpu"])
        .output()
        .unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("wgpu") && said.contains("--renderer"),
        "{said}"
    );
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn two_windows_on_one_data_folder_harm_no_run() {
    let Some(desktop) = Desktop::start() else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let open = || {
        let words = ["open", "sample", "--renderer", "glow"];
        Window::open(&desktop, pare(&desktop, folder.path(), &words))
    };
    let mut windows = [open(), open()];
    for window in &windows {
        window.focus();
        window.keys(&["F5"]);
    }
    let runs = folder.path().join("data/pare/runs");
    until("a run to end", PATIENCE, || finished(&runs).then_some(()));
    for (number, window) in windows.iter_mut().enumerate() {
        window.rest();
        window.picture(&format!("two-windows-{number}"));
        assert!(window.is_open());
    }
    for run in fs::read_dir(&runs).unwrap() {
        let run = run.unwrap().path();
        let report = fs::read_to_string(run.join(".pare/report.json"));
        let report = report.unwrap_or_else(|error| panic!("{}: {error}", run.display()));
        serde_json::from_str::<serde_json::Value>(&report).unwrap();
    }
    for window in windows {
        window.close();
    }
}

fn finished(runs: &Path) -> bool {
    let runs = fs::read_dir(runs).into_iter().flatten().flatten();
    runs.map(|run| run.path())
        .any(|run| run.join(".pare/report.json").exists())
}
