//! Tiles for x86: one file per instruction set.

pub(super) mod avx2;
pub(super) mod codes256;
pub(super) mod codes512;
pub(super) mod float256;
pub(super) mod float512;
pub(super) mod vnni256;
pub(super) mod vnni512;

/// Calls `$tile::<$bits, W, S>($argument)` for the tokens at hand, at most four, with enough separate sums `S` to
/// hide the latency of a multiplication.
macro_rules! stream_of_tokens {
    ($tile:ident, $bits:literal, $argument:expr) => {
        match $argument.tokens {
            1 => $tile::<$bits, 1, 4>($argument),
            2 => $tile::<$bits, 2, 2>($argument),
            3 => $tile::<$bits, 3, 1>($argument),
            _ => $tile::<$bits, 4, 1>($argument),
        }
    };
}
pub(super) use stream_of_tokens;

/// `$body` for each quad of a unit, with `$quad` a constant: shifts by it become immediate.
macro_rules! for_each_quad {
    ($quad:ident, $body:block) => {
        for_each_quad!(@ $quad, $body, 0 1 2 3 4 5 6 7)
    };
    (@ $quad:ident, $body:block, $($index:literal)*) => {
        $({
            const $quad: usize = $index;
            $body
        })*
    };
}
use for_each_quad;
