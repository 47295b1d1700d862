//! What a run left, as a page wants it: of `compress`, `distill` or `export`, in the files of `.pare`.
//!
//! Every file is hostile: sizes are bounded, what does not parse is told, nothing is guessed.

use super::super::SessionError;
use super::super::report_file::report_bytes;
use super::super::requests::CompressReport;
use crate::formats::store::OWN_FOLDER;
use crate::recipe::Recipe;
use crate::report::page::{Front, RunKind, RunPage};
use crate::report::{DistillReport, Environment, ExportReport};
use crate::solved::Method;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::path::Path;

/// A recipe takes a few hundred bytes a layer; anything far larger is none.
const MAX_RECIPE_BYTES: u64 = 16 << 20;

/// What kind of report a file holds, and with what the run was made.
#[derive(Deserialize)]
struct Kind {
    layers: Option<IgnoredAny>,
    curve: Option<IgnoredAny>,
    #[serde(default)]
    environment: Option<Environment>,
}

/// The page of the run in `folder`, files not yet hashed.
pub(super) fn page(folder: &Path) -> Result<RunPage, SessionError> {
    check(folder)?;
    let own = folder.join(OWN_FOLDER);
    let is_there = |name: &str| own.join(name).exists();
    let mut page = match (is_there("report.json"), is_there("export.json")) {
        (true, _) => of_run(&own.join("report.json"))?,
        (false, true) => of_export(&own)?,
        (false, false) => return Err(unfinished(folder)),
    };
    page.name = name_of(folder);
    let kept = || {
        let small = std::fs::metadata(own.join("recipe.toml")).ok()?.len() <= MAX_RECIPE_BYTES;
        small.then(|| std::fs::read_to_string(own.join("recipe.toml")).ok())?
    };
    // The file is complete; a report of training may say another's.
    page.recipe = kept().or(page.recipe);
    let recipe = page
        .recipe
        .as_deref()
        .and_then(|text| Recipe::parse(text).ok());
    page.seed = recipe.map(|recipe| match (&recipe.train, page.kind) {
        (Some(train), RunKind::Trained) => train.seed,
        _ => recipe.calibration.seed,
    });
    Ok(page)
}

/// Whether `folder` may be a run at all.
fn check(folder: &Path) -> Result<(), SessionError> {
    let problem = |problem: &str| {
        Err(SessionError::Input {
            problem: problem.to_owned(),
            path: folder.to_owned(),
        })
    };
    match std::fs::metadata(folder) {
        Err(_) if partial_of(folder).is_dir() => Err(unfinished(&partial_of(folder))),
        Err(error) => problem(&format!("the run could not be found: {error}")),
        Ok(data) if !data.is_dir() => problem(
            "a report is made of the folder of a run, and this is a file, which keeps none; name the folder that pare compress, distill or export made (export --format gguf keeps a report where --out names a folder)",
        ),
        Ok(_) if !folder.join(OWN_FOLDER).is_dir() => problem(
            "this folder is no run; name one that pare compress, distill or export made (a single gguf file keeps no report: name its run)",
        ),
        Ok(_) => Ok(()),
    }
}

fn partial_of(folder: &Path) -> std::path::PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    folder.with_file_name(name)
}

fn unfinished(folder: &Path) -> SessionError {
    let is_partial = folder.extension().is_some_and(|ending| ending == "partial");
    let problem = match is_partial {
        true => {
            "the run is not finished, so there is nothing to report yet; finish it with --resume"
        }
        false => {
            "the run has no report in .pare; name a folder that pare compress, distill or export finished"
        }
    };
    SessionError::Input {
        problem: problem.to_owned(),
        path: folder.to_owned(),
    }
}

fn name_of(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let name = whole.file_name().unwrap_or(whole.as_os_str());
    name.to_string_lossy().into_owned()
}

/// The bytes of a report, whose size is bounded.
fn bytes_of(path: &Path) -> Result<Vec<u8>, SessionError> {
    report_bytes(path).map_err(|reason| SessionError::Input {
        problem: format!("the run's report {reason}; make the run again"),
        path: path.to_owned(),
    })
}

fn parse<T: DeserializeOwned>(bytes: &[u8], path: &Path) -> Result<T, SessionError> {
    serde_json::from_slice(bytes).map_err(|error| SessionError::Input {
        problem: format!(
            "the run's report is damaged or of another version: {error}; make the run again"
        ),
        path: path.to_owned(),
    })
}

fn of_run(path: &Path) -> Result<RunPage, SessionError> {
    let bytes = bytes_of(path)?;
    let kind: Kind = parse(&bytes, path)?;
    let compressed: Option<CompressReport> = match kind.layers {
        Some(_) => Some(parse(&bytes, path)?),
        None => None,
    };
    let trained: Option<DistillReport> = match kind.curve {
        Some(_) => Some(parse(&bytes, path)?),
        None => None,
    };
    let mut page = match (compressed, trained) {
        (Some(compressed), trained) => RunPage {
            kind: if trained.is_some() {
                RunKind::Trained
            } else {
                RunKind::Compressed
            },
            training: trained,
            ..of_compressed(compressed)
        },
        (None, Some(trained)) => of_trained(trained),
        (None, None) => {
            return Err(SessionError::Input {
                problem: "the run's report is of no kind that pare writes; make the run again"
                    .to_owned(),
                path: path.to_owned(),
            });
        }
    };
    if let Some(training) = &page.training {
        page.seconds = Some(training.seconds);
        page.peak_rss_bytes = Some(training.peak_rss_bytes);
        page.evaluation = training.evaluation.clone();
    }
    page.environment = kind.environment;
    Ok(page)
}

fn of_compressed(report: CompressReport) -> RunPage {
    let has_codes = report
        .layers
        .iter()
        .any(|layer| layer.method != Method::None);
    let stages = report
        .stages
        .into_iter()
        .map(|stage| (stage.stage, stage.seconds));
    RunPage {
        format: Some(report.format),
        bytes_before: Some(report.bytes_before),
        bytes_after: Some(report.bytes_after),
        bits_per_weight: has_codes.then_some(report.bits_per_weight),
        seconds: Some(report.seconds),
        peak_rss_bytes: Some(report.peak_rss_bytes),
        stages: stages.collect(),
        layers: report.layers,
        structure: report.structure,
        evaluation: report.evaluation,
        verified: Some(report.verified),
        recipe: Some(report.recipe),
        warnings: report.warnings,
        ..RunPage::empty(RunKind::Compressed)
    }
}

fn of_trained(report: DistillReport) -> RunPage {
    RunPage {
        bytes_after: Some(report.bytes),
        verified: Some(report.verified),
        recipe: Some(report.recipe.clone()),
        warnings: report.warnings.clone(),
        training: Some(report),
        ..RunPage::empty(RunKind::Trained)
    }
}

fn of_export(own: &Path) -> Result<RunPage, SessionError> {
    let path = own.join("export.json");
    let report: ExportReport = parse(&bytes_of(&path)?, &path)?;
    let origin = own.join("origin.json");
    let mut page = RunPage::empty(RunKind::Exported);
    if origin.exists() {
        page = of_run(&origin)?;
        page.warnings.push(
            "sizes and errors of layers, quality, texts and what it was made with are those of the run that this was exported from"
                .to_owned(),
        );
    }
    Ok(RunPage {
        kind: RunKind::Exported,
        format: Some(report.format),
        bytes_after: Some(report.bytes),
        // The container's own are not counted, and the run's would be another's.
        bits_per_weight: None,
        fallbacks: report.fallbacks,
        verified: Some(report.verified),
        // An export solves nothing: times and memory would be another job's.
        seconds: None,
        peak_rss_bytes: None,
        stages: Vec::new(),
        ..page
    })
}

/// What `allocate --json` prints, as far as its front goes.
#[derive(Deserialize)]
struct Allocation {
    front: Vec<Point>,
}

#[derive(Deserialize)]
struct Point {
    bytes: u64,
    predicted_kl: Option<f64>,
    predicted_cosine_distance: Option<f64>,
}

/// The front of an allocation.
pub(super) fn front(path: &Path) -> Result<Front, SessionError> {
    let problem = |reason: String| SessionError::Input {
        problem: format!("the allocation {reason}; name what pare allocate --json printed"),
        path: path.to_owned(),
    };
    let bytes = report_bytes(path).map_err(problem)?;
    let allocation: Allocation = serde_json::from_slice(&bytes)
        .map_err(|error| problem(format!("is no such document: {error}")))?;
    let is_distance = allocation
        .front
        .iter()
        .any(|point| point.predicted_cosine_distance.is_some());
    let loss = |point: &Point| match is_distance {
        true => point.predicted_cosine_distance,
        false => point.predicted_kl,
    };
    let points = allocation.front.iter();
    let mut points: Vec<(u64, f64)> = points
        .filter_map(|point| Some((point.bytes, loss(point)?)))
        .collect();
    points.sort_by_key(|(size, _)| *size);
    let measure = if is_distance {
        "predicted_cosine_distance"
    } else {
        "predicted_kl"
    };
    Ok(Front {
        measure: measure.to_owned(),
        points,
    })
}
