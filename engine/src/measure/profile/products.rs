//! Times of the products themselves, through the very layers that models are made of: small and large, for one token and
//! many, from the nearest cache and from memory.

use super::clock::typical;
use super::{ProfileError, random};
use crate::device::{KernelTable, Product, Tier, Weights};
use crate::model::Linear;
use crate::monitor::Monitor;
use crate::packed::{ActivationPlan, PackedMatrix};
use crate::settings::Activations;
use candle_core::{Device, Tensor};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

/// Rows and columns of the matrices; the first is so small that its time is that of starting.
const SHAPES: [[usize; 2]; 5] = [[16, 32], [64, 64], [256, 256], [1024, 1024], [2048, 2048]];
/// Tokens.
const TOKENS: [usize; 5] = [1, 4, 16, 64, 256];
/// The largest matrix for many tokens: more is in proportion.
const LARGEST_FOR_MANY: usize = 3;
/// Megabytes that one token goes over.
const TIERS_MB: [f64; 5] = [2.0, 8.0, 24.0, 64.0, 192.0];
/// The matrix that is repeated for them.
const REPEATED: usize = 3;
/// Weights per scale.
const GROUP: usize = 128;
/// Seconds after which larger sizes tell nothing new: arithmetic binds, not memory.
const LONGEST_PASS: f64 = 0.1;
/// For each time.
const BUDGET: Duration = Duration::from_millis(4);

/// Bits of codes that are measured.
const BITS: [u8; 6] = [2, 3, 4, 5, 6, 8];
/// Products that are measured.
pub(super) const COUNT: usize = 2 + 2 * BITS.len();

/// Everything that is measured: floats, levels, codes under both kinds of inputs.
pub(super) fn all() -> Vec<Product> {
    let product = |weights, integer| Product { weights, integer };
    let floats = [Weights::Float, Weights::Levels].map(|weights| product(weights, false));
    let codes = BITS.into_iter().map(Weights::Codes);
    let codes = codes.flat_map(|weights| [true, false].map(|integer| product(weights, integer)));
    floats.into_iter().chain(codes).collect()
}

/// The table of one product.
pub(super) fn measure(
    product: Product,
    monitor: &dyn Monitor,
) -> Result<KernelTable, ProfileError> {
    let layers = SHAPES.map(|[rows, columns]| layer(product, rows, columns));
    let mut microseconds = Vec::new();
    for tokens in TOKENS {
        let mut row: Vec<f64> = Vec::new();
        for (size, layer) in layers.iter().enumerate() {
            let seconds = if tokens > 1 && size > LARGEST_FOR_MANY {
                row[LARGEST_FOR_MANY] * weights_of(size) / weights_of(LARGEST_FOR_MANY) * 1e-6
            } else {
                time(&[layer], SHAPES[size][1], tokens, monitor)?
            };
            // Larger is never quicker: what seems so is a slow moment.
            row.push((seconds * 1e6).max(row.last().copied().unwrap_or(0.0)));
        }
        microseconds.push(row);
    }
    let mut table = KernelTable {
        product,
        tokens: TOKENS.map(|tokens| tokens as f64).to_vec(),
        weights: (0..SHAPES.len()).map(weights_of).collect(),
        microseconds,
        tiers: Vec::new(),
    };
    table.tiers = tiers(product, &layers[REPEATED], table.launch_us(), monitor)?;
    Ok(table)
}

fn weights_of(size: usize) -> f64 {
    (SHAPES[size][0] * SHAPES[size][1]) as f64
}

/// One token over ever more copies of a layer.
fn tiers(
    product: Product,
    layer: &Linear,
    launch_us: f64,
    monitor: &dyn Monitor,
) -> Result<Vec<Tier>, ProfileError> {
    let bytes = held_bytes(product, layer);
    let most = (TIERS_MB[TIERS_MB.len() - 1] * 1e6 / bytes).ceil() as usize;
    let copies = (0..most)
        .map(|_| copy(layer))
        .collect::<Result<Vec<Linear>, _>>()?;
    let mut tiers: Vec<Tier> = Vec::new();
    for megabytes in TIERS_MB {
        let count = ((megabytes * 1e6 / bytes).round() as usize).clamp(1, copies.len());
        let layers: Vec<&Linear> = copies[..count].iter().collect();
        let seconds = time(&layers, SHAPES[REPEATED][1], 1, monitor)?;
        if seconds > LONGEST_PASS && !tiers.is_empty() {
            break;
        }
        let each = (seconds / count as f64 - launch_us * 1e-6).max(seconds / count as f64 * 0.5);
        tiers.push(Tier {
            megabytes: count as f64 * bytes / 1e6,
            gb_per_s: bytes / each / 1e9,
        });
    }
    tiers.dedup_by(|later, earlier| later.megabytes <= earlier.megabytes);
    Ok(tiers)
}

/// Seconds of `tokens` tokens through each of `layers`.
fn time(
    layers: &[&Linear],
    columns: usize,
    tokens: usize,
    monitor: &dyn Monitor,
) -> Result<f64, ProfileError> {
    let input = Tensor::from_vec(
        random::floats(tokens * columns),
        (1, tokens, columns),
        &Device::Cpu,
    )?;
    typical(monitor, BUDGET, || {
        for layer in layers {
            black_box(layer.forward(&input)?);
        }
        Ok(())
    })
}

fn layer(product: Product, rows: usize, columns: usize) -> Linear {
    match product.weights {
        Weights::Float => dense(random::floats(rows * columns), rows, columns),
        Weights::Codes(bits) => packed(
            PackedMatrix::new(&random::codes(bits, rows, columns, GROUP)),
            product,
        ),
        Weights::Levels => packed(PackedMatrix::new(&random::levels(rows, columns)), product),
    }
}

fn dense(values: Vec<f32>, rows: usize, columns: usize) -> Linear {
    Linear::Dense {
        weight: Tensor::from_vec(values, (rows, columns), &Device::Cpu)
            .expect("as many values as the shape says"),
        bias: None,
    }
}

fn packed(matrix: PackedMatrix, product: Product) -> Linear {
    Linear::Packed {
        matrix: Arc::new(matrix),
        plan: plan(product.integer),
        bias: None,
    }
}

/// How inputs are rounded, or not.
pub(super) fn plan(integer: bool) -> ActivationPlan {
    ActivationPlan {
        mode: if integer {
            Activations::Dynamic8
        } else {
            Activations::None
        },
        ..ActivationPlan::NONE
    }
}

/// The same layer in other memory.
fn copy(layer: &Linear) -> Result<Linear, ProfileError> {
    Ok(match layer {
        Linear::Dense { weight, bias } => Linear::Dense {
            weight: weight.copy()?,
            bias: bias.clone(),
        },
        Linear::Packed { matrix, plan, bias } => Linear::Packed {
            matrix: Arc::new(PackedMatrix::clone(matrix)),
            plan: *plan,
            bias: bias.clone(),
        },
        Linear::Dressed { inner, around } => Linear::Dressed {
            inner: Box::new(copy(inner)?),
            around: around.clone(),
        },
    })
}

fn held_bytes(product: Product, layer: &Linear) -> f64 {
    match (layer, product.weights) {
        (Linear::Packed { matrix, .. }, _) => matrix.size_bytes() as f64,
        (Linear::Dense { .. }, _) => 4.0 * weights_of(REPEATED),
        (Linear::Dressed { inner, .. }, _) => held_bytes(product, inner),
    }
}
