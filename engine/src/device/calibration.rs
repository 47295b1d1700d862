//! Rates and costs of Pare's own kernels, measured where it runs: what makes an estimate of this machine true.
//!
//! Types only; `measure` fills them and `estimate` reads them.

use super::value::Value;
use serde::{Deserialize, Serialize};

/// What was measured of one engine at its number of threads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// One entry for each way in which a product is computed.
    pub kernels: Vec<KernelRates>,
    /// What a block costs beside its products, for one pass, microseconds.
    pub block_us: Value,
    /// What a block costs beside its products for each token and value of the widths that pass through, nanoseconds.
    pub block_value_ns: Value,
    /// Attention of one pass: starting it, microseconds for a block.
    pub attention_us: Value,
    /// Attention to many tokens at once, 1e9 operations a second.
    pub attention_gops: Value,
    /// Attention of one token to its cache.
    pub cache_reads: Vec<CacheRead>,
    /// Reading again and again what takes so many megabytes, by rising size.
    pub tiers: Vec<Tier>,
}

/// How fast what was read before is read again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// Bytes gone over, MB.
    pub megabytes: f64,
    /// All threads together, GB/s.
    pub gb_per_s: Value,
}

/// How fast one kind of product is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelRates {
    /// Which product.
    pub product: Product,
    /// Starting one, microseconds.
    pub launch_us: Value,
    /// Operations with one token and weights in the caches, 1e9 a second.
    pub one_token_gops: Value,
    /// Weights that one token reads from memory, GB/s.
    pub stream_gb_per_s: Value,
    /// Operations with many tokens, 1e9 a second.
    pub many_tokens_gops: Value,
    /// What a product with several tokens costs once for each weight (unpacking it), nanoseconds.
    pub weight_ns: Value,
    /// What a product costs for each input value (rounding it), nanoseconds.
    pub input_ns: Value,
}

/// How fast a cache of keys and values is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheRead {
    /// How it is kept.
    pub kept: crate::settings::KvCache,
    /// Keys and values that one token attends to, 1e9 values a second.
    pub values_per_ns: Value,
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

impl Calibration {
    /// The rates of a product; of the nearest bits where just those were not measured.
    pub fn rates(&self, product: Product) -> Option<&KernelRates> {
        let distance = |rates: &&KernelRates| match (rates.product.weights, product.weights) {
            _ if rates.product.integer != product.integer => None,
            (Weights::Codes(one), Weights::Codes(other)) => Some(one.abs_diff(other)),
            (one, other) => (one == other).then_some(0),
        };
        let known = self
            .kernels
            .iter()
            .filter(|rates| distance(rates).is_some());
        known.min_by_key(distance)
    }

    /// What is wrong with it, as a clause.
    pub(super) fn check(&self) -> Result<(), String> {
        let shared = [&self.attention_gops].into_iter();
        let kernels = self.kernels.iter().flat_map(|rates| {
            [
                &rates.one_token_gops,
                &rates.stream_gb_per_s,
                &rates.many_tokens_gops,
            ]
        });
        let caches = self.cache_reads.iter().map(|read| &read.values_per_ns);
        let tiers = self.tiers.iter().map(|tier| &tier.gb_per_s);
        let mut divisors = shared.chain(kernels).chain(caches).chain(tiers);
        let empty = self.kernels.is_empty() || self.cache_reads.is_empty();
        if empty || divisors.any(|rate| rate.low <= 0.0) {
            return Err("a measured rate is missing or 0; measure the machine again".to_owned());
        }
        let rise = |pair: &[Tier; 2]| pair[0].megabytes < pair[1].megabytes;
        let first = self.tiers.first().is_none_or(|tier| tier.megabytes > 0.0);
        if !first || !self.tiers.array_windows().all(rise) {
            return Err("its sizes do not rise; measure the machine again".to_owned());
        }
        Ok(())
    }
}
