//! What a model would take and give on a device: memory at a context length, and a roofline over data-sheet figures.
//!
//! Pure arithmetic over a table that is compiled in. Upper bounds, not measurements: a face must say so.

use super::project::Project;
use pare_engine::device::DeviceProfile;
use pare_engine::model::{LayerInfo, LayerKind};
use pare_engine::session::{NetworkShape, available_memory_bytes};
use std::sync::LazyLock;

/// The first device: the one that Pare runs on.
pub const THIS_MACHINE: &str = "This machine";

/// Bytes of a cached key or value: f16, as common runtimes keep them.
const CACHE_VALUE_BYTES: u64 = 2;

/// Bytes of an activation: f32.
const ACTIVATION_BYTES: u64 = 4;

/// Vectors as wide as the residual stream that are alive at once while a block works.
const LIVE_VECTORS: u64 = 8;

/// A device, as its data sheet says.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// Its name: what preferences keep.
    pub name: String,
    /// Peak memory bandwidth, 1e9 bytes a second; `None` where nobody measured it.
    pub bandwidth_gb_per_s: Option<f64>,
    /// Memory that programs share, 1e9 bytes; `None` where unknown.
    pub memory_gb: Option<f64>,
    /// Peak float operations, 1e12 a second; `None` where no maker says.
    pub tera_ops: Option<f64>,
    /// Where the figures come from.
    pub source: String,
}

/// What running a model takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Demand {
    /// Bytes of all tensors as they would be written.
    pub weights_bytes: u64,
    /// Of these, what is read for each new token: everything but tables of which single rows are read.
    pub read_bytes: u64,
    /// Keys and values at the context length.
    pub cache_bytes: u64,
    /// Working values of one token.
    pub activation_bytes: u64,
    /// Float operations for one new token at the context length.
    pub token_ops: f64,
    /// Float operations to read the whole context at once.
    pub context_ops: f64,
    /// Tokens of context that this is about.
    pub context_tokens: usize,
    /// Whether the network writes tokens one by one.
    pub writes_tokens: bool,
}

impl Demand {
    /// Memory in all.
    pub fn memory_bytes(&self) -> u64 {
        self.weights_bytes + self.cache_bytes + self.activation_bytes
    }

    /// Most tokens a second that `device` can write: bound by bytes read and by operations.
    pub fn tokens_per_second(&self, device: &Device) -> Option<f64> {
        let bandwidth = device.bandwidth_gb_per_s? * 1e9;
        let by_memory = bandwidth / (self.read_bytes + self.cache_bytes).max(1) as f64;
        let by_ops = device
            .tera_ops
            .map_or(f64::INFINITY, |ops| ops * 1e12 / self.token_ops.max(1.0));
        self.writes_tokens.then_some(by_memory.min(by_ops))
    }

    /// Least seconds that `device` takes to read the whole context.
    pub fn context_seconds(&self, device: &Device) -> Option<f64> {
        let by_ops = self.context_ops / (device.tera_ops? * 1e12);
        let by_memory = self.read_bytes as f64 / (device.bandwidth_gb_per_s? * 1e9);
        Some(by_ops.max(by_memory))
    }

    /// Whether it fits the memory of `device`; `None` where that is not known.
    pub fn fits(&self, device: &Device) -> Option<bool> {
        Some(self.memory_bytes() as f64 <= device.memory_gb? * 1e9)
    }
}

/// All devices, this machine first.
pub fn devices() -> &'static [Device] {
    static DEVICES: LazyLock<Vec<Device>> = LazyLock::new(|| {
        let mut devices = vec![this_machine()];
        devices.extend(DeviceProfile::builtin().iter().map(of_profile));
        devices
    });
    &DEVICES
}

/// The device of that name; this machine where there is none of that name.
pub fn device(name: &str) -> &'static Device {
    let found = devices().iter().find(|device| device.name == name);
    found.unwrap_or(&devices()[0])
}

/// The context that is asked about: as preferred, and no longer than the model was made for.
pub fn context_tokens(project: &Project, preferred: usize) -> usize {
    let longest = project.inspection.context_length;
    preferred.clamp(1, longest.unwrap_or(usize::MAX).max(1))
}

/// What running the open model takes at `context_tokens`, with the draft in force. An error says what is missing.
pub fn demand(project: &Project, context_tokens: usize) -> Result<Demand, String> {
    let shape = project.session.shape().ok_or_else(|| {
        let reason = project.inspection.reason.as_deref();
        let reason = reason.unwrap_or("its architecture is not known");
        format!("Memory and speed need a network that Pare can run: {reason}")
    })?;
    let sizes = project.figures.iter().map(|figures| figures.bytes_after);
    let parts: Vec<(&LayerInfo, u64)> = project.layers.iter().zip(sizes).collect();
    Ok(demand_of(
        shape,
        &parts,
        context_tokens,
        !project.session.is_encoder(),
    ))
}

fn demand_of(
    shape: NetworkShape,
    parts: &[(&LayerInfo, u64)],
    context_tokens: usize,
    writes_tokens: bool,
) -> Demand {
    let has_head = parts.iter().any(|(layer, _)| layer.kind == LayerKind::Head);
    // Where the head is the embedding's table turned around, all of it is read for each token.
    let is_read =
        |layer: &LayerInfo| layer.kind != LayerKind::Embedding || (writes_tokens && !has_head);
    let read = || parts.iter().filter(|(layer, _)| is_read(layer));
    let multiplied: u64 = read().map(|(layer, _)| layer.parameters).sum();
    let number = |value: usize| value as u64;
    let cached = 2 * number(shape.blocks) * number(shape.kv_heads) * number(shape.head_dim);
    let attention = 4 * number(shape.blocks) * number(shape.heads) * number(shape.head_dim);
    let context = context_tokens as f64;
    Demand {
        weights_bytes: parts.iter().map(|(_, bytes)| bytes).sum(),
        read_bytes: read().map(|(_, bytes)| bytes).sum(),
        cache_bytes: match writes_tokens {
            true => cached * number(context_tokens) * CACHE_VALUE_BYTES,
            false => 0,
        },
        activation_bytes: ACTIVATION_BYTES
            * (LIVE_VECTORS * number(shape.hidden) + number(shape.vocabulary)),
        token_ops: 2.0 * multiplied as f64 + attention as f64 * context,
        // Causal attention sees half of the square.
        context_ops: context * (2.0 * multiplied as f64 + attention as f64 * context / 2.0),
        context_tokens,
        writes_tokens,
    }
}

fn this_machine() -> Device {
    Device {
        name: THIS_MACHINE.to_owned(),
        bandwidth_gb_per_s: None,
        memory_gb: available_memory_bytes().map(|bytes| bytes as f64 / 1e9),
        tera_ops: None,
        source: "Memory free when Pare began; its bandwidth was not measured".to_owned(),
    }
}

/// The usual engine of a profile.
fn of_profile(profile: &DeviceProfile) -> Device {
    let engine = profile.engine(None);
    let floats = engine.map(|engine| engine.f16_gops.as_ref().unwrap_or(&engine.f32_gops));
    Device {
        name: profile.name.clone(),
        bandwidth_gb_per_s: engine.map(|engine| engine.bandwidth_gb_per_s.value),
        memory_gb: Some(profile.memory_gb.value),
        tera_ops: floats.map(|gops| gops.value / 1e3),
        source: engine.map_or_else(String::new, |engine| {
            engine.bandwidth_gb_per_s.source.clone()
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::studio::state::testing;

    #[test]
    fn the_table_is_whole() {
        let devices = devices();
        assert!(devices.len() >= 8, "{}", devices.len());
        for device in &devices[1..] {
            assert!(device.bandwidth_gb_per_s.unwrap() > 1.0, "{}", device.name);
            assert!(device.memory_gb.unwrap() > 0.1, "{}", device.name);
            assert!(!device.source.is_empty(), "{}", device.name);
        }
        assert_eq!(device("no such thing").name, THIS_MACHINE);
        assert_eq!(device(&devices[3].name), &devices[3]);
    }

    #[test]
    fn the_roofline_follows_its_formula() {
        let layers = testing::layers(2);
        let parts: Vec<(&LayerInfo, u64)> = layers.iter().map(|layer| (layer, 1000)).collect();
        let shape = NetworkShape {
            blocks: 2,
            hidden: 128,
            heads: 4,
            kv_heads: 2,
            head_dim: 32,
            vocabulary: 64,
            context_length: 512,
        };
        let demand = demand_of(shape, &parts, 100, true);
        let count = layers.len() as u64;
        assert_eq!(demand.weights_bytes, 1000 * count);
        assert_eq!(
            demand.read_bytes,
            1000 * (count - 1),
            "the embedding's rows aside"
        );
        assert_eq!(demand.cache_bytes, 2 * 2 * 2 * 32 * 100 * 2);
        assert_eq!(demand.activation_bytes, 4 * (8 * 128 + 64));
        let device = Device {
            name: "toy".to_owned(),
            bandwidth_gb_per_s: Some(1.0),
            memory_gb: Some(1.0),
            tera_ops: None,
            source: String::new(),
        };
        let expected = 1e9 / (demand.read_bytes + demand.cache_bytes) as f64;
        assert_eq!(demand.tokens_per_second(&device), Some(expected));
        assert_eq!(demand.fits(&device), Some(true));
        assert_eq!(
            demand.context_seconds(&device),
            None,
            "no float peak is told"
        );
        let encoder = demand_of(shape, &parts, 100, false);
        assert_eq!(
            (encoder.cache_bytes, encoder.tokens_per_second(&device)),
            (0, None)
        );
        let tied: Vec<_> = parts
            .iter()
            .copied()
            .filter(|(layer, _)| layer.kind != LayerKind::Head)
            .collect();
        let tied = demand_of(shape, &tied, 100, true);
        assert_eq!(
            tied.read_bytes, tied.weights_bytes,
            "a tied table is read whole"
        );
    }
}
