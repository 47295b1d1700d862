//! Perplexity of a decoder, and how far it stands from its reference.
//!
//! Logits exist for a few positions at a time only: for a large vocabulary those of a window would outweigh everything
//! else.

use super::error::EvaluateError;
use super::network::{Batches, Network};
use super::plan::Plan;
use super::progress::Progress;
use crate::lanes::run_in_lanes;
use crate::model::{CacheKind, Ends, Model, ModelError};
use crate::report::{DecoderEvaluation, KlSummary, Observer};
use crate::score::{Tally, WindowScore};
use candle_core::Tensor;
use std::time::Instant;

/// Logits computed at once: 4 MB of them.
const LOGITS_AT_ONCE: usize = 1 << 20;

/// Positions at once at least, so that the head's weights are not read for each position.
const FEWEST_POSITIONS: usize = 32;

/// Scores `windows`: every token but the first of each. `model` sees keys and values as a cache of the kind `kept` gives
/// them back; `reference` sees them as they are. `memory_bytes` is a guide, not a promise.
pub fn evaluate_decoder(
    model: &Model,
    kept: CacheKind,
    reference: Option<&Model>,
    windows: &[&[u32]],
    memory_bytes: u64,
    observer: &dyn Observer,
) -> Result<DecoderEvaluation, EvaluateError> {
    let start = Instant::now();
    check(model, reference, windows)?;
    let batches = Batches::new(windows);
    let models: Vec<&Model> = [Some(model), reference].into_iter().flatten().collect();
    let threads = rayon::current_num_threads();
    let plan = Plan::new(&models, batches.largest(), memory_bytes, threads);
    let networks = models
        .iter()
        .zip([kept, CacheKind::F32])
        .map(|(model, kept)| Ok(Network::load(model, &batches, plan)?.keeping(kept)))
        .collect::<Result<Vec<_>, EvaluateError>>()?;
    let steps: usize = networks.iter().map(|n| n.steps(batches.len())).sum();
    let progress = Progress::start(observer, "evaluate", steps + batches.len());
    let mut scores = Scores::new(windows.len());
    for first in (0..batches.len()).step_by(plan.group) {
        let group = first..(first + plan.group).min(batches.len());
        let states = networks
            .iter()
            .map(|network| network.hidden(&batches, group.clone(), &progress))
            .collect::<Result<Vec<_>, _>>()?;
        let scored = with_all_ends(&networks, &mut Vec::new(), &mut |ends| {
            run_in_lanes(plan.lanes, group.len(), |offset| {
                let hidden: Vec<&Tensor> = states.iter().map(|states| &states[offset]).collect();
                let scores = score_batch(ends, &hidden, &batches, first + offset)?;
                progress.step()?;
                Ok(scores)
            })
        })?;
        scores.place(&batches, first, scored);
    }
    let tally = scores.tally();
    let tokens = windows.iter().map(|window| window.len() as u64).sum();
    summary(&tally, tokens, kept, start)
}

/// Scores of windows, as they come.
pub(super) struct Scores(Vec<Option<WindowScore>>);

impl Scores {
    /// Of so many windows, none known.
    pub(super) fn new(windows: usize) -> Self {
        Self(vec![None; windows])
    }

    /// Takes the scores of the batches from `first` on.
    pub(super) fn place(&mut self, batches: &Batches, first: usize, scored: Vec<Vec<WindowScore>>) {
        for (offset, batch) in scored.into_iter().enumerate() {
            for (&index, score) in batches.members(first + offset).iter().zip(batch) {
                self.0[index] = Some(score);
            }
        }
    }

    /// All of them, in the order of the text.
    pub(super) fn tally(self) -> Tally {
        let mut tally = Tally::default();
        self.0
            .into_iter()
            .flatten()
            .for_each(|score| tally.push(score));
        tally
    }
}

/// Whether both are decoders of one vocabulary, and there is something to score.
pub(super) fn check(
    model: &Model,
    reference: Option<&Model>,
    windows: &[&[u32]],
) -> Result<(), EvaluateError> {
    if model.is_encoder() || reference.is_some_and(Model::is_encoder) {
        return Err(EvaluateError::WrongKind {
            found: "an encoder",
            needed: "a decoder; give sentence pairs (--sts) or a reference instead",
        });
    }
    if !windows.iter().any(|window| window.len() > 1) {
        return Err(EvaluateError::Nothing {
            problem: "a window needs at least two tokens, one to see and one to score".to_owned(),
        });
    }
    let vocabulary = model.config().vocabulary;
    match reference.map(|reference| reference.config().vocabulary) {
        Some(other) if other != vocabulary => Err(EvaluateError::Unlike {
            what: "vocabulary",
            reference: other,
            model: vocabulary,
        }),
        _ => Ok(()),
    }
}

/// Calls `work` with the ends of all networks in memory.
fn with_all_ends<T>(
    networks: &[Network<'_>],
    loaded: &mut Vec<Ends>,
    work: &mut dyn FnMut(&[Ends]) -> Result<T, EvaluateError>,
) -> Result<T, EvaluateError> {
    match networks.split_first() {
        None => work(loaded),
        Some((network, rest)) => network.with_ends(|ends| {
            loaded.push(ends.clone());
            with_all_ends(rest, loaded, work)
        }),
    }
}

/// One score for each sequence of a batch. `ends` and `hidden` are the model's, then perhaps the reference's.
pub(super) fn score_batch(
    ends: &[Ends],
    hidden: &[&Tensor],
    batches: &Batches,
    batch: usize,
) -> Result<Vec<WindowScore>, EvaluateError> {
    let members = batches.members(batch).iter().enumerate();
    members
        .map(|(row, &index)| {
            let states = hidden
                .iter()
                .map(|hidden| hidden.narrow(0, row, 1))
                .collect::<candle_core::Result<Vec<_>>>()
                .map_err(ModelError::from)?;
            let score = score_window(ends, &states, batches.sequence(index))?;
            if score.is_finite() {
                return Ok(score);
            }
            let place = format!("window {index}");
            Err(EvaluateError::NotFinite { place })
        })
        .collect()
}

fn score_window(
    ends: &[Ends],
    states: &[Tensor],
    ids: &[u32],
) -> Result<WindowScore, EvaluateError> {
    let mut score = WindowScore::default();
    let targets = ids.get(1..).unwrap_or_default();
    let mut start = 0;
    let mut positions = FEWEST_POSITIONS;
    while start < targets.len() {
        let count = positions.min(targets.len() - start);
        let logits = ends
            .iter()
            .zip(states)
            .map(|(ends, hidden)| logits(ends, hidden, start, count))
            .collect::<Result<Vec<_>, _>>()?;
        let part = &targets[start..start + count];
        let vocabulary = logits[0].len() / count;
        match &logits[..] {
            [ours, theirs] => score.add_compared(ours, theirs, vocabulary, part),
            [ours, ..] => score.add(ours, vocabulary, part),
            [] => {}
        }
        start += count;
        positions = positions_at_once(vocabulary);
    }
    Ok(score)
}

/// Positions whose logits may exist together.
pub(crate) fn positions_at_once(vocabulary: usize) -> usize {
    (LOGITS_AT_ONCE / vocabulary.max(1)).max(FEWEST_POSITIONS)
}

/// Rows `[count, vocabulary]` of positions `start..start + count`.
fn logits(
    ends: &Ends,
    hidden: &Tensor,
    start: usize,
    count: usize,
) -> Result<Vec<f32>, ModelError> {
    let logits = ends.head(&hidden.narrow(1, start, count)?)?;
    Ok(logits.flatten_all()?.to_vec1()?)
}

fn summary(
    tally: &Tally,
    tokens: u64,
    kept: CacheKind,
    start: Instant,
) -> Result<DecoderEvaluation, EvaluateError> {
    let nll = tally.nll().ok_or_else(|| EvaluateError::Nothing {
        problem: "no token was scored".to_owned(),
    })?;
    let perplexity = nll.mean.exp();
    if !perplexity.is_finite() {
        let place = "the whole text".to_owned();
        return Err(EvaluateError::NotFinite { place });
    }
    let ratio = tally.nll_difference();
    let factor = ratio.map(|ratio| ratio.mean.exp());
    Ok(DecoderEvaluation {
        tokens,
        windows: tally.windows() as u64,
        perplexity,
        // The error of exp(x) is exp(x) times that of x.
        perplexity_stderr: nll.stderr.map(|stderr| perplexity * stderr),
        seconds: start.elapsed().as_secs_f64(),
        reference_perplexity: tally.reference_nll().map(|nll| nll.mean.exp()),
        perplexity_ratio: factor,
        perplexity_ratio_stderr: ratio
            .and_then(|ratio| ratio.stderr)
            .zip(factor)
            .map(|(stderr, factor)| factor * stderr),
        kl: kl_summary(tally),
        same_top: tally.same_top(),
        flips: tally.flips(),
        kv_cache: kept,
    })
}

fn kl_summary(tally: &Tally) -> Option<KlSummary> {
    let kl = tally.kl()?;
    let [p50, p90, p99, max] = tally.kl_percentiles([0.5, 0.9, 0.99, 1.0])?;
    Some(KlSummary {
        mean: kl.mean,
        stderr: kl.stderr,
        p50,
        p90,
        p99,
        max,
    })
}
