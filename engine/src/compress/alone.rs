//! Layers solved on their own: embeddings, output heads, and everything in a network that cannot be run.

use super::describe::{Facts, describe, describe_untouched, original_tensor};
use super::returned::{chosen, returned};
use super::scaling::{NO_PRODUCER, smoothed_by};
use super::{CompressError, Job, Ledger, Silent, inputs, needs_inputs};
use crate::model::LayerKind;
use crate::report::Fallback;
use crate::settings::LayerSettings;
use crate::solve::solve_layer;
use crate::solved::Method;
use std::time::Instant;

/// Solves choice `index` from the source's weights alone and stores it.
pub(super) fn solve_alone(
    job: Job<'_>,
    index: usize,
    ledger: &mut Ledger<'_>,
) -> Result<(), CompressError> {
    let choice = &job.choices[index];
    let layer = &job.layers[choice.layer];
    ledger.observer.check()?;
    if choice.settings.method == Method::None {
        ledger.enter(index, describe_untouched(layer, choice));
        return Ok(());
    }
    if let Some(stored) = job.run.finished_layer(&layer.name)? {
        ledger.enter(index, stored.report);
        return Ok(());
    }
    let (settings, fallback) = without_inputs(choice.settings, choice.fallback.clone());
    let fallback = match layer.kind {
        LayerKind::Embedding => fallback,
        _ => smoothed_by(&settings, 0.0, NO_PRODUCER, fallback),
    };
    let activations = inputs::plan(&settings, None);
    let weights = layer.read(job.source)?;
    let started = Instant::now();
    let silent = Silent(ledger.observer);
    let solved = solve_layer(&weights, None, &settings, &silent)
        .and_then(|solved| chosen(choice, &weights, solved, None, &silent))
        .map_err(|error| CompressError::of_solver(layer, error))?
        .with_float_dtype(layer.dtype);
    let seconds = started.elapsed().as_secs_f64();
    let facts = Facts {
        layer,
        settings,
        fallback,
        size_bytes: choice.size_bytes,
        seconds,
        statistics: None,
        activations,
    };
    let report = describe(facts, &weights, &returned(choice, &solved));
    job.run.store_layer(
        original_tensor(job.source, layer),
        &solved,
        &activations,
        &report,
    )?;
    ledger.enter(index, report);
    Ok(())
}

/// Outside blocks no inputs are gathered (an embedding has none): methods that need them round to nearest instead.
fn without_inputs(
    settings: LayerSettings,
    fallback: Option<Fallback>,
) -> (LayerSettings, Option<Fallback>) {
    if !needs_inputs(settings.method) {
        return (settings, fallback);
    }
    let reason = inputs::NO_INPUTS.to_owned();
    let told = Fallback {
        from: settings.method.word().to_owned(),
        to: Method::Rtn.word().to_owned(),
        reason,
    };
    (
        LayerSettings {
            method: Method::Rtn,
            ..settings
        },
        Fallback::join(fallback, Some(told)),
    )
}
