//! An allocation for people: what the budget gives, and how it stands beside uniform bits.

use super::{Chosen, document};
use crate::cli::table::{Edge, Table};
use crate::cli::verbs::losses;
use pare_engine::model::LayerInfo;
use pare_engine::recipe::LayerSettings;
use pare_engine::session::{AllocateReport, Budget, Candidate, CandidateReport, DryRun};
use pare_engine::settings::LayerOption;
use pare_engine::units::Bytes;
use std::collections::{BTreeMap, HashMap};

/// The page; `layers` are all of the model.
pub(super) fn of(chosen: &Chosen<'_>, layers: &[LayerInfo]) -> String {
    let report = chosen.report;
    let mut text = format!("{}\n", candidates(report));
    text.push_str(&verdict(report));
    text.push_str(&gap(report));
    text.push_str(&sizes(chosen));
    text.push_str(&times(report));
    text.push_str(&histogram(&chosen.dry, layers));
    text.push_str(&format!("written     {}\n", chosen.out.display()));
    text.push_str(&format!("next        {}\n", chosen.next));
    text
}

fn candidates(report: &AllocateReport) -> String {
    let predicted = format!("predicted {}", report.measure.name());
    let measured = format!("measured {}", report.measure.name());
    let mut table = Table::new(&[
        ("recipe", Edge::Left),
        ("bytes", Edge::Right),
        ("bits/weight", Edge::Right),
        (&predicted, Edge::Right),
        (&measured, Edge::Right),
        ("against uniform", Edge::Right),
    ]);
    let uniform = document::find(report, Candidate::Uniform);
    for candidate in &report.candidates {
        table.row([
            name(candidate.candidate).to_owned(),
            candidate.bytes.to_string(),
            format!("{:.3}", candidate.bits_per_weight),
            losses::compact(candidate.predicted_loss),
            measured_cell(candidate),
            against(candidate, uniform),
        ]);
    }
    table.text()
}

fn name(candidate: Candidate) -> &'static str {
    match candidate {
        Candidate::Allocated => "layer by layer",
        Candidate::Uniform => "uniform",
        Candidate::EndsHigher => "ends higher",
    }
}

fn measured_cell(candidate: &CandidateReport) -> String {
    match candidate.measured {
        None => "-".to_owned(),
        Some((loss, None)) => losses::compact(Some(loss)),
        Some((loss, Some(stderr))) => format!(
            "{} +- {}",
            losses::compact(Some(loss)),
            losses::compact(Some(stderr))
        ),
    }
}

/// The change of the loss, measured where both are, else predicted.
fn against(candidate: &CandidateReport, uniform: Option<&CandidateReport>) -> String {
    let Some(uniform) = uniform.filter(|_| candidate.candidate != Candidate::Uniform) else {
        return "-".to_owned();
    };
    let change = |own: Option<f64>, other: Option<f64>| {
        let (own, other) = (own?, other.filter(|other| *other > 0.0)?);
        Some(100.0 * (own / other - 1.0))
    };
    let measured = change(loss(candidate), loss(uniform));
    let predicted = || change(candidate.predicted_loss, uniform.predicted_loss);
    match (measured, predicted()) {
        (Some(change), _) => format!("{change:+.1} % measured"),
        (None, Some(change)) => format!("{change:+.1} % predicted"),
        (None, None) => "-".to_owned(),
    }
}

fn loss(candidate: &CandidateReport) -> Option<f64> {
    candidate.measured.map(|(loss, _)| loss)
}

/// Which one was written, and why where that is a surprise.
fn verdict(report: &AllocateReport) -> String {
    let best = document::best(report);
    let allocated = document::find(report, Candidate::Allocated);
    match (report.best, best.and_then(loss), allocated.and_then(loss)) {
        (Candidate::Allocated, Some(_), _) => {
            "best        chosen layer by layer, as measured\n".to_owned()
        }
        (Candidate::Allocated, None, _) => {
            "best        chosen layer by layer, as predicted; --verify measures it\n".to_owned()
        }
        (other, Some(best), Some(allocated)) => format!(
            "best        {}: it measured better than bits chosen layer by layer ({} against {}), so it is what was written\n",
            name(other),
            losses::compact(Some(best)),
            losses::compact(Some(allocated))
        ),
        (other, ..) => format!("best        {}, so it is what was written\n", name(other)),
    }
}

/// Where uniform bits leave much of the budget unused, a comparison says less.
fn gap(report: &AllocateReport) -> String {
    const NOTEWORTHY_BITS: f64 = 0.05;
    let best = document::best(report);
    let uniform = document::find(report, Candidate::Uniform);
    match (best, uniform) {
        (Some(best), Some(uniform))
            if best.bits_per_weight - uniform.bits_per_weight > NOTEWORTHY_BITS =>
        {
            format!(
                "compared    uniform bits take {:.3} bits/weight less, as no single option comes closer to the budget\n",
                best.bits_per_weight - uniform.bits_per_weight
            )
        }
        _ => String::new(),
    }
}

fn sizes(chosen: &Chosen<'_>) -> String {
    let asked = match chosen.budget {
        Budget::BitsPerWeight(bits) => format!("{bits} bits/weight, "),
        Budget::Milliseconds(time) => format!("{time} ms, "),
        Budget::Bytes(_) => String::new(),
    };
    let budget = chosen.report.budget_bytes;
    let mut text = format!("budget      {asked}{budget} bytes ({})\n", Bytes(budget));
    if let Some(best) = document::best(chosen.report) {
        text.push_str(&format!(
            "takes       {} bytes ({}), {:.3} bits/weight, {} bytes left\n",
            best.bytes,
            Bytes(best.bytes),
            best.bits_per_weight,
            budget.saturating_sub(best.bytes)
        ));
    }
    text
}

/// What a token takes, where a device is named.
fn times(report: &AllocateReport) -> String {
    let Some(best) = document::best(report).and_then(|best| best.milliseconds) else {
        return String::new();
    };
    let uniform = document::find(report, Candidate::Uniform).and_then(|found| found.milliseconds);
    let uniform = uniform.map_or_else(String::new, |time| format!("; uniform bits {time:.4} ms"));
    format!("time        {best:.4} ms as estimated{uniform}\n")
}

/// How many weights have how many bits.
fn histogram(dry: &DryRun, layers: &[LayerInfo]) -> String {
    let weights: HashMap<&str, u64> = layers
        .iter()
        .map(|layer| (layer.name.as_str(), layer.parameters))
        .collect();
    let mut shares: BTreeMap<(Option<u8>, String), u64> = BTreeMap::new();
    for layer in &dry.layers {
        let share = shares.entry(kind(&layer.settings)).or_default();
        *share += weights.get(layer.name.as_str()).copied().unwrap_or(0);
    }
    let total = shares.values().sum::<u64>().max(1);
    let shares = shares.iter().map(|((_, word), weights)| {
        let share = 100.0 * *weights as f64 / total as f64;
        format!("{word} {share:.1} %")
    });
    let shares: Vec<String> = shares.collect();
    format!("weights     {}\n", shares.join(", "))
}

/// Bits, which decide the order, and what layers of one kind are called.
fn kind(settings: &LayerSettings) -> (Option<u8>, String) {
    match LayerOption::of(settings) {
        Some(LayerOption::Dense) => (None, "as they are".to_owned()),
        Some(option @ (LayerOption::Pruned { .. } | LayerOption::LowRank { .. })) => {
            (option.bits(), option.to_string())
        }
        Some(LayerOption::Grid { bits, .. }) => (Some(bits), format!("{bits} bits")),
        None => (Some(settings.bits), format!("{} bits", settings.bits)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pare_engine::recipe::Recipe;
    use pare_engine::report::Measure;

    fn candidate(which: Candidate, predicted: f64, measured: Option<f64>) -> CandidateReport {
        CandidateReport {
            candidate: which,
            bytes: 1000,
            bits_per_weight: 4.0,
            milliseconds: None,
            predicted_loss: Some(predicted),
            measured: measured.map(|loss| (loss, None)),
        }
    }

    fn report(best: Candidate, measured: [Option<f64>; 2]) -> AllocateReport {
        AllocateReport {
            measure: Measure::Kl,
            recipe: Recipe::default(),
            best,
            candidates: vec![
                candidate(Candidate::Allocated, 0.01, measured[0]),
                candidate(Candidate::Uniform, 0.02, measured[1]),
            ],
            budget_bytes: 1024,
            front: Vec::new(),
            front_milliseconds: Vec::new(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn candidates_stand_beside_uniform_bits() {
        let measured = report(Candidate::Allocated, [Some(0.015), Some(0.02)]);
        let expected = "\
recipe          bytes  bits/weight  predicted KL  measured KL   against uniform
layer by layer   1000        4.000        0.0100       0.0150  -25.0 % measured
uniform          1000        4.000        0.0200       0.0200                 -
";
        assert_eq!(candidates(&measured), expected);
        let predicted = candidates(&report(Candidate::Allocated, [None, None]));
        assert!(predicted.contains("-50.0 % predicted"), "{predicted}");
    }

    #[test]
    fn a_better_uniform_recipe_is_told() {
        let cases = [
            (Candidate::Allocated, [None, None], "--verify"),
            (
                Candidate::Allocated,
                [Some(0.01), Some(0.02)],
                "as measured",
            ),
            (
                Candidate::Uniform,
                [Some(0.02), Some(0.01)],
                "uniform: it measured better",
            ),
        ];
        for (best, measured, expected) in cases {
            let verdict = verdict(&report(best, measured));
            assert!(verdict.contains(expected), "{expected:?}: {verdict}");
        }
    }
}
