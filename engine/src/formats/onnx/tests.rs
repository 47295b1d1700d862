//! Laws of the graphs of every family, and of the bytes that they become.
#![allow(clippy::unwrap_used)]

use super::graph::{Graph, Node};
use super::network::Network;
use super::weight::{BlockZeros, OnnxForm, OnnxWeight};
use super::{plan, proto};
use crate::formats::layout::PlanSource;
use crate::grid::{GridConfig, ScaleDtype};
use crate::model::testing::{random_model, tiny_bert, tiny_llama};
use crate::model::{LayerKind, Model};
use crate::packed::{ActivationKind, FactorKind};
use crate::settings::Activations;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// A tiny network of every family.
fn families() -> Vec<Value> {
    let like = |base: Value, more: Value| {
        let mut config = base;
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        config
    };
    let long = json!({"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0, 1.1],
        "long_factor": [1.0, 2.0], "original_max_position_embeddings": 16});
    vec![
        tiny_llama(),
        like(
            tiny_llama(),
            json!({"tie_word_embeddings": true, "attention_bias": true}),
        ),
        like(
            tiny_llama(),
            json!({"model_type": "mistral", "sliding_window": 8}),
        ),
        like(tiny_llama(), json!({"model_type": "qwen2"})),
        like(tiny_llama(), json!({"model_type": "qwen3", "head_dim": 4})),
        like(
            tiny_llama(),
            json!({"model_type": "phi3", "rope_parameters": long}),
        ),
        like(
            tiny_llama(),
            json!({"model_type": "gemma3_text", "head_dim": 4, "sliding_window": 8,
            "hidden_activation": "gelu_pytorch_tanh", "sliding_window_pattern": 2, "tie_word_embeddings": true,
            "attn_logit_softcapping": 20.0, "final_logit_softcapping": 30.0}),
        ),
        json!({"model_type": "gpt2", "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 32, "vocab_size": 37,
            "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new"}),
        json!({"model_type": "gpt_neox", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 24, "max_position_embeddings": 32, "vocab_size": 37, "hidden_act": "gelu",
            "layer_norm_eps": 1e-5, "rotary_pct": 0.5, "tie_word_embeddings": false}),
        json!({"model_type": "opt", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 24,
            "max_position_embeddings": 32, "vocab_size": 37, "word_embed_proj_dim": 8}),
        tiny_bert(),
        like(
            tiny_bert(),
            json!({"model_type": "roberta", "type_vocab_size": 1, "pad_token_id": 1}),
        ),
        json!({"model_type": "distilbert", "dim": 16, "n_layers": 2, "n_heads": 4, "hidden_dim": 24, "vocab_size": 37,
            "max_position_embeddings": 32}),
    ]
}

fn graph_of(model: &Model, weights: &HashMap<String, OnnxWeight>) -> Graph {
    Network::graph(model.config(), model.source().as_ref(), weights).unwrap()
}

/// Every layer of `model` in this form.
fn all_as(
    model: &Model,
    form: OnnxForm,
    mode: Activations,
    rank: usize,
) -> HashMap<String, OnnxWeight> {
    let layers = model.layers().iter().filter(|layer| layer.compressible);
    let weight = |is_table: bool| OnnxWeight {
        form,
        factors: (rank > 0).then_some(FactorKind {
            rank,
            dtype: ScaleDtype::F16,
        }),
        activations: ActivationKind { mode, block: 0 },
        is_table,
    };
    layers
        .map(|layer| {
            let is_table = layer.kind == LayerKind::Embedding;
            (layer.tensor.clone(), weight(is_table))
        })
        .collect()
}

/// Every value has one maker and is made before it is used; no constant and no node is idle.
fn check_laws(graph: &Graph) -> Result<(), String> {
    let mut made = HashSet::new();
    let constants = graph.constants.iter().map(|constant| &constant.name);
    let stored = graph.stored.iter().map(|tensor| &tensor.name);
    let inputs = graph.inputs.iter().map(|port| &port.name);
    for name in constants.chain(stored).chain(inputs) {
        if !made.insert(name.clone()) {
            return Err(format!("{name} is there twice"));
        }
    }
    let mut used = HashSet::new();
    for Node {
        name,
        inputs,
        outputs,
        ..
    } in &graph.nodes
    {
        for input in inputs.iter().filter(|input| !input.is_empty()) {
            if !made.contains(input) {
                return Err(format!("{name} uses {input}, which is not made yet"));
            }
            used.insert(input.clone());
        }
        for output in outputs {
            if !made.insert(output.clone()) {
                return Err(format!("{output} is made twice"));
            }
        }
    }
    used.extend(graph.outputs.iter().map(|port| port.name.clone()));
    let splits = |name: &String| name.contains("/split/");
    match made
        .iter()
        .find(|name| !used.contains(*name) && !splits(name))
    {
        Some(idle) => Err(format!("nobody uses {idle}")),
        None => Ok(()),
    }
}

fn forms() -> Vec<OnnxForm> {
    let grid = |symmetric, group| GridConfig {
        bits: 8,
        group,
        symmetric,
        scale_dtype: ScaleDtype::F16,
    };
    let blocks = |bits, zeros| OnnxForm::Blocks {
        bits,
        block: 16,
        zeros,
        scale_dtype: ScaleDtype::F32,
    };
    vec![
        OnnxForm::Values(crate::tensor::Dtype::BF16),
        OnnxForm::Bytes(grid(true, 0)),
        OnnxForm::Bytes(grid(false, 7)),
        blocks(4, BlockZeros::Middle),
        blocks(4, BlockZeros::Whole),
        blocks(8, BlockZeros::Whole),
        blocks(4, BlockZeros::Fractional),
    ]
}

#[test]
fn graphs_of_every_family_and_form_are_well_formed() {
    for config in families() {
        let model = random_model(&config, 3, 0.0);
        let told = |found: Result<(), String>, what: &dyn std::fmt::Debug| {
            if let Err(problem) = found {
                panic!("{} {what:?}: {problem}", config["model_type"]);
            }
        };
        told(check_laws(&graph_of(&model, &HashMap::new())), &"dense");
        for form in forms() {
            for mode in Activations::ALL {
                for rank in [0, 2] {
                    let weights = all_as(&model, form, mode, rank);
                    let mut graph = graph_of(&model, &weights);
                    // The step of a table that is no head is nobody's.
                    graph.stored.retain(|tensor| {
                        !tensor.name.ends_with(".activation_step")
                            || graph
                                .nodes
                                .iter()
                                .any(|node| node.inputs.contains(&tensor.name))
                    });
                    told(check_laws(&graph), &(form, mode, rank));
                }
            }
        }
    }
}

#[test]
fn a_written_graph_names_every_tensor_at_its_place() {
    for config in families() {
        let model = random_model(&config, 3, 0.0);
        let source = PlanSource {
            weights: model.source().as_ref(),
            packed: None,
            config: Some(&config),
            root: Path::new("model"),
            side_files: &[],
            made_files: &[],
        };
        let weights = all_as(&model, forms()[4], Activations::None, 0);
        let planned = plan(&source, weights).unwrap();
        let (found, nodes) = proto::read(&planned.model).unwrap();
        assert!(nodes > 20, "{nodes} nodes");
        assert_eq!(found.len(), planned.tensors.len());
        let mut end = 0;
        for (tensor, found) in planned.tensors.iter().zip(&found) {
            assert_eq!((&tensor.name, tensor.offset), (&found.name, found.offset));
            assert_eq!(
                (Some(tensor.element), tensor.size_bytes),
                (found.element, found.length)
            );
            assert!(found.offset >= end && found.offset.is_multiple_of(64));
            end = found.offset + found.length;
        }
        assert_eq!(end, planned.data_bytes);
    }
}

#[test]
fn what_is_no_network_is_refused_in_words() {
    let model = random_model(&tiny_llama(), 3, 0.0);
    let refused = |config: Option<&Value>| {
        let source = PlanSource {
            weights: model.source().as_ref(),
            packed: None,
            config,
            root: Path::new("model"),
            side_files: &[],
            made_files: &[],
        };
        plan(&source, HashMap::new()).unwrap_err().to_string()
    };
    let with = |key: &str, value: Value| {
        let mut config = tiny_llama();
        config[key] = value;
        config
    };
    let rows = [
        (None, "no config.json"),
        (Some(with("model_type", json!("t5"))), "t5"),
        (Some(with("num_hidden_layers", json!(3))), "layers.2"),
        (
            Some(with("num_hidden_layers", json!(1u64 << 60))),
            "must be a whole number",
        ),
        (Some(with("hidden_size", json!(1u64 << 40))), "hidden_size"),
        (Some(with("vocab_size", json!(38))), "shape"),
    ];
    for (config, expected) in rows {
        let found = refused(config.as_ref());
        assert!(
            found.contains(expected),
            "expected {expected:?} in {found:?}"
        );
        assert!(found.contains("cannot be written as ONNX"), "{found}");
    }
}

proptest! {
    #[test]
    fn damaged_files_are_read_as_errors_or_as_something(place in 0usize..4000, value in any::<u8>(), cut in 0usize..4000) {
        let model = random_model(&tiny_bert(), 3, 0.0);
        let graph = graph_of(&model, &HashMap::new());
        let mut bytes = proto::model(&graph, "bert");
        let last = bytes.len() - 1;
        bytes[place.min(last)] = value;
        bytes.truncate(cut.max(1).min(last));
        // Whatever it says, it is told without a panic and without room for what is not there.
        let _ = proto::read(&bytes);
    }
}
