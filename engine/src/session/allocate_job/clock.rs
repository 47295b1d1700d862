//! Times as a budget: what each option of a layer adds to the time of a token (of an encoder, of the prompt) on a device.
//!
//! Measures nothing: times are estimates.

use super::super::choose_requests::LatencyTarget;
use super::super::estimate_job::Planned;
use super::super::{Session, SessionError};
use crate::allocate::{Allocation, Price};
use crate::device::EngineProfile;
use crate::estimate::{EstimateInput, Form, LayerDemand, estimate, layer_milliseconds};
use crate::formats::Format;
use crate::formats::layout::stored_bytes;
use crate::settings::LayerSettings;
use crate::solved::Method;

/// A price counts these: 1e-9 of a millisecond. Options of small layers differ by less than a nanosecond.
const PICOSECONDS: f64 = 1e9;
/// Share of a time that is a rounding of sums, and no time.
pub(super) const TOLERANCE: f64 = 1e-6;
/// Steps of a search between too little and too much.
const HALVINGS: usize = 36;

/// Tells times of recipes.
#[derive(Clone)]
pub(super) struct Clock {
    target: LatencyTarget,
    engine: EngineProfile,
    /// The model as it is: what is asked, and how each layer is held where settings leave it.
    input: EstimateInput,
    demands: Demands,
}

/// Layers under settings.
#[derive(Clone)]
struct Demands {
    format: Format,
    layers: Vec<crate::model::LayerInfo>,
    /// As they are written where settings leave them.
    left: Vec<LayerDemand>,
}

impl Demands {
    fn of(&self, layer: usize, settings: &LayerSettings) -> LayerDemand {
        let info = &self.layers[layer];
        if !info.compressible || settings.method == Method::None {
            return self.left[layer].clone();
        }
        let bytes = stored_bytes(self.format, info, settings);
        match self.format {
            // What is written are floats again.
            Format::Dense => LayerDemand::held(info, Form::Dense, bytes),
            _ => LayerDemand::new(info, settings, bytes),
        }
    }
}

impl Clock {
    pub(super) fn new(
        session: &Session,
        target: &LatencyTarget,
        format: Format,
        kept: crate::settings::KvCache,
    ) -> Result<Self, SessionError> {
        let engine = session.engine_of(&target.device, target.engine.as_deref())?;
        let left = LayerSettings {
            method: Method::None,
            ..crate::recipe::Recipe::default().default
        };
        let left = session.demands_in(format, &vec![left; session.layers().len()]);
        let planned = Planned {
            network: session.network()?,
            layers: left.clone(),
            bytes: 0,
        };
        Ok(Self {
            engine: engine.clone(),
            input: session.input_of(planned, kept, target.run)?,
            target: target.clone(),
            demands: Demands {
                format,
                layers: session.layers().to_vec(),
                left,
            },
        })
    }

    /// The model under the settings of all its layers.
    fn input(&self, settings: &[LayerSettings]) -> EstimateInput {
        let layers = settings.iter().enumerate();
        EstimateInput {
            layers: layers
                .map(|(layer, settings)| self.demands.of(layer, settings))
                .collect(),
            ..self.input.clone()
        }
    }

    /// Milliseconds of a token; of an encoder, of the prompt.
    pub(super) fn milliseconds(&self, settings: &[LayerSettings]) -> f64 {
        let found = estimate(&self.input(settings), &self.target.device, &self.engine);
        let decode = found.decode.map(|decode| decode.milliseconds);
        decode.unwrap_or(found.prefill.milliseconds)
    }

    /// What layers cost, in picoseconds, while the whole model has about `settings`: how much is read decides where it
    /// lies.
    pub(super) fn price(&self, settings: &[LayerSettings]) -> Price {
        let around = self.input(settings);
        let engine = self.engine.clone();
        let demands = self.demands.clone();
        Price::new(move |layer, settings| {
            let demand = demands.of(layer, settings);
            let milliseconds = layer_milliseconds(&around, &engine, &demand);
            (milliseconds * PICOSECONDS).ceil() as u64
        })
    }

    /// Picoseconds that are left to compressible layers which cost `layers` of a model under `settings`, so that the whole
    /// takes `milliseconds`.
    pub(super) fn room(&self, milliseconds: f64, settings: &[LayerSettings], layers: u64) -> u64 {
        let beside = self.milliseconds(settings) * PICOSECONDS - layers as f64;
        // Each price was rounded up; what takes too long all the same is found out when it is timed as a whole.
        let rounding = self.demands.layers.len() as f64;
        (milliseconds * PICOSECONDS - beside + rounding).max(0.0) as u64
    }

    /// The dearest of what `solve` makes of up to `room` that takes no more than `milliseconds`; `None` where nothing does.
    /// Prices tell times only about: what is read from where depends on all layers together.
    pub(super) fn within(
        &self,
        milliseconds: f64,
        room: u64,
        solve: &dyn Fn(u64) -> Option<Allocation>,
    ) -> Option<Allocation> {
        let fast = |found: &Allocation| {
            self.milliseconds(&found.settings) <= milliseconds * (1.0 + TOLERANCE)
        };
        if let Some(found) = solve(room).filter(fast) {
            return Some(found);
        }
        let (mut low, mut high, mut best) = (0, reached(room, solve), None);
        for _ in 0..HALVINGS {
            let middle = low + (high - low) / 2;
            match solve(middle) {
                Some(found) if fast(&found) => {
                    best = Some(found);
                    low = middle;
                }
                Some(_) => high = middle,
                None => low = middle,
            }
        }
        best
    }

    /// All tensors of the model.
    pub(super) fn layers(&self) -> &[crate::model::LayerInfo] {
        &self.demands.layers
    }

    /// What the time is of, for people.
    pub(super) fn subject(&self) -> &'static str {
        match self.input.network.writes_tokens {
            true => "a token",
            false => "the prompt",
        }
    }
}

/// `room`, or as many times twice of it as `solve` can do with: prices about a slow recipe may be too high for a fast one.
fn reached(room: u64, solve: &dyn Fn(u64) -> Option<Allocation>) -> u64 {
    let rooms = std::iter::successors(Some(room.max(1)), |room| room.checked_mul(2));
    let mut enough = rooms.skip_while(|room| solve(*room).is_none());
    enough.next().unwrap_or(room)
}
