//! The headline: what it was, what it is, what that cost.

use super::text::{bytes, decimals_of, escape, figure, measured, percent, seconds};
use super::{RunKind, RunPage, missing};
use crate::report::{DecoderEvaluation, EncoderEvaluation, Evaluation};

/// Cards of the most important numbers.
pub(super) fn section(page: &RunPage) -> String {
    let mut cards = vec![size(page), bits(page)];
    cards.extend(quality(page));
    if page.kind != RunKind::Exported {
        cards.push(time(page));
        cards.push(memory(page));
    }
    format!("<div class=\"cards\">\n{}</div>\n", cards.concat())
}

/// A number over what it means; both escaped already.
fn card(value: &str, means: &str) -> String {
    format!("<div class=\"card\"><b>{value}</b><span>{means}</span></div>\n")
}

fn size(page: &RunPage) -> String {
    match (page.bytes_before, page.bytes_after) {
        (Some(before), Some(after)) => {
            let share = match before {
                0 => String::new(),
                before => format!(", {} of it", percent(after as f64 / before as f64)),
            };
            card(
                &format!("{} → {}", bytes(before), bytes(after)),
                &format!("bytes of all files before and after{share}"),
            )
        }
        (None, Some(after)) => card(&bytes(after), "bytes of all files written"),
        _ => card(&missing("the run does not say"), "bytes of all files"),
    }
}

fn bits(page: &RunPage) -> String {
    let means = "stored bits per weight of the compressed layers, scales and padding included";
    let why = match page.kind {
        RunKind::Exported => "an export does not count them by layer",
        _ => "no layer holds codes",
    };
    let value = page.bits_per_weight.map_or_else(|| missing(why), figure);
    card(&value, means)
}

fn quality(page: &RunPage) -> Vec<String> {
    match &page.evaluation {
        Some(Evaluation::Decoder(decoder)) => vec![perplexity(page, decoder), kl(decoder)],
        Some(Evaluation::Encoder(encoder)) => vec![spearman(encoder), cosine(encoder)],
        None => {
            let why = match page.kind {
                RunKind::Exported => {
                    "an export is not measured, and the run that it was exported from says nothing"
                }
                _ => "no text to evaluate on was named",
            };
            vec![card(&missing(why), "quality against the original")]
        }
    }
}

fn perplexity(page: &RunPage, decoder: &DecoderEvaluation) -> String {
    let after = measured(decoder.perplexity, decoder.perplexity_stderr);
    // Both with the same decimals, so that they can be compared.
    let like_after = |value: f64| match decoder.perplexity_stderr {
        Some(stderr) if stderr > 0.0 => format!("{value:.*}", decimals_of(stderr)),
        _ => measured(value, None),
    };
    let before = page
        .training
        .as_ref()
        .and_then(|training| training.perplexity_before);
    let mut means = "perplexity ± standard error, original → result".to_owned();
    if let Some(ratio) = decoder.perplexity_ratio {
        means.push_str(&format!(
            "; ratio {} from paired windows",
            measured(ratio, decoder.perplexity_ratio_stderr)
        ));
    }
    if let Some(before) = before {
        means.push_str(&format!("; before training {}", like_after(before)));
    }
    let value = match decoder.reference_perplexity {
        Some(reference) => format!("{} → {after}", like_after(reference)),
        None => {
            means = "perplexity ± standard error; the original was not measured".to_owned();
            after
        }
    };
    card(&value, &escape(&means))
}

fn kl(decoder: &DecoderEvaluation) -> String {
    let means = "KL to the original ± standard error, nats per scored token (0 for the original)";
    let value = decoder.kl.as_ref().map_or_else(
        || missing("no reference was named"),
        |kl| measured(kl.mean, kl.stderr),
    );
    card(&value, means)
}

fn spearman(encoder: &EncoderEvaluation) -> String {
    let value = match (encoder.reference_spearman, encoder.spearman) {
        (Some(before), Some(after)) => format!("{before:.4} → {after:.4}"),
        (None, Some(after)) => format!("{after:.4}"),
        _ => missing("no sentence pairs with scores were named"),
    };
    card(
        &value,
        "Spearman correlation with human scores, original → result",
    )
}

fn cosine(encoder: &EncoderEvaluation) -> String {
    let value = encoder.cosine.as_ref().map_or_else(
        || missing("no reference was named"),
        |cosine| format!("{:.5}", cosine.mean),
    );
    card(
        &value,
        "mean cosine of embeddings with the original's (1 for the original)",
    )
}

fn time(page: &RunPage) -> String {
    let stages: Vec<String> = page
        .stages
        .iter()
        .map(|(stage, time)| format!("{} {}", escape(stage), seconds(*time)))
        .collect();
    let value = page
        .seconds
        .map_or_else(|| missing("the run does not say"), seconds);
    let means = match stages.is_empty() {
        true => "wall time".to_owned(),
        false => format!("wall time: {}", stages.join(", ")),
    };
    card(&value, &means)
}

fn memory(page: &RunPage) -> String {
    let value = page
        .peak_rss_bytes
        .map_or_else(|| missing("the run does not say"), bytes);
    card(&value, "most memory that the process held")
}
