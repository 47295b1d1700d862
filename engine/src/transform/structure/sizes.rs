//! How much goes and how much stays, from recipe and config alone.

use super::StructureError;
use crate::model::{ModelConfig, SmallerSizes};
use crate::recipe::{BlockChoice, Structure};

/// The sizes that `structure` leaves, and notes where it cannot be had exactly. Which blocks stay is told only where
/// the recipe names those that go; of a mere count the last ones go here, and similarity decides later. `vocabulary`
/// is left as it is.
pub fn plan_sizes(
    structure: &Structure,
    config: &ModelConfig,
) -> Result<(SmallerSizes, Vec<String>), StructureError> {
    let mut notes = Vec::new();
    let sizes = SmallerSizes {
        blocks: blocks(&structure.blocks, config.blocks)?,
        groups: groups(structure.heads, config, &mut notes)?,
        neurons: neurons(structure, config, &mut notes)?,
        vocabulary: config.vocabulary,
    };
    Ok((sizes, notes))
}

fn blocks(choice: &BlockChoice, count: usize) -> Result<Vec<usize>, StructureError> {
    match choice {
        BlockChoice::Count(0) => Ok((0..count).collect()),
        BlockChoice::Count(asked) => {
            let most = count.saturating_sub(2);
            match *asked <= most {
                true => Ok((0..count - asked).collect()),
                false => Err(StructureError::TooManyBlocks {
                    asked: *asked,
                    most,
                }),
            }
        }
        BlockChoice::These(these) => {
            if let Some(&block) = these.iter().find(|&&block| block >= count) {
                return Err(StructureError::NoSuchBlock {
                    block,
                    last: count - 1,
                });
            }
            let kept: Vec<usize> = (0..count).filter(|block| !these.contains(block)).collect();
            match kept.is_empty() {
                true => Err(StructureError::NothingLeft { what: "blocks" }),
                false => Ok(kept),
            }
        }
    }
}

fn groups(
    share: f64,
    config: &ModelConfig,
    notes: &mut Vec<String>,
) -> Result<usize, StructureError> {
    let all = config.head_groups();
    if share == 0.0 {
        return Ok(all);
    }
    let removed = (share * all as f64).round() as usize;
    if removed == all {
        return Err(StructureError::NothingLeft { what: "heads" });
    }
    note_share(notes, "heads", share, (removed, all));
    Ok(all - removed)
}

fn neurons(
    structure: &Structure,
    config: &ModelConfig,
    notes: &mut Vec<String>,
) -> Result<usize, StructureError> {
    let (all, share) = (config.intermediate, structure.neurons);
    if share == 0.0 {
        return Ok(all);
    }
    let multiple = structure.neuron_multiple.max(1);
    let kept = ((1.0 - share) * all as f64 / multiple as f64).round() as usize * multiple;
    if kept == 0 {
        return Err(StructureError::NothingLeft { what: "neurons" });
    }
    let kept = kept.min(all);
    note_share(notes, "neurons", share, (all - kept, all));
    Ok(kept)
}

/// Tells where whole numbers give another share than the one asked.
fn note_share(notes: &mut Vec<String>, what: &str, asked: f64, (removed, all): (usize, usize)) {
    let found = removed as f64 / all as f64;
    if (found - asked).abs() > 0.005 {
        notes.push(format!(
            "of {what}, {removed} of {all} go in each block: {:.1} % where {:.1} % were asked",
            100.0 * found,
            100.0 * asked
        ));
    }
}
