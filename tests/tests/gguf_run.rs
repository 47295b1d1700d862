//! What an export to GGUF keeps of its run, and what the file computes where inputs are rounded as llama.cpp rounds them.

#![allow(clippy::unwrap_used)]

use pare_engine::formats::Format;
use pare_engine::ggml::GgmlType;
use pare_engine::monitor::Unwatched;
use pare_engine::report::ExportReport;
use pare_engine::session::{
    self, GgufRequest, InputRounding, ReportRequest, Session, SessionError, write_report,
};
use pare_engine::settings::Activations;
use pare_engine::solved::Method;
use pare_tests::sessions::{Quiet, Workshop};
use std::path::Path;

/// A run whose codes Q8_0 holds as they are, with inputs rounded in blocks of `activation_block`.
fn run(workshop: &Workshop, name: &str, activations: Activations, activation_block: usize) {
    let mut recipe = workshop.recipe(Method::Rtn, 8, 32);
    recipe.default.symmetric = true;
    recipe.default.activations = activations;
    recipe.default.activation_block = activation_block;
    let session = workshop.open(&workshop.model()).unwrap();
    let request = workshop.request(recipe, name, Format::Pare);
    session.compress(&request, &Quiet::default()).unwrap();
}

fn export(workshop: &Workshop, run: &str, out: &str, kind: Option<GgmlType>) -> ExportReport {
    let session = workshop.open(&workshop.path(run)).unwrap();
    let request = GgufRequest {
        out: workshop.path(out),
        kind,
        ..GgufRequest::default()
    };
    session.export_gguf(&request, &Quiet::default()).unwrap()
}

fn outputs(session: &Session) -> Vec<f32> {
    let ids: Vec<u32> = (0..24).map(|id| id * 7 % 50).collect();
    let outputs = session.model_on_kernels().unwrap().forward(&ids).unwrap();
    outputs.flatten_all().unwrap().to_vec1::<f32>().unwrap()
}

/// Outputs of a model whose inputs are rounded, or why they cannot be.
fn rounded(
    workshop: &Workshop,
    model: &Path,
    mode: Activations,
    block: Option<usize>,
) -> Result<Vec<f32>, SessionError> {
    let mut session = workshop.open(model)?;
    session.round_inputs(InputRounding { mode, block })?;
    Ok(outputs(&session))
}

/// Of the whole, in the norm.
fn distance(found: &[f32], expected: &[f32]) -> f32 {
    let square =
        |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>();
    let difference = square(&mut found.iter().zip(expected).map(|(a, b)| a - b));
    (difference / square(&mut expected.iter().copied())).sqrt()
}

#[test]
fn a_folder_keeps_the_report_of_its_run() {
    let workshop = Workshop::new();
    run(&workshop, "run", Activations::None, 0);
    export(&workshop, "run", "folder", None);
    let report = |run: &str, csv: Option<&str>| {
        let request = ReportRequest {
            run: workshop.path(run),
            out: workshop.path("page.html"),
            csv: csv.map(|name| workshop.path(name)),
            allocation: None,
        };
        write_report(&request, &Unwatched)
    };
    report("folder", Some("layers.csv")).unwrap();
    let page = std::fs::read_to_string(workshop.path("page.html")).unwrap();
    for expected in ["gguf", "model.layers.1.mlp.down_proj", "model.gguf"] {
        assert!(page.contains(expected), "{expected}");
    }
    assert!(workshop.open(&workshop.path("folder")).is_ok());
    export(&workshop, "run", "file.gguf", None);
    let problem = report("file.gguf", None).unwrap_err().to_string();
    assert!(problem.contains("which keeps none"), "{problem}");
    assert!(
        !workshop.path(".pare").exists(),
        "nothing beside a single file"
    );
    // Of a model that is no run there is still what the export found.
    export(&workshop, "model", "of_model", Some(GgmlType::F16));
    report("of_model", None).unwrap();
}

#[test]
fn inputs_are_rounded_as_the_same_codes_round_them() {
    let workshop = Workshop::new();
    run(&workshop, "floats", Activations::None, 0);
    run(&workshop, "bytes", Activations::Dynamic8, 32);
    run(&workshop, "tokens", Activations::Dynamic8, 0);
    export(&workshop, "floats", "file.gguf", None);
    let told = export(&workshop, "bytes", "told.gguf", None).fallbacks;
    assert!(
        told.len() >= 14,
        "each layer's way to round goes: {}",
        told.len()
    );
    assert!(told[0].fallback.from.contains("dynamic8"));
    let file = workshop.path("file.gguf");
    let plain = outputs(&workshop.open(&file).unwrap());
    let of_run = |name: &str| outputs(&workshop.open(&workshop.path(name)).unwrap());
    let (floats, bytes, tokens) = (of_run("floats"), of_run("bytes"), of_run("tokens"));
    let as_program = rounded(&workshop, &file, Activations::Dynamic8, None).unwrap();
    let by_token = rounded(&workshop, &file, Activations::Dynamic8, Some(0)).unwrap();
    let back = rounded(&workshop, &workshop.path("bytes"), Activations::None, None).unwrap();
    // An input in the middle between two steps may fall to either where sums differ in the last bit.
    for (what, found, expected, bound) in [
        ("floats", &plain, &floats, 1e-5),
        ("a run's own rounding taken away", &back, &floats, 1e-5),
        (
            "blocks of 32, as llama.cpp has them",
            &as_program,
            &bytes,
            0.5 * distance(&bytes, &floats),
        ),
        (
            "scales of tokens",
            &by_token,
            &tokens,
            0.5 * distance(&tokens, &floats),
        ),
    ] {
        let distance = distance(found, expected);
        assert!(distance < bound, "{what}: {distance}, not below {bound}");
    }
    let moved = distance(&as_program, &plain);
    assert!(
        (1e-4..5e-2).contains(&moved),
        "rounding changes something, and little: {moved}"
    );
}

#[test]
fn what_cannot_be_rounded_is_said() {
    let workshop = Workshop::new();
    run(&workshop, "run", Activations::None, 0);
    export(&workshop, "run", "file.gguf", None);
    let model = workshop.model();
    let (run, file) = (workshop.path("run"), workshop.path("file.gguf"));
    let cases = [
        (
            &model,
            Activations::Dynamic8,
            None,
            "no layer of the model is quantized",
        ),
        (&file, Activations::Static8, None, "come from calibration"),
        (&run, Activations::Dynamic8, Some(256), "in GGUF files only"),
    ];
    for (path, mode, block, expected) in cases {
        let problem = rounded(&workshop, path, mode, block)
            .unwrap_err()
            .to_string();
        assert!(problem.contains(expected), "{problem}");
    }
    rounded(&workshop, &file, Activations::Dynamic8, Some(256)).unwrap();
}

#[test]
fn a_file_becomes_dense_again() {
    let workshop = Workshop::new();
    let (file, dense) = (workshop.path("file.gguf"), workshop.path("dense"));
    export(&workshop, "model", "file.gguf", Some(GgmlType::Q8_0));
    let to = |format: Format, out: &Path| {
        session::export(&file, format, out, &workshop.options(2), &Quiet::default())
    };
    to(Format::Dense, &dense).unwrap();
    let expected = outputs(&workshop.open(&file).unwrap());
    assert_eq!(outputs(&workshop.open(&dense).unwrap()), expected);
    let problem = to(Format::Mlx, &workshop.path("mlx"))
        .unwrap_err()
        .to_string();
    assert!(problem.contains("becomes dense, gguf or onnx"), "{problem}");
}
