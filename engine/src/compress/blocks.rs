//! The block by block part of the loop.

use super::describe::{Facts, describe, describe_untouched, original_tensor};
use super::returned::{chosen, returned};
use super::scaling::{FoldedScales, Inputs};
use super::{Calibration, Choice, CompressError, Job, Ledger, Silent, inputs};
use crate::calibrate::{GatherPlan, Sides, Stream, gather_stage};
use crate::model::{Block, Model};
use crate::moments::{LayerStatistics, Prefix, StageKey};
use crate::report::Fallback;
use crate::solve::{Factors, solve_layer_sharing};
use crate::solved::Method;
use crate::transform::divide_inputs;
use std::time::Instant;

/// One in so many calibration sequences judges refinements instead of shaping them.
const HELD_OUT_SHARE: usize = 8;

/// Solves all chosen layers inside blocks, in order.
pub(super) fn solve_blocks(
    job: Job<'_>,
    model: &Model,
    calibration: &Calibration<'_>,
    ledger: &mut Ledger<'_>,
) -> Result<(), CompressError> {
    let chosen = choices_by_layer(job);
    let silent = Silent(ledger.observer);
    let streams = Streams::start(job, model, calibration, &silent)?;
    for index in 0..model.config().blocks {
        let dense = model.load_block(index)?;
        let mut folded = dense.clone();
        let inputs = Inputs {
            job,
            model,
            calibration,
            seen: streams.seen.as_ref(),
            chosen: &chosen,
        };
        let scales = inputs.fold_scales(index, &mut folded, &silent)?;
        let mut block = folded.clone();
        for stage in 0..block.stages().len() {
            let key = StageKey {
                block: index,
                stage,
            };
            let step = StageStep {
                inputs,
                original: streams.original.as_ref(),
                scales: &scales,
                key,
            };
            step.solve(&folded, &mut block, ledger)?;
        }
        streams.advance(&dense, &block, &silent)?;
    }
    Ok(())
}

/// For each layer of the model, its choice.
fn choices_by_layer(job: Job<'_>) -> Vec<Option<usize>> {
    let mut chosen = vec![None; job.layers.len()];
    for (index, choice) in job.choices.iter().enumerate() {
        chosen[choice.layer] = Some(index);
    }
    chosen
}

/// Hidden states as the solved blocks make them, and as the original ones do where somebody needs both.
struct Streams {
    seen: Option<Stream>,
    original: Option<Stream>,
}

impl Streams {
    fn start(
        job: Job<'_>,
        model: &Model,
        calibration: &Calibration<'_>,
        monitor: &Silent<'_>,
    ) -> Result<Self, CompressError> {
        if calibration.prefix == Prefix::Original {
            return Ok(Self {
                seen: None,
                original: None,
            });
        }
        let ends = model.load_ends()?;
        let embed = || {
            Stream::embed(
                model,
                &ends,
                calibration.sequences,
                &calibration.spill,
                monitor,
            )
        };
        let corrected = job
            .choices
            .iter()
            .any(|choice| choice.settings.is_refined());
        Ok(Self {
            seen: Some(embed()?),
            original: corrected.then(embed).transpose()?,
        })
    }

    fn advance(
        &self,
        dense: &Block,
        solved: &Block,
        monitor: &Silent<'_>,
    ) -> Result<(), CompressError> {
        if let Some(stream) = &self.seen {
            stream.advance(solved, monitor)?;
        }
        if let Some(stream) = &self.original {
            stream.advance(dense, monitor)?;
        }
        Ok(())
    }
}

/// One stage of one block.
struct StageStep<'a> {
    inputs: Inputs<'a>,
    original: Option<&'a Stream>,
    scales: &'a FoldedScales,
    key: StageKey,
}

impl StageStep<'_> {
    /// Solves the stage's layers with the inputs they will see and puts them back into `block`.
    fn solve(
        &self,
        folded: &Block,
        block: &mut Block,
        ledger: &mut Ledger<'_>,
    ) -> Result<(), CompressError> {
        let layers = block.stages()[self.key.stage].layers.clone();
        let mut statistics = None;
        let factors = Factors::default();
        for layer in layers {
            let Some(index) = self.inputs.chosen[layer] else {
                continue;
            };
            ledger.observer.check()?;
            let info = &self.inputs.job.layers[layer];
            let choice = &self.inputs.job.choices[index];
            if choice.settings.method == Method::None {
                ledger.enter(index, describe_untouched(info, choice));
                continue;
            }
            if let Some(stored) = self.inputs.job.run.finished_layer(&info.name)? {
                let seen = returned(choice, &stored.solved);
                block.set_solved(layer, &seen, stored.activations)?;
                ledger.enter(index, stored.report);
                continue;
            }
            if statistics.is_none() {
                statistics = Some(self.gather(folded, block, ledger)?);
            }
            let statistics = statistics.as_ref().expect("gathered above");
            let weights = block.weights(layer)?;
            let started = Instant::now();
            let silent = Silent(ledger.observer);
            let known = Some(statistics);
            let solved = solve_layer_sharing(&weights, known, &choice.settings, &factors, &silent)
                .and_then(|solved| {
                    let moments = Some(&statistics.moments);
                    chosen(choice, &weights, solved, moments, &silent)
                })
                .map_err(|error| CompressError::of_solver(info, error))?
                .with_float_dtype(info.dtype);
            let activations = inputs::plan(&choice.settings, Some(statistics));
            let facts = Facts {
                layer: info,
                settings: choice.settings,
                fallback: self.fallback(layer, choice),
                size_bytes: choice.size_bytes,
                seconds: started.elapsed().as_secs_f64(),
                statistics: Some(statistics),
                activations,
            };
            let seen = returned(choice, &solved);
            let report = describe(facts, &weights, &seen);
            let tensor = original_tensor(self.inputs.job.source, info);
            let run = self.inputs.job.run;
            run.store_layer(tensor, &solved, &activations, &report)?;
            block.set_solved(layer, &seen, activations)?;
            ledger.enter(index, report);
        }
        Ok(())
    }

    /// What was done instead of what was asked, of the container and of smoothing.
    fn fallback(&self, layer: usize, choice: &Choice) -> Option<Fallback> {
        let told = choice.fallback.clone();
        self.scales.tell(layer, &choice.settings, told)
    }

    fn gather(
        &self,
        folded: &Block,
        block: &Block,
        ledger: &Ledger<'_>,
    ) -> Result<LayerStatistics, CompressError> {
        let Some(seen) = self.inputs.seen else {
            let source = self
                .inputs
                .calibration
                .original
                .ok_or_else(|| CompressError::Cache("there are none".to_owned()))?;
            let mut moments = source.moments(self.key)?;
            for scales in self.scales.of(self.key.stage) {
                moments = divide_inputs(&moments, scales);
            }
            return Ok(LayerStatistics {
                moments,
                cross: None,
                held_out: None,
            });
        };
        let refined = block.stages()[self.key.stage].layers.iter().any(|&layer| {
            self.inputs.chosen[layer]
                .is_some_and(|index| self.inputs.job.choices[index].settings.is_refined())
        });
        let original = self
            .original
            .filter(|_| refined)
            .map(|stream| (folded, stream));
        let sides = Sides {
            seen: (block, seen),
            original,
        };
        let held_out_sequences = if refined {
            seen.sequences() / HELD_OUT_SHARE
        } else {
            0
        };
        let plan = GatherPlan { held_out_sequences };
        Ok(gather_stage(
            self.inputs.model,
            self.key.stage,
            sides,
            plan,
            &Silent(ledger.observer),
        )?)
    }
}
