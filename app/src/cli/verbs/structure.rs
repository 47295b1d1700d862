//! The part of a page that tells what was, or would be, taken out of the network as a whole.

use crate::cli::table::{Edge, Table};
use pare_engine::report::{BlockCut, NetworkSizes, PartCut, StructurePlan, StructureReport};
use pare_engine::units::Bytes;

/// Of a run.
pub(super) fn page(report: &StructureReport) -> String {
    let mut text = plan(&report.plan);
    if !report.removed_blocks.is_empty() {
        let numbers = report.removed_blocks.iter().map(usize::to_string);
        let numbers: Vec<String> = numbers.collect();
        text.push_str(&format!("blocks gone {}\n", numbers.join(", ")));
    }
    for block in &report.similarity {
        text.push_str(&format!(
            "            block {}: output like input {:.4}\n",
            block.block, block.similarity
        ));
    }
    let with_parts = |cut: &&BlockCut| cut.heads.is_some() || cut.neurons.is_some();
    if report.cuts.iter().any(|cut| with_parts(&cut)) {
        text.push_str(&cuts(report));
    }
    text
}

/// Of a dry run.
pub(super) fn plan(plan: &StructurePlan) -> String {
    let mut text = String::new();
    let mut line = |name: &str, of: fn(&NetworkSizes) -> usize| {
        let (before, after) = (of(&plan.before), of(&plan.after));
        if before != after {
            text.push_str(&format!("{name:<12}{before} -> {after}\n"));
        }
    };
    line("blocks", |sizes| sizes.blocks);
    line("heads", |sizes| sizes.heads);
    line("key heads", |sizes| sizes.kv_heads);
    line("neurons", |sizes| sizes.neurons);
    line("tokens", |sizes| sizes.vocabulary);
    text.push_str(&format!(
        "dense       {} -> {}, {} -> {} parameters\n",
        Bytes(plan.before.tensor_bytes),
        Bytes(plan.after.tensor_bytes),
        plan.before.parameters,
        plan.after.parameters
    ));
    for note in &plan.notes {
        text.push_str(&format!("note        {note}\n"));
    }
    text
}

fn cuts(report: &StructureReport) -> String {
    let mut table = Table::new(&[
        ("block", Edge::Right),
        ("part", Edge::Left),
        ("gone", Edge::Right),
        ("of the scores", Edge::Right),
        ("error cut", Edge::Right),
        ("repaired", Edge::Right),
    ]);
    for cut in &report.cuts {
        let parts = [("heads", &cut.heads), ("neurons", &cut.neurons)];
        for (name, part) in parts {
            if let Some(part) = part {
                table.row(row(cut.block, name, part));
            }
        }
    }
    format!("{}\n", table.text())
}

fn row(block: usize, name: &str, part: &PartCut) -> [String; 6] {
    let repaired = part.relative_error_repaired;
    [
        block.to_string(),
        name.to_owned(),
        part.removed.len().to_string(),
        format!("{:.1} %", 100.0 * part.removed_score_share),
        format!("{:.4}", part.relative_error_cut),
        repaired.map_or_else(String::new, |error| format!("{error:.4}")),
    ]
}
