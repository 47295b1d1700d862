//! Layers that round their inputs: what smoothing is for, what a run remembers, and what it refuses.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use pare_engine::checkpoint::Checkpoint;
use pare_engine::formats::{Format, export};
use pare_engine::packed::ActivationPlan;
use pare_engine::recipe::Recipe;
use pare_engine::report::{DecoderEvaluation, Evaluation, LayerReport};
use pare_engine::session::{CompressReport, CompressRequest, EvaluateRequest, RunShape};
use pare_engine::settings::{Activations, KvCache};
use pare_engine::solved::Method;
use pare_tests::sessions::{Quiet, Stopper, Workshop, differing, files_of};
use std::path::Path;
use std::sync::atomic::Ordering;

/// Channels of the hidden state that carry far more than the others.
const OUTLIERS: [usize; 3] = [3, 21, 40];

/// How much more.
const GAIN: f32 = 60.0;

/// The columns of a `[out, in]` tensor, or all of a vector, at `OUTLIERS`, times `factor`.
fn scale_channels(values: &mut [f32], width: usize, factor: f32) {
    for row in values.chunks_exact_mut(width) {
        for channel in OUTLIERS {
            row[channel] *= factor;
        }
    }
}

/// Gives some channels behind each norm a far larger range, and their readers weights that undo it: the same network,
/// as large ones are.
fn make_outliers(model: &Path) {
    let path = model.join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let header_bytes = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header_bytes]).unwrap();
    for (name, entry) in header.as_object().unwrap() {
        let Some(offsets) = entry["data_offsets"].as_array() else {
            continue;
        };
        let factor = match name {
            name if name.contains("layernorm") => GAIN,
            name if ["q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"]
                .iter()
                .any(|role| name.contains(role)) =>
            {
                1.0 / GAIN
            }
            _ => continue,
        };
        let offset = |index: usize| 8 + header_bytes + offsets[index].as_u64().unwrap() as usize;
        let stored = &mut bytes[offset(0)..offset(1)];
        let mut values: Vec<f32> = stored
            .chunks_exact(4)
            .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
            .collect();
        let width = entry["shape"].as_array().unwrap().last().unwrap();
        scale_channels(&mut values, width.as_u64().unwrap() as usize, factor);
        for (place, value) in stored.chunks_exact_mut(4).zip(values) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }
    std::fs::write(path, bytes).unwrap();
}

/// 8-bit weights in one scale a row, and inputs as asked.
fn recipe(workshop: &Workshop, activations: Activations, smooth: f64) -> Recipe {
    let mut recipe = workshop.recipe(Method::Rtn, 8, 0);
    recipe.default.activations = activations;
    recipe.default.smooth = smooth;
    recipe
}

fn compress(workshop: &Workshop, recipe: Recipe, out: &str, measured: bool) -> CompressReport {
    let request = CompressRequest {
        evaluate: measured.then(|| workshop.ids()),
        ..workshop.request(recipe, out, Format::Pare)
    };
    let session = workshop.open(&workshop.model()).unwrap();
    session.compress(&request, &Quiet::default()).unwrap()
}

fn kl(report: &CompressReport) -> f64 {
    match &report.evaluation {
        Some(Evaluation::Decoder(decoder)) => decoder.kl.as_ref().unwrap().mean,
        other => panic!("a decoder was measured, not {other:?}"),
    }
}

fn layer<'a>(report: &'a CompressReport, end: &str) -> &'a LayerReport {
    let mut layers = report.layers.iter();
    layers.find(|layer| layer.name.ends_with(end)).unwrap()
}

#[test]
fn smoothing_moves_outliers_out_of_the_inputs() {
    let workshop = Workshop::new();
    make_outliers(&workshop.model());
    let measure = |activations, smooth, out: &str| {
        let recipe = recipe(&workshop, activations, smooth);
        compress(&workshop, recipe, out, true)
    };
    use Activations::{Dynamic8, None as Floats, Static8};
    let floats = kl(&measure(Floats, 0.0, "floats"));
    let folded = kl(&measure(Floats, 0.5, "folded"));
    assert!(
        folded < 1e-4 && floats < 1e-2,
        "a fold alone changes little: {folded} after {floats}"
    );
    for (mode, out) in [(Dynamic8, "dynamic"), (Static8, "static")] {
        let plain = kl(&measure(mode, 0.0, out));
        let smoothed = kl(&measure(mode, 0.5, &format!("{out}-smooth")));
        assert!(
            smoothed < 0.25 * plain,
            "{out}: expected far less than {plain}, found {smoothed}"
        );
    }
}

#[test]
fn layers_that_nothing_can_be_folded_for_are_told_of() {
    let workshop = Workshop::new();
    let mut mixed = recipe(&workshop, Activations::Dynamic8, 0.5);
    mixed.layers.push(pare_engine::recipe::LayerRule {
        pattern: "*.layers.1.self_attn.k_proj".to_owned(),
        overrides: pare_engine::recipe::Overrides {
            smooth: Some(0.0),
            ..Default::default()
        },
    });
    let report = compress(&workshop, mixed, "out", false);
    let cases = [
        // Grouped heads: one value channel reaches several columns.
        ("0.self_attn.o_proj", Some("nothing that makes its input")),
        ("1.self_attn.q_proj", Some("k_proj, which reads the same")),
        ("1.self_attn.k_proj", None),
        ("0.self_attn.q_proj", None),
        ("0.mlp.down_proj", None),
    ];
    for (end, expected) in cases {
        let fallback = layer(&report, end).fallback.as_ref();
        let reason = fallback.map(|fallback| fallback.reason.as_str());
        match expected {
            None => assert_eq!(reason, None, "{end}"),
            Some(words) => assert!(
                reason.is_some_and(|reason| reason.contains(words)),
                "{end}: expected {words:?} in {reason:?}"
            ),
        }
    }
}

#[test]
fn a_fixed_step_is_kept_with_the_layer_and_travels_with_it() {
    let workshop = Workshop::new();
    let recipe = recipe(&workshop, Activations::Static8, 0.5);
    let report = compress(&workshop, recipe, "run", false);
    let copy = workshop.path("copy");
    export(
        &workshop.path("run"),
        Format::Pare,
        &copy,
        &Quiet::default(),
    )
    .unwrap();
    for folder in [workshop.path("run"), copy] {
        let model = Checkpoint::open(&folder).unwrap();
        for layer in report
            .layers
            .iter()
            .filter(|layer| layer.method != Method::None)
        {
            let step = layer.activations.static_step.unwrap();
            assert!(step > 0.0 && step.is_finite(), "{}: {step}", layer.name);
            let found = model
                .activations(&format!("{}.weight", layer.name))
                .unwrap();
            assert_eq!(found, layer.activations, "{}", layer.name);
        }
    }
    let dense = workshop.path("dense");
    let told = export(
        &workshop.path("run"),
        Format::Dense,
        &dense,
        &Quiet::default(),
    )
    .unwrap();
    assert_eq!(told.fallbacks.len(), 14, "every layer of two blocks");
    let model = Checkpoint::open(&dense).unwrap();
    let tensor = "model.layers.0.mlp.down_proj.weight";
    assert_eq!(model.activations(tensor).unwrap(), ActivationPlan::NONE);
}

#[test]
fn a_resumed_run_has_the_same_steps() {
    let workshop = Workshop::new();
    let session = workshop.open(&workshop.model()).unwrap();
    let mut recipe = recipe(&workshop, Activations::Static8, 0.5);
    recipe.default.method = Method::Gptq;
    let mut request = workshop.request(recipe, "whole", Format::Pare);
    let watcher = Quiet::default();
    session.compress(&request, &watcher).unwrap();
    let expected = files_of(&request.out);
    let polls = watcher.polls.load(Ordering::Relaxed);
    for part in [3, 6, 8] {
        request.out = workshop.path(&format!("stopped-{part}"));
        request.resume = false;
        let stopped = session.compress(&request, &Stopper::new(polls * part / 10));
        assert!(stopped.unwrap_err().is_stopped(), "stop {part} of 10");
        request.resume = true;
        session.compress(&request, &Quiet::default()).unwrap();
        let differing = differing(&expected, &files_of(&request.out));
        assert!(differing.is_empty(), "stop {part} of 10: {differing:?}");
    }
}

#[test]
fn what_needs_inputs_says_so_before_the_run() {
    let workshop = Workshop::new();
    let session = workshop.open(&workshop.model()).unwrap();
    let cases = [
        (
            Activations::Static8,
            0.0,
            "activations static8",
            "choose activations dynamic8",
        ),
        (Activations::Dynamic8, 0.5, "smooth 0.5", "choose smooth 0"),
    ];
    for (activations, smooth, asked, advice) in cases {
        let mut recipe = recipe(&workshop, activations, smooth);
        recipe.calibration.corpus = None;
        let request = workshop.request(recipe, asked, Format::Pare);
        let refused = session.compress(&request, &Quiet::default());
        let error = refused.map(|_| ()).unwrap_err().to_string();
        for words in [asked, "needs calibration", "--corpus FILE", advice] {
            assert!(error.contains(words), "expected {words:?} in {error:?}");
        }
        assert!(!request.out.exists(), "{asked}");
    }
}

fn decoder(evaluation: Option<Evaluation>) -> DecoderEvaluation {
    match evaluation {
        Some(Evaluation::Decoder(decoder)) => decoder,
        other => panic!("a decoder was measured, not {other:?}"),
    }
}

#[test]
fn a_run_is_measured_with_the_cache_that_it_asks_for() {
    let workshop = Workshop::new();
    let mut recipe = recipe(&workshop, Activations::None, 0.0);
    let wide = decoder(compress(&workshop, recipe.clone(), "wide", true).evaluation);
    recipe.kv_cache = KvCache::Int8;
    let narrow = decoder(compress(&workshop, recipe, "narrow", true).evaluation);
    assert_eq!(
        (wide.kv_cache, narrow.kv_cache),
        (KvCache::F32, KvCache::Int8)
    );
    let kl = |found: &DecoderEvaluation| found.kl.as_ref().unwrap().mean;
    assert!(kl(&narrow) > kl(&wide), "{narrow:?} {wide:?}");
    let copy = workshop.path("copy");
    export(
        &workshop.path("narrow"),
        Format::Pare,
        &copy,
        &Quiet::default(),
    )
    .unwrap();
    let asked = |kv: Option<KvCache>| {
        let request = EvaluateRequest {
            corpus: Some(workshop.ids()),
            reference: Some(workshop.model()),
            length: None,
            windows: None,
            sts: None,
            kv,
        };
        let session = workshop.open(&copy).unwrap();
        decoder(Some(session.evaluate(&request, &Quiet::default()).unwrap()))
    };
    assert_eq!(asked(None).perplexity, narrow.perplexity);
    assert_eq!(asked(Some(KvCache::F32)).perplexity, wide.perplexity);
}

#[test]
fn an_estimate_of_a_packed_model_is_what_is_written() {
    let workshop = Workshop::new();
    compress(
        &workshop,
        recipe(&workshop, Activations::Static8, 0.0),
        "first",
        false,
    );
    let session = workshop.open(&workshop.path("first")).unwrap();
    let mut again = workshop.recipe(Method::None, 4, 0);
    again.layers.push(pare_engine::recipe::LayerRule {
        pattern: "*.down_proj".to_owned(),
        overrides: pare_engine::recipe::Overrides {
            method: Some(Method::Rtn),
            ..Default::default()
        },
    });
    for format in [Format::Pare, Format::Dense] {
        let input = session
            .estimate_input(Some(&again), format, RunShape::default())
            .unwrap();
        let out = format.word();
        let request = workshop.request(again.clone(), out, format);
        let report = session.compress(&request, &Quiet::default()).unwrap();
        assert_eq!(input.bytes, report.bytes_after, "{format:?}");
        let written = workshop.open(&workshop.path(out)).unwrap();
        let found = written
            .estimate_input(None, format, RunShape::default())
            .unwrap();
        for (planned, found) in input.layers.iter().zip(&found.layers) {
            assert_eq!(planned.form, found.form, "{format:?} {}", planned.name);
            assert_eq!(
                planned.stored_bytes, found.stored_bytes,
                "{format:?} {}",
                planned.name
            );
        }
        let left = layer(&report, "0.mlp.up_proj");
        let rounded = match format {
            Format::Pare => Activations::Static8,
            _ => Activations::None,
        };
        assert_eq!(left.activations.mode, rounded, "{format:?}");
        assert_eq!(left.fallback.is_some(), format != Format::Pare);
    }
}

#[test]
fn a_strict_recipe_is_refused_where_smoothing_cannot_do_what_it_asks() {
    let workshop = Workshop::new();
    let session = workshop.open(&workshop.model()).unwrap();
    let mut recipe = recipe(&workshop, Activations::Dynamic8, 0.5);
    recipe.strict = true;
    let request = workshop.request(recipe.clone(), "strict", Format::Pare);
    let refused = session.dry_run(&request).map(|_| ()).unwrap_err();
    let error = refused.to_string();
    for words in ["strict", "o_proj", "nothing that makes its input"] {
        assert!(error.contains(words), "expected {words:?} in {error:?}");
    }
    let compressed = session.compress(&request, &Quiet::default());
    assert!(compressed.is_err() && !request.out.exists());
    recipe.layers.push(pare_engine::recipe::LayerRule {
        pattern: "*.o_proj".to_owned(),
        overrides: pare_engine::recipe::Overrides {
            smooth: Some(0.0),
            ..Default::default()
        },
    });
    let request = workshop.request(recipe, "strict", Format::Pare);
    let report = session.compress(&request, &Quiet::default()).unwrap();
    let told = report.layers.iter().find(|layer| layer.fallback.is_some());
    assert!(told.is_none(), "{told:?}");
}
