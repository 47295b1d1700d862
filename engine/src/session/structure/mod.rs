//! The first step of a run whose recipe takes parts out of the network: an ordinary smaller model is made in the run's
//! folder, and everything else is done to that one.
//!
//! `plan` settles sizes, configuration and tokens before anything is scored; `cutting` goes block by block; `files`
//! writes. The smaller model stands in `DIR.partial/structure/` until the run is whole, so that a resumed run finds it.
//! What the result is compared with stays the original.

mod cutting;
mod files;
mod plan;
#[cfg(test)]
mod tests;
mod tokens;

use super::compress_job::{Origin, texts_of};
use super::environment::environment;
use super::prepared::Target;
use super::report_file::report_json;
use super::requests::{CompressReport, CompressRequest, DryRun, StageSeconds};
use super::{Session, SessionError};
use crate::calibrate::block_similarity;
use crate::formats::layout::PlanSource;
use crate::formats::store::Fingerprint;
use crate::formats::{RunFolder, StoreError};
use crate::model::Model;
use crate::recipe::{BlockChoice, CalibrationSettings, LayerSettings, Recipe, Structure};
use crate::report::{BlockSimilarity, Notice, Observer, StructureReport};
use crate::transform::structure::{Cut, CutSource};
use crate::units::hex;
use plan::SmallerPlan;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Name of the smaller model's folder inside an unfinished run.
const FOLDER: &str = "structure";

/// Makes the smaller model that `recipe.structure` describes in `folder`. Blocks that are only counted, heads and neurons
/// are chosen on the text of `recipe.calibration`.
pub(super) fn make_student(
    session: &Session,
    recipe: &Recipe,
    folder: &Path,
    observer: &dyn Observer,
) -> Result<StructureReport, SessionError> {
    let sequences = match needs_inputs(&recipe.structure) {
        true => session.draw_sequences(&recipe.calibration)?,
        false => Vec::new(),
    };
    let (recipe, similarity) = session.with_named_blocks(recipe, &sequences, observer)?;
    let plan = SmallerPlan {
        similarity,
        ..session.plan_smaller(&recipe)?
    };
    session.make_smaller(&recipe, &plan, &sequences, folder, observer)
}

impl Session {
    /// How little each block changes what passes through it, on the text that `settings` name.
    pub fn block_similarity(
        &self,
        settings: &CalibrationSettings,
        observer: &dyn Observer,
    ) -> Result<Vec<BlockSimilarity>, SessionError> {
        let sequences = self.draw_sequences(settings)?;
        self.install(|| self.similarity_on(&sequences, observer))
    }

    fn similarity_on(
        &self,
        sequences: &[Vec<u32>],
        observer: &dyn Observer,
    ) -> Result<Vec<BlockSimilarity>, SessionError> {
        let model = self.model()?;
        observer.notice(Notice::Stage {
            name: "comparing blocks with their inputs",
            steps: model.config().blocks as u64,
        });
        let folder = self.scratch()?;
        let policy = self.spill_policy(folder.path());
        let similarity = block_similarity(model, sequences, &policy, observer)?;
        let numbered = similarity.into_iter().enumerate();
        Ok(numbered
            .map(|(block, similarity)| BlockSimilarity { block, similarity })
            .collect())
    }

    /// `dry_run` of a recipe with structure: the bytes of what the smaller model becomes.
    pub(super) fn dry_run_of_smaller(
        &self,
        request: &CompressRequest,
        observer: &dyn Observer,
    ) -> Result<DryRun, SessionError> {
        let recipe = &self.named_where_sizes_differ(&request.recipe, observer)?;
        let mut plan = self.plan_smaller(recipe)?;
        if matches!(recipe.structure.blocks, BlockChoice::Count(1..)) {
            let unknown =
                "which blocks go is found in the run; sizes here are those without the last ones";
            plan.notes.push(unknown.to_owned());
        }
        let request = &self.request_of_smaller(request, &plan)?;
        let mut dry = self.with_stand_in(&plan, |target| self.dry_run_of(request, target))?;
        dry.structure = Some(plan.sizes_before_and_after(self)?);
        Ok(dry)
    }

    /// `recipe`, with the names of the blocks that go where `config.json` tells the kinds of those that stay: its length
    /// depends on them.
    fn named_where_sizes_differ(
        &self,
        recipe: &Recipe,
        observer: &dyn Observer,
    ) -> Result<Recipe, SessionError> {
        let has_text = recipe.calibration.corpus.is_some();
        if !has_text || !self.model()?.config().has_mixed_windows() {
            return Ok(recipe.clone());
        }
        let sequences = self.draw_sequences(&recipe.calibration)?;
        Ok(self.with_named_blocks(recipe, &sequences, observer)?.0)
    }

    /// `compress` of a recipe with structure.
    pub(super) fn compress_smaller(
        &self,
        request: &CompressRequest,
        observer: &dyn Observer,
    ) -> Result<CompressReport, SessionError> {
        let started = Instant::now();
        // What cannot be done is refused before anything is measured.
        self.plan_smaller(&request.recipe)?;
        if needs_inputs(&request.recipe.structure) && request.recipe.calibration.corpus.is_none() {
            return Err(self.input_problem(
                "which heads, neurons and blocks go is decided on a text; name one with --corpus",
            ));
        }
        let sequences = match request.recipe.calibration.corpus {
            Some(_) => self.draw_sequences(&request.recipe.calibration)?,
            None => Vec::new(),
        };
        let (recipe, similarity) = self.with_named_blocks(&request.recipe, &sequences, observer)?;
        let plan = SmallerPlan {
            similarity,
            ..self.plan_smaller(&recipe)?
        };
        let inner = &self.request_of_smaller(request, &plan)?;
        for note in &plan.notes {
            observer.notice(Notice::Warning(note));
        }
        let run = RunFolder::create(
            &request.out,
            self.checkpoint.root(),
            &request.recipe.to_toml(),
            &self.fingerprint_of_smaller(inner, &plan, &sequences)?,
            request.resume,
        )?;
        let texts = texts_of(request, observer);
        let folder = run.partial().join(FOLDER);
        let structure = match files::read_report(&folder) {
            Some(made) => made,
            None => self.make_smaller(&recipe, &plan, &sequences, &folder, observer)?,
        };
        let seconds = started.elapsed().as_secs_f64();
        let reference = self.reference(&plan)?;
        let origin = Origin {
            reference: &reference,
            bytes_before: self.bytes_before(),
        };
        let smaller = Self::open_within(&folder, self.options.clone(), self.pool.clone())?;
        let mut report = smaller.compress_into(inner, &run, origin, observer)?;
        if inner != request {
            // Rules with the smaller model's numbers would hit other layers of the original.
            report.recipe = request.recipe.to_toml();
        }
        // Its files are closed before they are removed.
        drop(smaller);
        std::fs::remove_dir_all(&folder)
            .map_err(StoreError::io("could not be removed", &folder))?;
        let stage = "structure".to_owned();
        report.stages.insert(0, StageSeconds { stage, seconds });
        report.seconds += seconds;
        report.warnings.extend(plan.notes);
        report.structure = Some(structure);
        run.finish(
            &report_json(&report, &environment(texts)),
            request.keep_layers,
        )?;
        Ok(report)
    }

    /// `request` with rules for the layers of the smaller model, where blocks have other numbers: each layer that stays
    /// keeps the settings that it has in the original.
    fn request_of_smaller(
        &self,
        request: &CompressRequest,
        plan: &SmallerPlan,
    ) -> Result<CompressRequest, SessionError> {
        let model = self.model()?;
        let stays = |block: usize| plan.sizes.blocks.contains(&block);
        if request.recipe.layers.is_empty() || (0..model.config().blocks).all(stays) {
            return Ok(request.clone());
        }
        let decisions = request.recipe.resolve(model.layers()).decisions;
        let kept = model.layers().iter().zip(decisions);
        let kept = kept.filter(|(layer, _)| layer.block.is_none_or(stays));
        let settings: Vec<LayerSettings> = kept.map(|(_, decision)| decision.settings).collect();
        let smaller = plan.stand_in(model)?;
        Ok(CompressRequest {
            recipe: request.recipe.saying(smaller.layers(), &settings),
            ..request.clone()
        })
    }

    /// Calls `work` with what the smaller model will look like, from headers alone.
    pub(super) fn with_stand_in<T>(
        &self,
        plan: &SmallerPlan,
        work: impl FnOnce(Target<'_>) -> Result<T, SessionError>,
    ) -> Result<T, SessionError> {
        let folder = self.scratch()?;
        let side_files = files::write_sides(folder.path(), plan)?;
        let model = plan.stand_in(self.model()?)?;
        work(Target {
            layers: model.layers(),
            source: PlanSource {
                weights: model.source().as_ref(),
                packed: None,
                config: Some(&plan.config),
                root: folder.path(),
                side_files: &side_files,
                made_files: &[],
            },
        })
    }

    /// The original, as the result can be compared with it: over the tokens that both have.
    fn reference(&self, plan: &SmallerPlan) -> Result<Model, SessionError> {
        let Some(tokens) = &plan.tokens else {
            return self.model_on_kernels();
        };
        let model = self.model()?;
        let cut = Cut {
            tokens: Some(tokens.rows()),
            ..Cut::none(model)
        };
        let original = self.checkpoint.config_json().cloned().unwrap_or_default();
        let mut sizes = model.config().sizes();
        sizes.vocabulary = tokens.kept.ids().len();
        let (config, _) = model.config().smaller_json(&original, &sizes)?;
        Ok(Model::open(Arc::new(CutSource::new(model, &cut)), &config)?)
    }

    fn fingerprint_of_smaller(
        &self,
        request: &CompressRequest,
        plan: &SmallerPlan,
        sequences: &[Vec<u32>],
    ) -> Result<Fingerprint, SessionError> {
        let asked = serde_json::to_string(&request.recipe.structure).unwrap_or_default();
        let mut digest = Sha256::new();
        digest.update(asked);
        digest.update(request.recipe.default.damping.to_le_bytes());
        if let Some(tokens) = &plan.tokens {
            let ids = tokens.kept.ids().iter();
            ids.for_each(|id| digest.update(id.to_le_bytes()));
        }
        let digest = hex(&digest.finalize());
        // What the container cannot hold is told now, before hours of work.
        let mut fingerprint = self.with_stand_in(plan, |target| {
            let prepared = self.prepare(request, target)?;
            Ok(self.fingerprint(request, &prepared, Some(sequences)))
        })?;
        fingerprint.push(("structure".to_owned(), digest));
        Ok(fingerprint)
    }
}

/// Whether inputs decide what goes.
fn needs_inputs(structure: &Structure) -> bool {
    let counted = matches!(structure.blocks, BlockChoice::Count(1..));
    structure.heads > 0.0 || structure.neurons > 0.0 || counted
}
