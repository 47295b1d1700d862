//! Runs that were cut off go on.

use crate::studio::effect::Effect;
use crate::studio::log::Level;
use crate::studio::runs::{Control, Run, RunId, RunOrder, RunRequest, RunStatus};
use crate::studio::state::Studio;
use pare_engine::formats::Format;
use pare_engine::recipe::Recipe;
use pare_engine::session::CompressRequest;
use std::sync::Arc;

impl Studio {
    /// Goes on with a stopped run: the model must be the open one.
    pub(super) fn resume(&mut self, id: RunId) -> Vec<Effect> {
        let (Some(run), Some(project)) = (self.run(id), self.project()) else {
            return Vec::new();
        };
        if run.model != project.path {
            let text = format!("Open {} to resume this run", run.model.display());
            return vec![self.tell(Level::Warning, text)];
        }
        let request = match resumed(run) {
            Ok(request) => request,
            Err(reason) => return vec![self.tell(Level::Error, reason)],
        };
        let order = RunOrder {
            id,
            session: project.session.clone(),
            request,
            may_move: false,
            control: Arc::new(Control::default()),
        };
        let mut effects = self.change_run(id, |run| run.status = RunStatus::Waiting);
        effects.extend(self.enqueue(order));
        effects
    }
}

/// The request that goes on with `run`.
fn resumed(run: &Run) -> Result<RunRequest, String> {
    if let Some(training) = &run.training {
        let request = training.resumed(run)?;
        return Ok(RunRequest::Distill(
            Box::new(request),
            training.prompt.clone(),
        ));
    }
    let recipe = Recipe::parse(&run.recipe_toml).map_err(|error| error.to_string())?;
    Ok(RunRequest::Compress(Box::new(CompressRequest {
        recipe,
        out: run.out.clone(),
        format: run.format.parse().unwrap_or(Format::Pare),
        evaluate: run.evaluation_text.clone(),
        resume: true,
        keep_layers: true,
    })))
}
