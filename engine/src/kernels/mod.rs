//! (being written)
pub mod quantize;
