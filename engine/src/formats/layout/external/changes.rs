//! What a container changes of what was asked of a layer, told in one row.
//!
//! Knows no container: each says what it can hold, and why.

use crate::grid::ScaleDtype;
use crate::report::Fallback;
use crate::settings::{Activations, LayerSettings};
use crate::solved::Method;

/// Changes of one layer, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Changes {
    told: Option<Fallback>,
}

impl Changes {
    /// With what was told before.
    pub(super) fn after(told: Option<Fallback>) -> Self {
        Self { told }
    }

    /// One row for all; `None` where nothing was changed.
    pub(super) fn told(self) -> Option<Fallback> {
        self.told
    }

    /// Tells of one change.
    pub(super) fn tell(&mut self, from: String, to: String, reason: String) {
        let row = Fallback { from, to, reason };
        self.told = Fallback::join(self.told.take(), Some(row));
    }

    /// HQQ's zeros are real numbers; a container of whole ones takes those of plain rounding.
    pub(super) fn whole_zeros(&mut self, word: &str, settings: &mut LayerSettings) {
        if settings.method == Method::Hqq && !settings.symmetric {
            settings.method = Method::Rtn;
            self.tell(
                Method::Hqq.word().to_owned(),
                Method::Rtn.word().to_owned(),
                format!("{word} holds whole zeros, not the fractional ones of hqq"),
            );
        }
    }

    /// So many bits, where others were asked.
    pub(super) fn bits(&mut self, settings: &mut LayerSettings, bits: u8, reason: &str) {
        if settings.bits != bits {
            let from = format!("{} bits", settings.bits);
            settings.bits = bits;
            self.tell(from, format!("{bits} bits"), reason.to_owned());
        }
    }

    /// This group, where another was asked.
    pub(super) fn group(
        &mut self,
        settings: &mut LayerSettings,
        group: usize,
        reason: impl FnOnce() -> String,
    ) {
        if settings.group != group {
            let from = format!("group {}", settings.group);
            settings.group = group;
            self.tell(from, format!("group {group}"), reason());
        }
    }

    /// Scales of this dtype, where others were asked.
    pub(super) fn scales(&mut self, settings: &mut LayerSettings, dtype: ScaleDtype, reason: &str) {
        if settings.scale_dtype != dtype {
            let words = |dtype: ScaleDtype| format!("{dtype} scales");
            self.tell(words(settings.scale_dtype), words(dtype), reason.to_owned());
            settings.scale_dtype = dtype;
        }
    }
}

/// What is told where inputs were to be rounded and are not.
pub(in crate::formats) fn inputs_left_alone(asked: Activations, reason: &str) -> Option<Fallback> {
    (asked != Activations::None).then(|| Fallback {
        from: format!("activations {}", asked.word()),
        to: format!("activations {}", Activations::None.word()),
        reason: reason.to_owned(),
    })
}
