//! MLX keeps biases in the place of zeros, rounded to the dtype of scales: codes are chosen for what comes back, and reports
//! tell of that.

#![allow(clippy::unwrap_used)]

use pare_engine::checkpoint::Checkpoint;
use pare_engine::distortion::sqnr_db;
use pare_engine::formats::{Format, export};
use pare_engine::report::LayerReport;
use pare_engine::solved::Method;
use pare_engine::tensor::{Matrix, ScaleDtype, WeightSource};
use pare_tests::sessions::{Quiet, Workshop};
use std::path::Path;

/// Values of a layer in a model, `[out, in]`.
fn values(model: &Path, layer: &LayerReport) -> Matrix {
    let model = Checkpoint::open(model).unwrap();
    let name = format!("{}.weight", layer.name);
    let shape = model.info(&name).unwrap().shape;
    Matrix::new(shape[0], shape[1], model.read_f32(&name).unwrap())
}

fn compress(workshop: &Workshop, method: Method, bits: u8, format: Format) -> Vec<LayerReport> {
    let mut recipe = workshop.recipe(method, bits, 32);
    recipe.default.scale_dtype = ScaleDtype::BF16;
    let out = format!("{}-{bits}-{}", method.word(), format.word());
    let request = workshop.request(recipe, &out, format);
    let session = workshop.open(&workshop.model()).unwrap();
    let report = session.compress(&request, &Quiet::default()).unwrap();
    let compressed = report.layers.into_iter();
    compressed
        .filter(|layer| layer.method != Method::None)
        .collect()
}

#[test]
fn rounded_biases_cost_nothing_and_reports_tell_of_what_was_written() {
    let workshop = Workshop::new();
    for (method, bits) in [
        (Method::Rtn, 8),
        (Method::Rtn, 6),
        (Method::Rtn, 4),
        (Method::Hqq, 8),
        (Method::Gptq, 8),
        (Method::Gptq, 3),
    ] {
        let written = compress(&workshop, method, bits, Format::Mlx);
        let kept = compress(&workshop, method, bits, Format::Pare);
        let out = workshop.path(&format!("{}-{bits}-mlx", method.word()));
        for (layer, kept) in written.iter().zip(&kept) {
            let place = format!("{} {bits} bits, {}", method.word(), layer.name);
            let (before, after) = (values(&workshop.model(), layer), values(&out, layer));
            let found = sqnr_db(&before, &after).unwrap();
            let told = layer.sqnr_db.unwrap();
            assert!(
                (found - told).abs() < 1e-3,
                "{place}: {found} dB, told {told}"
            );
            if method != Method::Gptq {
                let whole = kept.sqnr_db.unwrap();
                assert!(
                    found > whole - 0.15,
                    "{place}: {found} dB, {whole} with whole zeros"
                );
            } else if let (Some(found), Some(whole)) =
                (layer.relative_output_error, kept.relative_output_error)
            {
                // Of 8 bits the grid moves under the codes, which are moved after it and not swept again.
                let most = if bits == 8 { 1.5 } else { 1.15 };
                assert!(
                    found < most * whole,
                    "{place}: {found}, {whole} with whole zeros"
                );
            }
        }
    }
}

#[test]
fn a_run_of_rounded_biases_is_exported_as_it_is() {
    let workshop = Workshop::new();
    for bits in [8, 4] {
        let layers = compress(&workshop, Method::Rtn, bits, Format::Mlx);
        let run = workshop.path(&format!("rtn-{bits}-mlx"));
        let out = |format: Format| workshop.path(&format!("{bits}-{}", format.word()));
        for format in [Format::Mlx, Format::Pare, Format::Gptq] {
            export(&run, format, &out(format), &Quiet::default()).unwrap();
        }
        for layer in &layers {
            let expected = values(&run, layer);
            assert_eq!(values(&out(Format::Mlx), layer), expected, "{}", layer.name);
            for format in [Format::Pare, Format::Gptq] {
                let found = values(&out(format), layer);
                let decibels = sqnr_db(&expected, &found).unwrap_or(f64::INFINITY);
                // Few bits keep their whole zeros.
                let least = if bits == 8 { 100.0 } else { 35.0 };
                assert!(
                    decibels > least,
                    "{bits} bits as {}, {}: {decibels} dB",
                    format.word(),
                    layer.name
                );
            }
        }
    }
}
