//! `pare allocate`: the best bits for each layer within a budget, written as a recipe.
//!
//! The engine chooses and measures; here flags become a question, and what it chose a file, a page and a document.

mod document;
mod page;

use crate::cli::answer::Answer;
use crate::cli::arguments::{Allocate, VerificationFlags, WishFlags};
use crate::cli::context::{Context, Opened};
use crate::cli::failure::Failure;
use crate::cli::machines;
use crate::cli::verbs::sensitivity::request;
use crate::studio::copy::quoted;
use crate::studio::sample::{self, Text};
use pare_engine::allocate::Rules;
use pare_engine::formats::Format;
use pare_engine::formats::store::atomic;
use pare_engine::recipe::{Recipe, SAMPLE_CORPUS};
use pare_engine::session::{
    AllocateReport, AllocateRequest, Budget, CompressRequest, DryRun, LatencyTarget, RunShape,
    Verification,
};
use pare_engine::settings::LayerOption;
use std::path::{Path, PathBuf};

/// What was chosen, written and shown.
struct Chosen<'a> {
    report: &'a AllocateReport,
    /// The recipe as it was written.
    recipe: String,
    /// What a run of it will do.
    dry: DryRun,
    /// Where it was written.
    out: &'a Path,
    /// Whether bytes or bits per weight were asked.
    budget: Budget,
    /// The command that uses it.
    next: String,
}

pub(super) fn run(arguments: &Allocate, context: &Context) -> Result<Answer, Failure> {
    let budget = budget(&arguments.wish)?;
    let target = target(arguments, budget, context)?;
    if arguments.wish.minimum_end_bits.is_some() && !arguments.asked.judging.embeddings {
        return Err(Failure::WrongUse(
            "--minimum-end-bits is for embeddings and head, which keep what the recipe says. Add --embeddings, which judges them too."
                .to_owned(),
        ));
    }
    request::check_place(&arguments.out)?;
    let opened = context.open(&arguments.asked.model)?;
    let request = question(arguments, (budget, target), context, &opened)?;
    // Whole runs that are measured lie in folders that must go again.
    context.stop.be_patient();
    context.stop.keep_cache(context.cache());
    let report = opened.session.allocate(&request, &context.progress)?;
    for warning in &report.warnings {
        context.printer.warning(warning);
    }
    let recipe = portable(&report.recipe, context)?.to_toml();
    atomic::write_bytes(&arguments.out, recipe.as_bytes()).map_err(Failure::failed)?;
    let chosen = Chosen {
        dry: dry_run(&report.recipe, request.sensitivity.format, &opened)?,
        report: &report,
        recipe,
        out: &arguments.out,
        budget,
        next: next(arguments, request.sensitivity.format),
    };
    Ok(Answer {
        document: document::of(&chosen),
        page: page::of(&chosen, opened.session.layers()),
    })
}

fn budget(wish: &WishFlags) -> Result<Budget, Failure> {
    match (wish.bits_per_weight, wish.bytes, wish.latency_ms) {
        (Some(bits), ..) => Ok(Budget::BitsPerWeight(bits)),
        (None, Some(bytes), _) => Ok(Budget::Bytes(bytes)),
        (None, None, Some(milliseconds)) => Ok(Budget::Milliseconds(milliseconds)),
        (None, None, None) => Err(Failure::WrongUse(
            "A budget is missing. Name one with --bits-per-weight X, --bytes N or --latency-ms T."
                .to_owned(),
        )),
    }
}

/// Where times are told for: of a budget of time always, else where a device is named.
fn target(
    arguments: &Allocate,
    budget: Budget,
    context: &Context,
) -> Result<Option<LatencyTarget>, Failure> {
    let flags = &arguments.target;
    if flags.device.is_none() && !matches!(budget, Budget::Milliseconds(_)) {
        return Ok(None);
    }
    Ok(Some(LatencyTarget {
        device: machines::chosen(flags, context)?,
        engine: flags.engine.clone(),
        run: RunShape {
            context: flags.context,
            prompt: flags.prompt,
            kv_cache: None,
            threads: context.options.threads,
        },
    }))
}

fn question(
    arguments: &Allocate,
    (budget, target): (Budget, Option<LatencyTarget>),
    context: &Context,
    opened: &Opened,
) -> Result<AllocateRequest, Failure> {
    let recipe = request::recipe(&arguments.asked, context, opened)?;
    let rules = rules(&arguments.wish, recipe.default.group);
    let mentioned: Vec<LayerOption> = rules
        .allowed
        .iter()
        .flat_map(|(_, options)| options.iter().copied())
        .collect();
    Ok(AllocateRequest {
        sensitivity: request::question(&arguments.asked, recipe, &mentioned, context)?,
        budget,
        target,
        rules,
        verify: verification(&arguments.verification, context.cache())?,
    })
}

fn rules(wish: &WishFlags, group: usize) -> Rules {
    let allowed = wish.allow.iter().map(|allowed| {
        let options = allowed.options.iter().map(|word| word.at(group)).collect();
        (allowed.pattern.clone(), options)
    });
    Rules {
        locks: wish.lock.clone(),
        allowed: allowed.collect(),
        fused: wish.fused,
        minimum_end_bits: wish.minimum_end_bits,
    }
}

fn verification(flags: &VerificationFlags, cache: &Path) -> Result<Option<Verification>, Failure> {
    let says_how = flags.verify_corpus.is_some()
        || flags.verify_windows.is_some()
        || flags.verify_length.is_some();
    if !flags.verify {
        return match says_how {
            false => Ok(None),
            true => Err(Failure::WrongUse(
                "--verify-corpus, --verify-windows and --verify-length say how recipes are measured. Add --verify, which measures them."
                    .to_owned(),
            )),
        };
    }
    let corpus = flags.verify_corpus.as_deref();
    let corpus = corpus.map(|path| sample::text(path, Text::Evaluation, cache));
    Ok(Some(Verification {
        corpus: corpus.transpose()?,
        windows: flags.verify_windows,
        length: flags.verify_length,
    }))
}

/// The recipe for a file: its text is found from wherever that lies.
fn portable(recipe: &Recipe, context: &Context) -> Result<Recipe, Failure> {
    let mut recipe = recipe.clone();
    if let Some(corpus) = recipe.calibration.corpus.take() {
        let of_sample = sample::text(Path::new(sample::WORD), Text::Calibration, context.cache())?;
        let word = match Path::new(&corpus) == of_sample {
            true => SAMPLE_CORPUS.to_owned(),
            false => std::path::absolute(&corpus)
                .map_err(Failure::failed)?
                .to_string_lossy()
                .into_owned(),
        };
        recipe.calibration.corpus = Some(word);
    }
    Ok(recipe)
}

/// What a run of `recipe` would do to each layer.
fn dry_run(recipe: &Recipe, format: Format, opened: &Opened) -> Result<DryRun, Failure> {
    Ok(opened.session.dry_run(&CompressRequest {
        recipe: recipe.clone(),
        out: PathBuf::new(),
        format,
        evaluate: None,
        resume: false,
        keep_layers: true,
    })?)
}

fn next(arguments: &Allocate, format: Format) -> String {
    let model = match sample::is_word(&arguments.asked.model) {
        true => sample::WORD.to_owned(),
        false => quoted(&arguments.asked.model),
    };
    let mut line = format!("pare compress {model} --recipe {}", quoted(&arguments.out));
    if format != Format::Pare {
        line.push_str(&format!(" --format {}", format.word()));
    }
    line.push_str(" --out DIR");
    line
}
