//! How much each layer hurts: errors of its outputs at every option, and what they do to the whole model's loss.
//!
//! Stands beside `compress`, not below it: it measures whole models with `evaluate`. Knows no recipe file and no budget.
