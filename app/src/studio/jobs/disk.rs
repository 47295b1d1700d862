//! Small work with files: the store, recipes, looks at places.
//!
//! Drafts arrive with every edit. Only the newest of each model is written, half a second after the first that is not
//! yet written, so that a slider costs no disk; opening a model looks among those that wait first.

use super::Office;
use crate::studio::effect::Job;
use crate::studio::event::Event;
use crate::studio::kept::KeptDraft;
use crate::studio::log::Level;
use crate::studio::runs::{Run, RunStatus};
use crate::studio::state::{Place, Recent, Saved};
use crate::studio::store::{Store, StoreProblem};
use pare_engine::formats::cache::MomentsCache;
use pare_engine::formats::store::atomic;
use pare_engine::session::{read_distill_report, read_report};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a draft waits for a newer one.
const DRAFT_WAIT: Duration = Duration::from_millis(500);

/// A recipe takes a few hundred bytes a layer; anything far larger is none.
const MAX_RECIPE_BYTES: u64 = 16 << 20;

/// Drafts that are not written yet, by model.
pub type Drafts = Arc<Mutex<HashMap<PathBuf, KeptDraft>>>;

/// What stays open between jobs.
#[derive(Debug, Default)]
pub(super) struct Desk {
    store: Option<Store>,
    drafts_due: Option<Instant>,
}

/// The draft that `model` was left with.
pub(super) fn autosaved(office: &Office, model: &Path) -> Option<KeptDraft> {
    let waiting = office.drafts.lock().ok()?.get(model).cloned();
    let kept = || {
        Store::peek(office.data_folder.as_deref()?)?
            .draft(model)
            .ok()?
    };
    waiting.or_else(kept)
}

pub(super) fn run(job: Job, office: &Office, desk: &mut Desk) {
    match job {
        Job::Restore => {
            let saved = restore(office.data_folder.as_deref(), desk);
            office.outbox.send(Event::Restored(Box::new(saved)));
        }
        // The worker has put the draft among those that wait.
        Job::KeepDraft { .. } => {
            desk.drafts_due.get_or_insert(Instant::now() + DRAFT_WAIT);
        }
        Job::ReadRecipe(path) => {
            let result = read_recipe(&path);
            office.outbox.send(Event::RecipeRead(path, result));
        }
        Job::WriteRecipe(path, toml) => {
            let written = atomic::write_bytes(&path, toml.as_bytes());
            let result = written.map_err(|error| error.to_string());
            office.outbox.send(Event::RecipeWritten(path, result));
        }
        Job::Look(path) => office.outbox.send(Event::Looked(look(path))),
        Job::MeasureCache(folder, empty) => measure_cache(&folder, empty, office),
        job => {
            if let Some(Err(problem)) = desk.store.as_mut().map(|store| keep(job, store)) {
                tell(office, &problem);
            }
        }
    }
}

impl Desk {
    /// How long until drafts should be written; `None` where none wait.
    pub(super) fn due(&self) -> Option<Duration> {
        self.drafts_due
            .map(|due| due.saturating_duration_since(Instant::now()))
    }

    /// Writes the drafts that wait.
    pub(super) fn flush(&mut self, office: &Office) {
        self.drafts_due = None;
        let waiting = office.drafts.lock().map(|drafts| drafts.clone());
        let (Some(store), Ok(waiting)) = (&self.store, waiting) else {
            return;
        };
        for (model, draft) in waiting {
            match store.keep_draft(&model, &draft) {
                Ok(()) => forget_written(office, &model, &draft),
                Err(problem) => tell(office, &problem),
            }
        }
    }
}

/// A draft leaves the waiting ones only once it is written, and only if none came after it.
fn forget_written(office: &Office, model: &Path, draft: &KeptDraft) {
    if let Ok(mut drafts) = office.drafts.lock()
        && drafts.get(model).is_some_and(|waiting| waiting == draft)
    {
        drafts.remove(model);
    }
}

fn tell(office: &Office, problem: &StoreProblem) {
    let text = format!("Not kept: {problem}");
    office.outbox.send(Event::Told(Level::Warning, text));
}

fn keep(job: Job, store: &mut Store) -> Result<(), StoreProblem> {
    match job {
        Job::KeepRun(run) => store.keep_run(&run),
        Job::DropRun(id) => store.drop_run(id),
        Job::KeepPreferences(preferences) => store.keep_setting("preferences", &preferences),
        Job::KeepLayout(layout) => store.keep_setting("layout", &layout),
        Job::KeepRecents(recents) => store.keep_setting("recents", &spelled(recents)),
        // Other lanes' work never comes here.
        _ => Ok(()),
    }
}

/// Recent models whose names are text: JSON holds no others.
fn spelled(mut recents: Vec<Recent>) -> Vec<Recent> {
    recents.retain(|recent| recent.path.to_str().is_some());
    recents
}

fn restore(folder: Option<&Path>, desk: &mut Desk) -> Saved {
    let nothing = |problem: String| Saved {
        problem: Some(problem),
        next_run: 1,
        ..Saved::default()
    };
    let Some(folder) = folder else {
        return nothing(
            "Nothing of this session is kept: this system names no data folder".to_owned(),
        );
    };
    match Store::open(folder).and_then(|(store, notice)| saved(store, notice, desk)) {
        Ok(saved) => saved,
        Err(problem) => {
            desk.store = None;
            nothing(capital(&problem.to_string()))
        }
    }
}

fn saved(mut store: Store, notice: Option<String>, desk: &mut Desk) -> Result<Saved, StoreProblem> {
    let mut recents: Vec<Recent> = store.setting("recents")?.unwrap_or_default();
    for recent in &mut recents {
        recent.is_missing = is_missing(&recent.path);
    }
    let mut runs = store.runs()?;
    runs.iter_mut().for_each(find_report);
    let saved = Saved {
        preferences: store.setting("preferences")?,
        recents,
        next_run: runs.iter().map(Run::number).max().unwrap_or(0) + 1,
        run_base: store.new_base()?,
        runs,
        layout: store.setting("layout")?,
        problem: None,
        notice,
    };
    desk.store = Some(store);
    Ok(saved)
}

fn is_missing(path: &Path) -> bool {
    !crate::studio::sample::is_word(path) && !path.exists()
}

/// A finished run without a report (it did not fit, it was damaged) has one in its folder.
fn find_report(run: &mut Run) {
    if run.status != RunStatus::Done || run.report.is_some() {
        return;
    }
    match &mut run.training {
        None => run.report = read_report(&run.out).ok().map(Arc::new),
        Some(training) if training.report.is_none() => {
            training.report = read_distill_report(&run.out).ok().map(Arc::new);
        }
        Some(_) => {}
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

fn read_recipe(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let unread = |error: std::io::Error| {
        format!("The recipe could not be read: {error}; choose another file; {shown}")
    };
    // Opening a pipe would wait for whoever writes to it.
    if !fs::metadata(path).map_err(unread)?.is_file() {
        return Err(format!("A recipe is a file; choose a .toml file; {shown}"));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unread)?;
    file.take(MAX_RECIPE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unread)?;
    if bytes.len() as u64 > MAX_RECIPE_BYTES {
        return Err(format!(
            "The file has more than {} MB, so it is no recipe; choose another file; {shown}",
            MAX_RECIPE_BYTES >> 20
        ));
    }
    String::from_utf8(bytes)
        .map_err(|_| format!("The file is no text, so it is no recipe; choose another; {shown}"))
}

/// What lies at a place, and what is free on the disk that will hold it.
fn look(path: PathBuf) -> Place {
    let taken = match fs::read_dir(&path) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    };
    let whole = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
    let nearest = whole.ancestors().find(|folder| folder.exists());
    let problem = match nearest.map(fs::metadata) {
        Some(Ok(found)) if !found.is_dir() => Some("A file lies where a folder is needed"),
        Some(Ok(found)) if found.permissions().readonly() => {
            Some("The folder is read-only; choose another place")
        }
        Some(Ok(_)) => None,
        _ => Some("The place cannot be reached; choose another"),
    };
    Place {
        is_taken: taken,
        free_bytes: nearest.and_then(|folder| fs4::available_space(folder).ok()),
        problem: problem.map(str::to_owned),
        path,
    }
}

fn measure_cache(folder: &Path, empty: bool, office: &Office) {
    // The cache only ever grows in sessions, which know its capacity.
    let cache = MomentsCache::new(&folder.join("moments"), u64::MAX);
    if empty && let Err(error) = cache.clear() {
        let text = format!("The cache could not be emptied: {error}");
        office.outbox.send(Event::Told(Level::Warning, text));
    }
    let bytes = cache.size_bytes();
    office.outbox.send(Event::CacheMeasured(bytes));
}

#[cfg(test)]
mod tests;
