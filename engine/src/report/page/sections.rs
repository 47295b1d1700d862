//! What a page says in words and lists: what was done, warnings, how it was measured, the recipe, files.

use super::text::{bytes, count, counted, date, escape, figure, measured, percent, seconds};
use super::{RunKind, RunPage, missing, pair, pairs, under};
use crate::report::{DecoderEvaluation, EncoderEvaluation, Environment, Evaluation, TextDigest};
use crate::settings::KvCache;
use crate::solved::Method;
use std::collections::BTreeMap;

/// Title and the run in a sentence.
pub(super) fn head(page: &RunPage) -> String {
    format!(
        "<header>\n<h1>{}</h1>\n<p class=\"lead\">{}</p>\n</header>\n",
        escape(&page.name),
        escape(&sentence(page))
    )
}

/// What was done, in a sentence or two.
fn sentence(page: &RunPage) -> String {
    let format = page
        .format
        .as_deref()
        .map_or_else(String::new, |format| format!(" in format {format}"));
    let mut text = match page.kind {
        RunKind::Compressed => format!("A compressed model{format}{}.", by_methods(page)),
        RunKind::Trained => trained(page, &format),
        RunKind::Exported => {
            let exact = match page.fallbacks.len() {
                0 => "every layer is stored as it was solved".to_owned(),
                changed => format!("{} stored in another way", counted(changed, "layer")),
            };
            format!("A finished run, exported{format} without solving again: {exact}.")
        }
    };
    if let Some(structure) = &page.structure {
        let (before, after) = (&structure.plan.before, &structure.plan.after);
        text.push_str(&format!(
            " The network was made smaller first: {} parameters became {}.",
            count(before.parameters),
            count(after.parameters)
        ));
    }
    if let Some(verified) = &page.verified {
        text.push_str(&format!(
            " Reopened from disk: {} tensors compared, largest difference {}.",
            count(verified.tensors as u64),
            figure(verified.max_abs_difference)
        ));
    }
    text
}

/// `: 18 of 24 layers by gptq at 4 bits, 3 by rtn at 8 bits`, most first.
fn by_methods(page: &RunPage) -> String {
    let mut counted: BTreeMap<(&str, u8), u64> = BTreeMap::new();
    let done = page
        .layers
        .iter()
        .filter(|layer| layer.method != Method::None);
    for layer in done {
        *counted
            .entry((layer.method.word(), layer.bits))
            .or_default() += 1;
    }
    let mut counted: Vec<_> = counted.into_iter().collect();
    counted.sort_by_key(|&(_, layers)| std::cmp::Reverse(layers));
    let of_all = page.layers.len();
    let parts = counted
        .iter()
        .enumerate()
        .map(|(place, ((method, bits), layers))| {
            let whole = if place == 0 {
                format!(" of {of_all} layers")
            } else {
                String::new()
            };
            format!("{layers}{whole} by {method} at {bits} bits")
        });
    match parts.collect::<Vec<_>>().as_slice() {
        [] => String::new(),
        parts => format!(": {}", parts.join(", ")),
    }
}

fn trained(page: &RunPage, format: &str) -> String {
    let Some(training) = &page.training else {
        return format!("A trained model{format}.");
    };
    let what = match training.mode.as_str() {
        "weights" => "all weights",
        "scales" => "the scales of codes",
        "round" => "how weights are rounded",
        "qat" => "weights behind fake quantization",
        "adapter" => "an adapter",
        other => other,
    };
    let early = if training.ended_early {
        ", ended early because the held-out loss fell no more"
    } else {
        ""
    };
    format!(
        "A trained model{format}: {what}, {} of {} parameters, in {} steps{early}.",
        count(training.trained_parameters),
        count(training.parameters),
        count(training.steps)
    )
}

/// What people should know before they trust the rest.
pub(super) fn warnings(page: &RunPage) -> String {
    let mut lines = page.warnings.clone();
    let changed: Vec<_> = page
        .layers
        .iter()
        .filter(|layer| layer.fallback.is_some())
        .collect();
    if !changed.is_empty() {
        lines.push(format!(
            "{} could not be done as asked; the table of layers says what was done instead and why",
            counted(changed.len(), "layer")
        ));
    }
    if lines.is_empty() {
        return String::new();
    }
    let items: String = lines
        .iter()
        .map(|line| format!("<li>{}</li>\n", escape(line)))
        .collect();
    under("Warnings", &format!("<ul class=\"warn\">\n{items}</ul>\n"))
}

/// How quality was measured, and all that was found.
pub(super) fn evaluation(page: &RunPage) -> String {
    let text = page
        .environment
        .as_ref()
        .and_then(|environment| environment.evaluation_text.as_ref());
    let rows = match &page.evaluation {
        Some(Evaluation::Decoder(decoder)) => of_text(text) + &of_decoder(decoder),
        Some(Evaluation::Encoder(encoder)) => of_text(text) + &of_encoder(encoder),
        None => pair(
            "quality",
            &missing("no evaluation is stored with this run; pare evaluate measures it"),
        ),
    };
    under("Evaluation", &pairs(&rows))
}

fn of_text(text: Option<&TextDigest>) -> String {
    let told = text.map_or_else(
        || "<span class=\"missing\">not recorded</span>".to_owned(),
        |text| {
            format!(
                "{}, {}, SHA-256 <code>{}</code>",
                escape(&text.name),
                bytes(text.bytes),
                escape(&text.sha256)
            )
        },
    );
    pair("text", &told)
}

fn of_decoder(decoder: &DecoderEvaluation) -> String {
    let without = "no reference was named";
    let share = |value: Option<f64>| value.map_or_else(|| missing(without), percent);
    let mut rows =
        pair("windows", &count(decoder.windows)) + &pair("tokens", &count(decoder.tokens));
    rows += &pair(
        "perplexity",
        &measured(decoder.perplexity, decoder.perplexity_stderr),
    );
    if decoder.perplexity_stderr.is_none() {
        rows += &pair(
            "its standard error",
            &missing("one window alone tells of no spread"),
        );
    }
    let reference = decoder.reference_perplexity;
    rows += &pair(
        "of the original",
        &reference.map_or_else(|| missing(without), |value| measured(value, None)),
    );
    let ratio = decoder.perplexity_ratio;
    let ratio = ratio.map(|ratio| measured(ratio, decoder.perplexity_ratio_stderr));
    rows += &pair(
        "ratio, from paired windows",
        &ratio.unwrap_or_else(|| missing(without)),
    );
    match &decoder.kl {
        None => rows += &pair("KL", &missing(without)),
        Some(kl) => {
            rows += &pair(
                "KL, mean",
                &format!("{} nats per scored token", measured(kl.mean, kl.stderr)),
            );
            let tails = [
                ("half below", kl.p50),
                ("90 % below", kl.p90),
                ("99 % below", kl.p99),
                ("largest", kl.max),
            ];
            for (name, value) in tails {
                rows += &pair(&format!("KL, {name}"), &figure(value));
            }
        }
    }
    rows += &pair("same most likely token", &share(decoder.same_top));
    rows += &pair("flips between right and wrong", &share(decoder.flips));
    if decoder.kv_cache != KvCache::F32 {
        rows += &pair(
            "keys and values",
            &format!(
                "as a cache in {} keeps them",
                escape(decoder.kv_cache.word())
            ),
        );
    }
    rows + &pair("time", &seconds(decoder.seconds))
}

fn of_encoder(encoder: &EncoderEvaluation) -> String {
    let mut rows = pair("texts", &count(encoder.texts));
    let number = |value: Option<f64>, why: &str| {
        value.map_or_else(|| missing(why), |value| format!("{value:.5}"))
    };
    let pairs_wanted = "no sentence pairs with scores were named";
    rows += &pair("Spearman", &number(encoder.spearman, pairs_wanted));
    rows += &pair(
        "of the original",
        &number(encoder.reference_spearman, pairs_wanted),
    );
    match &encoder.cosine {
        None => rows += &pair("cosine", &missing("no reference was named")),
        Some(cosine) => {
            let parts = [
                ("mean", cosine.mean),
                ("1 % below", cosine.p01),
                ("smallest", cosine.min),
            ];
            for (name, value) in parts {
                rows += &pair(&format!("cosine, {name}"), &format!("{value:.5}"));
            }
        }
    }
    rows + &pair("time", &seconds(encoder.seconds))
}

/// The recipe, whole.
pub(super) fn recipe(page: &RunPage) -> String {
    let content = match &page.recipe {
        Some(recipe) => format!("<pre>{}</pre>\n", escape(recipe)),
        None => "<p class=\"missing\">This run keeps no recipe.</p>\n".to_owned(),
    };
    under("Recipe", &content)
}

/// With what it was made.
pub(super) fn environment(page: &RunPage) -> String {
    let seed = page
        .seed
        // As a recipe takes it.
        .map(|seed| pair("seed", &seed.to_string()))
        .unwrap_or_default();
    let rows = match &page.environment {
        Some(environment) => of_environment(environment) + &seed,
        None => {
            seed + &pair(
                "version, threads, date",
                "<span class=\"missing\">not recorded by the version that made this run</span>",
            )
        }
    };
    under("Made with", &pairs(&rows))
}

fn of_environment(environment: &Environment) -> String {
    let date = environment
        .finished_unix_seconds
        .map_or_else(|| missing("the clock stood wrong"), date);
    let mut rows = pair("Pare", &escape(&environment.pare_version))
        + &pair("finished", &date)
        + &pair("threads", &count(environment.threads as u64))
        + &pair("instructions", &escape(&environment.instruction_set));
    if environment.calibration_text.is_some() {
        rows += &of_text(environment.calibration_text.as_ref()).replacen(
            "text",
            "calibration or training text",
            1,
        );
    }
    rows
}

/// Every file with its SHA-256.
pub(super) fn files(page: &RunPage) -> String {
    let rows: String = page
        .files
        .iter()
        .map(|file| {
            let hash = match &file.sha256 {
                Ok(hash) => escape(hash),
                Err(reason) => format!("<span class=\"missing\">{}</span>", escape(reason)),
            };
            format!(
                "<tr><td class=\"path\">{}</td><td class=\"n\">{}</td><td class=\"hash\">{hash}</td></tr>\n",
                escape(&file.path),
                count(file.bytes)
            )
        })
        .collect();
    let table = format!(
        "<div class=\"scroll\"><table>\n<thead><tr><th>file</th><th class=\"n\">bytes</th><th>SHA-256</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    );
    under("Files", if page.files.is_empty() { "" } else { &table })
}
