//! `estimate`: what a model would take and give on a device, as it is or as a recipe would leave it.
//!
//! Reads headers only; solves and runs nothing.

use super::requests::{CompressRequest, DryRun};
use super::{Session, SessionError};
use crate::device::{DeviceProfile, EngineProfile};
use crate::estimate::{Estimate, EstimateInput, Form, LayerDemand, Network, estimate};
use crate::formats::Format;
use crate::formats::layout::stored_bytes;
use crate::model::{LayerInfo, ModelConfig};
use crate::recipe::Recipe;
use crate::settings::{KvCache, LayerSettings};
use crate::solved::Method;
use std::collections::HashMap;
use std::path::PathBuf;

/// Tokens of a prompt, and of the context, where nobody says.
const USUAL_PROMPT: usize = 128;
const USUAL_CONTEXT: usize = 1024;

/// What `estimate` is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct EstimateRequest {
    /// What would be done to the model; `None` = nothing.
    pub recipe: Option<Recipe>,
    /// The container whose bytes count.
    pub format: Format,
    /// Where it would run.
    pub device: DeviceProfile,
    /// What of that computes; `None` = the usual engine.
    pub engine: Option<String>,
    /// What is asked about the run.
    pub run: RunShape,
}

/// A run of a model: how long its text is, how keys and values are kept, how many threads work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunShape {
    /// Tokens that are cached when a token is written; `None` = the smaller of 1024 and the model's context.
    pub context: Option<usize>,
    /// Tokens of the prompt; `None` = the smaller of 128 and the context.
    pub prompt: Option<usize>,
    /// How keys and values are kept; `None` = as the recipe, or the run that made the model, says.
    pub kv_cache: Option<KvCache>,
    /// Threads that work; `None` = all of the engine.
    pub threads: Option<usize>,
}

/// A model as it is, or as it would be written.
pub(super) struct Planned {
    pub(super) network: Network,
    pub(super) layers: Vec<LayerDemand>,
    /// Of all files.
    pub(super) bytes: u64,
}

impl Session {
    /// What the model would take and give there.
    pub fn estimate(&self, request: &EstimateRequest) -> Result<Estimate, SessionError> {
        let device = &request.device;
        let engine = self.engine_of(device, request.engine.as_deref())?;
        let input = self.estimate_input(request.recipe.as_ref(), request.format, request.run)?;
        Ok(estimate(&input, device, engine))
    }

    /// The engine of that name; the usual one for none.
    pub(super) fn engine_of<'a>(
        &self,
        device: &'a DeviceProfile,
        name: Option<&str>,
    ) -> Result<&'a EngineProfile, SessionError> {
        device.engine(name).ok_or_else(|| {
            let names: Vec<&str> = device
                .engines
                .iter()
                .map(|engine| engine.name.as_str())
                .collect();
            self.input_problem(&format!(
                "{} has no such engine; it has {}",
                device.name,
                names.join(", ")
            ))
        })
    }

    /// The counts behind an estimate: of the model as it is, or as a recipe would leave it.
    pub fn estimate_input(
        &self,
        recipe: Option<&Recipe>,
        format: Format,
        run: RunShape,
    ) -> Result<EstimateInput, SessionError> {
        let planned = match recipe {
            Some(recipe) => self.planned(recipe, format)?,
            None => Planned {
                network: self.network()?,
                layers: self.layers.iter().map(|info| self.as_it_is(info)).collect(),
                bytes: self.bytes_before(),
            },
        };
        let kept = match (run.kv_cache, recipe) {
            (Some(asked), _) => asked,
            (None, Some(recipe)) => recipe.kv_cache,
            (None, None) => {
                let recipe = self.recipe_of_run();
                recipe
                    .map_err(|problem| {
                        self.input_problem(&format!(
                            "{problem}; say how keys and values are kept (--kv)"
                        ))
                    })?
                    .kv_cache
            }
        };
        self.input_of(planned, kept, run)
    }

    pub(super) fn input_of(
        &self,
        planned: Planned,
        kept: KvCache,
        run: RunShape,
    ) -> Result<EstimateInput, SessionError> {
        let Planned {
            network,
            layers,
            bytes,
        } = planned;
        let longest = network.context_length;
        let context = run.context.unwrap_or(USUAL_CONTEXT.min(longest));
        let prompt = run.prompt.unwrap_or(USUAL_PROMPT.min(context));
        for (what, tokens) in [("context", context), ("prompt", prompt)] {
            if tokens == 0 || tokens > longest {
                return Err(self.input_problem(&format!(
                    "a {what} of {tokens} tokens does not fit the model; it takes 1 to {longest}"
                )));
            }
        }
        Ok(EstimateInput {
            network,
            layers,
            bytes,
            context,
            prompt,
            kv_cache: run.kv_cache.unwrap_or(kept),
            threads: run.threads,
        })
    }

    /// What runs ask of a machine once the model is written in `format` with these settings of all its layers.
    pub fn demands_in(&self, format: Format, settings: &[LayerSettings]) -> Vec<LayerDemand> {
        let layers = self.layers.iter().zip(settings);
        layers
            .map(|(info, settings)| self.written(format, info, settings))
            .collect()
    }

    /// One layer of a model written in `format`.
    pub(super) fn written(
        &self,
        format: Format,
        info: &LayerInfo,
        settings: &LayerSettings,
    ) -> LayerDemand {
        let is_carried = format == Format::Pare && settings.method == Method::None && info.packed;
        if !info.compressible || is_carried {
            return self.as_it_is(info);
        }
        let bytes = stored_bytes(format, info, settings);
        match (format, settings.method) {
            // What is written are floats, whatever the model held.
            (_, Method::None) | (Format::Dense, _) => LayerDemand::held(info, Form::Dense, bytes),
            (Format::Pare, Method::Float) => LayerDemand::new(info, settings, bytes),
            (_, Method::Float) => LayerDemand::held(info, Form::Dense, bytes),
            _ => LayerDemand::new(info, settings, bytes),
        }
    }

    fn as_it_is(&self, info: &LayerInfo) -> LayerDemand {
        let stored = self.checkpoint.stored(&info.tensor);
        let form = stored.map_or(Form::Dense, |(stored, mode)| Form::of_stored(stored, mode));
        let factors = stored.and_then(|(stored, _)| stored.factors);
        LayerDemand::held(info, form, info.size_bytes).with_factors(factors)
    }

    /// The network, the layers and the files that `recipe` would leave in `format`.
    fn planned(&self, recipe: &Recipe, format: Format) -> Result<Planned, SessionError> {
        let request = CompressRequest {
            recipe: recipe.clone(),
            // A dry run writes nothing.
            out: PathBuf::new(),
            format,
            evaluate: None,
            resume: false,
            keep_layers: false,
        };
        if recipe.structure.is_none() {
            let dry = self.dry_run(&request)?;
            return Ok(Planned {
                network: self.network()?,
                layers: self.planned_demands(&self.layers, &dry, format),
                bytes: dry.bytes_after,
            });
        }
        let writes_tokens = !self.model()?.is_encoder();
        let smaller = self.plan_smaller(recipe)?;
        self.install(|| {
            self.with_stand_in(&smaller, |target| {
                let config = target.source.config.unwrap_or(&serde_json::Value::Null);
                let config = ModelConfig::parse(config)?;
                let layers = target.layers;
                let dry = self.dry_run_of(&request, target)?;
                Ok(Planned {
                    network: Network::of(&config, writes_tokens),
                    layers: self.planned_demands(layers, &dry, format),
                    bytes: dry.bytes_after,
                })
            })
        })
    }

    fn planned_demands(
        &self,
        layers: &[LayerInfo],
        dry: &DryRun,
        format: Format,
    ) -> Vec<LayerDemand> {
        let planned: HashMap<&str, _> = dry
            .layers
            .iter()
            .map(|layer| (layer.name.as_str(), layer))
            .collect();
        let demand = |info: &LayerInfo| match planned.get(info.name.as_str()) {
            Some(layer) => self.written(format, info, &layer.settings),
            None => self.as_it_is(info),
        };
        layers.iter().map(demand).collect()
    }

    /// The numbers of the network as it is.
    pub(super) fn network(&self) -> Result<Network, SessionError> {
        let model = self.model()?;
        Ok(Network::of(model.config(), !model.is_encoder()))
    }
}
