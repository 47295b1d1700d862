//! How little each block changes what passes through it: which blocks a network can do without.
//!
//! Values and questions; `update::structure` asks and takes answers.

use super::project::Project;
use super::runs::Control;
use pare_engine::recipe::{BlockChoice, Structure};
use pare_engine::transform::structure::least_similar;
use std::sync::Arc;

/// Mean cosine of each block's input and output.
#[derive(Debug, Clone, Default)]
pub enum Similarity {
    /// Nobody asked.
    #[default]
    Unknown,
    /// Being measured.
    Measuring(Arc<Control>),
    /// One for each block.
    Known(Vec<f64>),
    /// It could not be measured; the words are for people.
    Failed(String),
}

impl Similarity {
    /// One for each block, where measured.
    pub fn of_blocks(&self) -> Option<&[f64]> {
        match self {
            Self::Known(similarity) => Some(similarity),
            _ => None,
        }
    }
}

/// Which of `blocks` blocks go; of a mere count those most like their input, where that is known.
pub fn gone(structure: &Structure, similarity: Option<&[f64]>, blocks: usize) -> Vec<usize> {
    match (&structure.blocks, similarity) {
        (BlockChoice::These(these), _) => these.clone(),
        (BlockChoice::Count(0), _) | (_, None) => Vec::new(),
        (BlockChoice::Count(count), Some(similarity)) => {
            let kept = least_similar(similarity, *count);
            (0..blocks).filter(|block| !kept.contains(block)).collect()
        }
    }
}

/// `structure` with `block` taken out, or in again; all by name from then on.
pub fn toggled(structure: &Structure, gone: &[usize], block: usize) -> Structure {
    let mut these: Vec<usize> = gone.to_vec();
    match these.iter().position(|&known| known == block) {
        Some(place) => {
            these.remove(place);
        }
        None => these.push(block),
    }
    these.sort_unstable();
    let blocks = match these.is_empty() {
        true => BlockChoice::Count(0),
        false => BlockChoice::These(these),
    };
    Structure {
        blocks,
        ..structure.clone()
    }
}

/// Why blocks cannot be compared, if they cannot.
pub fn why_no_comparison(project: &Project) -> Option<String> {
    if let Some(reason) = &project.inspection.reason {
        return Some(format!("The network cannot be run: {reason}"));
    }
    if project.draft().calibration.corpus.is_none() {
        return Some("No calibration text is chosen".to_owned());
    }
    let is_measuring = matches!(project.similarity, Similarity::Measuring(_));
    is_measuring.then(|| "Blocks are being compared".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_takes_what_changes_least_and_a_click_makes_it_names() {
        let similarity = [0.1, 0.7, 0.95, 0.9, 0.99];
        let mut structure = Structure {
            blocks: BlockChoice::Count(2),
            ..Structure::default()
        };
        let out = gone(&structure, Some(&similarity), 5);
        assert_eq!(out, [2, 3], "never the first or the last");
        assert!(gone(&structure, None, 5).is_empty());
        structure = toggled(&structure, &out, 2);
        assert_eq!(structure.blocks, BlockChoice::These(vec![3]));
        structure = toggled(&structure, &[3], 0);
        assert_eq!(structure.blocks, BlockChoice::These(vec![0, 3]));
        assert_eq!(gone(&structure, None, 5), [0, 3]);
        structure = toggled(&structure, &[3], 3);
        assert_eq!(structure.blocks, BlockChoice::Count(0));
    }
}
