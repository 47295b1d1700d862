//! A sensitivity report for people: the layers that matter most first, in the options of the recipe's group.

use crate::cli::table::{Edge, Table};
use crate::cli::verbs::losses;
use pare_engine::allocate::Predictor;
use pare_engine::report::{LayerSensitivity, SensitivityTable};
use pare_engine::session::{Agreement, SensitivityReport};
use pare_engine::settings::LayerOption;

/// Bits at which layers are ranked.
const RANKING_BITS: u8 = 4;

/// One layer and what it costs in each column.
struct Row<'a> {
    layer: &'a LayerSensitivity,
    losses: Vec<Option<f64>>,
    /// At the option that ranks.
    cost: f64,
}

/// The page; `group` is the recipe's, `predictor` made of the report's table.
pub(super) fn of(report: &SensitivityReport, predictor: &Predictor, group: usize) -> String {
    let table = &report.table;
    let columns = columns(table, group);
    let Some(ranking) = ranking(&columns) else {
        return format!("No layer and no option was judged.\n{}", footer(report));
    };
    let rows = rows(table, predictor, &columns, columns[ranking]);
    let ranking = columns[ranking];
    format!(
        "{}, the most sensitive at {ranking} first.\n\n{}\n{}{}{}",
        title(table, predictor),
        layers(&rows, &columns, ranking),
        share(&rows, ranking),
        anchors(table),
        footer(report)
    )
}

fn title(table: &SensitivityTable, predictor: &Predictor) -> String {
    match predictor.is_calibrated() {
        true => format!(
            "Predicted loss of the whole model ({}) with one layer at each option and the others as they are",
            losses::named(table.measure)
        ),
        false => {
            "Shares of error with one layer at each option: without --gain they rank layers and are no losses".to_owned()
        }
    }
}

/// Options of the recipe's group; all where none has it.
fn columns(table: &SensitivityTable, group: usize) -> Vec<LayerOption> {
    let grids = || {
        let options = table.options.iter().copied();
        options.filter(|option| *option != LayerOption::Dense)
    };
    let own: Vec<LayerOption> = grids()
        .filter(|option| option.group().is_none_or(|of| of == group))
        .collect();
    let mut columns = if own.iter().all(|option| option.group().is_none()) {
        grids().collect()
    } else {
        own
    };
    columns.sort();
    columns
}

/// The column of 4 bits, else the one in the middle.
fn ranking(columns: &[LayerOption]) -> Option<usize> {
    let four = columns
        .iter()
        .position(|option| option.bits() == Some(RANKING_BITS));
    four.or_else(|| columns.len().checked_sub(1).map(|last| last / 2))
}

fn rows<'a>(
    table: &'a SensitivityTable,
    predictor: &Predictor,
    columns: &[LayerOption],
    ranking: LayerOption,
) -> Vec<Row<'a>> {
    let row = |layer: &'a LayerSensitivity| {
        let loss = |option: &LayerOption| predictor.layer_loss(layer.layer, *option);
        Row {
            layer,
            losses: columns.iter().map(loss).collect(),
            cost: loss(&ranking).unwrap_or(0.0),
        }
    };
    let mut rows: Vec<Row<'_>> = table.layers.iter().map(row).collect();
    // Stable: layers of equal cost stay in the model's order.
    rows.sort_by(|left, right| right.cost.total_cmp(&left.cost));
    rows
}

fn layers(rows: &[Row<'_>], columns: &[LayerOption], ranking: LayerOption) -> String {
    let words: Vec<String> = columns.iter().map(LayerOption::to_string).collect();
    let share = format!("share at {ranking}");
    let mut head = vec![("layer", Edge::Left)];
    head.extend(words.iter().map(|word| (word.as_str(), Edge::Right)));
    head.push((share.as_str(), Edge::Right));
    let total: f64 = rows.iter().map(|row| row.cost).sum();
    let mut table = Table::new(&head);
    for row in rows {
        let share = match total > 0.0 {
            true => format!("{:.1} %", 100.0 * row.cost / total),
            false => "-".to_owned(),
        };
        let cells = row.losses.iter().map(|loss| losses::compact(*loss));
        let cells = std::iter::once(row.layer.name.clone()).chain(cells);
        table.row(cells.chain([share]));
    }
    table.text()
}

/// How few layers make half of the cost.
fn share(rows: &[Row<'_>], ranking: LayerOption) -> String {
    let total: f64 = rows.iter().map(|row| row.cost).sum();
    if total <= 0.0 {
        return String::new();
    }
    let mut sum = 0.0;
    let until_half = rows.iter().take_while(|row| {
        let below = 2.0 * sum < total;
        sum += row.cost;
        below
    });
    let count = until_half.count();
    let verb = if count == 1 { "makes" } else { "make" };
    format!(
        "half        of the cost at {ranking}: the first {count} of {} layers {verb} it\n",
        rows.len()
    )
}

fn anchors(table: &SensitivityTable) -> String {
    if table.anchors.is_empty() {
        return String::new();
    }
    let measured: Vec<String> = table
        .anchors
        .iter()
        .map(|anchor| format!("{} {}", anchor.option, losses::compact(Some(anchor.loss))))
        .collect();
    format!("all alike   measured: {}\n", measured.join(", "))
}

fn footer(report: &SensitivityReport) -> String {
    let table = &report.table;
    let mut text = match &report.agreement {
        Some(agreement) => agreed(agreement),
        None => "agreement   of gradient and measurement: not known, one of them is missing\n"
            .to_owned(),
    };
    let missing = table.missing();
    if missing > 0 {
        text.push_str(&format!("missing     {missing} cells, shown as -\n"));
    }
    text.push_str(&format!(
        "measured    on {} {} in {:.1} s, {} cells were there already\n",
        table.scored,
        losses::scored(table.measure),
        report.seconds,
        report.reused
    ));
    text.push_str(&format!("kept        {}\n", report.cache));
    text
}

fn agreed(agreement: &Agreement) -> String {
    let pairs = agreement.pairs;
    match (agreement.rank_correlation, agreement.median_ratio) {
        (Some(rank), Some(ratio)) => format!(
            "agreement   of gradient and measurement: rank correlation {rank:.2}, the gradient predicts {ratio:.2} times \
             what is measured (median of {pairs} pairs)\n"
        ),
        _ => {
            format!("agreement   of gradient and measurement: {pairs} pairs are too few to tell\n")
        }
    }
}
