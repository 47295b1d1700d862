//! The sources obey the ladder drawn in `engine/src/lib.rs`, and the parts of the app stay deaf to each other.
//!
//! How the drawing and the imports are read, and that a wrong one is told, is tested in `pare_tests::ladder`.

#![allow(clippy::unwrap_used)]

use pare_tests::ladder::{Drawing, declared_modules, imports, module_path, source_files};
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn engine_imports_point_down() {
    let sources = repository().join("engine/src");
    let drawing = Drawing::parse(&read(&sources.join("lib.rs"))).unwrap();
    let mut imports_seen = 0;
    let mut violations = Vec::new();
    for file in source_files(&sources).unwrap() {
        let source = read(&sources.join(&file));
        imports_seen += imports(&module_path(&file), &source).len();
        violations.extend(drawing.violations(&file, &source));
    }
    assert!(imports_seen > 10, "only {imports_seen} imports were found");
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn drawing_names_the_modules_of_the_engine() {
    let source = read(&repository().join("engine/src/lib.rs"));
    let differences = Drawing::parse(&source)
        .unwrap()
        .differences(&declared_modules(&source));
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Which parts of the app may not name which: the studio stands below both faces, and no face knows the other.
const DEAF: [(&str, &[&str]); 3] = [
    ("cli", &["gui"]),
    ("gui", &["cli"]),
    ("studio", &["cli", "gui"]),
];

/// Imports of one app file that `DEAF` forbids.
fn app_violations(file: &Path, source: &str) -> Vec<String> {
    let path = module_path(file);
    let forbidden = DEAF
        .iter()
        .find(|(part, _)| path.first().is_some_and(|owner| owner == part))
        .map_or(&[][..], |(_, forbidden)| forbidden);
    imports(&path, source)
        .into_iter()
        .filter(|import| forbidden.contains(&import.module.as_str()))
        .map(|import| format!("{}:{}: uses {}", file.display(), import.line, import.module))
        .collect()
}

#[test]
fn faces_of_the_app_never_see_each_other() {
    let sources = repository().join("app/src");
    let violations: Vec<String> = source_files(&sources)
        .unwrap()
        .iter()
        .flat_map(|file| app_violations(file, &read(&sources.join(file))))
        .collect();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn a_face_that_sees_the_other_is_told() {
    for (file, source) in [
        ("cli/mod.rs", "use crate::gui::Window;"),
        ("cli.rs", "use super::gui;"),
        ("gui/view.rs", "use crate::{studio, cli};"),
        ("studio/worker.rs", "fn f() { crate::cli::print() }"),
    ] {
        assert_eq!(app_violations(Path::new(file), source).len(), 1, "{file}");
    }
    assert!(app_violations(Path::new("cli/mod.rs"), "use crate::studio;").is_empty());
}

#[test]
fn the_engine_knows_no_app() {
    let manifest = read(&repository().join("engine/Cargo.toml"));
    let names_app = manifest.lines().any(|line| {
        line.starts_with("pare.") || line.starts_with("pare ") || line.starts_with("pare=")
    });
    assert!(!names_app, "engine/Cargo.toml depends on the app");
}
