//! Layers in AutoAWQ's GEMM layout, and what `quantization_config` says of them. Shapes speak first.

use std::path::Path;

use serde_json::Value;

use super::super::error::CheckpointError;
use super::super::packed_source::Found;
use super::super::shards::Shards;
use super::{is_transposed, original_dtype, part, text_of};
use crate::grid::{GridConfig, ScaleDtype};
use crate::packed::ExternalLayer;
use crate::packed::awq::{BITS, WORD_CODES};
use crate::tensor::Dtype;

/// Settings of a whole model.
#[derive(Debug)]
pub(in crate::checkpoint) struct AwqConfig {
    transposed: bool,
    original_dtype: Option<Dtype>,
}

impl AwqConfig {
    /// The settings in `quantization`, the `quantization_config` of `config`. Other layouts than GEMM are errors.
    pub(super) fn of_model(
        root: &Path,
        config: &Value,
        quantization: &Value,
    ) -> Result<Self, CheckpointError> {
        let unknown = |method: String| CheckpointError::UnknownQuantization {
            method,
            path: root.to_owned(),
        };
        let version = text_of(quantization, "version").unwrap_or("gemm");
        if !version.eq_ignore_ascii_case("gemm") {
            return Err(unknown(format!("awq in the layout {version}")));
        }
        let bits = quantization.get("bits").or(quantization.get("w_bit"));
        match bits.and_then(Value::as_u64) {
            Some(bits) if bits == u64::from(BITS) => Ok(Self {
                transposed: is_transposed(config),
                original_dtype: original_dtype(config),
            }),
            Some(bits) => Err(unknown(format!("awq of {bits} bits"))),
            None => Err(unknown("awq without bits".to_owned())),
        }
    }
}

/// The layer of that name. The error is the end of a sentence that begins with the layer.
pub(super) fn layer(name: &str, config: &AwqConfig, shards: &Shards) -> Result<Found, String> {
    let (qweight, words) = part(shards, name, "qweight", &[Dtype::I32], 2)?;
    let (qzeros, _) = part(shards, name, "qzeros", &[Dtype::I32], 2)?;
    let (scales, shape) = part(shards, name, "scales", &[Dtype::F16], 2)?;
    let (columns, groups, rows) = (words[0], shape[0], shape[1]);
    // Counts of an empty tensor are bound by no file size.
    if rows == 0 || columns == 0 || groups == 0 {
        return Err("has no weights".to_owned());
    }
    if words[1].checked_mul(WORD_CODES) != Some(rows) || !columns.is_multiple_of(groups) {
        return Err(format!(
            "has scales {shape:?} for words {words:?}, which fit no layer of {BITS} bits"
        ));
    }
    Ok(Found {
        name: name.to_owned(),
        layout: ExternalLayer::Awq(GridConfig {
            bits: BITS,
            group: if groups == 1 { 0 } else { columns / groups },
            symmetric: false,
            scale_dtype: ScaleDtype::F16,
        }),
        rows,
        columns,
        transposed: config.transposed,
        original_dtype: config.original_dtype,
        parts: vec![("qweight", qweight), ("qzeros", qzeros), ("scales", scales)],
    })
}

#[cfg(test)]
mod tests;
