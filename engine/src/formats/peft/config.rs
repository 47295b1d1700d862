//! `adapter_config.json`.

use super::read::PeftError;
use serde_json::{Value, json};

/// Largest rank that is believed.
const LARGEST_RANK: u64 = 1 << 16;

/// The settings of an adapter that decide its numbers, and those that other programs ask for.
#[derive(Debug, Clone, PartialEq)]
pub struct PeftConfig {
    /// Where the base model lies, as a folder or a name.
    pub base: String,
    /// Rows of `lora_A`.
    pub rank: usize,
    /// The product counts `alpha / rank`.
    pub alpha: f64,
    /// Share of inputs left out in training.
    pub dropout: f64,
    /// The product counts `alpha / sqrt(rank)`.
    pub by_root: bool,
    /// Words that layers are found by.
    pub targets: Vec<String>,
    /// Weights of the base lie `[in, out]` (GPT-2).
    pub transposed: bool,
    /// The base gives hidden states, not logits.
    pub encoder: bool,
}

impl PeftConfig {
    /// What the product of both matrices is multiplied by.
    pub fn scaling(&self) -> f64 {
        super::scaling(self.alpha, self.rank, self.by_root)
    }

    /// As PEFT writes it.
    pub fn to_json(&self) -> Value {
        let alpha = match self.alpha.fract() == 0.0 && self.alpha.abs() < 1e9 {
            true => json!(self.alpha as i64),
            false => json!(self.alpha),
        };
        let task = if self.encoder {
            "FEATURE_EXTRACTION"
        } else {
            "CAUSAL_LM"
        };
        json!({
            "peft_type": "LORA",
            "task_type": task,
            "base_model_name_or_path": self.base,
            "r": self.rank,
            "lora_alpha": alpha,
            "lora_dropout": self.dropout,
            "use_rslora": self.by_root,
            "target_modules": self.targets,
            "fan_in_fan_out": self.transposed,
            "bias": "none",
            "init_lora_weights": true,
            "inference_mode": true,
            "modules_to_save": null,
        })
    }

    /// Reads what decides numbers; what this program cannot do is an error.
    pub fn of_json(json: &Value) -> Result<Self, PeftError> {
        let problem = |problem: &str| PeftError::Config {
            problem: problem.to_owned(),
        };
        if json["peft_type"].as_str() != Some("LORA") {
            return Err(problem("its peft_type is not LORA"));
        }
        if json["use_dora"].as_bool() == Some(true) {
            return Err(problem(
                "it is of DoRA, whose lengths of columns are not read here",
            ));
        }
        for key in ["rank_pattern", "alpha_pattern"] {
            if json[key].as_object().is_some_and(|map| !map.is_empty()) {
                return Err(problem("its layers have ranks or alphas of their own"));
            }
        }
        if json["bias"].as_str().is_some_and(|bias| bias != "none") {
            return Err(problem("it trains biases too"));
        }
        let rank = json["r"]
            .as_u64()
            .filter(|rank| (1..=LARGEST_RANK).contains(rank));
        let alpha = json["lora_alpha"]
            .as_f64()
            .filter(|alpha| alpha.is_finite());
        let words = match &json["target_modules"] {
            Value::String(word) => vec![word.clone()],
            Value::Array(words) => words
                .iter()
                .filter_map(|word| Some(word.as_str()?.to_owned()))
                .collect(),
            _ => Vec::new(),
        };
        Ok(Self {
            base: json["base_model_name_or_path"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            rank: rank.ok_or_else(|| problem("its rank r is missing or out of range"))? as usize,
            alpha: alpha.ok_or_else(|| problem("its lora_alpha is missing"))?,
            dropout: json["lora_dropout"].as_f64().unwrap_or(0.0),
            by_root: json["use_rslora"].as_bool().unwrap_or(false),
            targets: words,
            transposed: json["fan_in_fan_out"].as_bool().unwrap_or(false),
            encoder: json["task_type"].as_str() == Some("FEATURE_EXTRACTION"),
        })
    }
}
