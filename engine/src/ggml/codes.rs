//! Blocks seen as grids: `value = scale code + offset` for each few values, so that a solver can choose other codes for the
//! scales that a search found.
//!
//! Knows layouts through each type's own file. IQ4_NL has levels instead of a grid, and floats have no codes.

use super::{GgmlType, legacy, q2_k, q3_k, q4_k, q5_k, q6_k, super_block};

/// A row of blocks as a grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Unpacked {
    /// Codes from 0 on.
    pub codes: Vec<u8>,
    /// Scale and offset of each `share` values.
    pub steps: Vec<(f32, f32)>,
}

/// Bits of a code, and values that share a scale; `None` of types that are no grids.
pub fn grid_of(kind: GgmlType) -> Option<(u8, usize)> {
    Some(match kind {
        GgmlType::Q8_0 => (8, 32),
        GgmlType::Q4_0 | GgmlType::Q4_1 | GgmlType::Q4_K => (4, 32),
        GgmlType::Q5_0 | GgmlType::Q5_1 | GgmlType::Q5_K => (5, 32),
        GgmlType::Q2_K => (2, 16),
        GgmlType::Q3_K => (3, 16),
        GgmlType::Q6_K => (6, 16),
        GgmlType::F32 | GgmlType::F16 | GgmlType::BF16 | GgmlType::IQ4_NL => return None,
    })
}

/// Codes and steps of a row of blocks of a type that `grid_of` knows.
pub fn unpack_row(kind: GgmlType, bytes: &[u8]) -> Unpacked {
    let mut row = Unpacked {
        codes: Vec::new(),
        steps: Vec::new(),
    };
    for block in bytes.chunks_exact(kind.block_bytes()) {
        let with_min = |(scale, min): (f32, f32)| (scale, -min);
        match kind {
            GgmlType::Q2_K => {
                row.codes.extend(q2_k::unpack_twos(&block[16..80]));
                row.steps
                    .extend((0..16).map(|share| with_min(q2_k::steps(block, share))));
            }
            GgmlType::Q3_K => {
                row.codes.extend(q3_k::codes_of(block));
                row.steps
                    .extend((0..16).map(|share| around(q3_k::step(block, share), 4.0)));
            }
            GgmlType::Q4_K => {
                row.codes.extend(q4_k::codes_of(block));
                row.steps
                    .extend((0..8).map(|share| with_min(super_block::steps(block, share))));
            }
            GgmlType::Q5_K => {
                row.codes.extend(q5_k::codes_of(block));
                row.steps
                    .extend((0..8).map(|share| with_min(super_block::steps(block, share))));
            }
            GgmlType::Q6_K => {
                row.codes.extend(q6_k::stored_codes(block));
                row.steps
                    .extend((0..16).map(|share| around(q6_k::step(block, share), 32.0)));
            }
            _ => {
                let (step, codes) = legacy::unpack(kind, block);
                row.codes.extend(codes);
                row.steps.push(step);
            }
        }
    }
    row
}

fn around(scale: f32, half: f32) -> (f32, f32) {
    (scale, -half * scale)
}

/// Puts codes in place of those of a row of blocks; scales stay.
///
/// # Panics
/// If there are not as many codes as the row has values.
pub fn replace_codes(kind: GgmlType, codes: &[u8], bytes: &mut [u8]) {
    assert_eq!(kind.bytes_of(codes.len() as u64), Some(bytes.len() as u64));
    let blocks = bytes.chunks_exact_mut(kind.block_bytes());
    for (block, codes) in blocks.zip(codes.chunks_exact(kind.block_values())) {
        if let Some(codes) = codes.first_chunk::<{ super_block::VALUES }>() {
            match kind {
                GgmlType::Q2_K => q2_k::pack_twos(codes, &mut block[16..80]),
                GgmlType::Q3_K => q3_k::put_codes(codes, block),
                GgmlType::Q4_K => q4_k::put_codes(codes, block),
                GgmlType::Q5_K => q5_k::put_codes(codes, block),
                _ => q6_k::put_codes(codes, block),
            }
        } else if let Some(codes) = codes.first_chunk::<32>() {
            legacy::replace(kind, codes, block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{decode, encode};
    use super::*;

    #[test]
    fn a_row_is_its_codes_and_steps() {
        let values: Vec<f32> = (0..512)
            .map(|at| ((at * 37 % 101) as f32 - 40.0) / 50.0)
            .collect();
        for kind in GgmlType::ALL {
            let Some((bits, share)) = grid_of(kind) else {
                continue;
            };
            let mut bytes = encode(kind, 512, &values, None);
            let row = unpack_row(kind, &bytes);
            assert_eq!(
                (row.codes.len(), row.steps.len()),
                (512, 512 / share),
                "{kind}"
            );
            assert!(
                row.codes.iter().all(|code| u32::from(*code) < 1 << bits),
                "{kind}"
            );
            let mut decoded = vec![0.0; 512];
            decode(kind, &bytes, &mut decoded);
            for (place, value) in decoded.iter().enumerate() {
                let (scale, offset) = row.steps[place / share];
                let found = scale * f32::from(row.codes[place]) + offset;
                assert!(
                    (found - value).abs() < 1e-5,
                    "{kind} {place}: {found} and {value}"
                );
            }
            let before = bytes.clone();
            replace_codes(kind, &row.codes, &mut bytes);
            assert!(bytes == before, "{kind}: the same codes are the same bytes");
            let turned: Vec<u8> = row.codes.iter().map(|code| code ^ 1).collect();
            replace_codes(kind, &turned, &mut bytes);
            assert_eq!(unpack_row(kind, &bytes).codes, turned, "{kind}");
            assert_eq!(unpack_row(kind, &bytes).steps, row.steps, "{kind}");
        }
    }
}
