//! Measuring how much each layer hurts. Rows go out as they grow, together and not too often: a table of thousands of
//! cells grows faster than anyone looks.

use super::Office;
use super::long::{outcome, with_text};
use crate::studio::event::{Event, Generation, Outcome};
use crate::studio::log::Level;
use crate::studio::runs::Control;
use crate::studio::sensitivity::{Known, SensitivityStep};
use pare_engine::monitor::Monitor;
use pare_engine::report::{LayerSensitivity, Notice, Observer, SensitivityTable};
use pare_engine::session::{SensitivityRequest, Session, SessionError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How often what has grown is told.
const TELL_EVERY: Duration = Duration::from_millis(120);

/// What `Job::Sensitivity` holds.
pub(super) struct SensitivityJob {
    pub(super) generation: Generation,
    pub(super) session: Arc<Session>,
    pub(super) request: SensitivityRequest,
    pub(super) only_find: bool,
    pub(super) control: Arc<Control>,
}

/// Measures, or only looks for what was measured before.
pub(super) fn run(job: &SensitivityJob, office: &Office) {
    let teller = Teller {
        job,
        office,
        grown: Mutex::new(Grown {
            rows: Vec::new(),
            step: SensitivityStep::default(),
            told: Instant::now(),
        }),
    };
    let result = match request(job) {
        Err(reason) => Outcome::Failed(reason),
        Ok(request) => outcome(known(job, &request, &teller)),
    };
    // A stopped job has told less than it found.
    teller.tell(true);
    office.outbox.send(Event::SensitivityDone {
        generation: job.generation,
        control: job.control.clone(),
        result: match result {
            Outcome::Done(known) => Outcome::Done(Box::new(known)),
            Outcome::Stopped => Outcome::Stopped,
            Outcome::Failed(reason) => Outcome::Failed(reason),
        },
    });
}

fn request(job: &SensitivityJob) -> Result<SensitivityRequest, String> {
    let mut request = job.request.clone();
    request.recipe.calibration = with_text(request.recipe.calibration, &job.session)?;
    Ok(request)
}

fn known(
    job: &SensitivityJob,
    request: &SensitivityRequest,
    teller: &Teller<'_>,
) -> Result<Known, SessionError> {
    if job.only_find {
        let table = find(job, request, teller)?;
        return Ok(Known {
            table,
            agreement: None,
        });
    }
    let report = job.session.sensitivity(request, teller)?;
    Ok(Known {
        table: Some(report.table),
        agreement: report.agreement,
    })
}

/// What was measured by the recipe's own method; else by rounding.
fn find(
    job: &SensitivityJob,
    request: &SensitivityRequest,
    teller: &Teller<'_>,
) -> Result<Option<SensitivityTable>, SessionError> {
    if let Some(table) = job.session.find_sensitivity(request, teller)? {
        return Ok(Some(table));
    }
    let mut quick = request.clone();
    quick.effort.own_method = false;
    job.session.find_sensitivity(&quick, teller)
}

/// Tells what has grown.
struct Teller<'a> {
    job: &'a SensitivityJob,
    office: &'a Office,
    grown: Mutex<Grown>,
}

/// What nobody was told yet.
struct Grown {
    rows: Vec<LayerSensitivity>,
    step: SensitivityStep,
    told: Instant,
}

impl Teller<'_> {
    fn note(&self, change: impl FnOnce(&mut Grown)) {
        if let Ok(mut grown) = self.grown.lock() {
            change(&mut grown);
        }
        self.tell(false);
    }

    /// Tells what has grown, unless it was told just now.
    fn tell(&self, is_last: bool) {
        let Ok(mut grown) = self.grown.lock() else {
            return;
        };
        if self.job.only_find || (grown.told.elapsed() < TELL_EVERY && !is_last) {
            return;
        }
        grown.told = Instant::now();
        let event = Event::SensitivityGrew {
            generation: self.job.generation,
            control: self.job.control.clone(),
            rows: std::mem::take(&mut grown.rows),
            step: grown.step.clone(),
        };
        // Under the lock, so that no older news overtakes newer.
        self.office.outbox.send(event);
    }

    fn log(&self, level: Level, text: String) {
        self.office.outbox.send(Event::Told(level, text));
    }
}

impl Monitor for Teller<'_> {
    fn step(&self, done: u64, total: u64) {
        self.note(|grown| {
            grown.step.done = done.max(grown.step.done);
            grown.step.total = total;
        });
    }

    fn should_stop(&self) -> bool {
        self.job.control.wait_and_ask()
    }
}

impl Observer for Teller<'_> {
    fn notice(&self, notice: Notice<'_>) {
        match notice {
            Notice::Stage { name, steps } => {
                self.note(|grown| {
                    grown.step = SensitivityStep {
                        stage: name.to_owned(),
                        done: 0,
                        total: steps,
                    };
                });
                if !self.job.only_find {
                    self.log(Level::Info, format!("{name} ({steps} steps)"));
                }
            }
            Notice::Sensitivity(row) => self.note(|grown| {
                // Of a layer that grew twice, what it is now.
                grown.rows.retain(|known| known.layer != row.layer);
                grown.rows.push(row.clone());
            }),
            Notice::Warning(text) => self.log(Level::Warning, text.to_owned()),
            Notice::Layer(_) | Notice::Training(_) | Notice::Sample { .. } => {}
        }
    }
}
