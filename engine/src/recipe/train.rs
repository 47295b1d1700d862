//! The table `[train]`: what is trained, by which losses, for how long.
//!
//! Types and reading; `write` writes. Knows no network: what a model cannot do is said by whoever trains it.

use toml::de::DeTable;

use super::adapter::{AdapterSettings, adapter};
use super::error::RecipeError;
use super::section::Section;
use crate::mask::SparsityPattern;

/// No count is larger.
const LARGEST: u64 = 1_000_000_000;

/// No temperature of a loss is lower: its distributions would be single tokens.
pub const LEAST_TEMPERATURE: f64 = 0.01;

/// What training changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrainMode {
    /// Every weight of a dense student.
    #[default]
    Weights,
    /// Scales and zeros of a packed student; codes stay.
    Scales,
    /// How each weight is rounded, block by block.
    Round,
    /// Weights behind fake quantization.
    Qat,
    /// Low-rank matrices beside frozen weights.
    Adapter,
}

/// How gradients change variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerKind {
    /// Means of gradients and of their squares, decay apart from them.
    #[default]
    Adamw,
    /// Steps of one size against the sign of the gradient.
    Sign,
}

/// How the learning rate falls after its rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Not at all.
    Constant,
    /// In a straight line.
    Linear,
    /// Along half a cosine.
    #[default]
    Cosine,
}

/// In which space several teachers are averaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ensemble {
    /// Their probabilities.
    #[default]
    Probability,
    /// Their logits.
    Logit,
}

/// How states kept for the way back are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateStorage {
    /// As they are.
    #[default]
    F32,
    /// Rounded: half the memory, and the way back starts from the rounded states.
    Bf16,
}

/// `[train]`.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct TrainSettings {
    pub mode: TrainMode,
    /// Optimizer steps; of `TrainMode::Round` those of each block.
    pub steps: u64,
    /// Sequences of a step.
    pub batch: usize,
    /// Sequences in memory at once; 0 = the whole batch.
    pub micro_batch: usize,
    /// Tokens of a sequence; 0 = the smaller of 512 and the context (128 for an encoder's sentences).
    pub length: usize,
    pub optimizer: OptimizerKind,
    /// Highest learning rate; of `TrainMode::Round` in codes, 0 = one over the steps.
    pub rate: f64,
    pub schedule: Schedule,
    /// Steps until the highest rate.
    pub warm_up: u64,
    /// The last step's rate as a share of the highest.
    pub last_rate: f64,
    /// Weight decay of matrices.
    pub decay: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    /// Longest gradient; 0 = any.
    pub clip: f64,
    /// Of teacher and student in the divergence.
    pub temperature: f64,
    /// Share of the text's own tokens in the loss, beside the teacher; without a teacher all of it.
    pub hard: f64,
    pub ensemble: Ensemble,
    /// Weight of states matched with the first teacher's, block by block.
    pub hidden: f64,
    /// Weight of attention maps matched with the first teacher's.
    pub attention: f64,
    /// Tokens of a teacher's distribution kept on disk at each position; 0 = teachers run again in each step.
    pub cache_top: usize,
    /// Sequences held out.
    pub held_out: usize,
    /// Steps between looks at the held-out sequences; 0 = only before and after.
    pub check_every: u64,
    /// Looks without a lower loss until training ends; 0 = never.
    pub patience: u64,
    /// Steps between stored states of the run; 0 = only when it is stopped.
    pub save_every: u64,
    /// Steps in a row without a finite loss until training fails.
    pub skip_limit: u64,
    pub states: StateStorage,
    pub seed: u64,
    pub prune: Option<TrainPruning>,
    /// Of `TrainMode::Adapter`.
    pub adapter: AdapterSettings,
}

/// `prune` of `[train]`: zeros that grow while the rest is trained (Zhu and Gupta 2017, arXiv 1710.01878).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainPruning {
    /// Where zeros may lie.
    pub pattern: SparsityPattern,
    /// Share of zeros at the end.
    pub sparsity: f64,
    /// First step with zeros.
    pub from: u64,
    /// Step at which all zeros are there; 0 = three quarters of all steps.
    pub until: u64,
    /// Steps between changes of the masks.
    pub every: u64,
}

impl Default for TrainSettings {
    /// The documented defaults.
    fn default() -> Self {
        Self {
            mode: TrainMode::Weights,
            steps: 1000,
            batch: 8,
            micro_batch: 0,
            length: 0,
            optimizer: OptimizerKind::Adamw,
            rate: 1e-4,
            schedule: Schedule::Cosine,
            warm_up: 20,
            last_rate: 0.1,
            decay: 0.01,
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-8,
            clip: 1.0,
            temperature: 1.0,
            hard: 0.0,
            ensemble: Ensemble::Probability,
            hidden: 0.0,
            attention: 0.0,
            cache_top: 0,
            held_out: 16,
            check_every: 50,
            patience: 0,
            save_every: 100,
            skip_limit: 10,
            states: StateStorage::F32,
            seed: 0,
            prune: None,
            adapter: AdapterSettings::default(),
        }
    }
}

/// All keys, in the order in which they are written.
const KEYS: [&str; 30] = [
    "mode",
    "steps",
    "batch",
    "micro_batch",
    "length",
    "optimizer",
    "rate",
    "schedule",
    "warm_up",
    "last_rate",
    "decay",
    "beta1",
    "beta2",
    "epsilon",
    "clip",
    "temperature",
    "hard",
    "ensemble",
    "hidden",
    "attention",
    "cache_top",
    "held_out",
    "check_every",
    "patience",
    "save_every",
    "skip_limit",
    "states",
    "seed",
    "prune",
    "adapter",
];

/// Reads `[train]`.
pub(super) fn train(text: &str, table: &DeTable<'_>) -> Result<TrainSettings, RecipeError> {
    let section = Section::new(text, "[train]", table, &KEYS)?;
    let base = TrainSettings::of_mode(section.word("mode")?.unwrap_or_default());
    let count = |key, least: u64, default: u64| {
        let found = section.whole(key, least..=LARGEST)?;
        Ok::<u64, RecipeError>(found.unwrap_or(default))
    };
    let size = |key, least: u64, default: usize| Ok(count(key, least, default as u64)? as usize);
    let amount = |key, default: f64| Ok(section.amount(key)?.unwrap_or(default));
    let share = |key, default: f64| Ok(section.share(key)?.unwrap_or(default));
    Ok(TrainSettings {
        mode: base.mode,
        steps: count("steps", 1, base.steps)?,
        batch: size("batch", 1, base.batch)?,
        micro_batch: size("micro_batch", 0, base.micro_batch)?,
        length: size("length", 0, base.length)?,
        optimizer: section.word("optimizer")?.unwrap_or(base.optimizer),
        rate: amount("rate", base.rate)?,
        schedule: section.word("schedule")?.unwrap_or(base.schedule),
        warm_up: count("warm_up", 0, base.warm_up)?,
        last_rate: share("last_rate", base.last_rate)?,
        decay: amount("decay", base.decay)?,
        beta1: share("beta1", base.beta1)?,
        beta2: share("beta2", base.beta2)?,
        epsilon: amount("epsilon", base.epsilon)?,
        clip: amount("clip", base.clip)?,
        temperature: temperature(&section, base.temperature)?,
        hard: share("hard", base.hard)?,
        ensemble: section.word("ensemble")?.unwrap_or(base.ensemble),
        hidden: amount("hidden", base.hidden)?,
        attention: amount("attention", base.attention)?,
        cache_top: size("cache_top", 0, base.cache_top)?,
        held_out: size("held_out", 0, base.held_out)?,
        check_every: count("check_every", 0, base.check_every)?,
        patience: count("patience", 0, base.patience)?,
        save_every: count("save_every", 0, base.save_every)?,
        skip_limit: count("skip_limit", 1, base.skip_limit)?,
        states: section.word("states")?.unwrap_or(base.states),
        seed: section.whole("seed", 0..=u64::MAX)?.unwrap_or(base.seed),
        prune: pruning(&section)?,
        adapter: adapter(&section)?,
    })
}

fn temperature(section: &Section<'_>, default: f64) -> Result<f64, RecipeError> {
    match section.amount("temperature")? {
        Some(found) if found < LEAST_TEMPERATURE => {
            let expected = format!("{LEAST_TEMPERATURE} or more");
            Err(section.out_of_range("temperature", expected, found))
        }
        found => Ok(found.unwrap_or(default)),
    }
}

fn pruning(section: &Section<'_>) -> Result<Option<TrainPruning>, RecipeError> {
    let keys = ["pattern", "sparsity", "from", "until", "every"];
    let Some(table) = section.section("prune", "prune", &keys)? else {
        return Ok(None);
    };
    let pattern: SparsityPattern = match table.text("pattern")? {
        None => SparsityPattern::Unstructured,
        Some(word) => word.parse().map_err(|_| {
            let allowed = "unstructured, N:M (as 2:4, M at most 32), 1x4";
            table.unlisted("pattern", word, allowed)
        })?,
    };
    let count = |key, least: u64, default: u64| {
        let found = table.whole(key, least..=LARGEST)?;
        Ok::<u64, RecipeError>(found.unwrap_or(default))
    };
    let asked = table.share("sparsity")?;
    Ok(Some(TrainPruning {
        pattern,
        sparsity: pattern.sparsity().or(asked).unwrap_or(0.5),
        from: count("from", 0, 0)?,
        until: count("until", 0, 0)?,
        every: count("every", 1, 10)?,
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::recipe::Recipe;

    #[test]
    fn what_is_written_reads_back_and_names_every_key() {
        let train = TrainSettings {
            mode: TrainMode::Qat,
            optimizer: OptimizerKind::Sign,
            rate: 3e-7,
            temperature: 2.5,
            ensemble: Ensemble::Logit,
            states: StateStorage::Bf16,
            prune: Some(TrainPruning {
                pattern: SparsityPattern::TWO_OF_FOUR,
                sparsity: 0.5,
                from: 3,
                until: 40,
                every: 2,
            }),
            ..TrainSettings::default()
        };
        for train in [TrainSettings::default(), train] {
            let recipe = Recipe {
                train: Some(train),
                ..Recipe::default()
            };
            let text = recipe.to_toml();
            assert_eq!(Recipe::parse(&text), Ok(recipe.clone()), "{text}");
            let (_, own) = text.split_once("\n[train]").unwrap();
            let named = |key: &&&str| own.contains(&format!("\n{key} = "));
            let absent: Vec<_> = KEYS.iter().filter(|key| !named(key)).collect();
            let expected = if recipe.train.unwrap().prune.is_some() {
                vec![]
            } else {
                vec![&"prune"]
            };
            assert_eq!(absent, expected);
        }
    }

    #[test]
    fn a_key_that_does_not_exist_names_the_nearest() {
        let read = |line: &str| {
            let text = format!("version = 1\n[train]\n{line}\n");
            Recipe::parse(&text).unwrap_err().to_string()
        };
        let cases = [
            ("tempreature = 2", "temperature"),
            ("schedule = \"cosin\"", "cosine"),
            ("temperature = 0", "0.01 or more"),
            ("steps = 0", "1 to"),
            ("prune = { patern = \"2:4\" }", "pattern"),
        ];
        for (line, expected) in cases {
            let message = read(line);
            assert!(message.contains(expected), "{line}: {message}");
        }
    }
}
