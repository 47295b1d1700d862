//! How much memory a training run takes, from shapes alone: stated before the start, and refused where it is too much.
//!
//! An estimate of what is held at once; it decides whether teachers stay in memory, never a result.

use crate::model::{LayerInfo, LayerKind, Model, ModelConfig};
use crate::recipe::{StateStorage, TrainSettings};
use crate::train::positions_at_once;

/// Bytes of one value.
pub(super) const VALUE_BYTES: u64 = 4;

/// Tokens of a unit that one thread takes through a block.
const UNIT_TOKENS: u64 = 512;

/// Tensors as wide as the residual stream, the feed-forward part and the scores that a block's graph holds for a token,
/// with the gradients on the way back.
const HIDDEN_COPIES: u64 = 24;
const INTERMEDIATE_COPIES: u64 = 10;
const SCORE_COPIES: u64 = 6;

/// Buffers of logits that a thread holds on the way back, f64 ones counted twice.
const LOGIT_COPIES: u64 = 8;

/// What a run holds at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TrainMemory {
    /// The student and all that training needs.
    pub(super) student: u64,
    /// Teachers whole in memory.
    pub(super) teachers: u64,
    /// Teachers read block by block.
    pub(super) teachers_by_block: u64,
    /// What teachers have said, where it is kept.
    pub(super) memo: u64,
    /// Weights of the student.
    pub(super) parameters: u64,
}

impl TrainMemory {
    /// At the peak, teachers whole in memory.
    pub(super) fn resident(&self) -> u64 {
        self.student + self.teachers + self.memo
    }

    /// At the peak, teachers read block by block.
    pub(super) fn by_block(&self) -> u64 {
        self.student + self.teachers_by_block + self.memo
    }

    /// For a dense student. `longest`: tokens of the longest sequence.
    pub(super) fn of(
        student: &Model,
        teachers: &[&Model],
        settings: &TrainSettings,
        longest: usize,
        threads: usize,
    ) -> Self {
        Self::of_config(student.config(), teachers, settings, longest, threads)
    }

    /// The same of a student that is not there yet.
    pub(super) fn of_config(
        config: &ModelConfig,
        teachers: &[&Model],
        settings: &TrainSettings,
        longest: usize,
        threads: usize,
    ) -> Self {
        let at_once = match settings.micro_batch {
            0 => settings.batch,
            some => some.min(settings.batch),
        };
        let tokens = (at_once * longest) as u64;
        let tensors = config.tensors();
        let weights = |counts: &dyn Fn(Option<usize>) -> bool| -> u64 {
            let tensors = tensors.iter().filter(|tensor| counts(tensor.block));
            tensors
                .map(|tensor| tensor.shape.iter().product::<usize>() as u64)
                .sum()
        };
        let parameters = weights(&|_| true);
        let copies = copies(settings);
        let kept_bytes = match settings.states {
            StateStorage::F32 => VALUE_BYTES,
            StateStorage::Bf16 => 2,
        };
        let states =
            tokens * config.hidden as u64 * (config.blocks as u64 * kept_bytes + 3 * VALUE_BYTES);
        // The part whose gradients a thread holds: the ends, or the largest block.
        let blocks = (0..config.blocks).map(|index| weights(&|block| block == Some(index)));
        let part = blocks
            .max()
            .unwrap_or(0)
            .max(weights(&|block| block.is_none()));
        let lanes = threads.max(1) as u64;
        let working = working_bytes(config, longest as u64) + 2 * part * VALUE_BYTES;
        let deep = settings.hidden + settings.attention > 0.0;
        let depths = match deep {
            true => teachers
                .first()
                .map_or(0, |teacher| teacher.config().blocks as u64),
            false => 0,
        };
        // Where each token looks, at every other.
        let maps = match settings.attention > 0.0 {
            true => tokens * longest as u64 * depths * VALUE_BYTES,
            false => 0,
        };
        let teacher_states =
            |teacher: &&Model| tokens * teacher.config().hidden as u64 * VALUE_BYTES * (2 + depths);
        let resident = |model: &Model, counts: &dyn Fn(Option<usize>) -> bool| -> u64 {
            let layers = model.layers().iter();
            let layers = layers.filter(|layer| counts(layer.block));
            layers.map(|layer| model.resident_bytes(layer)).sum()
        };
        let whole = teachers.iter().map(|teacher| resident(teacher, &|_| true));
        let by_block = teachers.iter().map(|teacher| {
            resident(teacher, &|block| block.is_none())
                + resident(teacher, &|block| block == Some(0))
        });
        let taught: u64 = maps + teachers.iter().map(teacher_states).sum::<u64>();
        Self {
            student: parameters * VALUE_BYTES * copies + states + lanes * working,
            teachers: whole.sum::<u64>() + taught,
            teachers_by_block: by_block.sum::<u64>() + taught,
            memo: 0,
            parameters,
        }
    }
}

/// What is held of each trained value: itself, its gradient, two means; the best so far.
pub(super) fn copies(settings: &TrainSettings) -> u64 {
    4 + u64::from(settings.held_out > 0)
}

fn parameters(model: &Model, counts: impl Fn(Option<usize>) -> bool) -> u64 {
    let layers = model.layers().iter();
    let layers = layers.filter(|layer| counts(layer.block));
    layers.map(|layer| layer.parameters).sum()
}

fn working_bytes(config: &ModelConfig, longest: u64) -> u64 {
    let for_each_token = HIDDEN_COPIES * config.hidden as u64
        + INTERMEDIATE_COPIES * config.intermediate as u64
        + SCORE_COPIES * config.heads as u64 * longest;
    let positions = positions_at_once(config.vocabulary).min(longest as usize);
    let logits = (positions * config.vocabulary) as u64;
    (UNIT_TOKENS.max(longest) * for_each_token + LOGIT_COPIES * logits) * VALUE_BYTES
}

/// Floating point operations in the matrix products of one step: forth, forth again (checkpointing) and back for the
/// student, forth for the teachers that run. Attention's own products are counted too.
pub(super) fn step_operations(
    student: &Model,
    teachers: &[&Model],
    sequences: usize,
    length: usize,
) -> f64 {
    let forth = |model: &Model| {
        let config = model.config();
        // Rows are looked up; a tied table multiplies too, as the head.
        let is_looked_up = |layer: &&LayerInfo| {
            layer.kind == LayerKind::Embedding && (model.is_encoder() || !config.tied)
        };
        let tables = model.layers().iter().filter(is_looked_up);
        let embeddings: u64 = tables.map(|layer| layer.parameters).sum();
        let multiplied = parameters(model, |_| true).saturating_sub(embeddings) as f64;
        let width = (config.heads * config.head_dim) as f64;
        let attention = 2.0 * length as f64 * width * config.blocks as f64;
        2.0 * (multiplied + attention) * (sequences * length) as f64
    };
    4.0 * forth(student) + teachers.iter().map(|teacher| forth(teacher)).sum::<f64>()
}
