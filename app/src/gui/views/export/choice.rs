//! What each container makes of a run: what it refuses, what it stores in another way, how many bytes.
//!
//! Asked when a run is chosen, never in an idle frame.

use crate::studio::Project;
use crate::studio::runs::Run;
use pare_engine::formats::layout::{self, Held, LayoutError};
use pare_engine::formats::{Format, preflight_of_solved};
use pare_engine::model::LayerInfo;
use pare_engine::recipe::Recipe;
use pare_engine::settings::LayerSettings;
use pare_engine::solved::Method;
use std::collections::HashMap;

/// Layers, and how each is stored or is to be.
type Layers = Vec<(LayerInfo, LayerSettings)>;

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
    let solved = project.and_then(|project| solved_layers(run, project));
    Format::ALL
        .into_iter()
        .map(|format| match &solved {
            Some(layers) => outlook(format, layers, layout_of_solved),
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

/// The open model's layers as the run's report says that they were solved.
fn solved_layers(run: &Run, project: &Project) -> Option<Layers> {
    let recipe = Recipe::parse(&run.recipe_toml).ok()?;
    let report = run.report.as_ref()?;
    let solved: HashMap<&str, LayerSettings> = report
        .layers
        .iter()
        .map(|layer| (layer.name.as_str(), layer.settings))
        .collect();
    let unsolved = LayerSettings {
        method: Method::None,
        ..recipe.default
    };
    let settings = |layer: &LayerInfo| solved.get(layer.name.as_str()).copied().unwrap_or(unsolved);
    let layers = project.layers.iter();
    Some(
        layers
            .map(|layer| (layer.clone(), settings(layer)))
            .collect(),
    )
}

/// What all containers would make of the open model's draft.
pub(super) fn outlooks_of_draft(project: &Project) -> Vec<Outlook> {
    let settings = project.draft().settings.iter().copied();
    let layers: Layers = project.layers.iter().cloned().zip(settings).collect();
    Format::ALL
        .into_iter()
        .map(|format| outlook(format, &layers, layout_of_draft))
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

fn layout_of_solved(format: Format, layers: &Layers) -> Result<Vec<Held>, LayoutError> {
    preflight_of_solved(format, layers)
}

fn layout_of_draft(format: Format, layers: &Layers) -> Result<Vec<Held>, LayoutError> {
    layout::preflight(format, layers, false)
}

fn outlook(
    format: Format,
    pairs: &Layers,
    preflight: fn(Format, &Layers) -> Result<Vec<Held>, LayoutError>,
) -> Outlook {
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
    let held = match preflight(format, pairs) {
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
    let sizes =
        pairs
            .iter()
            .zip(&held)
            .map(|((layer, _), held)| match (held.settings.method, format) {
                // GGUF carries blocks over; all others unpack what is left alone, and the format pare says so itself.
                (Method::None, Format::Gguf) => layer.size_bytes,
                _ => layout::stored_bytes(format, layer, &held.settings),
            });
    outlook.bytes = Some(sizes.sum());
    outlook
}
