//! The nearest choice that a container holds as it is, found by asking `preflight` itself.
//!
//! Knows no container: whatever a new one refuses, its preflight says.

use super::preflight::preflight;
use crate::formats::Format;
use crate::grid::ScaleDtype;
use crate::model::{LayerInfo, LayerKind, Role};
use crate::settings::{ACTIVATION_BLOCKS, Activations, LayerSettings, Pruning, Rank};
use crate::solved::Method;
use crate::tensor::Dtype;
use std::collections::{BTreeMap, HashMap};

/// Settings of all `layers`, each as near as can be to what was asked, that `format` holds without another word. A layer
/// that it cannot hold in any codes stays as it is. Where `locked`, a layer keeps what was asked, and those that runtimes
/// fuse with it take its choice where they can.
pub fn fitted(
    format: Format,
    layers: &[(LayerInfo, LayerSettings)],
    locked: &[bool],
) -> Vec<LayerSettings> {
    let mut known = HashMap::new();
    let mut near: Vec<(LayerInfo, LayerSettings)> = layers
        .iter()
        .zip(locked)
        .map(|((layer, asked), is_locked)| {
            let found = match is_locked {
                true => *asked,
                false => nearest_known(&mut known, format, layer, asked),
            };
            (layer.clone(), found)
        })
        .collect();
    if format.fuses_peers() {
        agree(format, &mut near, locked);
    }
    let settled = match preflight(format, &near, false) {
        Ok(held) => held.into_iter().map(|held| held.settings).collect(),
        Err(_) => near.into_iter().map(|(_, settings)| settings).collect(),
    };
    let settled: Vec<LayerSettings> = settled;
    let kept = settled.into_iter().zip(layers).zip(locked);
    kept.map(|((found, (_, asked)), is_locked)| if *is_locked { *asked } else { found })
        .collect()
}

/// What was found for a layer of this shape, asked for the same: blocks of a network are alike.
type Known = HashMap<(LayerKind, Role, [usize; 2], Dtype, String), LayerSettings>;

fn nearest_known(
    known: &mut Known,
    format: Format,
    layer: &LayerInfo,
    asked: &LayerSettings,
) -> LayerSettings {
    let shape = [layer.rows, layer.columns];
    // Settings hold shares in floats, which are no keys.
    let key = (
        layer.kind,
        layer.role,
        shape,
        layer.dtype,
        format!("{asked:?}"),
    );
    *known
        .entry(key)
        .or_insert_with(|| nearest(format, layer, asked).unwrap_or(dense(asked)))
}

/// The nearest settings of one layer that `format` holds as they are; `None` where it holds no codes of it at all.
pub fn nearest(format: Format, layer: &LayerInfo, asked: &LayerSettings) -> Option<LayerSettings> {
    if holds(format, layer, asked) {
        return Some(*asked);
    }
    let mut candidates = candidates(layer, asked);
    candidates.sort_by_key(|(_, distance)| *distance);
    let mut settings = candidates.into_iter().map(|(settings, _)| settings);
    settings.find(|settings| holds(format, layer, settings))
}

fn holds(format: Format, layer: &LayerInfo, settings: &LayerSettings) -> bool {
    let held = preflight(format, &[(layer.clone(), *settings)], false);
    held.is_ok_and(|held| held[0].fallback.is_none() && held[0].settings == *settings)
}

fn dense(asked: &LayerSettings) -> LayerSettings {
    LayerSettings {
        method: Method::None,
        ..*asked
    }
}

/// Settings, and how far they are from what was asked.
type Candidate = (LayerSettings, u32);

/// Choices near `asked` and how far each is: steps of bits and of halved groups count most beside another method.
fn candidates(layer: &LayerInfo, asked: &LayerSettings) -> Vec<Candidate> {
    let symmetries = [(asked.symmetric, 0), (!asked.symmetric, 2)];
    let all = simpler(asked);
    let all = varied(&all, &methods(asked), |settings, method| {
        settings.method = method
    });
    let all = varied(&all, &bits(asked), |settings, bits| settings.bits = bits);
    let all = varied(&all, &groups(asked), |settings, group| {
        settings.group = group
    });
    let all = varied(&all, &symmetries, |settings, value| {
        settings.symmetric = value
    });
    varied(&all, &scales(layer, asked), |settings, dtype| {
        settings.scale_dtype = dtype
    })
}

/// Each of `all` with each of `choices`, distances added.
fn varied<T: Copy>(
    all: &[Candidate],
    choices: &[(T, u32)],
    set: impl Fn(&mut LayerSettings, T),
) -> Vec<Candidate> {
    let mut more = Vec::with_capacity(all.len() * choices.len());
    for (settings, distance) in all {
        for &(choice, farther) in choices {
            let mut settings = *settings;
            set(&mut settings, choice);
            more.push((settings, distance + farther));
        }
    }
    more
}

/// The same with inputs rounded in other blocks, or without rounded inputs, then also without factors, then also without
/// zeros.
fn simpler(asked: &LayerSettings) -> Vec<Candidate> {
    let floats = LayerSettings {
        activations: Activations::None,
        activation_block: 0,
        ..*asked
    };
    let unfactored = LayerSettings {
        rank: Rank::None,
        ..floats
    };
    let full = LayerSettings {
        prune: Pruning::NONE,
        ..unfactored
    };
    let mut all = vec![(*asked, 0), (floats, 6), (unfactored, 12), (full, 24)];
    if asked.activations == Activations::Dynamic8 {
        all.extend(ACTIVATION_BLOCKS.into_iter().map(|activation_block| {
            let other = LayerSettings {
                activation_block,
                ..*asked
            };
            (other, 1)
        }));
    }
    all
}

/// As asked, the one that all containers know, and that of a model in bf16.
fn scales(layer: &LayerInfo, asked: &LayerSettings) -> Vec<(ScaleDtype, u32)> {
    let of_model = (layer.dtype == Dtype::BF16).then_some(ScaleDtype::BF16);
    let others = std::iter::once(ScaleDtype::F16).chain(of_model);
    let others = others.filter(|dtype| *dtype != asked.scale_dtype);
    std::iter::once((asked.scale_dtype, 0))
        .chain(others.map(|dtype| (dtype, 1)))
        .collect()
}

fn methods(asked: &LayerSettings) -> Vec<(Method, u32)> {
    let others = [Method::Gptq, Method::Rtn, Method::Nf4];
    let near = std::iter::once((asked.method, 0));
    let others = others.into_iter().zip([8, 9, 10]);
    near.chain(others.filter(|(method, _)| *method != asked.method))
        .collect()
}

/// More bits are nearer than as many fewer.
fn bits(asked: &LayerSettings) -> Vec<(u8, u32)> {
    let far = |bits: u8| {
        let steps = u32::from(bits.abs_diff(asked.bits));
        2 * steps + u32::from(bits < asked.bits)
    };
    let others = (2..=8).filter(|bits| *bits != asked.bits);
    std::iter::once(asked.bits)
        .chain(others)
        .map(|bits| (bits, far(bits)))
        .collect()
}

fn groups(asked: &LayerSettings) -> Vec<(usize, u32)> {
    // A whole row is as a very large group.
    let size = |group: usize| if group == 0 { 4096.0 } else { group as f64 };
    let far = |group: usize| (size(group) / size(asked.group)).log2().abs().ceil() as u32;
    let others = [16, 32, 64, 128, 256, 0].into_iter();
    let others = others.filter(|group| *group != asked.group);
    std::iter::once(asked.group)
        .chain(others)
        .map(|group| (group, far(group)))
        .collect()
}

/// Layers that runtimes fuse get the choice of the one with most bits, or that of a locked one, where all of them can
/// have it.
fn agree(format: Format, layers: &mut [(LayerInfo, LayerSettings)], locked: &[bool]) {
    let mut peers: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, (layer, _)) in layers.iter().enumerate() {
        if let Some(number) = layer.fused_peers {
            peers.entry(number).or_default().push(index);
        }
    }
    for members in peers.values() {
        let of = |member: &usize| layers[*member].1;
        let finest = members.iter().max_by_key(|member| {
            let settings = of(member);
            let finer = (settings.bits, std::cmp::Reverse(settings.group));
            (locked[**member], finer)
        });
        let finest = finest.map(of);
        let has_dense = members
            .iter()
            .any(|member| of(member).method == Method::None);
        let Some(finest) = finest.filter(|_| !has_dense) else {
            continue;
        };
        let shared = |settings: LayerSettings| LayerSettings {
            bits: finest.bits,
            group: finest.group,
            symmetric: finest.symmetric,
            scale_dtype: finest.scale_dtype,
            method: finest.method,
            ..settings
        };
        let mut free = members.iter().copied().filter(|&member| !locked[member]);
        let fits = |member: usize| holds(format, &layers[member].0, &shared(of(&member)));
        if free.clone().all(fits) {
            for member in free.by_ref() {
                layers[member].1 = shared(layers[member].1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::layer;
    use super::*;
    use crate::model::Role;
    use crate::recipe::Recipe;
    use proptest::prelude::*;

    fn asked(method: Method, bits: u8, group: usize, symmetric: bool) -> LayerSettings {
        LayerSettings {
            method,
            bits,
            group,
            symmetric,
            ..Recipe::default().default
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn what_is_fitted_is_held_as_it_is(
            choices in prop::collection::vec((0usize..8, 2u8..9, 0usize..5, any::<bool>()), 4),
        ) {
            let names = ["q_proj", "k_proj", "down_proj", "lm_head"];
            let layers: Vec<(LayerInfo, LayerSettings)> = choices
                .iter()
                .zip(names)
                .map(|(&(method, bits, group, symmetric), name)| {
                    let role = if name == "lm_head" { Role::Head } else { Role::Up };
                    let peers = name.starts_with(['q', 'k']).then_some(0);
                    let settings = asked(Method::ALL[method], bits, [0, 32, 48, 64, 128][group], symmetric);
                    (layer(name, role, 64, 256, peers), settings.settled())
                })
                .collect();
            for format in Format::ALL {
                let settings = fitted(format, &layers, &[false; 4]);
                let fitted: Vec<_> = layers.iter().map(|(layer, _)| layer.clone()).zip(settings).collect();
                let held = preflight(format, &fitted, true);
                prop_assert!(held.is_ok(), "{}: {:?}", format.word(), held.err());
            }
        }
    }

    #[test]
    fn a_locked_layer_stays_and_what_is_fused_with_it_follows() {
        let of = |name, bits| {
            let asked = asked(Method::Gptq, bits, 64, true);
            (layer(name, Role::Up, 64, 256, Some(0)), asked)
        };
        let layers = [of("q_proj", 4), of("k_proj", 8), of("v_proj", 5)];
        let bits = |locked: [bool; 3]| {
            let settings = fitted(Format::Gptq, &layers, &locked);
            settings.iter().map(|of| of.bits).collect::<Vec<_>>()
        };
        assert_eq!(bits([false; 3]), [8, 8, 8]);
        assert_eq!(bits([true, false, false]), [4, 4, 4]);
        // What the container does not hold stays too, and is told.
        assert_eq!(bits([false, false, true])[2], 5);
    }

    #[test]
    fn the_nearest_choice_changes_as_little_as_it_can() {
        let linear = layer("up_proj", Role::Up, 64, 256, None);
        let held = asked(Method::Gptq, 4, 64, false);
        assert_eq!(nearest(Format::Gptq, &linear, &held), Some(held));
        // The layout of GPTQ has 2, 3, 4 and 8 bits.
        let five = asked(Method::Gptq, 5, 64, false);
        let found = nearest(Format::Gptq, &linear, &five).unwrap();
        assert_eq!(found, asked(Method::Gptq, 4, 64, false));
        // ONNX Runtime rounds inputs in the blocks of the weights.
        let rounded = |group, activation_block| LayerSettings {
            activations: Activations::Dynamic8,
            activation_block,
            ..asked(Method::Gptq, 4, group, false)
        };
        let found = nearest(Format::Onnx, &linear, &rounded(32, 0)).unwrap();
        assert_eq!(found, rounded(32, 32));
        let found = nearest(Format::Onnx, &linear, &rounded(64, 0)).unwrap();
        assert_eq!(found.activations, Activations::Dynamic8);
        let head = layer("lm_head", Role::Head, 64, 256, None);
        assert_eq!(nearest(Format::Gptq, &head, &five), None);
        assert_eq!(nearest(Format::Pare, &head, &five), Some(five));
    }
}
