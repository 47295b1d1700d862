//! Sentence embeddings of an encoder: likeness to a reference's, and to what people say of sentence pairs.

use super::error::EvaluateError;
use super::network::{Batches, Network};
use super::plan::Plan;
use super::progress::Progress;
use crate::corpus::{SentencePair, Tokenizer};
use crate::lanes::run_in_lanes;
use crate::model::{Model, ModelError};
use crate::report::{CosineSummary, EncoderEvaluation, Observer};
use crate::score::{Pooling, cosine, percentile, spearman};
use rayon::prelude::*;
use std::ops::Range;
use std::time::Instant;

/// What an encoder is asked.
#[derive(Debug, Clone, Copy)]
pub struct EncoderTask<'a> {
    /// Sentences whose embeddings are compared with the reference's; where there are none, those of the pairs are.
    pub sentences: &'a [String],
    /// Pairs with human scores; may be none.
    pub pairs: &'a [SentencePair],
    /// The model's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// Tokens at which a sentence is cut, special tokens counted.
    pub length: usize,
    /// From hidden states to an embedding.
    pub pooling: &'a Pooling,
}

/// Embeds all sentences once with each model. `memory_bytes` is a guide, not a promise.
pub fn evaluate_encoder(
    model: &Model,
    reference: Option<&Model>,
    task: &EncoderTask<'_>,
    memory_bytes: u64,
    observer: &dyn Observer,
) -> Result<EncoderEvaluation, EvaluateError> {
    let start = Instant::now();
    check(model, reference, task)?;
    let ids = tokenize(task)?;
    let sequences: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let batches = Batches::new(&sequences);
    let models: Vec<&Model> = [Some(model), reference].into_iter().flatten().collect();
    let threads = rayon::current_num_threads();
    let mut embeddings = Vec::new();
    for (model, stage) in models
        .into_iter()
        .zip(["evaluate", "evaluate the reference"])
    {
        let plan = Plan::new(&[model], batches.largest(), memory_bytes, threads);
        embeddings.push(embed(model, &batches, task.pooling, plan, stage, observer)?);
    }
    let compared = compared(task, ids.len());
    let of_pairs = |embeddings: &Vec<Vec<f32>>| {
        pairs_spearman(&embeddings[task.sentences.len()..], task.pairs)
    };
    let cosine = match &embeddings[..] {
        [ours, theirs] => cosines(&ours[compared.clone()], &theirs[compared]),
        _ => None,
    };
    Ok(EncoderEvaluation {
        cosine,
        spearman: of_pairs(&embeddings[0]),
        reference_spearman: embeddings.get(1).and_then(of_pairs),
        texts: ids.len() as u64,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// Whether both are encoders of one width, and there is something to compare.
pub(super) fn check(
    model: &Model,
    reference: Option<&Model>,
    task: &EncoderTask<'_>,
) -> Result<(), EvaluateError> {
    if !model.is_encoder() || reference.is_some_and(|reference| !reference.is_encoder()) {
        return Err(EvaluateError::WrongKind {
            found: "a decoder",
            needed: "an encoder",
        });
    }
    let nothing = |problem: &str| {
        Err(EvaluateError::Nothing {
            problem: problem.to_owned(),
        })
    };
    if task.sentences.is_empty() && task.pairs.is_empty() {
        return nothing("an encoder needs sentences or sentence pairs");
    }
    if task.pairs.is_empty() && reference.is_none() {
        return nothing("sentences without scores need a reference to compare with");
    }
    let width = model.config().hidden;
    match reference.map(|reference| reference.config().hidden) {
        Some(other) if other != width => Err(EvaluateError::Unlike {
            what: "width",
            reference: other,
            model: width,
        }),
        _ => Ok(()),
    }
}

/// Which of `texts` are compared with the reference: the sentences, or where there are none, those of the pairs.
pub(super) fn compared(task: &EncoderTask<'_>, texts: usize) -> Range<usize> {
    match task.sentences.len() {
        0 => 0..texts,
        count => 0..count,
    }
}

/// The sentences, then left and right of each pair.
pub(super) fn tokenize(task: &EncoderTask<'_>) -> Result<Vec<Vec<u32>>, EvaluateError> {
    let tokenizer = task.tokenizer.truncated(task.length)?;
    let pairs = task.pairs.iter();
    let of_pairs = pairs.flat_map(|pair| [&pair.left, &pair.right]);
    let texts: Vec<&String> = task.sentences.iter().chain(of_pairs).collect();
    let ids: Vec<Vec<u32>> = texts
        .par_iter()
        .map(|text| tokenizer.encode(text))
        .collect::<Result<_, _>>()?;
    match ids.iter().position(Vec::is_empty) {
        Some(index) => Err(EvaluateError::Nothing {
            problem: format!("text {} has no tokens", index + 1),
        }),
        None => Ok(ids),
    }
}

/// One embedding for each sequence, in the order of the sequences.
fn embed(
    model: &Model,
    batches: &Batches,
    pooling: &Pooling,
    plan: Plan,
    stage: &str,
    observer: &dyn Observer,
) -> Result<Vec<Vec<f32>>, EvaluateError> {
    let network = Network::load(model, batches, plan)?;
    let progress = Progress::start(observer, stage, network.steps(batches.len()));
    let mut embeddings = Vec::new();
    for first in (0..batches.len()).step_by(plan.group) {
        let group = first..(first + plan.group).min(batches.len());
        let states = network.hidden(batches, group.clone(), &progress)?;
        let pooled = network.with_ends(|ends| {
            run_in_lanes(plan.lanes, group.len(), |offset| {
                let hidden = ends.head(&states[offset])?;
                pool_rows(&hidden, pooling)
            })
        })?;
        for (offset, rows) in pooled.into_iter().enumerate() {
            let members = batches.members(first + offset).iter().copied();
            embeddings.extend(members.zip(rows));
        }
    }
    in_order(embeddings)
}

/// Embeddings in the order of their texts, all of them finite.
pub(super) fn in_order(
    mut embeddings: Vec<(usize, Vec<f32>)>,
) -> Result<Vec<Vec<f32>>, EvaluateError> {
    embeddings.sort_unstable_by_key(|(index, _)| *index);
    let finite = |embedding: &Vec<f32>| embedding.iter().all(|value| value.is_finite());
    match embeddings.iter().find(|(_, embedding)| !finite(embedding)) {
        Some((index, _)) => Err(EvaluateError::NotFinite {
            place: format!("text {}", index + 1),
        }),
        None => Ok(embeddings.into_iter().map(|(_, row)| row).collect()),
    }
}

/// An embedding for each sequence of a batch `[sequences, tokens, width]`.
pub(super) fn pool_rows(
    hidden: &candle_core::Tensor,
    pooling: &Pooling,
) -> Result<Vec<Vec<f32>>, EvaluateError> {
    let (_, tokens, width) = hidden.dims3().map_err(ModelError::from)?;
    let flat = hidden.flatten_all().and_then(|flat| flat.to_vec1::<f32>());
    let values = flat.map_err(ModelError::from)?;
    let rows = values.chunks_exact(tokens * width);
    Ok(rows.map(|row| pooling.pool(row, width)).collect())
}

/// `embeddings`: left and right of each pair. A pair with a zero vector counts as unlike.
fn pairs_spearman(embeddings: &[Vec<f32>], pairs: &[SentencePair]) -> Option<f64> {
    let couples = embeddings.chunks_exact(2);
    let likeness: Vec<f64> = couples
        .map(|couple| cosine(&couple[0], &couple[1]).unwrap_or(0.0))
        .collect();
    let scores: Vec<f64> = pairs.iter().map(|pair| pair.score).collect();
    spearman(&likeness, &scores)
}

/// `None` where every embedding of one side is zero.
fn cosines(ours: &[Vec<f32>], theirs: &[Vec<f32>]) -> Option<CosineSummary> {
    let couples = ours.iter().zip(theirs);
    let mut cosines: Vec<f32> = couples
        .filter_map(|(ours, theirs)| cosine(ours, theirs))
        .map(|cosine| cosine as f32)
        .collect();
    cosines.sort_unstable_by(f32::total_cmp);
    let smallest = *cosines.first()?;
    let sum: f64 = cosines.iter().map(|&cosine| f64::from(cosine)).sum();
    Some(CosineSummary {
        mean: sum / cosines.len() as f64,
        p01: percentile(&cosines, 0.01),
        min: f64::from(smallest),
    })
}
