//! Texts that a student writes on its way: greedily, from a prompt that whoever watches names.
//!
//! Stands between the loop and its observer and changes neither; the variables are read, never written. Every token takes
//! all tokens before it through the network again: texts are short, and nothing has to be kept for them.

use crate::corpus::Tokenizer;
use crate::model::Model;
use crate::monitor::Monitor;
use crate::recipe::StateStorage;
use crate::report::{Notice, Observer};
use crate::train::{Batch, Learner, Network, Objective, Part, TrainError};
use std::sync::Mutex;

/// New tokens of a text.
const NEW_TOKENS: usize = 32;

/// Most tokens of the prompt; its end counts.
const PROMPT_TOKENS: usize = 64;

/// Whoever watches, with the student that can be asked to write.
pub(super) struct Samples<'a> {
    pub(super) observer: &'a dyn Observer,
    pub(super) model: &'a Model,
    pub(super) learner: &'a dyn Learner,
    /// `None` = the model has none, and nothing is written.
    pub(super) tokenizer: Option<Tokenizer>,
}

impl Samples<'_> {
    fn write(&self, tokenizer: &Tokenizer, prompt: &str) -> Result<String, TrainError> {
        let misuse = |error: crate::corpus::CorpusError| TrainError::misuse(error.to_string());
        let mut ids = tokenizer.encode(prompt).map_err(misuse)?;
        ids.drain(..ids.len().saturating_sub(PROMPT_TOKENS));
        let begin = ids.len();
        let most = self.model.config().context_length.min(begin + NEW_TOKENS);
        let network = Network::new(self.model, self.learner, StateStorage::F32);
        while begin > 0 && ids.len() < most {
            let greedy = Greedy::default();
            network.loss(&Batch::new(vec![ids.clone()]), &greedy, self)?;
            match greedy.best() {
                Some(id) => ids.push(id),
                None => break,
            }
        }
        tokenizer.decode(&ids).map_err(misuse)
    }
}

impl Monitor for Samples<'_> {
    fn step(&self, done: u64, total: u64) {
        self.observer.step(done, total);
    }

    fn should_stop(&self) -> bool {
        self.observer.should_stop()
    }
}

impl Observer for Samples<'_> {
    fn notice(&self, notice: Notice<'_>) {
        let step = match &notice {
            Notice::Training(point) => Some(point.step),
            _ => None,
        };
        self.observer.notice(notice);
        let prompt = step.and_then(|step| Some((step, self.observer.prompt(step)?)));
        let (Some(tokenizer), Some((step, prompt))) = (&self.tokenizer, prompt) else {
            return;
        };
        if self.model.is_encoder() {
            return;
        }
        match self.write(tokenizer, &prompt) {
            Ok(text) => self.observer.notice(Notice::Sample { step, text: &text }),
            // The loop is told of the stop by itself.
            Err(TrainError::Stopped(_)) => {}
            Err(error) => {
                let text = format!("no sample could be written: {error}");
                self.observer.notice(Notice::Warning(&text));
            }
        }
    }
}

/// Looks for the likeliest token after the last position.
#[derive(Default)]
struct Greedy {
    /// The last position seen so far and its likeliest token.
    best: Mutex<Option<(usize, u32)>>,
}

impl Greedy {
    fn best(&self) -> Option<u32> {
        self.best
            .lock()
            .ok()
            .and_then(|best| best.map(|(_, id)| id))
    }
}

impl Objective for Greedy {
    fn judge(&self, part: Part, outputs: &mut [f32], width: usize) -> Result<f64, TrainError> {
        let last = part.start + part.count;
        let logits = outputs.rchunks(width.max(1)).next().unwrap_or_default();
        // Of equal ones the first: the same text each time.
        let likeliest = logits
            .iter()
            .enumerate()
            .filter(|(_, logit)| logit.is_finite())
            .max_by(|left, right| left.1.total_cmp(right.1).then(right.0.cmp(&left.0)));
        if let (Ok(mut best), Some((id, _))) = (self.best.lock(), likeliest)
            && best.is_none_or(|(position, _)| position < last)
        {
            *best = Some((last, id as u32));
        }
        Ok(0.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_last_position_decides_and_the_first_of_equals() {
        let greedy = Greedy::default();
        let part = |start, count| Part {
            sequence: 0,
            start,
            count,
        };
        assert_eq!(greedy.best(), None);
        let mut late = [9.0, 0.0, 0.0, 1.0, 2.0, 2.0];
        greedy.judge(part(4, 2), &mut late, 3).unwrap();
        assert_eq!(greedy.best(), Some(1));
        greedy.judge(part(0, 2), &mut [0.0, 0.0, 5.0], 3).unwrap();
        assert_eq!(greedy.best(), Some(1), "an earlier part changes nothing");
        let mut wild = [f32::NAN, 0.5, f32::INFINITY];
        greedy.judge(part(6, 1), &mut wild, 3).unwrap();
        assert_eq!(greedy.best(), Some(1), "what is no number is not chosen");
    }
}
