//! What rounded inputs cost is what the kernels do: perplexity and KL of codes against plain loops.

use super::decoder::{evaluate, windows};
use crate::model::testing::{Pair, tiny_llama};
use crate::packed::ActivationPlan;
use crate::settings::Activations;

/// Mean negative log-likelihood of every token but the first of each window, by plain loops.
fn twin_nll(pair: &Pair, windows: &[Vec<u32>]) -> f64 {
    let (mut total, mut count) = (0.0, 0.0);
    for ids in windows {
        let logits = pair.twin_logits(ids);
        let rows = logits.chunks(logits.len() / ids.len());
        for (row, &target) in rows.zip(&ids[1..]) {
            let sum: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
            total += sum.ln() - f64::from(row[target as usize]);
            count += 1.0;
        }
    }
    total / count
}

#[test]
fn rounded_inputs_score_as_the_twin_in_plain_loops() {
    let windows = windows(6, 14);
    let modes = [
        (Activations::None, None),
        (Activations::Dynamic8, None),
        (Activations::Static8, Some(0.05)),
    ];
    let mut scores = Vec::new();
    for (mode, static_step) in modes {
        let plan = ActivationPlan {
            mode,
            block: 0,
            static_step,
        };
        let pair = Pair::new(&tiny_llama(), plan);
        let model = pair.on_kernels();
        let found = evaluate(&model, Some(&pair.model), &windows, u64::MAX, 2);
        let other = evaluate(&model, Some(&pair.model), &windows, 0, 1);
        assert_eq!(
            found, other,
            "{mode:?}: threads and memory make no difference"
        );
        let error = (found.perplexity.ln() - twin_nll(&pair, &windows)).abs();
        scores.push((mode, found.perplexity.ln(), error, found.kl.unwrap().mean));
    }
    let [(_, exact, exact_error, exact_kl), rounded @ ..] = &scores[..] else {
        panic!("three modes were scored");
    };
    assert!(*exact_error < 1e-5 && *exact_kl < 1e-8, "{scores:?}");
    for (mode, nll, error, kl) in rounded {
        let apart = (nll - exact).abs();
        assert!(*error < 0.1 * apart, "{mode:?}: {scores:?}");
        assert!(*kl > 1e3 * exact_kl.max(1e-9), "{mode:?}: {scores:?}");
    }
}
