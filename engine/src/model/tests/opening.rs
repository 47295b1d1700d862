//! Opening: what config and headers must agree on, and that no data are read for it.

use super::memory::Memory;
use super::shapes::{random_model, random_weights, shapes};
use crate::model::{LayerKind, Model, ModelConfig, ModelError, list_layers};
use crate::tensor::{Dtype, SourceError, TensorInfo, WeightSource};
use serde_json::{Value, json};
use std::sync::Arc;

/// Headers only: asking for data is a mistake.
struct HeadersOnly(Memory);

impl WeightSource for HeadersOnly {
    fn names(&self) -> Vec<String> {
        self.0.names()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        let dtype = if name.ends_with("inv_freq") {
            Dtype::I64
        } else {
            Dtype::BF16
        };
        Some(TensorInfo {
            dtype,
            ..self.0.info(name)?
        })
    }

    fn read_f32(&self, name: &str) -> Result<Vec<f32>, SourceError> {
        panic!("{name} was read")
    }

    fn read_bytes(&self, name: &str, _: u64, _: &mut [u8]) -> Result<(), SourceError> {
        panic!("{name} was read")
    }
}

fn shape_of(label: &str) -> Value {
    shapes()
        .into_iter()
        .find(|(own, _)| *own == label)
        .unwrap()
        .1
}

fn llama() -> Value {
    shape_of("llama, llama3 rope")
}

fn open(memory: Memory, config: &Value) -> Result<Model, ModelError> {
    Model::open(Arc::new(HeadersOnly(memory)), config)
}

fn weights(config: &Value) -> Memory {
    random_weights(&ModelConfig::parse(config).unwrap(), 1)
}

#[test]
fn opening_reads_no_data_and_lists_every_tensor() {
    for (label, config) in shapes() {
        let memory = weights(&config);
        let names = memory.names();
        let model = open(memory, &config).unwrap();
        let mut listed: Vec<_> = model
            .layers()
            .iter()
            .map(|layer| layer.tensor.clone())
            .collect();
        listed.sort();
        assert_eq!(listed, names, "{label}");
    }
}

#[test]
fn a_prefix_may_be_absent() {
    for (label, config) in shapes() {
        let (parsed, memory, model) = random_model(&config);
        let prefix = parsed.family.names().prefixes[0];
        let bare = Memory {
            tensors: memory
                .tensors
                .iter()
                .map(|(name, tensor)| {
                    (
                        name.strip_prefix(prefix).unwrap_or(name).to_owned(),
                        tensor.clone(),
                    )
                })
                .collect(),
        };
        let bare = Model::open(Arc::new(bare), &config).unwrap();
        let ids = [3, 1, 4, 1, 5];
        let (one, other) = (model.forward(&ids).unwrap(), bare.forward(&ids).unwrap());
        assert_eq!(
            super::shapes::values(&one),
            super::shapes::values(&other),
            "{label}"
        );
    }
}

#[test]
fn a_missing_key_is_named() {
    for (label, config) in shapes() {
        for key in [
            "hidden_size",
            "n_embd",
            "dim",
            "num_hidden_layers",
            "num_attention_heads",
            "vocab_size",
            "max_position_embeddings",
            "rms_norm_eps",
        ] {
            let mut lacking = config.clone();
            if lacking.as_object_mut().unwrap().remove(key).is_none() {
                continue;
            }
            let Err(error) = ModelConfig::parse(&lacking) else {
                // Layer-norm families do not read the other norm's key.
                assert_eq!(key, "rms_norm_eps", "{label}");
                continue;
            };
            assert!(error.to_string().contains(key), "{label}: {error}");
        }
    }
}

#[test]
fn hostile_values_are_errors_that_name_the_key() {
    let cases = [
        ("num_attention_heads", json!(0)),
        ("num_attention_heads", json!(-4)),
        ("num_attention_heads", json!(5)),
        ("num_key_value_heads", json!(0)),
        ("num_key_value_heads", json!(3)),
        ("num_hidden_layers", json!(0)),
        ("num_hidden_layers", json!(u64::MAX)),
        ("num_hidden_layers", json!(1_000_000)),
        ("hidden_size", json!(23)),
        ("hidden_size", json!(1e300)),
        ("hidden_size", json!("24")),
        ("vocab_size", json!(u64::MAX)),
        ("head_dim", json!(7)),
        ("head_dim", json!(0)),
        ("rms_norm_eps", json!(-1.0)),
        ("rms_norm_eps", json!([])),
        ("rope_theta", json!(0)),
        ("rope_theta", json!(1.0)),
        ("hidden_act", json!("mystery")),
        ("tie_word_embeddings", json!(3)),
        ("model_type", json!("mystery")),
        ("model_type", json!(7)),
        ("rope_type", json!({"rope_scaling": {"type": "mystery"}})),
        ("factor", json!({"rope_scaling": {"type": "linear"}})),
        (
            "factor",
            json!({"rope_scaling": {"type": "yarn", "factor": 0.0}}),
        ),
        (
            "low_freq_factor",
            json!({"rope_scaling": {"type": "llama3", "factor": 2.0}}),
        ),
        (
            "short_factor",
            json!({"rope_scaling": {"type": "longrope", "short_factor": [1.0]}}),
        ),
    ];
    for (key, value) in cases {
        let mut config = llama();
        match &value {
            Value::Object(changes) => changes
                .iter()
                .for_each(|(key, value)| config[key] = value.clone()),
            _ => config[key] = value.clone(),
        }
        let error = ModelConfig::parse(&config).expect_err(&format!("{key} = {value}"));
        let known_elsewhere = ["hidden_size", "num_key_value_heads", "model_type"];
        let named = error.to_string().contains(key);
        assert!(
            named
                || known_elsewhere
                    .iter()
                    .any(|word| error.to_string().contains(word)),
            "{key} = {value}: {error}"
        );
    }
    assert!(ModelConfig::parse(&json!(null)).is_err());
    assert!(ModelConfig::parse(&json!([1, 2])).is_err());
}

#[test]
fn huge_sizes_fail_at_the_first_tensor_that_contradicts_them() {
    let mut config = llama();
    let memory = weights(&config);
    config["num_hidden_layers"] = json!(60_000);
    let error = open(memory.clone(), &config).unwrap_err();
    assert!(
        matches!(&error, ModelError::MissingTensor { name } if name.contains("layers.2.")),
        "{error}"
    );
    config["vocab_size"] = json!(1 << 30);
    let error = open(memory, &config).unwrap_err();
    assert!(
        matches!(&error, ModelError::WrongShape { expected, .. } if expected[0] == 1 << 30),
        "{error}"
    );
}

#[test]
fn each_tensor_that_does_not_fit_is_named_with_both_shapes() {
    for (label, config) in shapes() {
        let memory = weights(&config);
        for name in memory.names() {
            let mut wrong = memory.clone();
            let (shape, values) = wrong.tensors.get_mut(&name).unwrap();
            *shape = vec![values.len(), 1, 1];
            let found = shape.clone();
            match open(wrong, &config).unwrap_err() {
                ModelError::WrongShape {
                    name: named,
                    found: seen,
                    expected,
                } => {
                    assert_eq!((named, seen), (name.clone(), found), "{label}");
                    assert_eq!(expected, memory.tensors[&name].0, "{label}");
                }
                other => panic!("{label}, {name}: {other}"),
            }
            let mut lacking = memory.clone();
            lacking.tensors.remove(&name);
            let error = open(lacking, &config).unwrap_err().to_string();
            // Without the embedding the usual prefix is assumed, which is this one.
            assert!(error.contains(&name), "{label}, {name}: {error}");
        }
    }
}

#[test]
fn integer_weights_are_refused_and_foreign_buffers_are_listed() {
    let config = llama();
    let mut memory = weights(&config);
    let buffer = "model.layers.0.self_attn.rotary_emb.inv_freq";
    memory
        .tensors
        .insert(buffer.to_owned(), (vec![3], vec![0.0; 3]));
    let model = open(memory, &config).unwrap();
    let last = model.layers().last().unwrap();
    assert_eq!(
        (last.name.as_str(), last.kind, last.compressible),
        (buffer, LayerKind::Other, false)
    );

    struct Integers(Memory);
    impl WeightSource for Integers {
        fn names(&self) -> Vec<String> {
            self.0.names()
        }
        fn info(&self, name: &str) -> Option<TensorInfo> {
            Some(TensorInfo {
                dtype: Dtype::U8,
                ..self.0.info(name)?
            })
        }
        fn read_f32(&self, _: &str) -> Result<Vec<f32>, SourceError> {
            unreachable!()
        }
        fn read_bytes(&self, _: &str, _: u64, _: &mut [u8]) -> Result<(), SourceError> {
            unreachable!()
        }
    }
    let error = Model::open(Arc::new(Integers(weights(&config))), &config).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("model.embed_tokens.weight holds u8"),
        "{error}"
    );
}

#[test]
fn layers_stand_in_forward_order_with_roles_and_peers() {
    let model = open(weights(&llama()), &llama()).unwrap();
    let rows: Vec<_> = model.layers()[..11]
        .iter()
        .map(|l| {
            (
                l.name.as_str(),
                l.role.as_str(),
                l.block,
                l.fused_peers,
                l.compressible,
            )
        })
        .collect();
    let at =
        |name: &'static str, role, peers, compressible| (name, role, Some(0), peers, compressible);
    assert_eq!(
        rows,
        [
            ("model.embed_tokens", "embedding", None, None, true),
            at("model.layers.0.input_layernorm", "norm", None, false),
            at(
                "model.layers.0.self_attn.q_proj",
                "attention.q",
                Some(0),
                true
            ),
            at(
                "model.layers.0.self_attn.k_proj",
                "attention.k",
                Some(0),
                true
            ),
            at(
                "model.layers.0.self_attn.v_proj",
                "attention.v",
                Some(0),
                true
            ),
            at("model.layers.0.self_attn.o_proj", "attention.o", None, true),
            at(
                "model.layers.0.post_attention_layernorm",
                "norm",
                None,
                false
            ),
            at("model.layers.0.mlp.gate_proj", "mlp.gate", Some(1), true),
            at("model.layers.0.mlp.up_proj", "mlp.up", Some(1), true),
            at("model.layers.0.mlp.down_proj", "mlp.down", None, true),
            (
                "model.layers.1.input_layernorm",
                "norm",
                Some(1),
                None,
                false
            ),
        ]
    );
    let gpt2 = shape_of("gpt2");
    let gpt2 = open(weights(&gpt2), &gpt2).unwrap();
    let fused = gpt2
        .layers()
        .iter()
        .find(|l| l.name.ends_with("0.attn.c_attn"))
        .unwrap();
    assert_eq!(
        (fused.rows, fused.columns, &fused.shape, fused.transposed),
        (72, 24, &vec![24, 72], true)
    );
}

#[test]
fn unknown_networks_list_every_matrix_as_compressible_in_natural_order() {
    let mut memory = Memory::default();
    for (name, shape) in [
        ("b.10.w.weight", vec![4, 6]),
        ("b.2.w.weight", vec![4, 6]),
        ("b.2.w.bias", vec![4]),
        ("b.2.conv.weight", vec![2, 3, 4]),
        ("table", vec![2, 2]),
    ] {
        let values = vec![0.0; shape.iter().product()];
        memory.tensors.insert(name.to_owned(), (shape, values));
    }
    let rows: Vec<_> = list_layers(&HeadersOnly(memory), None)
        .into_iter()
        .map(|layer| (layer.name, layer.rows, layer.columns, layer.compressible))
        .collect();
    let row =
        |name: &str, rows, columns, compressible| (name.to_owned(), rows, columns, compressible);
    assert_eq!(
        rows,
        [
            row("b.2.conv", 2, 12, false),
            row("b.2.w.bias", 4, 1, false),
            row("b.2.w", 4, 6, true),
            row("b.10.w", 4, 6, true),
            row("table", 2, 2, false),
        ]
    );
    let unknown = Model::open(
        Arc::new(Memory::default()),
        &json!({"model_type": "mystery"}),
    );
    assert!(matches!(unknown, Err(ModelError::UnknownFamily { .. })));
}

#[test]
fn ids_and_lengths_out_of_range_are_errors() {
    let (_, _, llama) = random_model(&llama());
    assert!(matches!(
        llama.forward(&[53]),
        Err(ModelError::TokenOutOfRange {
            token: 53,
            vocabulary: 53
        })
    ));
    assert!(matches!(llama.forward(&[]), Err(ModelError::Misuse { .. })));
    let (_, _, gpt2) = random_model(&shape_of("gpt2"));
    assert!(gpt2.forward(&[1; 32]).is_ok());
    assert!(matches!(
        gpt2.forward(&[1; 33]),
        Err(ModelError::TooLong {
            tokens: 33,
            limit: 32
        })
    ));
    let (_, _, opt) = random_model(&shape_of("opt"));
    assert!(opt.forward(&[1; 64]).is_ok());
    assert!(matches!(
        opt.forward(&[1; 65]),
        Err(ModelError::TooLong {
            tokens: 65,
            limit: 64
        })
    ));
    let (_, _, roberta) = random_model(&shape_of("roberta"));
    assert!(roberta.forward(&[5; 62]).is_ok());
    assert!(matches!(
        roberta.forward(&[5; 63]),
        Err(ModelError::TooLong {
            tokens: 63,
            limit: 62
        })
    ));
}

#[test]
fn tied_heads_share_the_embedding() {
    let config = shape_of("llama, as many key heads, tied");
    let (parsed, memory, model) = random_model(&config);
    let mut ends = model.load_ends().unwrap();
    assert_eq!(ends.head_layer(), None);
    let layer = ends.embedding_layer();
    let table = ends.weights(layer).unwrap();
    assert_eq!(table.data(), memory.tensors["model.embed_tokens.weight"].1);
    let context = model.context(2).unwrap();
    let hidden = ends.embed(&[7, 9], &context).unwrap();
    let halved = crate::tensor::Matrix::from_fn(parsed.vocabulary, parsed.hidden, |r, c| {
        table.row(r)[c] / 2.0
    });
    let before = super::shapes::values(&ends.head(&hidden).unwrap());
    ends.set_weights(layer, &halved).unwrap();
    let after = super::shapes::values(&ends.head(&hidden).unwrap());
    assert!(
        before
            .iter()
            .zip(&after)
            .all(|(b, a)| (b / 2.0 - a).abs() < 1e-5)
    );
    assert!(ends.set_weights(layer + 1, &halved).is_err());
}
