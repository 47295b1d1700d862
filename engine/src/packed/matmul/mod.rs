//! Products with packed layers through the kernels.
//!
//! A layer is what its form says (`forms`: panels of codes, of kept codes or blocks, of levels, or floats) and, where it was
//! factored, two thin matrices whose product is added. Rounded inputs are multiplied as integers where panels can,
//! else as what they stand for; factors take the input as it is.
//! Knows no models: a linear layer holds a `PackedMatrix` and a plan.

mod factors;
mod floats;
mod forms;

use super::ActivationPlan;
use crate::kernels::integer::{
    ActivationBits, ActivationScale, Activations, PanelShape, multiply_blocks,
    multiply_blocks_float, multiply_float, multiply_integer, multiply_sparse,
    multiply_sparse_float,
};
use crate::kernels::multiply_levels;
use crate::settings;
use crate::solved::Solved;
use crate::tensor::Matrix;
use factors::Factors;
use forms::Form;

/// Weights that stay packed while they multiply.
#[derive(Debug, Clone)]
pub struct PackedMatrix {
    form: Form,
    factors: Option<Factors>,
}

/// An input that matrices of one layout share, quantized once.
#[derive(Debug, Clone)]
pub struct PreparedInput<'a> {
    tokens: usize,
    /// As it came.
    input: &'a [f32],
    kind: InputKind,
}

#[derive(Debug, Clone)]
enum InputKind {
    Float,
    Integer(Box<Activations>),
    /// What rounded inputs stand for.
    Rounded(Vec<f32>),
}

impl PackedMatrix {
    /// Packs a solved layer, of any bits; 7 take the room of 8.
    pub fn new(solved: &Solved) -> Self {
        Self {
            form: Form::of(solved),
            factors: solved.factors.as_ref().map(Factors::new),
        }
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.form.size()[0]
    }

    /// Inputs.
    pub fn columns(&self) -> usize {
        self.form.size()[1]
    }

    /// Bytes that a product reads.
    pub fn size_bytes(&self) -> usize {
        self.form.size_bytes() + self.factors.as_ref().map_or(0, Factors::size_bytes)
    }

    /// `input` `[tokens, columns]` as this matrix takes it. Other matrices that `share_inputs` with it take it too.
    /// Inputs of codebooks and palettes stay as they are, whatever the plan.
    pub fn prepare<'a>(
        &self,
        input: &'a [f32],
        tokens: usize,
        plan: &ActivationPlan,
    ) -> PreparedInput<'a> {
        let quantize = |layout: &PanelShape, scale| {
            Activations::quantize(input, tokens, layout, scale, ActivationBits::Eight)
        };
        let kind = match (self.form.panel_shape(), &self.form, scale_of(plan)) {
            (Some(shape), _, Some(scale)) => InputKind::Integer(Box::new(quantize(shape, scale))),
            (_, Form::Floats(floats), Some(scale)) if floats.rounds_inputs => {
                let layout = PanelShape {
                    rows: 1,
                    columns: self.columns(),
                    bits: 8,
                    group: match scale {
                        ActivationScale::PerBlock(_) => floats.group,
                        ActivationScale::PerToken | ActivationScale::Static(_) => 0,
                    },
                };
                InputKind::Rounded(quantize(&layout, scale).dequantize())
            }
            _ => InputKind::Float,
        };
        PreparedInput {
            tokens,
            input,
            kind,
        }
    }

    /// Whether an input that was prepared for one matrix and plan serves the other.
    pub fn share_inputs(one: (&Self, &ActivationPlan), other: (&Self, &ActivationPlan)) -> bool {
        let layout = |matrix: &Self| match (matrix.form.panel_shape(), &matrix.form) {
            (Some(shape), _) => Some((true, shape.columns, shape.group)),
            (_, Form::Floats(floats)) if floats.rounds_inputs => {
                Some((false, matrix.columns(), floats.group))
            }
            _ => None,
        };
        let scales = (scale_of(one.1), scale_of(other.1));
        scales == (None, None) || (scales.0 == scales.1 && layout(one.0) == layout(other.0))
    }

    /// `[tokens, rows]` of a prepared input, in the caller's rayon pool.
    pub fn multiply_prepared(&self, input: &PreparedInput<'_>) -> Vec<f32> {
        let (tokens, plain) = (input.tokens, input.input);
        let mut output = vec![0.0; tokens * self.rows()];
        let out = &mut output[..];
        match (&self.form, &input.kind) {
            (Form::Nothing { .. }, _) => {}
            (Form::Panels(panels), InputKind::Integer(input)) => {
                multiply_integer(out, input, panels);
            }
            (Form::Panels(panels), InputKind::Float) => multiply_float(out, plain, tokens, panels),
            (Form::Sparse(panels), InputKind::Integer(input)) => {
                multiply_sparse(out, input, panels);
            }
            (Form::Sparse(panels), InputKind::Float) => {
                multiply_sparse_float(out, plain, tokens, panels);
            }
            (Form::Blocks(panels), InputKind::Integer(input)) => {
                multiply_blocks(out, input, panels);
            }
            (Form::Blocks(panels), InputKind::Float) => {
                multiply_blocks_float(out, plain, tokens, panels);
            }
            (Form::Levels(panels), InputKind::Float) => {
                multiply_levels(out, plain, tokens, panels);
            }
            (Form::Floats(floats), InputKind::Float) => {
                floats.weights.multiply(out, plain, tokens);
            }
            (Form::Floats(floats), InputKind::Rounded(input)) => {
                floats.weights.multiply(out, input, tokens);
            }
            (Form::Panels(_) | Form::Sparse(_) | Form::Blocks(_), InputKind::Rounded(_))
            | (Form::Levels(_), InputKind::Integer(_) | InputKind::Rounded(_))
            | (Form::Floats(_), InputKind::Integer(_)) => {
                unreachable!("inputs are shared only where `share_inputs` allows it")
            }
        }
        if let Some(factors) = &self.factors {
            factors.add_product(out, plain, tokens);
        }
        output
    }

    /// `[tokens, rows]` of `input` `[tokens, columns]`.
    pub fn multiply(&self, input: &[f32], tokens: usize, plan: &ActivationPlan) -> Vec<f32> {
        self.multiply_prepared(&self.prepare(input, tokens, plan))
    }

    /// The weights, equal to `Solved::dequantize`.
    pub fn dequantize(&self) -> Matrix {
        let mut weights = self.form.dequantize();
        if let Some(factors) = &self.factors {
            factors.add_weights(&mut weights);
        }
        weights
    }
}

/// Products of one input with several matrices (queries, keys and values; gate and up): it is prepared once for all
/// that can share it.
pub fn multiply_all(
    matrices: &[(&PackedMatrix, &ActivationPlan)],
    input: &[f32],
    tokens: usize,
) -> Vec<Vec<f32>> {
    let mut prepared: Vec<(usize, PreparedInput<'_>)> = Vec::new();
    let mut outputs = Vec::with_capacity(matrices.len());
    for (index, &(matrix, plan)) in matrices.iter().enumerate() {
        let known = prepared
            .iter()
            .position(|&(first, _)| PackedMatrix::share_inputs(matrices[first], (matrix, plan)));
        let known = known.unwrap_or_else(|| {
            prepared.push((index, matrix.prepare(input, tokens, plan)));
            prepared.len() - 1
        });
        outputs.push(matrix.multiply_prepared(&prepared[known].1));
    }
    outputs
}

/// `input` `[tokens, columns]` as kernels see it where groups of weights have `group` columns (0 = a row).
pub fn rounded_inputs(
    input: &[f32],
    columns: usize,
    group: usize,
    plan: &ActivationPlan,
) -> Vec<f32> {
    let Some(scale) = scale_of(plan) else {
        return input.to_vec();
    };
    let layout = PanelShape {
        rows: 1,
        columns,
        bits: 8,
        group,
    };
    let tokens = input.len() / columns.max(1);
    Activations::quantize(input, tokens, &layout, scale, ActivationBits::Eight).dequantize()
}

/// How kernels scale activations; `None`: not at all. Static steps that calibration did not fix are dynamic.
fn scale_of(plan: &ActivationPlan) -> Option<ActivationScale> {
    let dynamic = match plan.block {
        0 => ActivationScale::PerToken,
        block => ActivationScale::PerBlock(block),
    };
    match plan.mode {
        settings::Activations::None => None,
        settings::Activations::Dynamic8 => Some(dynamic),
        settings::Activations::Static8 => {
            Some(plan.static_step.map_or(dynamic, ActivationScale::Static))
        }
    }
}

#[cfg(test)]
mod tests;
