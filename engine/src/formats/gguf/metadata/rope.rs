//! Rotary positions as llama.cpp keeps them: plain, or stretched evenly, by yarn, llama3's divisors or longrope's lists.
//!
//! Knows the configuration only.

use super::Writer;
use crate::checkpoint::gguf::names::Architecture;
use crate::checkpoint::gguf::value::Value;
use crate::checkpoint::gguf::yarn_magnitude;
use crate::model::ModelConfig;
use serde_json::Value as Json;

/// What `config.json` says of one kind of rotary attention.
struct Settings<'a> {
    /// How positions are stretched.
    stretching: &'a Json,
    theta: f64,
}

fn kind_of(rope: &Json) -> &str {
    let kind = rope["rope_type"].as_str().or(rope["type"].as_str());
    kind.unwrap_or("default")
}

impl<'a> Writer<'a> {
    /// Plain, or stretched by `rope_parameters`, or by `rope_scaling` in older spelling.
    pub(super) fn rope(
        &mut self,
        architecture: Architecture,
        config: &ModelConfig,
    ) -> Result<(), String> {
        let (kind, theta_key, usual) = match architecture {
            Architecture::Gemma3 => ("full_attention", "rope_theta", 1e6),
            Architecture::GptNeox => ("", "rotary_emb_base", 1e4),
            _ => ("", "rope_theta", 1e4),
        };
        let Settings {
            stretching: rope,
            theta,
        } = self.settings(kind, theta_key, usual, true);
        let rotated = 2 * config
            .ropes
            .first()
            .map_or(0, |rope| rope.frequencies().len());
        // These two architectures turn some of a head's channels; the others are made for all.
        let takes_some = matches!(architecture, Architecture::Phi3 | Architecture::GptNeox);
        self.refuse(
            rotated != config.head_dim && !takes_some,
            &format!(
                "rotates {rotated} of {} channels of a head",
                config.head_dim
            ),
        )?;
        self.count("rope.dimension_count", rotated);
        self.float("rope.freq_base", theta);
        let json = self.json;
        let original = rope["original_max_position_embeddings"]
            .as_u64()
            .or(json["original_max_position_embeddings"].as_u64());
        let original = original.map_or(config.context_length, |length| length as usize);
        let kind = kind_of(rope);
        self.refuse_stretching(architecture, config, kind)?;
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

    /// Which architectures load tables of divisors; one stretching by yarn is that of all blocks.
    fn refuse_stretching(
        &self,
        architecture: Architecture,
        config: &ModelConfig,
        kind: &str,
    ) -> Result<(), String> {
        let is_loaded = match kind {
            "llama3" => architecture == Architecture::Llama,
            "longrope" | "su" => {
                matches!(architecture, Architecture::Llama | Architecture::Phi3)
            }
            "yarn" => {
                config.ropes.len() < 2
                    || (0..config.blocks).all(|block| config.window(block).is_none())
            }
            _ => true,
        };
        self.refuse(!is_loaded, &format!("stretches positions by {kind}"))
    }

    /// Rotary positions of blocks with a sliding window, which are never stretched.
    pub(super) fn rope_of_windows(&mut self, config: &ModelConfig) -> Result<(), String> {
        let Settings { stretching, theta } =
            self.settings("sliding_attention", "rope_local_base_freq", 1e4, false);
        self.float("rope.freq_base_swa", theta);
        if (0..config.blocks).all(|block| config.window(block).is_none()) {
            return Ok(());
        }
        let kind = kind_of(stretching);
        self.refuse(
            kind != "default",
            &format!("stretches positions of sliding windows by {kind}"),
        )?;
        let widths: Vec<usize> = config
            .ropes
            .iter()
            .map(|rope| rope.frequencies().len())
            .collect();
        self.refuse(
            widths.windows(2).any(|pair| pair[0] != pair[1]),
            "rotates other channels in blocks with a sliding window",
        )
    }

    /// What `config.json` says of one kind of rotary attention, as `ModelConfig` reads it: the newer spelling first.
    fn settings(&self, kind: &str, theta_key: &str, usual: f64, takes_older: bool) -> Settings<'a> {
        let json = self.json;
        let all = &json["rope_parameters"];
        let newer = match all[kind].is_object() {
            true => &all[kind],
            false => all,
        };
        let stretching = match (newer.is_object(), takes_older) {
            (true, _) => newer,
            (false, true) => &json["rope_scaling"],
            (false, false) => &Json::Null,
        };
        let theta = newer["rope_theta"].as_f64().or(json[theta_key].as_f64());
        Settings {
            stretching,
            theta: theta.unwrap_or(usual),
        }
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
        self.described.notes.push(format!(
            "llama.cpp takes longrope's list for long texts wherever its context is above {original} tokens, for short texts too"
        ));
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
