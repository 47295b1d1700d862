//! An adapter beside a frozen student: trained, written as PEFT lays it out, and worked into the weights where asked.
//!
//! What cannot be worked in is found before the first step.

use super::super::evaluate_job::open_runnable;
use super::super::recovery::Merged;
use super::super::{Session, SessionError};
use super::Measured;
use super::merging::{made, reread};
use super::modes::{Reports, count};
use super::prepare::Prepared;
use crate::formats::RunFolder;
use crate::formats::peft::write_peft;
use crate::model::{LayerInfo, LayerKind};
use crate::packed::PackedSource;
use crate::recipe::{AdapterSettings, Pattern, TrainSettings};
use crate::report::{Notice, Observer};
use crate::train::Learner as _;
use crate::train::adapter::{AdapterConfig, AdapterLearner};
use std::sync::Arc;

/// Folder of the adapter inside a merged model.
const ADAPTER: &str = "adapter";

impl Session {
    pub(super) fn train_adapter(
        &self,
        prepared: &Prepared<'_>,
        run: &RunFolder,
        observer: &dyn Observer,
    ) -> Result<Reports, SessionError> {
        let (student, settings) = (&prepared.student, &prepared.settings.adapter);
        let learner = Arc::new(self.adapter_learner(prepared)?);
        let no_base = student.no_base_for_peft();
        let told = no_base.filter(|_| !settings.merge);
        if let Some(warning) = told {
            observer.notice(Notice::Warning(warning));
        }
        let before = self.measure_before(prepared, observer)?;
        let outcome = self.with_judge(prepared, observer, |judge| {
            self.train(prepared, learner.as_ref(), judge, run, observer)
        })?;
        let layers = learner.layers()?;
        let adapter = student.as_peft(&layers, settings)?;
        let partial = run.partial();
        let folder = match settings.merge {
            true => partial.join(ADAPTER),
            false => partial.to_owned(),
        };
        let mut bytes = write_peft(&adapter, made(&folder)?)?;
        let mut verified = reread(&adapter, &folder)?;
        let mut written = None;
        let adapted = if settings.merge {
            let scaling = adapter.config.scaling();
            let merged = Merged::new(student.model()?, layers, scaling);
            if student.has_codes() {
                let recovered = student.recovered(&merged, observer)?;
                let report = student.write_recovered(self.model()?, &recovered, run, observer)?;
                bytes += report.bytes_after;
                verified = report.verified;
                written = Some(report);
            } else {
                let (dense, reopened) = student.write_merged(&merged, partial, observer)?;
                bytes += dense;
                verified = reopened;
            }
            open_runnable(partial)?
        } else {
            // Beside the weights as they run, not beside what they stand for: comparable with what was before.
            learner.rest(true);
            student.model_on_kernels()?.over(learner.clone())
        };
        let teacher = self.model_on_kernels()?;
        let measured = Measured {
            before,
            after: student.measure_for(prepared, &adapted, Some(&teacher), observer)?,
        };
        let numbers = (measured, verified, bytes, None);
        let count = count(learner.as_ref());
        let mut report = self.training_report(prepared, count, outcome, numbers)?;
        report.warnings.extend(told.map(str::to_owned));
        Ok((report, written))
    }

    /// An error where no adapter can be trained beside `student`, or not be worked into it.
    pub(super) fn check_adapter(
        &self,
        student: &Self,
        settings: &TrainSettings,
    ) -> Result<(), SessionError> {
        let patterns = self.targets(&settings.adapter)?;
        match settings.adapter.merge {
            true => student.check_mergeable(&|info| is_target(&patterns, info)),
            false => Ok(()),
        }
    }

    fn targets(&self, settings: &AdapterSettings) -> Result<Vec<Pattern>, SessionError> {
        let patterns = settings.patterns();
        patterns.map_err(|problem| self.input_problem(&problem))
    }

    /// Adapters where the settings want them.
    fn adapter_learner(&self, prepared: &Prepared<'_>) -> Result<AdapterLearner, SessionError> {
        let (student, settings) = (&prepared.student, &prepared.settings.adapter);
        let patterns = self.targets(settings)?;
        let config = AdapterConfig {
            rank: settings.rank,
            alpha: settings.alpha,
            dropout: settings.dropout,
            by_root: settings.rslora,
            seed: prepared.settings.seed,
        };
        let codes = student
            .has_codes()
            .then(|| student.checkpoint.clone() as Arc<dyn PackedSource>);
        let targets = |info: &LayerInfo| is_target(&patterns, info);
        Ok(AdapterLearner::new(
            student.model()?,
            codes,
            &targets,
            config,
        )?)
    }
}

fn is_target(patterns: &[Pattern], info: &LayerInfo) -> bool {
    let is_inside = info.kind == LayerKind::Linear && info.block.is_some();
    is_inside && patterns.iter().any(|pattern| pattern.hits(&info.name))
}
