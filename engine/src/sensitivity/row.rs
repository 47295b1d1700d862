//! What is kept of one layer between runs: every cell and probe ever judged under one set of settings.
//!
//! Bytes are not kept: they depend on the container asked for. Numbers are kept to the precision of f32, and told so
//! from the start: decimal text need not give back every bit of an f64. Knows no file; what cannot be read is an empty row.

use super::Judged;
use crate::report::{OptionError, Probe};
use crate::settings::LayerOption;
use crate::solved::Method;
use serde::{Deserialize, Serialize};

/// All that is known of one layer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StoredRow {
    cells: Vec<StoredCell>,
    probes: Vec<StoredProbe>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct StoredCell {
    option: LayerOption,
    /// The method asked for; the one that did the work stands in `error`.
    asked: Method,
    error: OptionError,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct StoredProbe {
    asked: Method,
    probe: Probe,
}

impl StoredRow {
    /// Reads a row; one that is damaged, or that holds what is no number, is empty.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut row: Self = serde_json::from_slice(bytes).unwrap_or_default();
        for cell in &mut row.cells {
            cell.error = rounded_error(cell.error);
        }
        for kept in &mut row.probes {
            kept.probe.loss = rounded(kept.probe.loss);
        }
        let is_number = |value: f64| value.is_finite() && value >= 0.0;
        let cells = row.cells.iter().map(|cell| &cell.error);
        let mut numbers = cells.flat_map(|error| {
            [
                Some(error.output_error),
                error.relative_output_error,
                error.gradient_loss,
            ]
        });
        let probes_hold = row.probes.iter().all(|kept| kept.probe.loss.is_finite());
        match probes_hold && numbers.all(|number| number.is_none_or(is_number)) {
            true => row,
            false => Self::default(),
        }
    }

    /// As `parse` reads it.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and words can be written")
    }

    /// A cell, as `method` gives it; where `with_gradient`, only one that a gradient pass has weighed.
    pub fn cell(
        &self,
        option: LayerOption,
        method: Method,
        with_gradient: bool,
    ) -> Option<OptionError> {
        let cell = self.place(option, method)?;
        let error = self.cells[cell].error;
        (!with_gradient || error.gradient_loss.is_some()).then_some(error)
    }

    /// The loss with the layer changed by `method`.
    pub fn probe(&self, option: LayerOption, method: Method) -> Option<Probe> {
        let mut probes = self.probes.iter();
        let kept = probes.find(|kept| kept.asked == method && kept.probe.option == option)?;
        Some(kept.probe)
    }

    /// Keeps what was judged, in place of what was known of the same cell.
    pub fn keep(&mut self, option: LayerOption, method: Method, judged: &Judged) {
        let error = rounded_error(OptionError {
            output_error: judged.output_error,
            relative_output_error: judged.relative_output_error,
            gradient_loss: judged.gradient_loss,
            method: judged.method,
            bytes: 0,
        });
        match self.place(option, method) {
            Some(cell) => self.cells[cell].error = error,
            None => self.cells.push(StoredCell {
                option,
                asked: method,
                error,
            }),
        }
    }

    /// Keeps a loss measured.
    pub fn keep_probe(&mut self, method: Method, probe: Probe) {
        let is_same =
            |kept: &StoredProbe| kept.asked == method && kept.probe.option == probe.option;
        self.probes.retain(|kept| !is_same(kept));
        self.probes.push(StoredProbe {
            asked: method,
            probe: Probe {
                loss: rounded(probe.loss),
                ..probe
            },
        });
    }

    fn place(&self, option: LayerOption, method: Method) -> Option<usize> {
        let is_it = |cell: &StoredCell| cell.option == option && cell.asked == method;
        self.cells.iter().position(is_it)
    }
}

/// `value` to the precision in which numbers are kept.
pub fn rounded(value: f64) -> f64 {
    f64::from(value as f32)
}

fn rounded_error(error: OptionError) -> OptionError {
    OptionError {
        output_error: rounded(error.output_error),
        relative_output_error: error.relative_output_error.map(rounded),
        gradient_loss: error.gradient_loss.map(rounded),
        ..error
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tensor::Matrix;

    const OPTION: LayerOption = LayerOption::Grid { bits: 4, group: 64 };

    fn judged(output_error: f64, gradient_loss: Option<f64>) -> Judged {
        Judged {
            values: Matrix::zeros(1, 1),
            method: Method::Rtn,
            output_error,
            relative_output_error: None,
            gradient_loss,
        }
    }

    #[test]
    fn a_row_keeps_cells_of_methods_apart() {
        let mut row = StoredRow::default();
        row.keep(OPTION, Method::Rtn, &judged(2.0, None));
        row.keep(OPTION, Method::Gptq, &judged(1.0, Some(0.5)));
        row.keep(OPTION, Method::Rtn, &judged(3.0, None));
        row.keep_probe(
            Method::Rtn,
            Probe {
                option: OPTION,
                loss: -1e-12,
            },
        );
        let row = StoredRow::parse(&row.to_bytes());
        let error = |method, gradient| {
            let cell = row.cell(OPTION, method, gradient);
            cell.map(|error| error.output_error)
        };
        assert_eq!(error(Method::Rtn, false), Some(3.0));
        assert_eq!(error(Method::Rtn, true), None);
        assert_eq!(error(Method::Gptq, true), Some(1.0));
        assert_eq!(
            row.probe(OPTION, Method::Rtn).unwrap().loss,
            rounded(-1e-12)
        );
        assert_eq!(StoredRow::parse(&row.to_bytes()), row);
        assert_eq!(row.probe(OPTION, Method::Gptq), None);
        assert_eq!(row.cell(LayerOption::Dense, Method::Rtn, false), None);
    }

    #[test]
    fn damage_is_an_empty_row() {
        let mut row = StoredRow::default();
        row.keep(OPTION, Method::Rtn, &judged(2.0, None));
        let text = String::from_utf8(row.to_bytes()).unwrap();
        for bad in [
            "".to_owned(),
            "[]".to_owned(),
            text.replace("2.0", "-2.0"),
            text.replace("2.0", "null"),
            text.replace("4/64", "44/64"),
        ] {
            assert_eq!(
                StoredRow::parse(bad.as_bytes()),
                StoredRow::default(),
                "{bad}"
            );
        }
    }
}
