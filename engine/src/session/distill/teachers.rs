//! Teachers, and the loss that a run is judged by; a cache of what they say, where one is asked for and fits.

use super::super::evaluate_job::open_runnable;
use super::super::{Session, SessionError};
use super::Prepared;
use crate::evaluate::Pooling;
use crate::formats::StoreError;
use crate::model::Model;
use crate::recipe::TrainSettings;
use crate::report::{Notice, Observer};
use crate::train::{
    Batch, Embeddings, Judge, Kept, Matching, Memo, MemoWriter, Part, Teacher, Teachers, Tokens,
    memo_bytes,
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
        let needs_teachers = is_encoder || settings.hard < 1.0 || is_matched;
        let teachers = match needs_teachers {
            true => Some(self.teachers(prepared)?),
            false => None,
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
            Some(teachers) if is_encoder => work(&Embeddings {
                teachers,
                taught: Pooling::read(&self.checkpoint)?,
                own: Pooling::read(&prepared.student.checkpoint)?,
                matching,
            }),
            teachers => work(&Tokens {
                temperature: settings.temperature,
                hard: settings.hard,
                memo: match teachers {
                    Some(teachers) if settings.cache_top > 0 && settings.hard < 1.0 => {
                        self.memo(prepared, teachers, observer)?
                    }
                    _ => None,
                },
                teachers: teachers.as_ref(),
                matching,
            }),
        }
    }

    fn teachers(&self, prepared: &Prepared<'_>) -> Result<Teachers, SessionError> {
        let request = prepared.request;
        let resident = prepared.resident;
        let mut teachers = vec![Teacher::new(
            self.model_on_kernels()?,
            request.weight,
            resident,
        )?];
        for other in &request.others {
            let model: Model = open_runnable(&other.path)?;
            if model.is_encoder() != self.model()?.is_encoder() {
                return Err(SessionError::Input {
                    problem:
                        "one teacher is an encoder and another a decoder; name teachers of one kind"
                            .to_owned(),
                    path: other.path.clone(),
                });
            }
            teachers.push(Teacher::new(model, other.weight, resident)?);
        }
        Ok(Teachers::new(teachers, prepared.settings.ensemble)?)
    }

    /// What teachers say of all sequences that will be seen, from the cache or put there; `None` where it takes too much.
    fn memo(
        &self,
        prepared: &Prepared<'_>,
        teachers: &Teachers,
        observer: &dyn Observer,
    ) -> Result<Option<Memo>, SessionError> {
        let settings = &prepared.settings;
        let vocabulary = self.model()?.config().vocabulary;
        let top = settings.cache_top.min(vocabulary);
        let sequences = seen(prepared);
        let positions = sequences.iter().map(Vec::len).sum();
        let bytes = memo_bytes(positions, top);
        let most = self
            .options
            .cache_capacity_bytes
            .min(self.memory_bytes() / 2);
        if bytes > most {
            observer.notice(Notice::Warning(&format!(
                "the teachers' {top} likeliest tokens at {positions} positions would take {}, and {} may be used; the teachers run in each step instead",
                Bytes(bytes),
                Bytes(most)
            )));
            return Ok(None);
        }
        let path = self.memo_path(prepared, &sequences, top, observer)?;
        if let Some(memo) = Memo::read(&path, top, vocabulary) {
            return Ok(Some(memo));
        }
        let stage = format!("keeping what the teachers say ({})", Bytes(bytes));
        observer.notice(Notice::Stage {
            name: &stage,
            steps: sequences.len() as u64,
        });
        let (memo, rest) = make_memo(teachers, &sequences, (top, settings), observer)?;
        observer.notice(Notice::Warning(&format!(
            "the cache keeps the {top} likeliest tokens of each position; the others, {:.2} % of the mass, count as one event, so that the loss is a little too small",
            100.0 * rest
        )));
        memo.write(&path)?;
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
            "memo-1 {top} {:?} {:?} {:?}",
            settings.temperature, settings.ensemble, request.weight
        ));
        digest.update(self.model_digest(observer)?);
        for other in &request.others {
            let session = Self::open_within(&other.path, self.options.clone(), self.pool.clone())?;
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

/// The sequences of all steps, and those held out, each once.
fn seen(prepared: &Prepared<'_>) -> Vec<Vec<u32>> {
    let batches = &prepared.batches;
    let (training, _) = batches.counts();
    // One epoch holds them all.
    let steps = prepared
        .settings
        .steps
        .min((training / prepared.settings.batch) as u64 + 2);
    let mut known = BTreeSet::new();
    let of_steps = (0..steps).flat_map(|step| batches.sequences(step));
    let held_out = batches.held_out();
    let held_out = held_out.iter().flat_map(|batch| batch.sequences().to_vec());
    of_steps
        .chain(held_out)
        .filter(|ids| known.insert(ids.clone()))
        .collect()
}

fn make_memo(
    teachers: &Teachers,
    sequences: &[Vec<u32>],
    (top, settings): (usize, &TrainSettings),
    observer: &dyn Observer,
) -> Result<(Memo, f64), SessionError> {
    let mut writer = MemoWriter::new(top);
    let mut done = 0;
    for some in sequences.chunks(AT_ONCE) {
        let batch = Batch::new(some.to_vec());
        let lesson = teachers.teach(&batch, Kept::default(), observer)?;
        for (sequence, ids) in some.iter().enumerate() {
            let part = Part {
                sequence,
                start: 0,
                count: ids.len(),
            };
            writer.add(ids, &lesson.distributions(part, settings.temperature)?);
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
