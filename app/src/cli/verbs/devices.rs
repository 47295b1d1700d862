//! `pare devices`: what is known of devices, and measuring this machine.

use crate::cli::answer::Answer;
use crate::cli::arguments::Devices;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::machines;
use crate::cli::table::{Edge, Table};
use crate::studio::devices::THIS_MACHINE;
use pare_engine::device::{Basis, DeviceProfile, EngineProfile, Value};
use pare_engine::session::measure_machine;
use serde_json::json;

pub(super) fn run(arguments: &Devices, context: &Context) -> Result<Answer, Failure> {
    if arguments.measure {
        measure_machine(&context.options, &context.progress)?;
    }
    let devices = machines::all(arguments.devices.as_deref(), context)?;
    Answer::new(&json!({ "devices": devices }), page(&devices))
}

fn page(devices: &[DeviceProfile]) -> String {
    let mut table = Table::new(&[
        ("device", Edge::Left),
        ("engine", Edge::Left),
        ("threads", Edge::Right),
        ("memory GB", Edge::Right),
        ("GB/s", Edge::Right),
        ("f32 Gop/s", Edge::Right),
        ("f16", Edge::Right),
        ("int8", Edge::Right),
        ("known", Edge::Left),
    ]);
    for device in devices {
        for engine in &device.engines {
            table.row(cells(device, engine));
        }
    }
    let mut text = table.text();
    text.push_str(
        "\nBandwidth and operations are peaks; (d) is from a data sheet, (i) inferred, (m) measured. --json tells bands and sources.\n",
    );
    if !devices.iter().any(|device| device.name == THIS_MACHINE) {
        text.push_str("This machine was not measured yet: pare devices --measure\n");
    }
    text
}

fn cells(device: &DeviceProfile, engine: &EngineProfile) -> [String; 9] {
    let threads = match engine.threads {
        1 => String::new(),
        threads => threads.to_string(),
    };
    let absent = |value: &Option<Value>| value.as_ref().map_or_else(String::new, cell);
    [
        device.name.clone(),
        engine.name.clone(),
        threads,
        compact(device.memory_gb.value),
        cell(&engine.bandwidth_gb_per_s),
        cell(&engine.f32_gops),
        absent(&engine.f16_gops),
        absent(&engine.i8_gops),
        match engine.basis() {
            Basis::Measured if is_unsure(engine) => "measured here, busy".to_owned(),
            Basis::Measured => "measured here".to_owned(),
            basis => basis.word().to_owned(),
        },
    ]
}

/// Whether something else ran while it was measured.
fn is_unsure(engine: &EngineProfile) -> bool {
    let calibration = engine.calibration.as_ref();
    calibration.is_some_and(|measured| measured.unrest.is_some())
}

fn cell(value: &Value) -> String {
    let mark = match value.basis {
        Basis::Measured => 'm',
        Basis::Datasheet => 'd',
        Basis::Inferred => 'i',
    };
    format!("{} ({mark})", compact(value.value))
}

/// Three digits and no more than a table needs.
fn compact(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_engine_has_a_row_and_a_missing_measurement_is_told() {
        let devices = DeviceProfile::builtin();
        let text = page(devices);
        let engines: usize = devices.iter().map(|device| device.engines.len()).sum();
        let rows = text.lines().take_while(|line| !line.is_empty()).count();
        assert_eq!(rows, engines + 1, "{text}");
        assert!(text.contains("pare devices --measure"), "{text}");
        for (value, expected) in [(141.0, "141"), (38.4, "38.4"), (0.512, "0.51")] {
            assert_eq!(compact(value), expected);
        }
    }
}
