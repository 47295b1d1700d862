//! Tiles for x86: one file per instruction set.

pub(super) mod avx2;
mod codes256;
mod codes512;
pub(super) mod float256;
pub(super) mod float512;
pub(super) mod vnni256;
pub(super) mod vnni512;

/// Calls `$tile::<$bits, 1, W, S>($argument)` for the tokens at hand, at most four, with enough separate sums `S` to
/// hide the latency of a multiplication.
macro_rules! stream_of_tokens {
    ($tile:ident, $bits:literal, $argument:expr) => {
        match $argument.tokens {
            1 => $tile::<$bits, 1, 1, 4>($argument),
            2 => $tile::<$bits, 1, 2, 2>($argument),
            3 => $tile::<$bits, 1, 3, 1>($argument),
            _ => $tile::<$bits, 1, 4, 1>($argument),
        }
    };
}
use stream_of_tokens;
