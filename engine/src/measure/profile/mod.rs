//! This machine as a device, measured in some seconds: memory, caches, arithmetic, and the very kernels and passes that
//! run models.
//!
//! Runs on the threads of the current pool, and what it finds holds for their number. Knows no file.

mod clock;
mod passes;
mod products;
pub(super) mod random;
mod rulers;

use super::processor;
use crate::device::{
    Basis, Calibration, DeviceProfile, EngineKind, EngineProfile, KernelTable, Product, Value,
    Weights,
};
use crate::kernels::instruction_set;
use crate::model::ModelError;
use crate::monitor::{Monitor, Silent, Stopped};
use rulers::{Rulers, unrest};

/// What this machine is called in the list of devices.
pub const THIS_MACHINE: &str = "This machine";

/// Half of the band of what was measured: what one minute differs from another.
const SPREAD: f64 = 0.15;
/// Last-level cache where the system does not tell.
const USUAL_CACHE_BYTES: f64 = 8e6;
/// Weights of a product whose arithmetic counts.
const LARGE: f64 = 1_048_576.0;
const MANY_TOKENS: f64 = 256.0;

/// Steps that a monitor is told of.
pub const PROFILE_STEPS: u64 = products::COUNT as u64 + 3;

/// Why a machine could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The monitor asked for it.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// A network that is measured cannot run.
    #[error("this machine could not be measured: {0}; please report this")]
    Model(#[from] ModelError),
}

impl From<candle_core::Error> for ProfileError {
    fn from(error: candle_core::Error) -> Self {
        Self::Model(error.into())
    }
}

/// Measures this machine, whose memory is `memory_bytes`. `monitor` counts the steps.
pub fn profile_machine(
    memory_bytes: u64,
    monitor: &dyn Monitor,
) -> Result<DeviceProfile, ProfileError> {
    let products = products::all();
    let quiet = Silent(monitor);
    let rulers = Rulers::measure(&quiet)?;
    monitor.step(1, PROFILE_STEPS);
    let mut kernels: Vec<KernelTable> = Vec::new();
    for product in products {
        kernels.push(products::measure(product, &quiet)?);
        monitor.step(1 + kernels.len() as u64, PROFILE_STEPS);
    }
    let bytes = find(&kernels, Weights::Codes(8), true);
    let passes = passes::measure(bytes, &quiet)?;
    monitor.step(PROFILE_STEPS - 1, PROFILE_STEPS);
    let later = Rulers::measure(&quiet)?;
    monitor.step(PROFILE_STEPS, PROFILE_STEPS);
    let unrest = unrest(&rulers, &later);
    let rulers = rulers.best(&later);
    Ok(DeviceProfile {
        name: THIS_MACHINE.to_owned(),
        memory_gb: Value::banded(
            memory_bytes as f64 / 1e9,
            (1.0, 1.0),
            Basis::Measured,
            "what the operating system says",
        ),
        engines: vec![engine(&rulers, kernels, passes, unrest)],
    })
}

/// A word that changes when what was measured no longer holds: processor, instructions, threads.
pub fn profile_key() -> String {
    format!(
        "{}; {}; {} threads",
        processor(),
        instruction_set().word(),
        rayon::current_num_threads()
    )
}

fn find(kernels: &[KernelTable], weights: Weights, integer: bool) -> &KernelTable {
    let product = Product { weights, integer };
    let found = kernels.iter().find(|table| table.product == product);
    found.expect("all products are measured, and this is one")
}

fn measured(value: f64, what: &str) -> Value {
    let share = (1.0 - SPREAD, 1.0 + SPREAD);
    Value::banded(
        value,
        share,
        Basis::Measured,
        format!("measured here: {what}"),
    )
}

fn engine(
    rulers: &Rulers,
    kernels: Vec<KernelTable>,
    passes: passes::PassCosts,
    unrest: Option<String>,
) -> EngineProfile {
    let gops = |table: &KernelTable| {
        2.0 * LARGE * MANY_TOKENS / table.microseconds_at(MANY_TOKENS, LARGE) / 1e3
    };
    let floats = gops(find(&kernels, Weights::Float, false));
    let bytes = find(&kernels, Weights::Codes(8), true);
    let stream = bytes
        .tiers
        .last()
        .map_or(rulers.far_gb_per_s, |tier| tier.gb_per_s);
    let gemm_fraction = (floats / rulers.fma_gops).clamp(0.01, 1.0);
    EngineProfile {
        name: "cpu".to_owned(),
        kind: EngineKind::Cpu,
        threads: rayon::current_num_threads(),
        instructions: instruction_set().word().to_owned(),
        f32_gops: measured(rulers.fma_gops, "multiply-adds in registers"),
        f16_gops: None,
        // The share of the peak that floats sustain is taken for integers too.
        i8_gops: Some(measured(
            gops(bytes) / gemm_fraction,
            "products of bytes, and the share of floats",
        )),
        i4_gops: None,
        gemm_fraction: measured(
            gemm_fraction,
            "a product of 256 tokens against multiply-adds in registers",
        ),
        stream_fraction: measured(
            (stream / rulers.far_gb_per_s).clamp(0.01, 1.0),
            "products of bytes with one token against reads",
        ),
        one_thread_gb_per_s: Some(measured(
            rulers.one_thread_gb_per_s,
            "reads of 192 MB by one thread",
        )),
        bandwidth_gb_per_s: measured(rulers.far_gb_per_s, "reads of 192 MB by all threads"),
        cache_mb: measured(
            cache_bytes().unwrap_or(USUAL_CACHE_BYTES) / 1e6,
            "what the operating system says",
        ),
        cache_gb_per_s: measured(rulers.near_gb_per_s, "reads of 8 MB by all threads"),
        launch_us: measured(bytes.launch_us(), "a product of 16 x 32 bytes"),
        fixed_us: measured(passes.pass_us, "embedding, head and choice of one token"),
        calibration: Some(Calibration {
            spread: SPREAD,
            unrest,
            kernels,
            blocks: passes.blocks,
            cached: passes.cached,
            pass_us: passes.pass_us,
            logit_ns: passes.logit_ns,
        }),
    }
}

/// The last-level cache, where the system tells.
fn cache_bytes() -> Option<f64> {
    let levels = (2..=4).rev().filter_map(|index| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size");
        let text = std::fs::read_to_string(path).ok()?;
        let kilobytes: f64 = text.trim().strip_suffix('K')?.parse().ok()?;
        Some(kilobytes * 1024.0)
    });
    levels.into_iter().find(|bytes| *bytes > 0.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::monitor::Unwatched;

    #[test]
    fn products_and_passes_are_measured() {
        let product = Product {
            weights: Weights::Codes(8),
            integer: true,
        };
        let table = products::measure(product, &Unwatched).unwrap();
        assert!(!table.tiers.is_empty(), "{table:?}");
        assert!(table.microseconds_at(1.0, 512.0) > 0.0, "{table:?}");
        let passes = passes::measure(&table, &Unwatched).unwrap();
        assert_eq!((passes.blocks.len(), passes.cached.len()), (3, 3));
        assert!(passes.pass_us.is_finite() && passes.logit_ns.is_finite());
        let rulers = Rulers {
            fma_gops: 100.0,
            one_thread_gb_per_s: 10.0,
            far_gb_per_s: 12.0,
            near_gb_per_s: 50.0,
            one_thread_fma_gops: 50.0,
            spread: 0.0,
        };
        let float = Product {
            weights: Weights::Float,
            integer: false,
        };
        let kernels = vec![
            table.clone(),
            KernelTable {
                product: float,
                ..table
            },
        ];
        let device = DeviceProfile {
            name: THIS_MACHINE.to_owned(),
            memory_gb: measured(8.0, "a test"),
            engines: vec![engine(&rulers, kernels, passes, None)],
        };
        device.check().unwrap();
        let text = serde_json::to_string(&device).unwrap();
        let again: DeviceProfile = serde_json::from_str(&text).unwrap();
        again.check().unwrap();
    }
}
