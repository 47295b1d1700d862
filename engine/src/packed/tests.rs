//! Law 1 on every kind of layer, and hostile manifests and parts.
#![allow(clippy::unwrap_used)]

use super::activations::testing::{dynamic, fixed};
use super::*;
use crate::codebook::{BlockCodebook, BlockScales};
use crate::grid::{AffineGrid, GridConfig, ScaleDtype};
use crate::moments::Prefix;
use crate::settings::{ACTIVATION_BLOCKS, Activations, ColumnOrder, LayerSettings, Refine};
use crate::solved::{Codes, Grid, Method, Solved, Warning};
use proptest::prelude::*;

mod zeros;

/// Settings without zeros, factors or rounded inputs.
fn plain_settings(method: Method) -> LayerSettings {
    LayerSettings {
        method,
        bits: 4,
        group: 0,
        symmetric: false,
        scale_dtype: ScaleDtype::F16,
        clip_search: 20,
        order: ColumnOrder::Static,
        damping: 0.01,
        refine: Refine::Auto,
        prefix: Prefix::Compressed,
        double_quant: false,
        activations: Activations::None,
        activation_block: 0,
        smooth: 0.0,
        prune: crate::settings::Pruning::NONE,
        rank: crate::settings::Rank::None,
        palette_rows: 0,
    }
}

pub(super) fn tensor(rows: usize, columns: usize, transposed: bool) -> OriginalTensor {
    OriginalTensor {
        name: "block.weight".into(),
        shape: if transposed {
            vec![columns, rows]
        } else {
            vec![rows, columns]
        },
        dtype: Dtype::BF16,
        transposed,
    }
}

/// A cheap stream of numbers, so that a failing case prints short.
fn noise(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed | 1;
    move || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        state >> 33
    }
}

fn codes(rows: usize, columns: usize, bits: u8, next: &mut impl FnMut() -> u64) -> Codes {
    Codes {
        rows,
        columns,
        values: (0..rows * columns)
            .map(|_| (next() % (1 << bits)) as u8)
            .collect(),
    }
}

pub(super) fn affine(
    config: GridConfig,
    rows: usize,
    columns: usize,
    fractional_zeros: bool,
    seed: u64,
) -> Solved {
    let mut next = noise(seed);
    let mut grid = AffineGrid::neutral(config, rows, columns);
    grid.fractional_zeros = fractional_zeros;
    for scale in &mut grid.scales {
        *scale = config
            .scale_dtype
            .snap_scale((next() % 1000) as f32 / 7919.0);
    }
    for zero in &mut grid.zeros {
        if fractional_zeros {
            *zero = config.scale_dtype.snap(next() as f32 % 16.0 - 3.3);
        } else if !config.symmetric {
            *zero = (next() % (u64::from(config.max_code()) + 1)) as f32;
        }
    }
    Solved {
        method: if fractional_zeros {
            Method::Hqq
        } else {
            Method::Gptq
        },
        codes: codes(rows, columns, config.bits, &mut next),
        grid: Grid::Affine(grid),
        mask: None,
        factors: None,
        loss: Some(next() as f64 / 3.0),
        warnings: vec![Warning::DeadInputs { count: 3 }],
    }
}

pub(super) fn nf4(rows: usize, columns: usize, block: usize, double: bool, seed: u64) -> Solved {
    let mut next = noise(seed);
    let blocks = rows * columns.div_ceil(block);
    let scales = if double {
        BlockScales::Double {
            inner: (0..blocks).map(|_| next() as i8).collect(),
            outer: (0..blocks.div_ceil(256))
                .map(|_| next() as f32 / 1e9)
                .collect(),
            offset: 0.37,
        }
    } else {
        BlockScales::Plain((0..blocks).map(|_| next() as f32 / 1e9).collect())
    };
    Solved {
        method: Method::Nf4,
        codes: codes(rows, columns, 4, &mut next),
        grid: Grid::Codebook(BlockCodebook {
            rows,
            columns,
            block,
            scales,
        }),
        mask: None,
        factors: None,
        loss: None,
        warnings: Vec::new(),
    }
}

fn returns_unchanged(
    solved: &Solved,
    transposed: bool,
    activations: &ActivationPlan,
) -> Result<(), TestCaseError> {
    let (rows, columns) = (solved.codes.rows, solved.codes.columns);
    let packed = pack(
        "block",
        tensor(rows, columns, transposed),
        solved,
        activations,
    )
    .unwrap();
    let text = serde_json::to_string(&packed.manifest).unwrap();
    let manifest: LayerManifest = serde_json::from_str(&text).unwrap();
    prop_assert_eq!(&manifest, &packed.manifest);
    prop_assert_eq!(&unpack(&manifest, &packed.parts).unwrap(), solved);
    let found = unpack_activations(&manifest, &packed.parts).unwrap();
    prop_assert_eq!(&found, activations);
    let bytes: usize = packed.parts.iter().map(|part| part.bytes.len()).sum();
    prop_assert_eq!(bytes as u64, manifest.stored_bytes());
    Ok(())
}

fn activations() -> impl Strategy<Value = ActivationPlan> {
    prop_oneof![
        Just(ActivationPlan::NONE),
        prop::sample::select(ACTIVATION_BLOCKS.to_vec()).prop_map(dynamic),
        (1e-6f32..1e6).prop_map(fixed),
    ]
}

fn scale_dtypes() -> impl Strategy<Value = ScaleDtype> {
    prop_oneof![
        Just(ScaleDtype::F16),
        Just(ScaleDtype::BF16),
        Just(ScaleDtype::F32)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn affine_layers_return_unchanged(
        bits in 2u8..=8,
        group in prop_oneof![Just(0usize), 1usize..20],
        symmetric: bool,
        scale_dtype in scale_dtypes(),
        fractional_zeros: bool,
        rows in 1usize..6,
        columns in 1usize..50,
        transposed: bool,
        seed: u64,
        activations in activations(),
    ) {
        let config = GridConfig { bits, group, symmetric, scale_dtype };
        let fractional_zeros = fractional_zeros && !symmetric;
        returns_unchanged(&affine(config, rows, columns, fractional_zeros, seed), transposed, &activations)?;
    }

    #[test]
    fn nf4_layers_return_unchanged(
        rows in 1usize..20,
        columns in 1usize..80,
        block in 1usize..70,
        double: bool,
        seed: u64,
        activations in activations(),
    ) {
        returns_unchanged(&nf4(rows, columns, block, double, seed), false, &activations)?;
    }

    #[test]
    fn any_cut_or_flip_is_an_error_or_another_layer_never_a_panic(
        seed: u64,
        part in 0usize..3,
        place: prop::sample::Index,
        cut: bool,
    ) {
        let config = GridConfig { bits: 3, group: 5, symmetric: false, scale_dtype: ScaleDtype::F16 };
        let mut packed = pack("block", tensor(3, 17, false), &affine(config, 3, 17, false, seed), &ActivationPlan::NONE).unwrap();
        let bytes = &mut packed.parts[part].bytes;
        let place = place.index(bytes.len());
        if cut {
            bytes.truncate(place);
            prop_assert!(unpack(&packed.manifest, &packed.parts).is_err());
        } else {
            bytes[place] ^= 0xff;
            let _ = unpack(&packed.manifest, &packed.parts);
        }
    }
}

#[test]
fn settings_tell_the_bytes_before_anything_is_solved() {
    let settings = LayerSettings {
        bits: 3,
        group: 32,
        ..plain_settings(Method::Gptq)
    };
    let planned = Stored::of_settings(&settings, 7, 100, Dtype::F32)
        .stored_bytes(7, 100)
        .unwrap();
    // 38 bytes of codes, 4 scales of 2 bytes and 2 bytes of zeros in each row.
    assert_eq!(planned, 7 * (38 + 8 + 2));
    let solved = affine(settings.grid(), 7, 100, false, 1);
    let packed = pack(
        "block",
        tensor(7, 100, false),
        &solved,
        &ActivationPlan::NONE,
    )
    .unwrap();
    assert_eq!(packed.manifest.stored_bytes(), planned);
}

#[test]
fn hostile_manifests_are_errors_that_say_what_is_wrong() {
    let config = GridConfig {
        bits: 4,
        group: 8,
        symmetric: false,
        scale_dtype: ScaleDtype::F16,
    };
    let packed = pack(
        "block",
        tensor(4, 16, false),
        &affine(config, 4, 16, false, 9),
        &ActivationPlan::NONE,
    )
    .unwrap();
    let change = |edit: &dyn Fn(&mut PackedLayer)| {
        let mut changed = packed.clone();
        edit(&mut changed);
        unpack(&changed.manifest, &changed.parts)
            .unwrap_err()
            .to_string()
    };
    let cases: [(&str, String); 8] = [
        ("2 to 8 bits", change(&|layer| set_bits(layer, 9))),
        ("2 to 8 bits", change(&|layer| set_bits(layer, 0))),
        ("no weights", change(&|layer| layer.manifest.rows = 0)),
        (
            "has the shape",
            change(&|layer| layer.manifest.columns = 17),
        ),
        (
            "too large",
            change(&|layer| {
                layer.manifest.rows = usize::MAX / 2;
                layer.manifest.tensor.shape[0] = usize::MAX / 2;
            }),
        ),
        (
            "lacks its part scales",
            change(&|layer| {
                layer.parts.remove(1);
            }),
        ),
        (
            "holds the value NaN",
            change(&|layer| layer.parts[1].bytes[..2].copy_from_slice(&[0xff, 0x7f])),
        ),
        (
            "its manifest says",
            change(&|layer| layer.parts[0].dtype = Dtype::I8),
        ),
    ];
    for (expected, found) in cases {
        assert!(
            found.contains(expected),
            "expected {expected:?} in {found:?}"
        );
    }
}

fn set_bits(layer: &mut PackedLayer, new_bits: u8) {
    if let CodeKind::Affine { bits, .. } = &mut layer.manifest.stored.code {
        *bits = new_bits;
    }
}

#[test]
fn values_that_the_bytes_cannot_hold_are_refused() {
    let config = GridConfig {
        bits: 4,
        group: 0,
        symmetric: false,
        scale_dtype: ScaleDtype::F16,
    };
    let good = affine(config, 2, 8, false, 5);
    let refuse = |edit: &dyn Fn(&mut AffineGrid, &mut Codes)| {
        let mut solved = good.clone();
        let Grid::Affine(grid) = &mut solved.grid else {
            panic!("an affine layer")
        };
        edit(grid, &mut solved.codes);
        pack("block", tensor(2, 8, false), &solved, &ActivationPlan::NONE)
            .unwrap_err()
            .problem
    };
    assert!(refuse(&|grid, _| grid.scales[0] = 0.1).contains("not exact in f16"));
    assert!(refuse(&|grid, _| grid.zeros[0] = 2.5).contains("no code"));
    assert!(refuse(&|_, codes| codes.values[0] = 16).contains("does not fit 4 bits"));
    assert!(refuse(&|grid, _| grid.config.symmetric = true).contains("symmetric"));
}
