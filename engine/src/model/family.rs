//! The table of families: what tensors are called, and which words of `config.json` carry the sizes.
//!
//! A new family is a new row here and, where it brings a new switch, a line in `config`. Knows no shapes and no data.

/// A network that can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Family {
    Llama,
    Mistral,
    Qwen2,
    Qwen3,
    Phi3,
    Gemma3,
    #[serde(rename = "gpt2")]
    Gpt2,
    GptNeox,
    Opt,
    Bert,
    Roberta,
    #[serde(rename = "distilbert")]
    DistilBert,
}

/// Names inside one block, without `.weight` and `.bias`; `None` where the family has no such tensor.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct BlockNames {
    pub attention_norm: &'static str,
    pub query: Option<&'static str>,
    pub key: Option<&'static str>,
    pub value: Option<&'static str>,
    pub fused: Option<&'static str>,
    pub query_norm: Option<&'static str>,
    pub key_norm: Option<&'static str>,
    pub output: &'static str,
    pub attention_post_norm: Option<&'static str>,
    pub mlp_norm: &'static str,
    pub gate: Option<&'static str>,
    pub gate_up: Option<&'static str>,
    pub up: Option<&'static str>,
    pub down: &'static str,
    pub mlp_post_norm: Option<&'static str>,
}

/// Names outside the blocks. All but `head` follow the prefix.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Names {
    /// Tried in this order; the first under which the embedding exists is used.
    pub prefixes: &'static [&'static str],
    pub embedding: &'static str,
    pub position: Option<&'static str>,
    pub token_type: Option<&'static str>,
    pub embedding_norm: Option<&'static str>,
    pub project_in: Option<&'static str>,
    pub project_out: Option<&'static str>,
    pub final_norm: Option<&'static str>,
    pub head: Option<&'static str>,
    /// What stands before a block's number.
    pub blocks: &'static str,
    pub block: BlockNames,
}

/// Words of `config.json` for the sizes that every family has.
#[derive(Debug)]
pub(super) struct SizeKeys {
    pub(super) hidden: &'static str,
    pub(super) blocks: &'static str,
    pub(super) heads: &'static str,
    pub(super) intermediate: &'static str,
    pub(super) context_length: &'static str,
    pub(super) activation: &'static str,
    pub(super) norm_epsilon: &'static str,
    /// Used where the config does not say.
    pub(super) default_activation: &'static str,
}

impl Family {
    /// The family of a `model_type`.
    pub(super) fn of(model_type: &str) -> Option<Self> {
        Some(match model_type {
            "llama" => Self::Llama,
            "mistral" => Self::Mistral,
            "qwen2" => Self::Qwen2,
            "qwen3" => Self::Qwen3,
            "phi3" => Self::Phi3,
            "gemma3_text" => Self::Gemma3,
            "gpt2" => Self::Gpt2,
            "gpt_neox" => Self::GptNeox,
            "opt" => Self::Opt,
            "bert" => Self::Bert,
            "roberta" | "xlm-roberta" | "camembert" => Self::Roberta,
            "distilbert" => Self::DistilBert,
            _ => return None,
        })
    }

    /// As `inspect` prints it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Phi3 => "phi3",
            Self::Gemma3 => "gemma3",
            Self::Gpt2 => "gpt2",
            Self::GptNeox => "gpt_neox",
            Self::Opt => "opt",
            Self::Bert => "bert",
            Self::Roberta => "roberta",
            Self::DistilBert => "distilbert",
        }
    }

    /// Whether it gives hidden states (and sees both directions) instead of next-token logits.
    pub fn is_encoder(self) -> bool {
        matches!(self, Self::Bert | Self::Roberta | Self::DistilBert)
    }

    /// Whether head and embedding are one tensor where the config does not say.
    pub(super) fn tied_by_default(self) -> bool {
        matches!(self, Self::Gemma3 | Self::Gpt2 | Self::Opt)
    }

    /// What its tensors are called.
    pub fn names(self) -> &'static Names {
        match self {
            Self::Llama | Self::Mistral | Self::Qwen2 | Self::Qwen3 => &LLAMA,
            Self::Phi3 => &PHI3,
            Self::Gemma3 => &GEMMA3,
            Self::Gpt2 => &GPT2,
            Self::GptNeox => &GPT_NEOX,
            Self::Opt => &OPT,
            Self::Bert => &BERT,
            Self::Roberta => &ROBERTA,
            Self::DistilBert => &DISTILBERT,
        }
    }

    pub(super) fn size_keys(self) -> &'static SizeKeys {
        match self {
            Self::Gpt2 => &SizeKeys {
                hidden: "n_embd",
                blocks: "n_layer",
                heads: "n_head",
                intermediate: "n_inner",
                context_length: "n_positions",
                activation: "activation_function",
                norm_epsilon: "layer_norm_epsilon",
                default_activation: "gelu_new",
            },
            Self::Opt => &SizeKeys {
                intermediate: "ffn_dim",
                activation: "activation_function",
                norm_epsilon: "layer_norm_eps",
                default_activation: "relu",
                ..COMMON_KEYS
            },
            Self::DistilBert => &SizeKeys {
                hidden: "dim",
                blocks: "n_layers",
                heads: "n_heads",
                intermediate: "hidden_dim",
                activation: "activation",
                norm_epsilon: "layer_norm_eps",
                default_activation: "gelu",
                ..COMMON_KEYS
            },
            Self::GptNeox | Self::Bert | Self::Roberta => &SizeKeys {
                norm_epsilon: "layer_norm_eps",
                default_activation: "gelu",
                ..COMMON_KEYS
            },
            Self::Gemma3 => &SizeKeys {
                activation: "hidden_activation",
                default_activation: "gelu_pytorch_tanh",
                ..COMMON_KEYS
            },
            _ => &COMMON_KEYS,
        }
    }
}

const COMMON_KEYS: SizeKeys = SizeKeys {
    hidden: "hidden_size",
    blocks: "num_hidden_layers",
    heads: "num_attention_heads",
    intermediate: "intermediate_size",
    context_length: "max_position_embeddings",
    activation: "hidden_act",
    norm_epsilon: "rms_norm_eps",
    default_activation: "silu",
};

const LLAMA_BLOCK: BlockNames = BlockNames {
    attention_norm: "input_layernorm",
    query: Some("self_attn.q_proj"),
    key: Some("self_attn.k_proj"),
    value: Some("self_attn.v_proj"),
    fused: None,
    query_norm: Some("self_attn.q_norm"),
    key_norm: Some("self_attn.k_norm"),
    output: "self_attn.o_proj",
    attention_post_norm: None,
    mlp_norm: "post_attention_layernorm",
    gate: Some("mlp.gate_proj"),
    gate_up: None,
    up: Some("mlp.up_proj"),
    down: "mlp.down_proj",
    mlp_post_norm: None,
};

const LLAMA: Names = Names {
    prefixes: &["model.", ""],
    embedding: "embed_tokens",
    position: None,
    token_type: None,
    embedding_norm: None,
    project_in: None,
    project_out: None,
    final_norm: Some("norm"),
    head: Some("lm_head"),
    blocks: "layers.",
    block: LLAMA_BLOCK,
};

const PHI3: Names = Names {
    block: BlockNames {
        query: None,
        key: None,
        value: None,
        fused: Some("self_attn.qkv_proj"),
        gate: None,
        gate_up: Some("mlp.gate_up_proj"),
        up: None,
        ..LLAMA_BLOCK
    },
    ..LLAMA
};

const GEMMA3: Names = Names {
    block: BlockNames {
        attention_post_norm: Some("post_attention_layernorm"),
        mlp_norm: "pre_feedforward_layernorm",
        mlp_post_norm: Some("post_feedforward_layernorm"),
        ..LLAMA_BLOCK
    },
    ..LLAMA
};

const GPT2: Names = Names {
    prefixes: &["transformer.", ""],
    embedding: "wte",
    position: Some("wpe"),
    final_norm: Some("ln_f"),
    blocks: "h.",
    block: BlockNames {
        attention_norm: "ln_1",
        query: None,
        key: None,
        value: None,
        fused: Some("attn.c_attn"),
        output: "attn.c_proj",
        mlp_norm: "ln_2",
        gate: None,
        up: Some("mlp.c_fc"),
        down: "mlp.c_proj",
        ..LLAMA_BLOCK
    },
    ..LLAMA
};

const GPT_NEOX: Names = Names {
    prefixes: &["gpt_neox.", ""],
    embedding: "embed_in",
    final_norm: Some("final_layer_norm"),
    head: Some("embed_out"),
    block: BlockNames {
        query: None,
        key: None,
        value: None,
        fused: Some("attention.query_key_value"),
        output: "attention.dense",
        gate: None,
        up: Some("mlp.dense_h_to_4h"),
        down: "mlp.dense_4h_to_h",
        ..LLAMA_BLOCK
    },
    ..LLAMA
};

const OPT: Names = Names {
    prefixes: &["model.decoder.", "decoder.", ""],
    position: Some("embed_positions"),
    project_in: Some("project_in"),
    project_out: Some("project_out"),
    final_norm: Some("final_layer_norm"),
    block: BlockNames {
        attention_norm: "self_attn_layer_norm",
        output: "self_attn.out_proj",
        mlp_norm: "final_layer_norm",
        gate: None,
        up: Some("fc1"),
        down: "fc2",
        ..LLAMA_BLOCK
    },
    ..LLAMA
};

const BERT: Names = Names {
    prefixes: &["bert.", ""],
    embedding: "embeddings.word_embeddings",
    position: Some("embeddings.position_embeddings"),
    token_type: Some("embeddings.token_type_embeddings"),
    embedding_norm: Some("embeddings.LayerNorm"),
    final_norm: None,
    head: None,
    blocks: "encoder.layer.",
    block: BlockNames {
        attention_norm: "attention.output.LayerNorm",
        query: Some("attention.self.query"),
        key: Some("attention.self.key"),
        value: Some("attention.self.value"),
        output: "attention.output.dense",
        mlp_norm: "output.LayerNorm",
        gate: None,
        up: Some("intermediate.dense"),
        down: "output.dense",
        ..LLAMA_BLOCK
    },
    ..LLAMA
};

const ROBERTA: Names = Names {
    prefixes: &["roberta.", ""],
    ..BERT
};

const DISTILBERT: Names = Names {
    prefixes: &["distilbert.", ""],
    token_type: None,
    blocks: "transformer.layer.",
    block: BlockNames {
        attention_norm: "sa_layer_norm",
        query: Some("attention.q_lin"),
        key: Some("attention.k_lin"),
        value: Some("attention.v_lin"),
        output: "attention.out_lin",
        mlp_norm: "output_layer_norm",
        up: Some("ffn.lin1"),
        down: "ffn.lin2",
        ..BERT.block
    },
    ..BERT
};
