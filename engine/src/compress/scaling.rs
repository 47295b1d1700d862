//! AWQ inside the loop: before a block is solved, scales that protect strong input channels are folded into it.
//!
//! A fold happens only where every consumer of the input asks for AWQ. What the fold changes outside solved layers
//! (norm weights, biases, producers left dense) is stored beside them.

use super::{CompressError, Job, Silent};
use crate::calibrate::{GatherPlan, Sides, Stream, gather_stage};
use crate::compress::Calibration;
use crate::model::{Block, Model};
use crate::moments::{Moments, StageKey};
use crate::solved::Method;
use crate::tensor::Matrix;
use crate::transform::{AwqConfig, awq_scales};

/// Scales by which the inputs of some stages of a block were divided.
#[derive(Debug, Default)]
pub(super) struct FoldedScales(Vec<(usize, Vec<f32>)>);

impl FoldedScales {
    /// The scales of one stage's inputs.
    pub(super) fn of(&self, stage: usize) -> impl Iterator<Item = &[f32]> {
        self.0
            .iter()
            .filter(move |(folded, _)| *folded == stage)
            .map(|(_, scales)| scales.as_slice())
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

impl Inputs<'_> {
    /// Searches and folds the scales of block `index` into `block`.
    pub(super) fn fold_scales(
        self,
        index: usize,
        block: &mut Block,
        monitor: &Silent<'_>,
    ) -> Result<FoldedScales, CompressError> {
        let mut folded = FoldedScales::default();
        for fold in 0..block.folds().len() {
            let consumers = block.folds()[fold].consumers.clone();
            let Some(config) = self.awq_config(&consumers) else {
                continue;
            };
            let Some(stage) = block
                .stages()
                .iter()
                .position(|stage| stage.layers.contains(&consumers[0]))
            else {
                continue;
            };
            let moments = self.moments(
                StageKey {
                    block: index,
                    stage,
                },
                block,
                monitor,
            )?;
            let weights: Vec<Matrix> = consumers
                .iter()
                .map(|&layer| block.weights(layer))
                .collect::<Result<_, _>>()?;
            let scales = awq_scales(
                &weights.iter().collect::<Vec<_>>(),
                &moments,
                &config,
                monitor,
            )
            .map_err(|error| CompressError::of_solver(&self.job.layers[consumers[0]], error))?;
            block.fold(fold, &scales)?;
            folded.0.push((stage, scales));
        }
        self.store_changed(block)?;
        Ok(folded)
    }

    /// The grid of a fold's consumers, if all of them ask for AWQ. They may differ; the first one's grid guides the search.
    fn awq_config(self, consumers: &[usize]) -> Option<AwqConfig> {
        let settings = |layer: &usize| Some(self.job.choices[self.chosen[*layer]?].settings);
        let all_ask = consumers
            .iter()
            .all(|layer| settings(layer).is_some_and(|settings| settings.method == Method::Awq));
        let first = settings(consumers.first()?)?;
        all_ask.then(|| AwqConfig {
            grid: first.grid(),
            clip_search: first.clip_search,
        })
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
