//! What each container makes of a run: what it refuses, what it stores in another way, how many bytes.
//!
//! Asked when a run is chosen, never in an idle frame.

use crate::studio::draft::Draft;
use crate::studio::runs::Run;
use crate::studio::{Project, compose};
use pare_engine::formats::{Format, layout};
use pare_engine::recipe::Recipe;
use pare_engine::solved::Method;

/// What a container makes of a run.
#[derive(Debug)]
pub(super) struct Outlook {
    pub(super) format: Format,
    /// Why it cannot be chosen.
    pub(super) refusal: Option<String>,
    /// Layers that the run compressed.
    pub(super) compressed: usize,
    /// Layers stored in another way, with the reason.
    pub(super) fallbacks: Vec<String>,
    /// Bytes of tensors; `None` where the run's model is not open.
    pub(super) bytes: Option<u64>,
}

/// All containers. Without the run's model nothing is refused: the export itself will say.
pub(super) fn outlooks(run: &Run, project: Option<&Project>) -> Vec<Outlook> {
    let project = project.filter(|project| project.path == run.model);
    let recipe = Recipe::parse(&run.recipe_toml).ok();
    Format::ALL
        .into_iter()
        .map(|format| match project.zip(recipe.as_ref()) {
            Some((project, recipe)) => {
                let (draft, _) = compose::draft(recipe, &project.layers, None, format);
                outlook(format, project, &draft)
            }
            None => Outlook {
                format,
                refusal: None,
                compressed: 0,
                fallbacks: Vec::new(),
                bytes: None,
            },
        })
        .collect()
}

/// What all containers would make of the open model's draft.
pub(super) fn outlooks_of_draft(project: &Project) -> Vec<Outlook> {
    let draft = project.draft();
    Format::ALL
        .into_iter()
        .map(|format| outlook(format, project, draft))
        .collect()
}

impl Outlook {
    /// What the container does otherwise than asked, in a few words; `None` where it holds everything.
    pub(super) fn changes(&self) -> Option<String> {
        match (&self.refusal, self.fallbacks.len()) {
            (Some(_), _) => Some("holds none of its compressed layers".to_owned()),
            (None, 0) => None,
            (None, 1) => Some("stores 1 layer another way".to_owned()),
            (None, count) => Some(format!("stores {count} layers another way")),
        }
    }
}

fn outlook(format: Format, project: &Project, draft: &Draft) -> Outlook {
    let pairs: Vec<_> = project
        .layers
        .iter()
        .cloned()
        .zip(draft.settings.iter().copied())
        .collect();
    let is_compressed = |method: Method| method != Method::None;
    let compressed = pairs
        .iter()
        .filter(|(_, settings)| is_compressed(settings.method));
    let mut outlook = Outlook {
        format,
        refusal: None,
        compressed: compressed.count(),
        fallbacks: Vec::new(),
        bytes: None,
    };
    let held = match layout::preflight(format, &pairs, false) {
        Ok(held) => held,
        Err(error) => {
            outlook.refusal = Some(error.to_string());
            return outlook;
        }
    };
    let mut kept = 0;
    for ((layer, _), held) in pairs.iter().zip(&held) {
        kept += usize::from(is_compressed(held.settings.method));
        if let Some(fallback) = &held.fallback {
            outlook.fallbacks.push(format!(
                "{}: {} to {}: {}",
                layer.name, fallback.from, fallback.to, fallback.reason
            ));
        }
    }
    if kept == 0 && outlook.compressed > 0 {
        let first = outlook.fallbacks.first().cloned().unwrap_or_default();
        outlook.refusal = Some(format!(
            "{} can hold no compressed layer of this run: {first}",
            format.word()
        ));
    }
    let sizes = pairs
        .iter()
        .zip(&held)
        .map(|((layer, _), held)| match held.settings.method {
            Method::None => layer.size_bytes,
            _ => layout::stored_bytes(format, layer, &held.settings),
        });
    outlook.bytes = Some(sizes.sum());
    outlook
}
