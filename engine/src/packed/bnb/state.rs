//! The JSON text that bitsandbytes keeps beside the codes of a layer.
//!
//! Written in the spelling of Python's `json`, padded with spaces to a length that does not depend on the offset, so that
//! sizes are known before a layer is solved.

use super::suffixes;
use crate::tensor::Dtype;
use serde::Deserialize;
use std::fmt::Write;

/// Characters of an offset: the longest shortest text of an f32 as f64.
const OFFSET_CHARACTERS: usize = 26;

/// What 4-bit codes stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuantType {
    /// NormalFloat.
    Nf4,
    /// A float of one sign bit, two exponent bits and one mantissa bit.
    Fp4,
}

impl QuantType {
    /// The word in files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Nf4 => "nf4",
            Self::Fp4 => "fp4",
        }
    }

    /// The part that holds the state of such a layer.
    pub fn state_suffix(self) -> &'static str {
        match self {
            Self::Nf4 => suffixes::STATE_NF4,
            Self::Fp4 => suffixes::STATE_FP4,
        }
    }
}

/// What the text tells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct State {
    /// What codes stand for.
    pub quant_type: QuantType,
    /// Weights that share a maximum, at least 1.
    pub block: usize,
    /// The dtype to which loaders turn the weights.
    pub dtype: Dtype,
    /// Outputs, at least 1.
    pub rows: usize,
    /// Inputs, at least 1.
    pub columns: usize,
    /// How maxima are themselves quantized.
    pub nested: Option<Nested>,
}

/// How maxima are quantized.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nested {
    /// Maxima that share one, at least 1.
    pub block: usize,
    /// What is added to each.
    pub offset: f32,
}

impl State {
    /// The text, as long for every offset.
    pub fn to_json(&self) -> String {
        let mut text = format!(
            r#"{{"quant_type": "{}", "blocksize": {}, "dtype": "{}", "shape": [{}, {}]"#,
            self.quant_type.word(),
            self.block,
            dtype_word(self.dtype),
            self.rows,
            self.columns,
        );
        if let Some(Nested { block, offset }) = self.nested {
            let offset = format!("{:?}", f64::from(offset));
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                r#", "nested_blocksize": {block}, "nested_dtype": "float32", "nested_offset": {offset:<OFFSET_CHARACTERS$}"#
            );
        }
        text.push('}');
        text
    }

    /// Weights of the layer. The error is the end of a sentence.
    pub fn weights(&self) -> Result<usize, String> {
        let product = self.rows.checked_mul(self.columns);
        product.ok_or_else(|| format!("it has {} x {} weights", self.rows, self.columns))
    }
}

/// Reads the text. The error is the end of a sentence.
pub fn parse_state(text: &[u8]) -> Result<State, String> {
    #[derive(Deserialize)]
    struct Text {
        quant_type: String,
        blocksize: usize,
        dtype: String,
        shape: Vec<usize>,
        nested_blocksize: Option<usize>,
        nested_offset: Option<f64>,
    }
    let text: Text = serde_json::from_slice(text)
        .map_err(|error| format!("its quant_state cannot be read: {error}"))?;
    let quant_type = [QuantType::Nf4, QuantType::Fp4]
        .into_iter()
        .find(|known| known.word() == text.quant_type)
        .ok_or_else(|| format!("its quant_state names the type {:?}", text.quant_type))?;
    let &[rows, columns] = text.shape.as_slice() else {
        return Err(format!("its quant_state names the shape {:?}", text.shape));
    };
    let nested = match (text.nested_blocksize, text.nested_offset) {
        (Some(block), Some(offset)) => Some(Nested {
            block,
            offset: offset as f32,
        }),
        (None, None) => None,
        _ => return Err("its quant_state tells half of how maxima are quantized".to_owned()),
    };
    let offset = nested.map_or(0.0, |nested| nested.offset);
    let blocks = [text.blocksize, nested.map_or(1, |nested| nested.block)];
    if rows == 0 || columns == 0 || blocks.contains(&0) || !offset.is_finite() {
        return Err(format!(
            "its quant_state tells of {rows} x {columns} weights in blocks of {} and {} with the offset {offset}",
            blocks[0], blocks[1]
        ));
    }
    let state = State {
        quant_type,
        block: text.blocksize,
        dtype: parse_dtype(&text.dtype)?,
        rows,
        columns,
        nested,
    };
    state.weights().map(|_| state)
}

fn dtype_word(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F16 => "float16",
        Dtype::BF16 => "bfloat16",
        _ => "float32",
    }
}

fn parse_dtype(word: &str) -> Result<Dtype, String> {
    let known = [Dtype::F16, Dtype::BF16, Dtype::F32];
    let found = known.into_iter().find(|&dtype| dtype_word(dtype) == word);
    found.ok_or_else(|| format!("its quant_state names the dtype {word:?}"))
}
