//! The number of every cell, made of a table once: predicted or measured loss, relative output error, and their spans.
//!
//! Pure data. Knows no draft, no filter and no screen.

use crate::gui::widgets::plot::log_share;
use crate::studio::figure::{Figure, Mark};
use pare_engine::allocate::Predictor;
use pare_engine::report::{LayerSensitivity, SensitivityTable};
use pare_engine::settings::LayerOption;
use std::sync::Arc;

/// Decades that colours tell apart: what is smaller looks like the smallest.
const MOST_DECADES: i32 = 7;

/// What colours show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Quantity {
    /// Loss of the whole model with one layer alone changed.
    #[default]
    Loss,
    /// Relative error of the layer's output.
    Error,
}

/// Between which numbers colours run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Span {
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Span {
    /// How far along the colours `value` stands, 0 to 1; nothing at all stands at 0.
    pub(super) fn share(self, value: f64) -> f32 {
        match value > 0.0 {
            true => log_share(value, self.low, self.high),
            false => 0.0,
        }
    }

    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let positive = values.filter(|value| value.is_finite() && *value > 0.0);
        let (low, high) = positive.fold((f64::INFINITY, 0.0_f64), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        (high > 0.0).then(|| Self {
            low: low.max(high * 0.1_f64.powi(MOST_DECADES)),
            high,
        })
    }
}

/// How much of a table is there, and what made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Facts {
    /// Cells that somebody judged.
    pub(super) judged: usize,
    /// Those of them, dense left out, that the recipe's own method judged.
    pub(super) by_method: usize,
    /// Those of them that plain rounding judged.
    pub(super) by_rounding: usize,
    /// Losses measured with one layer changed.
    pub(super) probes: usize,
}

/// The numbers of all cells of a table.
#[derive(Debug, Default)]
pub(super) struct Values {
    made_for: Option<Arc<SensitivityTable>>,
    columns: usize,
    losses: Vec<Option<Figure>>,
    errors: Vec<Option<Figure>>,
    loss_span: Option<Span>,
    error_span: Option<Span>,
    pub(super) facts: Facts,
}

impl Values {
    /// Makes the numbers anew where the table is another one.
    pub(super) fn follow(&mut self, table: &Arc<SensitivityTable>) {
        let known = self.made_for.as_ref();
        if known.is_some_and(|known| Arc::ptr_eq(known, table)) {
            return;
        }
        let predictor = Predictor::new(table);
        // Without any loss in the table it would rank layers and no more.
        let is_calibrated = predictor.is_calibrated();
        *self = Self::of(table, |entry, option| {
            predictor
                .layer_loss(entry.layer, option)
                .filter(|_| is_calibrated)
        });
        self.made_for = Some(table.clone());
    }

    /// The numbers of `table`; `predicted` is the loss of an entry's layer alone.
    pub(super) fn of(
        table: &SensitivityTable,
        predicted: impl Fn(&LayerSensitivity, LayerOption) -> Option<f64>,
    ) -> Self {
        let columns = table.options.len();
        let mut losses = Vec::with_capacity(columns * table.layers.len());
        let mut errors = Vec::with_capacity(columns * table.layers.len());
        for entry in &table.layers {
            for (column, &option) in table.options.iter().enumerate() {
                losses.push(loss(entry, option, &predicted));
                errors.push(error(entry, column, option));
            }
        }
        let span = |figures: &[Option<Figure>]| {
            Span::of(figures.iter().flatten().map(|figure| figure.value))
        };
        Self {
            made_for: None,
            columns,
            loss_span: span(&losses),
            error_span: span(&errors),
            losses,
            errors,
            facts: facts(table),
        }
    }

    /// Whether any loss but that of dense is known.
    pub(super) fn has_losses(&self) -> bool {
        self.loss_span.is_some()
    }

    /// What can be shown where `wanted` is asked for.
    pub(super) fn shown(&self, wanted: Quantity) -> Quantity {
        match self.has_losses() {
            true => wanted,
            false => Quantity::Error,
        }
    }

    /// The number of a cell: an entry of the table at one of its options; `None` where nobody knows it yet.
    pub(super) fn get(&self, quantity: Quantity, entry: usize, place: usize) -> Option<Figure> {
        let figures = match quantity {
            Quantity::Loss => &self.losses,
            Quantity::Error => &self.errors,
        };
        *figures.get(entry * self.columns + place)?
    }

    /// Between which numbers colours run.
    pub(super) fn span(&self, quantity: Quantity) -> Option<Span> {
        match quantity {
            Quantity::Loss => self.loss_span,
            Quantity::Error => self.error_span,
        }
    }
}

/// What was measured where somebody did, else what is predicted.
fn loss(
    entry: &LayerSensitivity,
    option: LayerOption,
    predicted: impl Fn(&LayerSensitivity, LayerOption) -> Option<f64>,
) -> Option<Figure> {
    if option == LayerOption::Dense {
        return Some(Figure::exact(0.0));
    }
    let probe = entry.probes.iter().find(|probe| probe.option == option);
    let figure = match probe {
        Some(probe) => Some(Figure::measured(probe.loss)),
        None => predicted(entry, option).map(Figure::estimated),
    };
    figure.filter(|figure| figure.value.is_finite())
}

fn error(entry: &LayerSensitivity, column: usize, option: LayerOption) -> Option<Figure> {
    if option == LayerOption::Dense {
        return Some(Figure::exact(0.0));
    }
    let error = entry.errors.get(column).copied().flatten()?;
    let relative = error.relative_output_error?;
    let mark = Mark::Estimated;
    let figure = Figure {
        value: relative,
        mark,
    };
    Some(figure).filter(|figure| figure.value.is_finite())
}

fn facts(table: &SensitivityTable) -> Facts {
    let mut facts = Facts::default();
    for entry in &table.layers {
        facts.probes += entry.probes.len();
        for (option, error) in table.options.iter().zip(&entry.errors) {
            let Some(error) = error else {
                continue;
            };
            facts.judged += 1;
            match *option {
                LayerOption::Dense => {}
                _ if error.method == table.method => facts.by_method += 1,
                _ => facts.by_rounding += 1,
            }
        }
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn what_was_measured_wins_over_what_is_predicted() {
        let table = testing::table(3);
        let values = Values::of(&table, |entry, option| {
            Some(0.01 * entry.layer as f64 / f64::from(option.bits()?))
        });
        let place = |word: &str| {
            let option: LayerOption = word.parse().unwrap_or(LayerOption::Dense);
            table.options.iter().position(|other| *other == option)
        };
        for (entry, word, expected) in [
            (0, "4/64", Some(Figure::measured(testing::PROBE))),
            (1, "4/64", Some(Figure::measured(testing::PROBE))),
            (1, "2/64", Some(Figure::estimated(0.005))),
            (2, "dense", Some(Figure::exact(0.0))),
        ] {
            let found = values.get(Quantity::Loss, entry, place(word).unwrap_or(usize::MAX));
            assert_eq!(found, expected, "{entry} at {word}");
        }
    }

    #[test]
    fn what_nobody_judged_is_unknown_and_counted() {
        let mut table = testing::table(2);
        table.layers[1].errors[0] = None;
        let values = Values::of(&table, |_, _| None);
        assert_eq!(values.get(Quantity::Error, 1, 0), None);
        assert!(values.get(Quantity::Error, 0, 0).is_some());
        let facts = values.facts;
        assert_eq!(facts.judged, 37);
        assert_eq!(
            facts.by_method + facts.by_rounding,
            35,
            "dense is nobody's work"
        );
    }

    #[test]
    fn colours_run_over_the_decades_that_can_be_told_apart() {
        let values = [0.0, 1e-12, 1e-3, 0.1, f64::NAN, f64::INFINITY, -1.0];
        let span = Span::of(values.into_iter());
        let close = |left: f64, right: f64| (left / right - 1.0).abs() < 1e-9;
        assert!(span.is_some_and(|span| close(span.low, 1e-8) && close(span.high, 0.1)));
        assert_eq!(Span::of([0.0].into_iter()), None);
        let span = Span {
            low: 1e-4,
            high: 1.0,
        };
        for (value, expected) in [(0.0, 0.0), (1e-9, 0.0), (1e-2, 0.5), (1.0, 1.0), (9.0, 1.0)] {
            let found = span.share(value);
            assert!((found - expected).abs() < 1e-6, "{value}: {found}");
        }
    }
}
