//! Estimates of many layers and previews of one: in a pool of their own, so that a run at work does not hold them up.

use super::Office;
use crate::studio::effect::Job;
use crate::studio::estimates::{EstimateKey, Wanted};
use crate::studio::event::{Event, Generation};
use crate::studio::project::{Answer, Stage};
use crate::studio::runs::Control;
use crate::studio::sparse;
use pare_engine::moments::{LayerStatistics, Moments};
use pare_engine::monitor::Monitor;
use pare_engine::preview::{self, Estimate, Kind, Preview, Sample};
use pare_engine::recipe::LayerSettings;
use pare_engine::report::{Notice, Observer};
use pare_engine::session::{OriginalInputs, Session};
use pare_engine::tensor::Matrix;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rows that estimates and first previews look at.
pub(super) const SAMPLED_ROWS: usize = 64;

/// Answers are sent together so often.
const SEND_EVERY: Duration = Duration::from_millis(60);

/// What `Job::Estimate` holds.
pub(super) struct EstimateJob {
    pub(super) generation: Generation,
    pub(super) job: u64,
    pub(super) session: Arc<Session>,
    pub(super) inputs: Option<Arc<OriginalInputs>>,
    pub(super) wanted: Vec<Wanted>,
    pub(super) control: Arc<Control>,
}

/// What `Job::Preview` holds.
pub(super) struct PreviewJob {
    pub(super) generation: Generation,
    pub(super) question: u64,
    pub(super) session: Arc<Session>,
    pub(super) inputs: Option<Arc<OriginalInputs>>,
    pub(super) layer: usize,
    pub(super) settings: LayerSettings,
    pub(super) until: Stage,
    pub(super) control: Arc<Control>,
}

/// Polls a `Control`; steps go nowhere.
pub(super) struct Poll<'a>(pub(super) &'a Control);

impl Monitor for Poll<'_> {
    fn step(&self, _done: u64, _total: u64) {}

    fn should_stop(&self) -> bool {
        self.0.is_stopped()
    }
}

impl Observer for Poll<'_> {
    fn notice(&self, _notice: Notice<'_>) {}
}

/// Answers each wish in order. A stopped job tells what it found so far, never that it has finished: what is missing then
/// is asked anew.
pub(super) fn estimate(job: &EstimateJob, office: &Office) {
    let mut last: Option<(usize, Sample)> = None;
    let mut answers: Vec<(EstimateKey, Result<Estimate, String>)> = Vec::new();
    let mut sent = Instant::now();
    for wanted in &job.wanted {
        if job.control.is_stopped() {
            return send(job, office, answers, false);
        }
        let layer = wanted.key.layer;
        let result = office.preview_pool.install(|| {
            let read = match last.take().filter(|(read, ..)| *read == layer) {
                Some(read) => read,
                None => read_sampled(job, layer)?,
            };
            let monitor = Poll(&job.control);
            let answer = read.1.estimate(&wanted.settings, &monitor);
            last = Some(read);
            answer.map_err(|error| error.to_string())
        });
        if job.control.is_stopped() {
            return send(job, office, answers, false);
        }
        answers.push((wanted.key, result));
        if sent.elapsed() >= SEND_EVERY {
            send(job, office, std::mem::take(&mut answers), false);
            sent = Instant::now();
        }
    }
    send(job, office, answers, true);
}

fn send(
    job: &EstimateJob,
    office: &Office,
    estimates: Vec<(EstimateKey, Result<Estimate, String>)>,
    finished: bool,
) {
    office.outbox.send(Event::Estimated {
        generation: job.generation,
        job: job.job,
        estimates,
        finished,
    });
}

fn read_sampled(job: &EstimateJob, layer: usize) -> Result<(usize, Sample), String> {
    let rows_of_layer = job.session.layers()[layer].rows;
    let rows = sampled_rows(rows_of_layer);
    let weights = job
        .session
        .read_rows(layer, &rows)
        .map_err(|error| error.to_string())?;
    let moments = moments_of(job.inputs.as_deref(), layer)?;
    let sample = Sample::new(weights, rows_of_layer, moments).map_err(|error| error.to_string())?;
    Ok((layer, sample))
}

fn moments_of(inputs: Option<&OriginalInputs>, layer: usize) -> Result<Option<Moments>, String> {
    match inputs {
        None => Ok(None),
        Some(inputs) => inputs.of_layer(layer).map_err(|error| error.to_string()),
    }
}

/// Rows spread evenly over `rows`.
fn sampled_rows(rows: usize) -> Vec<usize> {
    let count = rows.min(SAMPLED_ROWS);
    (0..count).map(|sample| sample * rows / count).collect()
}

/// Sampled rows, then the whole layer, then the method itself where its inputs are known.
pub(super) fn preview(job: &PreviewJob, office: &Office) {
    let tell = |stage, is_last, result: Result<Preview, String>| {
        if !job.control.is_stopped() {
            office.outbox.send(Event::Previewed {
                generation: job.generation,
                layer: job.layer,
                answer: Box::new(Answer {
                    question: job.question,
                    settings: job.settings,
                    stage,
                    is_last,
                    is_outdated: false,
                    result: result.map(Arc::new),
                }),
            });
        }
    };
    if let Err(reason) = office.preview_pool.install(|| stages(job, &tell)) {
        tell(Stage::Sampled, true, Err(reason));
    }
}

/// Takes a stage, whether it is the last one, and the preview.
type Tell<'a> = dyn Fn(Stage, bool, Result<Preview, String>) + Sync + 'a;

fn stages(job: &PreviewJob, tell: &Tell<'_>) -> Result<(), String> {
    let info = &job.session.layers()[job.layer];
    let monitor = Poll(&job.control);
    let statistics = moments_of(job.inputs.as_deref(), job.layer)?.map(|moments| LayerStatistics {
        moments,
        cross: None,
        held_out: None,
    });
    let show = |weights: &Matrix, kind| {
        let answer = preview::preview(weights, statistics.as_ref(), &job.settings, kind, &monitor);
        answer.map_err(|error| error.to_string())
    };
    let rows = sampled_rows(info.rows);
    if rows.len() < info.rows {
        let sampled = job
            .session
            .read_rows(job.layer, &rows)
            .map_err(|error| error.to_string())?;
        let mut first = show(&sampled, Kind::Quick)?;
        first.rows = info.rows;
        tell(Stage::Sampled, false, Ok(first));
    }
    if job.control.is_stopped() {
        return Ok(());
    }
    let weights = job
        .session
        .read_layer(job.layer)
        .map_err(|error| error.to_string())?;
    let is_slow = sparse::exact_name(&job.settings).is_some();
    let goes_on = is_slow && statistics.is_some() && job.until == Stage::Exact;
    tell(Stage::Whole, !goes_on, Ok(show(&weights, Kind::Quick)?));
    if goes_on && !job.control.is_stopped() {
        tell(Stage::Exact, true, Ok(show(&weights, Kind::Exact)?));
    }
    Ok(())
}

/// Whether a later job makes `job` pointless: only the newest question counts.
pub(in crate::studio) fn is_outdated(job: &Job) -> bool {
    match job {
        Job::Preview { control, .. }
        | Job::Estimate { control, .. }
        | Job::Size { control, .. } => control.is_stopped(),
        Job::Run(order) => order.control.is_stopped(),
        _ => false,
    }
}
