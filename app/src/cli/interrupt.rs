//! Ctrl-C: the first asks the work to stop, the second ends the program at once.
//!
//! Knows no work; jobs poll the flag through their observer and leave what they finished.

use crate::cli::STOPPED;
use crate::cli::failure::Failure;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the person asked to stop. Clones share one flag.
#[derive(Debug, Clone, Default)]
pub(super) struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// A flag that Ctrl-C raises from now on.
    pub(super) fn on_interrupt() -> Result<Self, Failure> {
        let flag = Self::default();
        let raised = flag.clone();
        ctrlc::set_handler(move || raised.raise_or_exit())
            .map_err(|error| Failure::Failed(format!("Ctrl-C cannot be watched: {error}.")))?;
        Ok(flag)
    }

    /// Whether to stop.
    pub(super) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "who presses twice wants out now; files get their names only once they are complete"
    )]
    fn raise_or_exit(&self) {
        if self.0.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(STOPPED));
        }
    }
}
