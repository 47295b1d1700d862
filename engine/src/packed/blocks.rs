//! Blocks of ggml inside a model: their type, and the order in which llama.cpp's converters lay rows.
//!
//! Knows no names of tensors and no file.

use crate::ggml::GgmlType;

/// How the blocks of a tensor lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks {
    /// Their type.
    pub kind: GgmlType,
    /// Their order.
    pub order: Order,
}

/// What a converter does to a tensor on the way from transformers to llama.cpp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// Nothing.
    None,
    /// Rows of each query head: the two halves, which rotary attention turns together, become neighbours.
    QueryRows,
    /// The same of key heads.
    KeyRows,
    /// Query, key and value of each head become all queries, all keys, all values.
    StackedHeads,
    /// 1 is added.
    PlusOne,
    /// `[in, out]` becomes `[out, in]`.
    Transposed,
}

/// What lies otherwise than in transformers, and among how many heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// The converter's change.
    pub change: Change,
    /// Heads that it goes through.
    pub heads: usize,
}

impl Order {
    /// The row of a GGUF tensor of `rows` rows that is row `row` in transformers.
    pub fn stored_row(self, row: usize, rows: usize) -> usize {
        match self.change {
            Change::QueryRows | Change::KeyRows => {
                let width = rows / self.heads;
                let (head, channel) = (row / width, row % width);
                let (half, pair) = (channel / (width / 2), channel % (width / 2));
                head * width + 2 * pair + half
            }
            Change::StackedHeads => {
                let width = rows / self.heads / 3;
                let (head, part, channel) = (row / (3 * width), row / width % 3, row % width);
                (part * self.heads + head) * width + channel
            }
            Change::None | Change::PlusOne | Change::Transposed => row,
        }
    }

    /// Whether `rows` rows can be put in this order.
    pub fn fits(self, rows: usize) -> bool {
        let parts = match self.change {
            Change::QueryRows | Change::KeyRows => 2,
            Change::StackedHeads => 3,
            _ => return true,
        };
        let heads = self.heads.checked_mul(parts);
        heads.is_some_and(|heads| heads > 0 && rows.is_multiple_of(heads))
    }

    /// Whether both put a tensor in the same order.
    pub fn agrees(self, other: Self) -> bool {
        self.change == other.change && (!self.moves_rows() || self.heads == other.heads)
    }

    /// Whether rows lie in another order.
    pub fn moves_rows(self) -> bool {
        matches!(
            self.change,
            Change::QueryRows | Change::KeyRows | Change::StackedHeads
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_a_permutation() {
        for (change, heads, rows) in [
            (Change::QueryRows, 4, 32),
            (Change::KeyRows, 2, 12),
            (Change::StackedHeads, 4, 36),
            (Change::None, 0, 5),
        ] {
            let order = Order { change, heads };
            assert!(order.fits(rows));
            let mut seen: Vec<usize> = (0..rows).map(|row| order.stored_row(row, rows)).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..rows).collect::<Vec<_>>(), "{change:?}");
        }
        let order = Order {
            change: Change::QueryRows,
            heads: 1,
        };
        let stored: Vec<usize> = (0..4).map(|row| order.stored_row(row, 4)).collect();
        assert_eq!(stored, [0, 2, 1, 3], "halves become neighbours");
        assert!(!order.fits(3));
    }
}
