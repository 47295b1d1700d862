//! `e^x` for single values, written so that loops over it become SIMD.

/// `e^x`: `2^k * e^r` with `|r| <= ln(2) / 2`, the second factor by its series.
///
/// Relative error below 3e-7; infinities saturate and NaN stays NaN. Separate multiplies and adds: the same bits on
/// every instruction set.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// `1.5 * 2^23`: adding it rounds to a whole number, which then stands in the low bits.
    const ROUNDER: f32 = 12_582_912.0;
    /// ln 2 in two parts; products of the first with whole numbers below 2^8 are exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUNDER;
    let whole = shifted - ROUNDER;
    let rest = x - whole * LN_2_HIGH - whole * LN_2_LOW;
    let mut series = 1.0 / 5040.0;
    for factor in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        series = series * rest + factor;
    }
    let power = (shifted.to_bits() << 23).wrapping_add(127 << 23);
    series * f32::from_bits(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_exact_to_f32_and_keeps_nan() {
        let mut x = -87.0f32;
        while x < 88.0 {
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 3e-7, "exp({x}): relative error {error}");
            x += 0.013;
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NEG_INFINITY) < 1e-37 && exp(f32::INFINITY) > 1e38);
        assert!(exp(f32::NAN).is_nan());
    }
}
