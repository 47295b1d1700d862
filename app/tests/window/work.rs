//! A whole piece of work by keyboard and mouse: open, filter, set bits on three layers, run, compare, export.

use crate::desktop::{Desktop, until};
use crate::twin::Twin;
use crate::window::{PATIENCE, Window, pare};
use egui::accesskit::Role;
use pare::studio::Command;
use pare::studio::action::View;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;

/// Tensors of the sample, norms included.
const SAMPLE_TENSORS: usize = 29;

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

/// Filters the table.
fn filter(window: &Window<'_>, text: &str) {
    window.keys(&["ctrl+f", "ctrl+a"]);
    window.types(text);
    window.keys(&["Return"]);
    window.rest();
}

/// Names of layers that a run solved with so many bits.
fn with_bits(report: &Value, bits: u64) -> Vec<String> {
    let layers = report["layers"].as_array().unwrap().iter();
    let layers = layers.filter(|layer| layer["bits"] == bits);
    layers
        .map(|layer| layer["name"].as_str().unwrap().to_owned())
        .collect()
}

fn in_each_block(part: &str) -> Vec<String> {
    (0..3)
        .map(|block| format!("model.layers.{block}.{part}"))
        .collect()
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

    // By keyboard: all that the filter leaves.
    filter(&window, "down_proj");
    window.keys(&["ctrl+a", "6"]);
    window.rest();
    window.picture("2-bits-by-keyboard");

    // By mouse: one row, then two more with Ctrl.
    filter(&window, "q_proj");
    let mut twin = Twin::open(folder.path());
    twin.command(Command::Filter("q_proj".to_owned()));
    let queries = in_each_block("self_attn.q_proj");
    for (name, held) in queries.iter().zip([None, Some("ctrl"), Some("ctrl")]) {
        window.click(twin.place(Role::Row, name), held);
    }
    drop(twin);
    window.keys(&["3"]);
    window.rest();
    window.picture("3-bits-by-mouse");

    window.keys(&["F5"]);
    let run = folder.path().join("data/pare/runs/sample-1");
    let report = run.join(".pare/report.json");
    until("the run to end", PATIENCE, || report.exists().then_some(()));
    window.rest();
    window.picture("4-run");
    let report = json(&report);
    assert_eq!(with_bits(&report, 6), in_each_block("mlp.down_proj"));
    assert_eq!(
        with_bits(&report, 3),
        queries,
        "other layers stay as they were"
    );

    palette(&window, "show compare");
    window.picture("5-compare");

    window.keys(&["ctrl+e"]);
    window.rest();
    let mut twin = Twin::open(folder.path());
    twin.command(Command::Show(View::Export));
    window.click(twin.place(Role::Button, "Export as dense"), None);
    drop(twin);
    window.picture("6-export-asked");
    let exported = folder.path().join("data/pare/runs/sample-1-dense");
    until("the export", PATIENCE, || exported.exists().then_some(()));
    window.rest();
    window.picture("7-export");
    window.close();
    let again = pare(&desktop, folder.path(), &["inspect", "--json"])
        .arg(&exported)
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(
        again["layers"].as_array().unwrap().len(),
        SAMPLE_TENSORS,
        "{again:#}"
    );
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
