//! What a run settles before anything is solved: settings that the container can hold, every byte, the text that
//! calibrates, and what a resumed run must find unchanged.
//!
//! Knows no loop over layers and no writing.

use super::requests::*;
use super::{Session, SessionError};
use crate::compress::{need_of, scored_alone, unrefined};
use crate::formats::layout::{
    Held, Plan, PlanSource, Values, plan, preflight_of, warn_of_family, warn_of_nothing_held,
};
use crate::formats::store::Fingerprint;
use crate::model::LayerInfo;
use crate::recipe::Decision;
use crate::report::Fallback;
use crate::settings::{LayerSettings, Rank};
use crate::solved::Method;
use crate::tensor::WeightSource;
use crate::units::hex;
use sha2::{Digest, Sha256};

/// What is compressed: the model as it lies, or as it will lie once it is smaller.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) layers: &'a [LayerInfo],
    pub(super) source: PlanSource<'a>,
}

/// All that is settled before anything is solved.
pub(super) struct Prepared {
    /// Indices of the compressible layers.
    pub(super) chosen: Vec<usize>,
    pub(super) decisions: Vec<Decision>,
    pub(super) held: Vec<Held>,
    pub(super) plan: Plan,
    pub(super) warnings: Vec<String>,
}

impl Session {
    pub(super) fn prepare(
        &self,
        request: &CompressRequest,
        target: Target<'_>,
    ) -> Result<Prepared, SessionError> {
        self.checkpoint.check_readable()?;
        let chosen: Vec<usize> = (0..target.layers.len())
            .filter(|&layer| target.layers[layer].compressible)
            .collect();
        let infos: Vec<LayerInfo> = chosen
            .iter()
            .map(|&layer| target.layers[layer].clone())
            .collect();
        let resolved = request.recipe.resolve(&infos);
        let pairs = infos.iter().zip(&resolved.decisions);
        let (asked, alone): (Vec<(LayerInfo, LayerSettings)>, Vec<Option<Fallback>>) = pairs
            .map(|(info, decision)| {
                let (settings, fallback) = scored_alone(info, decision.settings);
                let fallback = Fallback::join(fallback, unrefined(&settings));
                ((info.clone(), settings), fallback)
            })
            .unzip();
        let mut held = preflight_of(
            &target.source,
            request.format,
            &asked,
            Values::Open,
            request.recipe.strict,
        )?;
        let nothing_held = warn_of_nothing_held(request.format, &asked, &held);
        for ((info, held), alone) in infos.iter().zip(&mut held).zip(alone) {
            if held.settings.method != Method::None {
                held.fallback = Fallback::join(held.fallback.take(), alone);
                held.settings.rank = fixed_rank(info, held.settings.rank);
            }
        }
        // Of a model that is still to be made smaller, the run itself asks again.
        if request.recipe.strict && *target.layers == self.layers[..] {
            let mut settings = vec![None; self.layers.len()];
            for (&layer, held) in chosen.iter().zip(&held) {
                settings[layer] = Some(held.settings);
            }
            self.refuse_unsmoothed(&settings)?;
        }
        let plan = plan(request.format, &target.source, &infos, &held)?;
        let of_family = warn_of_family(request.format, target.source.config);
        let told = resolved.warnings.into_iter();
        let told = told.chain(of_family).chain(nothing_held);
        let warnings = told.chain(plan.remarks().cloned()).collect();
        Ok(Prepared {
            chosen,
            decisions: resolved.decisions,
            held,
            plan,
            warnings,
        })
    }

    /// Token ids that calibrate: none where no text is named, or where the network cannot be run and nobody needs it.
    pub(super) fn calibration_sequences(
        &self,
        request: &CompressRequest,
        prepared: &Prepared,
    ) -> Result<Option<Vec<Vec<u32>>>, SessionError> {
        let needed = prepared
            .held
            .iter()
            .any(|held| need_of(&held.settings).is_some());
        if self.model.is_err() {
            // Whoever asks for a calibrated method must hear why there are no inputs, not get another method.
            return if needed {
                self.model().map(|_| None)
            } else {
                Ok(None)
            };
        }
        if request.recipe.calibration.corpus.is_none() {
            return Ok(None);
        }
        self.draw_sequences(&request.recipe.calibration).map(Some)
    }

    /// What makes two runs the same: all that decides a byte of a solved layer.
    pub(super) fn fingerprint(
        &self,
        request: &CompressRequest,
        prepared: &Prepared,
        sequences: Option<&[Vec<u32>]>,
    ) -> Fingerprint {
        let mut headers = Sha256::new();
        for name in self.checkpoint.names() {
            headers.update(format!("{name} {:?}\n", self.checkpoint.info(&name)));
        }
        let mut ids = Sha256::new();
        for id in sequences.unwrap_or_default().iter().flatten() {
            ids.update(id.to_le_bytes());
        }
        let settings: Vec<LayerSettings> = prepared.held.iter().map(|held| held.settings).collect();
        let settings = serde_json::to_string(&settings).unwrap_or_default();
        vec![
            ("model".to_owned(), hex(&headers.finalize())),
            ("format".to_owned(), request.format.word().to_owned()),
            ("recipe".to_owned(), hex(&Sha256::digest(settings))),
            ("calibration text".to_owned(), hex(&ids.finalize())),
        ]
    }
}

/// A share as the rank that it is in a layer of this shape.
fn fixed_rank(layer: &LayerInfo, rank: Rank) -> Rank {
    let fixed = rank.of_shape(layer.rows, layer.columns);
    fixed.map_or(rank, Rank::Fixed)
}
