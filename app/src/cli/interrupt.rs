//! Ctrl-C: the first asks the work to stop and gives it a moment, the second ends the program at once.
//!
//! Knows no work; jobs poll the flag through their observer and leave what they finished. Where a step cannot look at the
//! flag in time, the program ends under it: files get their names only once they are complete, so nothing is lost.

use crate::cli::STOPPED;
use crate::cli::failure::Failure;
use crate::cli::printer;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long work may take to end by itself; a person waits no longer than a second.
const GRACE: Duration = Duration::from_millis(900);

/// What a stopped job leaves.
#[derive(Debug, Clone)]
enum Kept {
    /// Layers of a run; `--resume` goes on from them.
    Run(PathBuf),
    /// The state of a training run; `--resume` goes on from it.
    Training(PathBuf),
    /// What is in the cache; the same words go on from it.
    Cache(PathBuf),
}

/// Whether the person asked to stop. Clones share one flag.
#[derive(Debug, Clone, Default)]
pub(super) struct StopFlag(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    raised: AtomicBool,
    patient: AtomicBool,
    kept: Mutex<Option<Kept>>,
}

impl StopFlag {
    /// From now on Ctrl-C raises the flag.
    pub(super) fn watch(&self) -> Result<(), Failure> {
        let flag = self.clone();
        ctrlc::set_handler(move || flag.raise_or_exit())
            .map_err(|error| Failure::Failed(format!("Ctrl-C cannot be watched: {error}.")))
    }

    /// Whether to stop.
    pub(super) fn is_raised(&self) -> bool {
        self.0.raised.load(Ordering::Relaxed)
    }

    /// From now on the work is never ended under itself: it has things to clear away.
    pub(super) fn be_patient(&self) {
        self.0.patient.store(true, Ordering::Relaxed);
    }

    /// Where the job keeps what is finished when it is stopped.
    pub(super) fn keep_in(&self, folder: PathBuf) {
        self.keep(Kept::Run(folder));
    }

    /// Where training keeps its state when it is stopped.
    pub(super) fn keep_training_in(&self, folder: PathBuf) {
        self.keep(Kept::Training(folder));
    }

    /// The job keeps what is finished in the cache, and finds it there by itself.
    pub(super) fn keep_cache(&self, folder: &Path) {
        self.keep(Kept::Cache(folder.to_owned()));
    }

    fn keep(&self, what: Kept) {
        if let Ok(mut kept) = self.0.kept.lock() {
            *kept = Some(what);
        }
    }

    /// The stop in words: what it leaves, and how to go on.
    pub(super) fn farewell(&self) -> String {
        let kept = self.0.kept.lock().ok().and_then(|kept| kept.clone());
        match kept {
            Some(Kept::Run(folder)) if folder.exists() => format!(
                "Stopped by Ctrl-C. Finished layers are kept; the same command with --resume goes on from them: {}",
                folder.display()
            ),
            Some(Kept::Training(folder)) if folder.exists() => format!(
                "Stopped by Ctrl-C. What is finished is kept (the last step, with --round the last block); the same command with --resume goes on from there: {}",
                folder.display()
            ),
            Some(Kept::Cache(folder)) => format!(
                "Stopped by Ctrl-C. What is finished is kept; the same command goes on from it: {}",
                folder.display()
            ),
            _ => "Stopped by Ctrl-C; nothing was written.".to_owned(),
        }
    }

    fn raise_or_exit(&self) {
        if self.0.raised.swap(true, Ordering::Relaxed) {
            exit();
        }
        if self.0.patient.load(Ordering::Relaxed) {
            return;
        }
        let flag = self.clone();
        // Without a thread to spare, the second Ctrl-C is still there.
        let _ = thread::Builder::new()
            .name("pare-grace".to_owned())
            .spawn(move || flag.end_after_grace());
    }

    fn end_after_grace(&self) {
        let asked = Instant::now();
        while let Some(left) = GRACE.checked_sub(asked.elapsed()) {
            thread::park_timeout(left);
        }
        printer::error(&self.farewell());
        exit();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "whoever presses twice, or waits a second, wants out; unfinished files have temporary names"
)]
fn exit() -> ! {
    std::process::exit(i32::from(STOPPED))
}
