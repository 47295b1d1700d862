//! What every verb is given: how the machine may be used, where things are kept, and who watches.
//!
//! Knows no verb.

use crate::cli::arguments::{Everywhere, InputFlags};
use crate::cli::failure::Failure;
use crate::cli::interrupt::StopFlag;
use crate::cli::printer::Printer;
use crate::cli::progress::Progress;
use crate::studio::{places, sample};
use pare_engine::session::{InputRounding, Session, SessionOptions};
use std::path::{Path, PathBuf};

/// What every verb is given.
#[derive(Debug)]
pub(super) struct Context {
    /// How sessions may use the machine.
    pub(super) options: SessionOptions,
    /// `--seed`, where it was named.
    pub(super) seed: Option<u64>,
    /// Where streamed answers go.
    pub(super) printer: Printer,
    /// Whether the person asked to stop.
    pub(super) stop: StopFlag,
    /// Who watches jobs.
    pub(super) progress: Progress,
}

/// A model that was opened, and whether the word `sample` named it.
#[derive(Debug)]
pub(super) struct Opened {
    /// The model.
    pub(super) session: Session,
    /// Whether it is the built-in sample.
    pub(super) is_sample: bool,
}

impl Context {
    /// The context that these flags ask for.
    pub(super) fn new(
        everywhere: &Everywhere,
        printer: Printer,
        stop: StopFlag,
    ) -> Result<Self, Failure> {
        let options = SessionOptions {
            threads: everywhere.threads,
            memory_bytes: everywhere.memory,
            cache_folder: cache_folder(everywhere.cache.as_deref())?,
            cache_capacity_bytes: places::CAPACITY_BYTES,
        };
        Ok(Self {
            options,
            seed: everywhere.seed,
            progress: Progress::new(stop.clone(), printer.clone()),
            printer,
            stop,
        })
    }

    /// The cache folder.
    pub(super) fn cache(&self) -> &Path {
        &self.options.cache_folder
    }

    /// Opens what MODEL names.
    pub(super) fn open(&self, model: &Path) -> Result<Opened, Failure> {
        let path = sample::model(model, self.cache())?;
        Ok(Opened {
            session: Session::open(&path, self.options.clone())?,
            is_sample: sample::is_word(model),
        })
    }

    /// The same with layers that round their inputs as asked.
    pub(super) fn open_rounding(
        &self,
        model: &Path,
        inputs: &InputFlags,
    ) -> Result<Opened, Failure> {
        let mut opened = self.open(model)?;
        if let Some(mode) = inputs.activations {
            let block = inputs.activation_block;
            opened.session.round_inputs(InputRounding { mode, block })?;
        }
        Ok(opened)
    }
}

/// The folder asked for, or the user's.
fn cache_folder(asked: Option<&Path>) -> Result<PathBuf, Failure> {
    match asked {
        Some(path) if path.as_os_str().is_empty() => Err(Failure::WrongUse(
            "--cache needs the path of a folder.".to_owned(),
        )),
        Some(path) => Ok(path.to_owned()),
        None => Ok(places::cache_folder()),
    }
}
