//! Products of packed weights of 2 to 8 bits with activations: as signed bytes (integer sums) or as f32.
//!
//! One form for all widths: unsigned codes times signed activations,
//! `y[t][n] = Σ_segments scale[n] * step[t] * (Σ code * a - zero[n] * Σ a)`.
//! Integer sums are exact on every instruction set and the f32 epilogue has one order, with fused multiply-adds where
//! `reference` says so; results are equal to the last bit on every instruction set and at any thread count.
//! Knows no layers: `packed` turns solved layers into `Panels`.

mod activations;
mod aligned;
mod layout;
mod panels;
pub mod reference;

pub use activations::{ActivationBits, ActivationScale, Activations};
pub use panels::{PanelShape, Panels};

/// Most tokens of a tile.
pub(crate) const TOKENS_OF_TILE: usize = 12;
/// Values that are worth another thread when they are only looked at once.
pub(crate) const WORTH_THREADS: usize = 1 << 16;

/// `output[token][row] = Σ_column weight * activation`, in the caller's rayon pool.
///
/// # Panics
/// If `output` is not `[tokens, rows]` or the activations were cut for another layout.
pub fn multiply_integer(output: &mut [f32], activations: &Activations, weights: &Panels) {
    let shape = weights.shape();
    assert_eq!(output.len(), activations.tokens() * shape.rows, "output");
    assert!(activations.fit(shape), "activations of another layout");
    let (codes, _, _) = weights.unpack();
    let groups = shape.groups();
    for tile in 0..activations.tiles().count() {
        let tile = activations.tile(tile);
        for lane in 0..tile.tokens {
            for row in 0..shape.rows {
                let mut total = 0.0f32;
                for (index, segment) in activations.segments().iter().enumerate() {
                    let mut products = 0;
                    for (offset, column) in segment.range().enumerate() {
                        let place = segment.first_unit * layout::UNIT + offset;
                        let quad = place / layout::QUAD * tile.tokens + lane;
                        let value = tile.values[quad * layout::QUAD + place % layout::QUAD];
                        products +=
                            i32::from(value) * i32::from(codes[row * shape.columns + column]);
                    }
                    let scale = panels::index_in_panels(groups, row, segment.group);
                    let (step, sum) = (
                        tile.steps[index * tile.tokens + lane],
                        tile.sums[index * tile.tokens + lane],
                    );
                    let centred = (-weights.zeros().at(scale)).mul_add(sum, products as f32);
                    total = (weights.scales().at(scale) * step).mul_add(centred, total);
                }
                output[(tile.first + lane) * shape.rows + row] = total;
            }
        }
    }
}

/// `output[token][row] = Σ_column weight * input` with `input` `[tokens, columns]` as it is, in the caller's rayon pool.
///
/// # Panics
/// If a slice does not fit its shape.
pub fn multiply_float(output: &mut [f32], input: &[f32], tokens: usize, weights: &Panels) {
    let shape = *weights.shape();
    assert_eq!(input.len(), tokens * shape.columns, "input");
    assert_eq!(output.len(), tokens * shape.rows, "output");
    let (codes, scales, zeros) = weights.unpack();
    let codes = reference::Codes {
        shape,
        codes: &codes,
        scales: &scales,
        zeros: &zeros,
    };
    reference::multiply_float(output, input, tokens, codes);
}

#[cfg(test)]
mod tests;
