//! Another container for a finished run, from its solved layers, without solving again.
//!
//! What was not solved comes from the run's own model. A layer that the new container cannot hold is written dense with
//! its solved values, and the report says so.

use super::Format;
use super::assemble::{assemble, verify};
use super::held_values::{settle, written_dense};
use super::kept::{keep_recipe, keep_report};
use super::layout::{
    LayoutError, Placement, PlanSource, SHARD_BYTES, Values, external_placement, mark_packed,
    plan_placed, preflight_of, untouched, warn_of_family,
};
use super::onnx::OnnxWeight;
use super::store::{
    OWN_FOLDER, StoreError, StoredLayer, atomic, check_output, layer_of_run, parent_of,
    partial_name,
};
use crate::checkpoint::Checkpoint;
use crate::model::{LayerInfo, ModelConfig, list_layers};
use crate::packed::{CodeKind, LayerManifest};
use crate::recipe::Recipe;
use crate::report::{ExportReport, LayerFallback, Notice, Observer};
use crate::settings::{LayerSettings, Pruning, Rank};
use crate::solved::Method;
use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// Writes the model of the finished run `run` to the new folder `out` in `format`.
pub fn export(
    run: &Path,
    format: Format,
    out: &Path,
    observer: &dyn Observer,
) -> Result<ExportReport, StoreError> {
    check_output(out, run)?;
    if format == Format::Gguf {
        return super::gguf::export_gguf(
            run,
            out,
            &super::gguf::GgufOptions::default(),
            None,
            observer,
        );
    }
    let own = run.join(OWN_FOLDER);
    // A graph can be written of any model, and dense weights of any that is no run.
    let is_any = match format {
        Format::Onnx => true,
        Format::Dense => !own.join("report.json").exists(),
        _ => false,
    };
    if !own.join("layers").is_dir() && !is_any {
        return Err(StoreError::NoLayers {
            path: run.to_owned(),
        });
    }
    let source = Checkpoint::open(run)?;
    source.check_readable()?;
    let config = source
        .config_json()
        .and_then(|json| ModelConfig::parse(json).ok());
    let mut layers = list_layers(&source, config.as_ref());
    layers.retain(|layer| layer.compressible);
    mark_packed(&mut layers, &source);
    let stored = stored_layers(run, &mut layers, observer)?;
    let recipe_toml = fs::read_to_string(own.join("recipe.toml")).ok();
    let strict = recipe_toml
        .as_ref()
        .and_then(|text| Recipe::parse(text).ok())
        .is_some_and(|recipe| recipe.strict);
    let plan_source = PlanSource {
        weights: &source,
        packed: Some(&source),
        config: source.config_json(),
        root: run,
        side_files: source.side_files(),
        made_files: source.made_files(),
    };
    if let Some(warning) = warn_of_family(format, plan_source.config) {
        observer.notice(Notice::Warning(&warning));
    }
    let (placements, fallbacks) = place(format, &plan_source, &layers, &stored, strict)?;
    if let Some(warning) = warn_of_nothing_kept(format, &stored, &placements) {
        observer.notice(Notice::Warning(&warning));
    }
    let plan = plan_placed(format, &plan_source, &layers, &placements, SHARD_BYTES)?;
    let partial = partial_name(out);
    if partial.exists() {
        return Err(StoreError::Unfinished { path: partial });
    }
    let written = assemble(&partial, run, &plan, &source, observer)
        .and_then(|()| keep_recipe(&partial, recipe_toml.as_deref()))
        .and_then(|()| verify(&partial, run, &plan, Some(&source), observer))
        .map(|verified| ExportReport {
            out: out.display().to_string(),
            format: format.word().to_owned(),
            bytes: plan.bytes,
            verified,
            fallbacks,
        })
        .and_then(|report| keep_report(&partial, run, &report).map(|()| report))
        .and_then(|report| give_name(&partial, out).map(|()| report));
    if written.is_err() {
        // Best effort: the error that is returned says what to do.
        let _ = fs::remove_dir_all(&partial);
    }
    written
}

/// What is known of each layer's stored form; `None` for a layer that the run left as it was.
type Stored = Option<(LayerManifest, LayerSettings)>;

fn stored_layers(
    run: &Path,
    layers: &mut [LayerInfo],
    observer: &dyn Observer,
) -> Result<Vec<Stored>, StoreError> {
    let solved = solved_by_report(run);
    let mut all = Vec::with_capacity(layers.len());
    for layer in layers {
        observer.check()?;
        let stored = layer_of_run(run, &layer.name)?;
        if stored.is_none() && solved.contains(&layer.name) {
            return Err(StoreError::NoLayer {
                layer: layer.name.clone(),
                path: run.to_owned(),
            });
        }
        all.push(stored.map(
            |StoredLayer {
                 manifest, report, ..
             }| {
                // The run's container may not tell the dtype that the layer had.
                layer.dtype = manifest.tensor.dtype;
                layer.shape = manifest.tensor.shape.clone();
                layer.transposed = manifest.tensor.transposed;
                let settings = settings_of(&manifest, report.settings);
                (manifest, settings)
            },
        ));
    }
    Ok(all)
}

/// Names of the layers that the run's report calls solved; empty where there is no readable report.
fn solved_by_report(run: &Path) -> HashSet<String> {
    let report = fs::read_to_string(run.join(OWN_FOLDER).join("report.json"))
        .ok()
        .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
    let layers = report
        .as_ref()
        .and_then(|report| report["layers"].as_array());
    layers
        .into_iter()
        .flatten()
        .filter(|layer| layer["method"] != Method::None.word())
        .filter_map(|layer| layer["name"].as_str().map(str::to_owned))
        .collect()
}

/// The settings that describe what was stored, whatever was asked.
fn settings_of(manifest: &LayerManifest, asked: LayerSettings) -> LayerSettings {
    let stored = manifest.stored;
    let asked = LayerSettings {
        prune: stored.sparsity.map_or(Pruning::NONE, |sparsity| Pruning {
            pattern: sparsity.pattern,
            ..asked.prune
        }),
        rank: stored
            .factors
            .map_or(Rank::None, |factors| Rank::Fixed(factors.rank)),
        ..asked
    };
    match stored.code {
        CodeKind::Affine {
            bits,
            group,
            symmetric,
            scale_dtype,
            fractional_zeros,
        } => LayerSettings {
            method: match (fractional_zeros, manifest.method()) {
                (true, _) => Method::Hqq,
                // Solved without data after all: its zeros are whole.
                (false, Method::Hqq) => Method::Rtn,
                (false, method) => method,
            },
            bits,
            group,
            symmetric,
            // Zeros of rounded biases want more precision than the scales beside them.
            scale_dtype: match fractional_zeros {
                true => asked.scale_dtype,
                false => scale_dtype,
            },
            ..asked
        },
        CodeKind::Nf4 {
            block,
            double_quant,
        } => LayerSettings {
            method: Method::Nf4,
            bits: 4,
            group: block,
            double_quant,
            ..asked
        },
        CodeKind::Palette {
            bits,
            rows_per_palette,
            level_dtype,
        } => LayerSettings {
            method: Method::Palette,
            bits,
            palette_rows: rows_per_palette,
            scale_dtype: level_dtype,
            ..asked
        },
        CodeKind::Floats { .. } | CodeKind::Nothing => LayerSettings {
            method: Method::Float,
            ..asked
        },
    }
}

fn place(
    format: Format,
    source: &PlanSource<'_>,
    layers: &[LayerInfo],
    stored: &[Stored],
    strict: bool,
) -> Result<(Vec<Placement>, Vec<LayerFallback>), LayoutError> {
    let mut asked: Vec<(LayerInfo, LayerSettings)> = layers
        .iter()
        .zip(stored)
        .map(|(layer, stored)| {
            (
                layer.clone(),
                stored.as_ref().map_or_else(unsolved, |s| s.1),
            )
        })
        .collect();
    let (first, second) = settle(&mut asked, &|layers, may_refuse| {
        preflight_of(source, format, layers, Values::Solved, strict && may_refuse)
    })?;
    let mut placements = Vec::with_capacity(layers.len());
    let mut fallbacks = Vec::new();
    for (index, stored) in stored.iter().enumerate() {
        let Some((manifest, settings)) = stored else {
            placements.push(untouched(format, &layers[index]));
            fallbacks.extend(
                second[index]
                    .fallback
                    .clone()
                    .map(|fallback| LayerFallback {
                        name: layers[index].name.clone(),
                        fallback,
                    }),
            );
            continue;
        };
        let held = &second[index];
        let placement = match (format, format.external()) {
            (_, Some(external)) => external_placement(external, &layers[index], &held.settings),
            (Format::Pare, _) => Placement::Pare(manifest.stored, manifest.activations),
            (Format::Onnx, _) if held.settings.method != Method::None => {
                Placement::Onnx(OnnxWeight::of_settings(&layers[index], &held.settings))
            }
            // `gguf::export_gguf` writes GGUF.
            _ => Placement::Dense,
        };
        let told = held
            .fallback
            .clone()
            .or_else(|| first[index].fallback.clone())
            // What was solved is stored as it is.
            .filter(|_| format != Format::Pare);
        placements.push(placement);
        fallbacks.extend(told.map(|fallback| LayerFallback {
            name: layers[index].name.clone(),
            fallback: match placement {
                Placement::Dense if format != Format::Dense => written_dense(settings, fallback),
                _ => fallback,
            },
        }));
    }
    Ok((placements, fallbacks))
}

/// What to say of a container of codes that will hold none of those that were solved.
fn warn_of_nothing_kept(
    format: Format,
    stored: &[Stored],
    placements: &[Placement],
) -> Option<String> {
    let solved = stored.iter().flatten().count();
    let is_kept = |placement: &Placement| matches!(placement, Placement::External(_));
    let is_lost = format.external().is_some() && !placements.iter().any(is_kept);
    (solved > 0 && is_lost).then(|| {
        format!(
            "format {} holds none of the {solved} layers that this run solved: all are written as plain values, as format dense has them; compress the model anew for it, or export to pare",
            format.word()
        )
    })
}

/// Settings of a layer that the run left as it was.
fn unsolved() -> LayerSettings {
    LayerSettings {
        method: Method::None,
        ..Recipe::default().default
    }
}

fn give_name(partial: &Path, out: &Path) -> Result<(), StoreError> {
    if out.exists() {
        // Only an empty folder is allowed to stand there (checked before).
        fs::remove_dir(out).map_err(StoreError::io("is in the way", out))?;
    }
    fs::rename(partial, out).map_err(StoreError::io("could not be renamed into place", out))?;
    atomic::sync_folder(parent_of(out))
}
