//! What a recipe will do to the loss, from a sensitivity table.
//!
//! A layer alone: read off the curve of loss over error through what was measured of this layer; else the gradient's own
//! prediction, times how much gradients fall short of measurements where both are known; else, where neither is known of
//! this layer (an embedding has no gradient), its relative error as other layers pay for theirs. Where the table holds no
//! loss at all, layers are ranked by the error of their outputs and no more.
//! The whole model: the layers' losses added up, then through a curve of what whole models were measured to lose.
//! Knows no bytes and no rules.

use super::curve::{Above, Curve};
use crate::report::{LayerSensitivity, OptionError, SensitivityTable};
use crate::score::median;
use crate::settings::LayerOption;

/// Losses measured below this are noise of their measurement.
const LEAST_LOSS: f64 = 1e-12;
/// Slopes of ln(loss) over ln(error) that are believed beyond the largest error measured.
const SLOPES: (f64, f64) = (0.5, 1.5);

/// Predicts losses.
#[derive(Debug, Clone)]
pub struct Predictor {
    options: Vec<LayerOption>,
    /// Indices into the model's list of layers, rising.
    layers: Vec<usize>,
    /// For each of `layers`, the loss at each of `options`.
    losses: Vec<Vec<Option<f64>>>,
    /// Loss of the whole model over the sum of its layers'.
    whole: Option<Curve>,
    calibrated: bool,
}

impl Predictor {
    /// Predicts from `table`.
    pub fn new(table: &SensitivityTable) -> Self {
        let knowledge = Knowledge::of(table);
        let losses = table.layers.iter().map(|layer| knowledge.losses(layer));
        let mut predictor = Self {
            options: table.options.clone(),
            layers: table.layers.iter().map(|layer| layer.layer).collect(),
            losses: losses.collect(),
            whole: None,
            calibrated: !matches!(knowledge.scale, Scale::RankingOnly { .. }),
        };
        predictor.whole = Curve::through(&predictor.anchors(table), Above::Proportional);
        predictor
    }

    /// Whether the table holds losses, by gradient or by measurement. Where it does not, predictions rank recipes and
    /// mean nothing else.
    pub fn is_calibrated(&self) -> bool {
        self.calibrated
    }

    /// The loss of the model with this layer alone changed to `option`. More error of the layer never predicts less. `None`
    /// where the table says nothing about it.
    pub fn layer_loss(&self, layer: usize, option: LayerOption) -> Option<f64> {
        if option == LayerOption::Dense {
            return Some(0.0);
        }
        let row = self.layers.binary_search(&layer).ok()?;
        let column = self.options.iter().position(|known| *known == option)?;
        self.losses[row][column]
    }

    /// The loss of the model in which layers lose `sum_of_layer_losses`, each alone: rises strictly.
    pub fn total(&self, sum_of_layer_losses: f64) -> f64 {
        match &self.whole {
            Some(curve) => curve.at(sum_of_layer_losses),
            None => sum_of_layer_losses,
        }
    }

    /// The loss of the model with these layers changed and all others as they are.
    pub fn recipe_loss(&self, changed: &[(usize, LayerOption)]) -> Option<f64> {
        let losses = changed
            .iter()
            .map(|(layer, option)| self.layer_loss(*layer, *option));
        Some(self.total(losses.sum::<Option<f64>>()?))
    }

    /// Sum of the layers' losses against the loss measured, of every whole model.
    fn anchors(&self, table: &SensitivityTable) -> Vec<(f64, f64)> {
        let point = |option: LayerOption, loss: f64| {
            let losses = self
                .layers
                .iter()
                .map(|&layer| self.layer_loss(layer, option));
            Some((losses.sum::<Option<f64>>()?, loss.max(LEAST_LOSS)))
        };
        let anchors = table
            .anchors
            .iter()
            .filter(|anchor| anchor.loss.is_finite());
        anchors
            .filter_map(|anchor| point(anchor.option, anchor.loss))
            .filter(|(sum, _)| *sum > 0.0)
            .collect()
    }
}

/// How a layer's errors become losses where the layer itself was not measured.
enum Scale {
    /// Gradients' predictions, times `times`; of a layer without one, its squared relative error times its weights times
    /// `typical`.
    Gradient { times: f64, typical: f64 },
    /// No loss is known of any layer.
    RankingOnly { weights: f64 },
}

struct Knowledge<'a> {
    options: &'a [LayerOption],
    scale: Scale,
}

impl<'a> Knowledge<'a> {
    fn of(table: &'a SensitivityTable) -> Self {
        let has_gradient = |layer: &LayerSensitivity| {
            // Dense loses nothing, whoever judges.
            let judged = table.options.iter().zip(&layer.errors);
            let mut errors = judged.filter(|(option, _)| **option != LayerOption::Dense);
            errors.any(|(_, error)| error.is_some_and(|error| error.gradient_loss.is_some()))
        };
        let knows_loss = |layer| has_gradient(layer) || !layer.probes.is_empty();
        let weights: u64 = table.layers.iter().map(|layer| layer.weights).sum();
        let scale = if table.layers.iter().any(knows_loss) {
            let times = shortfall(table);
            Scale::Gradient {
                times,
                typical: typical(table, times),
            }
        } else {
            Scale::RankingOnly {
                weights: weights.max(1) as f64,
            }
        };
        Self {
            options: &table.options,
            scale,
        }
    }

    /// The loss of one layer at each option.
    fn losses(&self, layer: &LayerSensitivity) -> Vec<Option<f64>> {
        let measure = Abscissa::of(self.options, layer);
        let curve = Curve::through(
            &probed(self.options, layer, measure),
            Above::LastSlope { limits: SLOPES },
        );
        let loss = |(option, error): (&LayerOption, &Option<OptionError>)| {
            let error = error.as_ref()?;
            if *option == LayerOption::Dense {
                return Some(0.0);
            }
            let loss = match (&curve, &self.scale) {
                (Some(curve), _) => curve.at(measure.read(error)?),
                (None, Scale::Gradient { times, typical }) => match error.gradient_loss {
                    Some(loss) => loss * times,
                    None => strain(layer, error) * typical,
                },
                (None, Scale::RankingOnly { weights }) => strain(layer, error) / weights,
            };
            loss.is_finite().then_some(loss.max(0.0))
        };
        self.options.iter().zip(&layer.errors).map(loss).collect()
    }
}

/// Which error a layer's losses are read over.
#[derive(Clone, Copy)]
enum Abscissa {
    Gradient,
    Output,
}

impl Abscissa {
    /// The gradient's prediction where all options have it: only one kind of number stands on an axis.
    fn of(options: &[LayerOption], layer: &LayerSensitivity) -> Self {
        let errors = options.iter().zip(&layer.errors);
        let mut judged =
            errors.filter_map(|(option, error)| error.filter(|_| *option != LayerOption::Dense));
        if judged.all(|error| error.gradient_loss.is_some()) {
            Self::Gradient
        } else {
            Self::Output
        }
    }

    fn read(self, error: &OptionError) -> Option<f64> {
        match self {
            Self::Gradient => error.gradient_loss,
            Self::Output => Some(error.output_error),
        }
    }
}

/// Error and loss of a layer where it was measured.
fn probed(options: &[LayerOption], layer: &LayerSensitivity, measure: Abscissa) -> Vec<(f64, f64)> {
    let probes = layer.probes.iter().filter(|probe| probe.loss.is_finite());
    let points = probes.filter_map(|probe| {
        let error = measure.read(error_at(options, layer, probe.option)?)?;
        Some((error, probe.loss.max(LEAST_LOSS)))
    });
    points
        .filter(|(error, _)| *error > 0.0 && error.is_finite())
        .collect()
}

fn error_at<'a>(
    options: &[LayerOption],
    layer: &'a LayerSensitivity,
    option: LayerOption,
) -> Option<&'a OptionError> {
    let place = options.iter().position(|known| *known == option)?;
    layer.errors.get(place)?.as_ref()
}

/// The squared relative error of a layer's outputs times its weights.
fn strain(layer: &LayerSensitivity, error: &OptionError) -> f64 {
    let relative = error.relative_output_error.unwrap_or(0.0);
    relative * relative * layer.weights as f64
}

/// The median of measured losses over those that gradients predict; 1 where nothing has both.
fn shortfall(table: &SensitivityTable) -> f64 {
    let ratios = table
        .layers
        .iter()
        .flat_map(|layer| probed(&table.options, layer, Abscissa::Gradient))
        .map(|(gradient_loss, loss)| loss / gradient_loss);
    median(ratios.collect()).unwrap_or(1.0)
}

/// The median over all that is known of a loss for each unit of strain; 0 where nothing is strained.
fn typical(table: &SensitivityTable, times: f64) -> f64 {
    let of_layer = |layer: &LayerSensitivity| {
        let by_gradient = layer.errors.iter().flatten().filter_map(|error| {
            let loss = error.gradient_loss?;
            Some((strain(layer, error), loss * times))
        });
        let by_probe = layer.probes.iter().filter_map(|probe| {
            let error = error_at(&table.options, layer, probe.option)?;
            Some((strain(layer, error), probe.loss))
        });
        by_gradient.chain(by_probe).collect::<Vec<_>>()
    };
    let known = table.layers.iter().flat_map(of_layer);
    let strained = known.filter(|(strain, loss)| *strain > 0.0 && *loss > 0.0);
    median(strained.map(|(strain, loss)| loss / strain).collect()).unwrap_or(0.0)
}
