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

/// The one view that shows what the shell's menus hold: the list of shortcuts.
const SHOWS_MENUS: &str = "views/settings.rs";

/// `source` of a file of the window as if the window were a crate of its own: its arrows to other parts are left out.
fn as_own_crate(drawing: &Drawing, file: &Path, source: &str) -> Vec<String> {
    let source = source.replace("crate::gui::", "crate::");
    let violations = drawing.violations(file, &source).into_iter();
    violations
        .filter(|violation| !violation.ends_with("is on no floor"))
        .filter(|violation| !(file == Path::new(SHOWS_MENUS) && violation.contains("uses shell")))
        .collect()
}

#[test]
fn imports_of_the_window_point_down() {
    let sources = repository().join("app/src/gui");
    let own = read(&sources.join("mod.rs"));
    let drawing = Drawing::parse(&own).unwrap();
    let differences = drawing.differences(&declared_modules(&own));
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    let violations: Vec<String> = source_files(&sources)
        .unwrap()
        .iter()
        .flat_map(|file| as_own_crate(&drawing, file, &read(&sources.join(file))))
        .collect();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    for (file, source) in [
        ("views/size.rs", "use crate::gui::shell::Shell;"),
        ("widgets/bar.rs", "use super::super::app;"),
        ("look.rs", "use super::scene::Scene;"),
    ] {
        let told = as_own_crate(&drawing, Path::new(file), source);
        assert_eq!(told.len(), 1, "{file}: {told:?}");
    }
}

/// Crates that draw; the studio and the command line are used without a window.
const DRAWING_CRATES: [&str; 5] = ["egui", "eframe", "egui_plot", "egui_tiles", "egui_table"];

#[test]
fn only_the_window_draws() {
    let sources = repository().join("app/src");
    let mut violations = Vec::new();
    for file in source_files(&sources).unwrap() {
        if file.starts_with("gui") {
            continue;
        }
        for (number, line) in read(&sources.join(&file)).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if DRAWING_CRATES
                .iter()
                .any(|name| code.contains(&format!("{name}::")))
            {
                violations.push(format!("{}:{}: {line}", file.display(), number + 1));
            }
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn the_engine_knows_no_app() {
    let manifest = read(&repository().join("engine/Cargo.toml"));
    let names_app = manifest.lines().any(|line| {
        line.starts_with("pare.") || line.starts_with("pare ") || line.starts_with("pare=")
    });
    assert!(!names_app, "engine/Cargo.toml depends on the app");
}
