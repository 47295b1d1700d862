//! Element types: what a checkpoint may hold, and how scales are stored.
//!
//! Knows no values beyond rounding one to what a dtype can hold.

use std::fmt;

/// Element types that a checkpoint may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Dtype {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
}

impl Dtype {
    /// Bytes of one element.
    pub fn size_bytes(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Whether values are floating point, so that the tensor can be compressed.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16)
    }

    /// Rounds `values` to what this float dtype holds; what is too large for it becomes the largest.
    pub fn snap(self, values: &mut [f32]) {
        let snap: fn(f32) -> f32 = match self {
            Self::F16 => |value| {
                let largest = half::f16::MAX.to_f32();
                half::f16::from_f32(value.clamp(-largest, largest)).to_f32()
            },
            Self::BF16 => |value| {
                let largest = half::bf16::MAX.to_f32();
                half::bf16::from_f32(value.clamp(-largest, largest)).to_f32()
            },
            _ => return,
        };
        values.iter_mut().for_each(|value| *value = snap(*value));
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::I16 => "i16",
            Self::I8 => "i8",
            Self::U64 => "u64",
            Self::U32 => "u32",
            Self::U16 => "u16",
            Self::U8 => "u8",
            Self::Bool => "bool",
        };
        formatter.write_str(name)
    }
}

/// The dtype in which scales (and fractional zeros) are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScaleDtype {
    /// IEEE half precision.
    F16,
    /// bfloat16.
    BF16,
    /// IEEE single precision.
    F32,
}

impl fmt::Display for ScaleDtype {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::F32 => "f32",
        })
    }
}

impl ScaleDtype {
    /// Bytes of one stored scale.
    pub fn size_bytes(self) -> usize {
        match self {
            Self::F16 | Self::BF16 => 2,
            Self::F32 => 4,
        }
    }

    /// `value` as it will be read back, rounded to nearest.
    pub fn snap(self, value: f32) -> f32 {
        match self {
            Self::F16 => half::f16::from_f32(value).to_f32(),
            Self::BF16 => half::bf16::from_f32(value).to_f32(),
            Self::F32 => value,
        }
    }

    /// A positive scale as it will be read back: never 0, never infinite.
    ///
    /// Same values as `snap`, written without branches on the value so that searches over scales vectorize.
    #[inline]
    pub fn snap_scale(self, scale: f32) -> f32 {
        match self {
            Self::F16 => {
                /// Below this, half precision is a fixed-point format of step `2^-24`.
                const LEAST_NORMAL: f32 = 1.0 / 16_384.0;
                const LEAST: f32 = 1.0 / 16_777_216.0;
                let scale = scale.clamp(LEAST, 65_504.0);
                // Numbers in [0.5, 1) are 2^-24 apart, so the sum is rounded there.
                let fixed_point = (scale + 0.5) - 0.5;
                if scale < LEAST_NORMAL {
                    fixed_point
                } else {
                    round_mantissa::<13>(scale)
                }
            }
            Self::BF16 => {
                const LARGEST: f32 = f32::from_bits(0x7f7f_0000);
                round_mantissa::<16>(scale.clamp(f32::MIN_POSITIVE, LARGEST))
            }
            Self::F32 => scale.clamp(f32::MIN_POSITIVE, f32::MAX),
        }
    }
}

/// `value` (positive, finite) without its lowest `DROPPED` mantissa bits, rounded to nearest, ties to even.
#[inline]
fn round_mantissa<const DROPPED: u32>(value: f32) -> f32 {
    let bits = value.to_bits();
    let odd = (bits >> DROPPED) & 1;
    let rounded = bits + ((1 << (DROPPED - 1)) - 1) + odd;
    f32::from_bits(rounded & !((1 << DROPPED) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_snap_as_the_stored_type_rounds() {
        for dtype in [ScaleDtype::F16, ScaleDtype::BF16, ScaleDtype::F32] {
            for bits in (0..0x7f80_0000u32).step_by(10_007) {
                let value = f32::from_bits(bits);
                let snapped = dtype.snap_scale(value);
                let plain = dtype.snap(value);
                assert!(snapped > 0.0 && snapped.is_finite(), "{dtype:?} {value}");
                assert_eq!(dtype.snap(snapped), snapped, "{dtype:?} {value}");
                if plain.is_normal() {
                    assert_eq!(snapped, plain, "{dtype:?} {value}");
                }
            }
            assert!(dtype.snap_scale(0.0) > 0.0);
            assert!(dtype.snap_scale(f32::INFINITY).is_finite());
        }
    }

    #[test]
    fn every_half_subnormal_and_every_tie_between_halves_is_right() {
        for bits in 1..0x7bffu16 {
            let (lower, upper) = (
                half::f16::from_bits(bits).to_f32(),
                half::f16::from_bits(bits + 1).to_f32(),
            );
            let tie = (lower + upper) / 2.0;
            assert_eq!(ScaleDtype::F16.snap_scale(lower), lower);
            let expected = ScaleDtype::F16.snap(tie);
            assert_eq!(
                ScaleDtype::F16.snap_scale(tie),
                expected,
                "tie above {lower}"
            );
        }
    }
}
