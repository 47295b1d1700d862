//! Qualities in words, for the verbs that measure them.
//!
//! Knows no measurement.

use pare_engine::recipe::KvCache;
use pare_engine::report::{DecoderEvaluation, EncoderEvaluation, Evaluation};

/// `evaluation`, line by line.
pub(super) fn page(evaluation: &Evaluation) -> String {
    match evaluation {
        Evaluation::Decoder(decoder) => of_decoder(decoder),
        Evaluation::Encoder(encoder) => of_encoder(encoder),
    }
}

fn of_decoder(decoder: &DecoderEvaluation) -> String {
    let mut text = format!(
        "perplexity  {:.4}{}",
        decoder.perplexity,
        margin(decoder.perplexity_stderr, 4)
    );
    if let Some(reference) = decoder.reference_perplexity {
        let change = 100.0 * (decoder.perplexity / reference - 1.0);
        text.push_str(&format!("  (original {reference:.4}, {change:+.2} %)"));
    }
    text.push('\n');
    if let Some(kl) = &decoder.kl {
        text.push_str(&format!(
            "KL          {:.5}{} nats per token; half below {:.5}, 90 % below {:.5}, 99 % below {:.5}, largest {:.3}\n",
            kl.mean, margin(kl.stderr, 5), kl.p50, kl.p90, kl.p99, kl.max
        ));
    }
    if let Some(share) = decoder.same_top {
        text.push_str(&format!("same top    {:.2} % of tokens\n", 100.0 * share));
    }
    if let Some(share) = decoder.flips {
        text.push_str(&format!("flips       {:.2} % of tokens\n", 100.0 * share));
    }
    if decoder.kv_cache != KvCache::F32 {
        text.push_str(&format!(
            "seen        keys and values as a cache in {} keeps them\n",
            decoder.kv_cache.word()
        ));
    }
    text.push_str(&format!(
        "scored      {} tokens in {} windows, {:.1} s\n",
        decoder.tokens, decoder.windows, decoder.seconds
    ));
    text
}

/// A standard error behind its figure; nothing where there is none.
fn margin(stderr: Option<f64>, digits: usize) -> String {
    stderr.map_or_else(String::new, |stderr| format!(" +- {stderr:.digits$}"))
}

fn of_encoder(encoder: &EncoderEvaluation) -> String {
    let mut text = String::new();
    if let Some(spearman) = encoder.spearman {
        text.push_str(&format!("Spearman  {spearman:.5}"));
        if let Some(reference) = encoder.reference_spearman {
            text.push_str(&format!("  (original {reference:.5})"));
        }
        text.push('\n');
    }
    if let Some(cosine) = &encoder.cosine {
        text.push_str(&format!(
            "cosine    mean {:.5}, 1 % below {:.5}, smallest {:.5}\n",
            cosine.mean, cosine.p01, cosine.min
        ));
    }
    text.push_str(&format!(
        "embedded  {} texts, {:.1} s\n",
        encoder.texts, encoder.seconds
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use pare_engine::report::KlSummary;

    #[test]
    fn a_decoder_with_its_reference() {
        let evaluation = Evaluation::Decoder(DecoderEvaluation {
            tokens: 512,
            windows: 2,
            perplexity: 5.5,
            perplexity_stderr: Some(0.25),
            seconds: 1.0,
            reference_perplexity: Some(5.0),
            perplexity_ratio: Some(1.1),
            perplexity_ratio_stderr: Some(0.01),
            kl: Some(KlSummary {
                mean: 0.01,
                stderr: Some(0.001),
                p50: 0.005,
                p90: 0.02,
                p99: 0.1,
                max: 1.5,
            }),
            same_top: Some(0.98),
            flips: None,
            kv_cache: KvCache::Int8,
        });
        let expected = "\
perplexity  5.5000 +- 0.2500  (original 5.0000, +10.00 %)
KL          0.01000 +- 0.00100 nats per token; half below 0.00500, 90 % below 0.02000, 99 % below 0.10000, largest 1.500
same top    98.00 % of tokens
seen        keys and values as a cache in int8 keeps them
scored      512 tokens in 2 windows, 1.0 s
";
        assert_eq!(page(&evaluation), expected);
    }

    #[test]
    fn an_encoder_alone() {
        let evaluation = Evaluation::Encoder(EncoderEvaluation {
            cosine: None,
            spearman: Some(0.8),
            reference_spearman: None,
            texts: 10,
            seconds: 2.0,
        });
        assert_eq!(
            page(&evaluation),
            "Spearman  0.80000\nembedded  10 texts, 2.0 s\n"
        );
    }
}
