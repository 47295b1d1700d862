//! The losses of distillation as a run's judge: next tokens, teachers' distributions, sentence embeddings, states.
//!
//! Knows no optimizer and no text.

use super::batch::Batch;
use super::error::TrainError;
use super::learner::Variable;
use super::loss::{Distribution, Taught, cosine_distance, cross_entropy, divergence, mean_square};
use super::matching::Matching;
use super::memo::Memo;
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
    /// The teachers' distributions as they were kept; `None` = teachers run in each step.
    pub memo: Option<Memo>,
}

/// How an encoder is taught: its sentence embeddings are to be the teachers'.
#[allow(missing_debug_implementations)]
pub struct Embeddings<'a> {
    /// One or more, averaged by weight.
    pub teachers: &'a Teachers,
    /// How the teachers' tokens become one vector.
    pub taught: Pooling,
    /// How the student's do.
    pub own: Pooling,
    /// States matched on the way; `None` = none.
    pub matching: Option<Matching>,
}

/// Where a position's distribution comes from.
enum Source<'a> {
    /// The text alone.
    Text,
    Lesson(&'a Lesson<'a>),
    Memo(&'a Memo),
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
        let knows = |memo: &Memo| batch.sequences().iter().all(|ids| memo.holds(ids));
        let needs_lesson = self.matching.is_some() || !self.memo.as_ref().is_some_and(knows);
        let lesson = match self.teachers {
            Some(teachers) if needs_lesson && (self.hard < 1.0 || self.matching.is_some()) => {
                Some(teachers.teach(batch, kept(&self.matching), observer)?)
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
    fn source(&self, sequence: &[u32]) -> Source<'_> {
        let memo = self.judge.memo.as_ref().filter(|memo| memo.holds(sequence));
        match (memo, &self.lesson) {
            _ if self.judge.hard >= 1.0 => Source::Text,
            (Some(memo), _) => Source::Memo(memo),
            (None, Some(lesson)) => Source::Lesson(lesson),
            (None, None) => Source::Text,
        }
    }

    /// The loss of one row of logits that precede `target`, and its gradient.
    fn row(
        &self,
        logits: &[f32],
        target: u32,
        taught: Option<Taught<'_>>,
        slope: &mut [f64],
    ) -> f64 {
        let Some(taught) = taught else {
            let own = Distribution::softmax(logits, 1.0);
            return self.share * cross_entropy(&own, target, self.share, slope);
        };
        let (hard, temperature) = (self.judge.hard, self.judge.temperature);
        let own = Distribution::softmax(logits, temperature);
        let soft = self.share * (1.0 - hard);
        let mut loss = soft * divergence(&own, taught, temperature, soft, slope);
        if hard > 0.0 {
            let plain = match temperature {
                1.0 => own,
                _ => Distribution::softmax(logits, 1.0),
            };
            let hard = self.share * hard;
            loss += hard * cross_entropy(&plain, target, hard, slope);
        }
        loss
    }
}

impl Objective for TokenLoss<'_> {
    fn judge(&self, part: Part, outputs: &mut [f32], width: usize) -> Result<f64, TrainError> {
        let sequence = &self.batch.sequences()[part.sequence];
        let source = self.source(sequence);
        let lesson = match &source {
            Source::Lesson(lesson) => lesson.distributions(part, self.judge.temperature)?,
            _ => Vec::new(),
        };
        let mut loss = 0.0;
        let mut slope = vec![0.0; width];
        for (offset, row) in outputs.chunks_exact_mut(width).enumerate() {
            slope.fill(0.0);
            let position = part.start + offset;
            // Nothing follows the last token.
            if let Some(&target) = sequence.get(position + 1) {
                let taught = match &source {
                    Source::Text => None,
                    Source::Lesson(_) => Some(Taught::Whole(&lesson[offset])),
                    Source::Memo(memo) => memo.at(sequence, position),
                };
                loss += self.row(row, target, taught, &mut slope);
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
        for (weight, states, width) in self.lesson.all_outputs(part.sequence)? {
            let pooled = self.judge.taught.pool(&states, width);
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
