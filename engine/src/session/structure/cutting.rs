//! Block by block: what heads and neurons see is gathered from the network as already cut so far, the weakest go, the
//! layer that read them is fitted to the rest, and the block as cut makes the inputs of the next.
//!
//! While it is measured, a block keeps its width: columns of what goes are zero, which is the smaller block's
//! arithmetic. Values are rounded to the source's dtype before anything sees them.

use super::super::{Session, SessionError};
use super::files::Writer;
use super::plan::SmallerPlan;
use crate::calibrate::{GatherPlan, Sides, Stream, gather_stage};
use crate::distortion::relative_output_error;
use crate::formats::emit::{rounded, to_bytes};
use crate::model::{Block, KeptParts, Model};
use crate::moments::Moments;
use crate::recipe::{BlockChoice, Recipe};
use crate::report::{BlockCut, BlockSimilarity, Notice, Observer, PartCut, StructureReport};
use crate::tensor::Matrix;
use crate::transform::structure::{
    Cut, CutSource, columns_of, group_scores, keep_best, least_similar, masked, neuron_scores,
    repair,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Stages whose inputs are what heads and what neurons make.
const HEADS_STAGE: usize = 1;
const NEURONS_STAGE: usize = 3;

/// Tensors of one block that are not as in the source.
type Changed = BTreeMap<String, Vec<u8>>;

impl Session {
    /// Makes the smaller model in `folder`.
    pub(super) fn make_smaller(
        &self,
        recipe: &Recipe,
        plan: &SmallerPlan,
        sequences: &[Vec<u32>],
        folder: &Path,
        observer: &dyn Observer,
    ) -> Result<StructureReport, SessionError> {
        let started = Instant::now();
        let model = self.model()?;
        let blocks = plan.sizes.blocks.clone();
        let mut writer = Writer::begin(folder, blocks.len() + 1)?;
        let whole = Cut {
            parts: vec![model.config().all_parts(); blocks.len()],
            blocks: blocks.clone(),
            tokens: plan.tokens.as_ref().map(super::tokens::TokenPlan::rows),
        };
        let mut cutting = Cutting {
            session: self,
            recipe,
            plan,
            cut: whole,
            cuts: Vec::new(),
            observer,
        };
        cutting.go_through(sequences, folder, &mut writer)?;
        let report = StructureReport {
            plan: plan.sizes_before_and_after(self)?,
            removed_blocks: (0..model.config().blocks)
                .filter(|block| !blocks.contains(block))
                .collect(),
            similarity: plan.similarity.clone(),
            cuts: cutting.cuts,
            vocabulary: plan.tokens.as_ref().map(|tokens| tokens.report),
            seconds: started.elapsed().as_secs_f64(),
        };
        writer.finish(plan, &report)?;
        Ok(report)
    }

    /// `recipe` with the numbers of the blocks that go where it says how many, and the similarities that decided.
    pub(super) fn with_named_blocks(
        &self,
        recipe: &Recipe,
        sequences: &[Vec<u32>],
        observer: &dyn Observer,
    ) -> Result<(Recipe, Vec<BlockSimilarity>), SessionError> {
        let BlockChoice::Count(removed @ 1..) = recipe.structure.blocks else {
            return Ok((recipe.clone(), Vec::new()));
        };
        let similarity = self.similarity_on(sequences, observer)?;
        let values: Vec<f64> = similarity.iter().map(|block| block.similarity).collect();
        let kept = least_similar(&values, removed);
        let gone = (0..values.len()).filter(|block| !kept.contains(block));
        let mut recipe = recipe.clone();
        recipe.structure.blocks = BlockChoice::These(gone.collect());
        Ok((recipe, similarity))
    }
}

/// One making of a smaller model.
struct Cutting<'a> {
    session: &'a Session,
    recipe: &'a Recipe,
    plan: &'a SmallerPlan,
    cut: Cut,
    cuts: Vec<BlockCut>,
    observer: &'a dyn Observer,
}

impl Cutting<'_> {
    fn go_through(
        &mut self,
        sequences: &[Vec<u32>],
        folder: &Path,
        writer: &mut Writer,
    ) -> Result<(), SessionError> {
        let original = self.session.model()?;
        let count = self.cut.blocks.len();
        let measures = self.cuts_heads(original) || self.cuts_neurons(original);
        let fewer_blocks = self.fewer_blocks(original)?;
        let policy = self.session.spill_policy(folder.parent().unwrap_or(folder));
        self.observer.notice(Notice::Stage {
            name: "making the smaller model",
            steps: count as u64 + 1,
        });
        let stream = match measures {
            true => {
                let ends = fewer_blocks.load_ends()?;
                let embed = Stream::embed(&fewer_blocks, &ends, sequences, &policy, self.observer);
                Some(embed?)
            }
            false => None,
        };
        for place in 0..count {
            self.observer.check()?;
            let changed = match &stream {
                Some(stream) => self.cut_block(&fewer_blocks, place, stream)?,
                None => Changed::new(),
            };
            let source = CutSource::new(original, &self.cut);
            writer.write_part(&source, Some(place), &changed)?;
            self.observer.step(place as u64 + 1, count as u64 + 1);
        }
        let source = CutSource::new(original, &self.cut);
        writer.write_part(&source, None, &Changed::new())?;
        self.observer.step(count as u64 + 1, count as u64 + 1);
        Ok(())
    }

    fn cuts_heads(&self, original: &Model) -> bool {
        self.plan.sizes.groups < original.config().head_groups()
    }

    fn cuts_neurons(&self, original: &Model) -> bool {
        self.plan.sizes.neurons < original.config().intermediate
    }

    /// The network without the blocks that go, and with all else.
    fn fewer_blocks(&self, original: &Model) -> Result<Model, SessionError> {
        let cut = Cut {
            tokens: None,
            ..self.cut.clone()
        };
        let mut sizes = original.config().sizes();
        sizes.blocks.clone_from(&cut.blocks);
        let json = self.session.checkpoint.config_json();
        let json = json.cloned().unwrap_or_default();
        let (config, _) = original.config().smaller_json(&json, &sizes)?;
        let source = Arc::new(CutSource::new(original, &cut));
        Ok(Model::open(source, &config)?)
    }

    /// Cuts one block, moves `stream` on through what is left of it, and returns the tensors that changed.
    fn cut_block(
        &mut self,
        model: &Model,
        place: usize,
        stream: &Stream,
    ) -> Result<Changed, SessionError> {
        let config = model.config();
        let mut block = model.load_block(place)?;
        let mut changed = Changed::new();
        let mut parts = config.all_parts();
        let mut found = BlockCut {
            block: self.cut.blocks[place],
            heads: None,
            neurons: None,
        };
        if self.cuts_heads(model) {
            let (layer, moments) = self.inputs(model, &block, HEADS_STAGE, stream)?;
            let scores = group_scores(&block.weights(layer)?, &moments, config);
            parts.groups = keep_best(&scores, self.plan.sizes.groups);
            let channels = parts
                .groups
                .iter()
                .flat_map(|&group| config.group_channels(group));
            let channels: Vec<usize> = channels.collect();
            let errors = self.fit(
                model,
                &mut block,
                (layer, &channels),
                &moments,
                &mut changed,
            )?;
            found.heads = Some(part_cut(&parts.groups, &scores, errors));
        }
        if self.cuts_neurons(model) {
            let (layer, moments) = self.inputs(model, &block, NEURONS_STAGE, stream)?;
            let scores = neuron_scores(&block.weights(layer)?, &moments);
            parts.neurons = keep_best(&scores, self.plan.sizes.neurons);
            let neurons = &parts.neurons;
            let errors = self.fit(model, &mut block, (layer, neurons), &moments, &mut changed)?;
            found.neurons = Some(part_cut(&parts.neurons, &scores, errors));
        }
        stream.advance(&block, self.observer)?;
        self.keep(place, parts);
        self.cuts.push(found);
        Ok(changed)
    }

    fn keep(&mut self, place: usize, parts: KeptParts) {
        self.cut.parts[place] = parts;
    }

    /// The layer of a stage, and moments of its input.
    fn inputs(
        &self,
        model: &Model,
        block: &Block,
        stage: usize,
        stream: &Stream,
    ) -> Result<(usize, Moments), SessionError> {
        let layer = block.stages()[stage].layers[0];
        let sides = Sides {
            seen: (block, stream),
            original: None,
        };
        let plan = GatherPlan {
            held_out_sequences: 0,
        };
        let gathered = gather_stage(model, stage, sides, plan, self.observer)?;
        Ok((layer, gathered.moments))
    }

    /// Leaves `layer` the inputs `kept`, fitted where the recipe says so; returns the errors before and after.
    fn fit(
        &self,
        model: &Model,
        block: &mut Block,
        (layer, kept): (usize, &[usize]),
        moments: &Moments,
        changed: &mut Changed,
    ) -> Result<(f64, Option<f64>), SessionError> {
        let info = &model.layers()[layer];
        let weights = block.weights(layer)?;
        let cut = columns_of(&weights, kept);
        let error = |cut: &Matrix| {
            let whole = masked(cut, kept, weights.columns());
            relative_output_error(&weights, &whole, &moments.gram).unwrap_or(0.0)
        };
        let error_cut = error(&cut);
        if !self.recipe.structure.repair {
            block.set_weights(layer, &masked(&cut, kept, weights.columns()))?;
            return Ok((error_cut, None));
        }
        let damping = self.recipe.default.damping;
        let fitted = repair(&weights, &moments.gram, kept, damping, self.observer)?;
        let values = rounded(fitted.data(), info.dtype);
        let fitted = Matrix::new(fitted.rows(), fitted.columns(), values);
        block.set_weights(layer, &masked(&fitted, kept, weights.columns()))?;
        let error_repaired = error(&fitted);
        let stored = match info.transposed {
            true => fitted.transposed(),
            false => fitted,
        };
        changed.insert(info.tensor.clone(), to_bytes(stored.data(), info.dtype));
        Ok((error_cut, Some(error_repaired)))
    }
}

fn part_cut(kept: &[usize], scores: &[f64], (cut, repaired): (f64, Option<f64>)) -> PartCut {
    let removed: Vec<usize> = (0..scores.len())
        .filter(|index| kept.binary_search(index).is_err())
        .collect();
    let all: f64 = scores.iter().sum();
    let lost: f64 = removed.iter().map(|&index| scores[index]).sum();
    PartCut {
        removed,
        removed_score_share: if all > 0.0 { lost / all } else { 0.0 },
        relative_error_cut: cut,
        relative_error_repaired: repaired,
    }
}
