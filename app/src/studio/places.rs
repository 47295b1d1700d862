//! Where this machine keeps what later runs reuse (cache) and what a person made in the studio (data).
//!
//! The only reader of the environment; the engine gets paths.

use std::env;
use std::path::{Path, PathBuf};

/// Most bytes of statistics kept between runs.
pub const CAPACITY_BYTES: u64 = 8_000_000_000;

/// `pare` in the user's cache folder, or in the folder for temporary files.
pub fn cache_folder() -> PathBuf {
    user_cache(environment).join("pare")
}

/// `pare` in the user's data folder: runs, their reports, drafts and preferences. `None` where the system names none.
pub fn data_folder() -> Option<PathBuf> {
    user_data(environment).map(|folder| folder.join("pare"))
}

/// The table of a person's own devices in the data folder.
pub fn devices_table(data_folder: &Path) -> PathBuf {
    data_folder.join("devices.toml")
}

/// Where the report of a run goes that nobody gave another place: beside the run, under its name.
pub fn report_of(run: &Path) -> PathBuf {
    let mut whole = absolute(run);
    if whole.file_name().is_none() {
        // `..` has a name only where it leads.
        whole = whole.canonicalize().unwrap_or(whole);
    }
    let mut name = whole.file_name().unwrap_or_default().to_owned();
    name.push(".html");
    whole.with_file_name(name)
}

/// `path` with the ending of a page, so that no file of a run is taken for its report.
pub fn as_page(path: PathBuf) -> PathBuf {
    let is_page = path
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("html"));
    if is_page {
        return path;
    }
    let mut name = path.into_os_string();
    name.push(".html");
    name.into()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the user's folders are told by the environment, and nothing that is computed depends on them"
)]
fn environment(name: &str) -> Option<PathBuf> {
    env::var_os(name).map(PathBuf::from)
}

/// `path` as it means the same from any folder; the word `sample` stays a word. Only what was typed comes here.
pub fn absolute(path: &Path) -> PathBuf {
    if super::sample::is_word(path) || path.as_os_str().is_empty() {
        return path.to_owned();
    }
    // Where even the present folder is gone, the path as typed is as good as any.
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// `variable` answers as the environment does; relative values are ignored, as the XDG rules ask.
fn user_cache(variable: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    let absolute = |name| variable(name).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("LOCALAPPDATA"))
        .or_else(|| absolute("HOME").map(|home| home.join(home_cache())))
        .unwrap_or_else(env::temp_dir)
}

/// `variable` answers as the environment does.
fn user_data(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let absolute = |name| variable(name).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("APPDATA"))
        .or_else(|| absolute("HOME").map(|home| home.join(home_data())))
}

fn home_data() -> &'static str {
    if cfg!(target_os = "macos") {
        "Library/Application Support"
    } else {
        ".local/share"
    }
}

fn home_cache() -> &'static str {
    if cfg!(target_os = "macos") {
        "Library/Caches"
    } else {
        ".cache"
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn typed_paths_mean_the_same_from_any_folder() {
        assert_eq!(absolute(Path::new("sample")), Path::new("sample"));
        assert!(absolute(Path::new("./sample")).is_absolute());
        assert!(absolute(Path::new("models/a")).ends_with("models/a"));
        assert_eq!(absolute(Path::new("")), Path::new(""));
    }

    #[test]
    fn reports_are_pages_beside_their_runs() {
        let run = env::temp_dir().join("runs").join("one.v2");
        assert_eq!(
            report_of(&run),
            env::temp_dir().join("runs").join("one.v2.html")
        );
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("one");
        std::fs::create_dir_all(run.join("layers")).unwrap();
        let whole = run.canonicalize().unwrap().with_file_name("one.html");
        assert_eq!(report_of(&run.join("layers").join("..")), whole);
        for (typed, expected) in [
            ("a", "a.html"),
            ("a.HTML", "a.HTML"),
            ("a.bin", "a.bin.html"),
        ] {
            assert_eq!(as_page(PathBuf::from(typed)), Path::new(expected));
        }
    }

    #[test]
    fn the_first_absolute_answer_wins() {
        let root = env::temp_dir();
        let (cache, home) = (root.join("c"), root.join("h"));
        let both = |name: &str| match name {
            "XDG_CACHE_HOME" => Some(cache.clone()),
            "HOME" => Some(home.clone()),
            _ => None,
        };
        assert_eq!(user_cache(both), cache);
        let relative = |name: &str| match name {
            "XDG_CACHE_HOME" => Some(PathBuf::from("relative")),
            "HOME" => Some(home.clone()),
            _ => None,
        };
        assert_eq!(user_cache(relative), home.join(home_cache()));
        assert_eq!(user_cache(|_| None), env::temp_dir());
        assert_eq!(user_data(both), Some(home.join(home_data())));
        assert_eq!(user_data(|_| None), None);
    }
}
