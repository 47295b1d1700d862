//! `pare evaluate`: quality of a model, alone or beside a reference.
//!
//! The sample is scored on its own text where none is named.

use crate::cli::answer::Answer;
use crate::cli::arguments::Evaluate;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::verbs::{quality, reasons};
use crate::studio::sample::{self, Text};
use pare_engine::session::EvaluateRequest;

pub(super) fn run(arguments: &Evaluate, context: &Context) -> Result<Answer, Failure> {
    let request = request(arguments, context)?;
    let opened = context.open_rounding(&arguments.model, &arguments.inputs)?;
    let evaluation = opened.session.evaluate(&request, &context.progress)?;
    let mut answer = Answer::new(&evaluation, quality::page(&evaluation))?;
    reasons::explain_evaluation(&mut answer.document);
    Ok(answer)
}

fn request(arguments: &Evaluate, context: &Context) -> Result<EvaluateRequest, Failure> {
    let cache = context.cache();
    let corpus = match &arguments.corpus {
        Some(path) => Some(sample::text(path, Text::Evaluation, cache)?),
        None if sample::is_word(&arguments.model) => {
            Some(sample::text(&arguments.model, Text::Evaluation, cache)?)
        }
        None => None,
    };
    if corpus.is_none() && arguments.sts.is_none() {
        return Err(Failure::WrongUse(
            "Evaluation needs something to score. Name a text with --corpus FILE, or for an encoder sentence pairs with --sts FILE."
                .to_owned(),
        ));
    }
    let reference = arguments
        .reference
        .as_deref()
        .map(|model| sample::model(model, cache))
        .transpose()?;
    Ok(EvaluateRequest {
        corpus,
        reference,
        length: arguments.length,
        windows: arguments.windows,
        sts: arguments.sts.clone(),
        kv: arguments.kv,
    })
}
