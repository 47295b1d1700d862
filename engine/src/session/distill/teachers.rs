//! Teachers, and the loss that a run is judged by; a cache of what they say, where one is asked for and fits.

use super::super::{Session, SessionError};
use super::prepare::Prepared;
use crate::evaluate::Pooling;
use crate::formats::StoreError;
use crate::lanes::run_in_lanes;
use crate::recipe::TrainSettings;
use crate::report::{Notice, Observer};
use crate::train::{
    Batch, Batches, Embeddings, Judge, Kept, Matching, Memo, MemoWriter, Teacher, Teachers, Tokens,
    memo_bytes, positions_at_once,
};
use crate::units::{Bytes, hex};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Sequences that teachers see at once while a cache is filled.
const AT_ONCE: usize = 8;

impl Session {
    /// Calls `work` with the loss that the settings describe.
    pub(super) fn with_judge<T>(
        &self,
        prepared: &Prepared<'_>,
        observer: &dyn Observer,
        work: impl FnOnce(&dyn Judge) -> Result<T, SessionError>,
    ) -> Result<T, SessionError> {
        let settings = &prepared.settings;
        let student = prepared.student.model()?;
        let is_encoder = student.is_encoder();
        let is_matched = settings.hidden + settings.attention > 0.0;
        let teachers = match prepared.teachers.is_empty() {
            true => None,
            false => Some(teachers(prepared)?),
        };
        let matching = match (&teachers, is_matched) {
            (Some(teachers), true) => Some(Matching::new(
                student.config(),
                teachers.first().config(),
                (settings.hidden, settings.attention),
                settings.seed,
            )?),
            _ => None,
        };
        match &teachers {
            Some(teachers) if is_encoder => {
                let sessions = std::iter::once(self).chain(&prepared.others);
                let pooling = |session: &Self| Pooling::read(&session.checkpoint);
                work(&Embeddings {
                    teachers,
                    taught: sessions.map(pooling).collect::<Result<_, _>>()?,
                    own: pooling(&prepared.student)?,
                    matching,
                })
            }
            teachers => work(&Tokens {
                temperature: settings.temperature,
                hard: settings.hard,
                memo: match teachers {
                    Some(teachers) if keeps_teachers(settings, false) => {
                        self.memo(prepared, teachers, observer)?
                    }
                    _ => None,
                },
                top: settings.cache_top.min(prepared.vocabulary),
                teachers: teachers.as_ref(),
                matching,
            }),
        }
    }

    /// What teachers say of all sequences that will be seen, from the cache or put there; `None` where it takes too much:
    /// then they run in each step and say the same.
    fn memo(
        &self,
        prepared: &Prepared<'_>,
        teachers: &Teachers,
        observer: &dyn Observer,
    ) -> Result<Option<Memo>, SessionError> {
        let top = prepared.settings.cache_top.min(prepared.vocabulary);
        let sequences = seen(&prepared.batches, &prepared.settings);
        let positions = sequences.iter().map(Vec::len).sum();
        let bytes = Bytes(memo_bytes(positions, top));
        if !prepared.is_kept() {
            prepared.warn(observer, format!(
                "the teachers' {top} likeliest tokens at {positions} positions would take {bytes}, more than memory or the cache may hold; the teachers run in each step instead, which teaches the same and takes longer"
            ));
            return Ok(None);
        }
        let path = self.memo_path(prepared, &sequences, top, observer)?;
        let memo = match Memo::read(&path, top, prepared.vocabulary) {
            Some(memo) => memo,
            None => {
                let stage = format!("keeping what the teachers say ({bytes})");
                observer.notice(Notice::Stage {
                    name: &stage,
                    steps: sequences.len() as u64,
                });
                let memo = make_memo(prepared, teachers, &sequences, top, observer)?;
                memo.write(&path)?;
                memo
            }
        };
        prepared.warn(observer, format!(
            "the cache keeps the {top} likeliest tokens of each position; the others, {:.2} % of the mass, count as one event, so that the loss is a little too small",
            100.0 * memo.rest()
        ));
        Ok(Some(memo))
    }

    fn memo_path(
        &self,
        prepared: &Prepared<'_>,
        sequences: &[Vec<u32>],
        top: usize,
        observer: &dyn Observer,
    ) -> Result<PathBuf, SessionError> {
        let (request, settings) = (prepared.request, &prepared.settings);
        let mut digest = Sha256::new();
        digest.update(format!(
            "memo-2 {top} {} {} {:?} {:?} {:?}",
            prepared.vocabulary,
            at_once(prepared)?,
            settings.temperature,
            settings.ensemble,
            request.weight
        ));
        digest.update(self.model_digest(observer)?);
        for (session, other) in prepared.others.iter().zip(&request.others) {
            digest.update(session.model_digest(observer)?);
            digest.update(other.weight.to_le_bytes());
        }
        for ids in sequences {
            digest.update((ids.len() as u64).to_le_bytes());
            ids.iter().for_each(|id| digest.update(id.to_le_bytes()));
        }
        let folder = self.options.cache_folder.join("teachers");
        fs::create_dir_all(&folder).map_err(StoreError::io("could not be created", &folder))?;
        let path = folder.join(format!("{}.bin", hex(&digest.finalize())));
        if !path.exists() {
            make_room(&folder, self.options.cache_capacity_bytes / 2);
        }
        Ok(path)
    }
}

/// Whether anything is learnt from teachers.
pub(super) fn needs_teachers(settings: &TrainSettings, is_encoder: bool) -> bool {
    is_encoder || settings.hard < 1.0 || settings.hidden + settings.attention > 0.0
}

/// Whether what teachers say of tokens is to be kept.
pub(super) fn keeps_teachers(settings: &TrainSettings, is_encoder: bool) -> bool {
    settings.cache_top > 0 && settings.hard < 1.0 && !is_encoder
}

/// All teachers, heard over the tokens that everybody knows.
fn teachers(prepared: &Prepared<'_>) -> Result<Teachers, SessionError> {
    let request = prepared.request;
    let others = request.others.iter().map(|other| other.weight);
    let weights = std::iter::once(request.weight).chain(others);
    let teachers = prepared.teachers.iter().zip(weights);
    let teachers = teachers
        .map(|(model, weight)| Teacher::new(model.clone(), weight, prepared.resident))
        .collect::<Result<_, _>>()?;
    let teachers = Teachers::new(teachers, prepared.settings.ensemble)?;
    Ok(teachers.within(prepared.vocabulary))
}

/// The sequences of all steps, and those held out, each once.
pub(super) fn seen(batches: &Batches, settings: &TrainSettings) -> Vec<Vec<u32>> {
    let (training, _) = batches.counts();
    // One epoch holds them all.
    let epoch = (training / settings.batch.max(1)) as u64 + 2;
    let of_steps = (0..settings.steps.min(epoch)).flat_map(|step| batches.sequences(step));
    let held_out = batches.held_out();
    let held_out = held_out.iter().flat_map(|batch| batch.sequences().to_vec());
    let mut known = BTreeSet::new();
    of_steps
        .chain(held_out)
        .filter(|ids| known.insert(ids.clone()))
        .collect()
}

/// Positions whose logits exist together, as in the student's pass: a teacher's then are the same to the last bit.
fn at_once(prepared: &Prepared<'_>) -> Result<usize, SessionError> {
    let student = prepared.student.model()?;
    Ok(positions_at_once(student.config().vocabulary))
}

/// Runs the teachers over `sequences`; of their logits there are never more than in a step.
fn make_memo(
    prepared: &Prepared<'_>,
    teachers: &Teachers,
    sequences: &[Vec<u32>],
    top: usize,
    observer: &dyn Observer,
) -> Result<Memo, SessionError> {
    let (threads, at_once) = (rayon::current_num_threads(), at_once(prepared)?);
    let temperature = prepared.settings.temperature;
    let mut writer = MemoWriter::new(top);
    let mut done = 0;
    for some in sequences.chunks(AT_ONCE) {
        let batch = Batch::new(some.to_vec()).apart();
        let lesson = teachers.teach(&batch, Kept::default(), observer)?;
        let likeliest = run_in_lanes(threads, some.len(), |sequence| {
            let place = (sequence, some[sequence].len());
            lesson.likeliest(place, (top, at_once), temperature)
        })?;
        for (ids, likeliest) in some.iter().zip(&likeliest) {
            writer.add(ids, likeliest);
            done += 1;
            observer.step(done, sequences.len() as u64);
        }
    }
    Ok(writer.finish())
}

/// Removes the oldest files until at most `most` bytes are left.
fn make_room(folder: &Path, most: u64) {
    let Ok(files) = fs::read_dir(folder) else {
        return;
    };
    let mut files: Vec<_> = files
        .flatten()
        .filter_map(|file| {
            let data = file.metadata().ok()?;
            Some((data.modified().ok()?, data.len(), file.path()))
        })
        .collect();
    files.sort();
    let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
    for (_, size, path) in files {
        if total <= most {
            return;
        }
        // Somebody may be reading it; then it stays.
        if fs::remove_file(path).is_ok() {
            total -= size;
        }
    }
}
