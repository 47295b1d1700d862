//! The loop: batches to gradients to steps, until the steps are done or the held-out loss falls no more.
//!
//! A step without a finite loss or gradient changes nothing and is counted; too many in a row end the run. What a step
//! does depends on its number and the variables alone, so that a run stopped anywhere goes on with the same bytes.
//! Knows no teacher, text or folder of a model.

use super::batch::Batch;
use super::batches::Batches;
use super::curve::Progressed;
use super::error::TrainError;
use super::gradients::Gradients;
use super::learner::{Learner, Variable};
use super::objective::Objective;
use super::optimizer::{Optimizer, Rule};
use super::pass::Network;
use super::schedule::RateSchedule;
use super::state::{RunState, load, save, set_values, values_of};
use crate::model::Model;
use crate::recipe::{OptimizerKind, TrainSettings};
use crate::report::{Notice, Observer, TrainPoint};
use std::path::Path;
use std::time::Instant;

/// Gives the loss of a batch.
pub trait Judge: Sync {
    /// The loss of `batch`, that of `whole` sequences as the mean over them all: a batch may be a part of a step's.
    fn objective<'a>(
        &'a self,
        batch: &'a Batch,
        whole: &[Vec<u32>],
        observer: &dyn Observer,
    ) -> Result<Box<dyn Objective + 'a>, TrainError>;

    /// Variables of the loss itself, trained with the learner's.
    fn variables(&self) -> &[Variable] {
        &[]
    }
}

/// One run.
#[allow(missing_debug_implementations)]
pub struct Training<'a> {
    /// The student's shape.
    pub model: &'a Model,
    /// What is trained.
    pub learner: &'a dyn Learner,
    /// What is lost.
    pub judge: &'a dyn Judge,
    /// What is seen.
    pub batches: &'a Batches,
    /// How.
    pub settings: &'a TrainSettings,
    /// Where the run's state is stored; `None` = nowhere.
    pub folder: Option<&'a Path>,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Its course.
    pub progressed: Progressed,
    /// Seconds inside training steps of this process.
    pub step_seconds: f64,
    /// Steps that these are of.
    pub timed_steps: u64,
    /// Tokens that these steps saw.
    pub timed_tokens: u64,
}

impl Training<'_> {
    /// Trains, from the stored state on where there is one, and leaves the learner at its best variables: those of the
    /// lowest held-out loss, or the last ones where nothing is held out. The state is stored at the end and at a stop.
    pub fn run(&self, observer: &dyn Observer) -> Result<Outcome, TrainError> {
        let variables = self.variables();
        let mut state = self.start(&variables)?;
        observer.notice(Notice::Stage {
            name: "training",
            steps: self.settings.steps,
        });
        let mut outcome = Outcome {
            progressed: Progressed::default(),
            step_seconds: 0.0,
            timed_steps: 0,
            timed_tokens: 0,
        };
        let ended = self.steps(&variables, &mut state, &mut outcome, observer);
        // Whole too: who is stopped while the result is measured need not train again.
        if let (Ok(()) | Err(TrainError::Stopped(_)), Some(folder)) = (&ended, self.folder) {
            save(folder, &variables, &state)?;
        }
        ended?;
        if let Some(best) = &state.best {
            set_values(&variables, best)?;
        }
        outcome.progressed = state.progressed;
        Ok(outcome)
    }

    /// All variables: the learner's, then the loss's own.
    fn variables(&self) -> Vec<Variable> {
        let all = self
            .learner
            .variables()
            .iter()
            .chain(self.judge.variables());
        all.cloned().collect()
    }

    fn start(&self, variables: &[Variable]) -> Result<RunState, TrainError> {
        let optimizer = Optimizer::new(rule(self.settings), variables.len());
        let stored = match self.folder {
            Some(folder) => load(folder, variables, optimizer.clone())?,
            None => None,
        };
        if let Some(stored) = &stored {
            self.learner.resume(stored.progressed.step)?;
        }
        Ok(stored.unwrap_or(RunState {
            progressed: Progressed::begun(),
            optimizer,
            best: None,
        }))
    }

    fn steps(
        &self,
        variables: &[Variable],
        state: &mut RunState,
        outcome: &mut Outcome,
        observer: &dyn Observer,
    ) -> Result<(), TrainError> {
        let held_out = self.batches.held_out();
        self.finish_step(variables, state, &held_out, observer)?;
        while state.progressed.step < self.settings.steps && !state.progressed.ended_early {
            observer.check()?;
            let began = Instant::now();
            let (point, tokens) = self.step(variables, state, observer)?;
            let seconds = began.elapsed().as_secs_f64();
            outcome.step_seconds += seconds;
            outcome.timed_steps += 1;
            outcome.timed_tokens += tokens as u64;
            let left = (self.settings.steps - point.step) as f64;
            // From here on the step counts; a stop below comes after it.
            state.progressed.step = point.step;
            state.progressed.pending = Some(TrainPoint {
                tokens_per_second: tokens as f64 / seconds.max(1e-9),
                seconds_left: left * outcome.step_seconds / outcome.timed_steps as f64,
                ..point
            });
            self.finish_step(variables, state, &held_out, observer)?;
        }
        Ok(())
    }

    /// Looks at the held-out sequences where it is time, takes the step's point up and tells it.
    fn finish_step(
        &self,
        variables: &[Variable],
        state: &mut RunState,
        held_out: &[Batch],
        observer: &dyn Observer,
    ) -> Result<(), TrainError> {
        let Some(mut point) = state.progressed.pending else {
            return Ok(());
        };
        let (step, every) = (point.step, self.settings.check_every);
        let is_due = every > 0 && step.is_multiple_of(every);
        if step == 0 || step == self.settings.steps || is_due {
            point.held_out = self.look(held_out, observer)?;
        }
        if step == 0 {
            state.progressed.held_out_first = point.held_out;
        }
        state.progressed.pending = None;
        self.note(variables, state, point)?;
        observer.notice(Notice::Training(&point));
        observer.step(step, self.settings.steps);
        self.save_if_due(variables, state)
    }

    /// One step, skipped where its loss or gradient is not finite.
    fn step(
        &self,
        variables: &[Variable],
        state: &mut RunState,
        observer: &dyn Observer,
    ) -> Result<(TrainPoint, usize), TrainError> {
        let step = state.progressed.step;
        let sequences = self.batches.sequences(step);
        let tokens = sequences.iter().map(Vec::len).sum();
        let mut gradients = Gradients::new(variables);
        let loss = self.gradients(sequences, &mut gradients, observer)?;
        let norm = gradients.norm()?;
        let rate = schedule(self.settings).rate(step);
        let is_finite = loss.is_finite() && norm.is_finite();
        if is_finite {
            let clip = self.settings.clip;
            let factor = if clip > 0.0 && norm > clip {
                clip / norm
            } else {
                1.0
            };
            state.optimizer.step(variables, &gradients, factor, rate)?;
        }
        // After a skipped step too: masks are due at step numbers, and a stored run knows no other count.
        self.learner.settle(step + 1)?;
        let progressed = &mut state.progressed;
        progressed.optimizer_steps = state.optimizer.state().0;
        if is_finite {
            progressed.skipped_in_a_row = 0;
            progressed.loss_last = Some(loss);
            if step == 0 {
                progressed.loss_first = Some(loss);
            }
        } else {
            progressed.skipped += 1;
            progressed.skipped_in_a_row += 1;
            if progressed.skipped_in_a_row >= self.settings.skip_limit {
                return Err(TrainError::NotFinite {
                    steps: progressed.skipped_in_a_row,
                    last: step + 1,
                });
            }
        }
        let point = TrainPoint {
            loss: is_finite.then_some(loss),
            rate,
            gradient_norm: norm.is_finite().then_some(norm),
            ..TrainPoint::before(step + 1)
        };
        Ok((point, tokens))
    }

    /// Loss and gradients of a step's sequences, as many in memory at once as the settings say.
    fn gradients(
        &self,
        sequences: Vec<Vec<u32>>,
        gradients: &mut Gradients,
        observer: &dyn Observer,
    ) -> Result<f64, TrainError> {
        let network = self.network();
        let mut loss = 0.0;
        for part in sequences.chunks(self.at_once(sequences.len())) {
            let batch = Batch::new(part.to_vec());
            let objective = self.judge.objective(&batch, &sequences, observer)?;
            loss += network.gradients(&batch, objective.as_ref(), gradients, observer)?;
        }
        Ok(loss)
    }

    /// Sequences in memory at once, of `all`.
    fn at_once(&self, all: usize) -> usize {
        match self.settings.micro_batch {
            0 => all.max(1),
            some => some,
        }
    }

    /// The mean loss of the held-out sequences; `None` where there are none.
    fn look(&self, held_out: &[Batch], observer: &dyn Observer) -> Result<Option<f64>, TrainError> {
        self.learner.rest(true);
        let looked = self.held_out_loss(held_out, observer);
        self.learner.rest(false);
        looked
    }

    fn held_out_loss(
        &self,
        held_out: &[Batch],
        observer: &dyn Observer,
    ) -> Result<Option<f64>, TrainError> {
        let (mut loss, mut sequences) = (0.0, 0);
        for batch in held_out {
            let whole = batch.sequences();
            let mut mean = 0.0;
            for part in whole.chunks(self.at_once(whole.len())) {
                let part = Batch::new(part.to_vec());
                let objective = self.judge.objective(&part, whole, observer)?;
                mean += self.network().loss(&part, objective.as_ref(), observer)?;
            }
            loss += mean * whole.len() as f64;
            sequences += whole.len();
        }
        Ok((sequences > 0 && loss.is_finite()).then(|| loss / sequences as f64))
    }

    fn network(&self) -> Network<'_> {
        Network::new(self.model, self.learner, self.settings.states)
    }

    /// Takes a point up: the curve, the best variables, whether it is enough.
    fn note(
        &self,
        variables: &[Variable],
        state: &mut RunState,
        point: TrainPoint,
    ) -> Result<(), TrainError> {
        state.progressed.add(point);
        let Some(found) = point.held_out else {
            return Ok(());
        };
        if !self.learner.may_end(point.step) {
            return Ok(());
        }
        let before = state.progressed.best;
        if before.is_none_or(|(_, best)| found < best) {
            state.progressed.best = Some((point.step, found));
            state.progressed.looks_since_best = 0;
            state.best = Some(values_of(variables)?);
        } else {
            state.progressed.looks_since_best += 1;
            let patience = self.settings.patience;
            state.progressed.ended_early =
                patience > 0 && state.progressed.looks_since_best >= patience;
        }
        Ok(())
    }

    fn save_if_due(&self, variables: &[Variable], state: &RunState) -> Result<(), TrainError> {
        let every = self.settings.save_every;
        match self.folder {
            Some(folder)
                if every > 0
                    && state.progressed.step > 0
                    && state.progressed.step.is_multiple_of(every) =>
            {
                save(folder, variables, state)
            }
            _ => Ok(()),
        }
    }
}

fn schedule(settings: &TrainSettings) -> RateSchedule {
    RateSchedule {
        kind: settings.schedule,
        peak: settings.rate,
        warm_up: settings.warm_up,
        steps: settings.steps,
        last_share: settings.last_rate,
    }
}

fn rule(settings: &TrainSettings) -> Rule {
    match settings.optimizer {
        OptimizerKind::Adamw => Rule::AdamW {
            beta1: settings.beta1,
            beta2: settings.beta2,
            epsilon: settings.epsilon,
            decay: settings.decay,
        },
        OptimizerKind::Sign => Rule::Sign,
    }
}
