//! Activations and their slopes for single values, written so that loops over them become SIMD.
//!
//! Relative errors near 1e-7, as f32 allows; infinities saturate and NaN stays NaN.

use super::config::Activation;
use crate::kernels::exp;

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

/// The error function (Abramowitz and Stegun 1964, 7.1.26), absolute error 1.5e-7.
fn erf(x: f32) -> f32 {
    let size = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * size);
    let mut series = 1.061_405_4;
    for factor in [-1.453_152, 1.421_413_8, -0.284_496_74, 0.254_829_6] {
        series = series * t + factor;
    }
    (1.0 - series * t * exp(-size * size)).copysign(x)
}

const CUBIC: f32 = 0.044_715;
const ROOT_2_OVER_PI: f32 = 0.797_884_6;
const ROOT_1_OVER_TAU: f32 = 0.398_942_3;

impl Activation {
    /// The activation of one value.
    pub(super) fn value(self, x: f32) -> f32 {
        match self {
            Self::Silu => x * sigmoid(x),
            Self::GeluErf => 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2)),
            Self::GeluTanh => 0.5 * x * (1.0 + tanh(ROOT_2_OVER_PI * (x + CUBIC * x * x * x))),
            // Not `max`, which would drop a NaN.
            Self::Relu => {
                if x < 0.0 {
                    0.0
                } else {
                    x
                }
            }
        }
    }

    /// Its derivative.
    pub(super) fn slope(self, x: f32) -> f32 {
        match self {
            Self::Silu => {
                let share = sigmoid(x);
                share * (1.0 + x * (1.0 - share))
            }
            Self::GeluErf => {
                let below = 0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2));
                below + x * ROOT_1_OVER_TAU * exp(-0.5 * x * x)
            }
            Self::GeluTanh => {
                let bent = tanh(ROOT_2_OVER_PI * (x + CUBIC * x * x * x));
                let inner = ROOT_2_OVER_PI * (1.0 + 3.0 * CUBIC * x * x);
                0.5 * (1.0 + bent) + 0.5 * x * (1.0 - bent * bent) * inner
            }
            Self::Relu => f32::from(u8::from(x > 0.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_those_of_the_values() {
        use Activation::{GeluErf, GeluTanh, Relu, Silu};
        for kind in [Silu, GeluErf, GeluTanh, Relu] {
            assert!(kind.value(f32::NAN).is_nan());
            for step in -600..600 {
                let x = step as f32 / 100.0 + 0.003;
                let difference = (kind.value(x + 2e-3) - kind.value(x - 2e-3)) / 4e-3;
                let slope = kind.slope(x);
                assert!(
                    (difference - slope).abs() < 1e-3,
                    "{kind:?} at {x}: {difference} {slope}"
                );
            }
        }
    }
}
