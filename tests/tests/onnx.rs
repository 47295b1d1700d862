//! ONNX end to end: any model and any run as a graph, as many bytes as foretold, what cannot be held told before.

#![allow(clippy::unwrap_used)]

use pare_engine::formats::{Format, export, onnx};
use pare_engine::settings::Activations;
use pare_engine::solved::Method;
use pare_tests::sessions::{Quiet, Workshop, files_of};
use std::path::Path;

fn bytes_of(folder: &Path) -> u64 {
    let files = files_of(folder);
    let outside = files.iter().filter(|(path, _)| !path.starts_with(".pare"));
    outside.map(|(_, bytes)| bytes.len() as u64).sum()
}

#[test]
fn a_run_is_exported_as_it_is_written_at_once() {
    for (method, bits, group) in [
        (Method::Gptq, 4, 32),
        (Method::Rtn, 8, 0),
        (Method::Hqq, 3, 16),
    ] {
        let workshop = Workshop::new();
        let session = workshop.open(&workshop.model()).unwrap();
        let recipe = workshop.recipe(method, bits, group);
        let request = workshop.request(recipe.clone(), "once", Format::Onnx);
        let dry = session.dry_run(&request).unwrap();
        let report = session.compress(&request, &Quiet::default()).unwrap();
        assert_eq!(
            dry.bytes_after, report.bytes_after,
            "a dry run tells the bytes"
        );
        assert_eq!(bytes_of(&workshop.path("once")), report.bytes_after);
        assert!(report.verified.tensors >= 14, "{:?}", report.verified);
        assert_eq!(report.verified.max_abs_difference, 0.0);
        let request = workshop.request(recipe, "run", Format::Pare);
        session.compress(&request, &Quiet::default()).unwrap();
        let later = workshop.path("later");
        let exported = export(
            &workshop.path("run"),
            Format::Onnx,
            &later,
            &Quiet::default(),
        )
        .unwrap();
        assert_eq!(exported.bytes, bytes_of(&later));
        for file in [onnx::MODEL_FILE, onnx::DATA_FILE] {
            let read = |name: &str| std::fs::read(workshop.path(name).join(file)).unwrap();
            assert!(
                read("once") == read("later"),
                "{method:?} {bits} bits: {file} differs"
            );
        }
    }
}

#[test]
fn any_model_is_exported_without_a_run() {
    let workshop = Workshop::new();
    let out = workshop.path("out");
    let report = export(&workshop.model(), Format::Onnx, &out, &Quiet::default()).unwrap();
    assert_eq!(report.bytes, bytes_of(&out));
    assert_eq!(report.verified.max_abs_difference, 0.0);
    assert!(report.verified.tensors > 20, "{:?}", report.verified);
    assert!(report.fallbacks.is_empty(), "{:?}", report.fallbacks);
}

#[test]
fn what_no_operator_holds_is_told_before() {
    let workshop = Workshop::new();
    let session = workshop.open(&workshop.model()).unwrap();
    let told = |method: Method, bits: u8, group: usize, activations: Activations| {
        let mut recipe = workshop.recipe(method, bits, group);
        recipe.default.activations = activations;
        let request = workshop.request(recipe, "run", Format::Onnx);
        let dry = session.dry_run(&request).unwrap();
        let fallback = dry.layers.iter().find_map(|layer| layer.fallback.clone());
        fallback.map(|fallback| fallback.to)
    };
    use Activations::{Dynamic8, None as Floats, Static8};
    let rows = [
        (Method::Rtn, 4, 32, Floats, None),
        (Method::Rtn, 8, 0, Dynamic8, None),
        (Method::Rtn, 8, 32, Dynamic8, Some("activation block 32")),
        (Method::Rtn, 8, 24, Static8, None),
        (Method::Rtn, 3, 32, Floats, Some("3 bits in the room of 4")),
        (Method::Rtn, 6, 32, Floats, Some("6 bits in the room of 8")),
        (Method::Rtn, 4, 40, Floats, Some("group 32")),
        (Method::Rtn, 4, 32, Dynamic8, Some("activation block 32")),
        (Method::Nf4, 4, 64, Floats, Some("none")),
    ];
    for (method, bits, group, activations, expected) in rows {
        let found = told(method, bits, group, activations);
        assert_eq!(
            found.as_deref(),
            expected,
            "{method:?} {bits} bits, group {group}"
        );
    }
    let mut strict = workshop.recipe(Method::Rtn, 3, 32);
    strict.strict = true;
    let refused = session.dry_run(&workshop.request(strict, "run", Format::Onnx));
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("strict"), "{refused}");
}
