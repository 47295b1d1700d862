//! What of a strict recipe's smoothing cannot be done, told before anything is solved.
//!
//! From shapes and settings alone: which norm or layer makes an input, and what all that read it ask. The run itself
//! finds the same and tells it layer by layer.

use super::{Session, SessionError};
use crate::model::{LayerKind, ModelConfig, Producer, Stage};
use crate::settings::LayerSettings;
use crate::solved::Method;

/// Layers named in an error; the others are counted.
const FEW: usize = 3;

impl Session {
    /// An error where a layer asks to be smoothed and cannot be, or less than it asks. `settings` holds those of the layers
    /// that are compressed, by their index in the model's list.
    pub(super) fn refuse_unsmoothed(
        &self,
        settings: &[Option<LayerSettings>],
    ) -> Result<(), SessionError> {
        let Ok(model) = &self.model else {
            return Ok(());
        };
        let asks = |layer: usize| settings[layer].as_ref().is_some_and(asks);
        let alone = self.layers.iter().enumerate().filter(|(layer, info)| {
            let is_alone = info.block.is_none() && info.kind != LayerKind::Embedding;
            is_alone && asks(*layer)
        });
        let mut unfit: Vec<(usize, String)> = alone
            .map(|(layer, _)| (layer, "no layer makes its input".to_owned()))
            .collect();
        for stages in model.stages() {
            for (index, stage) in stages.iter().enumerate() {
                let asking = stage.layers.iter().copied().filter(|&layer| asks(layer));
                for layer in asking {
                    let reason = self.reason(model.config(), settings, &stages, index, layer);
                    unfit.extend(reason.map(|reason| (layer, reason)));
                }
            }
        }
        if unfit.is_empty() {
            return Ok(());
        }
        let named = unfit.iter().take(FEW);
        let mut words: Vec<String> = named
            .map(|(layer, reason)| format!("{} ({reason})", self.layers[*layer].name))
            .collect();
        if unfit.len() > FEW {
            words.push(format!("{} more", unfit.len() - FEW));
        }
        Err(self.input_problem(&format!(
            "the recipe is strict, and these layers cannot be smoothed as it asks: {}; set smooth = 0 for them, or strict = false",
            words.join(", ")
        )))
    }

    /// Why `layer` of stage `index` cannot be smoothed as it asks; `None` where it can.
    fn reason(
        &self,
        config: &ModelConfig,
        settings: &[Option<LayerSettings>],
        stages: &[Stage],
        index: usize,
        layer: usize,
    ) -> Option<String> {
        let own = settings[layer].as_ref()?;
        let name = |layer: usize| &self.layers[layer].name;
        if own.method == Method::Awq {
            return Some("AWQ finds scales of its own".to_owned());
        }
        let less = stages[index].layers.iter().find(|&&peer| {
            let peer = settings[peer].as_ref().filter(|peer| can_be(peer));
            peer.is_none_or(|peer| peer.smooth < own.smooth)
        });
        if let Some(&peer) = less {
            return Some(format!(
                "{}, which reads the same input, asks for less",
                name(peer)
            ));
        }
        match config.producer_of(index) {
            None => Some("nothing that makes its input can be scaled".to_owned()),
            Some(Producer::Norm) => None,
            Some(Producer::Layer(roles)) => {
                let mut layers = stages.iter().flat_map(|stage| &stage.layers);
                let producer = *layers.find(|&&layer| roles.contains(&self.layers[layer].role))?;
                let is_left = settings[producer].is_none_or(|of| of.method == Method::None);
                is_left.then(|| {
                    format!(
                        "{}, which makes its input, is left as it is",
                        name(producer)
                    )
                })
            }
        }
    }
}

fn asks(settings: &LayerSettings) -> bool {
    settings.smooth > 0.0 && settings.method != Method::None
}

/// Whether smoothing may change the layer.
fn can_be(settings: &LayerSettings) -> bool {
    asks(settings) && settings.method != Method::Awq
}
