//! What is asked of a device: the draft, what computes, how long the prompt and the context are.

use crate::studio::devices::Entry;
use crate::studio::draft::Draft;
use crate::studio::preferences::Preferences;
use crate::studio::project::Project;
use pare_engine::device::DeviceProfile;
use pare_engine::estimate::{EstimateInput, Network};
use pare_engine::recipe::LayerSettings;
use std::sync::Arc;

/// Everything that decides the answer for one open model.
#[derive(Debug, Clone)]
pub struct Question {
    /// The draft.
    pub draft: Arc<Draft>,
    /// The device; `None` where it is not measured yet.
    pub profile: Option<Arc<DeviceProfile>>,
    /// Memory of the device, where known.
    pub room_bytes: Option<u64>,
    /// What of it computes, by name.
    pub engine: String,
    /// Threads that compute there; `None` = as many as are fastest.
    pub threads: Option<usize>,
    /// Tokens of context.
    pub context_tokens: usize,
    /// Of these, tokens of the prompt.
    pub prompt_tokens: usize,
}

impl Question {
    /// What is asked about `project` on `device`.
    pub fn of(project: &Project, preferences: &Preferences, device: Entry<'_>) -> Self {
        let context_tokens = context_tokens(project, preferences.context_tokens);
        Self {
            draft: project.draft().clone(),
            profile: device.profile.cloned(),
            room_bytes: device.memory_bytes,
            engine: preferences.engine.clone(),
            threads: preferences.engine_threads,
            context_tokens,
            prompt_tokens: preferences.prompt_tokens.clamp(1, context_tokens),
        }
    }

    /// What the engine needs to know of layers under `settings`. An error says what is missing.
    pub(super) fn input(
        &self,
        project: &Project,
        settings: &[LayerSettings],
    ) -> Result<EstimateInput, String> {
        let model = project.session.model().map_err(|_| {
            let reason = project.inspection.reason.as_deref();
            let reason = reason.unwrap_or("its architecture is not known");
            format!("Memory and speed need a network that Pare can run: {reason}")
        })?;
        let layers = project.session.demands_in(self.draft.format, settings);
        Ok(EstimateInput {
            network: Network::of(model.config(), !model.is_encoder()),
            bytes: layers.iter().map(|layer| layer.stored_bytes).sum(),
            layers,
            context: self.context_tokens,
            prompt: self.prompt_tokens,
            kv_cache: self.draft.kv_cache,
            threads: self.threads,
        })
    }

    /// Whether the answer is the same.
    pub fn is_same(&self, other: &Self) -> bool {
        let same_profile = match (&self.profile, &other.profile) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (own, other) => own.is_none() && other.is_none(),
        };
        same_profile
            && self.room_bytes == other.room_bytes
            && Arc::ptr_eq(&self.draft, &other.draft)
            && self.engine == other.engine
            && self.threads == other.threads
            && self.context_tokens == other.context_tokens
            && self.prompt_tokens == other.prompt_tokens
    }
}

/// The context that is asked about: as preferred, and no longer than the model was made for.
pub fn context_tokens(project: &Project, preferred: usize) -> usize {
    let longest = project.inspection.context_length;
    preferred.clamp(1, longest.unwrap_or(usize::MAX).max(1))
}
