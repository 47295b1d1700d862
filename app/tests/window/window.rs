//! The program in its window: keys, mouse, pictures, and what the system says of its process.

use crate::desktop::{Desktop, until};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Whatever takes longer hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// A process that used no time for so long waits for a person.
const REST: Duration = Duration::from_millis(400);

/// A running program with its window.
pub(crate) struct Window<'a> {
    desktop: &'a Desktop,
    program: Child,
    id: String,
    /// From the start of the process until its window was seen.
    pub(crate) shown_after: Duration,
}

/// `pare` with its folders in `folder`.
pub(crate) fn pare(desktop: &Desktop, folder: &Path, words: &[&str]) -> Command {
    let mut command = desktop.command(env!("CARGO_BIN_EXE_pare"));
    command
        .args(words)
        .current_dir(folder)
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .env("XDG_DATA_HOME", folder.join("data"))
        .stdout(Stdio::null());
    command
}

impl<'a> Window<'a> {
    /// Starts `command` and waits for its window to be shown and at rest.
    pub(crate) fn open(desktop: &'a Desktop, mut command: Command) -> Self {
        let began = Instant::now();
        let mut program = command.spawn().unwrap();
        let process = program.id().to_string();
        let id = until("the window", PATIENCE, || {
            let ended = program.try_wait().unwrap();
            assert!(ended.is_none(), "ended before its window: {ended:?}");
            let found = desktop.xdotool(&["search", "--onlyvisible", "--pid", &process])?;
            found.lines().next_back().map(str::to_owned)
        });
        let window = Self {
            desktop,
            program,
            id,
            shown_after: began.elapsed(),
        };
        window.focus();
        window.rest();
        window
    }

    /// Puts it in front.
    pub(crate) fn focus(&self) {
        let word = match self.desktop.has_manager() {
            true => "windowactivate",
            false => "windowfocus",
        };
        self.desktop.xdotool(&[word, "--sync", &self.id]).unwrap();
    }

    /// Presses keys one after the other, as xdotool spells them: `ctrl+f`, `F5`, `Return`.
    pub(crate) fn keys(&self, keys: &[&str]) {
        for key in keys {
            self.desktop
                .xdotool(&["key", "--clearmodifiers", key])
                .unwrap();
            self.rest_or_work();
        }
    }

    /// Types a text.
    pub(crate) fn types(&self, text: &str) {
        self.desktop
            .xdotool(&["type", "--delay", "15", text])
            .unwrap();
        self.rest_or_work();
    }

    /// A click with modifiers held, at a place in the window's own pixels.
    pub(crate) fn click(&self, place: [f32; 2], held: Option<&str>) {
        let [x, y] = place.map(|side| side.round().to_string());
        self.desktop
            .xdotool(&["mousemove", "--window", &self.id, &x, &y])
            .unwrap();
        self.rest_or_work();
        if let Some(key) = held {
            self.desktop.xdotool(&["keydown", key]).unwrap();
        }
        self.desktop.xdotool(&["click", "1"]).unwrap();
        self.rest_or_work();
        if let Some(key) = held {
            self.desktop.xdotool(&["keyup", key]).unwrap();
        }
    }

    /// Waits until the process has used no time for a while.
    pub(crate) fn rest(&self) {
        until("the window to rest", PATIENCE, || {
            let before = self.cpu_ticks();
            std::thread::sleep(REST);
            (self.cpu_ticks() == before).then_some(())
        });
    }

    /// Gives it a moment to answer, whether or not jobs are at work.
    fn rest_or_work(&self) {
        std::thread::sleep(REST);
    }

    /// A picture of the window, kept for people.
    pub(crate) fn picture(&self, name: &str) -> PathBuf {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("window");
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{name}.png"));
        let import = self
            .desktop
            .command("import")
            .args(["-window", &self.id])
            .arg(&file)
            .status();
        assert!(import.unwrap().success(), "no picture was made");
        file
    }

    /// Time of the processor used so far, in ticks of the system (10 ms).
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.program.id())).unwrap();
        // Fields are counted after the name in brackets, which may hold blanks.
        let fields: Vec<&str> = stat[stat.rfind(')').unwrap()..]
            .split_whitespace()
            .collect();
        fields[12].parse::<u64>().unwrap() + fields[13].parse::<u64>().unwrap()
    }

    /// Memory that the process holds.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.program.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
            * 1024
    }

    /// Whether it still runs.
    pub(crate) fn is_open(&mut self) -> bool {
        self.program.try_wait().unwrap().is_none()
    }

    /// Presses the close button: the window manager's, or the program's own key where there is none.
    pub(crate) fn press_close(&self) {
        let key = match self.desktop.has_manager() {
            true => "alt+F4",
            false => "ctrl+q",
        };
        self.desktop
            .xdotool(&["key", "--clearmodifiers", key])
            .unwrap();
    }

    /// Waits for the program to end.
    pub(crate) fn ended(mut self) -> ExitStatus {
        until("the program to end", PATIENCE, || {
            self.program.try_wait().unwrap()
        })
    }

    /// Closes the window and checks that the program ends well.
    pub(crate) fn close(self) {
        self.focus();
        self.press_close();
        let status = self.ended();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Window<'_> {
    fn drop(&mut self) {
        // Ended already in a test that passed.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
