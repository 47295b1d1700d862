//! What the layout of bitsandbytes has no place for.

use crate::solved::Method;

/// Weights per maximum that bitsandbytes multiplies with on every device.
pub const BLOCKS: [usize; 7] = [64, 128, 256, 512, 1024, 2048, 4096];

/// Why this layout cannot hold a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Anything but NF4.
    #[error("bnb-nf4 holds layers of method nf4, not {}", .0.word())]
    Method(Method),
    /// Factors.
    #[error("bnb-nf4 has no place for factors")]
    Factors,
    /// A block that does not divide the inputs, or that bitsandbytes does not know.
    #[error(
        "bnb-nf4 holds blocks of 64, 128, 256, 512, 1024, 2048 or 4096 that divide the {columns} inputs, not {block}"
    )]
    Block {
        /// Weights per maximum.
        block: usize,
        /// Inputs.
        columns: usize,
    },
}

/// Why this layout cannot hold a layer of blocks solved by `method`, if it cannot.
pub fn unfit(method: Method, block: usize, columns: usize) -> Option<Unfit> {
    if method != Method::Nf4 {
        Some(Unfit::Method(method))
    } else if !BLOCKS.contains(&block) || !columns.is_multiple_of(block) {
        Some(Unfit::Block { block, columns })
    } else {
        None
    }
}

/// The largest block not above `block` that the layout holds for this many inputs, or else 64. `None` where none divides
/// the inputs.
pub fn nearest_block(block: usize, columns: usize) -> Option<usize> {
    let mut fitting = BLOCKS
        .into_iter()
        .filter(|&known| columns.is_multiple_of(known));
    let smallest = fitting.clone().next();
    fitting.rfind(|&known| known <= block).or(smallest)
}
