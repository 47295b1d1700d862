//! `pare sensitivity`: what each layer costs at every option.
//!
//! The engine gathers and keeps the table; here flags become a question and the table a page and a document.

mod document;
mod page;
pub(super) mod request;

use crate::cli::answer::Answer;
use crate::cli::arguments::Sensitivity;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use pare_engine::allocate::Predictor;
use pare_engine::formats::store::atomic;

pub(super) fn run(arguments: &Sensitivity, context: &Context) -> Result<Answer, Failure> {
    if let Some(path) = &arguments.out {
        request::check_place(path)?;
    }
    let opened = context.open(&arguments.asked.model)?;
    let recipe = request::recipe(&arguments.asked, context, &opened)?;
    let group = recipe.default.group;
    let question = request::question(&arguments.asked, recipe, &[], context)?;
    // Whole runs that are measured lie in folders that must go again.
    context.stop.be_patient();
    context.stop.keep_cache(context.cache());
    let report = opened.session.sensitivity(&question, &context.progress)?;
    let predictor = Predictor::new(&report.table);
    let answer = Answer {
        document: document::of(&report, &predictor),
        page: page::of(&report, &predictor, group),
    };
    if let Some(path) = &arguments.out {
        let text = format!("{:#}\n", answer.document);
        atomic::write_bytes(path, text.as_bytes()).map_err(Failure::failed)?;
    }
    Ok(answer)
}
