//! What a device can do, engine by engine: the numbers that latency and memory are estimated from.
//!
//! Types only. Rates are sustained where a name says so, else peaks; names carry the units: GB and GB/s are 1e9 bytes, MB
//! is 1e6 bytes, gops are 1e9 operations a second, of which a multiply-add is two.

use super::calibration::Calibration;
use super::value::{Basis, Value};
use serde::{Deserialize, Serialize};

/// A machine that models run on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceProfile {
    /// Its name: what flags and preferences say.
    pub name: String,
    /// Memory that programs and models share (of a card: its own), GB.
    pub memory_gb: Value,
    /// What computes in it, the usual one first; at least one.
    #[serde(
        rename(serialize = "engines", deserialize = "engine"),
        alias = "engines"
    )]
    pub engines: Vec<EngineProfile>,
}

/// One part of a device that computes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineProfile {
    /// Its name inside the device, such as `cpu`.
    pub name: String,
    /// What it is.
    pub kind: EngineKind,
    /// Threads that work at once; 1 of what is not programmed by threads.
    pub threads: usize,
    /// Words for the instructions that decide its speed, such as `avx2 vnni`.
    pub instructions: String,
    /// Peak f32 operations, all threads together.
    pub f32_gops: Value,
    /// Peak f16 operations; absent where it computes them in f32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub f16_gops: Option<Value>,
    /// Peak 8-bit integer operations; absent where it has no such instructions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub i8_gops: Option<Value>,
    /// Peak 4-bit integer operations; absent where codes of 4 bits are computed with 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub i4_gops: Option<Value>,
    /// Share of the peak that large products sustain.
    pub gemm_fraction: Value,
    /// Share of the bandwidth that products with one token sustain.
    pub stream_fraction: Value,
    /// Reading from memory by one thread, GB/s; absent of what is not programmed by threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_thread_gb_per_s: Option<Value>,
    /// Reading from memory by all threads, GB/s.
    pub bandwidth_gb_per_s: Value,
    /// Last-level cache that all threads share, MB; 0 where there is none.
    pub cache_mb: Value,
    /// Reading from that cache by all threads, GB/s.
    pub cache_gb_per_s: Value,
    /// Starting one operation, microseconds.
    pub launch_us: Value,
    /// What each inference costs besides, microseconds.
    pub fixed_us: Value,
    /// Rates of the very kernels, where they were measured here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
}

/// What kind of processor an engine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// Cores that programs run on: Pare itself could run there.
    Cpu,
    /// A graphics processor.
    Gpu,
    /// An accelerator of networks.
    Npu,
}

impl DeviceProfile {
    /// The engine of that name; the usual one for none.
    pub fn engine(&self, name: Option<&str>) -> Option<&EngineProfile> {
        match name {
            None => self.engines.first(),
            Some(name) => self
                .engines
                .iter()
                .find(|engine| engine.name.eq_ignore_ascii_case(name)),
        }
    }

    /// Memory in bytes.
    pub fn memory_bytes(&self) -> u64 {
        (self.memory_gb.value * 1e9) as u64
    }
}

impl EngineProfile {
    /// Every number, by the key that tables have for it.
    pub fn values(&self) -> Vec<(&'static str, &Value)> {
        let always = [
            ("f32_gops", &self.f32_gops),
            ("gemm_fraction", &self.gemm_fraction),
            ("stream_fraction", &self.stream_fraction),
            ("bandwidth_gb_per_s", &self.bandwidth_gb_per_s),
            ("cache_mb", &self.cache_mb),
            ("cache_gb_per_s", &self.cache_gb_per_s),
            ("launch_us", &self.launch_us),
            ("fixed_us", &self.fixed_us),
        ];
        let sometimes = [
            ("f16_gops", &self.f16_gops),
            ("i8_gops", &self.i8_gops),
            ("i4_gops", &self.i4_gops),
            ("one_thread_gb_per_s", &self.one_thread_gb_per_s),
        ];
        let told = sometimes
            .iter()
            .filter_map(|(key, value)| Some((*key, value.as_ref()?)));
        always.into_iter().chain(told).collect()
    }

    /// How estimates on it are known: measured where its kernels were, else from data sheets.
    pub fn basis(&self) -> Basis {
        match self.calibration {
            Some(_) => Basis::Measured,
            None => Basis::Datasheet,
        }
    }
}
