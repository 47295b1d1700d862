//! The ladder: reads the drawing of floors and checks every import of the sources against it.
//!
//! The drawing is the `text` block at the top of `engine/src/lib.rs`: one floor a line, its number first, then its
//! modules. A module may name modules of lower floors only. Works on source text alone; knows nothing of what modules do.

mod imports;
mod lexer;

pub use imports::{Import, declared_modules, imports};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Floor number of each module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawing {
    floors: BTreeMap<String, u32>,
}

impl Drawing {
    /// Reads the drawing out of the `//!` lines of `source`. `Err` says in words what is wrong with it.
    pub fn parse(source: &str) -> Result<Self, String> {
        let mut floors = BTreeMap::new();
        let mut previous: Option<u32> = None;
        for line in drawing_lines(source)? {
            let mut words = line.split_whitespace();
            let number = words.next().and_then(|word| word.parse::<u32>().ok());
            let Some(number) = number else {
                return Err(format!("the line {line:?} begins with no floor number"));
            };
            if previous.is_some_and(|above| number >= above) {
                return Err(format!("floor {number} is not below the line above it"));
            }
            previous = Some(number);
            for module in words {
                if floors.insert(module.to_owned(), number).is_some() {
                    return Err(format!("{module} is drawn twice"));
                }
            }
        }
        if floors.is_empty() {
            return Err("the drawing holds no module".to_owned());
        }
        Ok(Self { floors })
    }

    /// Floor of `module`.
    pub fn floor(&self, module: &str) -> Option<u32> {
        self.floors.get(module).copied()
    }

    /// Modules that are drawn but not in `declared`, and the other way round, as sentences.
    pub fn differences(&self, declared: &[String]) -> Vec<String> {
        let undrawn = declared
            .iter()
            .filter(|module| self.floor(module).is_none())
            .map(|module| format!("module {module} of lib.rs is not in the drawing"));
        let absent = self
            .floors
            .keys()
            .filter(|module| !declared.contains(module))
            .map(|module| format!("{module} is drawn, but lib.rs declares no such module"));
        undrawn.chain(absent).collect()
    }

    /// What is wrong with one file's imports, one sentence each: arrows up, arrows sideways, names on no floor.
    ///
    /// `file` is relative to the source folder: its first part names the module.
    pub fn violations(&self, file: &Path, source: &str) -> Vec<String> {
        let path = module_path(file);
        let Some(owner) = path.first() else {
            return Vec::new();
        };
        let Some(owner_floor) = self.floor(owner) else {
            return vec![format!("{}: {owner} is on no floor", file.display())];
        };
        imports(&path, source)
            .into_iter()
            .filter(|import| import.module != *owner)
            .filter_map(|import| {
                let place = format!("{}:{}", file.display(), import.line);
                let target = &import.module;
                let Some(floor) = self.floor(target) else {
                    return Some(format!("{place}: crate::{target} is on no floor"));
                };
                let direction = match floor.cmp(&owner_floor) {
                    std::cmp::Ordering::Less => return None,
                    std::cmp::Ordering::Equal => "sideways",
                    std::cmp::Ordering::Greater => "up",
                };
                Some(format!(
                    "{place}: {owner} (floor {owner_floor}) uses {target} (floor {floor}), an arrow {direction}"
                ))
            })
            .collect()
    }
}

/// Module path of a source file: `solve/gptq.rs` is `[solve, gptq]`, `solve/mod.rs` is `[solve]`, `lib.rs` is `[]`.
pub fn module_path(file: &Path) -> Vec<String> {
    let mut parts: Vec<String> = file
        .with_extension("")
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    if matches!(
        parts.last().map(String::as_str),
        Some("mod" | "lib" | "main")
    ) {
        parts.pop();
    }
    parts
}

/// All `.rs` files under `root`, relative to it, in name order.
pub fn source_files(root: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(root).unwrap_or(&path);
                found.push(relative.to_path_buf());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Lines of the first `text` block in the `//!` head.
fn drawing_lines(source: &str) -> Result<Vec<&str>, String> {
    let mut lines = source
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(str::trim)
        .skip_while(|line| *line != "```text");
    if lines.next().is_none() {
        return Err("lib.rs opens with no ```text block".to_owned());
    }
    let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
    Ok(block.into_iter().filter(|line| !line.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HOUSE: &str =
        "//! A house.\n//! ```text\n//! 2 roof\n//! 1 left right\n//! 0 ground\n//! ```\n";

    fn violations(file: &str, source: &str) -> Vec<String> {
        Drawing::parse(HOUSE)
            .unwrap()
            .violations(Path::new(file), source)
    }

    #[test]
    fn reads_floors() {
        let drawing = Drawing::parse(HOUSE).unwrap();
        assert_eq!(drawing.floor("roof"), Some(2));
        assert_eq!(drawing.floor("right"), Some(1));
        assert_eq!(drawing.floor("garden"), None);
    }

    #[test]
    fn refuses_bad_drawings() {
        for (drawing, word) in [
            ("//! No block.", "no ```text"),
            ("//! ```text\n//! ```", "no module"),
            ("//! ```text\n//! roof\n//! ```", "no floor number"),
            ("//! ```text\n//! 1 a\n//! 2 b\n//! ```", "not below"),
            ("//! ```text\n//! 1 a\n//! 0 a\n//! ```", "twice"),
        ] {
            let error = Drawing::parse(drawing).unwrap_err();
            assert!(error.contains(word), "{drawing:?} gave {error:?}");
        }
    }

    #[test]
    fn drawing_and_lib_must_name_the_same_modules() {
        let drawing = Drawing::parse(HOUSE).unwrap();
        let declared = ["roof", "left", "right", "ground"].map(str::to_owned);
        assert!(drawing.differences(&declared).is_empty());
        let differences =
            drawing.differences(&["roof", "left", "right", "cellar"].map(str::to_owned));
        assert_eq!(differences.len(), 2, "{differences:?}");
        assert!(differences[0].contains("cellar") && differences[1].contains("ground"));
    }

    #[test]
    fn arrows_down_and_home_are_fine() {
        assert!(violations("roof.rs", "use crate::{left::A, ground};").is_empty());
        assert!(violations("left/deep.rs", "use crate::left::B; use super::C;").is_empty());
    }

    #[test]
    fn arrows_up_and_sideways_are_told_with_place_and_floors() {
        let up = violations("ground.rs", "\n\nfn f() { crate::roof::tile() }");
        assert_eq!(
            up,
            ["ground.rs:3: ground (floor 0) uses roof (floor 2), an arrow up"]
        );
        let sideways = violations("left/mod.rs", "use crate::{\n  ground::A,\n  right::B,\n};");
        assert_eq!(
            sideways,
            ["left/mod.rs:3: left (floor 1) uses right (floor 1), an arrow sideways"]
        );
    }

    #[test]
    fn hidden_arrows_are_found() {
        for (file, source) in [
            ("ground.rs", "use super::roof::Tile;"),
            ("left/deep.rs", "use super::super::right;"),
            (
                "left/deep.rs",
                "mod tests { use super::super::super::roof; }",
            ),
            ("ground.rs", "use crate::*;"),
            ("ground.rs", "use crate::nowhere::X;"),
            (
                "ground.rs",
                "fn f(x: &'static str) { let c = '\"'; crate::roof::f(\"{\") }",
            ),
            ("garden.rs", ""),
        ] {
            assert_eq!(violations(file, source).len(), 1, "{file}: {source}");
        }
    }

    #[test]
    fn comments_and_strings_are_no_imports() {
        let source = "//! crate::roof\n/* crate::roof /* nested */ crate::roof */\n\
            const A: &str = \"crate::roof\"; const B: &str = r#\"\" crate::roof\"#; const C: &[u8] = b\"crate::roof\";";
        assert!(violations("ground.rs", source).is_empty());
    }
}
