//! An X server for one test, with a window manager where there is one.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Tests take turns: they measure time and idleness.
static TURN: Mutex<()> = Mutex::new(());

/// A window manager that takes longer to start hangs.
const MANAGER_PATIENCE: Duration = Duration::from_secs(20);

/// How often a poll looks.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// An X server that ends with its value.
pub(crate) struct Desktop {
    server: Child,
    manager: Option<Child>,
    display: String,
    runtime: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Desktop {
    /// A desktop, or `None` where the machine has no programs for one; says so.
    pub(crate) fn start() -> Option<Self> {
        let missing: Vec<&str> = ["Xvfb", "xdotool", "import"]
            .into_iter()
            .filter(|program| !is_installed(program))
            .collect();
        if !missing.is_empty() {
            let test = std::thread::current();
            // Past the capture of test output: what is skipped must be seen.
            let _ = writeln!(
                io::stderr(),
                "skipped: {} needs {}",
                test.name().unwrap_or("a window test"),
                missing.join(", ")
            );
            return None;
        }
        let turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "1600x1100x24"])
            .args([
                "+extension",
                "GLX",
                "+extension",
                "RANDR",
                "-nolisten",
                "tcp",
                // As a screen does, it stays when the last program leaves.
                "-noreset",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut number = String::new();
        let told = server.stdout.take().unwrap();
        BufReader::new(told).read_line(&mut number).unwrap();
        assert!(!number.trim().is_empty(), "Xvfb started no display");
        let runtime = TempDir::with_prefix("pare-desktop-").unwrap();
        fs::set_permissions(runtime.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let mut desktop = Self {
            server,
            manager: None,
            display: format!(":{}", number.trim()),
            runtime,
            _turn: turn,
        };
        if is_installed("openbox") {
            let mut manager = desktop.command("openbox");
            manager.stdout(Stdio::null()).stderr(Stdio::null());
            desktop.manager = Some(manager.spawn().unwrap());
            // A window that comes while the manager starts may be left hidden.
            until("the window manager", MANAGER_PATIENCE, || {
                desktop.xdotool(&["get_num_desktops"])
            });
        }
        Some(desktop)
    }

    /// Whether windows have borders and a close button.
    pub(crate) fn has_manager(&self) -> bool {
        self.manager.is_some()
    }

    /// A program on this desktop.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("DISPLAY", &self.display)
            .env("XDG_RUNTIME_DIR", self.runtime.path())
            .env_remove("WAYLAND_DISPLAY")
            .env_remove("WAYLAND_SOCKET")
            .stdin(Stdio::null());
        command
    }

    /// What `xdotool` says to these words; `None` where it could not do them.
    pub(crate) fn xdotool(&self, words: &[&str]) -> Option<String> {
        let output = self.command("xdotool").args(words).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        output.status.success().then(|| said.trim().to_owned())
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        for program in self.manager.iter_mut().chain([&mut self.server]) {
            // Gone already is as good.
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}

/// Polls until `look` finds something; windows and other processes tell nobody what they do.
///
/// # Panics
/// Where nothing is found in time.
pub(crate) fn until<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < patience, "waited {patience:?} for {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
