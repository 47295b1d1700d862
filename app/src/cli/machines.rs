//! The devices that flags can name: this machine once it was measured, a person's own, the engine's table.
//!
//! Measures nothing.

use crate::cli::arguments::TargetFlags;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::studio::devices::THIS_MACHINE;
use crate::studio::places;
use pare_engine::device::{DeviceProfile, find_device, nearest_device, read_table};
use pare_engine::session::find_profile;
use std::path::Path;

/// All devices: this machine first, where it was measured, then those of `table`, or of the user's data folder.
pub(super) fn all(table: Option<&Path>, context: &Context) -> Result<Vec<DeviceProfile>, Failure> {
    let mut devices: Vec<DeviceProfile> = find_profile(&context.options).into_iter().collect();
    devices.extend(own(table)?);
    for known in DeviceProfile::builtin() {
        let is_known = |device: &DeviceProfile| device.name.eq_ignore_ascii_case(&known.name);
        // What a person says of a device counts more than what the table says.
        if !devices.iter().any(is_known) {
            devices.push(known.clone());
        }
    }
    Ok(devices)
}

/// The device that flags name; this machine where they name none.
pub(super) fn chosen(flags: &TargetFlags, context: &Context) -> Result<DeviceProfile, Failure> {
    let devices = all(flags.devices.as_deref(), context)?;
    let name = flags.device.as_deref().unwrap_or(THIS_MACHINE);
    if let Some(device) = find_device(&devices, name) {
        return Ok(device.clone());
    }
    if name.eq_ignore_ascii_case(THIS_MACHINE) {
        let threads = context.options.threads;
        let threads = threads.map_or_else(String::new, |count| format!(" --threads {count}"));
        return Err(Failure::Failed(format!(
            "This machine was not measured yet. Run `pare devices --measure{threads}`, which takes some seconds, or name a device with --device."
        )));
    }
    let advice = match nearest_device(&devices, name) {
        Some(nearest) => format!("Is it {nearest:?}? `pare devices` lists all."),
        None => "`pare devices` lists all.".to_owned(),
    };
    Err(Failure::WrongUse(format!(
        "No device is named {name:?}. {advice}"
    )))
}

fn own(table: Option<&Path>) -> Result<Vec<DeviceProfile>, Failure> {
    if let Some(path) = table {
        return read_table(path).map_err(Failure::failed);
    }
    let usual = places::data_folder().map(|folder| places::devices_table(&folder));
    match usual.filter(|path| path.is_file()) {
        Some(path) => read_table(&path).map_err(Failure::failed),
        None => Ok(Vec::new()),
    }
}
