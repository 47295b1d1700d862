//! A whole piece of work by keyboard and mouse: open, filter, set bits on three layers, run, compare, export.

use crate::desktop::{Desktop, until};
use crate::window::{PATIENCE, Window, pare};
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Does an action by its name, through the palette.
fn palette(window: &Window<'_>, name: &str) {
    window.keys(&["ctrl+shift+p"]);
    window.types(name);
    window.keys(&["Return"]);
    window.rest();
}

/// Selects every layer whose name holds `text` and sets its bits.
fn set_bits(window: &Window<'_>, text: &str, bits: &str) {
    window.keys(&["ctrl+f"]);
    window.types(text);
    window.keys(&["Return", "ctrl+a", bits]);
    window.rest();
}

#[test]
fn from_opening_to_an_export_that_opens_again() {
    let Some(desktop) = Desktop::start() else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let words = ["open", "sample", "--renderer", "glow"];
    let window = Window::open(&desktop, pare(&desktop, folder.path(), &words));
    window.picture("1-open");

    set_bits(&window, "down_proj", "6");
    window.picture("2-bits");

    window.keys(&["F5"]);
    let run = folder.path().join("data/pare/runs/sample-1");
    let report = run.join(".pare/report.json");
    until("the run to end", PATIENCE, || report.exists().then_some(()));
    window.rest();
    window.picture("3-run");
    let layers = json(&report)["layers"].as_array().unwrap().clone();
    let bits: Vec<(&str, u64)> = layers
        .iter()
        .map(|layer| {
            (
                layer["name"].as_str().unwrap(),
                layer["bits"].as_u64().unwrap(),
            )
        })
        .filter(|(name, _)| name.contains("down_proj"))
        .collect();
    assert_eq!(bits.len(), 3, "{bits:?}");
    assert!(bits.iter().all(|(_, bits)| *bits == 6), "{bits:?}");
    let others = layers.iter().filter(|layer| layer["bits"] == 6).count();
    assert_eq!(others, 3, "other layers stay as they were");

    palette(&window, "show compare");
    window.picture("4-compare");

    window.keys(&["ctrl+e"]);
    window.rest();
    window.picture("5-export");
    window.close();
}

#[test]
fn closing_with_a_run_at_work_asks() {
    let Some(desktop) = Desktop::start() else {
        return;
    };
    let folder = TempDir::new().unwrap();
    // Long enough to be met at work.
    let recipe = "version = 1\n[calibration]\ncorpus = \"sample\"\nsequences = 188\n";
    fs::write(folder.path().join("long.toml"), recipe).unwrap();
    let words = [
        "open",
        "sample",
        "--renderer",
        "glow",
        "--recipe",
        "long.toml",
        "--threads",
        "1",
    ];
    let mut window = Window::open(&desktop, pare(&desktop, folder.path(), &words));
    window.keys(&["F5"]);
    let partial = folder.path().join("data/pare/runs/sample-1.partial");
    until("the run to begin", PATIENCE, || {
        partial.exists().then_some(())
    });
    window.press_close();
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert!(window.is_open(), "the window asks before it ends a run");
    window.picture("close-asks");
    window.keys(&["Escape"]);
    assert!(window.is_open(), "the window is kept");
    let report = folder
        .path()
        .join("data/pare/runs/sample-1/.pare/report.json");
    until("the run to end", PATIENCE, || report.exists().then_some(()));
    window.rest();
    window.close();
}
