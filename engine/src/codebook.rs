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
        match &self.scales {
            BlockScales::Plain(scales) => scales[index],
            BlockScales::Double {
                inner,
                outer,
                offset,
            } => offset + outer[index / BLOCKS_PER_OUTER_SCALE] * f32::from(inner[index]) / 127.0,
        }
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
