//! A finished run, or any model that opens, as a GGUF file, without solving.
//!
//! Solved codes go into blocks that hold them; what no block holds is rounded to the nearest type, and told.

use super::plan::{GgufPlan, plan};
use super::verify::verify;
use super::write::{AsItIs, Material, Materials, of_source, remove, write};
use super::{split, types};
use crate::checkpoint::Checkpoint;
use crate::formats::Format;
use crate::formats::kept::{keep_recipe, keep_report};
use crate::formats::layout::{PlanSource, inputs_left_alone, no_rounded_inputs};
use crate::formats::store::{
    OWN_FOLDER, StoreError, StoredLayer, changed_tensor_of_run, check_output, layer_of_run,
};
use crate::ggml::GgmlType;
use crate::model::{LayerInfo, ModelConfig, list_layers};
use crate::moments::Moments;
use crate::report::{ExportReport, Fallback, LayerFallback, Notice, Observer};
use crate::solved::Grid;
use crate::tensor::WeightSource;
use std::collections::HashMap;
use std::path::Path;

/// What a GGUF file is to be.
#[derive(Debug, Clone, Default)]
pub struct GgufOptions {
    /// The type of every layer; without it, of each the one that holds what was solved.
    pub kind: Option<GgmlType>,
    /// Mean squares of inputs, by the names of tensors.
    pub importance: HashMap<String, Vec<f32>>,
    /// Most bytes of a file: more become a series of files.
    pub split_bytes: Option<u64>,
}

/// Moments of inputs by the names of tensors.
pub trait InputMoments {
    /// Those of one tensor's inputs; `None` where none are known.
    fn of_tensor(&self, tensor: &str) -> Result<Option<Moments>, StoreError>;
}

/// Whether a path asks for a GGUF file.
pub fn is_gguf_path(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"))
}

/// Writes `model`, a finished run or any other model, to the new file `out`, or to a series of files beside it.
pub fn export_gguf(
    model: &Path,
    out: &Path,
    options: &GgufOptions,
    inputs: Option<&dyn InputMoments>,
    observer: &dyn Observer,
) -> Result<ExportReport, StoreError> {
    let whole = std::path::absolute(out).map_err(StoreError::io("could not be found", out))?;
    let file = match is_gguf_path(&whole) {
        true => whole,
        false => whole.join(super::FILE_NAME),
    };
    let missing: Vec<&Path> = file.ancestors().skip(1).collect();
    let missing = missing.into_iter().take_while(|folder| !folder.exists());
    let missing: Vec<&Path> = missing.collect();
    let exported = export_into(model, out, &file, options, inputs, observer);
    if exported.is_err() {
        for folder in missing {
            // Best effort, and only of what holds nothing: the error that is returned says what to do.
            let _ = std::fs::remove_dir(folder);
        }
    }
    exported
}

fn export_into(
    model: &Path,
    out: &Path,
    file: &Path,
    options: &GgufOptions,
    inputs: Option<&dyn InputMoments>,
    observer: &dyn Observer,
) -> Result<ExportReport, StoreError> {
    check_output(out, model)?;
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(StoreError::io("could not be created", folder))?;
    }
    let source = Checkpoint::open(model)?;
    source.check_readable()?;
    let config = source
        .config_json()
        .and_then(|json| ModelConfig::parse(json).ok());
    let mut layers = list_layers(&source, config.as_ref());
    layers.retain(|layer| layer.compressible);
    let run = model
        .join(OWN_FOLDER)
        .join("layers")
        .is_dir()
        .then_some(model);
    let materials = Sources {
        run,
        source: &source,
        layers: layers
            .iter()
            .map(|layer| (layer.tensor.as_str(), layer))
            .collect(),
        importance: &options.importance,
        inputs,
    };
    let mut kinds = HashMap::new();
    let mut fallbacks = Vec::new();
    let mut held = Vec::new();
    for layer in &layers {
        observer.check()?;
        let Chosen {
            kind,
            holds,
            fallback,
        } = materials.kind(layer, options.kind)?;
        kinds.extend(kind.map(|kind| (layer.tensor.clone(), kind)));
        held.extend(kind.filter(|_| holds));
        fallbacks.extend(fallback.map(|fallback| LayerFallback {
            name: layer.name.clone(),
            fallback,
        }));
    }
    let mut plan = plan(&plan_source(&source), &kinds, options.split_bytes)?;
    plan.notes.extend(types::remark(held.into_iter()));
    let paths = split::paths(file, plan.files.len());
    for path in paths.iter().filter(|_| plan.files.len() > 1) {
        check_output(path, model)?;
    }
    for note in &plan.notes {
        observer.notice(Notice::Warning(note));
    }
    let verified = write_and_verify(file, &plan, &materials, observer)?;
    let report = ExportReport {
        out: match plan.files.len() {
            1 if is_gguf_path(out) => out.display().to_string(),
            _ => paths[0].display().to_string(),
        },
        format: "gguf".to_owned(),
        bytes: plan.size_bytes,
        verified,
        fallbacks,
    };
    // A single file has no folder of its own, and nothing is left in that of others.
    if !is_gguf_path(out)
        && let Err(error) = keep(out, model, &report)
    {
        remove(&paths);
        return Err(error);
    }
    Ok(report)
}

fn keep(folder: &Path, model: &Path, report: &ExportReport) -> Result<(), StoreError> {
    let recipe = model.join(OWN_FOLDER).join("recipe.toml");
    let recipe = std::fs::read_to_string(recipe).ok();
    keep_recipe(folder, recipe.as_deref())?;
    keep_report(folder, model, report)
}

fn plan_source(source: &Checkpoint) -> PlanSource<'_> {
    PlanSource {
        weights: source,
        packed: Some(source),
        config: source.config_json(),
        root: source.root(),
        side_files: source.side_files(),
        made_files: source.made_files(),
    }
}

fn write_and_verify(
    out: &Path,
    plan: &GgufPlan,
    materials: &dyn Materials,
    observer: &dyn Observer,
) -> Result<crate::report::Verified, StoreError> {
    let steps = plan.parts.len() as u64;
    observer.notice(Notice::Stage {
        name: "writing the model",
        steps,
    });
    let digests = write(out, plan, materials, observer)?;
    observer.notice(Notice::Stage {
        name: "reading it again",
        steps,
    });
    let verified = verify(out, plan, Some(&digests), materials, observer);
    if verified.is_err() {
        remove(&split::paths(out, plan.files.len()));
    }
    verified
}

/// The type of a layer.
struct Chosen {
    /// `None` for what it has.
    kind: Option<GgmlType>,
    /// Whether its blocks hold the codes that were solved.
    holds: bool,
    /// What could not be held.
    fallback: Option<Fallback>,
}

impl Chosen {
    fn rounded(kind: Option<GgmlType>, fallback: Option<Fallback>) -> Self {
        Self {
            kind,
            holds: false,
            fallback,
        }
    }

    /// Of a solved layer the type that holds it, or the nearest.
    fn of_solved(layer: &LayerInfo, stored: &StoredLayer) -> Self {
        if let Some(kind) = types::of_solved(&stored.solved) {
            return Self {
                kind: Some(kind),
                holds: true,
                fallback: None,
            };
        }
        let has_codes = matches!(
            stored.solved.grid,
            Grid::Affine(_) | Grid::Codebook(_) | Grid::Palette(_)
        );
        if !has_codes {
            return Self::rounded(Some(types::plain(stored.manifest.tensor.dtype)), None);
        }
        let settings = stored.report.settings;
        let is_pruned = stored.solved.mask.is_some();
        let kind = types::nearest(&settings, layer.columns, is_pruned);
        let fallback = Fallback {
            from: format!("{} {} bits", settings.method.word(), settings.bits),
            to: kind.word().to_owned(),
            reason: match is_pruned {
                true => "no block of gguf holds this grid with its zeros, so its values were rounded again around zero",
                false => "no block of gguf holds this grid, so its values were rounded again",
            }
            .to_owned(),
        };
        Self::rounded(Some(kind), Some(fallback))
    }
}

/// A run's layers where it has them, else the model's own values.
struct Sources<'a> {
    run: Option<&'a Path>,
    source: &'a Checkpoint,
    layers: HashMap<&'a str, &'a LayerInfo>,
    importance: &'a HashMap<String, Vec<f32>>,
    inputs: Option<&'a dyn InputMoments>,
}

impl Sources<'_> {
    fn kind(&self, layer: &LayerInfo, asked: Option<GgmlType>) -> Result<Chosen, StoreError> {
        let stored = self.stored(layer)?;
        let mut chosen = match (asked, &stored) {
            (Some(asked), stored) => {
                let found = types::fitting(asked, layer.columns);
                let unfit = types::unfit(asked, found, layer.columns);
                let fallback = unfit.or_else(|| lost_zeros(stored.as_ref()?, found));
                Chosen::rounded(Some(found), fallback)
            }
            (None, Some(stored)) => Chosen::of_solved(layer, stored),
            (None, None) => Chosen::rounded(self.source.block_type(&layer.tensor), None),
        };
        if let Some(stored) = &stored
            && let Some(reason) = no_rounded_inputs(Format::Gguf)
        {
            let alone = inputs_left_alone(stored.activations.mode, reason);
            chosen.fallback = Fallback::join(chosen.fallback, alone);
        }
        Ok(chosen)
    }

    fn stored(&self, layer: &LayerInfo) -> Result<Option<StoredLayer>, StoreError> {
        match self.run {
            Some(run) => layer_of_run(run, &layer.name),
            None => Ok(None),
        }
    }
}

/// What is told where pruned weights become something near zero.
fn lost_zeros(stored: &StoredLayer, kind: GgmlType) -> Option<Fallback> {
    let is_lost = !types::holds_zero(kind) && stored.solved.mask.is_some();
    is_lost.then(|| Fallback {
        from: "pruned".to_owned(),
        to: "dense".to_owned(),
        reason: format!(
            "blocks of {kind} do not hold 0 exactly; Q4_0, Q5_0, Q8_0, Q3_K and Q6_K do"
        ),
    })
}

impl Materials for Sources<'_> {
    fn material(&self, tensor: &str, as_it_is: AsItIs) -> Result<Material, StoreError> {
        if let Some(run) = self.run {
            if let Some(layer) = self.layers.get(tensor)
                && let Some(stored) = layer_of_run(run, &layer.name)?
            {
                return Ok(Material::Solved(Box::new(stored.solved)));
            }
            if let Some(values) = changed_tensor_of_run(run, tensor)? {
                return Ok(Material::Values(values));
            }
        }
        of_source(self.source, tensor, as_it_is)
    }

    fn source(&self) -> &dyn WeightSource {
        self.source
    }

    fn is_new(&self, tensor: &str) -> Result<bool, StoreError> {
        let Some(run) = self.run else {
            return Ok(false);
        };
        let is_solved = match self.layers.get(tensor) {
            Some(layer) => layer_of_run(run, &layer.name)?.is_some(),
            None => false,
        };
        Ok(is_solved || changed_tensor_of_run(run, tensor)?.is_some())
    }

    fn importance(&self, tensor: &str) -> Option<&[f32]> {
        self.importance.get(tensor).map(Vec::as_slice)
    }

    fn moments(&self, tensor: &str) -> Result<Option<Moments>, StoreError> {
        match self.inputs {
            Some(inputs) => inputs.of_tensor(tensor),
            None => Ok(None),
        }
    }
}
