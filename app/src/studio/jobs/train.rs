//! Trainings, and what they would take. Points go out together and not too often: small steps come faster than anyone
//! looks.

use super::Office;
use super::long::{outcome, with_text};
use super::place::{Reservation, is_begun};
use super::watch::Watcher;
use crate::studio::event::{Event, Generation, Outcome};
use crate::studio::runs::{Control, RunOrder};
use crate::studio::sample;
use crate::studio::train::{Foresight, Prompt, Sample};
use pare_engine::monitor::Monitor;
use pare_engine::report::{Notice, Observer, TrainPoint};
use pare_engine::session::{DistillRequest, Session};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How often points are told.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// Trains, and tells how it ends.
pub(super) fn run(order: &RunOrder, request: &DistillRequest, prompt: &Prompt, office: &Office) {
    let teller = Teller {
        prompt,
        steps: request.recipe.train.as_ref().map_or(0, |train| train.steps),
        watcher: Watcher::new(order.id, 0, office.outbox.clone(), order.control.clone()),
        order,
        office,
        points: Mutex::new((Vec::new(), Instant::now())),
    };
    office.outbox.send(Event::Began(order.id));
    let mut request = request.clone();
    // What was stopped before it wrote anything begins now.
    request.resume = request.resume && is_begun(&request.out);
    let reservation = order.may_move.then(|| Reservation::near(&request.out));
    if let Some(reservation) = &reservation
        && reservation.folder() != request.out
    {
        request.out = reservation.folder().to_owned();
        let placed = Event::Placed(order.id, request.out.clone());
        office.outbox.send(placed);
    }
    let ended = match with_places(&mut request, &order.session) {
        Err(reason) => Outcome::Failed(reason),
        Ok(()) => outcome(order.session.distill(&request, &teller)),
    };
    teller.tell(true);
    let ended = match ended {
        Outcome::Done(report) => Outcome::Done(Arc::new(report)),
        Outcome::Stopped => Outcome::Stopped,
        Outcome::Failed(reason) => Outcome::Failed(reason),
    };
    office.outbox.send(Event::Trained(order.id, ended));
}

/// Paths for the word `sample`, which a person may say instead.
fn with_places(request: &mut DistillRequest, session: &Session) -> Result<(), String> {
    let cache = &session.options().cache_folder;
    let words = |error: sample::SampleError| error.to_string();
    for other in &mut request.others {
        other.path = sample::model(&other.path, cache).map_err(words)?;
    }
    if let pare_engine::session::StudentSpec::Model(path) = &mut request.student {
        *path = sample::model(path, cache).map_err(words)?;
    }
    request.recipe.calibration = with_text(request.recipe.calibration.clone(), session)?;
    Ok(())
}

/// Tells what a training would take.
pub(super) fn foresee(
    generation: Generation,
    session: &Session,
    mut request: DistillRequest,
    control: Arc<Control>,
    office: &Office,
) {
    if control.is_stopped() {
        return;
    }
    let foreseen = with_places(&mut request, session).and_then(|()| {
        let foreseen = session.foresee_training(&request);
        foreseen.map_err(|error| error.to_string())
    });
    office.outbox.send(Event::Foreseen {
        generation,
        control,
        result: foreseen.map(|foreseen| Foresight {
            bytes: foreseen.memory_bytes,
            allowed_bytes: foreseen.allowed_bytes,
            parameters: foreseen.parameters,
        }),
    });
}

/// Tells points beside what every long job tells.
struct Teller<'a> {
    watcher: Watcher,
    order: &'a RunOrder,
    office: &'a Office,
    prompt: &'a Prompt,
    steps: u64,
    /// Points that nobody was told yet, and when some were told.
    points: Mutex<(Vec<TrainPoint>, Instant)>,
}

impl Teller<'_> {
    fn tell(&self, is_last: bool) {
        let Ok(mut points) = self.points.lock() else {
            return;
        };
        if points.0.is_empty() || (points.1.elapsed() < TELL_EVERY && !is_last) {
            return;
        }
        points.1 = Instant::now();
        let told = Event::Stepped(self.order.id, std::mem::take(&mut points.0));
        // Under the lock, so that no older news overtakes newer.
        self.office.outbox.send(told);
    }
}

impl Monitor for Teller<'_> {
    fn step(&self, done: u64, total: u64) {
        self.watcher.step(done, total);
    }

    fn should_stop(&self) -> bool {
        self.watcher.should_stop()
    }
}

impl Observer for Teller<'_> {
    fn notice(&self, notice: Notice<'_>) {
        match notice {
            Notice::Training(point) => {
                if let Ok(mut points) = self.points.lock() {
                    points.0.push(*point);
                }
                self.tell(false);
            }
            Notice::Sample { step, text } => {
                let text = text.to_owned();
                let sample = Event::Sampled(self.order.id, Sample { step, text });
                self.office.outbox.send(sample);
            }
            notice => self.watcher.notice(notice),
        }
    }

    fn prompt(&self, step: u64) -> Option<String> {
        let is_due = self.prompt.is_due(step, self.steps);
        is_due.then(|| self.prompt.text.clone())
    }
}
