//! Plain rounding to the nearest level, written as naively as can be: a twin that owes nothing to the engine.

use crate::memory::MemorySource;

/// Every linear layer of the blocks rounded to `bits`, asymmetric min-max, one scale for `group` inputs.
pub fn round_linears(weights: &MemorySource, bits: u32, group: usize) -> MemorySource {
    weights.map(|name, shape, values| {
        if name.contains("layers.") && shape.len() == 2 {
            for row in values.chunks_mut(shape[1]) {
                row.chunks_mut(group)
                    .for_each(|group| round_group(group, bits));
            }
        }
    })
}

/// One group: the range from the smallest to the largest value, 0 included, is cut into `2^bits - 1` equal steps.
pub fn round_group(values: &mut [f32], bits: u32) {
    let low = values.iter().copied().fold(0.0, f32::min);
    let high = values.iter().copied().fold(0.0, f32::max);
    if low == high {
        return;
    }
    let top = (2u32.pow(bits) - 1) as f32;
    let scale = (high - low) / top;
    let zero = (-low / scale).round();
    for value in values {
        let code = (*value / scale + zero).round().clamp(0.0, top);
        *value = scale * (code - zero);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_zero_are_kept_and_errors_stay_below_half_a_step() {
        let mut values = [-3.0, 0.0, 0.2, 2.4, 12.0];
        round_group(&mut values, 4);
        assert_eq!(values, [-3.0, 0.0, 0.0, 2.0, 12.0]);
    }
}
