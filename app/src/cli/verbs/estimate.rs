//! `pare estimate`: memory and speed of a model on a device, without running it.

use crate::cli::answer::Answer;
use crate::cli::arguments::Estimate as Arguments;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::machines;
use crate::cli::plan;
use crate::cli::table::{Edge, Table};
use pare_engine::device::Basis;
use pare_engine::estimate::{Bound, Estimate, LayerTime, OpTime, TimedPart};
use pare_engine::formats::Format;
use pare_engine::session::{EstimateRequest, RunShape};
use pare_engine::units::Bytes;

/// Rows of the page; `--json` has all.
const MOST_ROWS: usize = 12;

pub(super) fn run(arguments: &Arguments, context: &Context) -> Result<Answer, Failure> {
    let target = &arguments.target;
    let device = machines::chosen(target, context)?;
    let opened = context.open(&arguments.model)?;
    let recipe = arguments.recipe.as_deref();
    let recipe = recipe.map(|path| plan::recipe(Some(path))).transpose()?;
    let found = opened.session.estimate(&EstimateRequest {
        recipe: recipe.map(|given| given.recipe),
        format: arguments.format.unwrap_or(Format::Pare),
        device,
        engine: target.engine.clone(),
        run: RunShape {
            context: target.context,
            prompt: target.prompt,
            kv_cache: arguments.kv,
            threads: context.options.threads,
        },
    })?;
    Answer::new(&found, page(&found))
}

fn page(found: &Estimate) -> String {
    let mut text = format!("{}\n{}", slowest(found), speeds(found));
    let memory = &found.memory_bytes;
    text.push_str(&format!(
        "memory      {}: weights {}, keys and values {}, working values {}; {}\n",
        Bytes(memory.total),
        Bytes(memory.weights),
        Bytes(memory.kv_cache),
        Bytes(memory.activations),
        if found.fits { "fits" } else { "does not fit" }
    ));
    text.push_str(&format!(
        "files       {} bytes ({})\n",
        found.bytes,
        Bytes(found.bytes)
    ));
    text.push_str(&format!(
        "on          {}, {}, {}; {}\n",
        found.device,
        found.engine,
        threads(found.threads),
        basis(found.basis)
    ));
    text
}

fn speeds(found: &Estimate) -> String {
    let prefill = &found.prefill;
    let mut text = format!(
        "prompt      {:.2} ms for {} tokens ({:.2} to {:.2})\n",
        prefill.milliseconds, found.prompt, prefill.low, prefill.high
    );
    if let Some(decode) = &found.decode {
        text.push_str(&format!(
            "writing     {:.1} tokens/s after {} tokens ({:.1} to {:.1}), {:.3} ms each\n",
            decode.tokens_per_second, found.context, decode.low, decode.high, decode.milliseconds
        ));
    }
    text
}

/// The layers that take most of the time for one token; of an encoder, for the prompt.
fn slowest(found: &Estimate) -> String {
    let time = |layer: &LayerTime| layer.decode.unwrap_or(layer.prefill);
    let mut layers: Vec<&LayerTime> = found.layers.iter().collect();
    layers.sort_by(|left, right| time(right).milliseconds.total_cmp(&time(left).milliseconds));
    let total: f64 = layers.iter().map(|layer| time(layer).milliseconds).sum();
    let mut table = Table::new(&[
        ("slowest", Edge::Left),
        ("one token, us", Edge::Right),
        ("share", Edge::Right),
        ("bound by", Edge::Left),
        ("prompt, us", Edge::Right),
        ("bound by", Edge::Left),
    ]);
    for layer in layers.iter().take(MOST_ROWS) {
        table.row([
            layer.name.clone(),
            layer.decode.as_ref().map_or_else(|| "-".to_owned(), micros),
            format!("{:.1} %", 100.0 * time(layer).milliseconds / total),
            layer
                .decode
                .map_or("", |time| bound(layer.part, &time))
                .to_owned(),
            micros(&layer.prefill),
            bound(layer.part, &layer.prefill).to_owned(),
        ]);
    }
    table.text()
}

fn micros(time: &OpTime) -> String {
    format!("{:.1}", 1e3 * time.milliseconds)
}

fn bound(part: TimedPart, time: &OpTime) -> &'static str {
    match (part, time.bound_by) {
        (TimedPart::Fixed, _) => "",
        (_, Bound::Compute) => "arithmetic",
        (_, Bound::Memory) => "memory",
        (_, Bound::Launch) => "start",
    }
}

fn threads(count: usize) -> String {
    match count {
        1 => "1 thread".to_owned(),
        count => format!("{count} threads"),
    }
}

fn basis(basis: Basis) -> &'static str {
    match basis {
        Basis::Measured => "its kernels were measured",
        Basis::Datasheet | Basis::Inferred => "from data sheets, so that only the bands are meant",
    }
}
