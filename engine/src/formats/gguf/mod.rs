//! GGUF, llama.cpp's container: a model planned as one file (`plan`), written and opened again (`write`), from a finished run
//! or from any open model (`export`).
//!
//! Reading is `checkpoint::gguf`, whose tables of names both directions share; blocks are `ggml`.

mod container;
mod export;
mod fitted;
mod imatrix;
mod metadata;
mod plan;
mod run;
mod split;
pub(super) mod types;
mod verify;
mod vocabulary;
mod write;

pub use export::{GgufOptions, InputMoments, export_gguf, is_gguf_path};
pub use imatrix::write_imatrix;
pub use plan::{GgufPart, GgufPlan, check, plan};
pub(super) use run::{verify_run, write_run};

/// The file's name in a run folder.
pub const FILE_NAME: &str = "model.gguf";
