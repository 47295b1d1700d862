//! Bytes of drafts that take parts out of the network, or leave a size to the weights: a dry run has to tell.
//!
//! Values and questions; `update::structure` asks and takes answers. Knows no network.

use super::compose;
use super::draft::Draft;
use super::runs::Control;
use pare_engine::formats::Format;
use pare_engine::formats::layout::stored_bytes;
use pare_engine::model::LayerInfo;
use pare_engine::recipe::{LayerSettings, Recipe, Structure};
use std::collections::HashMap;
use std::sync::Arc;

/// Answers kept.
const MOST_ANSWERS: usize = 256;

/// A draft whose size is asked, by what decides it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Plan {
    recipe: String,
    format: Format,
}

/// What a dry run is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// What the answer is about.
    pub plan: Plan,
    /// The recipe.
    pub recipe: Recipe,
    /// The container.
    pub format: Format,
    /// The nearest that is known to the byte: for the network as it is.
    pub whole: Recipe,
    /// Bytes of all tensors of that.
    pub whole_bytes: u64,
}

impl Question {
    /// The question of how large `draft` of `layers` would be.
    pub fn of(draft: &Draft, layers: &[LayerInfo]) -> Self {
        let recipe = compose::recipe(draft, layers);
        let mut known = draft.clone();
        known.structure = Structure::default();
        let settings = known.settings.iter_mut();
        settings.for_each(|settings| *settings = settings.without_waiting());
        Self {
            whole: compose::recipe(&known, layers),
            whole_bytes: tensor_bytes(&known, layers),
            plan: Plan {
                recipe: recipe.to_toml(),
                format: draft.format,
            },
            recipe,
            format: draft.format,
        }
    }
}

/// Bytes of all tensors that `draft` would write of the network as it is.
pub fn tensor_bytes(draft: &Draft, layers: &[LayerInfo]) -> u64 {
    let of = |(info, settings): (&LayerInfo, &LayerSettings)| match info.compressible {
        true => stored_bytes(draft.format, info, settings),
        false => info.size_bytes,
    };
    layers.iter().zip(&draft.settings).map(of).sum()
}

/// Bytes of all tensors of smaller networks, as far as they are known.
#[derive(Debug, Clone, Default)]
pub struct Smaller {
    known: HashMap<Plan, Result<u64, String>>,
    /// The job at work, and what it answers.
    pub(super) job: Option<(Arc<Control>, Vec<Plan>)>,
    /// What the draft in force asks for.
    pub(super) current: Option<Plan>,
    /// Grows with every answer.
    pub version: u64,
}

impl Smaller {
    /// What is known; an error says why a network cannot be made so small.
    pub fn get(&self, plan: &Plan) -> Option<&Result<u64, String>> {
        self.known.get(plan)
    }

    /// What is known of the draft in force.
    pub fn now(&self) -> Option<&Result<u64, String>> {
        self.get(self.current.as_ref()?)
    }

    /// Whether a job is at work.
    pub fn is_at_work(&self) -> bool {
        self.job.is_some()
    }

    /// Notes answers.
    pub(super) fn take(&mut self, answers: Vec<(Plan, Result<u64, String>)>) {
        if self.known.len() > MOST_ANSWERS {
            self.known.clear();
        }
        self.known.extend(answers);
        self.version += 1;
    }
}
