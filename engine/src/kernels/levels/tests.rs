//! Products over levels against their slow twin, on every instruction set here.

use super::*;
use crate::kernels::dispatch::same_on_every_instruction_set;
use crate::kernels::reference;
use crate::kernels::slabs::FEW;

/// Small integers: sums are exact in any order.
fn integers(len: usize, seed: usize) -> Vec<f32> {
    (0..len)
        .map(|index| ((index * 7 + seed * 13) % 11) as f32 - 5.0)
        .collect()
}

fn whole_levels() -> [f32; 16] {
    std::array::from_fn(|code| code as f32 - 7.0)
}

struct Case {
    shape: LevelShape,
    codes: Vec<u8>,
    scales: Vec<f32>,
}

impl Case {
    fn new(rows: usize, columns: usize, block: usize) -> Self {
        let shape = LevelShape {
            rows,
            columns,
            block,
        };
        let codes = (0..rows * columns).map(|index| (index * 5 % 16) as u8);
        let scales = (0..rows * shape.blocks()).map(|index| (index % 5) as f32 - 1.0);
        Self {
            shape,
            codes: codes.collect(),
            scales: scales.collect(),
        }
    }

    fn pack(&self, levels: &[f32; 16]) -> LevelPanels {
        let levels = Levels {
            values: &[*levels],
            rows: 0,
        };
        LevelPanels::pack(self.shape, levels, &self.codes, &self.scales)
    }
}

/// Shapes around the edges of panels, blocks and lines.
fn every_case(mut check: impl FnMut(Case)) {
    for (columns, block) in [
        (0, 64),
        (1, 64),
        (7, 8),
        (8, 8),
        (9, 8),
        (13, 5),
        (63, 64),
        (64, 64),
        (65, 64),
        (200, 64),
        (130, 32),
        (515, 256),
        (70, 1000),
    ] {
        for rows in [0, 1, 15, 16, 17, 33] {
            check(Case::new(rows, columns, block));
        }
    }
}

#[test]
fn equals_its_slow_twin_around_tile_edges() {
    every_case(|case| {
        let levels = whole_levels();
        let weights = case.pack(&levels);
        let shape = case.shape;
        for tokens in [0, 1, 2, 3, 4, 5, FEW, FEW + 1] {
            let input = integers(tokens * shape.columns, tokens);
            let mut found = vec![f32::NAN; tokens * shape.rows];
            multiply_levels(&mut found, &input, tokens, &weights);
            let mut expected = vec![0.0; tokens * shape.rows];
            let (codes, scales) = (&case.codes, &case.scales);
            reference::multiply_levels(
                &mut expected,
                &input,
                tokens,
                (&shape, &levels, codes, scales),
            );
            assert_eq!(found, expected, "{shape:?}, {tokens} tokens");
        }
    });
}

#[test]
fn equals_its_slow_twin_across_slabs_and_threads() {
    let case = Case::new(1029, 600, 64);
    let levels = whole_levels();
    let weights = case.pack(&levels);
    for tokens in [1, 3, 9, 20] {
        let input = integers(tokens * 600, tokens);
        let mut found = vec![f32::NAN; tokens * 1029];
        multiply_levels(&mut found, &input, tokens, &weights);
        let mut expected = vec![0.0; tokens * 1029];
        let twin = (&case.shape, &levels, &case.codes[..], &case.scales[..]);
        reference::multiply_levels(&mut expected, &input, tokens, twin);
        assert_eq!(found, expected, "{tokens} tokens");
    }
}

#[test]
fn every_instruction_set_and_number_of_tokens_gives_the_same_bits() {
    let levels = std::array::from_fn(|code| (code as f32 * 1.3).sin());
    every_case(|mut case| {
        for (index, scale) in case.scales.iter_mut().enumerate() {
            *scale = (index as f32 * 0.37).cos();
        }
        let weights = case.pack(&levels);
        let (rows, columns, tokens) = (case.shape.rows, case.shape.columns, 7);
        let input: Vec<f32> = (0..tokens * columns)
            .map(|index| (index as f32 * 0.7).sin())
            .collect();
        same_on_every_instruction_set(|| {
            let mut output = vec![0.0; tokens * rows];
            multiply_levels(&mut output, &input, tokens, &weights);
            for token in 0..tokens {
                let mut alone = vec![0.0; rows];
                let input = &input[token * columns..][..columns];
                multiply_levels(&mut alone, input, 1, &weights);
                assert_eq!(alone, output[token * rows..][..rows], "token {token}");
            }
            output
        });
    });
}

#[test]
fn rows_come_back_as_they_were_packed() {
    every_case(|case| {
        let levels = whole_levels();
        let weights = case.pack(&levels);
        let shape = case.shape;
        let mut output = vec![f32::NAN; shape.columns];
        for row in 0..shape.rows {
            weights.dequantize_row(row, &mut output);
            for (column, found) in output.iter().enumerate() {
                let scale = case.scales[row * shape.blocks() + column / shape.block];
                let code = case.codes[row * shape.columns + column];
                assert_eq!(*found, scale * levels[usize::from(code)], "{shape:?}");
            }
        }
    });
}

#[test]
fn four_bits_and_a_scale_for_64_columns_are_four_and_a_half_bits() {
    let weights = Case::new(32, 1024, 64).pack(&whole_levels());
    assert_eq!(weights.size_bytes(), 32 * 1024 * 9 / 16 + 64);
}

#[test]
#[should_panic(expected = "does not fit 4 bits")]
fn a_code_beyond_the_levels_is_refused() {
    let mut case = Case::new(1, 2, 64);
    case.codes[1] = 16;
    case.pack(&whole_levels());
}
