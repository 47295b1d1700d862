//! What Pare's own kernels and passes take where it runs, as measured: what makes an estimate of this machine true.
//!
//! Types and their interpolation only; `measure` fills them and `estimate` reads them. Times hold for the engine's number
//! of threads.

use crate::settings::KvCache;
use serde::{Deserialize, Serialize};

/// Most entries of any list: far more than is ever measured.
const MOST_ENTRIES: usize = 1000;

/// What was measured of one engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Half of the band of every number, as a share of it.
    pub spread: f64,
    /// Why it may be too slow, as a sentence: something else ran meanwhile. Absent where nothing told so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unrest: Option<String>,
    /// One table for each way in which a product is computed.
    pub kernels: Vec<KernelTable>,
    /// What blocks cost beside products and attention.
    pub blocks: Vec<BlockCosts>,
    /// Attention of one token to its cache, for each way to keep it.
    pub cached: Vec<CachedLooks>,
    /// What each pass costs besides, microseconds.
    pub pass_us: f64,
    /// What each logit costs beside the head's product, nanoseconds.
    pub logit_ns: f64,
}

/// Times of one kind of product.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelTable {
    /// Which product.
    pub product: Product,
    /// Tokens that were measured, rising from 1.
    pub tokens: Vec<f64>,
    /// Weights of the matrices that were measured, rising; the first are so few that their time is that of starting.
    pub weights: Vec<f64>,
    /// For each of `tokens`, for each of `weights`: microseconds with weights in the nearest cache.
    pub microseconds: Vec<Vec<f64>>,
    /// One token with weights that lie further away the more of them there are, by rising size.
    pub tiers: Vec<Tier>,
}

/// How fast weights of some size in all are read again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// Bytes gone over, MB.
    pub megabytes: f64,
    /// All threads together, GB/s.
    pub gb_per_s: f64,
}

/// What a block costs beside its products and looks: a part for each pass, and a part for each output of its products.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockCosts {
    /// Which blocks.
    pub style: BlockStyle,
    /// Of one token, microseconds.
    pub token_us: f64,
    /// Of one token, nanoseconds for each output.
    pub token_value_ns: f64,
    /// Of a prompt, microseconds.
    pub prompt_us: f64,
    /// Of a prompt, nanoseconds for each output and token.
    pub prompt_value_ns: f64,
    /// Looks of a prompt's tokens at each other.
    pub looks: LookCosts,
}

/// What stands between a block's products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockStyle {
    /// As in Llama: root mean squares, rotation, a gate.
    Gated,
    /// As in GPT-2: layer norms, no rotation, no gate.
    Plain,
    /// As in BERT: the same, and every token sees every other.
    Encoder,
}

/// What one head's look from one token at another costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookCosts {
    /// Nanoseconds for a look.
    pub look_ns: f64,
    /// Nanoseconds for each channel of it.
    pub channel_ns: f64,
}

/// Looks of one token at its cache.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CachedLooks {
    /// How the cache is kept.
    pub kept: KvCache,
    /// What looks of one head cost where each has keys of its own.
    pub costs: LookCosts,
    /// Part of that which heads that share keys pay once.
    pub shared: f64,
}

/// A way in which a product is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// How weights are held.
    pub weights: Weights,
    /// Whether inputs are rounded to 8 bits, so that integers are multiplied.
    pub integer: bool,
}

/// How weights are held while a product runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weights {
    /// As f32.
    Float,
    /// As codes of so many bits with scales.
    Codes(u8),
    /// As 4-bit codes into a table of levels.
    Levels,
}

impl CachedLooks {
    /// Nanoseconds of a look of all `heads` over so many channels, where they share the keys of `kv_heads`.
    pub fn nanoseconds(&self, heads: f64, kv_heads: f64, channels: f64) -> f64 {
        let paid = heads * (1.0 - self.shared) + kv_heads * self.shared;
        paid * self.costs.nanoseconds(channels)
    }
}

impl LookCosts {
    /// Nanoseconds of a look over so many channels.
    pub fn nanoseconds(self, channels: f64) -> f64 {
        self.look_ns + self.channel_ns * channels
    }
}

impl Calibration {
    /// The table of a product; of the nearest bits where just those were not measured.
    pub fn table(&self, product: Product) -> Option<&KernelTable> {
        let distance = |table: &KernelTable| match (table.product.weights, product.weights) {
            _ if table.product.integer != product.integer => None,
            (Weights::Codes(one), Weights::Codes(other)) => Some(one.abs_diff(other)),
            (one, other) => (one == other).then_some(0),
        };
        let known = self
            .kernels
            .iter()
            .filter_map(|table| Some((distance(table)?, table)));
        known.min_by_key(|known| known.0).map(|known| known.1)
    }

    /// The costs of blocks of a style; of any where just that was not measured.
    pub fn block(&self, style: BlockStyle) -> Option<&BlockCosts> {
        let same = self.blocks.iter().find(|costs| costs.style == style);
        same.or_else(|| self.blocks.first())
    }

    /// What looks at a cache cost; `None` where none were measured.
    pub fn cached(&self, kept: KvCache) -> Option<&CachedLooks> {
        let same = self.cached.iter().find(|looks| looks.kept == kept);
        same.or_else(|| self.cached.first())
    }

    /// What is wrong with it, as a clause.
    pub(super) fn check(&self) -> Result<(), String> {
        let is_time = |value: &f64| value.is_finite() && *value >= 0.0;
        let looks = self.cached.iter().map(|looks| looks.costs);
        let looks = looks.chain(self.blocks.iter().map(|block| block.looks));
        let looks = looks.flat_map(|costs| [costs.look_ns, costs.channel_ns]);
        let blocks = self.blocks.iter().flat_map(|block| {
            [
                block.token_us,
                block.token_value_ns,
                block.prompt_us,
                block.prompt_value_ns,
            ]
        });
        let mut times = looks.chain(blocks).chain([self.pass_us, self.logit_ns]);
        let shares = self.spread > 0.0 && self.spread < 1.0;
        let parts = |looks: &CachedLooks| (0.0..=1.0).contains(&looks.shared);
        let shares = shares && self.cached.iter().all(parts);
        let some = !self.kernels.is_empty() && !self.blocks.is_empty();
        let few = self
            .kernels
            .len()
            .max(self.blocks.len())
            .max(self.cached.len())
            <= MOST_ENTRIES;
        let sound = shares && some && few && times.all(|value| is_time(&value));
        if sound && self.kernels.iter().all(KernelTable::is_sound) {
            return Ok(());
        }
        Err("what was measured of it is damaged; measure the machine again".to_owned())
    }
}

impl KernelTable {
    /// Microseconds of a product of so many tokens and weights, with weights in the nearest cache: straight between what was
    /// measured in the logarithms of all three, and in proportion beyond.
    pub fn microseconds_at(&self, tokens: f64, weights: f64) -> f64 {
        let rows: Vec<f64> = self
            .microseconds
            .iter()
            .map(|row| interpolate(&self.weights, row, weights))
            .collect();
        interpolate(&self.tokens, &rows, tokens)
    }

    /// What starting a product takes.
    pub fn launch_us(&self) -> f64 {
        self.microseconds[0][0]
    }

    /// Bytes a second at which one token reads weights of `megabytes` in all.
    pub fn gb_per_s_at(&self, megabytes: f64) -> f64 {
        let after = self
            .tiers
            .partition_point(|tier| tier.megabytes <= megabytes);
        let before = after.checked_sub(1).map(|before| self.tiers[before]);
        match (before, self.tiers.get(after)) {
            (Some(left), Some(right)) => {
                let part =
                    (megabytes / left.megabytes).ln() / (right.megabytes / left.megabytes).ln();
                left.gb_per_s + part * (right.gb_per_s - left.gb_per_s)
            }
            (Some(tier), None) => tier.gb_per_s,
            (None, tier) => tier.map_or(f64::INFINITY, |tier| tier.gb_per_s),
        }
    }

    fn is_sound(&self) -> bool {
        let is_positive = |value: &f64| value.is_finite() && *value > 0.0;
        let rises = |values: &[f64]| {
            let few = !values.is_empty() && values.len() <= MOST_ENTRIES;
            few && values.iter().all(is_positive)
                && values.array_windows().all(|[one, other]| one < other)
        };
        let sizes: Vec<f64> = self.tiers.iter().map(|tier| tier.megabytes).collect();
        let full = self.microseconds.len() == self.tokens.len()
            && self
                .microseconds
                .iter()
                .all(|row| row.len() == self.weights.len() && row.iter().all(is_positive));
        full && rises(&self.tokens)
            && rises(&self.weights)
            && rises(&sizes)
            && self.tiers.iter().all(|tier| is_positive(&tier.gb_per_s))
    }
}

/// The height over `place`, straight between points in the logarithms of both axes; before the first point its height, after
/// the last in proportion.
fn interpolate(places: &[f64], heights: &[f64], place: f64) -> f64 {
    let after = places.partition_point(|known| *known <= place);
    match (after.checked_sub(1), after < places.len()) {
        (None, _) => heights[0],
        (Some(last), false) => heights[last] * place / places[last],
        (Some(left), true) => {
            let part = (place / places[left]).ln() / (places[after] / places[left]).ln();
            (heights[left].ln() + part * (heights[after].ln() - heights[left].ln())).exp()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn table() -> KernelTable {
        KernelTable {
            product: Product {
                weights: Weights::Codes(4),
                integer: true,
            },
            tokens: vec![1.0, 16.0],
            weights: vec![100.0, 10_000.0],
            microseconds: vec![vec![2.0, 8.0], vec![4.0, 64.0]],
            tiers: vec![
                Tier {
                    megabytes: 1.0,
                    gb_per_s: 40.0,
                },
                Tier {
                    megabytes: 100.0,
                    gb_per_s: 20.0,
                },
            ],
        }
    }

    #[test]
    fn times_between_measurements_are_straight_in_logarithms() {
        let table = table();
        let rows = [
            (1.0, 100.0, 2.0),
            (1.0, 10.0, 2.0),
            (1.0, 1000.0, 4.0),
            (1.0, 20_000.0, 16.0),
            (16.0, 10_000.0, 64.0),
            (4.0, 100.0, 8.0_f64.sqrt()),
            (32.0, 10_000.0, 128.0),
        ];
        for (tokens, weights, expected) in rows {
            let found = table.microseconds_at(tokens, weights);
            assert!(
                (found / expected - 1.0).abs() < 1e-12,
                "{tokens} {weights}: {found}, expected {expected}"
            );
        }
        for (megabytes, expected) in [
            (0.5, 40.0),
            (1.0, 40.0),
            (10.0, 30.0),
            (100.0, 20.0),
            (1e4, 20.0),
        ] {
            let found = table.gb_per_s_at(megabytes);
            assert!(
                (found - expected).abs() < 1e-12,
                "{megabytes} MB: {found}, expected {expected}"
            );
        }
        assert_eq!(table.launch_us(), 2.0);
    }

    #[test]
    fn damage_is_told() {
        let good = Calibration {
            spread: 0.1,
            unrest: None,
            kernels: vec![table()],
            blocks: vec![BlockCosts {
                style: BlockStyle::Gated,
                token_us: 1.0,
                token_value_ns: 1.0,
                prompt_us: 1.0,
                prompt_value_ns: 1.0,
                looks: LookCosts {
                    look_ns: 1.0,
                    channel_ns: 0.1,
                },
            }],
            cached: vec![],
            pass_us: 3.0,
            logit_ns: 0.0,
        };
        good.check().unwrap();
        let spoilers: [fn(&mut Calibration); 8] = [
            |bad| bad.spread = f64::NAN,
            |bad| bad.kernels.clear(),
            |bad| bad.blocks[0].token_us = -1.0,
            |bad| bad.pass_us = f64::INFINITY,
            |bad| bad.kernels[0].microseconds[1].clear(),
            |bad| bad.kernels[0].microseconds[0][0] = 0.0,
            |bad| bad.kernels[0].tokens = vec![4.0, 1.0],
            |bad| bad.kernels[0].tiers[0].gb_per_s = 0.0,
        ];
        for (index, spoil) in spoilers.iter().enumerate() {
            let mut bad = good.clone();
            spoil(&mut bad);
            assert!(bad.check().is_err(), "spoiler {index}");
        }
    }
}
