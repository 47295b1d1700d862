//! What the flags that `sensitivity` and `allocate` share mean together.
//!
//! Starts nothing.

use crate::cli::arguments::{ErrorsOf, Gain, SensitivityFlags};
use crate::cli::context::{Context, Opened};
use crate::cli::failure::Failure;
use crate::cli::options::{Asked, Chosen};
use crate::cli::plan;
use crate::studio::sample::{self, Text};
use pare_engine::formats::Format;
use pare_engine::recipe::Recipe;
use pare_engine::session::{Effort, SensitivityRequest, Slice};
use pare_engine::settings::{LayerOption, Zeros};
use std::path::Path;

/// The recipe, with the text that calibrates.
pub(in crate::cli::verbs) fn recipe(
    flags: &SensitivityFlags,
    context: &Context,
    opened: &Opened,
) -> Result<Recipe, Failure> {
    let given = plan::recipe(flags.recipe.as_deref())?.under(&flags.solver, false)?;
    let calibration = given.calibration(
        &flags.calibration,
        context.seed,
        opened.session.inspect().context_length,
        opened.is_sample,
        context.cache(),
    )?;
    if calibration.corpus.is_none() {
        return Err(Failure::WrongUse(
            "What a layer costs is told by a text. Name one with --corpus FILE.".to_owned(),
        ));
    }
    let mut recipe = given.recipe;
    recipe.calibration = calibration;
    Ok(recipe)
}

/// Whether a file can be written at `path`, before hours of work.
pub(in crate::cli::verbs) fn check_place(path: &Path) -> Result<(), Failure> {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let problem = if whole.is_dir() {
        "A folder lies where the file should be written"
    } else if !whole.parent().is_some_and(Path::is_dir) {
        "The folder for the file does not exist"
    } else {
        return Ok(());
    };
    Err(Failure::Failed(format!(
        "{problem}; name another with --out: {}",
        path.display()
    )))
}

/// What is asked of the engine; `mentioned` options are judged too.
pub(in crate::cli::verbs) fn question(
    flags: &SensitivityFlags,
    recipe: Recipe,
    mentioned: &[LayerOption],
    context: &Context,
) -> Result<SensitivityRequest, Failure> {
    let judging = &flags.judging;
    let asked = Asked {
        options: &judging.options,
        probes: &judging.probes,
        anchors: &judging.anchors,
    };
    let chosen = asked.at(
        recipe.default.group,
        Zeros::of(&recipe.default.prune),
        mentioned,
    );
    let effort = effort(flags, &chosen)?;
    let corpus = judging.slice_corpus.as_deref();
    let corpus = corpus.map(|path| sample::text(path, Text::Evaluation, context.cache()));
    Ok(SensitivityRequest {
        recipe,
        format: flags.format.unwrap_or(Format::Pare),
        options: chosen.options,
        ends: judging.embeddings,
        effort,
        slice: Slice {
            corpus: corpus.transpose()?,
            sequences: judging.slice_sequences,
            length: judging.slice_length,
        },
    })
}

fn effort(flags: &SensitivityFlags, chosen: &Chosen) -> Result<Effort, Failure> {
    let judging = &flags.judging;
    let gains: &[Gain] = match judging.gain.as_slice() {
        [] => &[Gain::Measured, Gain::Gradient],
        named => named,
    };
    let wrong = |text: &str| Err(Failure::WrongUse(text.to_owned()));
    if gains.contains(&Gain::None) && gains.iter().any(|gain| *gain != Gain::None) {
        return wrong("--gain none stands alone. These go together: measured,gradient.");
    }
    let measured = gains.contains(&Gain::Measured);
    if !measured && !judging.probes.is_empty() {
        return wrong(
            "--probes says at which options losses are measured, and --gain leaves measuring out. Drop --probes, or add measured to --gain.",
        );
    }
    Ok(Effort {
        own_method: judging.solver == ErrorsOf::Own,
        probes: if measured {
            chosen.probes.clone()
        } else {
            Vec::new()
        },
        gradient: gains.contains(&Gain::Gradient),
        anchors: chosen.anchors.clone(),
    })
}
