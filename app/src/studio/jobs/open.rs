//! Opening a model: the sample is unpacked first; texts and the last draft come along.

use super::{Office, disk};
use crate::studio::event::{Event, Generation, Opened};
use crate::studio::sample::{self, Text};
use pare_engine::session::{Session, SessionOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) fn open(
    generation: Generation,
    path: PathBuf,
    options: SessionOptions,
    office: &Office,
) {
    let result = opened(&path, options, office);
    office.outbox.send(Event::Opened {
        generation,
        path,
        result,
    });
}

fn opened(path: &Path, options: SessionOptions, office: &Office) -> Result<Opened, String> {
    let cache = options.cache_folder.clone();
    let is_sample = sample::is_word(path);
    let place = sample::model(path, &cache).map_err(|error| error.to_string())?;
    let session = Session::open(&place, options).map_err(|error| error.to_string())?;
    let text = |what| match is_sample {
        true => sample::text(Path::new(sample::WORD), what, &cache)
            .map(Some)
            .map_err(|error| error.to_string()),
        false => Ok(None),
    };
    let evaluation_text = text(Text::Evaluation)?;
    let mut autosaved = disk::autosaved(office, path);
    if let Some(rest) = autosaved.as_mut().and_then(|draft| draft.rest.as_mut())
        && rest
            .evaluation
            .as_ref()
            .is_some_and(|text| !Path::new(text).exists())
    {
        // It is gone, perhaps with the cache folder that the sample's lay in.
        let fresh = evaluation_text.as_ref().and_then(|text| text.to_str());
        rest.evaluation = fresh.map(str::to_owned);
    }
    Ok(Opened {
        session: Arc::new(session),
        is_sample,
        calibration_text: text(Text::Calibration)?,
        evaluation_text,
        autosaved,
    })
}
