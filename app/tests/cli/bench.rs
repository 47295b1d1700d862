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
