//! What a proposal would change, as rows: one for each role, under it its layers, in the model's order or by gain.
//!
//! Made once for each proposal, never in a frame. Knows changes, and nothing of how they were found.

use crate::studio::draft::short_words;
use crate::studio::proposal::Change;
use pare_engine::model::LayerInfo;
use pare_engine::recipe::{LayerSettings, role_word};
use pare_engine::settings::LayerOption;
use std::collections::{BTreeMap, HashMap};

/// Order of layers under their role, and of roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in super::super) enum Order {
    /// As in the model.
    #[default]
    Depth,
    /// By how much loss the change takes away, most first.
    Gain,
}

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) enum Row {
    /// All changed layers of a role.
    Role {
        name: String,
        layers: Vec<usize>,
        gain: Option<f64>,
    },
    /// A changed layer.
    Layer(Line),
}

/// A layer that would change.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Line {
    pub(in super::super) layer: usize,
    /// `block 3`, or the name where that says too little.
    pub(in super::super) label: String,
    /// `4/128`.
    pub(in super::super) from: String,
    /// `6/64`.
    pub(in super::super) to: String,
    /// Loss predicted to go away; negative where more comes.
    pub(in super::super) gain: Option<f64>,
    role: String,
}

/// `changes` in words, in the model's order.
pub(in super::super) fn lines(layers: &[LayerInfo], changes: &[Change]) -> Vec<Line> {
    let place = |change: &Change| {
        let info = &layers[change.layer];
        (role_word(&info.name), info.block)
    };
    let mut places: HashMap<(&str, Option<usize>), usize> = HashMap::new();
    for change in changes {
        *places.entry(place(change)).or_default() += 1;
    }
    let line = |change: &Change| {
        let info = &layers[change.layer];
        let is_alone = places.get(&place(change)) == Some(&1);
        Line {
            layer: change.layer,
            label: match info.block.filter(|_| is_alone) {
                Some(block) => format!("block {block}"),
                None => info.name.clone(),
            },
            from: words(&change.from),
            to: words(&change.to),
            gain: change.gain,
            role: role_word(&info.name).to_owned(),
        }
    };
    changes.iter().map(line).collect()
}

/// `changes` under their roles.
pub(in super::super) fn rows(lines: &[Line], order: Order) -> Vec<Row> {
    let mut roles: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
    for line in lines {
        roles.entry(&line.role).or_default().push(line);
    }
    let mut roles: Vec<(&str, Vec<&Line>, Option<f64>)> = roles
        .into_iter()
        .map(|(role, lines)| {
            let gain = lines.iter().map(|line| line.gain).sum();
            (role, lines, gain)
        })
        .collect();
    match order {
        Order::Depth => roles.sort_by_key(|(_, lines, _)| lines[0].layer),
        Order::Gain => {
            roles.sort_by(|left, right| falling(left.2, right.2));
            for (_, lines, _) in &mut roles {
                lines.sort_by(|left, right| falling(left.gain, right.gain));
            }
        }
    }
    let mut rows = Vec::with_capacity(lines.len() + roles.len());
    for (name, lines, gain) in roles {
        rows.push(Row::Role {
            name: name.to_owned(),
            layers: lines.iter().map(|line| line.layer).collect(),
            gain,
        });
        rows.extend(lines.into_iter().cloned().map(Row::Layer));
    }
    rows
}

/// `4/64`, `dense`, `4/64@2:4`, `palette 4`.
fn words(settings: &LayerSettings) -> String {
    match LayerOption::of(settings) {
        Some(LayerOption::Grid { bits, group: 0 }) => format!("{bits}/row"),
        Some(option) => option.to_string(),
        None => short_words(settings),
    }
}

/// Much first, unknown last.
fn falling(left: Option<f64>, right: Option<f64>) -> std::cmp::Ordering {
    let rank = |gain: Option<f64>| gain.unwrap_or(f64::NEG_INFINITY);
    rank(right).total_cmp(&rank(left))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::studio::state::testing;

    /// Layers 1 and 2 are q and k of block 0, 3 and 4 its up and down; block 1 begins at 6.
    fn some() -> (Vec<LayerInfo>, Vec<Change>) {
        let layers = testing::layers(2);
        let settings = testing::draft(&layers).settings;
        let change = |layer: usize, bits, gain| {
            let from = LayerSettings {
                bits: 4,
                group: 128,
                ..settings[layer]
            };
            Change {
                layer,
                from,
                to: LayerSettings { bits, ..from },
                gain: Some(gain),
            }
        };
        let changes = vec![
            change(1, 3, -0.1),
            change(4, 6, 0.2),
            change(6, 6, 0.05),
            change(9, 6, 0.9),
        ];
        (layers, changes)
    }

    fn short(rows: &[Row]) -> Vec<String> {
        let text = |row: &Row| match row {
            Row::Role { name, layers, .. } => format!("{name} {}", layers.len()),
            Row::Layer(line) => format!("{} {} to {}", line.label, line.from, line.to),
        };
        rows.iter().map(text).collect()
    }

    #[test]
    fn layers_stand_under_their_role() {
        let (layers, changes) = some();
        let lines = lines(&layers, &changes);
        assert_eq!(
            short(&rows(&lines, Order::Depth)),
            [
                "q_proj 2",
                "block 0 4/128 to 3/128",
                "block 1 4/128 to 6/128",
                "down_proj 2",
                "block 0 4/128 to 6/128",
                "block 1 4/128 to 6/128",
            ]
        );
    }

    #[test]
    fn most_gain_comes_first() {
        let (layers, changes) = some();
        let rows = rows(&lines(&layers, &changes), Order::Gain);
        let found: Vec<usize> = rows
            .iter()
            .filter_map(|row| match row {
                Row::Layer(line) => Some(line.layer),
                Row::Role { .. } => None,
            })
            .collect();
        assert_eq!(found, [9, 4, 6, 1]);
    }
}
