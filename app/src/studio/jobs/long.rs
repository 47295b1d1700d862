//! Jobs that take their time: calibration, runs, measuring, writing text, exports. One after another.

use super::Office;
use super::place::{Reservation, is_begun};
use super::train;
use super::watch::Watcher;
use crate::studio::effect::Job;
use crate::studio::event::{Event, Outcome};
use crate::studio::runs::{Control, RunId, RunOrder, RunRequest};
use crate::studio::sample::{self, Text};
use crate::studio::state::Playground;
use pare_engine::recipe::CalibrationSettings;
use pare_engine::session::{
    self, CompressRequest, GenerateRequest, Session, SessionError, SessionOptions,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The number under which jobs that are no runs report progress.
const NO_RUN: RunId = RunId(0);

pub(super) fn run(job: Job, office: &Office) {
    match job {
        Job::Run(order) => match &order.request {
            RunRequest::Compress(request) => compress(&order, request, office),
            RunRequest::Distill(request, prompt) => train::run(&order, request, prompt, office),
        },
        Job::Calibrate {
            generation,
            session,
            settings,
            only_find,
            control,
        } => {
            let watcher = Watcher::new(NO_RUN, 0, office.outbox.clone(), control.clone());
            let result = match with_text(settings, &session) {
                Err(reason) => Outcome::Failed(reason),
                Ok(settings) => outcome(match only_find {
                    true => session.find_original_inputs(&settings, &watcher),
                    false => session.original_inputs(&settings, &watcher).map(Some),
                }),
            };
            let result = match result {
                Outcome::Done(Some(inputs)) => Outcome::Done(Arc::new(inputs)),
                Outcome::Done(None) | Outcome::Stopped => Outcome::Stopped,
                Outcome::Failed(reason) => Outcome::Failed(reason),
            };
            office.outbox.send(Event::Calibrated {
                generation,
                control,
                result,
            });
        }
        Job::CompareBlocks {
            generation,
            session,
            settings,
            control,
        } => {
            let watcher = Watcher::new(NO_RUN, 0, office.outbox.clone(), control.clone());
            let result = match with_text(settings, &session) {
                Err(reason) => Outcome::Failed(reason),
                Ok(settings) => outcome(session.block_similarity(&settings, &watcher)),
            };
            let result = match result {
                Outcome::Done(blocks) => {
                    Outcome::Done(blocks.iter().map(|block| block.similarity).collect())
                }
                Outcome::Stopped => Outcome::Stopped,
                Outcome::Failed(reason) => Outcome::Failed(reason),
            };
            office.outbox.send(Event::BlocksCompared {
                generation,
                control,
                result,
            });
        }
        Job::Evaluate {
            id,
            model,
            options,
            request,
            control,
        } => {
            let watcher = Watcher::new(id, 0, office.outbox.clone(), control);
            let result = Session::open(&model, options)
                .and_then(|session| session.evaluate(&request, &watcher));
            office.outbox.send(Event::Evaluated(id, outcome(result)));
        }
        Job::Generate {
            models,
            options,
            request,
            control,
        } => generate(&models, &options, &request, &control, office),
        Job::Export {
            run,
            format,
            out,
            options,
            control,
        } => {
            let watcher = Watcher::new(NO_RUN, 0, office.outbox.clone(), control);
            let result = session::export(&run, format, &out, &options, &watcher);
            office.outbox.send(Event::Exported(outcome(result)));
        }
        Job::Report { request, control } => {
            let watcher = Watcher::new(NO_RUN, 0, office.outbox.clone(), control);
            let result = session::write_report(&request, &watcher);
            office.outbox.send(Event::Reported(outcome(result)));
        }
        // Other lanes' work never comes here.
        _ => {}
    }
}

fn compress(order: &RunOrder, request: &CompressRequest, office: &Office) {
    let layers = order.session.layers();
    let count = layers.iter().filter(|layer| layer.compressible).count();
    let watcher = Watcher::new(
        order.id,
        count,
        office.outbox.clone(),
        order.control.clone(),
    );
    office.outbox.send(Event::Began(order.id));
    let mut request = request.clone();
    // A run that was stopped before it wrote anything, perhaps while it waited for others, begins now.
    request.resume = request.resume && is_begun(&request.out);
    let reservation = order.may_move.then(|| Reservation::near(&request.out));
    if let Some(reservation) = &reservation
        && reservation.folder() != request.out
    {
        request.out = reservation.folder().to_owned();
        office
            .outbox
            .send(Event::Placed(order.id, request.out.clone()));
    }
    let outcome = match with_text(request.recipe.calibration, &order.session) {
        Err(reason) => Outcome::Failed(reason),
        Ok(calibration) => {
            request.recipe.calibration = calibration;
            outcome(order.session.compress(&request, &watcher))
        }
    };
    let outcome = match outcome {
        Outcome::Done(report) => Outcome::Done(Arc::new(report)),
        Outcome::Stopped => Outcome::Stopped,
        Outcome::Failed(reason) => Outcome::Failed(reason),
    };
    office.outbox.send(Event::Ended(order.id, outcome));
}

/// The settings with a path for the word `sample`, which a recipe may say instead.
pub(super) fn with_text(
    mut settings: CalibrationSettings,
    session: &Session,
) -> Result<CalibrationSettings, String> {
    if let Some(corpus) = &settings.corpus {
        let cache = &session.options().cache_folder;
        let text = sample::text(Path::new(corpus), Text::Calibration, cache);
        let text = text.map_err(|error| error.to_string())?;
        settings.corpus = Some(text.to_string_lossy().into_owned());
    }
    Ok(settings)
}

pub(super) fn outcome<T>(result: Result<T, SessionError>) -> Outcome<T> {
    match result {
        Ok(value) => Outcome::Done(value),
        Err(error) if error.is_stopped() => Outcome::Stopped,
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

/// Both sides one after the other, the text of each as it comes.
fn generate(
    models: &[PathBuf; 2],
    options: &SessionOptions,
    request: &GenerateRequest,
    control: &Arc<Control>,
    office: &Office,
) {
    let mut playground = Playground {
        prompt: request.prompt.clone(),
        busy: true,
        ..Playground::default()
    };
    for (side, model) in models.iter().enumerate() {
        let watcher = Watcher::new(NO_RUN, 0, office.outbox.clone(), control.clone());
        let written = Session::open(model, options.clone()).and_then(|session| {
            session.generate(request, &watcher, &mut |text: &str| {
                playground.texts[side].push_str(text);
                office
                    .outbox
                    .send(Event::Wrote(Box::new(playground.clone())));
            })
        });
        match written {
            Ok(report) => {
                playground.texts[side] = report.text;
                playground.tokens_per_second[side] = report.decode_tokens_per_second;
            }
            Err(error) if error.is_stopped() => break,
            Err(error) => {
                playground.problem = Some(error.to_string());
                break;
            }
        }
    }
    playground.busy = false;
    office.outbox.send(Event::Wrote(Box::new(playground)));
}
