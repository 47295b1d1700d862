//! The table that is compiled in, and tables that nobody should trust.
#![allow(clippy::unwrap_used)]

use super::*;

const BOARD: &str = r#"
[[device]]
name = "Board"
memory_gb = { value = 2.0, basis = "datasheet", source = "s" }
[[device.engine]]
name = "cpu"
kind = "cpu"
threads = 4
instructions = "neon"
f32_gops = { value = 10.0, basis = "datasheet", source = "s" }
gemm_fraction = { value = 0.5, basis = "inferred", source = "s" }
stream_fraction = { value = 0.8, basis = "inferred", source = "s" }
bandwidth_gb_per_s = { value = 4.0, basis = "datasheet", source = "s" }
cache_mb = { value = 1.0, basis = "datasheet", source = "s" }
cache_gb_per_s = { value = 9.0, basis = "inferred", source = "s" }
launch_us = { value = 0.0, basis = "inferred", source = "s" }
fixed_us = { value = 0.0, basis = "inferred", source = "s" }
"#;

#[test]
fn the_table_is_whole_and_every_number_has_a_source() {
    let devices = DeviceProfile::builtin();
    assert!(devices.len() >= 15, "{} devices", devices.len());
    for word in [
        "Pi Zero 2",
        "Pi 4",
        "Pi 5",
        "Orin Nano",
        "AGX Orin",
        "Gen 2",
        "Gen 3",
        "M1",
        "M2",
        "M4",
        "N100",
        "Ryzen",
        "3060",
        "4090",
        "H200",
    ] {
        assert!(
            devices.iter().any(|device| device.name.contains(word)),
            "{word} is missing"
        );
    }
    for device in devices {
        for engine in &device.engines {
            let row = format!("{}, {}", device.name, engine.name);
            assert_eq!(engine.basis(), Basis::Datasheet, "{row}");
            for (key, value) in engine.values() {
                assert!(value.source.len() > 3, "{row}: {key}");
                assert!(
                    value.low <= value.value && value.value <= value.high,
                    "{row}: {key}"
                );
                if value.basis == Basis::Datasheet
                    && key != "bandwidth_gb_per_s"
                    && value.value > 0.0
                {
                    assert!(
                        value.high / value.value >= 1.25,
                        "{row}: the band of {key} is narrow"
                    );
                }
            }
            let ridge = engine.f32_gops.value / engine.bandwidth_gb_per_s.value;
            assert!(
                (0.5..1000.0).contains(&ridge),
                "{row}: {ridge} operations a byte"
            );
        }
    }
}

#[test]
fn tables_are_read_and_read_back() {
    let devices = parse_table(BOARD).unwrap();
    assert_eq!(devices[0].memory_bytes(), 2_000_000_000);
    assert_eq!(devices[0].engine(None).unwrap().name, "cpu");
    assert!(devices[0].engine(Some("gpu")).is_none());
    let text = serde_json::to_string(DeviceProfile::builtin()).unwrap();
    let again: Vec<DeviceProfile> = serde_json::from_str(&text).unwrap();
    for (one, other) in again.iter().zip(DeviceProfile::builtin()) {
        assert_eq!(one.name, other.name);
        let pairs = one.engines.iter().zip(&other.engines);
        for ((key, one), (_, other)) in
            pairs.flat_map(|(one, other)| one.values().into_iter().zip(other.values()))
        {
            assert!(
                (one.high / other.high - 1.0).abs() < 1e-12 || other.high == 0.0,
                "{key}"
            );
            assert_eq!(
                (one.value, &one.source),
                (other.value, &other.source),
                "{key}"
            );
        }
    }
    assert_eq!(parse_table("").unwrap(), []);
}

#[test]
fn hostile_tables_are_refused_with_words() {
    let second = format!("{BOARD}{}", BOARD.replace("Board", "BOARD"));
    let many = "[[device]]\n".repeat(600);
    let rows = [
        (
            BOARD.replace("name = \"Board\"", "name = \"\""),
            "needs a name",
        ),
        (BOARD.replace("\"Board\"", "\"a\\nb\""), "needs a name"),
        (BOARD.replace("value = 2.0", "value = 0.0"), "has no memory"),
        (BOARD.replace("value = 2.0", "value = -2.0"), "no value"),
        (BOARD.replace("value = 10.0", "value = nan"), "no value"),
        (
            BOARD.replace("value = 10.0", "value = 0.0"),
            "f32_gops of \"cpu\" must be above 0",
        ),
        (
            BOARD.replace("value = 4.0", "value = 4.0, low = 0.0"),
            "bandwidth_gb_per_s of \"cpu\" must be above 0",
        ),
        (
            BOARD.replace("value = 9.0", "value = 0.0"),
            "cache_gb_per_s of \"cpu\"",
        ),
        (
            BOARD.replace("value = 0.5", "value = 1.5"),
            "gemm_fraction of \"cpu\" is a share",
        ),
        (
            BOARD.replace("threads = 4", "threads = 0"),
            "1 to 4096 threads",
        ),
        (
            BOARD.replace("threads = 4", "threads = 999999"),
            "1 to 4096 threads",
        ),
        (BOARD.replace("threads = 4", "threads = -4"), "line 8"),
        (BOARD.replace("kind = \"cpu\"", "kind = \"tpu\""), "tpu"),
        (BOARD.replace("launch_us", "lunch_us"), "lunch_us"),
        (BOARD.replace("\"neon\"", "\"\\u001b[31m\""), "instructions"),
        (
            BOARD.split("[[device.engine]]").next().unwrap().to_owned(),
            "engine",
        ),
        (second, "stands in it twice"),
        (many, "line 1"),
        ("[device".to_owned(), "line 1"),
        ("device = 3".to_owned(), "line 1"),
        ("x = 1".to_owned(), "x"),
    ];
    for (text, expected) in rows {
        let problem = parse_table(&text).unwrap_err();
        assert!(problem.contains(expected), "{expected:?}: {problem}");
        assert_eq!(problem.lines().count(), 1, "{problem}");
    }
}

#[test]
fn files_are_limited() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("devices.toml");
    let read = |bytes: &[u8]| {
        #[expect(clippy::disallowed_methods, reason = "a file of a test")]
        std::fs::write(&path, bytes).unwrap();
        read_table(&path)
    };
    assert_eq!(read(BOARD.as_bytes()).unwrap().len(), 1);
    let rows: [(&[u8], &str); 3] = [
        (&[0xff, 0xfe], "no UTF-8"),
        (&vec![b'#'; (1 << 20) + 1], "larger than"),
        (b"[[device]]", "line 1"),
    ];
    for (bytes, expected) in rows {
        let error = read(bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected:?}: {error}");
        assert!(error.ends_with("devices.toml"), "{error}");
    }
    let error = read_table(&folder.path().join("none.toml"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("could not be read"), "{error}");
}

#[test]
fn names_are_found_or_offered() {
    let devices = DeviceProfile::builtin();
    let rows = [
        ("raspberry pi 5, 8 gb", Some("Raspberry Pi 5, 8 GB")),
        ("Raspberry Pi 5", Some("Raspberry Pi 5, 8 GB")),
        ("rtx", None),
        ("Jetson Orin", None),
        ("", None),
        ("abacus", None),
    ];
    for (name, expected) in rows {
        let found = find_device(devices, name).map(|device| device.name.as_str());
        assert_eq!(found, expected, "{name:?}");
    }
    let rows = [
        ("Rasberry Pi 5", Some("Raspberry Pi 5, 8 GB")),
        ("4090", Some("RTX 4090, 24 GB")),
        ("m4", Some("Apple M4, 16 GB")),
        ("zzzzzz", None),
    ];
    for (name, expected) in rows {
        assert_eq!(nearest_device(devices, name), expected, "{name:?}");
    }
}
