//! `pare distill`: a student trained against teachers.
//!
//! Decides what the sample gets by default; the engine does the rest.

use crate::cli::answer::Answer;
use crate::cli::arguments::{AdapterFlags, Distill, ModeFlags, TrainingFlags};
use crate::cli::context::{Context, Opened};
use crate::cli::failure::Failure;
use crate::cli::plan;
use crate::cli::verbs::quality;
use crate::studio::sample::{self, Text};
use pare_engine::recipe::{TrainMode, TrainSettings};
use pare_engine::report::DistillReport;
use pare_engine::session::{DistillRequest, OtherTeacher, StudentSpec};
use pare_engine::units::Bytes;
use std::path::{Path, PathBuf};

pub(super) fn run(arguments: &Distill, context: &Context) -> Result<Answer, Failure> {
    let Some(first) = arguments.teacher.first() else {
        return Err(Failure::WrongUse(
            "Training needs a teacher. Name one with --teacher MODEL.".to_owned(),
        ));
    };
    let opened = context.open(first)?;
    let request = request(arguments, context, &opened)?;
    context.stop.be_patient();
    context
        .stop
        .keep_training_in(plan::unfinished(&request.out));
    let report = opened.session.distill(&request, &context.progress)?;
    Answer::new(&report, page(&report))
}

fn request(
    arguments: &Distill,
    context: &Context,
    opened: &Opened,
) -> Result<DistillRequest, Failure> {
    let cache = context.cache();
    let weights = weights(arguments)?;
    let given = plan::recipe(arguments.recipe.as_deref())?;
    let calibration = given.calibration(
        &crate::cli::arguments::CalibrationFlags {
            corpus: arguments.corpus.clone(),
            ..Default::default()
        },
        context.seed,
        opened.session.inspect().context_length,
        opened.is_sample,
        cache,
    )?;
    if calibration.corpus.is_none() {
        return Err(Failure::WrongUse(
            "Training needs a text. Name one with --corpus FILE.".to_owned(),
        ));
    }
    let mut recipe = given.recipe;
    recipe.calibration = calibration;
    let mut train = recipe.train.take().unwrap_or_default();
    if let Some(mode) = mode(&arguments.mode) {
        train = train.in_mode(mode);
    }
    put_over(&mut train, &arguments.training);
    adapt(&mut train, &arguments.adapting);
    train.seed = context.seed.unwrap_or(train.seed);
    recipe.train = Some(train);
    let others = arguments.teacher.iter().zip(&weights).skip(1);
    let others = others.map(|(path, &weight)| {
        Ok(OtherTeacher {
            path: sample::model(path, cache)?,
            weight,
        })
    });
    Ok(DistillRequest {
        weight: weights[0],
        others: others.collect::<Result<_, Failure>>()?,
        student: match &arguments.student {
            StudentSpec::Model(path) => StudentSpec::Model(sample::model(path, cache)?),
            spec => spec.clone(),
        },
        recipe,
        out: arguments.out.clone(),
        evaluate: evaluation_text(arguments, opened.is_sample, cache)?,
        resume: arguments.resume,
    })
}

/// One weight for each teacher.
fn weights(arguments: &Distill) -> Result<Vec<f64>, Failure> {
    let (teachers, weights) = (arguments.teacher.len(), &arguments.teacher_weight);
    match weights.len() {
        0 => Ok(vec![1.0; teachers]),
        found if found == teachers => Ok(weights.clone()),
        found => Err(Failure::WrongUse(format!(
            "{teachers} teachers were named and {found} weights. Give one --teacher-weight for each --teacher, or none."
        ))),
    }
}

fn mode(flags: &ModeFlags) -> Option<TrainMode> {
    let words = [
        (flags.adapter, TrainMode::Adapter),
        (flags.qat, TrainMode::Qat),
        (flags.scales, TrainMode::Scales),
        (flags.round, TrainMode::Round),
    ];
    words
        .into_iter()
        .find_map(|(is_asked, mode)| is_asked.then_some(mode))
}

fn put_over(train: &mut TrainSettings, flags: &TrainingFlags) {
    let TrainingFlags {
        steps,
        batch,
        length,
        rate,
        temperature,
        hard,
    } = *flags;
    train.steps = steps.map_or(train.steps, |steps| steps as u64);
    train.batch = batch.unwrap_or(train.batch);
    train.length = length.unwrap_or(train.length);
    train.rate = rate.unwrap_or(train.rate);
    train.temperature = temperature.unwrap_or(train.temperature);
    train.hard = hard.unwrap_or(train.hard);
}

fn adapt(train: &mut TrainSettings, flags: &AdapterFlags) {
    let adapter = &mut train.adapter;
    adapter.rank = flags.rank.unwrap_or(adapter.rank);
    adapter.alpha = flags.alpha.unwrap_or(adapter.alpha);
    if let Some(targets) = &flags.targets {
        adapter.targets.clone_from(targets);
    }
    adapter.merge |= flags.merge;
}

/// The text named, or the sample's own; other students are evaluated only when asked.
fn evaluation_text(
    arguments: &Distill,
    is_sample: bool,
    cache: &Path,
) -> Result<Option<PathBuf>, Failure> {
    let sample_word = Path::new(sample::WORD);
    match &arguments.evaluate {
        Some(path) => Ok(Some(sample::text(path, Text::Evaluation, cache)?)),
        None if is_sample => Ok(Some(sample::text(sample_word, Text::Evaluation, cache)?)),
        None => Ok(None),
    }
}

fn page(report: &DistillReport) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |x| format!("{x:.4}"));
    let mut text = match report.mode.as_str() {
        // Its steps are those of each block, on hidden states.
        "round" => format!(
            "trained     round for {} steps in each block\n",
            report.steps
        ),
        mode => format!(
            "trained     {mode} for {} steps of {:.3} s ({:.0} tokens/s), {} skipped{}\n",
            report.steps,
            report.step_seconds,
            report.tokens_per_second,
            report.skipped_steps,
            match report.ended_early {
                true => ", ended early: the held-out loss fell no more",
                false => "",
            }
        ),
    };
    if let Some(share) = report.of_fma_bound {
        text.push_str(&format!(
            "products    {:.1} % of this machine's multiply-add rate\n",
            100.0 * share
        ));
    }
    text.push_str(&match report.mode.as_str() {
        "round" => format!(
            "error       {} -> {}, of the outputs of a block on average\n",
            number(report.loss_first),
            number(report.loss_last)
        ),
        _ => format!(
            "loss        {} -> {}, held out {} -> {} (step {})\n",
            number(report.loss_first),
            number(report.loss_last),
            number(report.held_out_first),
            number(report.held_out_best),
            report.best_step.unwrap_or(report.steps)
        ),
    });
    if let (Some(before), Some(after)) = (report.perplexity_before, report.perplexity_after) {
        text.push_str(&format!(
            "perplexity  {before:.4} -> {after:.4}, the teacher's {}\n",
            number(report.reference_perplexity)
        ));
    }
    if let Some(difference) = report.export_difference {
        text.push_str(&format!(
            "export      outputs differ by {difference:.1e} of the largest from what was trained\n"
        ));
    }
    if let Some(sparsity) = report.sparsity {
        text.push_str(&format!("zeros       {:.1} %\n", 100.0 * sparsity));
    }
    if let Some(evaluation) = &report.evaluation {
        text.push_str(&quality::page(evaluation));
    }
    text.push_str(&format!(
        "memory      {} stated, at most {} in use; time {:.1} s\n",
        Bytes(report.memory_bytes),
        Bytes(report.peak_rss_bytes),
        report.seconds
    ));
    text.push_str(&format!(
        "written     {}, {} tensors reopened: {}\n",
        Bytes(report.bytes),
        report.verified.tensors,
        report.out
    ));
    text
}
