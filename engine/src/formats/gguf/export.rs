//! A finished run, or any model that opens, as a GGUF file, without solving.
//!
//! Solved codes go into blocks that hold them as they are; what no block holds is rounded to the nearest type, and told.

use super::plan::{GgufPlan, plan};
use super::types;
use super::write::{Material, Materials, verify, write};
use crate::checkpoint::Checkpoint;
use crate::formats::layout::PlanSource;
use crate::formats::store::{
    OWN_FOLDER, StoreError, changed_tensor_of_run, check_output, layer_of_run,
};
use crate::ggml::GgmlType;
use crate::model::{LayerInfo, ModelConfig, list_layers};
use crate::moments::Moments;
use crate::report::{ExportReport, Fallback, LayerFallback, Notice, Observer};
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

/// Writes `model`, a finished run or any other model, to the new file `out`.
pub fn export_gguf(
    model: &Path,
    out: &Path,
    options: &GgufOptions,
    inputs: Option<&dyn InputMoments>,
    observer: &dyn Observer,
) -> Result<ExportReport, StoreError> {
    check_output(out, model)?;
    let out = &match is_gguf_path(out) {
        true => out.to_owned(),
        false => out.join(super::FILE_NAME),
    };
    if let Some(folder) = out.parent().filter(|folder| !folder.as_os_str().is_empty()) {
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
    for layer in &layers {
        observer.check()?;
        let (kind, fallback) = materials.kind(layer, options.kind)?;
        kinds.extend(kind.map(|kind| (layer.tensor.clone(), kind)));
        fallbacks.extend(fallback.map(|fallback| LayerFallback {
            name: layer.name.clone(),
            fallback,
        }));
    }
    let plan = plan(&plan_source(&source), &kinds)?;
    for note in &plan.notes {
        observer.notice(Notice::Warning(note));
    }
    let verified = write_and_verify(out, &plan, &materials, observer)?;
    Ok(ExportReport {
        out: out.display().to_string(),
        format: "gguf".to_owned(),
        bytes: plan.size_bytes,
        verified,
        fallbacks,
    })
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
        // Best effort: the error that is returned says what to do.
        let _ = std::fs::remove_file(out);
    }
    verified
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
    /// The type of a layer, `None` for what it has, and what could not be held.
    fn kind(
        &self,
        layer: &LayerInfo,
        asked: Option<GgmlType>,
    ) -> Result<(Option<GgmlType>, Option<Fallback>), StoreError> {
        if let Some(asked) = asked {
            let found = types::fitting(asked, layer.columns);
            return Ok((Some(found), types::unfit(asked, found, layer.columns)));
        }
        let stored = match self.run {
            Some(run) => layer_of_run(run, &layer.name)?,
            None => None,
        };
        let Some(stored) = stored else {
            return Ok((self.source.block_type(&layer.tensor), None));
        };
        if let Some(kind) = types::of_solved(&stored.solved) {
            return Ok((Some(kind), None));
        }
        let settings = stored.report.settings;
        if !matches!(
            stored.solved.grid,
            crate::solved::Grid::Affine(_)
                | crate::solved::Grid::Codebook(_)
                | crate::solved::Grid::Palette(_)
        ) {
            return Ok((Some(types::plain(stored.manifest.tensor.dtype)), None));
        }
        let kind = types::nearest(&settings, layer.columns);
        let fallback = Fallback {
            from: format!("{} {} bits", settings.method.word(), settings.bits),
            to: kind.word().to_owned(),
            reason: "no block of gguf holds this grid, so its values were rounded again".to_owned(),
        };
        Ok((Some(kind), Some(fallback)))
    }
}

impl Materials for Sources<'_> {
    fn material(&self, tensor: &str) -> Result<Material, StoreError> {
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
        Ok(Material::Values(self.source.read_f32(tensor)?))
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
