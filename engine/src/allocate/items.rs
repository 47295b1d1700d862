//! What there is to choose: the layers that are free, those that must agree together, and what each may have.
//!
//! Bytes (or what else the price counts) are those of the container, and an option that it would store otherwise than asked
//! is none. Knows no budget.

use super::rules::Resolved;
use super::{AllocateError, Predictor, Price};
use crate::budget::Choice;
use crate::formats::Format;
use crate::formats::layout::preflight;
use crate::model::{LayerInfo, LayerKind};
use crate::report::SensitivityTable;
use crate::settings::{LayerOption, LayerSettings};
use crate::solved::Method;
use std::collections::BTreeMap;

/// One layer, or several that agree.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// Indices into the model's list of layers.
    pub(super) members: Vec<usize>,
    /// What it may have, in the table's order.
    pub(super) choices: Vec<Choice>,
    /// For each choice, the index of its option in the table.
    pub(super) options: Vec<usize>,
    /// Bytes at each option of the table, allowed or not.
    pub(super) bytes: Vec<u64>,
}

/// Everything from which items are made.
pub(super) struct Ground<'a> {
    pub(super) table: &'a SensitivityTable,
    pub(super) predictor: &'a Predictor,
    pub(super) layers: &'a [LayerInfo],
    /// What each layer has now.
    pub(super) base: &'a [LayerSettings],
    pub(super) format: Format,
    pub(super) price: &'a Price,
    pub(super) rules: &'a Resolved,
}

/// What one layer can have.
struct Offer {
    /// Bytes at each option of the table.
    bytes: Vec<u64>,
    /// Loss at each option; `None` where it may not have the option.
    losses: Vec<Option<f64>>,
}

impl Item {
    /// The index of the choice nearest to an option of the table: that option, else the largest choice that takes no more
    /// bytes, else the smallest.
    pub(super) fn nearest(&self, option: usize) -> usize {
        if let Some(exact) = self.options.iter().position(|offered| *offered == option) {
            return exact;
        }
        let bytes = |choice: &usize| self.choices[*choice].bytes;
        let all = || 0..self.choices.len();
        let below = all().filter(|choice| bytes(choice) <= self.bytes[option]);
        below
            .max_by_key(bytes)
            .or_else(|| all().min_by_key(bytes))
            .expect("items without a choice are not made")
    }
}

impl Ground<'_> {
    /// The items, by their first layer.
    pub(super) fn items(&self) -> Result<Vec<Item>, AllocateError> {
        let offers = self.offers();
        let groups = self.groups(&offers);
        let items = groups.iter().map(|members| self.item(members, &offers));
        items.collect()
    }

    /// Layers that agree, and single layers; those that stay as they are do not appear.
    fn groups(&self, offers: &[Option<Offer>]) -> Vec<Vec<usize>> {
        let free = |layer: &usize| offers[*layer].is_some();
        let mut fused: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut groups = Vec::new();
        for (layer, info) in self.layers.iter().enumerate() {
            match info
                .fused_peers
                .filter(|_| self.rules.fused && info.compressible)
            {
                Some(peers) => fused.entry(peers).or_default().push(layer),
                None if free(&layer) => groups.push(vec![layer]),
                None => {}
            }
        }
        // Where one stays as it is, those that must agree with it stay too.
        groups.extend(
            fused
                .into_values()
                .filter(|members| members.iter().all(free)),
        );
        groups.sort();
        groups
    }

    fn item(&self, members: &[usize], offers: &[Option<Offer>]) -> Result<Item, AllocateError> {
        let offers: Vec<&Offer> = members
            .iter()
            .filter_map(|&member| offers[member].as_ref())
            .collect();
        let sum = |option: usize| {
            let bytes = offers.iter().map(|offer| offer.bytes[option]);
            bytes.fold(0, u64::saturating_add)
        };
        let bytes: Vec<u64> = (0..self.table.options.len()).map(sum).collect();
        let loss = |option: usize| {
            let losses = offers.iter().map(|offer| offer.losses[option]);
            losses.sum::<Option<f64>>()
        };
        let (mut choices, mut options) = (Vec::new(), Vec::new());
        for (option, &bytes) in bytes.iter().enumerate() {
            if let Some(loss) = loss(option) {
                choices.push(Choice { bytes, loss });
                options.push(option);
            }
        }
        if choices.is_empty() {
            return Err(AllocateError::NoOption {
                layer: self.layers[members[0]].name.clone(),
            });
        }
        Ok(Item {
            members: members.to_vec(),
            choices,
            options,
            bytes,
        })
    }

    /// What each layer can have; `None` where it stays as it is.
    fn offers(&self) -> Vec<Option<Offer>> {
        let count = self.table.options.len();
        let mut offers: Vec<Option<Offer>> = (0..self.layers.len())
            .map(|layer| {
                self.is_free(layer).then(|| Offer {
                    bytes: vec![0; count],
                    losses: vec![None; count],
                })
            })
            .collect();
        let mut asked: Vec<(LayerInfo, LayerSettings)> = self
            .layers
            .iter()
            .cloned()
            .zip(self.base.iter().copied())
            .collect();
        for (place, &option) in self.table.options.iter().enumerate() {
            let held = self.hold(option, &offers, &mut asked);
            for (layer, offer) in offers.iter_mut().enumerate() {
                if let Some(offer) = offer {
                    let settings = &asked[layer].1;
                    offer.bytes[place] = self.price.of(layer, settings);
                    let may = held[layer] && self.rules.allow(layer, option);
                    let loss = self.predictor.layer_loss(layer, option);
                    offer.losses[place] = loss.filter(|_| may);
                }
            }
        }
        offers
    }

    /// Asks one option of all free layers; for each layer, whether the container stores it so.
    fn hold(
        &self,
        option: LayerOption,
        offers: &[Option<Offer>],
        asked: &mut [(LayerInfo, LayerSettings)],
    ) -> Vec<bool> {
        let all = asked.iter_mut().zip(offers).zip(self.base);
        for ((asked, _), base) in all.filter(|((_, offer), _)| offer.is_some()) {
            asked.1 = option.apply(base, method_for(&asked.0, self.table.method));
        }
        match preflight(self.format, asked, false) {
            Ok(held) => held
                .iter()
                .map(|held| LayerOption::of(&held.settings) == Some(option))
                .collect(),
            // Only a strict preflight refuses.
            Err(_) => vec![false; asked.len()],
        }
    }

    /// Whether a layer's option is to be chosen: judged, not locked, and of codes that options describe.
    fn is_free(&self, layer: usize) -> bool {
        let info = &self.layers[layer];
        let judged = self.table.of_layer(layer).is_some_and(|entry| {
            let mut cells = self.table.options.iter().zip(&entry.errors);
            cells.any(|(option, error)| {
                *option != LayerOption::Dense
                    && error.is_some()
                    && self.predictor.layer_loss(layer, *option).is_some()
            })
        });
        let is_fixed = matches!(self.base[layer].method, Method::Nf4 | Method::Palette);
        let fixed = self.rules.locked[layer] || is_fixed;
        info.compressible && judged && !fixed
    }
}

/// The method that changes a layer which the recipe leaves as it is: outside blocks no inputs are gathered, so that such a
/// layer rounds to nearest.
pub(super) fn method_for(layer: &LayerInfo, method: Method) -> Method {
    match layer.kind {
        LayerKind::Embedding | LayerKind::Head => Method::Rtn,
        _ => method,
    }
}
