//! MLX and bitsandbytes: what is written comes back, what does not fit is told, what is broken is refused.

use super::*;
use crate::checkpoint::{CheckpointError, Container};
use crate::settings::Pruning;
use serde_json::{Value, json};

/// Keeps what it is warned of.
#[derive(Default)]
struct Listener(std::sync::Mutex<Vec<String>>);

impl Monitor for Listener {
    fn step(&self, _: u64, _: u64) {}

    fn should_stop(&self) -> bool {
        false
    }
}

impl Observer for Listener {
    fn notice(&self, notice: Notice<'_>) {
        if let Notice::Warning(warning) = notice {
            self.0.lock().unwrap().push(warning.to_owned());
        }
    }
}

/// A run in `format`, under its final name.
fn write(folder: &Path, format: Format, asked: &[(&str, LayerSettings)]) -> Plan {
    let (model, out) = (folder.join("model"), folder.join("out"));
    write_model(&model);
    let (run, plan) = compress(&model, &out, format, asked);
    verify_run(run.partial(), &plan, &Patience::endless()).unwrap();
    assert_eq!(bytes_on_disk(run.partial()), plan.bytes, "{format:?}");
    run.finish("{}", true).unwrap();
    plan
}

fn symmetric(settings: LayerSettings) -> LayerSettings {
    LayerSettings {
        symmetric: true,
        ..settings
    }
}

fn plain(settings: LayerSettings) -> LayerSettings {
    LayerSettings {
        double_quant: false,
        ..settings
    }
}

fn config_of(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap()
}

/// The largest difference of a layer's values in two models.
fn difference(one: &Path, other: &Path, tensor: &str) -> f32 {
    let (one, other) = (all_values(one), all_values(other));
    let pairs = one[tensor].iter().zip(&other[tensor]);
    pairs
        .map(|(one, other)| (one - other).abs())
        .fold(0.0, f32::max)
}

#[test]
fn grids_in_mlx_and_blocks_in_bnb_are_those_that_were_solved() {
    let mlx = [
        (
            "a",
            LayerSettings {
                scale_dtype: ScaleDtype::BF16,
                ..symmetric(settings(Method::Rtn, 4, 32))
            },
        ),
        ("b", settings(Method::Hqq, 6, 64)),
    ];
    let cases = [
        (Format::Mlx, Container::Mlx, mlx.as_slice(), [0.0, 1e-3]),
        (
            Format::BnbNf4,
            Container::BnbNf4,
            &[("b", plain(settings(Method::Nf4, 4, 64)))],
            [0.0, 0.0],
        ),
        (
            Format::BnbNf4,
            Container::BnbNf4,
            &[("b", settings(Method::Nf4, 4, 64))],
            [0.0, 1e-6],
        ),
    ];
    for (format, container, asked, bounds) in cases {
        let (direct, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(direct.path(), format, asked);
        write(kept.path(), Format::Pare, asked);
        let (direct, kept) = (direct.path().join("out"), kept.path().join("out"));
        let opened = Checkpoint::open(&direct).unwrap();
        assert_eq!(opened.container(), container);
        for (tensor, bound) in ["a.weight", "b.weight"].into_iter().zip(bounds) {
            let found = difference(&direct, &kept, tensor);
            assert!(found <= bound, "{format:?} {tensor}: {found}");
        }
        let exported = kept.with_file_name("exported");
        let report = export(&kept, format, &exported, &Patience::endless()).unwrap();
        let told = report.fallbacks.iter().map(|layer| &layer.fallback.to);
        let expected: &[&str] = match format {
            Format::Mlx => &["biases in f16"],
            _ => &[],
        };
        assert!(told.eq(expected), "{format:?}: {:?}", report.fallbacks);
        assert_eq!(all_values(&direct), all_values(&exported), "{format:?}");
        // And away from it again.
        let again = direct.with_file_name("again");
        let (run, plan) = compress(&direct, &again, Format::Pare, &[]);
        verify_run(run.partial(), &plan, &Patience::endless()).unwrap();
        let config = config_of(run.partial());
        assert!(config.get("quantization").is_none(), "{config}");
        assert!(config.get("quantization_config").is_none(), "{config}");
    }
}

#[test]
fn what_an_export_will_do_is_told_before_from_shapes() {
    let rounding = |settings| LayerSettings {
        activations: Activations::Dynamic8,
        ..symmetric(settings)
    };
    let rtn = |bits, group| settings(Method::Rtn, bits, group);
    let nf4 = settings(Method::Nf4, 4, 64);
    // Container, layers, and how many of them keep their codes.
    let cases = [
        (
            Format::CompressedTensors,
            vec![("b", rounding(rtn(8, 32)))],
            1,
        ),
        (
            Format::CompressedTensors,
            vec![("b", rounding(rtn(8, 0)))],
            1,
        ),
        // A group longer than a row is all of it.
        (
            Format::CompressedTensors,
            vec![("a", rtn(4, 1024)), ("b", rtn(8, 1024))],
            2,
        ),
        (Format::Awq, vec![("a", rtn(4, 0)), ("b", rtn(4, 32))], 2),
        (Format::Awq, vec![("b", settings(Method::Hqq, 4, 32))], 0),
        (Format::BnbNf4, vec![("b", rtn(4, 64))], 0),
        (Format::Mlx, vec![("b", nf4), ("a", rtn(4, 32))], 1),
        (Format::Gptq, vec![("b", rtn(4, 32)), ("c", rtn(5, 0))], 1),
    ];
    for (format, asked, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), Format::Pare, &asked);
        let source = Checkpoint::open(&folder.path().join("model")).unwrap();
        let layers = list_layers(&source, None);
        let unsolved = settings(Method::None, 4, 0);
        let solved: Vec<(LayerInfo, LayerSettings)> = layers
            .into_iter()
            .filter(|layer| layer.compressible)
            .map(|layer| {
                let found = asked.iter().find(|(name, _)| *name == layer.name);
                let settings = found.map_or(unsolved, |(_, settings)| *settings);
                (layer, settings)
            })
            .collect();
        let told = preflight_of_solved(format, &solved).unwrap();
        let kept = told
            .iter()
            .filter(|held| held.settings.method != Method::None);
        assert_eq!(kept.count(), expected, "{format:?} {asked:?}: {told:?}");
        let told: Vec<_> = solved
            .iter()
            .zip(told)
            .filter_map(|((layer, _), held)| Some((layer.name.clone(), held.fallback?)))
            .collect();
        let run = folder.path().join("out");
        let exported = folder.path().join("exported");
        let listener = Listener::default();
        let report = export(&run, format, &exported, &listener).unwrap();
        let warnings = listener.0.into_inner().unwrap();
        let is_warned = warnings
            .iter()
            .any(|warning| warning.contains("holds none"));
        assert_eq!(
            is_warned,
            expected == 0,
            "{format:?} {asked:?}: {warnings:?}"
        );
        let done = report.fallbacks.into_iter();
        let done: Vec<_> = done.map(|layer| (layer.name, layer.fallback)).collect();
        assert_eq!(told, done, "{format:?} {asked:?}");
        for tensor in ["a.weight", "b.weight", "c.weight"] {
            // Dense bf16 and the rounded biases of MLX are the widest steps.
            let found = difference(&run, &exported, tensor);
            assert!(found <= 2e-3, "{format:?} {tensor}: {found}");
        }
    }
}

#[test]
fn what_mlx_and_bnb_say_of_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let asked = [
        ("a", settings(Method::Rtn, 4, 32)),
        ("b", settings(Method::Rtn, 3, 64)),
    ];
    write(folder.path(), Format::Mlx, &asked);
    let config = config_of(&folder.path().join("out"));
    let expected = json!({
        "group_size": 32, "bits": 4, "mode": "affine", "b": { "group_size": 64, "bits": 3 },
    });
    assert_eq!(config["quantization"], expected);
    assert_eq!(config["quantization_config"], expected);
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        Format::BnbNf4,
        &[("b", settings(Method::Nf4, 4, 64))],
    );
    let config = &config_of(&folder.path().join("out"))["quantization_config"];
    assert_eq!(config["quant_method"], "bitsandbytes");
    assert_eq!(config["load_in_4bit"], true);
    assert_eq!(config["bnb_4bit_use_double_quant"], true);
    assert_eq!(config["bnb_4bit_compute_dtype"], "float32");
    assert_eq!(
        config["llm_int8_skip_modules"],
        json!(["a", "c", "lm_head", "embed_out"])
    );
}

#[test]
fn pruned_layers_are_symmetric_in_mlx() {
    let folder = tempfile::tempdir().unwrap();
    let pruned = LayerSettings {
        prune: Pruning {
            sparsity: 0.5,
            method: crate::mask::PruneMethod::Magnitude,
            ..Pruning::NONE
        },
        ..settings(Method::Rtn, 4, 32)
    };
    let plan = write(folder.path(), Format::Mlx, &[("a", pruned)]);
    let layout::Placement::External(layer) = plan.layers[0].placement else {
        panic!("a layer in the layout of MLX")
    };
    assert!(layer.grid().unwrap().symmetric);
}

/// Opens `out` of a folder with one text of a file in place of another of the same length or of JSON.
fn spoiled(folder: &Path, file: &str, from: &str, to: &str) -> CheckpointError {
    let path = folder.join("out").join(file);
    let whole = fs::read(&path).unwrap();
    let place = whole
        .windows(from.len())
        .position(|found| found == from.as_bytes());
    let place = place.unwrap_or_else(|| panic!("{file} holds {from}"));
    let mut bytes = whole[..place].to_vec();
    bytes.extend(to.as_bytes());
    bytes.extend(&whole[place + from.len()..]);
    store::atomic::write_file(&path, |output| {
        output.write_all(&bytes).unwrap();
        Ok(())
    })
    .unwrap();
    let error = Checkpoint::open(&folder.join("out")).unwrap_err();
    store::atomic::write_file(&path, |output| {
        output.write_all(&whole).unwrap();
        Ok(())
    })
    .unwrap();
    error
}

#[test]
fn folders_that_contradict_themselves_are_refused() {
    let mlx = tempfile::tempdir().unwrap();
    write(
        mlx.path(),
        Format::Mlx,
        &[("b", settings(Method::Rtn, 4, 64))],
    );
    let bnb = tempfile::tempdir().unwrap();
    write(
        bnb.path(),
        Format::BnbNf4,
        &[("b", settings(Method::Nf4, 4, 64))],
    );
    let weights = "model.safetensors";
    let cases = [
        (
            &mlx,
            "config.json",
            "\"group_size\": 64",
            "\"group_size\": 48",
            "group_size",
        ),
        (
            &mlx,
            "config.json",
            "\"group_size\": 64",
            "\"group_size\": 32",
            "in groups of 32",
        ),
        (&mlx, "config.json", "affine", "mxfp4", "mode mxfp4"),
        (&mlx, weights, "b.biases", "b.b1ases", "b.biases"),
        (&mlx, weights, "\"U32\"", "\"I32\"", "codes as"),
        (
            &bnb,
            "config.json",
            "\"load_in_4bit\": true",
            "\"load_in_4bit\": null",
            "8 bits",
        ),
        (&bnb, weights, "[32, 64]", "[64, 64]", "64 x 64"),
        (&bnb, weights, "[32, 64]", "[32, -4]", "quant_state"),
        (
            &bnb,
            weights,
            "\"blocksize\": 64",
            "\"blocksize\": 00",
            "quant_state",
        ),
        (
            &bnb,
            weights,
            "b.weight.quant_map",
            "b.weight.quant_nap",
            "quant_map",
        ),
        (
            &bnb,
            weights,
            "bitsandbytes__nf4",
            "bitsandbytes__nf5",
            "bitsandbytes__nf4",
        ),
        (
            &bnb,
            weights,
            "bitsandbytes__nf4",
            "bitsandbytes__fp4",
            "another type",
        ),
    ];
    for (folder, file, from, to, expected) in cases {
        let error = spoiled(folder.path(), file, from, to).to_string();
        assert!(error.contains(expected), "{from} -> {to}: {error}");
    }
}
