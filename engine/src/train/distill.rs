//! The losses of distillation as a run's judge: next tokens, teachers' distributions, sentence embeddings, states.
//!
//! Knows no optimizer and no text.

use super::batch::Batch;
use super::error::TrainError;
use super::learner::Variable;
use super::loss::{Distribution, Taught, cosine_distance, cross_entropy, divergence, mean_square};
use super::matching::Matching;
use super::memo::{Likeliest, Memo, Told};
use super::objective::{Objective, Part, StateLoss};
use super::run::Judge;
use super::teacher::{Kept, Lesson, Teachers};
use crate::report::Observer;
use crate::score::Pooling;
use candle_core::Tensor;

/// How a decoder is taught.
#[allow(missing_debug_implementations)]
pub struct Tokens<'a> {
    /// `None`: the text's own tokens are all there is to learn.
    pub teachers: Option<&'a Teachers>,
    /// Of teacher and student in the divergence.
    pub temperature: f64,
    /// Share of the text's own tokens in the loss.
    pub hard: f64,
    /// States matched on the way; `None` = none.
    pub matching: Option<Matching>,
    /// Likeliest tokens of a teachers' distribution that are told apart, all others being one event; 0 = all of them.
    pub top: usize,
    /// The teachers' distributions as they were kept, `top` tokens of each; `None` = teachers run in each step, which
    /// teaches the same.
    pub memo: Option<Memo>,
}

/// How an encoder is taught: its sentence embeddings are to be the teachers'.
#[allow(missing_debug_implementations)]
pub struct Embeddings<'a> {
    /// One or more, averaged by weight.
    pub teachers: &'a Teachers,
    /// How each teacher's tokens become one vector.
    pub taught: Vec<Pooling>,
    /// How the student's do.
    pub own: Pooling,
    /// States matched on the way; `None` = none.
    pub matching: Option<Matching>,
}

/// Where the distributions of a part come from.
enum Source<'a> {
    /// The text alone.
    Text,
    /// Teachers that run.
    Live(Vec<Live>),
    Memo(Told<'a>),
}

/// What teachers that run say of a position.
enum Live {
    Whole(Distribution),
    Top(Likeliest),
}

impl Live {
    fn taught(&self) -> Taught<'_> {
        match self {
            Self::Whole(distribution) => Taught::Whole(distribution),
            Self::Top(likeliest) => likeliest.taught(),
        }
    }
}

struct TokenLoss<'a> {
    judge: &'a Tokens<'a>,
    batch: &'a Batch,
    lesson: Option<Lesson<'a>>,
    /// One over the scored positions of the whole step.
    share: f64,
    /// One over the tokens of the whole step.
    token_share: f64,
}

impl Judge for Tokens<'_> {
    fn objective<'a>(
        &'a self,
        batch: &'a Batch,
        whole: &[Vec<u32>],
        observer: &dyn Observer,
    ) -> Result<Box<dyn Objective + 'a>, TrainError> {
        let knows = |memo: &Memo| {
            let mut sequences = batch.sequences().iter();
            sequences.all(|ids| memo.told(ids).is_some())
        };
        let needs_lesson = self.matching.is_some() || !self.memo.as_ref().is_some_and(knows);
        let lesson = match self.teachers {
            Some(teachers) if needs_lesson && (self.hard < 1.0 || self.matching.is_some()) => {
                let kept = kept(&self.matching);
                Some(match self.top {
                    0 => teachers.teach(batch, kept, observer)?,
                    // As a memo is filled.
                    _ => teachers.teach(&batch.clone().apart(), kept, observer)?,
                })
            }
            _ => None,
        };
        let scored: usize = whole.iter().map(|ids| ids.len().saturating_sub(1)).sum();
        let tokens: usize = whole.iter().map(Vec::len).sum();
        Ok(Box::new(TokenLoss {
            judge: self,
            batch,
            lesson,
            share: 1.0 / scored.max(1) as f64,
            token_share: 1.0 / tokens.max(1) as f64,
        }))
    }

    fn variables(&self) -> &[Variable] {
        self.matching.as_ref().map_or(&[], Matching::variables)
    }
}

impl TokenLoss<'_> {
    fn source(&self, part: Part) -> Result<Source<'_>, TrainError> {
        let (judge, sequence) = (self.judge, &self.batch.sequences()[part.sequence]);
        let told = judge.memo.as_ref().and_then(|memo| memo.told(sequence));
        Ok(match (told, &self.lesson) {
            _ if judge.hard >= 1.0 => Source::Text,
            (Some(told), _) => Source::Memo(told),
            (None, Some(lesson)) => {
                let live = lesson.distributions(part, judge.temperature)?.into_iter();
                let live = live.map(|distribution| match judge.top {
                    0 => Live::Whole(distribution),
                    top => Live::Top(Likeliest::of(&distribution, top)),
                });
                Source::Live(live.collect())
            }
            (None, None) => Source::Text,
        })
    }

    /// The loss of one row of logits that precede `target`, and its gradient. A teacher is heard over the first `common`
    /// tokens, the text over all.
    fn row(
        &self,
        logits: &[f32],
        target: u32,
        (taught, common): (Option<Taught<'_>>, usize),
        slope: &mut [f64],
    ) -> f64 {
        let Some(taught) = taught else {
            let own = Distribution::softmax(logits, 1.0);
            return self.share * cross_entropy(&own, target, self.share, slope);
        };
        let (hard, temperature) = (self.judge.hard, self.judge.temperature);
        let own = Distribution::softmax(&logits[..common], temperature);
        let soft = self.share * (1.0 - hard);
        let mut loss = soft * divergence(&own, taught, temperature, soft, &mut slope[..common]);
        if hard > 0.0 {
            let plain = match temperature == 1.0 && common == logits.len() {
                true => own,
                false => Distribution::softmax(logits, 1.0),
            };
            let hard = self.share * hard;
            loss += hard * cross_entropy(&plain, target, hard, slope);
        }
        loss
    }

    /// Tokens that the teachers and a student of `width` share.
    fn common(&self, width: usize) -> Result<usize, TrainError> {
        let common = self.judge.teachers.map_or(width, Teachers::vocabulary);
        match common <= width {
            true => Ok(common),
            false => Err(TrainError::misuse(format!(
                "teachers speak of {common} tokens, the student knows {width}; hear them within the student's"
            ))),
        }
    }
}

impl Objective for TokenLoss<'_> {
    fn judge(&self, part: Part, outputs: &mut [f32], width: usize) -> Result<f64, TrainError> {
        let sequence = &self.batch.sequences()[part.sequence];
        let (source, common) = (self.source(part)?, self.common(width)?);
        let absent = || TrainError::misuse("what was kept of the teachers lacks a position");
        let mut loss = 0.0;
        let mut slope = vec![0.0; width];
        for (offset, row) in outputs.chunks_exact_mut(width).enumerate() {
            slope.fill(0.0);
            let position = part.start + offset;
            // Nothing follows the last token.
            if let Some(&target) = sequence.get(position + 1) {
                let taught = match &source {
                    Source::Text => None,
                    Source::Live(live) => Some(live[offset].taught()),
                    Source::Memo(told) => Some(told.at(position).ok_or_else(absent)?),
                };
                loss += self.row(row, target, (taught, common), &mut slope);
            }
            let slots = row.iter_mut().zip(&slope);
            slots.for_each(|(slot, slope)| *slot = *slope as f32);
        }
        Ok(loss)
    }

    fn wants_attention(&self) -> bool {
        kept(&self.judge.matching).attention
    }

    fn judge_attention(
        &self,
        block: usize,
        members: &[usize],
        shares: &Tensor,
    ) -> Result<Option<Tensor>, TrainError> {
        match (&self.judge.matching, &self.lesson) {
            (Some(matching), Some(lesson)) => {
                matching.judge_attention(block, members, shares, lesson, self.token_share)
            }
            _ => Ok(None),
        }
    }

    fn judge_states(
        &self,
        block: usize,
        members: &[usize],
        states: &Tensor,
    ) -> Result<Option<StateLoss>, TrainError> {
        match (&self.judge.matching, &self.lesson) {
            (Some(matching), Some(lesson)) => {
                matching.judge(block, members, states, lesson, self.token_share)
            }
            _ => Ok(None),
        }
    }
}

/// What a teacher has to keep for what is matched.
fn kept(matching: &Option<Matching>) -> Kept {
    matching.as_ref().map_or(Kept::default(), Matching::kept)
}

struct EmbeddingLoss<'a> {
    judge: &'a Embeddings<'a>,
    lesson: Lesson<'a>,
    /// One over the sentences of the whole step.
    share: f64,
    /// One over the tokens of the whole step.
    token_share: f64,
}

impl Judge for Embeddings<'_> {
    fn objective<'a>(
        &'a self,
        batch: &'a Batch,
        whole: &[Vec<u32>],
        observer: &dyn Observer,
    ) -> Result<Box<dyn Objective + 'a>, TrainError> {
        let tokens: usize = whole.iter().map(Vec::len).sum();
        Ok(Box::new(EmbeddingLoss {
            judge: self,
            lesson: self.teachers.teach(batch, kept(&self.matching), observer)?,
            share: 1.0 / whole.len().max(1) as f64,
            token_share: 1.0 / tokens.max(1) as f64,
        }))
    }

    fn variables(&self) -> &[Variable] {
        self.matching.as_ref().map_or(&[], Matching::variables)
    }
}

impl Objective for EmbeddingLoss<'_> {
    fn judge(&self, part: Part, outputs: &mut [f32], width: usize) -> Result<f64, TrainError> {
        let mut taught: Vec<f32> = Vec::new();
        let outputs_of_teachers = self.lesson.all_outputs(part.sequence)?.into_iter();
        for ((weight, states, width), pooling) in outputs_of_teachers.zip(&self.judge.taught) {
            let pooled = pooling.pool(&states, width);
            taught.resize(pooled.len(), 0.0);
            let slots = taught.iter_mut().zip(pooled);
            slots.for_each(|(slot, value)| *slot += weight as f32 * value);
        }
        let own = self.judge.own.pool_unscaled(outputs, width);
        let mut slope = vec![0.0; own.len()];
        if taught.len() != own.len() {
            return Err(TrainError::misuse(format!(
                "the student's embeddings have {} values and the teacher's {}; use a student of the teacher's width (depth: only)",
                own.len(),
                taught.len()
            )));
        }
        let loss = match self.judge.own.normalize {
            true => cosine_distance(&own, &taught, self.share, &mut slope),
            // Lengths matter where embeddings keep theirs.
            false => {
                cosine_distance(&own, &taught, self.share, &mut slope)
                    + mean_square(&own, &taught, self.share, &mut slope)
            }
        };
        let slope: Vec<f32> = slope.into_iter().map(|value| value as f32).collect();
        let at_states = self.judge.own.pull_back(outputs, width, &slope);
        outputs.copy_from_slice(&at_states);
        Ok(self.share * loss)
    }

    fn wants_whole_sequences(&self) -> bool {
        true
    }

    fn wants_attention(&self) -> bool {
        kept(&self.judge.matching).attention
    }

    fn judge_attention(
        &self,
        block: usize,
        members: &[usize],
        shares: &Tensor,
    ) -> Result<Option<Tensor>, TrainError> {
        match (&self.judge.matching, Some(&self.lesson)) {
            (Some(matching), Some(lesson)) => {
                matching.judge_attention(block, members, shares, lesson, self.token_share)
            }
            _ => Ok(None),
        }
    }

    fn judge_states(
        &self,
        block: usize,
        members: &[usize],
        states: &Tensor,
    ) -> Result<Option<StateLoss>, TrainError> {
        match &self.judge.matching {
            Some(matching) => {
                matching.judge(block, members, states, &self.lesson, self.token_share)
            }
            None => Ok(None),
        }
    }
}
