//! `pare bench`.

use crate::place::{Place, has_keys};

const SMALL: [&str; 10] = [
    "bench",
    "solvers",
    "--rows",
    "64",
    "--columns",
    "128",
    "--tokens",
    "256",
    "--rounds",
    "1",
];

#[test]
fn solvers_are_measured_beside_the_rulers() {
    let document = Place::new().json(&SMALL);
    has_keys(&document, &["machine", "rulers", "rows"]);
    has_keys(&document["rulers"], &["fma_gflops", "stream_read_gbps"]);
    let rows = document["rows"].as_array().unwrap();
    assert!(!rows.is_empty());
    for row in rows {
        has_keys(row, &["name", "shape", "seconds", "gops", "of_bound"]);
    }
}

#[test]
fn kernels_are_checked_and_measured_beside_the_rulers() {
    let small = [
        "bench",
        "kernels",
        "--rows",
        "40",
        "--columns",
        "96",
        "--tokens",
        "2",
        "--rounds",
        "1",
    ];
    let document = Place::new().json(&small);
    has_keys(
        &document,
        &["machine", "instruction_set", "threads", "rulers", "rows"],
    );
    let rulers = [
        "fma_gflops_one",
        "fma_gflops",
        "integer_gmacs_one",
        "integer_gmacs",
        "stream_read_gbps_one",
        "stream_read_gbps",
    ];
    has_keys(&document["rulers"], &rulers);
    let rows = document["rows"].as_array().unwrap();
    assert!(rows.len() > 10);
    for row in rows {
        has_keys(
            row,
            &[
                "name",
                "seconds",
                "seconds_median",
                "gmacs",
                "weight_gbps",
                "of_bound",
            ],
        );
        assert_ne!(row["exact"], false, "{row}");
    }
}

#[test]
fn one_kernel_can_be_asked_for_by_name_on_a_lesser_instruction_set() {
    let one = [
        "bench",
        "kernels",
        "--only",
        "int4-gemv-resident",
        "--isa",
        "portable",
    ];
    let sizes = ["--rows", "20", "--columns", "64", "--rounds", "1"];
    let document = Place::new().json(&[&one[..], &sizes].concat());
    assert_eq!(document["instruction_set"], "portable");
    assert_eq!(document["rows"][0]["name"], "int4-gemv-resident");
    assert_eq!(document["rows"].as_array().unwrap().len(), 1);
}

#[test]
fn memory_is_read_at_several_sizes() {
    let document = Place::new().json(&["bench", "memory", "--rounds", "1"]);
    has_keys(&document, &["machine", "threads", "rows"]);
    let rows = document["rows"].as_array().unwrap();
    has_keys(&rows[0], &["bytes", "read_gbps_one", "read_gbps"]);
}
