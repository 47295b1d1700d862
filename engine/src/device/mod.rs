//! Devices that models may run on: profiles of numbers, each with its band and source.
//!
//! A table is compiled in, users bring their own, and `measure` makes the profile of this machine. Estimates nothing.

mod calibration;
mod profile;
mod table;
#[cfg(test)]
mod tests;
mod value;

pub use calibration::{
    BlockCosts, BlockStyle, CachedLooks, Calibration, KernelTable, LookCosts, Product, Tier,
    Weights,
};
pub use profile::{DeviceProfile, EngineKind, EngineProfile};
pub use table::{DeviceError, parse_table, read_table};
pub use value::{Basis, Corner, Value};

use std::sync::LazyLock;

/// The table of devices that everyone has.
const TABLE: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../assets/devices.toml"
));

/// Names less alike than this are not offered.
const LEAST_LIKENESS: f64 = 0.4;

impl DeviceProfile {
    /// The devices that are compiled in, weak ones first.
    pub fn builtin() -> &'static [Self] {
        static DEVICES: LazyLock<Vec<DeviceProfile>> = LazyLock::new(|| {
            parse_table(TABLE).expect("the table of devices is compiled in, and a test reads it")
        });
        &DEVICES
    }

    /// What is wrong with a profile that comes from a file, as a clause.
    pub fn check(&self) -> Result<(), String> {
        table::check(self)
    }
}

/// The device that `name` says: its whole name in any case, or the only one whose name begins so.
pub fn find_device<'a>(devices: &'a [DeviceProfile], name: &str) -> Option<&'a DeviceProfile> {
    let asked = name.trim().to_lowercase();
    let whole = devices
        .iter()
        .find(|device| device.name.to_lowercase() == asked);
    whole.or_else(|| {
        let mut begun = devices
            .iter()
            .filter(|device| device.name.to_lowercase().starts_with(&asked));
        let first = begun.next().filter(|_| !asked.is_empty())?;
        begun.next().is_none().then_some(first)
    })
}

/// The name most like `name`, for a question back.
pub fn nearest_device<'a>(devices: &'a [DeviceProfile], name: &str) -> Option<&'a str> {
    let asked = name.trim().to_lowercase();
    let likeness = |device: &DeviceProfile| {
        let known = device.name.to_lowercase();
        // Whoever types a part of a name means it.
        let part = if !asked.is_empty() && known.contains(&asked) {
            1.0
        } else {
            0.0
        };
        strsim::normalized_damerau_levenshtein(&asked, &known).max(part)
    };
    let best = devices
        .iter()
        .map(|device| (likeness(device), device.name.as_str()))
        .max_by(|left, right| left.0.total_cmp(&right.0))?;
    (best.0 >= LEAST_LIKENESS).then_some(best.1)
}
