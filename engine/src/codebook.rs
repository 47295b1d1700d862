//! Codebooks: a code names a level; one scale per block of weights.
//!
//! NF4 levels and double quantization: Dettmers et al. 2023, arXiv 2305.14314, section 3 and appendix E.

/// The 16 NF4 levels, ascending.
pub const NF4_LEVELS: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// How block scales (absolute maxima) are stored.
#[derive(Debug, Clone, PartialEq)]
pub enum BlockScales {
    /// One f32 per block.
    Plain(Vec<f32>),
    /// Two levels: `offset + outer * inner / 127`, an i8 per block and an f32 per 256 blocks.
    Double {
        /// i8 codes, one per block.
        inner: Vec<i8>,
        /// f32 scales, one per 256 blocks, row-major over blocks.
        outer: Vec<f32>,
        /// Mean of all block scales.
        offset: f32,
    },
}

/// Blocks that share one outer scale in double quantization.
pub const BLOCKS_PER_OUTER_SCALE: usize = 256;

/// NF4 over a layer: blocks run along each row; the last of a row may be shorter.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockCodebook {
    /// Rows (outputs).
    pub rows: usize,
    /// Columns (inputs).
    pub columns: usize,
    /// Weights per block along a row.
    pub block: usize,
    /// Absolute maxima `[rows, blocks per row]`.
    pub scales: BlockScales,
}

impl BlockCodebook {
    /// Blocks of one row.
    pub fn blocks_per_row(&self) -> usize {
        self.columns.div_ceil(self.block)
    }

    /// The scale of block `index` (row-major), as it will be read back.
    pub fn scale(&self, index: usize) -> f32 {
        self.scales.scale(index)
    }

    /// Weights of one row from its codes.
    pub fn dequantize_row(&self, row: usize, codes: &[u8], output: &mut [f32]) {
        for block in 0..self.blocks_per_row() {
            let scale = self.scale(row * self.blocks_per_row() + block);
            for column in block * self.block..((block + 1) * self.block).min(self.columns) {
                output[column] = scale * NF4_LEVELS[usize::from(codes[column] & 15)];
            }
        }
    }
}

/// Palettes over a layer: a code names one of `2^bits` weights that some rows share (k-means; Han et al. 2016, arXiv
/// 1510.00149, section 3).
#[derive(Debug, Clone, PartialEq)]
pub struct Palettes {
    /// Rows (outputs).
    pub rows: usize,
    /// Columns (inputs).
    pub columns: usize,
    /// Bits of a code, 2 to 8.
    pub bits: u8,
    /// Rows that share a palette; 0 = all. The last palette may serve fewer.
    pub rows_per_palette: usize,
    /// How levels are stored.
    pub level_dtype: crate::tensor::ScaleDtype,
    /// `[palettes, 2^bits]`, each palette ascending, snapped to `level_dtype`.
    pub levels: Vec<f32>,
}

impl Palettes {
    /// Palettes that `rows` rows need.
    pub fn count(rows: usize, rows_per_palette: usize) -> usize {
        match rows_per_palette {
            0 => 1,
            shared => rows.div_ceil(shared),
        }
    }

    /// The palette of a row.
    pub fn of_row(&self, row: usize) -> &[f32] {
        let size = 1 << self.bits;
        let palette = row.checked_div(self.rows_per_palette).unwrap_or(0);
        &self.levels[palette * size..(palette + 1) * size]
    }

    /// Weights of one row from its codes.
    pub fn dequantize_row(&self, row: usize, codes: &[u8], output: &mut [f32]) {
        let levels = self.of_row(row);
        for (weight, &code) in output.iter_mut().zip(codes) {
            *weight = levels[usize::from(code) & (levels.len() - 1)];
        }
    }
}

/// Code of the NF4 level nearest to `value`; the lower one on ties and for NaN.
#[inline(always)]
pub fn nearest_nf4(value: f32) -> u8 {
    let mut code = 0;
    for level in 1..NF4_LEVELS.len() {
        let middle = 0.5 * (NF4_LEVELS[level - 1] + NF4_LEVELS[level]);
        code += u8::from(value > middle);
    }
    code
}

impl BlockScales {
    /// The scale of block `index`, as it will be read back.
    pub fn scale(&self, index: usize) -> f32 {
        match self {
            Self::Plain(scales) => scales[index],
            Self::Double {
                inner,
                outer,
                offset,
            } => offset + outer[index / BLOCKS_PER_OUTER_SCALE] * f32::from(inner[index]) / 127.0,
        }
    }

    /// Blocks.
    pub fn count(&self) -> usize {
        match self {
            Self::Plain(scales) => scales.len(),
            Self::Double { inner, .. } => inner.len(),
        }
    }

    /// Quantizes block scales to i8: their mean is taken off, then 256 neighbours share their largest magnitude.
    pub fn double(scales: &[f32]) -> Self {
        let sum: f64 = scales.iter().map(|&scale| f64::from(scale)).sum();
        let offset = (sum / scales.len().max(1) as f64) as f32;
        let mut inner = Vec::with_capacity(scales.len());
        let mut outer = Vec::with_capacity(scales.len().div_ceil(BLOCKS_PER_OUTER_SCALE));
        for scales in scales.chunks(BLOCKS_PER_OUTER_SCALE) {
            let largest = scales
                .iter()
                .map(|scale| (scale - offset).abs())
                .fold(0.0, f32::max);
            outer.push(largest);
            inner.extend(scales.iter().map(|scale| {
                let share = (scale - offset) / largest;
                // All scales equal: 0 / 0, which becomes code 0.
                (share * 127.0).round_ties_even() as i8
            }));
        }
        Self::Double {
            inner,
            outer,
            offset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_level_is_its_own_nearest() {
        for (code, &level) in NF4_LEVELS.iter().enumerate() {
            assert_eq!(usize::from(nearest_nf4(level)), code, "level {level}");
        }
        assert_eq!(nearest_nf4(-5.0), 0);
        assert_eq!(nearest_nf4(5.0), 15);
        assert_eq!(nearest_nf4(f32::NAN), 0);
    }

    proptest! {
        #[test]
        fn no_other_level_is_nearer(value in -1.2f32..1.2) {
            let found = (NF4_LEVELS[usize::from(nearest_nf4(value))] - value).abs();
            for level in NF4_LEVELS {
                prop_assert!(found <= (level - value).abs() + 1e-7, "{value}: {level} is nearer");
            }
        }

        #[test]
        fn doubly_quantized_scales_are_within_half_a_step(
            scales in prop::collection::vec(0.0f32..3.0, 1..600),
        ) {
            let codebook = BlockCodebook {
                rows: scales.len(),
                columns: 1,
                block: 64,
                scales: BlockScales::double(&scales),
            };
            let BlockScales::Double { outer, .. } = &codebook.scales else {
                panic!("double gives Double");
            };
            for (index, &scale) in scales.iter().enumerate() {
                let bound = outer[index / BLOCKS_PER_OUTER_SCALE] / 254.0 + 1e-5;
                let found = codebook.scale(index);
                prop_assert!((found - scale).abs() <= bound, "{scale} became {found}");
            }
        }

        #[test]
        fn equal_scales_survive(scale in 0.0f32..3.0, count in 1usize..400) {
            let codebook = BlockCodebook {
                rows: count,
                columns: 1,
                block: 64,
                scales: BlockScales::double(&vec![scale; count]),
            };
            for index in 0..count {
                let found = codebook.scale(index);
                prop_assert!((found - scale).abs() <= 1e-6 * scale, "{scale} became {found}");
            }
        }
    }
}
