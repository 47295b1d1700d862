//! Names under which mlx-lm saves its own GPT-2 and GPT-NeoX, told in those of transformers.
//!
//! Other families keep their names. mlx-lm also turns the weights of GPT-2 around (`[out, in]`): codes are read so, and
//! floats that lie so are refused, since a square one would be taken for what it is not. Of GPT-2 in our own MLX folders the
//! codes alone stand under such names.
//! (mlx-lm 0.32.2, `models/gpt2.py`, `models/gpt_neox.py`.)

use std::path::Path;

use serde_json::Value;

use super::super::error::CheckpointError;
use super::super::packed_source::packed_error;
use super::super::shards::Shards;
use super::text_of;

/// Starts of names as mlx-lm saves them, and what stands there otherwise, by `model_type`.
const STARTS: [(&str, &str, &str); 5] = [
    ("gpt2", "model.", ""),
    ("gpt_neox", "model.h.", "gpt_neox.layers."),
    ("gpt_neox", "model.embed_in.", "gpt_neox.embed_in."),
    (
        "gpt_neox",
        "model.final_layer_norm.",
        "gpt_neox.final_layer_norm.",
    ),
    ("gpt_neox", "model.embed_out.", "embed_out."),
];

/// Weights of GPT-2 that lie `[in, out]` in transformers.
const TURNED: [&str; 4] = ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"];

/// The name in transformers; `None` where it is the same.
pub(super) fn in_transformers(config: &Value, name: &str) -> Option<String> {
    let family = text_of(config, "model_type")?;
    STARTS.iter().find_map(|(known, start, instead)| {
        let rest = name.strip_prefix(start).filter(|_| *known == family)?;
        Some(format!("{instead}{rest}"))
    })
}

/// Gives the tensors of a model that mlx-lm saved the names of transformers.
pub(in crate::checkpoint) fn rename(
    root: &Path,
    config: &Value,
    shards: &mut Shards,
) -> Result<(), CheckpointError> {
    if text_of(config, "model_type") == Some("gpt2") {
        refuse_turned_floats(root, shards)?;
    }
    shards.rename(root, |name| in_transformers(config, name))
}

fn refuse_turned_floats(root: &Path, shards: &Shards) -> Result<(), CheckpointError> {
    let layers = shards.tensors.iter().filter_map(|tensor| {
        let layer = tensor.name.strip_suffix(".weight")?;
        let is_turned =
            layer.starts_with("model.h.") && TURNED.iter().any(|end| layer.ends_with(end));
        (is_turned && tensor.info.dtype.is_float()).then_some(layer)
    });
    match layers.min() {
        None => Ok(()),
        Some(layer) => Err(packed_error(
            root,
            layer,
            "lies [out, in], as mlx-lm saves the floats of GPT-2; open the model that it was made of".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::super::testing::{Tensor, layer_on, open_folder, refusal, tensors_of};
    use super::*;
    use crate::grid::{GridConfig, ScaleDtype};
    use crate::packed::ExternalLayer;
    use crate::tensor::{Dtype, WeightSource};
    use serde_json::json;

    const GRID: GridConfig = GridConfig {
        bits: 4,
        group: 32,
        symmetric: false,
        scale_dtype: ScaleDtype::F16,
    };

    fn config(family: &str) -> Value {
        let settings = json!({ "group_size": 32, "bits": 8, "model.h.1.attn.c_proj": { "group_size": 32, "bits": 4 } });
        json!({ "model_type": family, "quantization": settings })
    }

    fn codes(layer: &str) -> Vec<Tensor> {
        let solved = layer_on(GRID, 8, 64);
        let layout = ExternalLayer::Mlx { grid: GRID };
        let plan = crate::packed::ActivationPlan::NONE;
        tensors_of(layer, layout.pack(layer, &solved, &plan).unwrap())
    }

    fn floats(name: &str) -> Tensor {
        Tensor {
            name: name.to_owned(),
            dtype: Dtype::F32,
            shape: vec![4, 4],
            bytes: vec![0; 64],
        }
    }

    #[test]
    fn both_families_get_their_names_back() {
        let cases = [
            ("gpt2", "model.wte.scales", Some("wte.scales")),
            ("gpt2", "h.0.ln_1.weight", None),
            (
                "gpt_neox",
                "model.h.3.mlp.dense_h_to_4h.bias",
                Some("gpt_neox.layers.3.mlp.dense_h_to_4h.bias"),
            ),
            (
                "gpt_neox",
                "model.embed_out.weight",
                Some("embed_out.weight"),
            ),
            ("llama", "model.layers.0.mlp.up_proj.weight", None),
        ];
        for (family, name, expected) in cases {
            let found = in_transformers(&config(family), name);
            assert_eq!(found.as_deref(), expected, "{family} {name}");
        }
    }

    #[test]
    fn codes_of_gpt2_are_read_turned_and_with_their_own_settings() {
        let mut tensors = codes("model.h.1.attn.c_proj");
        tensors.push(floats("model.wpe.weight"));
        let model = open_folder(&config("gpt2"), &tensors).unwrap();
        let info = model.info("h.1.attn.c_proj.weight").unwrap();
        assert_eq!(info.shape, [64, 8]);
        let values = model.read_f32("h.1.attn.c_proj.weight").unwrap();
        let expected = layer_on(GRID, 8, 64).dequantize();
        for (row, column) in [(0, 0), (7, 63), (3, 20)] {
            let (found, expected) = (values[column * 8 + row], expected.row(row)[column]);
            assert!(
                (found - expected).abs() < 1e-3,
                "{row}, {column}: {found} instead of {expected}"
            );
        }
        assert!(model.info("wpe.weight").is_some());
    }

    #[test]
    fn turned_floats_and_names_that_meet_are_refused() {
        let mut tensors = codes("model.wte");
        tensors.push(floats("model.h.0.attn.c_proj.weight"));
        let error = refusal(open_folder(&config("gpt2"), &tensors));
        assert!(
            error.contains("model.h.0.attn.c_proj") && error.contains("[out, in]"),
            "{error}"
        );
        let twice = [floats("model.wpe.weight"), floats("wpe.weight")];
        let error = refusal(open_folder(&config("gpt2"), &twice));
        assert!(error.contains("wpe.weight"), "{error}");
    }
}
