//! Scaling inside the loop: before a block is solved, scales of AWQ or SmoothQuant are folded into it.
//!
//! A fold happens only where every consumer of the input asks for it. What the fold changes outside solved layers
//! (norm weights, biases) is stored beside them; layers that a recipe leaves as they are are not folded into. A layer
//! that asks to be smoothed and is not, or less, is told of.

use super::{CompressError, Job, Silent};
use crate::calibrate::{GatherPlan, Sides, Stream, gather_stage};
use crate::compress::Calibration;
use crate::model::{Block, Model};
use crate::moments::{Moments, StageKey};
use crate::report::Fallback;
use crate::settings::LayerSettings;
use crate::solved::Method;
use crate::tensor::Matrix;
use crate::transform::{AwqConfig, awq_scales, smooth_scales};

/// Why an input that no norm or layer of the block makes is not smoothed.
pub(super) const NO_PRODUCER: &str = "nothing that makes its input can be scaled";

/// What was folded into a block.
#[derive(Debug, Default)]
pub(super) struct FoldedScales {
    /// Stages and the scales by which their inputs were divided.
    scales: Vec<(usize, Vec<f32>)>,
    /// Layers that are not smoothed as they asked.
    missed: Vec<Missed>,
}

/// A layer that is not smoothed as it asked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Missed {
    layer: usize,
    /// The exponent that it got.
    exponent: f64,
    reason: String,
}

impl FoldedScales {
    /// The scales of one stage's inputs.
    pub(super) fn of(&self, stage: usize) -> impl Iterator<Item = &[f32]> {
        self.scales
            .iter()
            .filter(move |(folded, _)| *folded == stage)
            .map(|(_, scales)| scales.as_slice())
    }

    /// What is told of a layer that is not smoothed as it asked, beside what was `told` before.
    pub(super) fn tell(
        &self,
        layer: usize,
        settings: &LayerSettings,
        told: Option<Fallback>,
    ) -> Option<Fallback> {
        match self.missed.iter().find(|missed| missed.layer == layer) {
            Some(missed) => smoothed_by(settings, missed.exponent, &missed.reason, told),
            None => told,
        }
    }
}

/// Where the inputs of a block come from.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) job: Job<'a>,
    pub(super) model: &'a Model,
    pub(super) calibration: &'a Calibration<'a>,
    pub(super) seen: Option<&'a Stream>,
    pub(super) chosen: &'a [Option<usize>],
}

/// What is asked of a fold.
enum Scaling {
    Awq(AwqConfig),
    /// SmoothQuant with this exponent.
    Smooth(f64),
}

impl Inputs<'_> {
    /// Searches and folds the scales of block `index` into `block`.
    pub(super) fn fold_scales(
        self,
        index: usize,
        block: &mut Block,
        monitor: &Silent<'_>,
    ) -> Result<FoldedScales, CompressError> {
        let mut folded = FoldedScales::default();
        let mut smoothed = Vec::new();
        for fold in 0..block.folds().len() {
            let (consumers, stage, producer) = {
                let fold = &block.folds()[fold];
                (fold.consumers.clone(), fold.stage, fold.producer.clone())
            };
            let Some(scaling) = self.scaling(&consumers) else {
                continue;
            };
            if self.is_left_alone(&producer) {
                continue;
            }
            let key = StageKey {
                block: index,
                stage,
            };
            let moments = self.moments(key, block, monitor)?;
            let weights: Vec<Matrix> = consumers
                .iter()
                .map(|&layer| block.weights(layer))
                .collect::<Result<_, _>>()?;
            let weights: Vec<&Matrix> = weights.iter().collect();
            let scales = match scaling {
                Scaling::Awq(config) => {
                    let searched = awq_scales(&weights, &moments, &config, monitor);
                    let first = &self.job.layers[consumers[0]];
                    searched.map_err(|error| CompressError::of_solver(first, error))?
                }
                Scaling::Smooth(exponent) => {
                    smoothed.push((stage, exponent));
                    smooth_scales(&weights, &moments, exponent)
                }
            };
            block.fold(fold, &scales)?;
            folded.scales.push((stage, scales));
        }
        folded.missed = self.missed(block, &smoothed);
        self.store_changed(block)?;
        Ok(folded)
    }

    /// What all of a fold's consumers ask. They may differ in the rest: the first one's grid guides AWQ's search, the
    /// smallest exponent smooths.
    fn scaling(self, consumers: &[usize]) -> Option<Scaling> {
        let settings: Vec<LayerSettings> = consumers
            .iter()
            .map(|&layer| self.settings(layer))
            .collect::<Option<_>>()?;
        let first = settings.first()?;
        if settings.iter().all(|layer| layer.method == Method::Awq) {
            return Some(Scaling::Awq(AwqConfig {
                grid: first.grid(),
                clip_search: first.clip_search,
            }));
        }
        let exponents = settings.iter().map(|layer| layer.smooth);
        settings
            .iter()
            .all(can_be_smoothed)
            .then(|| Scaling::Smooth(exponents.fold(f64::INFINITY, f64::min)))
    }

    fn settings(self, layer: usize) -> Option<LayerSettings> {
        Some(self.job.choices[self.chosen[layer]?].settings)
    }

    /// Whether `producer` is a layer that the recipe leaves as it is: then a fold must not change it either.
    fn is_left_alone(self, producer: &str) -> bool {
        let layer = self
            .job
            .layers
            .iter()
            .position(|layer| layer.name == producer);
        let settings = layer.and_then(|layer| self.settings(layer));
        settings.is_some_and(|settings| settings.method == Method::None)
    }

    /// Layers that ask to be smoothed and are not, or less than they ask, for a peer asks for less.
    fn missed(self, block: &Block, smoothed: &[(usize, f64)]) -> Vec<Missed> {
        let mut missed = Vec::new();
        for (index, stage) in block.stages().iter().enumerate() {
            let done = smoothed.iter().find(|(done, _)| *done == index);
            let exponent = done.map_or(0.0, |(_, exponent)| *exponent);
            let fold = block.folds().iter().find(|fold| fold.stage == index);
            let producer = fold.map(|fold| fold.producer.as_str());
            let asking = stage.layers.iter().filter(|&&layer| {
                let settings = self.settings(layer);
                settings
                    .is_some_and(|layer| layer.method != Method::None && layer.smooth > exponent)
            });
            missed.extend(asking.map(|&layer| Missed {
                layer,
                exponent,
                reason: match done {
                    Some(_) => self.who_asks(&stage.layers, exponent),
                    None => self.why(layer, &stage.layers, producer),
                },
            }));
        }
        missed
    }

    /// The layer among `peers` for which an input is smoothed by no more than `exponent`.
    fn who_asks(self, peers: &[usize], exponent: f64) -> String {
        let asks = |&&peer: &&usize| {
            let settings = self.settings(peer);
            settings.is_some_and(|settings| settings.smooth == exponent)
        };
        match peers.iter().find(asks) {
            Some(&peer) => format!(
                "{}, which reads the same input, asks for no more",
                self.job.layers[peer].name
            ),
            None => "a layer that reads the same input asks for no more".to_owned(),
        }
    }

    /// Why `layer`, which asks for it, is not smoothed; `peers` share its input, which `producer` makes.
    fn why(self, layer: usize, peers: &[usize], producer: Option<&str>) -> String {
        let awq = |layer: usize| {
            let settings = self.settings(layer);
            settings.is_some_and(|settings| settings.method == Method::Awq)
        };
        let unwilling = peers
            .iter()
            .find(|&&peer| !self.settings(peer).as_ref().is_some_and(can_be_smoothed));
        let Some(producer) = producer else {
            return NO_PRODUCER.to_owned();
        };
        match unwilling {
            _ if awq(layer) => "AWQ finds scales of its own".to_owned(),
            Some(&peer) => format!(
                "{}, which reads the same input, is not smoothed",
                self.job.layers[peer].name
            ),
            None if self.is_left_alone(producer) => {
                format!("{producer}, which makes its input, is left as it is")
            }
            None => "its input cannot be scaled".to_owned(),
        }
    }

    fn moments(
        self,
        key: StageKey,
        block: &Block,
        monitor: &Silent<'_>,
    ) -> Result<Moments, CompressError> {
        let Some(seen) = self.seen else {
            let source = self
                .calibration
                .original
                .ok_or_else(|| CompressError::Cache("there are none".to_owned()))?;
            return source.moments(key);
        };
        let sides = Sides {
            seen: (block, seen),
            original: None,
        };
        Ok(gather_stage(
            self.model,
            key.stage,
            sides,
            GatherPlan {
                held_out_sequences: 0,
            },
            monitor,
        )?
        .moments)
    }

    fn store_changed(self, block: &Block) -> Result<(), CompressError> {
        for (name, shape, values) in block.changed_tensors()? {
            let solved = self.job.choices.iter().any(|choice| {
                choice.settings.method != Method::None
                    && self.job.layers[choice.layer].tensor == name
            });
            if !solved {
                self.job.run.store_changed_tensor(&name, &shape, &values)?;
            }
        }
        Ok(())
    }
}

/// Whether smoothing may change the layer: it is solved anyway, and has no scales of its own.
fn can_be_smoothed(settings: &LayerSettings) -> bool {
    settings.smooth > 0.0 && !matches!(settings.method, Method::Awq | Method::None)
}

/// What is told of a layer that asks to be smoothed and gets `exponent`, beside what was `told` before.
pub(super) fn smoothed_by(
    settings: &LayerSettings,
    exponent: f64,
    reason: &str,
    told: Option<Fallback>,
) -> Option<Fallback> {
    let less = (settings.smooth > exponent).then(|| Fallback {
        from: format!("smooth {}", settings.smooth),
        to: format!("smooth {exponent}"),
        reason: reason.to_owned(),
    });
    Fallback::join(told, less)
}
