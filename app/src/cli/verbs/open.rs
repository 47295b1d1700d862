//! `pare open`, and `pare` alone: from flags to what is asked of a face, and from its outcome to an answer.
//!
//! Knows no window: whoever starts the command line brings one.

use crate::cli::answer::Answer;
use crate::cli::arguments::Open;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::studio::places::{self, absolute};
use crate::studio::request::{Face, OpenOutcome, OpenRequest, PictureRequest, StopQuestion};
use crate::studio::state::Limits;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;

/// `--json`: all null once a window was closed.
#[derive(Debug, Default, Serialize)]
struct Opened {
    screenshot: Option<PathBuf>,
    width: Option<u32>,
    height: Option<u32>,
}

/// Has `show` do what these flags ask, and answers with what came of it.
pub(super) fn run(
    open: &Open,
    context: &Context,
    show: impl FnOnce(&OpenRequest) -> Result<OpenOutcome, String>,
) -> Result<Answer, Failure> {
    match show(&request(open, context)).map_err(Failure::Failed)? {
        OpenOutcome::Closed => Answer::new(&Opened::default(), String::new()),
        OpenOutcome::Stopped => Err(Failure::Stopped),
        OpenOutcome::Drawn { file, size_pixels } => {
            let [width, height] = size_pixels;
            let page = format!("{width} x {height} pixels: {}\n", file.display());
            let opened = Opened {
                screenshot: Some(file),
                width: Some(width),
                height: Some(height),
            };
            Answer::new(&opened, page)
        }
    }
}

/// What these flags ask of a face.
fn request(open: &Open, context: &Context) -> OpenRequest {
    let face = match &open.screenshot {
        None => Face::Window {
            renderer: open.renderer,
            data_folder: places::data_folder(),
        },
        Some(file) => {
            // A folder may have to be cleared away.
            context.stop.be_patient();
            let stop = context.stop.clone();
            Face::Picture(PictureRequest {
                file: file.clone(),
                size_points: open.size,
                scale: open.scale,
                theme: open.theme,
                view: open.view,
                select: open.select.clone(),
                run: open.run,
                stop: StopQuestion(Arc::new(move || stop.is_raised())),
            })
        }
    };
    OpenRequest {
        model: absolute(&open.model),
        recipe: open.recipe.as_deref().map(absolute),
        cache_folder: context.cache().to_owned(),
        limits: Limits {
            threads: context.options.threads,
            memory_bytes: context.options.memory_bytes,
        },
        face,
    }
}
