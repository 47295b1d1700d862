//! The rows of the table of layers: grouped by block in the model's order, or flat in the order of a column.
//!
//! Built once for each change, never in a frame. Knows no widget.

use super::figure::{Figure, Mark};
use super::sparse;
use pare_engine::model::LayerInfo;
use pare_engine::recipe::LayerSettings;
use pare_engine::solved::Method;
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// A column that rows can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum SortKey {
    /// The model's own order, grouped by block.
    Model,
    /// Name.
    Name,
    /// What layers do in the network.
    Role,
    /// Elements.
    Shape,
    /// Method.
    Method,
    /// Bits of a code.
    Bits,
    /// Weights per scale.
    Group,
    /// Share of weights that become zero.
    Zeros,
    /// Stored bits per weight.
    BitsPerWeight,
    /// Bytes before.
    Before,
    /// Bytes after.
    After,
    /// Error.
    Error,
    /// Time for each token that is written.
    Latency,
}

/// A column and a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    /// The column.
    pub key: SortKey,
    /// Largest first.
    pub descending: bool,
}

impl Default for Sort {
    fn default() -> Self {
        Self {
            key: SortKey::Model,
            descending: false,
        }
    }
}

impl Sort {
    /// What a click on a column's header makes of this: up, down, the model's order.
    pub fn clicked(self, key: SortKey) -> Self {
        match (self.key == key, self.descending) {
            (false, _) => Self {
                key,
                descending: false,
            },
            (true, false) => Self {
                key,
                descending: true,
            },
            (true, true) => Self::default(),
        }
    }
}

/// What a column shows of a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerFigures {
    /// Bytes as the source has them.
    pub bytes_before: u64,
    /// Bytes as they will be written.
    pub bytes_after: u64,
    /// How they are known: exact, but where the weights decide them in the run.
    pub bytes_mark: Mark,
    /// Stored bits for each weight.
    pub bits_per_weight: f64,
    /// Relative error and how it is known; `None` = not known yet.
    pub error: Option<Figure>,
    /// Seconds that the layer takes of each token written on the chosen device; `None` = nobody knows.
    pub latency: Option<Figure>,
}

/// A row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// A header; the number points into `Rows::groups`.
    Group(usize),
    /// A layer.
    Layer(usize),
}

/// A block and its layers that pass the filter.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The block; `None` = outside blocks.
    pub block: Option<usize>,
    /// Its layers.
    pub layers: Vec<usize>,
    /// Whether its layers are folded away.
    pub folded: bool,
    /// The settings that all its layers share, if they do.
    pub method: Option<Method>,
    /// The bits that all its quantized layers share.
    pub bits: Option<u8>,
    /// The group size that all its quantized layers share.
    pub group: Option<usize>,
    /// The zeros that all its layers share, in a few signs; empty where none is pruned.
    pub zeros: Option<String>,
    /// Bytes before.
    pub bytes_before: u64,
    /// Bytes after.
    pub bytes_after: u64,
    /// Stored bits for each weight over all of them.
    pub bits_per_weight: f64,
    /// Smallest, median and largest error known.
    pub errors: Option<[Figure; 3]>,
    /// Seconds of each token over all of them; `None` while any is unknown.
    pub latency: Option<Figure>,
}

/// All rows in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    /// What is shown, top to bottom.
    pub rows: Vec<Row>,
    /// Headers.
    pub groups: Vec<Group>,
    /// Layers shown, in order: what keys walk over.
    pub visible: Vec<usize>,
    /// Layers that pass the filter, folded ones too.
    pub matching: usize,
    /// Layers in all.
    pub total: usize,
    /// Most bytes before of any layer shown: the full width of bars.
    pub most_bytes: u64,
    /// Whether any layer shown is pruned.
    pub has_zeros: bool,
    /// Grows with every change.
    pub version: u64,
}

/// What rows are built from.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The model's layers.
    pub layers: &'a [LayerInfo],
    /// Their settings.
    pub settings: &'a [LayerSettings],
    /// Their figures.
    pub figures: &'a [LayerFigures],
    /// Blocks folded away.
    pub folded: &'a BTreeSet<Option<usize>>,
    /// Order.
    pub sort: Sort,
}

/// The rows of those layers that `passes`.
pub fn build(source: Source<'_>, passes: impl Fn(usize) -> bool) -> Rows {
    let mut layers: Vec<usize> = (0..source.layers.len())
        .filter(|&layer| source.layers[layer].compressible && passes(layer))
        .collect();
    let total = source
        .layers
        .iter()
        .filter(|layer| layer.compressible)
        .count();
    let most_bytes = layers
        .iter()
        .map(|&layer| source.figures[layer].bytes_before)
        .max()
        .unwrap_or(0);
    let is_pruned = |&layer: &usize| sparse::zeros_of(&source.settings[layer]).is_some();
    let mut rows = Rows {
        has_zeros: layers.iter().any(is_pruned),
        matching: layers.len(),
        total,
        most_bytes,
        ..Rows::default()
    };
    if source.sort.key == SortKey::Model {
        grouped(source, &layers, &mut rows);
    } else {
        layers.sort_by(|&left, &right| {
            let order = compare(source, left, right);
            if source.sort.descending {
                order.reverse()
            } else {
                order
            }
        });
        rows.rows = layers.iter().map(|&layer| Row::Layer(layer)).collect();
        rows.visible = layers;
    }
    rows
}

fn grouped(source: Source<'_>, layers: &[usize], rows: &mut Rows) {
    for run in
        layers.chunk_by(|&left, &right| source.layers[left].block == source.layers[right].block)
    {
        let group = describe(source, run);
        rows.rows.push(Row::Group(rows.groups.len()));
        if !group.folded {
            rows.rows.extend(run.iter().map(|&layer| Row::Layer(layer)));
            rows.visible.extend(run);
        }
        rows.groups.push(group);
    }
}

fn describe(source: Source<'_>, layers: &[usize]) -> Group {
    let block = source.layers[layers[0]].block;
    let settings = || layers.iter().map(|&layer| source.settings[layer]);
    let quantized = || settings().filter(sparse::has_codes);
    let sum = |of: fn(&LayerFigures) -> u64| layers.iter().map(|&l| of(&source.figures[l])).sum();
    let (bytes_before, bytes_after): (u64, u64) = (
        sum(|figures| figures.bytes_before),
        sum(|figures| figures.bytes_after),
    );
    let weights: u64 = layers
        .iter()
        .map(|&layer| source.layers[layer].parameters)
        .sum();
    Group {
        block,
        layers: layers.to_vec(),
        folded: source.folded.contains(&block),
        method: shared(settings().map(|settings| settings.method)),
        bits: shared(quantized().map(|settings| settings.bits)),
        group: shared(quantized().map(|settings| settings.group)),
        zeros: shared(settings().map(|settings| sparse::zeros_text(&settings).unwrap_or_default())),
        bytes_before,
        bytes_after,
        bits_per_weight: 8.0 * bytes_after as f64 / weights.max(1) as f64,
        errors: spread(
            layers
                .iter()
                .filter_map(|&layer| source.figures[layer].error),
        ),
        latency: Figure::sum(layers.iter().map(|&layer| source.figures[layer].latency)),
    }
}

/// The value that all share.
fn shared<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

/// Smallest, median, largest.
fn spread(errors: impl Iterator<Item = Figure>) -> Option<[Figure; 3]> {
    let mut errors: Vec<Figure> = errors.collect();
    errors.sort_by(|left, right| left.value.total_cmp(&right.value));
    let (first, last) = (errors.first()?, errors.last()?);
    Some([*first, errors[errors.len() / 2], *last])
}

fn compare(source: Source<'_>, left: usize, right: usize) -> Ordering {
    let (infos, figures, settings) = (source.layers, source.figures, source.settings);
    let by_key = match source.sort.key {
        SortKey::Model => left.cmp(&right),
        SortKey::Name => natural(&infos[left].name, &infos[right].name),
        SortKey::Role => infos[left].role.as_str().cmp(infos[right].role.as_str()),
        SortKey::Shape => infos[left].parameters.cmp(&infos[right].parameters),
        SortKey::Method => settings[left]
            .method
            .word()
            .cmp(settings[right].method.word()),
        SortKey::Bits => bits_of(&settings[left]).cmp(&bits_of(&settings[right])),
        SortKey::Group => group_of(&settings[left]).cmp(&group_of(&settings[right])),
        SortKey::Zeros => {
            let share = |layer: usize| sparse::share_of(&settings[layer]);
            share(left).total_cmp(&share(right))
        }
        SortKey::BitsPerWeight => figures[left]
            .bits_per_weight
            .total_cmp(&figures[right].bits_per_weight),
        SortKey::Before => figures[left].bytes_before.cmp(&figures[right].bytes_before),
        SortKey::After => figures[left].bytes_after.cmp(&figures[right].bytes_after),
        SortKey::Error => known(figures[left].error).total_cmp(&known(figures[right].error)),
        SortKey::Latency => known(figures[left].latency).total_cmp(&known(figures[right].latency)),
    };
    by_key.then(left.cmp(&right))
}

/// Dense layers have more bits than any code.
fn bits_of(settings: &LayerSettings) -> u8 {
    match sparse::has_codes(settings) {
        false => u8::MAX,
        true => settings.bits,
    }
}

/// A whole row is the largest group; dense layers have none and come last.
fn group_of(settings: &LayerSettings) -> usize {
    match (sparse::has_codes(settings), settings.group) {
        (false, _) => usize::MAX,
        (_, 0) => usize::MAX - 1,
        (_, group) => group,
    }
}

/// What is unknown comes before all that is known.
fn known(figure: Option<Figure>) -> f64 {
    figure.map_or(f64::NEG_INFINITY, |figure| figure.value)
}

/// Numbers inside names count as numbers: block 2 before block 10.
fn natural(left: &str, right: &str) -> Ordering {
    let mut left = left.split('.');
    let mut right = right.split('.');
    loop {
        match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, _) => return Ordering::Less,
            (_, None) => return Ordering::Greater,
            (Some(left), Some(right)) => {
                let order = match (left.parse::<u64>(), right.parse::<u64>()) {
                    (Ok(left), Ok(right)) => left.cmp(&right),
                    _ => left.cmp(right),
                };
                if order != Ordering::Equal {
                    return order;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
