//! `.pare/report.json` of a run: written at its end, read again when somebody looks at the run.

use super::{CompressReport, SessionError};
use crate::formats::store::OWN_FOLDER;
use crate::report::Environment;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// A report takes about 12 kB a layer; anything far larger is none.
const MAX_REPORT_BYTES: u64 = 256 << 20;

/// What lies in the run: the report, and with what it was made.
#[derive(serde::Serialize)]
struct Written<'a> {
    #[serde(flatten)]
    report: &'a CompressReport,
    environment: &'a Environment,
}

/// The report as it lies in the run. Numbers are finite by construction, so that JSON can hold them.
pub(super) fn report_json(report: &CompressReport, environment: &Environment) -> String {
    let written = Written {
        report,
        environment,
    };
    serde_json::to_string_pretty(&written)
        .unwrap_or_else(|error| format!("{{\"reason\": \"{error}\"}}"))
}

/// The report of a finished run.
pub fn read_report(run: &Path) -> Result<CompressReport, SessionError> {
    let path = run.join(OWN_FOLDER).join("report.json");
    let problem = |problem: String| SessionError::Input {
        problem,
        path: path.clone(),
    };
    let text = report_bytes(&path).map_err(|reason| {
        problem(format!(
            "the run's report {reason}; choose a folder that pare compress finished"
        ))
    })?;
    serde_json::from_slice(&text).map_err(|error| {
        problem(format!(
            "the run's report is damaged or of another version: {error}; compress again"
        ))
    })
}

/// The bytes of a report, or why there are none, as the middle of a sentence.
pub(super) fn report_bytes(path: &Path) -> Result<Vec<u8>, String> {
    let unread = |error: std::io::Error| format!("could not be read: {error}");
    let metadata = std::fs::metadata(path).map_err(unread)?;
    // Opening a pipe would wait for whoever writes to it.
    if !metadata.is_file() {
        return Err("is no file".to_owned());
    }
    let mut text = Vec::new();
    let file = File::open(path).map_err(unread)?;
    // One byte more tells that there are too many, even of a file that grows.
    let mut reader = file.take(MAX_REPORT_BYTES + 1);
    reader.read_to_end(&mut text).map_err(unread)?;
    if text.len() as u64 > MAX_REPORT_BYTES {
        return Err(format!(
            "has more than {MAX_REPORT_BYTES} bytes, so it is none"
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    #![expect(
        clippy::disallowed_methods,
        reason = "damage is made as a crash makes it"
    )]
    use super::super::environment::{Texts, environment};
    use super::*;
    use crate::distortion::Histograms;
    use crate::recipe::Recipe;
    use crate::report::{DecoderEvaluation, Evaluation, LayerReport, Verified};
    use crate::solved::{Method, Warning};
    use crate::tensor::Matrix;

    fn report() -> CompressReport {
        let weights = Matrix::new(1, 3, vec![0.1, -0.25, 0.7]);
        let layer = LayerReport {
            name: "model.layers.0.mlp.down_proj".to_owned(),
            method: Method::Gptq,
            bits: 4,
            group: 128,
            sparsity: 0.1,
            bytes: 12,
            weights: 3,
            relative_output_error: Some(1.0 / 3.0),
            sqnr_db: None,
            cosine: Some(0.999),
            max_error: Some(1e-9),
            seconds: 0.25,
            fallback: None,
            warnings: vec![Warning::DeadInputs { count: 2 }],
            codes_used: 3,
            prune: crate::settings::PruneMethod::None,
            pattern: None,
            rank: None,
            palette: None,
            dead_inputs: 2,
            activations: crate::packed::ActivationPlan::NONE,
            settings: Recipe::default().default,
            histograms: Some(Histograms::of(&weights, &weights, None)),
            reason: None,
        };
        CompressReport {
            out: "out".to_owned(),
            format: "pare".to_owned(),
            bytes_before: 100,
            bytes_after: 30,
            bits_per_weight: 4.25,
            seconds: 1.5,
            peak_rss_bytes: 1 << 30,
            recipe: Recipe::default().to_toml(),
            stages: Vec::new(),
            layers: vec![layer],
            structure: None,
            verified: Verified {
                tensors: 1,
                max_abs_difference: 0.0,
            },
            evaluation: Some(Evaluation::Decoder(DecoderEvaluation {
                tokens: 10,
                windows: 1,
                perplexity: 2.5,
                perplexity_stderr: None,
                seconds: 0.1,
                reference_perplexity: None,
                perplexity_ratio: None,
                perplexity_ratio_stderr: None,
                kl: None,
                same_top: None,
                flips: None,
                kv_cache: crate::settings::KvCache::F32,
            })),
            warnings: vec!["a rule hits no layer".to_owned()],
        }
    }

    /// A run whose report is `text`.
    fn run_with(text: &[u8]) -> tempfile::TempDir {
        let run = tempfile::tempdir().unwrap();
        std::fs::create_dir(run.path().join(OWN_FOLDER)).unwrap();
        std::fs::write(run.path().join(OWN_FOLDER).join("report.json"), text).unwrap();
        run
    }

    #[test]
    fn what_was_written_reads_back() {
        let environment = environment(Texts::default());
        let run = run_with(report_json(&report(), &environment).as_bytes());
        assert_eq!(read_report(run.path()).unwrap(), report());
    }

    #[test]
    fn what_is_no_report_is_an_error_that_says_what_to_do() {
        let deep = "[".repeat(100_000);
        let cases = [
            ("", "damaged"),
            ("{\"reason\": \"no\"}", "missing field"),
            ("\0\u{ff}", "damaged"),
            (&deep, "damaged"),
        ];
        for (text, expected) in cases {
            let run = run_with(text.as_bytes());
            let error = read_report(run.path()).unwrap_err().to_string();
            assert!(error.contains(expected), "expected {expected:?}: {error}");
            assert!(error.ends_with("report.json"), "{error}");
        }
        let nowhere = tempfile::tempdir().unwrap();
        let error = read_report(nowhere.path()).unwrap_err().to_string();
        assert!(error.contains("pare compress finished"), "{error}");
    }

    #[test]
    fn a_folder_or_an_endless_file_is_refused() {
        let run = run_with(b"");
        let path = run.path().join(OWN_FOLDER).join("report.json");
        let endless = File::options().write(true).open(&path).unwrap();
        endless.set_len(MAX_REPORT_BYTES + 1).unwrap();
        let error = read_report(run.path()).unwrap_err().to_string();
        assert!(error.contains("more than"), "{error}");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let error = read_report(run.path()).unwrap_err().to_string();
        assert!(error.contains("is no file"), "{error}");
    }
}
