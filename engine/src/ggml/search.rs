//! The searches for a block's scale that llama.cpp makes, eight blocks side by side.
//!
//! Each lane is one block and goes through exactly the operations of the scalar loop, in the same order, so that the result
//! is the same bit for bit whatever the width of the machine's vectors. Formulas: methods of `make_qx_quants`,
//! `make_qkx2_quants` and `make_qkx3_quants` of ggml-quants.c. Knows no layout.

/// Blocks side by side.
pub(super) const LANES: usize = 8;

/// One value of each block.
pub(super) type Lanes = [f32; LANES];

/// Below this the largest value of a block counts as zero.
const ALL_ZERO: f32 = 1e-15;

/// Adding this to a small float leaves its nearest integer in the last bits (ties to even).
const ROUNDING: f32 = 12_582_912.0;

/// `values` of up to eight blocks of `N` values, turned so that lanes lie together; lanes that are not there are zero.
pub(super) fn side_by_side<const N: usize>(values: &[f32]) -> [Lanes; N] {
    let mut turned = [[0.0; LANES]; N];
    for (lane, block) in values.chunks_exact(N).take(LANES).enumerate() {
        for (row, &value) in turned.iter_mut().zip(block) {
            row[lane] = value;
        }
    }
    turned
}

/// Rounds to the nearest integer, ties to even; anything out of range gives some integer, as in ggml.
pub(super) fn nearest(value: f32) -> i32 {
    ((value + ROUNDING).to_bits() & 0x007f_ffff) as i32 - 0x0040_0000
}

/// `nearest(value)` held between two bounds, as a float. NaN gives the lower bound or a value between.
#[inline(always)]
fn held(value: f32, low: f32, high: f32) -> f32 {
    let rounded = (value + ROUNDING) - ROUNDING;
    let raised = if rounded > low { rounded } else { low };
    if raised < high { raised } else { high }
}

/// What a search with a least value found: `x` is about `scale * code - min`.
pub(super) struct WithMin {
    pub(super) scale: Lanes,
    /// How far below zero the least value lies.
    pub(super) min: Lanes,
    /// The codes of the search are `nearest(inverse * (x - origin))`.
    inverse: Lanes,
    origin: Lanes,
    levels: f32,
}

impl WithMin {
    /// The code that the search gave a value of block `lane`.
    pub(super) fn code(&self, lane: usize, value: f32) -> u8 {
        held(
            self.inverse[lane] * (value - self.origin[lane]),
            0.0,
            self.levels,
        ) as u8
    }
}

/// How far a search with a least value goes.
pub(super) struct Range {
    /// The largest code.
    pub(super) levels: f32,
    /// The first number of levels tried, from `levels` on.
    pub(super) first: f32,
    /// From one try to the next.
    pub(super) step: f32,
    /// Tries after the first.
    pub(super) tries: usize,
}

/// The search that weighs errors by the importance of inputs.
pub(super) const fn thorough(levels: f32) -> Range {
    Range {
        levels,
        first: -0.9,
        step: 0.05,
        tries: 36,
    }
}

/// Scale and least value with the smallest weighted error: of its square, or of its amount where `ABSOLUTE`.
pub(super) fn with_min<const N: usize, const ABSOLUTE: bool>(
    values: &[Lanes; N],
    weights: &[Lanes; N],
    range: &Range,
) -> WithMin {
    let Sums {
        mut min,
        max,
        weight,
        weighted,
    } = Sums::of(values, weights);
    let levels = range.levels;
    let flat: [bool; LANES] = std::array::from_fn(|lane| max[lane] <= min[lane]);
    let mut inverse: Lanes = std::array::from_fn(|lane| levels / (max[lane] - min[lane]));
    let mut scale: Lanes = inverse.map(|inverse| 1.0 / inverse);
    let mut origin = min;
    let mut codes = [[0.0; LANES]; N];
    fill(&mut codes, values, &inverse, &min, levels);
    let mut best = error::<N, ABSOLUTE>(values, weights, &codes, &scale, &min);
    for attempt in 0..=range.tries {
        let wanted = range.first + range.step * attempt as f32 + levels;
        let tried: Lanes = std::array::from_fn(|lane| wanted / (max[lane] - min[lane]));
        fill(&mut codes, values, &tried, &min, levels);
        let fit = Fit::of(values, weights, &codes, &weight, &weighted);
        let found = error::<N, ABSOLUTE>(values, weights, &codes, &fit.scale, &fit.min);
        for lane in 0..LANES {
            if fit.exists[lane] && found[lane] < best[lane] {
                best[lane] = found[lane];
                inverse[lane] = tried[lane];
                origin[lane] = min[lane];
                scale[lane] = fit.scale[lane];
                min[lane] = fit.min[lane];
            }
        }
    }
    for lane in 0..LANES {
        if flat[lane] {
            (scale[lane], inverse[lane]) = (0.0, 0.0);
            min[lane] = origin[lane];
        }
    }
    WithMin {
        scale,
        min: min.map(|min| -min),
        inverse,
        origin,
        levels,
    }
}

/// What the search knows of a block before it starts.
struct Sums {
    min: Lanes,
    max: Lanes,
    weight: Lanes,
    weighted: Lanes,
}

impl Sums {
    fn of<const N: usize>(values: &[Lanes; N], weights: &[Lanes; N]) -> Self {
        let mut sums = Self {
            min: values[0],
            max: values[0],
            weight: weights[0],
            weighted: std::array::from_fn(|lane| weights[0][lane] * values[0][lane]),
        };
        for (value, weight) in values.iter().zip(weights).skip(1) {
            for lane in 0..LANES {
                let (x, w) = (value[lane], weight[lane]);
                sums.min[lane] = if x < sums.min[lane] {
                    x
                } else {
                    sums.min[lane]
                };
                sums.max[lane] = if x > sums.max[lane] {
                    x
                } else {
                    sums.max[lane]
                };
                sums.weight[lane] += w;
                sums.weighted[lane] += w * x;
            }
        }
        for min in &mut sums.min {
            *min = if *min > 0.0 { 0.0 } else { *min };
        }
        sums
    }
}

#[inline(always)]
fn fill<const N: usize>(
    codes: &mut [Lanes; N],
    values: &[Lanes; N],
    inverse: &Lanes,
    min: &Lanes,
    levels: f32,
) {
    for (code, value) in codes.iter_mut().zip(values) {
        for lane in 0..LANES {
            code[lane] = held(inverse[lane] * (value[lane] - min[lane]), 0.0, levels);
        }
    }
}

#[inline(always)]
fn error<const N: usize, const ABSOLUTE: bool>(
    values: &[Lanes; N],
    weights: &[Lanes; N],
    codes: &[Lanes; N],
    scale: &Lanes,
    min: &Lanes,
) -> Lanes {
    let mut sum = [0.0; LANES];
    for ((value, weight), code) in values.iter().zip(weights).zip(codes) {
        for lane in 0..LANES {
            let difference = scale[lane] * code[lane] + min[lane] - value[lane];
            let cost = if ABSOLUTE {
                difference.abs()
            } else {
                difference * difference
            };
            sum[lane] += weight[lane] * cost;
        }
    }
    sum
}

/// The weighted least squares of `scale * code + min` for given codes; a least value above zero is not allowed.
struct Fit {
    scale: Lanes,
    min: Lanes,
    exists: [bool; LANES],
}

impl Fit {
    #[inline(always)]
    fn of<const N: usize>(
        values: &[Lanes; N],
        weights: &[Lanes; N],
        codes: &[Lanes; N],
        weight: &Lanes,
        weighted: &Lanes,
    ) -> Self {
        let (mut ones, mut squares, mut products) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        for ((value, weight), code) in values.iter().zip(weights).zip(codes) {
            for lane in 0..LANES {
                let part = weight[lane] * code[lane];
                ones[lane] += part;
                squares[lane] += part * code[lane];
                products[lane] += part * value[lane];
            }
        }
        let mut fit = Self {
            scale: [0.0; LANES],
            min: [0.0; LANES],
            exists: [false; LANES],
        };
        for lane in 0..LANES {
            let (one, square, product) = (ones[lane], squares[lane], products[lane]);
            let determinant = weight[lane] * square - one * one;
            fit.exists[lane] = determinant > 0.0;
            fit.scale[lane] = (weight[lane] * product - weighted[lane] * one) / determinant;
            fit.min[lane] = (square * weighted[lane] - one * product) / determinant;
            if fit.min[lane] > 0.0 {
                fit.min[lane] = 0.0;
                fit.scale[lane] = product / square;
            }
        }
        fit
    }
}

/// What a search around zero found: `x` is about `scale * (code - half)`.
pub(super) struct Symmetric {
    pub(super) scale: Lanes,
    inverse: Lanes,
    zero: [bool; LANES],
    half: f32,
}

impl Symmetric {
    /// The code that the search gave a value of block `lane`: 0 to `2 half - 1`; of a block of zeros, 0.
    pub(super) fn code(&self, lane: usize, value: f32) -> u8 {
        if self.zero[lane] {
            return 0;
        }
        (held(self.inverse[lane] * value, -self.half, self.half - 1.0) + self.half) as u8
    }
}

/// The scale with the smallest weighted square error among codes from `-half` to `half - 1`.
pub(super) fn symmetric<const N: usize>(
    values: &[Lanes; N],
    weights: &[Lanes; N],
    half: f32,
) -> Symmetric {
    let (mut largest, mut amount) = ([0.0; LANES], [0.0; LANES]);
    for value in values {
        for lane in 0..LANES {
            let found = value[lane].abs();
            if found > amount[lane] {
                (amount[lane], largest[lane]) = (found, value[lane]);
            }
        }
    }
    let zero = amount.map(|amount| amount < ALL_ZERO);
    let mut inverse: Lanes = largest.map(|largest| -half / largest);
    let (products, squares) = projections(values, weights, &inverse, half);
    let mut scale: Lanes = std::array::from_fn(|lane| match squares[lane] {
        0.0 => 0.0,
        square => products[lane] / square,
    });
    let mut best: Lanes = std::array::from_fn(|lane| scale[lane] * products[lane]);
    for attempt in (-9i8..=9).filter(|&attempt| attempt != 0) {
        let wanted = -(half + 0.1 * f32::from(attempt));
        let tried: Lanes = largest.map(|largest| wanted / largest);
        let (products, squares) = projections(values, weights, &tried, half);
        for lane in 0..LANES {
            let (product, square) = (products[lane], squares[lane]);
            if square > 0.0 && product * product > best[lane] * square {
                inverse[lane] = tried[lane];
                scale[lane] = product / square;
                best[lane] = scale[lane] * product;
            }
        }
    }
    for lane in 0..LANES {
        scale[lane] = if zero[lane] { 0.0 } else { scale[lane] };
    }
    Symmetric {
        scale,
        inverse,
        zero,
        half,
    }
}

/// Weighted sums of value times code, and of code squared.
#[inline(always)]
fn projections<const N: usize>(
    values: &[Lanes; N],
    weights: &[Lanes; N],
    inverse: &Lanes,
    half: f32,
) -> (Lanes, Lanes) {
    let (mut products, mut squares) = ([0.0; LANES], [0.0; LANES]);
    for (value, weight) in values.iter().zip(weights) {
        for lane in 0..LANES {
            let code = held(inverse[lane] * value[lane], -half, half - 1.0);
            products[lane] += weight[lane] * value[lane] * code;
            squares[lane] += weight[lane] * code * code;
        }
    }
    (products, squares)
}
