//! Aligned plain-text tables.
//!
//! Knows no units: cells come as text. Widths count characters.

/// Which edge of its column a cell keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows of text under a head.
#[derive(Debug)]
pub(super) struct Table {
    edges: Vec<Edge>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    pub(super) fn new(head: &[(&str, Edge)]) -> Self {
        Self {
            edges: head.iter().map(|(_, edge)| *edge).collect(),
            rows: vec![head.iter().map(|(name, _)| (*name).to_owned()).collect()],
        }
    }

    /// Adds a row: one cell a column.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut cells: Vec<String> = cells.into_iter().collect();
        cells.resize(self.edges.len(), String::new());
        self.rows.push(cells);
    }

    /// The table; every line ends with `\n` and has no space before it.
    pub(super) fn text(&self) -> String {
        let widths: Vec<usize> = (0..self.edges.len())
            .map(|column| self.width(column))
            .collect();
        self.rows
            .iter()
            .map(|row| self.line(row, &widths))
            .collect()
    }

    fn width(&self, column: usize) -> usize {
        self.rows
            .iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for ((cell, &width), edge) in row.iter().zip(widths).zip(&self.edges) {
            match edge {
                Edge::Left => line.push_str(&format!("{cell:<width$}  ")),
                Edge::Right => line.push_str(&format!("{cell:>width$}  ")),
            }
        }
        format!("{}\n", line.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&[("name", Edge::Left), ("bytes", Edge::Right)]);
        table.row(["größe".to_owned(), "1".to_owned()]);
        table.row(["x".to_owned(), "1234567".to_owned()]);
        let expected = "name     bytes\ngröße        1\nx      1234567\n";
        assert_eq!(table.text(), expected);
    }
}
