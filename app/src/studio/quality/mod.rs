//! What a draft would cost in quality, as far as it is known: predicted errors of drafts, measured loss of runs, and a rough
//! guide from one to the other.
//!
//! The predicted error `D` of a draft is the root of its layers' squared relative errors, each weighted by its share of the
//! weights. The loss of a model (KL of a decoder, 1 - cosine of an encoder) grows about with the square of `D` where errors
//! are small, so `loss ≈ c·D²` with `c` the median of measured runs is a rough guide: it knows no layer's weight in the
//! whole. Where a sensitivity table is known, it predicts instead. Knows no screen; made anew when the draft, the estimates or the runs change, never in a frame.

mod prediction;
mod ran;

pub use prediction::Prediction;
pub use ran::{RunPlace, measured_error};

use super::compose;
use super::draft::Draft;
use super::estimates::OPTION_BITS;
use super::figure::{Figure, Mark};
use super::project::{Project, Totals};
use super::runs::{Run, RunStatus, recipe_hash};
use super::sensitivity::SensitivityState;
use super::state::{Studio, weakest};
use pare_engine::allocate::FrontPoint;
use pare_engine::formats::layout::stored_bytes;
use pare_engine::recipe::LayerSettings;
use pare_engine::report::{Evaluation, Measure};
use prediction::Predictions;
use std::sync::Arc;

/// Where a recipe lies between size and quality.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Bytes of all compressible layers.
    pub bytes: u64,
    /// Stored bits for each of their weights.
    pub bits_per_weight: f64,
    /// Predicted or measured error over all of them; `None` while any layer's is unknown.
    pub error: Option<Figure>,
    /// Loss predicted from sensitivity; `None` where it is not measured, or not of this recipe's options.
    pub predicted: Option<f64>,
}

/// All inner layers at the same bits.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    /// The bits.
    pub bits: u8,
    /// Settings of every layer.
    pub settings: Vec<LayerSettings>,
    /// Where it lies.
    pub place: Place,
}

/// Everything known about size against quality of one model.
#[derive(Debug, Clone, Default)]
pub struct Outlook {
    /// The draft that the rest was made for.
    draft: Option<Arc<Draft>>,
    /// The draft's recipe as text.
    recipe_toml: String,
    /// The hash that a run of it would have.
    hash: String,
    /// Uniform bits, few first.
    pub baselines: Vec<Baseline>,
    /// The draft in force.
    pub now: Option<Place>,
    /// The draft before the last edit.
    pub ghost: Option<Place>,
    /// Finished runs, newest first.
    pub runs: Vec<RunPlace>,
    /// `c` of `loss ≈ c·D²`, where a run was measured.
    pub guide: Option<f64>,
    /// The predicted front, few bytes first, in bytes of all compressible layers; empty where sensitivity is not measured.
    pub front: Arc<Vec<FrontPoint>>,
    /// How predictions of runs held, where any can be compared.
    pub prediction: Option<Prediction>,
    /// Whether predictions are about another method or calibration than the draft's.
    pub is_stale: bool,
    /// What the table predicts of runs.
    predictions: Predictions,
    /// Bytes of all compressible layers before.
    pub bytes_before: u64,
    /// Their stored bits per weight before.
    pub bits_before: f64,
    /// Grows with every change.
    pub version: u64,
}

impl Outlook {
    /// What is known of `project` after `runs` of its model, newest first.
    pub(super) fn of<'a>(project: &Project, runs: impl Iterator<Item = &'a Run>) -> Self {
        let old = &project.outlook;
        let draft = project.draft();
        let is_same = old
            .draft
            .as_ref()
            .is_some_and(|old| Arc::ptr_eq(old, draft));
        let (recipe_toml, hash, mut baselines) = match is_same {
            true => (
                old.recipe_toml.clone(),
                old.hash.clone(),
                old.baselines.clone(),
            ),
            false => {
                let toml = compose::recipe(draft, &project.layers).to_toml();
                let hash = recipe_hash(&toml);
                (toml, hash, uniform(project))
            }
        };
        for baseline in &mut baselines {
            baseline.place.error = error_of(project, &baseline.settings);
        }
        let runs: Vec<&Run> = runs.collect();
        let predictions = old.predictions.follow(project, &runs);
        let runs: Vec<RunPlace> = runs.into_iter().filter_map(ran::run_place).collect();
        let totals = &project.totals;
        let ghost = project.history.previous();
        let mut outlook = Self {
            draft: Some(draft.clone()),
            recipe_toml,
            hash,
            baselines,
            now: Some(place_of_totals(totals)),
            ghost: ghost.map(|ghost| place(project, &ghost.settings, ghost)),
            guide: guide(runs.iter().map(|run| (run.place.error, run.loss))),
            front: project.sensitivity.front.clone(),
            prediction: predictions.beside(&runs),
            is_stale: project.sensitivity.state == SensitivityState::Stale,
            predictions,
            runs,
            bytes_before: totals.bytes_before,
            bits_before: 8.0 * totals.bytes_before as f64 / totals.weights.max(1) as f64,
            version: old.version + 1,
        };
        outlook.predict(project);
        outlook
    }

    /// Fills in what sensitivity predicts of each place.
    fn predict(&mut self, project: &Project) {
        let predict =
            |settings: &[LayerSettings]| project.sensitivity.predict(&project.layers, settings);
        for baseline in &mut self.baselines {
            baseline.place.predicted = predict(&baseline.settings);
        }
        if let Some(now) = &mut self.now {
            now.predicted = predict(&project.draft().settings);
        }
        if let (Some(place), Some(ghost)) = (&mut self.ghost, project.history.previous()) {
            place.predicted = predict(&ghost.settings);
        }
        for run in &mut self.runs {
            run.place.predicted = self.predictions.of(run.id);
        }
    }

    /// The loss predicted of a place: from sensitivity, else by the guide; `None` where neither can.
    pub fn loss_of(&self, place: &Place) -> Option<Figure> {
        let from_sensitivity = place.predicted.map(|value| Figure {
            value,
            mark: match self.is_stale {
                true => Mark::Stale,
                false => Mark::Estimated,
            },
        });
        from_sensitivity.or_else(|| self.predicted(place.error?))
    }

    /// The recipe of `draft` as text, where this was made for it.
    pub(super) fn recipe_of(&self, draft: &Arc<Draft>) -> Option<&str> {
        let own = self.draft.as_ref()?;
        Arc::ptr_eq(own, draft).then_some(&self.recipe_toml[..])
    }

    /// The loss that the guide makes of an error; never more than estimated.
    pub fn predicted(&self, error: Figure) -> Option<Figure> {
        let guide = self.guide?;
        let mark = match error.mark {
            Mark::Stale => Mark::Stale,
            _ => Mark::Estimated,
        };
        Some(Figure {
            value: guide * error.value * error.value,
            mark,
        })
    }
}

/// The loss of the draft: measured where a run had exactly its recipe, else predicted, else `None`.
pub fn headline(studio: &Studio) -> Option<Figure> {
    let outlook = &studio.project()?.outlook;
    let is_same = |run: &&Run| run.status == RunStatus::Done && run.recipe_hash == outlook.hash;
    let mut same = studio.runs_of_model().filter(is_same);
    let measured = same.find_map(Run::loss);
    measured.or_else(|| outlook.loss_of(outlook.now.as_ref()?))
}

/// What the loss of the open model is called: `KL` of decoders, `1 - cosine` of encoders.
pub fn loss_name(studio: &Studio) -> &'static str {
    let newest = studio.runs_of_model().find_map(Run::evaluation);
    let is_encoder = || studio.project().is_some_and(|p| p.session.is_encoder());
    let measure = match newest {
        Some(Evaluation::Encoder(_)) => Measure::CosineDistance,
        None if is_encoder() => Measure::CosineDistance,
        _ => Measure::Kl,
    };
    measure.name()
}

/// The median over runs of `loss / D²`: the middle of them in the logarithm, so that no single run decides.
fn guide(runs: impl Iterator<Item = (Option<Figure>, Option<(f64, Option<f64>)>)>) -> Option<f64> {
    let ratio = |(error, loss): (Option<Figure>, Option<(f64, Option<f64>)>)| {
        let (error, loss) = (error?.value, loss?.0);
        (error > 0.0 && loss > 0.0).then(|| (loss / (error * error)).ln())
    };
    let mut ratios: Vec<f64> = runs.filter_map(ratio).collect();
    ratios.sort_by(f64::total_cmp);
    let (low, high) = (ratios.len().checked_sub(1)? / 2, ratios.len() / 2);
    Some((0.5 * (ratios[low] + ratios[high])).exp())
}

fn uniform(project: &Project) -> Vec<Baseline> {
    let of_bits = |bits| {
        let draft = project.uniform(bits);
        Baseline {
            bits,
            place: place(project, &draft.settings, &draft),
            settings: draft.settings,
        }
    };
    OPTION_BITS.map(of_bits).to_vec()
}

fn place(project: &Project, settings: &[LayerSettings], draft: &Draft) -> Place {
    let layers = project.layers.iter().zip(settings);
    let layers = layers.filter(|(info, _)| info.compressible);
    let bytes = layers.map(|(info, settings)| stored_bytes(draft.format, info, settings));
    let bytes: u64 = bytes.sum();
    Place {
        bytes,
        bits_per_weight: 8.0 * bytes as f64 / project.totals.weights.max(1) as f64,
        error: error_of(project, settings),
        predicted: None,
    }
}

fn place_of_totals(totals: &Totals) -> Place {
    Place {
        bytes: totals.bytes_after,
        // Over all of them, dense ones too, as baselines and runs are placed.
        bits_per_weight: 8.0 * totals.bytes_after as f64 / totals.weights.max(1) as f64,
        error: totals.error,
        predicted: None,
    }
}

/// The error of a whole recipe; `None` where any layer's is unknown.
fn error_of(project: &Project, settings: &[LayerSettings]) -> Option<Figure> {
    let (mut squares, mut weights) = (0.0, 0.0);
    let mut marks = Vec::with_capacity(settings.len());
    for (layer, info) in project.layers.iter().enumerate() {
        if info.compressible {
            let error = project.error_under(layer, &settings[layer])?;
            squares += error.value * error.value * info.parameters as f64;
            weights += info.parameters as f64;
            marks.push(error.mark);
        }
    }
    Some(Figure {
        value: (squares / f64::max(weights, 1.0)).sqrt(),
        mark: weakest(marks.into_iter())?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn run(error: f64, loss: f64) -> (Option<Figure>, Option<(f64, Option<f64>)>) {
        (Some(Figure::measured(error)), Some((loss, None)))
    }

    #[test]
    fn the_guide_is_the_median_ratio() {
        let known = |runs: &[(f64, f64)]| guide(runs.iter().map(|&(error, loss)| run(error, loss)));
        for (runs, expected) in [
            (vec![], None),
            (vec![(0.0, 0.1)], None),
            (vec![(0.1, 0.02)], Some(2.0)),
            (vec![(0.1, 0.02), (0.1, 0.02), (0.1, 9.0)], Some(2.0)),
            (vec![(0.1, 0.01), (0.2, 0.16)], Some(2.0)),
        ] {
            let found = known(&runs);
            let is_near = match (found, expected) {
                (Some(found), Some(expected)) => f64::abs(found - expected) < 1e-9,
                (found, expected) => found == expected,
            };
            assert!(is_near, "{runs:?}: expected {expected:?}, found {found:?}");
        }
    }

    #[test]
    fn the_draft_lies_where_a_run_of_it_would() {
        let totals = Totals {
            weights: 100,
            bytes_after: 125,
            compressed_weights: 50,
            compressed_bytes: 25,
            ..Totals::default()
        };
        assert!((place_of_totals(&totals).bits_per_weight - 10.0).abs() < 1e-12);
    }

    #[test]
    fn a_prediction_grows_with_the_error_and_is_never_measured() {
        let outlook = Outlook {
            guide: Some(3.0),
            ..Outlook::default()
        };
        let of = |error: f64, mark| outlook.predicted(Figure { value: error, mark }).unwrap();
        let values: Vec<f64> = [0.01, 0.02, 0.1, 0.5]
            .map(|error| of(error, Mark::Measured).value)
            .to_vec();
        assert!(values.is_sorted(), "{values:?}");
        assert!((values[2] - 0.03).abs() < 1e-12, "3 x 0.1², {values:?}");
        for (mark, expected) in [
            (Mark::Exact, Mark::Estimated),
            (Mark::Measured, Mark::Estimated),
            (Mark::Estimated, Mark::Estimated),
            (Mark::Stale, Mark::Stale),
        ] {
            assert_eq!(of(0.1, mark).mark, expected, "{mark:?}");
        }
        assert_eq!(Outlook::default().predicted(Figure::measured(0.1)), None);
    }
}
