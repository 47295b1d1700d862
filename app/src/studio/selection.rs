//! Which layers are selected, and how clicks and keys change that.
//!
//! Works on layer indices and on the visible order handed in; filtering and sorting never change what is selected.
//! Behaves as file managers do: a plain click anchors, Shift reaches from the anchor (and shrinks again), Ctrl toggles.

use std::collections::BTreeSet;

/// How a click or key joins the selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// Only this.
    Replace,
    /// This in or out (Ctrl).
    Toggle,
    /// From the anchor to this, in place of the last reach (Shift).
    Reach,
    /// From the anchor to this, added (Ctrl+Shift).
    AddReach,
}

/// Selected layers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    selected: BTreeSet<usize>,
    /// Where reaches begin.
    anchor: Option<usize>,
    /// Where keys move from.
    cursor: Option<usize>,
    /// What was selected before the last reach.
    base: BTreeSet<usize>,
}

impl Selection {
    /// Whether `layer` is selected.
    pub fn contains(&self, layer: usize) -> bool {
        self.selected.contains(&layer)
    }

    /// Selected layers, by index.
    pub fn layers(&self) -> Vec<usize> {
        self.selected.iter().copied().collect()
    }

    /// How many are selected.
    pub fn len(&self) -> usize {
        self.selected.len()
    }

    /// Whether nothing is selected.
    pub fn is_empty(&self) -> bool {
        self.selected.is_empty()
    }

    /// Where keys move from; the layer that the inspector shows.
    pub fn cursor(&self) -> Option<usize> {
        self.cursor.filter(|cursor| self.selected.contains(cursor))
    }

    /// A click or key on `layer`; `visible` is the order on screen.
    pub fn click(&mut self, layer: usize, join: Join, visible: &[usize]) {
        match join {
            Join::Replace => {
                self.selected = BTreeSet::from([layer]);
                self.anchor = Some(layer);
                self.base.clear();
            }
            Join::Toggle => {
                if !self.selected.remove(&layer) {
                    self.selected.insert(layer);
                }
                self.anchor = Some(layer);
                self.base = self.selected.clone();
            }
            Join::Reach => {
                self.base.clear();
                self.reach(layer, visible);
            }
            Join::AddReach => self.reach(layer, visible),
        }
        self.cursor = Some(layer);
    }

    fn reach(&mut self, layer: usize, visible: &[usize]) {
        let place = |wanted: usize| visible.iter().position(|&shown| shown == wanted);
        let end = place(layer);
        let start = self.anchor.and_then(place).or(end);
        self.anchor = self
            .anchor
            .filter(|_| start != end || self.anchor == Some(layer));
        self.selected = self.base.clone();
        match (start, end) {
            (Some(start), Some(end)) => {
                let (first, last) = (start.min(end), start.max(end));
                self.selected.extend(&visible[first..=last]);
                self.anchor = Some(visible[start]);
            }
            _ => {
                self.selected.insert(layer);
                self.anchor = Some(layer);
            }
        }
    }

    /// Selects exactly `layers`; the cursor stays where it is among them.
    pub fn set(&mut self, layers: impl IntoIterator<Item = usize>) {
        self.selected = layers.into_iter().collect();
        self.cursor = self.cursor().or(self.selected.first().copied());
        self.anchor = self.cursor;
        self.base = self.selected.clone();
    }

    /// Adds or removes a whole group at once (Ctrl on a group's header).
    pub fn toggle_all(&mut self, layers: &[usize]) {
        if layers.iter().all(|layer| self.selected.contains(layer)) {
            for layer in layers {
                self.selected.remove(layer);
            }
        } else {
            self.selected.extend(layers);
        }
        self.anchor = layers.first().copied();
        self.cursor = self.anchor;
        self.base = self.selected.clone();
    }

    /// Of `visible`, the selected ones out and the others in; hidden ones stay as they are.
    pub fn invert(&mut self, visible: &[usize]) {
        for &layer in visible {
            if !self.selected.remove(&layer) {
                self.selected.insert(layer);
            }
        }
        self.cursor = self.selected.first().copied();
        self.anchor = self.cursor;
        self.base = self.selected.clone();
    }

    /// Nothing is selected.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Moves the cursor by `steps` rows of `visible` (`isize::MIN`/`MAX` = to an end); with `reach`, selects on the way.
    pub fn step(&mut self, steps: isize, reach: bool, visible: &[usize]) {
        let Some(last) = visible.len().checked_sub(1) else {
            return;
        };
        let here = self
            .cursor
            .and_then(|cursor| visible.iter().position(|&shown| shown == cursor));
        let target = match (here, self.cursor) {
            _ if steps == isize::MIN => 0,
            _ if steps == isize::MAX => last,
            (Some(here), _) => (here as isize)
                .saturating_add(steps)
                .clamp(0, last as isize) as usize,
            // The cursor's row is folded or filtered away: on to the next of the model's order that is shown.
            (None, Some(cursor)) if steps < 0 => {
                let before = visible.iter().rposition(|&shown| shown < cursor);
                before.unwrap_or(0)
            }
            (None, Some(cursor)) => {
                let after = visible.iter().position(|&shown| shown > cursor);
                after.unwrap_or(last)
            }
            (None, None) if steps < 0 => last,
            (None, None) => 0,
        };
        let join = if reach { Join::Reach } else { Join::Replace };
        self.click(visible[target], join, visible);
    }

    /// How many selected layers are not in `visible`.
    pub fn hidden(&self, visible: &[usize]) -> usize {
        let shown = visible
            .iter()
            .filter(|layer| self.selected.contains(layer))
            .count();
        self.selected.len() - shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VISIBLE: [usize; 6] = [5, 3, 1, 0, 2, 4];

    fn after(clicks: &[(usize, Join)]) -> Vec<usize> {
        let mut selection = Selection::default();
        for &(layer, join) in clicks {
            selection.click(layer, join, &VISIBLE);
        }
        selection.layers()
    }

    #[test]
    fn clicks_do_what_file_managers_do() {
        use Join::*;
        type Case<'a> = (&'a [(usize, Join)], &'a [usize]);
        let cases: [Case<'_>; 8] = [
            (&[(3, Replace), (0, Replace)], &[0]),
            (&[(3, Replace), (0, Reach)], &[0, 1, 3]),
            (&[(3, Replace), (0, Reach), (1, Reach)], &[1, 3]),
            (&[(3, Replace), (0, Reach), (5, Reach)], &[3, 5]),
            (&[(3, Replace), (0, Toggle), (3, Toggle)], &[0]),
            (&[(5, Replace), (0, Toggle), (4, AddReach)], &[0, 2, 4, 5]),
            (
                &[(5, Replace), (0, Toggle), (4, AddReach), (2, AddReach)],
                &[0, 2, 5],
            ),
            (&[(4, Reach)], &[4]),
        ];
        for (clicks, expected) in cases {
            assert_eq!(after(clicks), expected, "{clicks:?}");
        }
    }

    #[test]
    fn keys_walk_the_visible_order() {
        let mut selection = Selection::default();
        selection.step(1, false, &VISIBLE);
        assert_eq!(selection.layers(), [5]);
        selection.step(2, false, &VISIBLE);
        assert_eq!(selection.layers(), [1]);
        selection.step(1, true, &VISIBLE);
        selection.step(1, true, &VISIBLE);
        assert_eq!(selection.layers(), [0, 1, 2]);
        selection.step(-1, true, &VISIBLE);
        assert_eq!(selection.layers(), [0, 1]);
        selection.step(isize::MAX, false, &VISIBLE);
        assert_eq!(selection.layers(), [4]);
        selection.step(1, false, &[]);
        assert_eq!(selection.layers(), [4], "nothing visible: nothing moves");
    }

    #[test]
    fn keys_go_on_from_a_row_that_is_folded_away() {
        let visible = [0, 1, 7, 8];
        for (steps, expected) in [(1, 7), (-1, 1), (5, 7), (isize::MAX, 8), (isize::MIN, 0)] {
            let mut selection = Selection::default();
            selection.click(4, Join::Replace, &[4]);
            selection.step(steps, false, &visible);
            assert_eq!(selection.layers(), [expected], "{steps}");
        }
    }

    #[test]
    fn the_cursor_stays_where_all_is_selected() {
        let mut selection = Selection::default();
        selection.click(2, Join::Replace, &VISIBLE);
        for (layers, expected) in [(vec![0, 1, 2], 2), (vec![3, 4], 3)] {
            selection.set(layers);
            assert_eq!(selection.cursor(), Some(expected));
        }
    }

    #[test]
    fn what_is_hidden_stays_selected() {
        let mut selection = Selection::default();
        selection.set([0, 3, 5]);
        assert_eq!(selection.hidden(&[3, 1]), 2);
        selection.invert(&[3, 1]);
        assert_eq!(selection.layers(), [0, 1, 5]);
    }
}
