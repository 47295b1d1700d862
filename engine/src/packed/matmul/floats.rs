//! Floats that multiply as they are stored: in the narrowest of their type that holds them exactly.

use crate::grid::ScaleDtype;
use crate::kernels::{matvec_bf16, matvec_f16, matvec_f32};
use crate::tensor::Matrix;
use half::{bf16, f16};

/// A matrix of floats `[rows, columns]`.
#[derive(Debug, Clone)]
pub(super) struct FloatMatrix {
    rows: usize,
    columns: usize,
    values: Values,
}

#[derive(Debug, Clone)]
enum Values {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
}

impl FloatMatrix {
    /// Holds `matrix` as `dtype`, or as f32 where that would change it.
    pub(super) fn new(matrix: &Matrix, dtype: ScaleDtype) -> Self {
        let data = matrix.data();
        let exact = data
            .iter()
            .all(|&value| dtype.snap(value).to_bits() == value.to_bits());
        let values = match dtype {
            ScaleDtype::F16 if exact => {
                Values::F16(data.iter().map(|&value| f16::from_f32(value)).collect())
            }
            ScaleDtype::BF16 if exact => {
                Values::Bf16(data.iter().map(|&value| bf16::from_f32(value)).collect())
            }
            _ => Values::F32(data.to_vec()),
        };
        Self {
            rows: matrix.rows(),
            columns: matrix.columns(),
            values,
        }
    }

    /// Rows and columns.
    pub(super) fn size(&self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    pub(super) fn size_bytes(&self) -> usize {
        match &self.values {
            Values::F32(values) => size_of_val(values.as_slice()),
            Values::F16(values) => size_of_val(values.as_slice()),
            Values::Bf16(values) => size_of_val(values.as_slice()),
        }
    }

    /// `output[t][r] = Σ_c self[r][c] * input[t][c]`, in the caller's rayon pool.
    pub(super) fn multiply(&self, output: &mut [f32], input: &[f32], tokens: usize) {
        match &self.values {
            Values::F32(values) => matvec_f32(output, input, tokens, values),
            Values::F16(values) => matvec_f16(output, input, tokens, values),
            Values::Bf16(values) => matvec_bf16(output, input, tokens, values),
        }
    }

    /// As f32.
    pub(super) fn to_matrix(&self) -> Matrix {
        let data = match &self.values {
            Values::F32(values) => values.clone(),
            Values::F16(values) => values.iter().map(|value| value.to_f32()).collect(),
            Values::Bf16(values) => values.iter().map(|value| value.to_f32()).collect(),
        };
        Matrix::new(self.rows, self.columns, data)
    }
}
