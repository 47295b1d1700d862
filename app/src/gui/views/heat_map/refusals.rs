//! Why the container cannot hold an option of a layer, asked once for each cell that is seen.
//!
//! Answers are kept until the draft changes. Knows no place on the screen.

use crate::studio::Project;
use crate::studio::draft::{Draft, possible};
use pare_engine::formats::layout;
use pare_engine::model::LayerInfo;
use pare_engine::settings::LayerOption;
use pare_engine::solved::Method;
use std::collections::HashMap;
use std::sync::Arc;

/// Answers so far.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    draft: Option<Arc<Draft>>,
    method: Option<Method>,
    is_any: bool,
    known: HashMap<(usize, LayerOption), Option<String>>,
}

impl Refusals {
    /// Forgets answers about another draft. `method` is what layers get that were dense.
    pub(super) fn follow(&mut self, project: &Project, method: Method) {
        let draft = project.draft();
        let is_same = self
            .draft
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, draft));
        if !is_same || self.method != Some(method) {
            self.draft = Some(draft.clone());
            self.method = Some(method);
            self.known.clear();
            self.is_any = false;
        }
    }

    /// Whether any cell asked about cannot be held.
    pub(super) fn is_any(&self) -> bool {
        self.is_any
    }

    /// Why the draft's container cannot hold `layer` at `option`, if it cannot.
    pub(super) fn reason(
        &mut self,
        project: &Project,
        layer: usize,
        option: LayerOption,
    ) -> Option<&str> {
        let method = self.method.unwrap_or(Method::Rtn);
        let reason = self.known.entry((layer, option)).or_insert_with(|| {
            reason(
                project.draft(),
                &project.layers[layer],
                layer,
                option,
                method,
            )
        });
        self.is_any |= reason.is_some();
        reason.as_deref()
    }
}

fn reason(
    draft: &Draft,
    info: &LayerInfo,
    layer: usize,
    option: LayerOption,
    method: Method,
) -> Option<String> {
    let settings = possible(info, option.apply(&draft.settings[layer], method));
    // Alone: whether peers agree is the whole recipe's business.
    let alone = LayerInfo {
        fused_peers: None,
        ..info.clone()
    };
    let held = layout::preflight(draft.format, &[(alone, settings)], false);
    match held {
        Ok(held) => {
            let held = held.into_iter().next()?;
            // Scales of another kind are still the same option.
            let is_held = LayerOption::of(&held.settings) == LayerOption::of(&settings);
            held.fallback
                .filter(|_| !is_held)
                .map(|fallback| fallback.reason)
        }
        Err(error) => Some(error.to_string()),
    }
}
