//! The worker: one named thread for each lane, jobs in, events out.
//!
//! A panic in a job is caught and told; the lane goes on. Progress is a slot that only holds the newest value, so that a
//! fast job cannot flood a slow face. Each event and each new progress value calls the waker (a window's repaint).

use super::effect::{Job, Lane};
use super::event::{Event, Outcome};
use super::jobs::{self, Desk, Drafts, Office, Outbox};
use super::project::{Answer, Stage};
use super::runs::{Progress, RunId, RunRequest};
use super::state::{Place, Playground, Saved};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// Wakes whoever reads events.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// Threads of the pool for previews.
const PREVIEW_THREADS: usize = 2;

/// Lanes at work.
#[derive(Debug)]
pub struct Worker {
    lanes: Vec<(Lane, Sender<Job>, JoinHandle<()>)>,
    events: Receiver<Event>,
    latest: Latest,
    drafts: Drafts,
}

/// The newest progress not read yet.
type Latest = Arc<Mutex<Option<(RunId, Progress)>>>;

struct Post {
    events: Mutex<Sender<Event>>,
    latest: Latest,
    waker: Waker,
}

impl Outbox for Post {
    fn send(&self, event: Event) {
        if let Ok(events) = self.events.lock() {
            // Nobody listens any more: the studio is gone, and so is the need.
            let _ = events.send(event);
        }
        (self.waker)();
    }

    fn progress(&self, id: RunId, progress: Progress) {
        if let Ok(mut latest) = self.latest.lock() {
            *latest = Some((id, progress));
        }
        (self.waker)();
    }
}

impl Worker {
    /// Starts the lanes. `data_folder` is where the store lies; `waker` is called whenever there is something to read.
    pub fn start(data_folder: Option<PathBuf>, waker: Waker) -> Result<Self, String> {
        let (sender, events) = channel();
        let latest = Latest::default();
        let preview_pool = rayon::ThreadPoolBuilder::new()
            .num_threads(PREVIEW_THREADS)
            .thread_name(|index| format!("pare-preview-{index}"))
            .build()
            .map_err(|error| format!("threads could not be started: {error}"))?;
        let drafts = Drafts::default();
        let office = Office {
            outbox: Arc::new(Post {
                events: Mutex::new(sender),
                latest: latest.clone(),
                waker,
            }),
            data_folder,
            preview_pool: Arc::new(preview_pool),
            drafts: drafts.clone(),
        };
        let lanes = [
            (Lane::Long, "pare-runs"),
            (Lane::Preview, "pare-previews"),
            (Lane::Quick, "pare-estimates"),
            (Lane::Sensitivity, "pare-sensitivity"),
            (Lane::Look, "pare-looks"),
            (Lane::Disk, "pare-disk"),
        ];
        let lanes = lanes
            .into_iter()
            .map(|(lane, name)| start_lane(lane, name, office.clone()))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            lanes,
            events,
            latest,
            drafts,
        })
    }

    /// Hands a job to its lane.
    pub fn start_job(&self, job: Job) {
        // At once: a model opened right after finds its last draft, though lanes do not wait for each other.
        if let (Job::KeepDraft { model, draft }, Ok(mut drafts)) = (&job, self.drafts.lock()) {
            drafts.insert(model.clone(), draft.clone());
        }
        let lane = job.lane();
        if let Some((_, sender, _)) = self.lanes.iter().find(|(of, ..)| *of == lane) {
            // A lane only ends with the worker.
            let _ = sender.send(job);
        }
    }

    /// The next event, if there is one. The newest progress comes after all events that were sent before it.
    pub fn poll(&self) -> Option<Event> {
        self.events.try_recv().ok().or_else(|| self.take_progress())
    }

    /// Waits for an event at most so long: for faces without frames.
    pub fn wait(&self, at_most: Duration) -> Option<Event> {
        self.poll()
            .or_else(|| self.events.recv_timeout(at_most).ok())
            .or_else(|| self.take_progress())
    }

    fn take_progress(&self) -> Option<Event> {
        let (id, progress) = self.latest.lock().ok()?.take()?;
        Some(Event::Progressed(id, progress))
    }

    /// Ends the lanes after the jobs that they were handed. Whoever calls has stopped long jobs before.
    pub fn finish(self) {
        for (_, sender, thread) in self.lanes {
            drop(sender);
            // A lane catches panics; there is nothing to learn from its end.
            let _ = thread.join();
        }
    }
}

fn start_lane(
    lane: Lane,
    name: &'static str,
    office: Office,
) -> Result<(Lane, Sender<Job>, JoinHandle<()>), String> {
    let (sender, receiver) = channel();
    let thread = Builder::new()
        .name(name.to_owned())
        .spawn(move || work(&receiver, &office))
        .map_err(|error| format!("thread {name} could not be started: {error}"))?;
    Ok((lane, sender, thread))
}

fn work(jobs: &Receiver<Job>, office: &Office) {
    let mut desk = Desk::default();
    while let Some(job) = next(jobs, &mut desk, office) {
        if jobs::is_outdated(&job) {
            continue;
        }
        let name = job.name();
        let last_word = last_word(&job);
        let done = catch_unwind(AssertUnwindSafe(|| jobs::run(job, office, &mut desk)));
        if let Err(panic) = done {
            let message = message_of(panic.as_ref());
            if let Some(last_word) = last_word {
                let reason = format!("a defect in Pare: {message}");
                office.outbox.send(last_word(reason));
            }
            office.outbox.send(Event::Panicked {
                job: name.to_owned(),
                message,
            });
        }
    }
}

/// The next job. What the desk keeps back is written when it is due, and when there are no more jobs.
fn next(jobs: &Receiver<Job>, desk: &mut Desk, office: &Office) -> Option<Job> {
    loop {
        let Some(due) = desk.due() else {
            return jobs.recv().ok();
        };
        match jobs.recv_timeout(due) {
            Ok(job) if !due.is_zero() => return Some(job),
            Ok(job) => {
                desk.flush(office);
                return Some(job);
            }
            Err(RecvTimeoutError::Timeout) => desk.flush(office),
            Err(RecvTimeoutError::Disconnected) => {
                desk.flush(office);
                return None;
            }
        }
    }
}

/// Makes an event of the words for why a job ended.
type LastWord = Box<dyn FnOnce(String) -> Event>;

/// What the studio waits for of `job`: told by others where a panic ends it, so that nothing stays at work for ever.
fn last_word(job: &Job) -> Option<LastWord> {
    let word: LastWord = match job {
        Job::Open {
            generation, path, ..
        } => {
            let (generation, path) = (*generation, path.clone());
            Box::new(move |reason: String| Event::Opened {
                generation,
                path,
                result: Err(reason),
            })
        }
        Job::Preview {
            generation,
            question,
            layer,
            settings,
            ..
        } => {
            let (generation, question) = (*generation, *question);
            let (layer, settings) = (*layer, *settings);
            Box::new(move |reason: String| Event::Previewed {
                generation,
                layer,
                answer: Box::new(Answer {
                    question,
                    settings,
                    stage: Stage::Sampled,
                    is_last: true,
                    is_outdated: false,
                    result: Err(reason),
                }),
            })
        }
        Job::Size {
            generation,
            control,
            ..
        } => {
            let (generation, control) = (*generation, control.clone());
            Box::new(move |_| Event::Sized {
                generation,
                control,
                answers: Vec::new(),
            })
        }
        Job::Calibrate {
            generation,
            control,
            ..
        } => {
            let (generation, control) = (*generation, control.clone());
            Box::new(move |reason: String| Event::Calibrated {
                generation,
                control,
                result: Outcome::Failed(reason),
            })
        }
        Job::CompareBlocks {
            generation,
            control,
            ..
        } => {
            let (generation, control) = (*generation, control.clone());
            Box::new(move |reason: String| Event::BlocksCompared {
                generation,
                control,
                result: Outcome::Failed(reason),
            })
        }
        Job::Sensitivity {
            generation,
            control,
            ..
        } => {
            let (generation, control) = (*generation, control.clone());
            Box::new(move |reason: String| Event::SensitivityDone {
                generation,
                control,
                result: Outcome::Failed(reason),
            })
        }
        Job::Run(order) => {
            let id = order.id;
            match order.request {
                RunRequest::Compress(_) => {
                    Box::new(move |reason: String| Event::Ended(id, Outcome::Failed(reason)))
                }
                RunRequest::Distill(..) => {
                    Box::new(move |reason: String| Event::Trained(id, Outcome::Failed(reason)))
                }
            }
        }
        Job::Foresee {
            generation,
            control,
            ..
        } => {
            let (generation, control) = (*generation, control.clone());
            Box::new(move |reason: String| Event::Foreseen {
                generation,
                control,
                result: Err(reason),
            })
        }
        Job::Evaluate { id, .. } => {
            let id = *id;
            Box::new(move |reason: String| Event::Evaluated(id, Outcome::Failed(reason)))
        }
        Job::Generate { request, .. } => {
            let prompt = request.prompt.clone();
            Box::new(move |reason: String| {
                Event::Wrote(Box::new(Playground {
                    prompt,
                    problem: Some(reason),
                    ..Playground::default()
                }))
            })
        }
        Job::Export { .. } => Box::new(|reason: String| Event::Exported(Outcome::Failed(reason))),
        Job::Report { .. } => Box::new(|reason: String| Event::Reported(Outcome::Failed(reason))),
        Job::MeasureMachine { .. } => {
            Box::new(|reason: String| Event::MachineMeasured(Outcome::Failed(reason)))
        }
        Job::FindDevices(_) => Box::new(|reason: String| Event::DevicesFound {
            machine: None,
            free_bytes: None,
            own: Err(reason),
        }),
        Job::Restore => Box::new(|reason: String| {
            Event::Restored(Box::new(Saved {
                problem: Some(reason),
                ..Saved::default()
            }))
        }),
        Job::ReadRecipe(path) => {
            let path = path.clone();
            Box::new(move |reason: String| Event::RecipeRead(path, Err(reason)))
        }
        Job::WriteRecipe(path, _) => {
            let path = path.clone();
            Box::new(move |reason: String| Event::RecipeWritten(path, Err(reason)))
        }
        Job::Look(path) => {
            let path = path.clone();
            Box::new(move |reason: String| {
                Event::Looked(Place {
                    path,
                    is_taken: false,
                    free_bytes: None,
                    problem: Some(reason),
                })
            })
        }
        _ => return None,
    };
    Some(word)
}

/// What a panic said.
fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it said nothing".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_for_a_job_hears_of_its_panic() {
        let path = PathBuf::from("place");
        let told = |job: Job| last_word(&job).map(|word| word("a defect".to_owned()));
        assert!(matches!(
            told(Job::Look(path.clone())),
            Some(Event::Looked(Place { problem: Some(problem), .. })) if problem == "a defect"
        ));
        assert!(matches!(
            told(Job::ReadRecipe(path)),
            Some(Event::RecipeRead(_, Err(problem))) if problem == "a defect"
        ));
        assert!(matches!(
            told(Job::Restore),
            Some(Event::Restored(saved)) if saved.problem.is_some()
        ));
    }
}
