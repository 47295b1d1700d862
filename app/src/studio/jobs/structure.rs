//! The network as a whole: how large smaller ones would be.

use super::Office;
use super::quick::Poll;
use crate::studio::event::{Event, Generation};
use crate::studio::runs::Control;
use crate::studio::smaller::Question;
use pare_engine::recipe::Recipe;
use pare_engine::session::{CompressRequest, Session};
use std::path::PathBuf;
use std::sync::Arc;

/// Asks a dry run of each question. A stopped job tells nothing: nobody waits for it.
pub(super) fn size(
    generation: Generation,
    session: &Session,
    questions: &[Question],
    control: Arc<Control>,
    office: &Office,
) {
    let mut answers = Vec::with_capacity(questions.len());
    for question in questions {
        if control.is_stopped() {
            return;
        }
        let bytes = tensor_bytes(session, question, &Poll(&control));
        if control.is_stopped() {
            return;
        }
        answers.push((question.plan.clone(), bytes));
    }
    office.outbox.send(Event::Sized {
        generation,
        control,
        answers,
    });
}

/// Bytes of all tensors: those of all files, less what files of the whole network hold beside tensors.
fn tensor_bytes(session: &Session, question: &Question, poll: &Poll<'_>) -> Result<u64, String> {
    let files = |recipe: &Recipe| {
        let request = CompressRequest {
            recipe: recipe.clone(),
            // A dry run writes nothing.
            out: PathBuf::new(),
            format: question.format,
            evaluate: None,
            resume: false,
            keep_layers: true,
        };
        let dry = session.watched_dry_run(&request, poll);
        dry.map(|dry| dry.bytes_after)
            .map_err(|error| error.to_string())
    };
    let beside = files(&question.whole)?.saturating_sub(question.whole_bytes);
    Ok(files(&question.recipe)?.saturating_sub(beside))
}
