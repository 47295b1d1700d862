//! Rotary positions as llama.cpp keeps them: plain, or stretched evenly, by yarn, llama3's divisors or longrope's lists.
//!
//! Knows the configuration only.

use super::Writer;
use crate::checkpoint::gguf::names::Architecture;
use crate::checkpoint::gguf::value::Value;
use crate::checkpoint::gguf::yarn_magnitude;
use crate::model::ModelConfig;
use serde_json::Value as Json;

impl Writer<'_> {
    /// Plain, or stretched by `rope_parameters`, or by `rope_scaling` in older spelling.
    pub(super) fn rope(
        &mut self,
        architecture: Architecture,
        config: &ModelConfig,
    ) -> Result<(), String> {
        let json = self.json;
        let new = &json["rope_parameters"];
        let new = if new["full_attention"].is_object() {
            &new["full_attention"]
        } else {
            new
        };
        let rope = if new.is_object() {
            new
        } else {
            &json["rope_scaling"]
        };
        let default = if architecture == Architecture::Gemma3 {
            1e6
        } else {
            1e4
        };
        let theta = new["rope_theta"]
            .as_f64()
            .or(json["rope_theta"].as_f64())
            .unwrap_or(default);
        let share = new["partial_rotary_factor"]
            .as_f64()
            .or(json["partial_rotary_factor"].as_f64());
        let rotated = (config.head_dim as f64 * share.unwrap_or(1.0)) as usize;
        self.count("rope.dimension_count", rotated);
        self.float("rope.freq_base", theta);
        let kind = rope["rope_type"]
            .as_str()
            .or(rope["type"].as_str())
            .unwrap_or("default");
        let original = rope["original_max_position_embeddings"]
            .as_u64()
            .or(json["original_max_position_embeddings"].as_u64());
        let original = original.map_or(config.context_length, |length| length as usize);
        match kind {
            "default" => {}
            "linear" => self.scaling("linear", rope["factor"].as_f64()),
            "yarn" => self.yarn(rope, original)?,
            "llama3" => self
                .described
                .tables
                .push(("rope_freqs.weight", llama3(rope, theta, rotated)?)),
            "longrope" | "su" => self.longrope(rope, original, config.context_length)?,
            other => {
                return Err(format!(
                    "stretches positions by {other}, which is not written"
                ));
            }
        }
        Ok(())
    }

    fn scaling(&mut self, kind: &str, factor: Option<f64>) {
        self.put("rope.scaling.type", Value::Text(kind.to_owned()));
        if let Some(factor) = factor {
            self.float("rope.scaling.factor", factor);
        }
    }

    /// llama.cpp fixes between which pairs it stretches; its magnitude can be multiplied.
    fn yarn(&mut self, rope: &Json, original: usize) -> Result<(), String> {
        let number = |key: &str| rope[key].as_f64();
        for (key, known) in [("beta_fast", 32.0), ("beta_slow", 1.0)] {
            let found = number(key).unwrap_or(known);
            self.refuse(
                found != known,
                &format!("stretches positions by yarn with {key} {found} instead of {known}"),
            )?;
        }
        self.refuse(
            rope["truncate"] == false,
            "stretches positions by yarn without whole bounds",
        )?;
        let factor = number("factor").ok_or("lacks the factor of its rotary settings")?;
        self.scaling("yarn", Some(factor));
        self.count("rope.scaling.original_context_length", original);
        let usual = yarn_magnitude(factor);
        let weighed = |weight: f64| (usual - 1.0) * weight + 1.0;
        let magnitude = match (number("mscale"), number("mscale_all_dim")) {
            (Some(one), Some(all)) if one != 0.0 && all != 0.0 => weighed(one) / weighed(all),
            _ => usual,
        };
        let magnitude = number("attention_factor").unwrap_or(magnitude);
        if magnitude != usual {
            self.float("rope.scaling.attn_factor", magnitude / usual);
        }
        Ok(())
    }

    fn longrope(
        &mut self,
        rope: &Json,
        original: usize,
        context_length: usize,
    ) -> Result<(), String> {
        self.scaling("longrope", None);
        self.count("rope.scaling.original_context_length", original);
        let stretch = context_length as f64 / original.max(1) as f64;
        let derived = match stretch > 1.0 && original > 1 {
            true => (1.0 + stretch.ln() / (original as f64).ln()).sqrt(),
            false => 1.0,
        };
        self.float(
            "rope.scaling.attn_factor",
            rope["attention_factor"].as_f64().unwrap_or(derived),
        );
        for (key, name) in [
            ("short_factor", "rope_factors_short.weight"),
            ("long_factor", "rope_factors_long.weight"),
        ] {
            let factors = rope[key]
                .as_array()
                .ok_or_else(|| format!("lacks the list {key}"))?;
            let factors = factors
                .iter()
                .map(|factor| factor.as_f64().unwrap_or(1.0) as f32);
            self.described.tables.push((name, factors.collect()));
        }
        Ok(())
    }
}

/// What each pair of channels is slowed down by.
fn llama3(rope: &Json, theta: f64, rotated: usize) -> Result<Vec<f32>, String> {
    let number = |key: &str| {
        rope[key]
            .as_f64()
            .ok_or_else(|| format!("lacks {key} in its rotary settings"))
    };
    let (factor, low, high) = (
        number("factor")?,
        number("low_freq_factor")?,
        number("high_freq_factor")?,
    );
    let original = number("original_max_position_embeddings")?;
    let slowed = (0..rotated / 2).map(|pair| {
        let frequency = theta.powf(-((2 * pair) as f64) / rotated as f64);
        let turns = original * frequency / std::f64::consts::TAU;
        let keep = ((turns - low) / (high - low)).clamp(0.0, 1.0);
        (1.0 / ((1.0 - keep) / factor + keep)) as f32
    });
    Ok(slowed.collect())
}
