//! The container of bitsandbytes' 4-bit layers: what it holds, and the `quantization_config` that transformers reads.
//!
//! transformers takes every linear layer of a model for a 4-bit one, but those that `llm_int8_skip_modules` names: by the
//! start of their names, or by the end. Once the list is there, nothing is left out by itself, so that the output head is
//! named too.

use super::super::preflight::{Held, left_dense};
use super::super::{FileContent, Placement, Plan};
use super::changed;
use crate::model::LayerInfo;
use crate::packed::ExternalLayer;
use crate::packed::bnb::{self, Layout, Unfit};
use crate::report::Fallback;
use crate::settings::{LayerSettings, Rank};
use crate::solved::Method;
use crate::tensor::Dtype;
use serde_json::{Value, json};

/// Output heads that are no tensors of their own where they share the embedding's.
const HEADS: [&str; 2] = ["lm_head", "embed_out"];

/// Bits of every code.
const BITS: u8 = 4;

/// What the container holds of settings with codes. What asks for no more than 4 bits becomes NF4; what asks for more
/// would lose too much of it.
pub(super) fn hold(layer: &LayerInfo, asked: LayerSettings) -> Held {
    if asked.rank != Rank::None {
        return left_dense(asked, Unfit::Factors.to_string());
    }
    let mut settings = asked;
    let mut told = None;
    let mut tell = |from: String, to: String, reason: Unfit| {
        told = Fallback::join(told.take(), Some(changed(from, to, reason.to_string())));
    };
    let unfit =
        |settings: &LayerSettings| bnb::unfit(settings.method, settings.nf4_block(), layer.columns);
    if let Some(reason @ Unfit::Method(method)) = unfit(&settings) {
        if asked.bits > BITS {
            return left_dense(asked, format!("{reason} of {} bits", asked.bits));
        }
        settings.method = Method::Nf4;
        settings.bits = BITS;
        tell(
            method.word().to_owned(),
            Method::Nf4.word().to_owned(),
            reason,
        );
    }
    if let Some(reason @ Unfit::Block { block, columns }) = unfit(&settings)
        && let Some(nearest) = bnb::nearest_block(block, columns)
    {
        settings.group = nearest;
        tell(format!("group {block}"), format!("group {nearest}"), reason);
    }
    match unfit(&settings) {
        Some(reason) => left_dense(asked, reason.to_string()),
        None => Held {
            settings,
            fallback: told,
        },
    }
}

/// Where a layer lies whose settings were held.
pub(super) fn layer(layer: &LayerInfo, settings: &LayerSettings) -> ExternalLayer {
    ExternalLayer::Bnb(Layout::nf4(
        settings.nf4_block(),
        settings.double_quant,
        layer.dtype,
    ))
}

/// The `quantization_config` of a plan whose tensors are settled; at least one layer lies in this layout.
pub(super) fn quantization_config(plan: &Plan) -> Value {
    let layouts: Vec<Layout> = plan
        .layers
        .iter()
        .filter_map(|layer| layout(layer.placement))
        .collect();
    let compute = match layouts.first().map(|layout| layout.dtype) {
        Some(Dtype::F16) => "float16",
        Some(Dtype::BF16) => "bfloat16",
        _ => "float32",
    };
    json!({
        "quant_method": "bitsandbytes",
        "load_in_4bit": true,
        "load_in_8bit": false,
        "_load_in_4bit": true,
        "_load_in_8bit": false,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": layouts.iter().any(|layout| layout.double_quant),
        "bnb_4bit_compute_dtype": compute,
        "bnb_4bit_quant_storage": "uint8",
        "llm_int8_skip_modules": dense_modules(plan),
        "llm_int8_threshold": 6.0,
        "llm_int8_has_fp16_weight": false,
        "llm_int8_enable_fp32_cpu_offload": false,
    })
}

/// Weights into which vLLM fuses others: it asks for the fused one by name. Peers lie alike, so that the first speaks for all.
const FUSED: [(&str, &str); 2] = [("q_proj", "qkv_proj"), ("gate_proj", "gate_up_proj")];

/// Modules whose weights are matrices of floats, those that they are fused into, and heads that have none.
fn dense_modules(plan: &Plan) -> Vec<String> {
    let files = plan.files.iter();
    let tensors = files.flat_map(|file| match &file.content {
        FileContent::Tensors { tensors, .. } => tensors.as_slice(),
        _ => &[],
    });
    let mut modules: Vec<String> = tensors
        .map(|tensor| &tensor.spec)
        .filter(|spec| spec.dtype.is_float() && spec.shape.len() == 2)
        .filter_map(|spec| spec.name.strip_suffix(".weight"))
        .map(str::to_owned)
        .collect();
    let fused: Vec<String> = modules.iter().filter_map(|name| fused_into(name)).collect();
    modules.extend(fused);
    for head in HEADS {
        if !modules.iter().any(|module| module == head) {
            modules.push(head.to_owned());
        }
    }
    modules
}

/// The module that stands for this one and its peers in vLLM.
fn fused_into(module: &str) -> Option<String> {
    FUSED.iter().find_map(|(first, fused)| {
        let parent = module.strip_suffix(first)?;
        (parent.is_empty() || parent.ends_with('.')).then(|| format!("{parent}{fused}"))
    })
}

fn layout(placement: Placement) -> Option<Layout> {
    match placement {
        Placement::External(ExternalLayer::Bnb(layout)) => Some(layout),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_peers_leave_their_fused_weight_out_too() {
        let found = ["m.0.q_proj", "gate_proj", "m.0.k_proj", "m.0.eq_proj"].map(fused_into);
        let named = |name: &str| Some(name.to_owned());
        let expected = [named("m.0.qkv_proj"), named("gate_up_proj"), None, None];
        assert_eq!(found, expected);
    }
}
