//! Stored forms in words, for errors that people read.

use super::activations::ActivationKind;
use super::kind::CodeKind;
use super::stored::Stored;
use crate::grid::GridConfig;
use crate::settings::Activations;
use std::fmt;

impl fmt::Display for Stored {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.code)?;
        if let Some(sparsity) = self.sparsity {
            write!(
                formatter,
                ", {} values kept of pattern {}",
                sparsity.values, sparsity.pattern
            )?;
        }
        if let Some(factors) = self.factors {
            write!(
                formatter,
                ", {} factors of rank {}",
                factors.dtype, factors.rank
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for CodeKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Affine {
                bits,
                group,
                symmetric,
                scale_dtype,
                fractional_zeros,
            } => {
                let grid = GridConfig {
                    bits,
                    group,
                    symmetric,
                    scale_dtype,
                };
                let zeros = if fractional_zeros { ", real zeros" } else { "" };
                write!(formatter, "{grid}{zeros}")
            }
            Self::Nf4 {
                block,
                double_quant,
            } => {
                let double = if double_quant {
                    ", doubly quantized"
                } else {
                    ""
                };
                write!(formatter, "nf4 in blocks of {block}{double}")
            }
            Self::Palette {
                bits,
                rows_per_palette: 0,
                level_dtype,
            } => write!(formatter, "a palette of {bits} bits, {level_dtype} levels"),
            Self::Palette {
                bits,
                rows_per_palette,
                level_dtype,
            } => write!(
                formatter,
                "palettes of {bits} bits for {rows_per_palette} rows each, {level_dtype} levels"
            ),
            Self::Floats { dtype } => write!(formatter, "{dtype} values"),
            Self::Nothing => formatter.write_str("no codes"),
        }
    }
}

impl fmt::Display for ActivationKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.mode, self.block) {
            (Activations::None, _) => formatter.write_str("inputs as they are"),
            (mode, 0) => write!(formatter, "inputs {}", mode.word()),
            (mode, block) => write!(formatter, "inputs {} in blocks of {block}", mode.word()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::ScaleDtype;
    use crate::tensor::Dtype;

    #[test]
    fn nobody_reads_names_of_fields() {
        let kinds = [
            (
                CodeKind::Affine {
                    bits: 4,
                    group: 32,
                    symmetric: false,
                    scale_dtype: ScaleDtype::F16,
                    fractional_zeros: true,
                },
                "4 bits, asymmetric, groups of 32, f16 scales, real zeros",
            ),
            (
                CodeKind::Nf4 {
                    block: 64,
                    double_quant: true,
                },
                "nf4 in blocks of 64, doubly quantized",
            ),
            (CodeKind::Floats { dtype: Dtype::BF16 }, "bf16 values"),
        ];
        for (kind, expected) in kinds {
            assert_eq!(Stored::from(kind).to_string(), expected);
        }
        let dynamic = ActivationKind {
            mode: Activations::Dynamic8,
            block: 32,
        };
        assert_eq!(dynamic.to_string(), "inputs dynamic8 in blocks of 32");
    }
}
