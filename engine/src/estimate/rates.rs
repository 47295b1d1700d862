//! What an engine needs for one operation: `launch + max(operations / rate, bytes / bandwidth)`, with the rates that were
//! measured on it where there are any, else with shares of what its data sheet says.
//!
//! Knows operations and bytes, not networks.

use super::{Bound, OpTime};
use crate::device::{Calibration, Corner, EngineKind, EngineProfile, Product, Weights};
use crate::settings::KvCache;

/// Outputs and tokens that kernels compute together; less is paid as much.
const TILE_ROWS: u64 = 16;
const TILE_TOKENS: u64 = 4;
/// Operations on small vectors in a block beside its products: norms, rotation, softmax, activation, sums.
const SMALL_OPERATIONS: f64 = 7.0;
/// Operations that turn a code into a float, for each weight.
const UNPACK_OPERATIONS: f64 = 2.0;
/// Share of the peak that attention reaches, whose products are small.
const ATTENTION_SHARE: f64 = 0.5;
/// Bytes that go and come for each value of a small operation.
const VALUE_BYTES: f64 = 8.0;

/// An engine, the end of its bands that is asked about, and what runs on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Machine<'a> {
    pub(super) engine: &'a EngineProfile,
    pub(super) corner: Corner,
    /// Threads that work.
    pub(super) threads: usize,
    /// Bytes that every pass goes over: what fits the cache stays there.
    pub(super) working_bytes: f64,
}

/// One product: `tokens` inputs of `columns` values with weights of `rows * columns`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    pub(super) product: Product,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) tokens: usize,
    pub(super) bytes: u64,
}

/// The terms of one operation, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) launch: f64,
    pub(super) compute: f64,
    pub(super) memory: f64,
}

impl Terms {
    pub(super) fn seconds(self) -> f64 {
        self.launch + self.compute.max(self.memory)
    }

    fn bound(self) -> Bound {
        if self.launch >= self.compute.max(self.memory) {
            Bound::Launch
        } else if self.compute >= self.memory {
            Bound::Compute
        } else {
            Bound::Memory
        }
    }
}

/// The time of an operation from its terms at all corners.
pub(super) fn op_time(operations: f64, bytes: f64, terms: impl Fn(Corner) -> Terms) -> OpTime {
    let likely = terms(Corner::Likely);
    let milliseconds = likely.seconds() * 1e3;
    OpTime {
        milliseconds,
        low: milliseconds.min(terms(Corner::Fast).seconds() * 1e3),
        high: milliseconds.max(terms(Corner::Slow).seconds() * 1e3),
        bound_by: likely.bound(),
        operations,
        bytes,
    }
}

impl<'a> Machine<'a> {
    pub(super) fn at(self, corner: Corner) -> Self {
        Self { corner, ..self }
    }

    pub(super) fn product(self, work: Work) -> Terms {
        match self.engine.calibration.as_ref() {
            Some(measured) => self.measured_product(measured, work),
            None => self.told_product(work),
        }
    }

    /// Attention of `looks` pairs of tokens over `values` kept keys and values, by `width` channels of queries.
    pub(super) fn attention(
        self,
        looks: f64,
        width: f64,
        values: f64,
        kept: KvCache,
        tokens: usize,
    ) -> Terms {
        let operations = 4.0 * looks * width;
        let bytes = values * kept_bytes(kept);
        match self.engine.calibration.as_ref() {
            Some(measured) => {
                let launch = measured.attention_us.cost(self.corner) * 1e-6;
                let read = measured.cache_reads.iter().find(|read| read.kept == kept);
                let read = read.unwrap_or(&measured.cache_reads[0]);
                let (compute, memory) = match tokens {
                    1 => (
                        values / (read.values_per_ns.rate(self.corner) * 1e9),
                        bytes / self.bandwidth(),
                    ),
                    _ => (
                        operations
                            / (measured.attention_gops.rate(self.corner) * 1e9 * self.share()),
                        0.0,
                    ),
                };
                Terms {
                    launch,
                    compute,
                    memory,
                }
            }
            None => Terms {
                launch: self.launch(),
                compute: operations / (self.peak(false) * self.gemm() * ATTENTION_SHARE),
                memory: bytes / self.bandwidth(),
            },
        }
    }

    /// The small operations of one block, over `values` outputs of its products.
    pub(super) fn small(self, values: f64) -> Terms {
        match self.engine.calibration.as_ref() {
            Some(measured) => Terms {
                launch: measured.block_us.cost(self.corner) * 1e-6,
                compute: values * measured.block_value_ns.cost(self.corner) * 1e-9,
                memory: 0.0,
            },
            None => Terms {
                launch: SMALL_OPERATIONS * self.launch(),
                compute: 0.0,
                memory: values * VALUE_BYTES / self.near_bandwidth(),
            },
        }
    }

    /// Reading `bytes` that lie anywhere.
    pub(super) fn read(self, bytes: f64) -> Terms {
        Terms {
            launch: 0.0,
            compute: 0.0,
            memory: bytes / self.bandwidth(),
        }
    }

    /// What each pass costs besides, with a choice among `values` logits.
    pub(super) fn fixed(self, values: f64) -> Terms {
        let value_ns = self
            .engine
            .calibration
            .as_ref()
            .map_or(0.0, |measured| measured.block_value_ns.cost(self.corner));
        Terms {
            launch: self.engine.fixed_us.cost(self.corner) * 1e-6,
            compute: values * value_ns * 1e-9,
            memory: 0.0,
        }
    }

    fn measured_product(self, measured: &Calibration, work: Work) -> Terms {
        let Some(rates) = measured.rates(work.product) else {
            return self.told_product(work);
        };
        let weights = work.rows as f64 * work.columns as f64;
        let inputs = work.tokens as f64 * work.columns as f64;
        let input = inputs * rates.input_ns.cost(self.corner) * 1e-9;
        let launch = rates.launch_us.cost(self.corner) * 1e-6 + input / self.share();
        let many = rates.many_tokens_gops.rate(self.corner) * 1e9 * self.share();
        let one = rates.one_token_gops.rate(self.corner) * 1e9 * self.share();
        let compute = if work.tokens <= 1 {
            2.0 * weights / one
        } else {
            let unpacking = weights * rates.weight_ns.cost(self.corner) * 1e-9 / self.share();
            padded(work) / many + unpacking
        };
        // What the kernel moves from memory, and in a cache as much more as the cache is faster.
        let stream = rates.stream_gb_per_s.rate(self.corner) * 1e9;
        let gain = (self.bandwidth() / self.far_bandwidth()).max(1.0);
        Terms {
            launch,
            compute,
            memory: work.bytes as f64 / (stream * gain),
        }
    }

    fn told_product(self, work: Work) -> Terms {
        let weights = work.rows as f64 * work.columns as f64;
        let is_code = work.product.weights != Weights::Float;
        let unpacking = match is_code && !work.product.integer {
            true => UNPACK_OPERATIONS * weights,
            false => 0.0,
        };
        let values = (work.rows + work.columns) as f64 * work.tokens as f64;
        Terms {
            launch: self.launch(),
            compute: (padded(work) + unpacking) / (self.peak(work.product.integer) * self.gemm()),
            memory: work.bytes as f64 / self.bandwidth()
                + values * VALUE_BYTES / self.near_bandwidth(),
        }
    }

    /// Share of the engine's threads that work.
    fn share(self) -> f64 {
        match self.engine.kind {
            EngineKind::Cpu => (self.threads as f64 / self.engine.threads as f64).min(1.0),
            EngineKind::Gpu | EngineKind::Npu => 1.0,
        }
    }

    fn launch(self) -> f64 {
        self.engine.launch_us.cost(self.corner) * 1e-6
    }

    fn gemm(self) -> f64 {
        self.engine.gemm_fraction.rate(self.corner).min(1.0)
    }

    /// Peak operations a second of floats, or of integers where the engine has them; graphics computes floats in f16.
    fn peak(self, integer: bool) -> f64 {
        let engine = self.engine;
        let floats = match engine.kind {
            EngineKind::Cpu => &engine.f32_gops,
            _ => engine.f16_gops.as_ref().unwrap_or(&engine.f32_gops),
        };
        let integers = engine.i8_gops.as_ref().filter(|_| integer);
        integers.unwrap_or(floats).rate(self.corner) * 1e9 * self.share()
    }

    /// Bytes a second of what every pass goes over.
    pub(super) fn bandwidth(self) -> f64 {
        let far = self.far_bandwidth();
        let curve = self
            .engine
            .calibration
            .as_ref()
            .map(|measured| measured.tiers.as_slice());
        match curve {
            Some(tiers) if !tiers.is_empty() => self.between(tiers).max(far * 0.5),
            _ if self.working_bytes <= self.engine.cache_mb.rate(self.corner) * 1e6 => {
                self.near_bandwidth().max(far)
            }
            _ => far,
        }
    }

    /// Bytes a second from memory.
    fn far_bandwidth(self) -> f64 {
        let engine = self.engine;
        let all = engine.bandwidth_gb_per_s.rate(self.corner);
        let threads = engine
            .one_thread_gb_per_s
            .as_ref()
            .map(|one| one.rate(self.corner) * self.threads as f64);
        let share = engine.stream_fraction.rate(self.corner).min(1.0);
        threads.map_or(all, |threads| all.min(threads)) * 1e9 * share
    }

    /// Bytes a second from the last-level cache; from memory where there is none.
    fn near_bandwidth(self) -> f64 {
        let near = self.engine.cache_gb_per_s.rate(self.corner) * 1e9 * self.share();
        near.max(self.far_bandwidth())
    }

    /// The bandwidth at the working bytes, on a straight line between logarithms of the sizes that were measured.
    fn between(self, tiers: &[crate::device::Tier]) -> f64 {
        let size = (self.working_bytes / 1e6).max(1e-6);
        let rate = |tier: &crate::device::Tier| tier.gb_per_s.rate(self.corner) * 1e9;
        let after = tiers.partition_point(|tier| tier.megabytes <= size);
        match (
            after.checked_sub(1).map(|before| &tiers[before]),
            tiers.get(after),
        ) {
            (Some(left), Some(right)) => {
                let part = (size / left.megabytes).ln() / (right.megabytes / left.megabytes).ln();
                rate(left) + part * (rate(right) - rate(left))
            }
            (Some(only), None) | (None, Some(only)) => rate(only),
            (None, None) => self.far_bandwidth(),
        }
    }
}

/// Operations of a product with its edges filled up to whole tiles.
fn padded(work: Work) -> f64 {
    let rows = (work.rows as u64).next_multiple_of(TILE_ROWS);
    let tokens = match work.tokens as u64 {
        0 => 0,
        1 => 1,
        tokens => tokens.next_multiple_of(TILE_TOKENS),
    };
    2.0 * rows as f64 * work.columns as f64 * tokens as f64
}

fn kept_bytes(kept: KvCache) -> f64 {
    match kept {
        KvCache::F32 => 4.0,
        KvCache::F16 => 2.0,
        KvCache::Int8 => 1.0,
    }
}
