//! What ONNX can hold of what a recipe asks, told before anything is solved.
//!
//! Knows no file. Codes of 2 and 3 bits lie in the room of 4 and codes of 5 to 7 bits in bytes, as they were solved.

use super::weight::{NIBBLE_BITS, OnnxForm, OnnxWeight, block_of, nearest_group};
use crate::formats::layout::{Held, left_dense};
use crate::model::LayerInfo;
use crate::report::Fallback;
use crate::settings::{ACTIVATION_BLOCKS, Activations, LayerSettings};
use crate::solved::Method;

/// `asked` as the container holds it.
pub(in crate::formats) fn hold(layer: &LayerInfo, asked: LayerSettings) -> Held {
    let kept = |settings, fallback| Held { settings, fallback };
    match asked.method {
        Method::None | Method::Float => return kept(asked, None),
        Method::Nf4 | Method::Palette => {
            return left_dense(
                asked,
                "operators of ONNX dequantize even steps, no levels; the nearest are rtn, gptq, awq or hqq with 4 bits",
            );
        }
        Method::Hqq if asked.bits > NIBBLE_BITS => {
            return left_dense(
                asked,
                "ONNX Runtime takes zeros that are fractions with codes of up to 4 bits; the nearest is rtn",
            );
        }
        Method::Hqq if !asked.prune.is_none() => {
            return left_dense(
                asked,
                "zeros that are fractions leave no code for a pruned weight",
            );
        }
        _ => {}
    }
    let mut settings = asked;
    let mut changes = Vec::new();
    let is_in_blocks = asked.bits <= NIBBLE_BITS;
    if is_in_blocks
        && block_of(
            asked.grid().groups(layer.columns),
            layer.columns,
            NIBBLE_BITS,
        )
        .is_none()
    {
        settings.group = nearest_group(asked.group);
        changes.push(Change {
            from: format!("group {}", asked.group),
            to: format!("group {}", settings.group),
            reason: "blocks of MatMulNBits are powers of two from 16 on".to_owned(),
        });
    }
    let room = if asked.bits <= NIBBLE_BITS { 4 } else { 8 };
    if asked.bits != room {
        changes.push(Change {
            from: format!("{} bits", asked.bits),
            to: format!("{} bits in the room of {room}", asked.bits),
            reason: "operators of ONNX take codes of 4 and 8 bits".to_owned(),
        });
    }
    if let Some((found, change)) = other_blocks(layer, &settings) {
        // So that errors and quality are those of what the runtime does, where our kernels can do it too.
        if ACTIVATION_BLOCKS.contains(&found) {
            settings.activation_block = found;
        }
        changes.push(change);
    }
    kept(settings, told(changes))
}

/// One thing that is done instead of another.
struct Change {
    from: String,
    to: String,
    reason: String,
}

fn told(changes: Vec<Change>) -> Option<Fallback> {
    let changes = changes.into_iter().map(|change| {
        Some(Fallback {
            from: change.from,
            to: change.to,
            reason: change.reason,
        })
    });
    changes.fold(None, Fallback::join)
}

/// The blocks in which the runtime rounds inputs, where they are others than asked.
fn other_blocks(layer: &LayerInfo, settings: &LayerSettings) -> Option<(usize, Change)> {
    if settings.activations != Activations::Dynamic8 {
        return None;
    }
    let asked = settings.activation_block;
    let words = |block: usize| match block {
        0 => "a scale for each token".to_owned(),
        block => format!("activation block {block}"),
    };
    let (found, reason) = match OnnxWeight::of_settings(layer, settings).form {
        OnnxForm::Blocks { block, .. } => (
            block,
            "MatMulNBits rounds inputs in the blocks of its weights",
        ),
        _ if asked > 0 && !layer.columns.is_multiple_of(asked) => (
            0,
            "operators of ONNX cut a row of inputs into even blocks only",
        ),
        _ => return None,
    };
    let change = || Change {
        from: words(asked),
        to: words(found),
        reason: reason.to_owned(),
    };
    (found != asked).then(|| (found, change()))
}
