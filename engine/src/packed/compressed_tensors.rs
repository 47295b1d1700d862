//! The layouts of compressed-tensors, which vLLM and transformers load: integers of 4 and 8 bits.
//!
//! ```text
//! pack-quantized   weight_packed      i32 [out, ceil(in * bits / 32)]     row `o` is one bit stream of codes, low bits first
//!                  weight_zero_point  i32 [ceil(out * bits / 32), groups] column `g` is one bit stream of zeros along `out`
//!                  weight_scale       f16, bf16 or f32 [out, groups]
//!                  weight_shape       i64 [2]                             out, in
//! int-quantized    weight             i8  [out, in]
//!                  weight_zero_point  i8  [out, groups]
//!                  weight_scale       as above
//! both             input_scale        f32 [1]                             the step of inputs of a fixed scale
//! ```
//!
//! Programs that run these round inputs of a fixed scale to -128..127, Pare to -127..127: inputs far below those of
//! calibration differ by a step.
//!
//! A weight is `scale * (code - zero)`, both counted from `-2^(bits-1)` in `i8` and from 0 in the bit streams.
//! `weight_zero_point` stands there of asymmetric layers only. What zeros were pruned lie as codes: its sparse layouts
//! (`sparse-24-bitmask`, `marlin-24`) are no longer read by the package since 0.15.
//! Knows no file and no config. Checked against compressed-tensors 0.20.0.

use super::external::part_of;
use super::kind::{PartSpec, dtype_of_scales, specs_of};
use super::whole::{Whole, check_shape, checked};
use super::{ActivationKind, ActivationPlan, PackError, Part, bits, floats, whole};
use crate::grid::{GridConfig, ScaleDtype};
use crate::settings::Activations;
use crate::solved::{Codes, Solved};
use crate::tensor::Dtype;

/// Bits of a word of the bit streams.
const WORD_BITS: usize = 32;

/// Where codes lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeForm {
    /// `pack-quantized`.
    Packed,
    /// `int-quantized`.
    Integers,
}

impl CodeForm {
    /// The word in `config.json`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Packed => "pack-quantized",
            Self::Integers => "int-quantized",
        }
    }
}

/// How one layer lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CompressedLayer {
    /// Where codes lie.
    pub form: CodeForm,
    /// Bits, group, symmetry, dtype of scales.
    pub grid: GridConfig,
    /// How inputs are rounded when it runs.
    pub activations: Activations,
}

impl CompressedLayer {
    /// What is said of its inputs: those of a token share a scale, or all share one.
    pub fn activation_kind(&self) -> ActivationKind {
        ActivationKind {
            mode: self.activations,
            block: 0,
        }
    }

    /// The tensors of a layer. `None` where a size does not exist.
    pub fn parts(&self, rows: usize, columns: usize) -> Option<Vec<PartSpec>> {
        let mut parts = self.weight_parts(rows, columns)?;
        if self.activations == Activations::Static8 {
            parts.push(PartSpec::new("input_scale", Dtype::F32, &[1])?);
        }
        Some(parts)
    }

    /// The same without what is said of inputs: `weight…` all of them.
    fn weight_parts(&self, rows: usize, columns: usize) -> Option<Vec<PartSpec>> {
        let groups = self.grid.groups(columns).count();
        let words = |codes: usize| {
            let bits = codes.checked_mul(usize::from(self.grid.bits))?;
            Some(bits.div_ceil(WORD_BITS))
        };
        let scales = dtype_of_scales(self.grid.scale_dtype);
        specs_of(|see| match self.form {
            CodeForm::Packed => {
                see("weight_shape", Dtype::I64, &[2])?;
                see("weight_packed", Dtype::I32, &[rows, words(columns)?])?;
                if !self.grid.symmetric {
                    see("weight_zero_point", Dtype::I32, &[words(rows)?, groups])?;
                }
                see("weight_scale", scales, &[rows, groups])
            }
            CodeForm::Integers => {
                see("weight", Dtype::I8, &[rows, columns])?;
                see("weight_scale", scales, &[rows, groups])?;
                if !self.grid.symmetric {
                    see("weight_zero_point", Dtype::I8, &[rows, groups])?;
                }
                Some(())
            }
        })
    }

    /// The bytes of a solved layer, in the order of `parts`.
    pub fn pack(
        &self,
        name: &str,
        solved: &Solved,
        activations: &ActivationPlan,
    ) -> Result<Vec<Part>, PackError> {
        let unfit = |problem: String| PackError {
            layer: name.to_owned(),
            problem,
        };
        let layer = Whole::of(name, solved, self.grid)?;
        let (rows, columns) = (layer.grid.rows, layer.grid.columns);
        let specs = self.parts(rows, columns);
        let specs = specs.ok_or_else(|| unfit(super::manifest::TOO_LARGE.to_owned()))?;
        let parts = specs.into_iter().map(|spec| {
            let bytes = match spec.suffix {
                "weight_shape" => shape_bytes(rows, columns),
                "weight_packed" => in_words(&layer.codes.values, columns, self.grid.bits),
                "weight" => self.signed(&layer.codes.values),
                "weight_scale" => floats::to_bytes(&layer.grid.scales, self.grid.scale_dtype),
                "weight_zero_point" if self.form == CodeForm::Integers => self.signed(&layer.zeros),
                "weight_zero_point" => down_words(&layer.zeros, rows, self.grid.bits),
                _ => self.step_bytes(activations).map_err(unfit)?,
            };
            Ok(spec.filled(bytes))
        });
        parts.collect()
    }

    fn step_bytes(&self, activations: &ActivationPlan) -> Result<Vec<u8>, String> {
        match activations.static_step {
            Some(step) if activations.mode == self.activations => {
                Ok(floats::to_bytes(&[step], ScaleDtype::F32))
            }
            _ => Err("its inputs have a fixed scale, but nobody said which".to_owned()),
        }
    }

    /// Turns `pack` around for weights, whoever wrote them. The error is the end of a sentence.
    pub fn unpack(&self, rows: usize, columns: usize, parts: &[Part]) -> Result<Solved, String> {
        check_shape(rows, columns)?;
        let specs = self.weight_parts(rows, columns);
        let specs = specs.ok_or(super::manifest::TOO_LARGE)?;
        let bytes = |suffix: &str| {
            let spec = specs.iter().find(|spec| spec.suffix == suffix);
            spec.map(|spec| checked(spec, parts)).transpose()
        };
        let scales = bytes("weight_scale")?.unwrap_or_default();
        let scales = floats::from_bytes(scales, self.grid.scale_dtype);
        let values = match (bytes("weight_packed")?, bytes("weight")?) {
            (Some(packed), _) => out_of_words(packed, rows, columns, self.grid.bits),
            (_, integers) => self.unsigned(integers.unwrap_or_default())?,
        };
        let zeros: Vec<f32> = match (bytes("weight_zero_point")?, self.form) {
            (None, _) => vec![self.grid.middle(); scales.len()],
            (Some(packed), CodeForm::Packed) => {
                up_words(packed, rows, scales.len(), self.grid.bits)
            }
            (Some(integers), CodeForm::Integers) => {
                let zeros = self.unsigned(integers)?.into_iter();
                zeros.map(f32::from).collect()
            }
        };
        let codes = Codes {
            rows,
            columns,
            values,
        };
        whole::solved(self.grid, codes, zeros, scales)
    }

    /// What the layer does to its inputs. The error is the end of a sentence.
    pub fn activation_plan(&self, parts: &[Part]) -> Result<ActivationPlan, String> {
        if self.activations != Activations::Static8 {
            return Ok(ActivationPlan::new(self.activation_kind(), None));
        }
        let part = part_of(parts, "input_scale")?;
        match floats::decode(&part.bytes, part.dtype).as_slice() {
            [step] if step.is_normal() && *step > 0.0 => {
                Ok(ActivationPlan::new(self.activation_kind(), Some(*step)))
            }
            [step] => Err(format!("its input_scale holds the value {step}")),
            _ => Err("its input_scale is no single number".to_owned()),
        }
    }

    /// Codes counted from the lowest integer.
    fn signed(&self, codes: &[u8]) -> Vec<u8> {
        let middle = self.grid.middle() as u8;
        codes.iter().map(|code| code.wrapping_sub(middle)).collect()
    }

    /// Turns `signed` around; integers of more bits are errors.
    fn unsigned(&self, integers: &[u8]) -> Result<Vec<u8>, String> {
        let (middle, largest) = (self.grid.middle() as u8, self.grid.max_code());
        let codes: Vec<u8> = integers
            .iter()
            .map(|code| code.wrapping_add(middle))
            .collect();
        match codes.iter().find(|&&code| code > largest) {
            Some(&code) => Err(format!(
                "it holds the integer {} and has {} bits",
                code.wrapping_sub(middle) as i8,
                self.grid.bits
            )),
            None => Ok(codes),
        }
    }
}

fn shape_bytes(rows: usize, columns: usize) -> Vec<u8> {
    let dimensions = [rows as u64, columns as u64];
    dimensions
        .iter()
        .flat_map(|size| size.to_le_bytes())
        .collect()
}

/// Rows of codes as bit streams that fill whole words.
fn in_words(codes: &[u8], columns: usize, bits: u8) -> Vec<u8> {
    let rows = codes.len() / columns;
    let stream = bits::row_bytes(columns, bits);
    let width = stream.div_ceil(4) * 4;
    let packed = bits::pack_rows(codes, columns, bits);
    if stream == width {
        return packed;
    }
    let mut words = vec![0; rows * width];
    for (output, row) in words.chunks_mut(width).zip(packed.chunks(stream)) {
        output[..stream].copy_from_slice(row);
    }
    words
}

/// Turns `in_words` around.
fn out_of_words(words: &[u8], rows: usize, columns: usize, bits: u8) -> Vec<u8> {
    let stream = bits::row_bytes(columns, bits);
    let width = stream.div_ceil(4) * 4;
    let mut packed = Vec::with_capacity(rows * stream);
    for row in words.chunks(width) {
        packed.extend_from_slice(&row[..stream]);
    }
    bits::unpack_rows(&packed, columns, bits)
}

/// Zeros `[rows, groups]` as bit streams along the rows: words `[words, groups]`.
fn down_words(zeros: &[u8], rows: usize, bits: u8) -> Vec<u8> {
    let groups = zeros.len() / rows;
    let turned: Vec<u8> = (0..zeros.len())
        .map(|index| zeros[index % rows * groups + index / rows])
        .collect();
    turn_words(&in_words(&turned, rows, bits), groups)
}

/// Turns `down_words` around.
fn up_words(words: &[u8], rows: usize, count: usize, bits: u8) -> Vec<f32> {
    let groups = count / rows;
    let width = words.len() / 4 / groups.max(1);
    let turned = out_of_words(&turn_words(words, width), groups, rows, bits);
    (0..count)
        .map(|index| f32::from(turned[index % groups * rows + index / groups]))
        .collect()
}

/// Words `[rows, columns]` as `[columns, rows]`.
fn turn_words(words: &[u8], rows: usize) -> Vec<u8> {
    let columns = words.len() / 4 / rows.max(1);
    let mut turned = Vec::with_capacity(words.len());
    for column in 0..columns {
        for row in 0..rows {
            let place = (row * columns + column) * 4;
            turned.extend_from_slice(&words[place..place + 4]);
        }
    }
    turned
}

#[cfg(test)]
mod tests;
