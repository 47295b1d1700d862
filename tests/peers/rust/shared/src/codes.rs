//! Codes of f32 weights, by the plain methods: nearest code, the scale from the extremes.

/// Unsigned codes with a scale and a zero for each group of columns.
pub struct Codes {
    /// `[rows, columns]`.
    pub codes: Vec<u8>,
    /// `[rows, groups]`.
    pub scales: Vec<f32>,
    /// `[rows, groups]`.
    pub zeros: Vec<f32>,
}

/// Whether codes lie around a zero in the middle or span what is there.
#[derive(Clone, Copy, PartialEq)]
pub enum Span {
    /// The zero is the middle code.
    Symmetric,
    /// The zero is a code of its own for each group.
    Asymmetric,
}

/// Rounds `weights` to `bits`, with one scale for each `group` columns.
pub fn round(weights: &[f32], group: usize, bits: u32, span: Span) -> Codes {
    let largest = f32::from((1u16 << bits) - 1);
    let groups = weights.len() / group;
    let mut codes = Codes {
        codes: Vec::with_capacity(weights.len()),
        scales: Vec::with_capacity(groups),
        zeros: Vec::with_capacity(groups),
    };
    for values in weights.chunks(group) {
        let (scale, zero) = match span {
            Span::Symmetric => {
                let magnitude = values.iter().fold(0f32, |most, v| most.max(v.abs()));
                let middle = (largest + 1.0) / 2.0;
                (magnitude / (middle - 1.0), middle)
            }
            Span::Asymmetric => {
                let low = values.iter().fold(0f32, |least, &v| least.min(v));
                let high = values.iter().fold(0f32, |most, &v| most.max(v));
                let scale = (high - low) / largest;
                (scale, (-low / scale).round())
            }
        };
        // Scales are f16 in every format that is compared.
        let scale = f16(scale);
        codes.scales.push(scale);
        codes.zeros.push(zero);
        let code = |v: &f32| (v / scale + zero).round().clamp(0.0, largest) as u8;
        codes.codes.extend(values.iter().map(code));
    }
    codes
}

/// The nearest value with the ten bits of fraction that f16 has; weights here are far from its limits.
fn f16(value: f32) -> f32 {
    const DROPPED: u32 = 13;
    let half = 1 << (DROPPED - 1);
    f32::from_bits((value.to_bits() + half) >> DROPPED << DROPPED)
}
