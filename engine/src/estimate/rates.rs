//! What an engine needs for one operation: `launch + max(operations / rate, bytes / bandwidth)`, with the rates that were
//! measured on it where there are any, else with shares of what its data sheet says.
//!
//! Knows operations and bytes, not networks.

use super::{Bound, OpTime};
use crate::device::{BlockStyle, Calibration, Corner, EngineKind, EngineProfile, Product, Weights};
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

/// The looks of one block in one pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Looking {
    /// Of which blocks.
    pub(super) style: BlockStyle,
    /// Pairs of tokens.
    pub(super) looks: f64,
    pub(super) heads: f64,
    /// Heads of keys and values.
    pub(super) kv_heads: f64,
    pub(super) channels: f64,
    /// Bytes of keys and values that are read.
    pub(super) bytes: f64,
    /// How the cache is kept, where one token looks at it.
    pub(super) cached: Option<KvCache>,
}

impl Looking {
    /// A product with keys and one with values.
    pub(super) fn operations(self) -> f64 {
        4.0 * self.looks * self.heads * self.channels
    }
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

    /// Attention in one block.
    pub(super) fn attention(self, looking: Looking) -> Terms {
        let Looking {
            looks,
            heads,
            channels,
            bytes,
            ..
        } = looking;
        let measured = self.engine.calibration.as_ref();
        let costs = measured.and_then(|measured| {
            let cached = looking.cached.and_then(|kept| measured.cached(kept));
            let look_ns = match cached {
                Some(cached) => cached.nanoseconds(heads, looking.kv_heads, channels),
                None => heads * measured.block(looking.style)?.looks.nanoseconds(channels),
            };
            Some((measured, look_ns))
        });
        match costs {
            Some((measured, look_ns)) => Terms {
                launch: 0.0,
                compute: looks * look_ns * 1e-9 * self.stretch(measured) / self.share(),
                memory: 0.0,
            },
            None => Terms {
                launch: self.launch(),
                compute: looking.operations() / (self.peak(false) * self.gemm() * ATTENTION_SHARE),
                memory: bytes / self.bandwidth(),
            },
        }
    }

    /// The small operations of one block in a pass of so many tokens, over `values` outputs of its products.
    pub(super) fn small(self, style: BlockStyle, tokens: usize, values: f64) -> Terms {
        let measured = self.engine.calibration.as_ref();
        match measured.and_then(|measured| Some((measured, measured.block(style)?))) {
            Some((measured, costs)) => {
                let (each_us, value_ns) = match tokens {
                    1 => (costs.token_us, costs.token_value_ns),
                    _ => (costs.prompt_us, costs.prompt_value_ns),
                };
                let stretch = self.stretch(measured);
                Terms {
                    launch: each_us * 1e-6 * stretch,
                    compute: values * value_ns * 1e-9 * stretch,
                    memory: 0.0,
                }
            }
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
        match self.engine.calibration.as_ref() {
            Some(measured) => Terms {
                launch: measured.pass_us * 1e-6 * self.stretch(measured),
                compute: values * measured.logit_ns * 1e-9 * self.stretch(measured),
                memory: 0.0,
            },
            None => Terms {
                launch: self.engine.fixed_us.cost(self.corner) * 1e-6,
                compute: 0.0,
                memory: 0.0,
            },
        }
    }

    fn measured_product(self, measured: &Calibration, work: Work) -> Terms {
        let Some(table) = measured.table(work.product) else {
            return self.told_product(work);
        };
        let weights = work.rows as f64 * work.columns as f64;
        let stretch = self.stretch(measured);
        let launch = table.launch_us() * 1e-6 * stretch;
        let near = table.microseconds_at(work.tokens.max(1) as f64, weights) * 1e-6 * stretch;
        let rate = table.gb_per_s_at(self.working_bytes / 1e6) * 1e9 * self.share();
        Terms {
            launch,
            compute: (near - launch).max(0.0) / self.share(),
            memory: work.bytes as f64 / rate * stretch,
        }
    }

    /// By how much measured times are stretched at this corner.
    fn stretch(self, measured: &Calibration) -> f64 {
        match self.corner {
            Corner::Slow => 1.0 + measured.spread,
            Corner::Likely => 1.0,
            Corner::Fast => 1.0 - measured.spread,
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
    fn bandwidth(self) -> f64 {
        let cache_bytes = self.engine.cache_mb.rate(self.corner) * 1e6;
        if self.working_bytes <= cache_bytes {
            self.near_bandwidth()
        } else {
            self.far_bandwidth()
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
