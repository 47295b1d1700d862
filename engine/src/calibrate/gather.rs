//! Statistics of one stage: the input that some layers of a block share.

use super::CalibrateError;
use super::stream::{Stream, values};
use crate::model::{Block, Model};
use crate::moments::{Accumulator, HeldOut, LayerStatistics, Moments};
use crate::monitor::Monitor;
use rayon::prelude::*;

/// How the sequences are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatherPlan {
    /// The last so many sequences judge refinements and shape nothing.
    pub held_out_sequences: usize,
}

/// The seen stream, and the original one where cross moments are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Sides<'a> {
    /// The block that the solved layers stand in, and hidden states in front of it.
    pub seen: (&'a Block, &'a Stream),
    /// The block as the source has it, and hidden states of the uncompressed model.
    pub original: Option<(&'a Block, &'a Stream)>,
}

/// Gathers moments of stage `stage`'s input.
pub fn gather_stage(
    model: &Model,
    stage: usize,
    sides: Sides<'_>,
    plan: GatherPlan,
    monitor: &dyn Monitor,
) -> Result<LayerStatistics, CalibrateError> {
    let (block, stream) = sides.seen;
    let sequences = stream.sequences();
    let shaping = sequences - plan.held_out_sequences.min(sequences);
    let width = model.layers()[block.stages()[stage].layers[0]].columns;
    let with_cross = sides.original.is_some();
    let mut train = Accumulator::new(width, with_cross);
    let mut held_out = Accumulator::new(width, with_cross);
    let batch = batch_size();
    for (accumulator, range) in [
        (&mut train, 0..shaping),
        (&mut held_out, shaping..sequences),
    ] {
        let first = range.start;
        for start in range.clone().step_by(batch) {
            monitor.check()?;
            let inputs = batch_inputs(stage, sides, start..(start + batch).min(range.end))?;
            for (offset, (seen, original)) in inputs.iter().enumerate() {
                let token = ((start - first + offset) * stream.tokens()) as u64;
                accumulator.add(token, seen, original.as_deref());
            }
        }
    }
    let (moments, cross) = train.finish();
    check_finite(model, block, stage, &moments)?;
    let held_out = (held_out.count() > 0).then(|| {
        let (moments, cross) = held_out.finish();
        HeldOut {
            count: moments.count,
            gram: moments.gram,
            cross,
            abs_max: moments.abs_max,
        }
    });
    Ok(LayerStatistics {
        moments,
        cross,
        held_out,
    })
}

/// Gathers the moments of every stage in one pass and moves `stream` on to the next block.
pub fn gather_block(
    model: &Model,
    block: &Block,
    stream: &Stream,
    monitor: &dyn Monitor,
) -> Result<Vec<Moments>, CalibrateError> {
    let widths = block.stages().iter().map(|stage| stage.width);
    let mut accumulators: Vec<Accumulator> =
        widths.map(|width| Accumulator::new(width, false)).collect();
    let sequences = stream.sequences();
    for start in (0..sequences).step_by(batch_size()) {
        monitor.check()?;
        let batch: Vec<Vec<Vec<f32>>> = (start..(start + batch_size()).min(sequences))
            .into_par_iter()
            .map(|sequence| stream.advance_with_inputs(block, sequence))
            .collect::<Result<_, CalibrateError>>()?;
        for (offset, inputs) in batch.iter().enumerate() {
            let token = ((start + offset) * stream.tokens()) as u64;
            for (accumulator, input) in accumulators.iter_mut().zip(inputs) {
                accumulator.add(token, input, None);
            }
        }
    }
    let moments: Vec<Moments> = accumulators
        .into_iter()
        .map(|accumulator| accumulator.finish().0)
        .collect();
    for (stage, moments) in moments.iter().enumerate() {
        check_finite(model, block, stage, moments)?;
    }
    Ok(moments)
}

/// Sequences at once: enough to keep every thread busy, few enough to hold.
fn batch_size() -> usize {
    (2 * rayon::current_num_threads()).max(1)
}

fn check_finite(
    model: &Model,
    block: &Block,
    stage: usize,
    moments: &Moments,
) -> Result<(), CalibrateError> {
    if moments.mean_square.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    let layer = model.layers()[block.stages()[stage].layers[0]].name.clone();
    Err(CalibrateError::NonFinite { layer })
}

type StageInputs = (Vec<f32>, Option<Vec<f32>>);

fn batch_inputs(
    stage: usize,
    sides: Sides<'_>,
    range: std::ops::Range<usize>,
) -> Result<Vec<StageInputs>, CalibrateError> {
    let input =
        |(block, stream): (&Block, &Stream), sequence| -> Result<Vec<f32>, CalibrateError> {
            let input = block.stage_input(stage, &stream.hidden(sequence)?, stream.context())?;
            Ok(values(&input)?)
        };
    range
        .into_par_iter()
        .map(|sequence| {
            let seen = input(sides.seen, sequence)?;
            let original = sides
                .original
                .map(|side| input(side, sequence))
                .transpose()?;
            Ok((seen, original))
        })
        .collect()
}
