//! `sensitivity`: every layer at every option, kept beside the moments row by row, so that an interrupted job goes on and
//! a second question costs nothing.
//!
//! `judged` says which layers and options, `survey` is the table in the making and what is kept of it, `work` fills what is
//! missing.

mod judged;
mod survey;
mod work;

use super::choose_requests::{Agreement, SensitivityReport, SensitivityRequest};
use super::measured_recipe::WithoutWarnings;
use super::{Session, SessionError};
use crate::report::{Notice, Observer, SensitivityTable};
use crate::score::{median, spearman};
use std::time::Instant;
use survey::Survey;

pub(super) use judged::settings_of;

impl Session {
    /// Judges every layer at every option asked; what is kept already is not judged again.
    pub fn sensitivity(
        &self,
        request: &SensitivityRequest,
        observer: &dyn Observer,
    ) -> Result<SensitivityReport, SessionError> {
        self.install(|| self.sensitivity_here(request, observer))
    }

    /// What is kept of it already; `None` where that is nothing. Reads and hashes all weights once in a session.
    pub fn find_sensitivity(
        &self,
        request: &SensitivityRequest,
        observer: &dyn Observer,
    ) -> Result<Option<SensitivityTable>, SessionError> {
        let calibration = &request.recipe.calibration;
        if !request.recipe.structure.is_none() {
            return Ok(None);
        }
        let Some(inputs) = self.find_original_inputs(calibration, observer)? else {
            return Ok(None);
        };
        self.install(|| {
            // Who only looks need not hear again what the text is like.
            let quiet = WithoutWarnings(observer);
            let text = self.scored_slice(&request.slice, calibration, &quiet)?;
            let survey = Survey::new(self, request, inputs, text)?;
            Ok(survey.has_cells().then(|| survey.table()))
        })
    }

    /// `sensitivity` on the thread pool that calls.
    pub(super) fn sensitivity_here(
        &self,
        request: &SensitivityRequest,
        observer: &dyn Observer,
    ) -> Result<SensitivityReport, SessionError> {
        let started = Instant::now();
        if !request.recipe.structure.is_none() {
            return Err(self.input_problem(
                "the recipe takes parts of the network out first, and what a layer costs is asked of the layers that are left: compress with [structure] and method none, then ask that model with a recipe without [structure]",
            ));
        }
        let sequences = self.draw_sequences(&request.recipe.calibration)?;
        let inputs = self.original_moments(&sequences, observer)?;
        let text = self.scored_slice(&request.slice, &request.recipe.calibration, observer)?;
        let mut survey = Survey::new(self, request, inputs, text)?;
        for told in [survey.uncounted(), survey.left_out()].iter().flatten() {
            observer.notice(Notice::Warning(told));
        }
        let reused = survey.cells_known();
        survey.complete(observer)?;
        let table = survey.table();
        Ok(SensitivityReport {
            agreement: gradient_agreement(&table),
            cache: survey.inputs.folder().display().to_string(),
            table,
            reused,
            seconds: started.elapsed().as_secs_f64(),
        })
    }
}

/// How well one gradient pass tells the losses that probes measured.
fn gradient_agreement(table: &SensitivityTable) -> Option<Agreement> {
    let pairs = table.layers.iter().flat_map(|layer| {
        layer.probes.iter().filter_map(|probe| {
            let place = table
                .options
                .iter()
                .position(|&option| option == probe.option)?;
            let predicted = layer.errors[place]?.gradient_loss?;
            (probe.loss > 0.0 && predicted > 0.0).then_some((predicted, probe.loss))
        })
    });
    Agreement::of(&pairs.collect::<Vec<_>>())
}

impl Agreement {
    /// Of pairs `(predicted, measured)`; `None` where there are none.
    pub fn of(pairs: &[(f64, f64)]) -> Option<Self> {
        const FEWEST_RANKED: usize = 3;
        if pairs.is_empty() {
            return None;
        }
        let (predicted, measured): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        let ratios = pairs
            .iter()
            .filter(|(_, measured)| *measured > 0.0)
            .map(|(predicted, measured)| predicted / measured);
        let is_ranked = pairs.len() >= FEWEST_RANKED;
        Some(Self {
            pairs: pairs.len(),
            rank_correlation: is_ranked.then(|| spearman(&predicted, &measured)).flatten(),
            median_ratio: median(ratios.collect()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_is_of_ranks_and_of_the_middle() {
        assert_eq!(Agreement::of(&[]), None);
        let found = Agreement::of(&[(2.0, 1.0), (3.0, 2.0)]);
        let expected = Agreement {
            pairs: 2,
            rank_correlation: None,
            median_ratio: Some(1.75),
        };
        assert_eq!(found, Some(expected));
        let found = Agreement::of(&[(1.0, 1.0), (2.0, 4.0), (30.0, 5.0)]);
        let expected = Agreement {
            pairs: 3,
            rank_correlation: Some(1.0),
            median_ratio: Some(1.0),
        };
        assert_eq!(found, Some(expected));
    }
}
