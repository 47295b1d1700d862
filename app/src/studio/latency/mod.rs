//! Speed and memory of the draft on the chosen device, as the engine estimates them: sums with their bands, each step of
//! the network, memory against what there is.
//!
//! Made once for each change of draft, device or question, never in a frame. Knows no screen and no formula.

mod question;
mod roofline;
mod waterfall;

pub use question::{Question, context_tokens};
pub use roofline::{Point, Roof, Roofline, rate};
pub use waterfall::{Line, Segment, lines};

use super::figure::{Figure, Mark};
use super::project::Project;
use pare_engine::device::{Basis, DeviceProfile, EngineKind, EngineProfile};
use pare_engine::estimate::{
    Estimate, EstimateInput, LayerTime, MemoryBytes, OpTime, TimedPart, estimate,
};
use pare_engine::recipe::LayerSettings;
use std::sync::Arc;

/// How text goes through the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Pass {
    /// One token after another: what is written.
    #[default]
    Decode,
    /// All tokens of a prompt at once.
    Prefill,
}

impl Pass {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Decode, Self::Prefill];

    /// On buttons.
    pub fn title(self) -> &'static str {
        match self {
            Self::Decode => "Decode",
            Self::Prefill => "Prefill",
        }
    }

    /// What a step takes in this pass; an encoder writes nothing.
    pub fn of(self, step: &LayerTime) -> Option<OpTime> {
        match self {
            Self::Decode => step.decode,
            Self::Prefill => Some(step.prefill),
        }
    }
}

/// A number and the band in which it lies.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Band {
    /// What is most likely.
    pub value: f64,
    /// Hardly less than this.
    pub low: f64,
    /// Hardly more than this.
    pub high: f64,
}

/// What the draft comes to on a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Speed {
    /// The engine's answer.
    pub estimate: Estimate,
    /// The device that it is about.
    pub profile: Arc<DeviceProfile>,
    /// What of it computes, as a place in its list.
    engine: usize,
}

impl Speed {
    /// What `input` comes to on the engine of that name, or on the usual one.
    pub fn of(
        input: &EstimateInput,
        profile: &Arc<DeviceProfile>,
        engine: &str,
    ) -> Result<Self, String> {
        let named = profile.engines.iter().position(|own| own.name == engine);
        let engine = named.unwrap_or(0);
        let chosen = profile.engines.get(engine);
        let chosen = chosen.ok_or_else(|| format!("Nothing computes in {}", profile.name))?;
        Ok(Self {
            estimate: estimate(input, profile, chosen),
            profile: profile.clone(),
            engine,
        })
    }

    /// What of the device computes.
    pub fn engine(&self) -> &EngineProfile {
        &self.profile.engines[self.engine]
    }

    /// Computed from data sheets, or from what the machine measured of itself.
    pub fn mark(&self) -> Mark {
        match self.estimate.basis {
            Basis::Measured => Mark::Calibrated,
            Basis::Datasheet | Basis::Inferred => Mark::Estimated,
        }
    }

    /// What the estimate rests on, in a sentence.
    pub fn basis(&self) -> &'static str {
        match self.estimate.basis {
            Basis::Measured => {
                "Computed from rates of Pare's own kernels that were measured on this machine"
            }
            Basis::Datasheet => "Computed from data sheets and published measurements",
            Basis::Inferred => "Computed from what devices of its kind do",
        }
    }

    /// Tokens in a second; `None` where the network writes none.
    pub fn tokens_per_second(&self) -> Option<Band> {
        let speed = self.estimate.decode?;
        Some(Band {
            value: speed.tokens_per_second,
            low: speed.low,
            high: speed.high,
        })
    }

    /// Seconds of a pass.
    pub fn seconds(&self, pass: Pass) -> Option<Band> {
        let prefill = self.estimate.prefill;
        match pass {
            Pass::Prefill => Some(Band {
                value: prefill.milliseconds / 1e3,
                low: prefill.low / 1e3,
                high: prefill.high / 1e3,
            }),
            Pass::Decode => self.estimate.decode.map(|decode| Band {
                value: decode.milliseconds / 1e3,
                low: 1.0 / decode.high,
                high: 1.0 / decode.low,
            }),
        }
    }

    /// Decode where the network writes tokens.
    pub fn main_pass(&self) -> Pass {
        match self.estimate.decode {
            Some(_) => Pass::Decode,
            None => Pass::Prefill,
        }
    }

    /// Seconds that each of `layers` layers takes of a token, or of the prompt where none is written.
    pub fn by_layer(&self, layers: usize) -> Vec<Option<Figure>> {
        let mut found = vec![None; layers];
        let (pass, mark) = (self.main_pass(), self.mark());
        for step in &self.estimate.layers {
            let place = step.layer.and_then(|layer| found.get_mut(layer));
            if let (Some(place), Some(time)) = (place, pass.of(step)) {
                *place = Some(Figure {
                    value: time.milliseconds / 1e3,
                    mark,
                });
            }
        }
        found
    }
}

/// Memory that the model needs while it runs, and what there is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Demand {
    /// What is needed.
    pub memory: MemoryBytes,
    /// What the device has; `None` where nobody knows.
    pub room_bytes: Option<u64>,
}

impl Demand {
    /// Bytes left free, negative where they are too few; `None` where the room is not known.
    pub fn spare_bytes(&self) -> Option<i128> {
        Some(i128::from(self.room_bytes?) - i128::from(self.memory.total))
    }
}

/// What a kind of step is called.
pub fn part_name(part: TimedPart) -> &'static str {
    match part {
        TimedPart::Product => "layers",
        TimedPart::Attention => "attention",
        TimedPart::Small => "norms, sums",
        TimedPart::Embedding => "lookup",
        TimedPart::Fixed => "each pass",
    }
}

/// Speed of the draft in force: what it was made for, and what came of it.
#[derive(Debug, Clone, Default)]
pub struct Latency {
    /// What was asked; `None` before the first answer.
    pub(super) question: Option<Question>,
    /// Memory, which needs no measurement; `None` where the network is not known.
    pub demand: Option<Demand>,
    /// The answer; an error says in words why there is none.
    pub outcome: Option<Result<Arc<Speed>, String>>,
    /// Grows with every answer.
    pub version: u64,
}

impl Latency {
    /// Asks the engine, where the answer would be another than the last. True where it is.
    pub(super) fn follow(project: &mut Project, question: Question) -> bool {
        let known = project.latency.question.as_ref();
        if known.is_some_and(|known| known.is_same(&question)) {
            return false;
        }
        let input = question.input(project, &question.draft.settings);
        let demand = input
            .as_ref()
            .ok()
            .and_then(|input| demand(input, &question));
        let outcome = input
            .and_then(|input| answer(&input, &question))
            .map(Arc::new);
        let latency = &mut project.latency;
        latency.demand = demand;
        latency.outcome = Some(outcome);
        latency.question = Some(question);
        latency.version += 1;
        true
    }

    /// The answer, if there is one.
    pub fn speed(&self) -> Option<&Arc<Speed>> {
        self.outcome.as_ref()?.as_ref().ok()
    }

    /// Seconds of a token (of an encoder, of the prompt) under other settings of the same model on the same device.
    pub fn seconds_of(&self, project: &Project, settings: &[LayerSettings]) -> Option<f64> {
        let question = self.question.as_ref()?;
        let input = question.input(project, settings).ok()?;
        let speed = answer(&input, question).ok()?;
        Some(speed.seconds(speed.main_pass())?.value)
    }

    /// The same question about another device, on its usual engine with all its threads.
    pub fn on(&self, project: &Project, profile: &Arc<DeviceProfile>) -> Option<Speed> {
        let question = self.question.as_ref()?;
        let input = EstimateInput {
            threads: None,
            ..question.input(project, &question.draft.settings).ok()?
        };
        Speed::of(&input, profile, "").ok()
    }

    /// Why there is no answer.
    pub fn reason(&self) -> Option<&str> {
        self.outcome.as_ref()?.as_ref().err().map(String::as_str)
    }
}

fn answer(input: &EstimateInput, question: &Question) -> Result<Speed, String> {
    let profile = question.profile.as_ref();
    let profile =
        profile.ok_or("This machine is not measured yet; measuring takes a few seconds")?;
    Speed::of(input, profile, &question.engine)
}

/// Memory depends on the kind of what computes alone: any processor stands in for this machine before it is measured.
fn demand(input: &EstimateInput, question: &Question) -> Option<Demand> {
    let is_processor = |device: &&DeviceProfile| {
        let engine = device.engines.first();
        engine.is_some_and(|engine| engine.kind == EngineKind::Cpu)
    };
    let stand_in = || DeviceProfile::builtin().iter().find(is_processor);
    let profile = question.profile.as_deref().or_else(stand_in)?;
    let named = profile.engine(Some(&question.engine));
    let engine = named.or_else(|| profile.engine(None))?;
    Some(Demand {
        memory: estimate(input, profile, engine).memory_bytes,
        room_bytes: question.room_bytes,
    })
}

#[cfg(test)]
pub(crate) mod testing {
    //! A small network on a device of the table.

    use super::*;
    use pare_engine::estimate::{LayerDemand, Network};
    use pare_engine::model::LayerInfo;
    use pare_engine::settings::KvCache;

    /// What is asked about `layers` of the default draft.
    pub(crate) fn input(layers: &[LayerInfo]) -> EstimateInput {
        let draft = crate::studio::state::testing::draft(layers);
        let demand = |(info, settings): (&LayerInfo, _)| LayerDemand::new(info, settings, 1000);
        let blocks = layers.iter().filter_map(|info| info.block).max();
        EstimateInput {
            network: Network {
                hidden: 128,
                heads: 4,
                kv_heads: 2,
                head_dim: 32,
                vocabulary: 64,
                context_length: 512,
                windows: vec![None; blocks.map_or(0, |last| last + 1)],
                writes_tokens: true,
            },
            layers: layers.iter().zip(&draft.settings).map(demand).collect(),
            bytes: 1000 * layers.len() as u64,
            context: 200,
            prompt: 100,
            kv_cache: KvCache::F16,
            threads: None,
        }
    }

    /// What it comes to on the first device of the table.
    pub(crate) fn speed(layers: &[LayerInfo]) -> Speed {
        let profile = Arc::new(DeviceProfile::builtin()[0].clone());
        Speed {
            engine: 0,
            estimate: estimate(&input(layers), &profile, &profile.engines[0]),
            profile,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::studio::state;

    #[test]
    fn every_layer_that_computes_has_its_time() {
        let layers = state::testing::layers(2);
        let speed = testing::speed(&layers);
        let times = speed.by_layer(layers.len());
        for (layer, time) in times.iter().enumerate() {
            let is_norm = !layers[layer].compressible;
            let is_table = layer == 0;
            assert_eq!(
                time.is_some(),
                !is_norm && !is_table,
                "{}",
                layers[layer].name
            );
        }
        let sum: f64 = times.iter().flatten().map(|time| time.value).sum();
        let all = speed.seconds(Pass::Decode).map_or(0.0, |band| band.value);
        assert!(sum > 0.0 && sum < all, "{sum} of {all}");
        assert_eq!(speed.mark(), Mark::Estimated);
    }

    #[test]
    fn bands_hold_their_values() {
        let speed = testing::speed(&state::testing::layers(2));
        let bands = [
            speed.tokens_per_second(),
            speed.seconds(Pass::Decode),
            speed.seconds(Pass::Prefill),
        ];
        for band in bands.into_iter().flatten() {
            assert!(
                band.low <= band.value && band.value <= band.high,
                "{band:?}"
            );
        }
    }
}
