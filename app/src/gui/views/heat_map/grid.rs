//! Which cells there are: layers that pass the filter in the order asked for, options in columns.
//!
//! Made anew only where something that it is made of changes, never in a frame. Knows no place on the screen.

use super::values::{Quantity, Values};
use crate::studio::Project;
use pare_engine::model::LayerInfo;
use pare_engine::report::SensitivityTable;
use pare_engine::settings::LayerOption;
use std::sync::Arc;

/// Order of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Order {
    /// The model's own, by block.
    #[default]
    Depth,
    /// What hurts most at 4 bits first.
    Sensitivity,
    /// Most weights first.
    Size,
}

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    /// Its option.
    pub(super) option: LayerOption,
    /// Its place among the table's options.
    pub(super) place: usize,
    /// Other bits than in the column before.
    pub(super) begins_bits: bool,
}

/// A row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    /// The layer.
    pub(super) layer: usize,
    /// Its place in the table; `None` where it is not judged.
    pub(super) entry: Option<usize>,
    /// Another block than in the row before.
    pub(super) begins_block: bool,
}

/// What cells are made of.
#[derive(Debug, Clone)]
pub(super) struct Source<'a> {
    pub(super) layers: &'a Arc<Vec<LayerInfo>>,
    pub(super) table: &'a Arc<SensitivityTable>,
    pub(super) rows_version: u64,
    pub(super) order: Order,
    pub(super) quantity: Quantity,
    /// The one group size shown; `None` = all.
    pub(super) group: Option<usize>,
}

/// What the last cells were made of.
#[derive(Debug)]
struct Made {
    layers: Arc<Vec<LayerInfo>>,
    table: Arc<SensitivityTable>,
    rest: (u64, Order, Quantity, Option<usize>),
}

/// All cells.
#[derive(Debug, Default)]
pub(super) struct Grid {
    made: Option<Made>,
    pub(super) columns: Vec<Column>,
    pub(super) lines: Vec<Line>,
}

impl Grid {
    /// Makes the cells anew where anything changed. `passing` tells the layers that pass the filter.
    pub(super) fn follow(
        &mut self,
        source: &Source<'_>,
        values: &Values,
        passing: impl FnOnce() -> Vec<usize>,
    ) {
        let rest = (
            source.rows_version,
            source.order,
            source.quantity,
            source.group,
        );
        let is_same = self.made.as_ref().is_some_and(|made| {
            made.rest == rest
                && Arc::ptr_eq(&made.layers, source.layers)
                && Arc::ptr_eq(&made.table, source.table)
        });
        if is_same {
            return;
        }
        self.made = Some(Made {
            layers: source.layers.clone(),
            table: source.table.clone(),
            rest,
        });
        self.columns = columns(&source.table.options, source.group);
        self.lines = lines(source, values, passing());
    }

    /// The row of a layer.
    pub(super) fn line_of(&self, layer: usize) -> Option<usize> {
        self.lines.iter().position(|line| line.layer == layer)
    }

    /// The column of an option.
    pub(super) fn column_of(&self, option: LayerOption) -> Option<usize> {
        self.columns
            .iter()
            .position(|column| column.option == option)
    }

    /// Layers of the rows from one to the other, whichever comes first.
    pub(super) fn between(&self, one: usize, other: usize) -> Vec<usize> {
        let lines = &self.lines[one.min(other)..=one.max(other)];
        lines.iter().map(|line| line.layer).collect()
    }
}

/// Layers that pass the filter, those of folded blocks too, in the model's order.
pub(super) fn passing(project: &Project) -> Vec<usize> {
    let rows = &project.rows;
    let mut layers: Vec<usize> = match rows.groups.is_empty() {
        true => rows.visible.clone(),
        false => rows
            .groups
            .iter()
            .flat_map(|group| group.layers.iter().copied())
            .collect(),
    };
    layers.sort_unstable();
    layers
}

/// The group size that the most layers have: the one that a narrow pane shows.
pub(super) fn common_group(project: &Project) -> usize {
    let draft = project.draft();
    let mut counts: Vec<(usize, usize)> = Vec::new();
    for settings in &draft.settings {
        let Some(LayerOption::Grid { group, .. }) = LayerOption::of(settings) else {
            continue;
        };
        match counts.iter_mut().find(|(known, _)| *known == group) {
            Some((_, count)) => *count += 1,
            None => counts.push((group, 1)),
        }
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    most.map_or(draft.template.group, |(group, _)| group)
}

/// Few bits first, dense last; of one `group`, the nearest to it where the table has not got it.
fn columns(options: &[LayerOption], group: Option<usize>) -> Vec<Column> {
    let mut found: Vec<(usize, LayerOption)> = options.iter().copied().enumerate().collect();
    found.sort_by_key(|(place, option)| family(*option, *place));
    let mut columns: Vec<Column> = Vec::new();
    for run in found.chunk_by(|left, right| family(left.1, left.0) == family(right.1, right.0)) {
        let kept = match group {
            None => run,
            Some(group) => {
                let nearest = (0..run.len()).min_by_key(|&index| distance(run[index].1, group));
                nearest.map_or(run, |index| &run[index..=index])
            }
        };
        for (index, &(place, option)) in kept.iter().enumerate() {
            columns.push(Column {
                option,
                place,
                begins_bits: index == 0,
            });
        }
    }
    columns
}

/// Options of which a narrow pane shows one: those of the same bits. What is pruned or factored stands for itself.
fn family(option: LayerOption, place: usize) -> (u8, usize) {
    match option {
        LayerOption::Grid { bits, .. } => (bits, 0),
        LayerOption::Dense => (u8::MAX, usize::MAX),
        _ => (u8::MAX, place),
    }
}

/// How far an option's group is from `group`; a whole row is the largest.
fn distance(option: LayerOption, group: usize) -> usize {
    let size = |group: usize| match group {
        0 => usize::MAX.ilog2(),
        group => group.ilog2(),
    };
    match option {
        LayerOption::Grid { group: own, .. } => size(own).abs_diff(size(group)) as usize,
        _ => 0,
    }
}

fn lines(source: &Source<'_>, values: &Values, mut layers: Vec<usize>) -> Vec<Line> {
    let (table, infos) = (source.table, source.layers);
    let entry_of = |layer: usize| {
        table
            .layers
            .binary_search_by_key(&layer, |entry| entry.layer)
            .ok()
    };
    match source.order {
        Order::Depth => {}
        Order::Size => layers.sort_by_key(|&layer| std::cmp::Reverse(infos[layer].parameters)),
        Order::Sensitivity => {
            let place = reference_place(&table.options, source.group);
            let pain = |layer: usize| {
                let figure = values.get(source.quantity, entry_of(layer)?, place?)?;
                Some(figure.value)
            };
            let mut keyed: Vec<(f64, usize)> = layers
                .iter()
                .map(|&layer| (pain(layer).unwrap_or(f64::NEG_INFINITY), layer))
                .collect();
            keyed.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
            layers = keyed.into_iter().map(|(_, layer)| layer).collect();
        }
    }
    let mut before = None;
    layers
        .into_iter()
        .map(|layer| {
            let block = infos[layer].block;
            let begins_block = source.order == Order::Depth && before.replace(block) != Some(block);
            Line {
                layer,
                entry: entry_of(layer),
                begins_block,
            }
        })
        .collect()
}

/// Where the option stands by which layers are ranked: 4 bits, or the bits nearest to them.
fn reference_place(options: &[LayerOption], group: Option<usize>) -> Option<usize> {
    const REFERENCE_BITS: u8 = 4;
    const REFERENCE_GROUP: usize = 64;
    let group = group.unwrap_or(REFERENCE_GROUP);
    let rank = |option: LayerOption| {
        let bits = option.bits()?;
        Some((bits.abs_diff(REFERENCE_BITS), distance(option, group)))
    };
    let ranked = options.iter().enumerate();
    ranked
        .filter_map(|(place, &option)| Some((rank(option)?, place)))
        .min()
        .map(|(_, place)| place)
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::studio::state::testing::layers;

    fn words(columns: &[Column]) -> Vec<String> {
        columns
            .iter()
            .map(|column| column.option.to_string())
            .collect()
    }

    #[test]
    fn narrow_panes_show_one_group() {
        let options = LayerOption::all();
        let all = columns(&options, None);
        assert_eq!(all.len(), 19);
        assert_eq!(all.iter().filter(|column| column.begins_bits).count(), 7);
        for (group, expected) in [(64, "4/64"), (32, "4/32"), (0, "4/128"), (512, "4/128")] {
            let one = words(&columns(&options, Some(group)));
            assert_eq!(one.len(), 7, "{one:?}");
            assert_eq!((one[2].as_str(), one[6].as_str()), (expected, "dense"));
        }
    }

    #[test]
    fn rows_stand_in_the_order_asked_for() {
        let infos = layers(2);
        let table = Arc::new(testing::table_of(&infos));
        // Later layers hurt more.
        let values = Values::of(&table, |_, _| None);
        let infos = Arc::new(infos);
        let of = |order| {
            let source = Source {
                layers: &infos,
                table: &table,
                rows_version: 0,
                order,
                quantity: Quantity::Error,
                group: None,
            };
            lines(&source, &values, vec![0, 1, 2, 6, 11])
        };
        let order = |lines: &[Line]| lines.iter().map(|line| line.layer).collect::<Vec<_>>();
        let depth = of(Order::Depth);
        assert_eq!(order(&depth), [0, 1, 2, 6, 11]);
        let begins: Vec<bool> = depth.iter().map(|line| line.begins_block).collect();
        assert_eq!(begins, [true, true, false, true, true]);
        assert_eq!(order(&of(Order::Sensitivity)), [11, 6, 2, 1, 0]);
        assert_eq!(order(&of(Order::Size)), [0, 1, 2, 6, 11], "all of one size");
    }
}
