//! `compress` and its dry run: from a recipe to a written, reopened and measured model.
//!
//! The way: rules -> settings (recipe) -> what the container holds (preflight) -> every byte (plan) -> the loop over
//! layers (compress) -> files (assemble) -> reopened (verify) -> measured (evaluate) -> named (finish).

use super::environment::{Texts, environment};
use super::evaluate_job::open_runnable;
use super::machine::peak_rss_bytes;
use super::original_inputs::OriginalInputs;
use super::prepared::{Prepared, Target};
use super::report_file::report_json;
use super::requests::*;
use super::{Session, SessionError};
use crate::compress::{Calibration, Choice, Job, OriginalSource, compress};
use crate::formats::layout::{Held, PlanSource, biases, stored_bytes};
use crate::formats::{Format, RunFolder, assemble_run, verify_run};
use crate::model::Model;
use crate::moments::Prefix;
use crate::monitor::Unwatched;
use crate::report::{Evaluation, LayerReport, Notice, Observer};
use crate::solved::Method;
use crate::units::{BitsPerWeight, Bytes};
use std::path::Path;
use std::time::Instant;

/// The model that a smaller one was made of.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    /// What the result is compared with.
    pub(super) reference: &'a Model,
    /// Bytes of its files.
    pub(super) bytes_before: u64,
}

/// The same with the text that calibrates.
struct Settled {
    prepared: Prepared,
    sequences: Option<Vec<Vec<u32>>>,
    /// When all this began.
    started: Instant,
}

impl Session {
    /// What `compress` would write, to the byte, without solving anything.
    pub fn dry_run(&self, request: &CompressRequest) -> Result<DryRun, SessionError> {
        self.watched_dry_run(request, &Unwatched)
    }

    /// The same where a recipe leaves something to the weights, which are then looked at once.
    pub fn watched_dry_run(
        &self,
        request: &CompressRequest,
        observer: &dyn Observer,
    ) -> Result<DryRun, SessionError> {
        if !request.recipe.structure.is_none() {
            return self.install(|| self.dry_run_of_smaller(request, observer));
        }
        let request = &self.settled_request(request, observer)?;
        self.dry_run_of(request, self.target())
    }

    /// The model as it lies, before anything is done to it.
    fn target(&self) -> Target<'_> {
        Target {
            layers: &self.layers,
            source: PlanSource {
                weights: self.checkpoint.as_ref(),
                packed: Some(self.checkpoint.as_ref()),
                config: self.checkpoint.config_json(),
                root: self.checkpoint.root(),
                side_files: self.checkpoint.side_files(),
                made_files: self.checkpoint.made_files(),
            },
        }
    }

    /// `dry_run` of a model that stands for this one.
    pub(super) fn dry_run_of(
        &self,
        request: &CompressRequest,
        target: Target<'_>,
    ) -> Result<DryRun, SessionError> {
        let prepared = self.prepare(request, target)?;
        let all = target.layers;
        let layers: Vec<DryLayer> = prepared
            .chosen
            .iter()
            .zip(prepared.decisions.iter().zip(&prepared.held))
            .map(|(&layer, (decision, held))| DryLayer {
                name: all[layer].name.clone(),
                rule: decision.rule.clone(),
                settings: held.settings,
                bytes: stored_bytes(request.format, &all[layer], &held.settings),
                fallback: held.fallback.clone(),
            })
            .collect();
        let stored = prepared
            .chosen
            .iter()
            .zip(&layers)
            .map(|(&index, layer)| (layer.settings.method, layer.bytes, all[index].parameters));
        Ok(DryRun {
            format: request.format.word().to_owned(),
            bytes_before: self.bytes_before(),
            bytes_after: prepared.plan.bytes,
            bits_per_weight: bits_per_weight(stored),
            layers,
            structure: None,
            warnings: prepared.warnings,
        })
    }

    /// The main job.
    pub fn compress(
        &self,
        request: &CompressRequest,
        observer: &dyn Observer,
    ) -> Result<CompressReport, SessionError> {
        self.pool.install(|| self.compress_here(request, observer))
    }

    pub(super) fn compress_here(
        &self,
        request: &CompressRequest,
        observer: &dyn Observer,
    ) -> Result<CompressReport, SessionError> {
        if !request.recipe.structure.is_none() {
            return self.compress_smaller(request, observer);
        }
        let request = &self.settled_request(request, observer)?;
        let settled = self.settle(request, self.target())?;
        let run = RunFolder::create(
            &request.out,
            self.checkpoint.root(),
            &request.recipe.to_toml(),
            &self.fingerprint(request, &settled.prepared, settled.sequences.as_deref()),
            request.resume,
        )?;
        let texts = texts_of(request, observer);
        let report = self.fill_run(request, &settled, &run, None, observer)?;
        run.finish(
            &report_json(&report, &environment(texts)),
            request.keep_layers,
        )?;
        Ok(report)
    }

    /// The same with a recipe that leaves nothing to the weights.
    fn settled_request(
        &self,
        request: &CompressRequest,
        observer: &dyn Observer,
    ) -> Result<CompressRequest, SessionError> {
        Ok(CompressRequest {
            recipe: self.install(|| self.settled(&request.recipe, observer))?,
            ..request.clone()
        })
    }

    /// Compresses this model, which `origin` was made smaller to, into the run of `origin`.
    pub(super) fn compress_into(
        &self,
        request: &CompressRequest,
        run: &RunFolder,
        origin: Origin<'_>,
        observer: &dyn Observer,
    ) -> Result<CompressReport, SessionError> {
        let request = &self.settled_request(request, observer)?;
        let settled = self.settle(request, self.target())?;
        self.fill_run(request, &settled, run, Some(origin), observer)
    }

    fn settle(
        &self,
        request: &CompressRequest,
        target: Target<'_>,
    ) -> Result<Settled, SessionError> {
        let started = Instant::now();
        let prepared = self.prepare(request, target)?;
        Ok(Settled {
            sequences: self.calibration_sequences(request, &prepared)?,
            prepared,
            started,
        })
    }

    /// All between the making of a run's folder and its name.
    fn fill_run(
        &self,
        request: &CompressRequest,
        settled: &Settled,
        run: &RunFolder,
        origin: Option<Origin<'_>>,
        observer: &dyn Observer,
    ) -> Result<CompressReport, SessionError> {
        let prepared = &settled.prepared;
        for warning in &prepared.warnings {
            observer.notice(Notice::Warning(warning));
        }
        let mut stages = Stages::since(settled.started);
        stages.end("prepare");
        let sequences = settled.sequences.as_deref();
        let reports = self.solve(request, prepared, sequences, run, observer)?;
        stages.end("solve");
        let source = self.checkpoint.as_ref();
        assemble_run(run.partial(), &prepared.plan, source, observer)?;
        stages.end("write");
        let verified = verify_run(run.partial(), &prepared.plan, observer)?;
        stages.end("verify");
        let reference = origin.as_ref().map(|origin| origin.reference);
        let evaluation = self.evaluate_written(request, prepared, run, reference, observer)?;
        stages.end("evaluate");
        let stored = reports
            .iter()
            .map(|report| (report.method, report.bytes, report.weights));
        Ok(CompressReport {
            out: request.out.display().to_string(),
            format: request.format.word().to_owned(),
            bytes_before: match &origin {
                Some(origin) => origin.bytes_before,
                None => self.bytes_before(),
            },
            bytes_after: prepared.plan.bytes,
            bits_per_weight: bits_per_weight(stored),
            seconds: settled.started.elapsed().as_secs_f64(),
            peak_rss_bytes: peak_rss_bytes(),
            recipe: request.recipe.to_toml(),
            stages: stages.done,
            layers: reports,
            structure: None,
            verified,
            evaluation,
            warnings: prepared.warnings.clone(),
        })
    }

    fn solve(
        &self,
        request: &CompressRequest,
        prepared: &Prepared,
        sequences: Option<&[Vec<u32>]>,
        run: &RunFolder,
        observer: &dyn Observer,
    ) -> Result<Vec<LayerReport>, SessionError> {
        let prefix = request.recipe.default.prefix;
        let original: Option<OriginalInputs> = match sequences {
            Some(sequences) if prefix == Prefix::Original => {
                Some(self.original_moments(sequences, observer)?)
            }
            _ => None,
        };
        let calibration = sequences.map(|sequences| Calibration {
            sequences,
            prefix,
            original: original
                .as_ref()
                .map(|inputs| inputs as &dyn OriginalSource),
            spill: self.spill_policy(run.partial()),
        });
        let choices = self.choices(request, prepared);
        let job = Job {
            source: self.checkpoint.as_ref(),
            model: self.model.as_ref().ok(),
            layers: &self.layers,
            choices: &choices,
            calibration: calibration.as_ref(),
            run,
        };
        let mut reports = compress(job, observer)?;
        let placed = prepared.plan.layers.iter().zip(&mut reports);
        for (manifest, report) in
            placed.filter_map(|(layer, report)| layer.carried.as_ref().zip(Some(report)))
        {
            let stored = &manifest.stored;
            report.bits = stored.value_bits();
            report.rank = stored.factors.map(|factors| factors.rank);
            report.pattern = stored.sparsity.map(|sparsity| sparsity.pattern);
            let weights = (manifest.rows * manifest.columns) as f64;
            let kept = |values: usize| (values as f64 / weights).min(1.0);
            report.sparsity = stored
                .sparsity
                .map_or(0.0, |sparsity| 1.0 - kept(sparsity.values));
            report.activations = self.checkpoint.activations(&manifest.tensor.name)?;
        }
        Ok(reports)
    }

    fn choices(&self, request: &CompressRequest, prepared: &Prepared) -> Vec<Choice> {
        let choice = |(&layer, held): (&usize, &Held)| Choice {
            layer,
            settings: held.settings,
            fallback: held.fallback.clone(),
            size_bytes: stored_bytes(request.format, &self.layers[layer], &held.settings),
            biases: biases(request.format, &held.settings),
        };
        prepared
            .chosen
            .iter()
            .zip(&prepared.held)
            .map(choice)
            .collect()
    }

    fn evaluate_written(
        &self,
        request: &CompressRequest,
        prepared: &Prepared,
        run: &RunFolder,
        reference: Option<&Model>,
        observer: &dyn Observer,
    ) -> Result<Option<Evaluation>, SessionError> {
        let Some(text) = &request.evaluate else {
            return Ok(None);
        };
        let written: Model = match request.format {
            Format::Onnx => self.solved_model(&prepared.plan, run.partial())?,
            _ => open_runnable(run.partial())?,
        };
        let asked = EvaluateRequest {
            corpus: Some(text.clone()),
            reference: None,
            length: None,
            windows: None,
            sts: None,
            kv: Some(request.recipe.kv_cache),
        };
        let own = match reference {
            Some(_) => None,
            None => Some(self.model_on_kernels()?),
        };
        self.measure(&written, reference.or(own.as_ref()), &asked, observer)
            .map(Some)
    }

    /// Bytes of the files that a written model replaces.
    pub(super) fn bytes_before(&self) -> u64 {
        let root = self.checkpoint.root();
        let sides = self
            .checkpoint
            .side_files()
            .iter()
            .map(|file| root.join(file));
        let tensors = self
            .checkpoint
            .tensor_files()
            .into_iter()
            .map(Path::to_path_buf);
        let config = [root.join("config.json")]
            .into_iter()
            .filter(|_| root.is_dir());
        let mut files: Vec<_> = tensors.chain(sides).chain(config).collect();
        files.sort_unstable();
        files.dedup();
        files
            .iter()
            .filter_map(|file| std::fs::metadata(file).ok())
            .map(|metadata| metadata.len())
            .sum()
    }
}

/// The texts that the run of `request` is made with.
pub(super) fn texts_of(request: &CompressRequest, observer: &dyn Observer) -> Texts {
    let calibration = request.recipe.calibration.corpus.as_deref();
    Texts::of(calibration, request.evaluate.as_deref(), observer)
}

/// Seconds of stages, one after another.
struct Stages {
    last: Instant,
    done: Vec<StageSeconds>,
}

impl Stages {
    fn since(started: Instant) -> Self {
        Self {
            last: started,
            done: Vec::new(),
        }
    }

    fn end(&mut self, stage: &str) {
        let now = Instant::now();
        let seconds = (now - self.last).as_secs_f64();
        self.done.push(StageSeconds {
            stage: stage.to_owned(),
            seconds,
        });
        self.last = now;
    }
}

/// Over the layers that are compressed: `(method, stored bytes, weights)` of each.
fn bits_per_weight(layers: impl Iterator<Item = (Method, u64, u64)>) -> f64 {
    let (mut bytes, mut weights) = (0, 0);
    for (method, stored, count) in layers {
        if method != Method::None {
            bytes += stored;
            weights += count;
        }
    }
    BitsPerWeight::of(Bytes(bytes), weights).0
}
