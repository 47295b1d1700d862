//! What the panel says of a proposal, made anew only where the proposal or the draft changes.

use super::bits::{self, Share};
use super::changes::{self, Line, Order, Row};
use crate::studio::Project;
use std::path::PathBuf;

/// Rows and shares of the proposal in force.
#[derive(Debug, Default)]
pub(in super::super) struct Digest {
    made_for: Option<(PathBuf, u64, u64)>,
    rows_order: Order,
    lines: Vec<Line>,
    /// What would change.
    pub(super) rows: Vec<Row>,
    /// Weights by bits in the draft.
    pub(super) before: Vec<Share>,
    /// Weights by bits in the proposal.
    pub(super) after: Vec<Share>,
}

impl Digest {
    /// Makes everything anew where anything changed.
    pub(super) fn follow(&mut self, project: &Project, order: Order) {
        let Some(proposal) = &project.proposal else {
            *self = Self::default();
            return;
        };
        let made_for = (
            project.path.clone(),
            project.outlook.version,
            proposal.version,
        );
        let is_same = self.made_for.as_ref() == Some(&made_for);
        if !is_same {
            self.made_for = Some(made_for);
            self.lines = changes::lines(&project.layers, &proposal.changes);
            self.before = bits::shares(&project.layers, &project.draft().settings);
            self.after = bits::shares(&project.layers, &proposal.settings);
        }
        if !is_same || self.rows_order != order {
            self.rows_order = order;
            self.rows = changes::rows(&self.lines, order);
        }
    }

    /// Layers that would change.
    pub(super) fn count(&self) -> usize {
        self.lines.len()
    }
}
