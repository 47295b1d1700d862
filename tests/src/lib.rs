//! What the tests and the tools that make test models share.
//!
//! Tests of one engine module live beside it; here stands what needs several modules, whole models or the source tree.

pub mod ladder;
