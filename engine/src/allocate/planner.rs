//! One model, one table, one set of rules: the front over all budgets, and the recipe for one.
//!
//! Predicted losses add up over layers and then go through the predictor's rising curve, so what is best by sums is best by
//! predictions. Knows no recipe text and measures nothing.

use super::items::{Ground, Item, method_for};
use super::rules::Resolved;
use super::{AllocateError, Allocation, FrontPoint, Predictor, Price, Rules};
use crate::budget::{BudgetError, Front, solve};
use crate::formats::Format;
use crate::model::LayerInfo;
use crate::report::SensitivityTable;
use crate::settings::{LayerOption, LayerSettings};
use crate::solved::Method;

/// The first and the last of this many parts of the blocks are ends.
const PARTS_OF_BLOCKS: usize = 8;

/// Chooses bits.
#[derive(Debug, Clone)]
pub struct Planner {
    predictor: Predictor,
    options: Vec<LayerOption>,
    method: Method,
    price: Price,
    layers: Vec<LayerInfo>,
    /// What each layer has where nothing is chosen.
    base: Vec<LayerSettings>,
    items: Vec<Item>,
    hull: Front,
    front: Vec<FrontPoint>,
    /// Bytes and loss of the layers that stay as they are.
    fixed: (u64, f64),
    warnings: Vec<String>,
}

impl Planner {
    /// Prepares every budget at once. `settings` are what each of `layers` has now: locked layers, layers that the table
    /// does not know and layers of NF4 keep them, and with them, where rules or the format fuse them, their peers.
    pub fn new(
        table: &SensitivityTable,
        layers: &[LayerInfo],
        settings: &[LayerSettings],
        format: Format,
        rules: &Rules,
    ) -> Result<Self, AllocateError> {
        let price = Price::bytes(format, layers);
        Self::priced(table, layers, settings, format, rules, price)
    }

    /// The same where a budget counts something else: all bytes that are told are then what `price` counts.
    pub fn priced(
        table: &SensitivityTable,
        layers: &[LayerInfo],
        settings: &[LayerSettings],
        format: Format,
        rules: &Rules,
        price: Price,
    ) -> Result<Self, AllocateError> {
        let rules = Resolved::new(rules, layers, format)?;
        let predictor = Predictor::new(table);
        let ground = Ground {
            table,
            predictor: &predictor,
            layers,
            base: settings,
            format,
            price: &price,
            rules: &rules,
        };
        let items = ground.items()?;
        if items.is_empty() {
            return Err(AllocateError::NoFreeLayer);
        }
        let choices: Vec<_> = items.iter().map(|item| item.choices.clone()).collect();
        let hull = Front::new(&choices).map_err(AllocateError::Sums)?;
        let mut planner = Self {
            predictor,
            options: table.options.clone(),
            method: table.method,
            price,
            layers: layers.to_vec(),
            base: settings.to_vec(),
            items,
            hull,
            front: Vec::new(),
            fixed: (0, 0.0),
            warnings: rules.warnings,
        };
        planner.fixed = planner.fixed();
        planner.front = planner
            .hull
            .points()
            .iter()
            .map(|point| planner.point(point.bytes, point.loss))
            .collect();
        Ok(planner)
    }

    /// The recipes that are best for their bytes, as far as they lie on the convex hull; few bytes first. Bytes are those of
    /// all compressible layers.
    pub fn front(&self) -> &[FrontPoint] {
        &self.front
    }

    /// The best recipe known whose compressible layers take `budget_bytes` at most.
    pub fn solve(&self, budget_bytes: u64) -> Result<Allocation, AllocateError> {
        let too_small = || AllocateError::TooSmall {
            asked_bytes: budget_bytes,
            smallest_bytes: self.smallest_bytes(),
        };
        let room = budget_bytes
            .checked_sub(self.fixed.0)
            .ok_or_else(too_small)?;
        match solve(&self.hull, room) {
            Ok(found) => Ok(self.allocation(&found.choices)),
            Err(BudgetError::TooSmall { .. }) => Err(too_small()),
            Err(error) => Err(AllocateError::Sums(error)),
        }
    }

    /// The loss predicted of any recipe. `None` where a layer has settings of which the table knows nothing, unless they are
    /// what it has anyway: such layers count nothing.
    pub fn predict(&self, settings: &[LayerSettings]) -> Option<f64> {
        let mut sum = 0.0;
        for (layer, settings) in settings.iter().enumerate().take(self.layers.len()) {
            if self.layers[layer].compressible {
                sum += match self.loss_of(layer, settings) {
                    Some(loss) => loss,
                    None if *settings == self.base[layer] => 0.0,
                    None => return None,
                };
            }
        }
        Some(self.predictor.total(sum))
    }

    /// The best recipe within `budget_bytes` that gives all free layers one option. A layer that may not have it has the
    /// next smaller one that it may.
    pub fn uniform(&self, budget_bytes: u64) -> Option<Allocation> {
        let options = 0..self.options.len();
        self.best(options.map(|option| self.alike(|_| option)), budget_bytes)
    }

    /// As `uniform`, but layers of the first and last eighth of the blocks have the next higher bits.
    pub fn ends_higher(&self, budget_bytes: u64) -> Option<Allocation> {
        let ends = self.ends();
        let grids = (0..self.options.len()).filter(|&option| self.options[option].bits().is_some());
        let candidates = grids.filter_map(|option| {
            let higher = self.higher(option)?;
            Some(self.alike(|item| if ends[item] { higher } else { option }))
        });
        self.best(candidates, budget_bytes)
    }

    /// Weights of the free layers.
    pub fn weights(&self) -> u64 {
        self.free().map(|layer| self.layers[layer].parameters).sum()
    }

    /// Bytes of the free layers in a recipe.
    pub fn free_bytes_of(&self, settings: &[LayerSettings]) -> u64 {
        self.free()
            .map(|layer| self.bytes_of(layer, &settings[layer]))
            .sum()
    }

    /// Bytes of the layers that stay as they are.
    pub fn fixed_bytes(&self) -> u64 {
        self.fixed.0
    }

    /// Bytes of the smallest recipe.
    pub fn smallest_bytes(&self) -> u64 {
        self.fixed.0.saturating_add(self.hull.smallest_bytes())
    }

    /// The layers that are chosen for, as indices into the model's list.
    pub fn free(&self) -> impl Iterator<Item = usize> {
        self.items.iter().flat_map(|item| &item.members).copied()
    }

    /// The free layers that have more than one option: the container holds some as they are and no other way.
    pub fn with_a_choice(&self) -> impl Iterator<Item = usize> {
        let items = self.items.iter().filter(|item| item.options.len() > 1);
        items.flat_map(|item| &item.members).copied()
    }

    /// The method that changes a layer which the recipe leaves as it is.
    pub fn method(&self, layer: usize) -> Method {
        method_for(&self.layers[layer], self.method)
    }

    /// What predicts losses.
    pub fn predictor(&self) -> &Predictor {
        &self.predictor
    }

    /// What is odd about the rules, for people.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Bytes and loss of the layers that stay as they are; those of unknown loss count nothing.
    fn fixed(&self) -> (u64, f64) {
        let mut is_free = vec![false; self.layers.len()];
        self.free().for_each(|layer| is_free[layer] = true);
        let fixed = (0..self.layers.len())
            .filter(|&layer| self.layers[layer].compressible && !is_free[layer]);
        fixed.fold((0_u64, 0.0), |(bytes, loss), layer| {
            let settings = &self.base[layer];
            (
                bytes.saturating_add(self.bytes_of(layer, settings)),
                loss + self.loss_of(layer, settings).unwrap_or(0.0),
            )
        })
    }

    fn bytes_of(&self, layer: usize, settings: &LayerSettings) -> u64 {
        self.price.of(layer, settings)
    }

    fn loss_of(&self, layer: usize, settings: &LayerSettings) -> Option<f64> {
        self.predictor.layer_loss(layer, LayerOption::of(settings)?)
    }

    /// What free layers take and lose, as the whole model's.
    fn point(&self, free_bytes: u64, free_loss: f64) -> FrontPoint {
        FrontPoint {
            bytes: self.fixed.0.saturating_add(free_bytes),
            predicted_loss: self.predictor.total(self.fixed.1 + free_loss),
        }
    }

    /// The recipe in which each item has the choice named.
    fn allocation(&self, choices: &[usize]) -> Allocation {
        let mut settings = self.base.clone();
        let (mut bytes, mut loss) = (0_u64, 0.0);
        for (item, &choice) in self.items.iter().zip(choices) {
            let option = self.options[item.options[choice]];
            bytes = bytes.saturating_add(item.choices[choice].bytes);
            loss += item.choices[choice].loss;
            for &member in &item.members {
                settings[member] = option.apply(&self.base[member], self.method(member));
            }
        }
        let options = self.layers.iter().zip(&settings).map(|(layer, settings)| {
            let option = LayerOption::of(settings);
            option.filter(|_| layer.compressible)
        });
        let point = self.point(bytes, loss);
        Allocation {
            options: options.collect(),
            settings,
            bytes: point.bytes,
            predicted_loss: point.predicted_loss,
        }
    }

    /// For each item, the choice nearest to an option of the table.
    fn alike(&self, option: impl Fn(usize) -> usize) -> Vec<usize> {
        let items = self.items.iter().enumerate();
        items
            .map(|(index, item)| item.nearest(option(index)))
            .collect()
    }

    /// Of several assignments, the one of least loss that fits; of equals that of fewer bytes.
    fn best(
        &self,
        candidates: impl Iterator<Item = Vec<usize>>,
        budget_bytes: u64,
    ) -> Option<Allocation> {
        let sums = |choices: &[usize]| {
            let chosen = self.items.iter().zip(choices);
            chosen.fold((0.0, self.fixed.0), |(loss, bytes), (item, &choice)| {
                let choice = item.choices[choice];
                (loss + choice.loss, bytes.saturating_add(choice.bytes))
            })
        };
        let fitting = candidates
            .map(|choices| (sums(&choices), choices))
            .filter(|((_, bytes), _)| *bytes <= budget_bytes);
        let best = fitting.min_by(|((left, left_bytes), _), ((right, right_bytes), _)| {
            left.total_cmp(right).then(left_bytes.cmp(right_bytes))
        });
        best.map(|(_, choices)| self.allocation(&choices))
    }

    /// The option of the table with the next higher bits in the same group; else dense.
    fn higher(&self, option: usize) -> Option<usize> {
        let LayerOption::Grid { bits, group } = self.options[option] else {
            return None;
        };
        let places = self.options.iter().enumerate();
        let higher = places.filter_map(|(place, option)| match *option {
            LayerOption::Grid {
                bits: more,
                group: same,
            } if more > bits && same == group => Some((more, place)),
            _ => None,
        });
        let dense = || {
            self.options
                .iter()
                .position(|option| *option == LayerOption::Dense)
        };
        higher.min().map(|(_, place)| place).or_else(dense)
    }

    /// For each item, whether it belongs to the first or last blocks.
    fn ends(&self) -> Vec<bool> {
        let blocks = self.layers.iter().filter_map(|layer| layer.block).max();
        let blocks = blocks.map_or(0, |last| last + 1);
        let at_each_end = (blocks / PARTS_OF_BLOCKS).max(1);
        let is_end = |block| block < at_each_end || block + at_each_end >= blocks;
        let at_end = |item: &Item| {
            let mut members = item.members.iter();
            members.any(|&member| self.layers[member].block.is_some_and(is_end))
        };
        self.items.iter().map(at_end).collect()
    }
}
