//! Runs written, reopened and exported in every format; and what a failure leaves behind.
#![allow(clippy::unwrap_used)]

mod carried;
mod containers;

use super::layout::{Plan, PlanSource, Values, mark_packed, plan, preflight_of};
use super::store::stream::{TensorSpec, write_tensors};
use super::*;
use crate::checkpoint::Checkpoint;
use crate::grid::ScaleDtype;
use crate::model::{LayerInfo, list_layers};
use crate::moments::Prefix;
use crate::monitor::{Monitor, Unwatched};
use crate::packed::{ActivationKind, ActivationPlan, OriginalTensor, PackedSource as _};
use crate::report::{LayerReport, Notice, Observer};
use crate::rng::Rng;
use crate::settings::{Activations, ColumnOrder, LayerSettings, Refine};
use crate::solve::{HqqConfig, Nf4Config, RtnConfig, hqq, nf4, rtn};
use crate::solved::{Method, Solved};
use crate::tensor::{Dtype, Matrix, SourceError, TensorInfo, WeightSource};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Asks to stop after so many polls.
struct Patience(AtomicU64);

impl Patience {
    fn endless() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

impl Monitor for Patience {
    fn step(&self, _: u64, _: u64) {}

    fn should_stop(&self) -> bool {
        self.0.fetch_sub(1, Ordering::Relaxed) == 0
    }
}

impl Observer for Patience {
    fn notice(&self, _: Notice<'_>) {}
}

/// A model of an unknown family: layers `a`, `b`, `c`, and a norm.
fn write_model(folder: &Path) {
    let tensors = [
        ("a.weight", Dtype::BF16, vec![64, 96]),
        ("b.weight", Dtype::F32, vec![32, 64]),
        ("c.weight", Dtype::F16, vec![5, 7]),
        ("norm.weight", Dtype::F32, vec![64]),
    ];
    let specs: Vec<TensorSpec> = tensors
        .into_iter()
        .map(|(name, dtype, shape)| TensorSpec {
            name: name.into(),
            dtype,
            shape,
        })
        .collect();
    let mut random = Rng::new(3, 0);
    fs::create_dir_all(folder).unwrap();
    write_tensors(
        &folder.join("model.safetensors"),
        &specs,
        &[],
        |index, output| {
            let count = specs[index].size_bytes() as usize / specs[index].dtype.size_bytes();
            let values: Vec<f32> = (0..count).map(|_| random.normal() as f32 / 8.0).collect();
            output
                .write_all(&emit::to_bytes(&values, specs[index].dtype))
                .unwrap();
            Ok(())
        },
    )
    .unwrap();
    put(
        &folder.join("config.json"),
        r#"{"model_type":"unheard of"}"#,
    );
    put(&folder.join("tokenizer.json"), "{}");
}

fn put(path: &Path, text: &str) {
    store::atomic::write_file(path, |output| {
        output.write_all(text.as_bytes()).unwrap();
        Ok(())
    })
    .unwrap();
}

fn settings(method: Method, bits: u8, group: usize) -> LayerSettings {
    LayerSettings {
        method,
        bits,
        group,
        symmetric: false,
        scale_dtype: ScaleDtype::F16,
        clip_search: 0,
        order: ColumnOrder::None,
        damping: 0.01,
        refine: Refine::Off,
        prefix: Prefix::Original,
        double_quant: true,
        activations: Activations::None,
        activation_block: 0,
        smooth: 0.0,
        prune: crate::settings::Pruning::NONE,
        rank: crate::settings::Rank::None,
        palette_rows: 0,
    }
}

fn solve(weights: &Matrix, settings: &LayerSettings) -> Solved {
    let grid = settings.grid();
    match settings.method {
        Method::Nf4 => {
            let config = Nf4Config {
                block: settings.group,
                double_quant: settings.double_quant,
            };
            nf4(weights, &config, &Unwatched).unwrap()
        }
        Method::Hqq => hqq(weights, &HqqConfig { grid }, &Unwatched).unwrap(),
        _ => {
            let config = RtnConfig {
                grid,
                clip_search: 0,
            };
            rtn(weights, None, &config, &Unwatched).unwrap()
        }
    }
}

fn report(layer: &LayerInfo, settings: &LayerSettings, bytes: u64) -> LayerReport {
    LayerReport {
        name: layer.name.clone(),
        method: settings.method,
        bits: settings.bits,
        group: settings.group,
        sparsity: 0.0,
        bytes,
        weights: layer.parameters,
        relative_output_error: None,
        sqnr_db: None,
        cosine: None,
        max_error: Some(0.0),
        seconds: 0.0,
        fallback: None,
        warnings: Vec::new(),
        codes_used: 1,
        prune: crate::settings::PruneMethod::None,
        pattern: None,
        rank: None,
        palette: None,
        dead_inputs: 0,
        activations: ActivationPlan::NONE,
        settings: *settings,
        histograms: None,
        reason: None,
    }
}

fn layers_of(source: &Checkpoint) -> Vec<LayerInfo> {
    let mut layers = list_layers(source, None);
    layers.retain(|layer| layer.compressible);
    mark_packed(&mut layers, source);
    layers
}

/// Solves what `asked` names into a run at `out`, up to but not including its final name.
fn compress(
    model: &Path,
    out: &Path,
    format: Format,
    asked: &[(&str, LayerSettings)],
) -> (RunFolder, Plan) {
    let source = Checkpoint::open(model).unwrap();
    let layers: Vec<(LayerInfo, LayerSettings)> = layers_of(&source)
        .into_iter()
        .map(|mut layer| {
            // As in a network that can be run: only there inputs have a fixed scale.
            layer.block = Some(0);
            let rule = asked.iter().find(|(name, _)| *name == layer.name);
            let settings = rule.map_or(settings(Method::None, 4, 32), |(_, settings)| *settings);
            (layer, settings)
        })
        .collect();
    let infos: Vec<LayerInfo> = layers.iter().map(|(layer, _)| layer.clone()).collect();
    let plan_source = PlanSource {
        weights: &source,
        packed: Some(&source),
        config: source.config_json(),
        root: source.root(),
        side_files: source.side_files(),
        made_files: source.made_files(),
    };
    let held = preflight_of(&plan_source, format, &layers, Values::Open, false).unwrap();
    let plan = plan(format, &plan_source, &infos, &held).unwrap();
    let run = RunFolder::create(out, model, "version = 1\n", &Vec::new(), false).unwrap();
    for ((layer, held), planned) in infos.iter().zip(&held).zip(&plan.layers) {
        if held.settings.method == Method::None {
            continue;
        }
        let values = source.read_f32(&layer.tensor).unwrap();
        let solved = solve(
            &Matrix::new(layer.rows, layer.columns, values),
            &held.settings,
        );
        let tensor = OriginalTensor {
            name: layer.tensor.clone(),
            shape: layer.shape.clone(),
            dtype: layer.dtype,
            transposed: layer.transposed,
        };
        let report = report(layer, &held.settings, planned.stored_bytes);
        let activations = fixed_inputs(&held.settings);
        run.store_layer(tensor, &solved, &activations, &report)
            .unwrap();
    }
    let observer = Patience::endless();
    assemble_run(run.partial(), &plan, &source, &observer).unwrap();
    (run, plan)
}

/// What a layer does to its inputs, as if calibration had found this step.
fn fixed_inputs(settings: &LayerSettings) -> ActivationPlan {
    ActivationPlan::new(ActivationKind::of_settings(settings), Some(0.25))
}

/// Bytes of all files outside `.pare`.
fn bytes_on_disk(folder: &Path) -> u64 {
    let mut total = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            total += path.metadata().unwrap().len();
        } else if path.file_name().unwrap() != ".pare" {
            total += bytes_on_disk(&path);
        }
    }
    total
}

fn all_values(folder: &Path) -> BTreeMap<String, Vec<f32>> {
    let model = Checkpoint::open(folder).unwrap();
    model
        .names()
        .into_iter()
        .map(|name| {
            let values = model.read_f32(&name).unwrap();
            (name, values)
        })
        .collect()
}

fn everything() -> [(&'static str, LayerSettings); 3] {
    let rounded = |settings: LayerSettings, activations| LayerSettings {
        activations,
        activation_block: 32,
        ..settings
    };
    [
        (
            "a",
            rounded(settings(Method::Rtn, 3, 40), Activations::Dynamic8),
        ),
        ("b", settings(Method::Nf4, 4, 24)),
        (
            "c",
            rounded(settings(Method::Hqq, 5, 4), Activations::Static8),
        ),
    ]
}

/// What the layers of `everything` do to their inputs in the model at `folder`.
fn rounded_inputs(folder: &Path) -> [String; 3] {
    let model = Checkpoint::open(folder).unwrap();
    ["a", "b", "c"].map(|name| {
        let tensor = format!("{name}.weight");
        let plan = model.activations(&tensor).unwrap();
        if let Some((_, found)) = model.solved(&tensor).unwrap() {
            assert_eq!(found, plan);
        }
        format!("{:?} {} {:?}", plan.mode, plan.block, plan.static_step)
    })
}

const FLOAT_INPUTS: [&str; 3] = ["None 0 None"; 3];

const ROUNDED_INPUTS: [&str; 3] = ["Dynamic8 32 None", "None 0 None", "Static8 0 Some(0.25)"];

#[test]
fn every_format_holds_what_it_says_in_the_bytes_it_planned() {
    for format in Format::SAFETENSORS {
        let folder = tempfile::tempdir().unwrap();
        let (model, out) = (folder.path().join("model"), folder.path().join("out"));
        write_model(&model);
        let (run, plan) = compress(&model, &out, format, &everything());
        let verified = verify_run(run.partial(), &plan, &Patience::endless()).unwrap();
        let solved = plan
            .layers
            .iter()
            .filter(|layer| layer.placement != layout::Placement::Source);
        assert_eq!(verified.tensors, solved.count(), "{format:?}");
        if !matches!(format, Format::Pare | Format::Gptq) {
            assert!(
                verified.max_abs_difference < 1e-2,
                "{format:?} {verified:?}"
            );
        } else {
            assert_eq!(verified.max_abs_difference, 0.0, "{format:?}");
        }
        assert_eq!(bytes_on_disk(run.partial()), plan.bytes, "{format:?}");
        run.finish("{}", true).unwrap();
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            2,
            "no partial folder is left"
        );
        let (before, after) = (all_values(&model), all_values(&out));
        assert!(before.keys().eq(after.keys()), "{format:?}");
        assert_eq!(before["norm.weight"], after["norm.weight"]);
        let changed = if format == Format::BnbNf4 {
            "b.weight"
        } else {
            "a.weight"
        };
        assert_ne!(before[changed], after[changed]);
        let expected = match format {
            Format::Pare => ROUNDED_INPUTS,
            // Integers of 8 bits keep a fixed scale; the others lose theirs.
            Format::CompressedTensors => ["None 0 None", "None 0 None", "Static8 0 Some(0.25)"],
            _ => FLOAT_INPUTS,
        };
        assert_eq!(rounded_inputs(&out), expected, "{format:?}");
    }
}

#[test]
fn changed_tensors_are_written_in_place_of_the_source() {
    let folder = tempfile::tempdir().unwrap();
    let (model, out) = (folder.path().join("model"), folder.path().join("out"));
    write_model(&model);
    let (run, plan) = compress(&model, &out, Format::Pare, &everything()[..1]);
    let changed: Vec<f32> = (0..64).map(|index| index as f32).collect();
    run.store_changed_tensor("norm.weight", &[64], &changed)
        .unwrap();
    let source = Checkpoint::open(&model).unwrap();
    let observer = Patience::endless();
    assemble_run(run.partial(), &plan, &source, &observer).unwrap();
    assert_eq!(
        verify_run(run.partial(), &plan, &observer).unwrap().tensors,
        2
    );
    assert_eq!(all_values(run.partial())["norm.weight"], changed);
}

#[test]
fn an_export_holds_the_same_values_as_its_run() {
    let folder = tempfile::tempdir().unwrap();
    let (model, out) = (folder.path().join("model"), folder.path().join("out"));
    write_model(&model);
    let (run, _) = compress(&model, &out, Format::Pare, &everything());
    run.finish("{}", true).unwrap();
    let before = all_values(&out);
    for format in Format::SAFETENSORS {
        let target = folder.path().join(format.word());
        let report = export(&out, format, &target, &Patience::endless()).unwrap();
        assert_eq!(report.bytes, bytes_on_disk(&target), "{format:?}");
        for (name, values) in all_values(&target) {
            let error = values
                .iter()
                .zip(&before[&name])
                .map(|(found, expected)| (found - expected).abs())
                .fold(0.0, f32::max);
            let rounding = if format == Format::Pare { 0.0 } else { 2e-3 };
            assert!(error <= rounding, "{format:?} {name}: {error}");
        }
        let told: Vec<String> = report
            .fallbacks
            .iter()
            .map(|row| format!("{} {}", row.name, row.fallback.to))
            .collect();
        let expected: &[&str] = match format {
            Format::Dense => &["a activations none", "c activations none"],
            Format::Pare | Format::Gguf | Format::Onnx => &[],
            _ => &["a dense", "b dense", "c dense"],
        };
        if format == Format::Pare {
            assert_eq!(rounded_inputs(&target), ROUNDED_INPUTS);
        }
        assert_eq!(told, expected, "{format:?}");
    }
}

#[test]
fn a_gptq_export_cuts_groups_evenly_where_that_keeps_the_values() {
    let folder = tempfile::tempdir().unwrap();
    let (model, out) = (folder.path().join("model"), folder.path().join("out"));
    write_model(&model);
    // 64 does not divide 96, but 32 divides both: the scales repeat.
    let (run, _) = compress(
        &model,
        &out,
        Format::Dense,
        &[("a", settings(Method::Rtn, 4, 64))],
    );
    run.finish("{}", true).unwrap();
    let target = folder.path().join("gptq");
    let report = export(&out, Format::Gptq, &target, &Patience::endless()).unwrap();
    assert_eq!(report.verified.max_abs_difference, 0.0);
    let fallback = &report.fallbacks[0].fallback;
    assert_eq!(
        (fallback.from.as_str(), fallback.to.as_str()),
        ("group 64", "group 32")
    );
    let config = fs::read_to_string(target.join("config.json")).unwrap();
    assert!(config.contains("\"group_size\": 32"), "{config}");
}

#[test]
fn an_export_without_solved_layers_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (model, out) = (folder.path().join("model"), folder.path().join("out"));
    write_model(&model);
    let (run, _) = compress(&model, &out, Format::Pare, &everything());
    run.finish("{}", false).unwrap();
    let target = folder.path().join("other");
    for (place, format) in [
        (&out, Format::Dense),
        (&out, Format::Gptq),
        (&model, Format::Gptq),
    ] {
        let error = export(place, format, &target, &Patience::endless()).unwrap_err();
        assert!(error.to_string().contains("--no-keep"), "{error}");
        assert!(!target.exists());
    }
    // What is no run has its values as they lie.
    export(&model, Format::Dense, &target, &Patience::endless()).unwrap();
    let (found, expected) = (Checkpoint::open(&target), Checkpoint::open(&model));
    let (found, expected) = (found.unwrap(), expected.unwrap());
    for name in expected.names() {
        assert_eq!(
            found.read_f32(&name).unwrap(),
            expected.read_f32(&name).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn a_stopped_or_failing_export_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (model, out) = (folder.path().join("model"), folder.path().join("out"));
    write_model(&model);
    let (run, _) = compress(&model, &out, Format::Pare, &everything());
    run.finish("{}", true).unwrap();
    for polls in 0..12 {
        let target = folder.path().join("other");
        let impatient = Patience(AtomicU64::new(polls));
        let error = export(&out, Format::Dense, &target, &impatient).unwrap_err();
        assert!(
            matches!(error, StoreError::Stopped(_)),
            "after {polls} polls: {error}"
        );
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            2,
            "after {polls} polls"
        );
    }
}

#[test]
fn a_damaged_layer_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (model, out) = (folder.path().join("model"), folder.path().join("out"));
    write_model(&model);
    let (run, _) = compress(&model, &out, Format::Pare, &everything());
    run.finish(r#"{"layers":[{"name":"a","method":"rtn"}]}"#, true)
        .unwrap();
    let layer = out.join(".pare/layers/a.safetensors");
    let bytes = fs::read(&layer).unwrap();
    put(&layer, "");
    fs::OpenOptions::new()
        .write(true)
        .open(&layer)
        .unwrap()
        .set_len(100)
        .unwrap();
    assert!(bytes.len() > 100);
    let target = folder.path().join("other");
    let error = export(&out, Format::Dense, &target, &Patience::endless()).unwrap_err();
    assert!(
        matches!(&error, StoreError::NoLayer { layer, .. } if layer == "a"),
        "{error}"
    );
}

/// A source that fails in the middle, as a disk does.
struct Failing<'a>(&'a Checkpoint);

impl WeightSource for Failing<'_> {
    fn names(&self) -> Vec<String> {
        self.0.names()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.0.info(name)
    }

    fn read_f32(&self, name: &str) -> Result<Vec<f32>, SourceError> {
        self.0.read_f32(name)
    }

    fn read_bytes(&self, name: &str, _: u64, _: &mut [u8]) -> Result<(), SourceError> {
        Err(SourceError::Unfit {
            name: name.into(),
            problem: "cannot be read".into(),
        })
    }
}

#[test]
fn a_failure_in_the_middle_leaves_no_file_under_its_final_name() {
    let folder = tempfile::tempdir().unwrap();
    let (model, out) = (folder.path().join("model"), folder.path().join("out"));
    write_model(&model);
    let (run, plan) = compress(&model, &out, Format::Pare, &everything());
    let weights: PathBuf = run.partial().join("model.safetensors");
    fs::remove_file(&weights).unwrap();
    let source = Checkpoint::open(&model).unwrap();
    let failed = assemble_run(
        run.partial(),
        &plan,
        &Failing(&source),
        &Patience::endless(),
    );
    assert!(matches!(failed, Err(StoreError::Source(_))));
    assert!(!weights.exists());
    assert!(!run.partial().join("model.safetensors.tmp").exists());
}

#[test]
fn another_value_on_disk_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (model, out) = (folder.path().join("model"), folder.path().join("out"));
    write_model(&model);
    let (run, plan) = compress(&model, &out, Format::Pare, &everything());
    let weights = run.partial().join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[8 + header] ^= 1;
    store::atomic::write_file(&weights, |output| {
        output.write_all(&bytes).unwrap();
        Ok(())
    })
    .unwrap();
    let error = verify_run(run.partial(), &plan, &Patience::endless()).unwrap_err();
    assert!(matches!(error, StoreError::Differs { .. }), "{error}");
}

#[test]
fn formats_are_read_from_their_words() {
    for format in Format::ALL {
        assert_eq!(format.word().parse(), Ok(format));
    }
    let error = "coreml".parse::<Format>().unwrap_err().to_string();
    let words = "pare, dense, gptq, awq, compressed-tensors, gguf, mlx, bnb-nf4, onnx";
    assert!(error.contains(words), "{error}");
}
