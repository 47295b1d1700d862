//! What the tests and the tools that make test models share.
//!
//! Tests of one engine module live beside it; here stands what needs several modules, whole models or the source tree.

#![allow(clippy::disallowed_methods)] // Tools and tests write plain files, some of them broken on purpose.

pub mod checkpoint;
pub mod grammar;
pub mod ladder;
pub mod memory;
pub mod rtn;
pub mod sample;
pub mod sessions;
pub mod tokenizer;
pub mod train;
