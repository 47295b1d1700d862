//! Law 1 on layers with zeros, palettes, floats and factors, their sizes, and hostile manifests and parts.

use super::*;
use crate::codebook::Palettes;
use crate::mask::{Among, Mask, SparsityPattern, keep_largest, keep_n_of_m};
use crate::settings::{PruneMethod, PruneScope, Pruning, Rank};
use crate::solved::{Floats, LowRank};
use crate::tensor::Matrix;

/// A mask of random scores.
fn mask(pattern: SparsityPattern, rows: usize, columns: usize, sparsity: f64, seed: u64) -> Mask {
    let mut next = noise(seed);
    let mut keep = vec![false; rows * columns];
    let mut scores = |count: usize| -> Vec<f32> { (0..count).map(|_| next() as f32).collect() };
    match pattern {
        SparsityPattern::NOfM { kept, of } => {
            for row in keep.chunks_mut(columns) {
                keep_n_of_m(&scores(columns), kept.into(), of.into(), row);
            }
        }
        SparsityPattern::Unstructured => {
            let count = crate::mask::kept_count(keep.len(), sparsity);
            keep_largest(&scores(rows * columns), count, &mut keep);
        }
        SparsityPattern::Block { width } => {
            let units = columns.div_ceil(width.into());
            let mut blocks = vec![false; rows * units];
            let count = crate::mask::kept_count(blocks.len(), sparsity);
            keep_largest(&scores(blocks.len()), count, &mut blocks);
            for (index, keep) in keep.iter_mut().enumerate() {
                let (row, column) = (index / columns, index % columns);
                *keep = blocks[row * units + column / usize::from(width)];
            }
        }
    }
    Mask {
        pattern,
        columns,
        keep,
    }
}

/// `solved` with these zeros: what they leave out is 0 there already, as it comes back.
fn masked(mut solved: Solved, mask: Mask) -> Solved {
    let dropped = || mask.keep.iter().map(|keep| !keep);
    for (code, _) in solved
        .codes
        .values
        .iter_mut()
        .zip(dropped())
        .filter(|(_, gone)| *gone)
    {
        *code = 0;
    }
    if let Grid::Floats(floats) = &mut solved.grid {
        for (value, _) in floats
            .values
            .iter_mut()
            .zip(dropped())
            .filter(|(_, gone)| *gone)
        {
            *value = 0.0;
        }
    }
    Solved {
        mask: Some(mask),
        ..solved
    }
}

fn without_codes(rows: usize, columns: usize, grid: Grid) -> Solved {
    Solved {
        method: Method::Float,
        codes: Codes {
            rows,
            columns,
            values: Vec::new(),
        },
        grid,
        mask: None,
        factors: None,
        loss: None,
        warnings: Vec::new(),
    }
}

fn floats(rows: usize, columns: usize, dtype: Dtype, seed: u64) -> Solved {
    let mut next = noise(seed);
    let values = (0..rows * columns)
        .map(|_| (next() % 255) as f32 - 127.0)
        .collect();
    without_codes(rows, columns, Grid::Floats(Floats { dtype, values }))
}

fn palettes(rows: usize, columns: usize, bits: u8, rows_per_palette: usize, seed: u64) -> Solved {
    let mut next = noise(seed);
    let count = Palettes::count(rows, rows_per_palette);
    let mut levels = Vec::new();
    for _ in 0..count {
        let mut palette: Vec<f32> = (0..1 << bits)
            .map(|_| ScaleDtype::F16.snap(next() as f32 / 1e9 - 1.0))
            .collect();
        palette.sort_by(f32::total_cmp);
        levels.extend(palette);
    }
    Solved {
        method: Method::Palette,
        codes: codes(rows, columns, bits, &mut next),
        ..without_codes(
            rows,
            columns,
            Grid::Palette(Palettes {
                rows,
                columns,
                bits,
                rows_per_palette,
                level_dtype: ScaleDtype::F16,
                levels,
            }),
        )
    }
}

fn factors(rows: usize, columns: usize, rank: usize, dtype: ScaleDtype, seed: u64) -> LowRank {
    let mut next = noise(seed);
    let mut factor = |rows, columns| {
        Matrix::from_fn(rows, columns, |_, _| dtype.snap(next() as f32 / 1e9 - 1.0))
    };
    LowRank {
        outer: factor(rows, rank),
        inner: factor(rank, columns),
        dtype,
    }
}

/// Every kind of grid of one shape.
fn of_kind(kind: usize, rows: usize, columns: usize, bits: u8, seed: u64) -> Solved {
    let config = GridConfig {
        bits,
        group: [0, 3, 16][seed as usize % 3],
        symmetric: seed.is_multiple_of(2),
        scale_dtype: ScaleDtype::F16,
    };
    match kind {
        0 => affine(config, rows, columns, false, seed),
        1 => nf4(rows, columns, 7, seed.is_multiple_of(2), seed),
        2 => palettes(rows, columns, bits, seed as usize % 4, seed),
        3 => floats(rows, columns, Dtype::BF16, seed),
        4 => floats(rows, columns, Dtype::F32, seed),
        _ => without_codes(rows, columns, Grid::Nothing),
    }
}

fn patterns() -> impl Strategy<Value = Option<SparsityPattern>> {
    let n_of_m = (2u8..=32, 1u8..32).prop_map(|(of, kept)| SparsityPattern::NOfM {
        kept: kept.min(of - 1),
        of,
    });
    prop_oneof![
        Just(None),
        Just(Some(SparsityPattern::TWO_OF_FOUR)),
        n_of_m.prop_map(Some),
        Just(Some(SparsityPattern::Unstructured)),
        Just(Some(SparsityPattern::BLOCK)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn all_that_solvers_give_returns_unchanged(
        kind in 0usize..6,
        pattern in patterns(),
        rows in 1usize..7,
        columns in 1usize..70,
        bits in 2u8..=8,
        rank in 0usize..4,
        sparsity in 0.0f64..=1.0,
        transposed: bool,
        seed: u64,
    ) {
        let mut solved = of_kind(kind, rows, columns, bits, seed);
        let is_nothing = solved.grid == Grid::Nothing;
        if let Some(pattern) = pattern.filter(|_| !is_nothing) {
            solved = masked(solved, mask(pattern, rows, columns, sparsity, seed ^ 7));
        }
        let rank = rank.min(rows).min(columns).max(usize::from(is_nothing));
        if rank > 0 {
            solved.factors = Some(factors(rows, columns, rank, ScaleDtype::BF16, seed));
        }
        returns_unchanged(&solved, transposed, &ActivationPlan::NONE)?;
    }

    #[test]
    fn codes_behind_zeros_are_not_stored(
        pattern in patterns(),
        seed: u64,
    ) {
        let solved = of_kind(0, 5, 30, 4, seed);
        let Some(pattern) = pattern else {
            return Ok(());
        };
        let solved = Solved { mask: Some(mask(pattern, 5, 30, 0.4, seed)), ..solved };
        let packed = pack("block", tensor(5, 30, false), &solved, &ActivationPlan::NONE).unwrap();
        let found = unpack(&packed.manifest, &packed.parts).unwrap();
        prop_assert_eq!(found.dequantize(), solved.dequantize());
    }

    #[test]
    fn cuts_and_flips_of_zeros_are_errors_or_other_layers_never_a_panic(
        pattern in patterns(),
        kind in 0usize..6,
        part: prop::sample::Index,
        place: prop::sample::Index,
        cut: bool,
        seed: u64,
    ) {
        let (rows, columns) = (3, 27);
        let mut solved = of_kind(kind, rows, columns, 3, seed);
        if let Some(pattern) = pattern.filter(|_| kind < 5) {
            solved = masked(solved, mask(pattern, rows, columns, 0.5, seed));
        }
        solved.factors = Some(factors(rows, columns, 2, ScaleDtype::F32, seed));
        let mut packed = pack("block", tensor(rows, columns, false), &solved, &ActivationPlan::NONE).unwrap();
        let part = part.index(packed.parts.len());
        let bytes = &mut packed.parts[part].bytes;
        if bytes.is_empty() {
            return Ok(());
        }
        let place = place.index(bytes.len());
        if cut {
            bytes.truncate(place);
            prop_assert!(unpack(&packed.manifest, &packed.parts).is_err());
        } else {
            bytes[place] ^= 0xff;
            let _ = unpack(&packed.manifest, &packed.parts);
        }
    }

    #[test]
    fn settings_tell_the_bytes_of_zeros_palettes_and_factors(
        method in prop::sample::select(vec![Method::Rtn, Method::Nf4, Method::Palette, Method::Float]),
        pattern in patterns(),
        scope in prop::sample::select(vec![PruneScope::Row, PruneScope::Layer]),
        rank in prop_oneof![Just(Rank::None), (1usize..99).prop_map(Rank::Fixed), (0.0f64..0.5).prop_map(Rank::Share)],
        rows in 1usize..9,
        columns in 1usize..90,
        sparsity in 0.0f64..=1.0,
        bits in 2u8..=8,
    ) {
        let mut settings = LayerSettings { bits, rank, palette_rows: 3, ..plain_settings(method) };
        if let Some(pattern) = pattern {
            settings.prune = Pruning { method: PruneMethod::Magnitude, pattern, sparsity, scope };
        }
        let solved = solved_as(&settings, rows, columns);
        let planned = Stored::of_settings(&settings, rows, columns, Dtype::BF16);
        prop_assert_eq!(planned, Stored::of_solved(&solved));
        let packed = pack("block", tensor(rows, columns, false), &solved, &ActivationPlan::NONE).unwrap();
        prop_assert_eq!(Some(packed.manifest.stored_bytes()), planned.stored_bytes(rows, columns));
    }
}

/// A layer of the form that the settings ask for.
fn solved_as(settings: &LayerSettings, rows: usize, columns: usize) -> Solved {
    let prune = settings.prune;
    let is_nothing = settings.method == Method::Float && prune.is_none();
    let mut solved = match settings.method {
        Method::Nf4 => nf4(rows, columns, settings.nf4_block(), false, 5),
        Method::Palette => palettes(rows, columns, settings.bits, settings.palette_rows, 5),
        Method::Float if is_nothing && settings.rank != Rank::None => {
            without_codes(rows, columns, Grid::Nothing)
        }
        Method::Float => floats(rows, columns, Dtype::BF16, 5),
        _ => affine(settings.grid(), rows, columns, false, 5),
    };
    if !prune.is_none() {
        let zeros = match (prune.among(), prune.pattern) {
            (Among::Row, SparsityPattern::Unstructured | SparsityPattern::Block { .. }) => {
                let rows = (0..rows)
                    .map(|row| mask(prune.pattern, 1, columns, prune.sparsity, row as u64).keep);
                Mask {
                    pattern: prune.pattern,
                    columns,
                    keep: rows.flatten().collect(),
                }
            }
            _ => mask(prune.pattern, rows, columns, prune.sparsity, 5),
        };
        solved = masked(solved, zeros);
    }
    if let Some(rank) = settings.rank.of_shape(rows, columns) {
        solved.factors = Some(factors(rows, columns, rank, settings.scale_dtype, 5));
    }
    solved
}

#[test]
fn two_of_four_in_eight_bits_takes_two_thirds_at_most() {
    // Layers of a Llama of 7 billion weights, and a small one.
    for (rows, columns) in [(4096, 4096), (11008, 4096), (4096, 11008), (288, 288)] {
        let dense = LayerSettings {
            bits: 8,
            ..plain_settings(Method::Rtn)
        };
        let mut sparse = dense;
        sparse.prune = Pruning {
            method: PruneMethod::Wanda,
            pattern: SparsityPattern::TWO_OF_FOUR,
            sparsity: 0.5,
            scope: PruneScope::Row,
        };
        let bytes = |settings| {
            Stored::of_settings(settings, rows, columns, Dtype::F16)
                .stored_bytes(rows, columns)
                .unwrap() as f64
        };
        let share = bytes(&sparse) / bytes(&dense);
        assert!(share <= 0.66, "{rows} x {columns}: {share}");
        // Half of the codes, and 3 bits for every 4 of them.
        assert!((share - 0.594).abs() < 0.01, "{rows} x {columns}: {share}");
    }
}

#[test]
fn what_is_written_is_as_small_as_it_is_said_to_be() {
    let (rows, columns) = (64, 512);
    let config = GridConfig {
        bits: 8,
        group: 0,
        symmetric: true,
        scale_dtype: ScaleDtype::F16,
    };
    let dense = affine(config, rows, columns, false, 3);
    let sparse = masked(
        dense.clone(),
        mask(SparsityPattern::TWO_OF_FOUR, rows, columns, 0.5, 9),
    );
    let written = |solved: &Solved| -> usize {
        let tensor = tensor(rows, columns, false);
        let packed = pack("block", tensor, solved, &ActivationPlan::NONE).unwrap();
        packed.parts.iter().map(|part| part.bytes.len()).sum()
    };
    assert_eq!(written(&dense), rows * (512 + 2));
    assert_eq!(written(&sparse), rows * (256 + 512 / 4 * 3 / 8 + 2));
}

#[test]
fn hostile_zeros_are_errors_that_say_what_is_wrong() {
    let (rows, columns) = (4, 10);
    let packed = |pattern, kind| {
        let solved = masked(
            of_kind(kind, rows, columns, 4, 3),
            mask(pattern, rows, columns, 0.5, 3),
        );
        pack(
            "block",
            tensor(rows, columns, false),
            &solved,
            &ActivationPlan::NONE,
        )
        .unwrap()
    };
    let two_of_four = packed(SparsityPattern::TWO_OF_FOUR, 0);
    let anywhere = packed(SparsityPattern::Unstructured, 0);
    let blocks = packed(SparsityPattern::BLOCK, 3);
    let palette = packed(SparsityPattern::TWO_OF_FOUR, 2);
    let change = |packed: &PackedLayer, edit: &dyn Fn(&mut PackedLayer)| {
        let mut changed = packed.clone();
        edit(&mut changed);
        unpack(&changed.manifest, &changed.parts)
            .unwrap_err()
            .to_string()
    };
    let values = |count: usize| {
        move |layer: &mut PackedLayer| {
            if let Some(sparsity) = &mut layer.manifest.stored.sparsity {
                sparsity.values = count;
            }
        }
    };
    let part = |suffix: &'static str, edit: fn(&mut Vec<u8>)| {
        move |layer: &mut PackedLayer| {
            let part = layer.parts.iter_mut().find(|part| part.suffix == suffix);
            edit(&mut part.unwrap().bytes);
        }
    };
    let cases = [
        ("not all 24", change(&two_of_four, &values(23))),
        ("not at most 40", change(&anywhere, &values(41))),
        ("not at most 40", change(&anywhere, &values(usize::MAX))),
        ("not blocks of 4", change(&blocks, &values(7))),
        ("not at most 48", change(&blocks, &values(52))),
        ("its manifest says", change(&anywhere, &values(19))),
        (
            "no choice of 2 in 4",
            change(&two_of_four, &part("positions", |bytes| bytes[0] |= 7)),
        ),
        (
            "behind the end",
            change(&two_of_four, &part("positions", |bytes| bytes[1] |= 0x80)),
        ),
        (
            "behind the end",
            change(&anywhere, &part("kept", |bytes| bytes[1] |= 0x80)),
        ),
        (
            "its manifest says 20 values",
            change(&anywhere, &part("kept", |bytes| bytes[0] ^= 1)),
        ),
        (
            "lacks its part kept",
            change(&anywhere, &|layer| {
                layer.parts.retain(|part| part.suffix != "kept")
            }),
        ),
        (
            "does not ascend",
            change(&palette, &part("levels", |bytes| bytes.swap(0, 28))),
        ),
        (
            "does not ascend",
            change(
                &palette,
                &part("levels", |bytes| bytes[..2].copy_from_slice(&[0xff, 0x7b])),
            ),
        ),
        (
            "holds the value NaN",
            change(
                &palette,
                &part("levels", |bytes| bytes[..2].copy_from_slice(&[0xff, 0x7f])),
            ),
        ),
        (
            "no values",
            change(&two_of_four, &|layer| {
                layer.manifest.stored.code = CodeKind::Nothing
            }),
        ),
        (
            "are no floats",
            change(&blocks, &|layer| {
                layer.manifest.stored.code = CodeKind::Floats { dtype: Dtype::I8 }
            }),
        ),
        (
            "rank of 1 to 4, not 5",
            change(&two_of_four, &|layer| {
                layer.manifest.stored.factors = Some(FactorKind {
                    rank: 5,
                    dtype: ScaleDtype::F16,
                });
            }),
        ),
        (
            "lacks its part factor_outer",
            change(&two_of_four, &|layer| {
                layer.manifest.stored.factors = Some(FactorKind {
                    rank: 1,
                    dtype: ScaleDtype::F16,
                });
            }),
        ),
        (
            "neither codes nor factors",
            change(&two_of_four, &|layer| {
                layer.manifest.stored.code = CodeKind::Nothing;
                layer.manifest.stored.sparsity = None;
            }),
        ),
    ];
    for (index, (expected, found)) in cases.into_iter().enumerate() {
        assert!(
            found.contains(expected),
            "{index}: expected {expected:?} in {found:?}"
        );
    }
}

#[test]
fn a_value_behind_the_end_of_a_row_is_an_error() {
    let keep = vec![true; 6];
    let pattern = SparsityPattern::BLOCK;
    let zeros = Mask {
        pattern,
        columns: 6,
        keep,
    };
    let solved = masked(floats(1, 6, Dtype::F32, 5), zeros);
    let mut packed = pack("block", tensor(1, 6, false), &solved, &ActivationPlan::NONE).unwrap();
    assert_eq!(
        packed.parts[0].bytes.len(),
        8 * 4,
        "the block that is cut is stored whole"
    );
    packed.parts[0].bytes[7 * 4] = 1;
    let error = unpack(&packed.manifest, &packed.parts)
        .unwrap_err()
        .to_string();
    assert!(error.contains("behind the end of a row"), "{error}");
}

#[test]
fn masks_that_are_not_of_their_pattern_are_refused() {
    let solved = |pattern, keep: Vec<bool>| Solved {
        mask: Some(Mask {
            pattern,
            columns: 8,
            keep,
        }),
        ..of_kind(0, 1, 8, 4, 3)
    };
    let uneven = vec![true, true, true, false, false, false, false, false];
    for (solved, expected) in [
        (
            solved(SparsityPattern::TWO_OF_FOUR, uneven.clone()),
            "are not all 4",
        ),
        (solved(SparsityPattern::BLOCK, uneven), "kept in part"),
        (
            solved(SparsityPattern::Unstructured, vec![true; 7]),
            "mask does not fit",
        ),
    ] {
        let refused = pack("block", tensor(1, 8, false), &solved, &ActivationPlan::NONE);
        let problem = refused.unwrap_err().problem;
        assert!(
            problem.contains(expected),
            "expected {expected:?} in {problem:?}"
        );
    }
}

#[test]
fn plain_layers_are_written_as_they_always_were() {
    let layer = |solved: &Solved| {
        let packed = pack("block", tensor(4, 8, false), solved, &ActivationPlan::NONE).unwrap();
        let text = serde_json::to_string(&packed.manifest).unwrap();
        (text, Manifest::new(vec![packed.manifest]).version)
    };
    let (text, version) = layer(&of_kind(0, 4, 8, 4, 3));
    assert!(
        !text.contains("sparsity") && !text.contains("factors"),
        "{text}"
    );
    assert_eq!(version, 1);
    let zeros = mask(SparsityPattern::TWO_OF_FOUR, 4, 8, 0.5, 3);
    let (text, version) = layer(&masked(of_kind(0, 4, 8, 4, 3), zeros));
    let expected = r#""sparsity":{"pattern":"2:4","values":16}"#;
    assert!(text.contains(expected), "{text}");
    assert_eq!(version, 2);
}
