//! Every operation of the lanes against plain floats, on every instruction set here.

use super::*;
use crate::kernels::dispatch::same_on_every_instruction_set;

/// Every operation once, on values of all sizes.
struct Everything<'a> {
    left: &'a [f32; LANES],
    right: &'a [f32; LANES],
}

impl OverLanes for Everything<'_> {
    type Output = (Vec<[u32; LANES]>, [u16; LANES], u32);

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let (left, right) = (lanes.load(self.left), lanes.load(self.right));
        let mut half = [f16::ZERO; LANES];
        lanes.store_f16(left, &mut half);
        let brain = self.right.map(bf16::from_f32);
        let codes = self.left.map(|value| value as i8);
        let names = lanes.load_codes(&self.right.map(f32::to_bits));
        let levels = lanes.load_levels(self.left);
        let vectors = [
            lanes.splat(self.left[3]),
            lanes.add(left, right),
            lanes.multiply_add(left, right, lanes.splat(0.1)),
            lanes.load_f16(&half),
            lanes.load_bf16(&brain),
            lanes.load_i8(&codes),
            lanes.multiply(left, right),
            lanes.level(levels, names, 0),
            lanes.level(levels, names, 3),
            lanes.level(levels, names, 7),
            lanes.signed_byte(names, 0),
            lanes.signed_byte(names, 3),
        ];
        let bits = vectors.map(|vector| {
            let mut values = [0.0; LANES];
            lanes.store(vector, &mut values);
            values.map(f32::to_bits)
        });
        let sum = lanes.sum(left).to_bits();
        (bits.to_vec(), half.map(f16::to_bits), sum)
    }
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    for scale in [1e-42, 1e-8, 1e-5, 1.0, 37.0, 3e4, 1e30] {
        let values = |seed: f32| std::array::from_fn(|lane| (lane as f32 * seed).sin() * scale);
        let (left, right) = (values(0.7), values(1.3));
        same_on_every_instruction_set(|| {
            with_lanes(Everything {
                left: &left,
                right: &right,
            })
        });
    }
}

#[test]
fn lanes_are_added_in_pairs() {
    let mut left = [0.0; LANES];
    left[0] = 1e8;
    left[8] = -1e8;
    left[1] = 1.0;
    let work = Everything {
        left: &left,
        right: &left,
    };
    assert_eq!(f32::from_bits(with_lanes(work).2), 1.0);
}
