//! Element types by ONNX's numbers. Source: onnx.proto, `TensorProto.DataType`.

use crate::grid::ScaleDtype;
use crate::tensor::Dtype;

/// An element type that graphs of ours have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Element {
    F32,
    U8,
    I8,
    I32,
    I64,
    Bool,
    F16,
    BF16,
}

impl Element {
    const ALL: [Self; 8] = [
        Self::F32,
        Self::U8,
        Self::I8,
        Self::I32,
        Self::I64,
        Self::Bool,
        Self::F16,
        Self::BF16,
    ];

    /// ONNX's number.
    pub fn number(self) -> i64 {
        match self {
            Self::F32 => 1,
            Self::U8 => 2,
            Self::I8 => 3,
            Self::I32 => 6,
            Self::I64 => 7,
            Self::Bool => 9,
            Self::F16 => 10,
            Self::BF16 => 16,
        }
    }

    /// The type of a number.
    pub fn of_number(number: i64) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|element| element.number() == number)
    }

    /// Bytes of a value.
    pub fn size_bytes(self) -> u64 {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::F16 | Self::BF16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::I64 => 8,
        }
    }

    /// The type that weights of a checkpoint keep.
    pub fn of_weights(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F16 => Self::F16,
            Dtype::BF16 => Self::BF16,
            _ => Self::F32,
        }
    }

    /// The type of scales.
    pub fn of_scales(dtype: ScaleDtype) -> Self {
        match dtype {
            ScaleDtype::F16 => Self::F16,
            ScaleDtype::BF16 => Self::BF16,
            ScaleDtype::F32 => Self::F32,
        }
    }

    /// The same as a dtype of floats; `None` of whole numbers.
    pub fn float_dtype(self) -> Option<Dtype> {
        match self {
            Self::F32 => Some(Dtype::F32),
            Self::F16 => Some(Dtype::F16),
            Self::BF16 => Some(Dtype::BF16),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for element in Element::ALL {
            assert_eq!(Element::of_number(element.number()), Some(element));
        }
        assert_eq!(Element::of_number(8), None);
    }
}
