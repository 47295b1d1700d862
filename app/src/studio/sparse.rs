//! Zeros, factors and palettes of a layer as people choose and read them: patterns, shares, ranks, short words.
//!
//! Knows no solver and no bytes.

use pare_engine::mask::SparsityPattern;
use pare_engine::recipe::{LayerSettings, PruneMethod, PruneScope, Pruning, Rank};
use pare_engine::solved::Method;
use std::ops::RangeInclusive;

/// Patterns that have a place in lists; of N and M any others can be typed.
pub const PATTERNS: [SparsityPattern; 4] = [
    SparsityPattern::Unstructured,
    SparsityPattern::TWO_OF_FOUR,
    SparsityPattern::NOfM { kept: 4, of: 8 },
    SparsityPattern::BLOCK,
];

/// Shares of zeros that a slider reaches; none at all is no pruning.
pub const SPARSITY: RangeInclusive<f64> = 0.05..=0.95;

/// What a layer gets that is pruned for the first time.
pub const FIRST_PRUNING: Pruning = Pruning {
    method: PruneMethod::Wanda,
    pattern: SparsityPattern::Unstructured,
    sparsity: 0.5,
    scope: PruneScope::Row,
};

/// Ranks that have a place in lists.
pub const RANKS: [Rank; 8] = [
    Rank::None,
    Rank::Fixed(8),
    Rank::Fixed(16),
    Rank::Fixed(32),
    Rank::Fixed(64),
    Rank::Share(0.25),
    Rank::Share(0.5),
    Rank::Energy(0.95),
];

/// Rows that share a palette, as lists have them; 0 = all of a layer.
pub const PALETTE_ROWS: [usize; 5] = [0, 256, 64, 16, 1];

/// Shares of zeros whose errors are told beside each other.
const SHARES: [f64; 7] = [0.25, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/// Whether the layer is stored as codes of so many bits.
pub fn has_codes(settings: &LayerSettings) -> bool {
    !matches!(settings.method, Method::None | Method::Float)
}

/// How the layer is pruned, if it is.
pub fn zeros_of(settings: &LayerSettings) -> Option<Pruning> {
    let is_pruned = settings.method != Method::None && !settings.prune.is_none();
    is_pruned.then_some(settings.prune)
}

/// Share of weights that become zero; nothing is 0.
pub fn share_of(settings: &LayerSettings) -> f64 {
    let share = |zeros: Pruning| zeros.pattern.sparsity().unwrap_or(zeros.sparsity);
    zeros_of(settings).map_or(0.0, share)
}

/// The rank asked for, if factors are.
pub fn rank_of(settings: &LayerSettings) -> Option<Rank> {
    let has_factors = settings.method != Method::None && settings.rank != Rank::None;
    has_factors.then_some(settings.rank)
}

/// What the layer is solved by, where that takes so long that something quick stands in for it at first.
pub fn exact_name(settings: &LayerSettings) -> Option<&'static str> {
    let by_sparsegpt =
        zeros_of(settings).is_some_and(|zeros| zeros.method == PruneMethod::SparseGpt);
    match (settings.method, by_sparsegpt) {
        (Method::Gptq, true) => Some("GPTQ and SparseGPT"),
        (Method::Gptq, false) => Some("GPTQ"),
        (_, true) => Some("SparseGPT"),
        (_, false) => None,
    }
}

/// Shares of zeros that `pattern` can have, a few of them in order.
pub fn shares(pattern: SparsityPattern) -> Vec<f64> {
    match pattern {
        SparsityPattern::NOfM { of, .. } => {
            let step = usize::from(of / 8).max(1);
            let kept = (1..of).rev().step_by(step);
            kept.map(|kept| 1.0 - f64::from(kept) / f64::from(of))
                .collect()
        }
        SparsityPattern::Unstructured | SparsityPattern::Block { .. } => SHARES.to_vec(),
    }
}

/// `pruning` with about so many zeros: of an N:M pattern the nearest N.
pub fn with_share(pruning: Pruning, share: f64) -> Pruning {
    let share = share.clamp(*SPARSITY.start(), *SPARSITY.end());
    match pruning.pattern {
        SparsityPattern::NOfM { of, .. } => {
            let kept = ((1.0 - share) * f64::from(of)).round() as u8;
            let kept = kept.clamp(1, of.saturating_sub(1).max(1));
            with_pattern(pruning, SparsityPattern::NOfM { kept, of })
        }
        SparsityPattern::Unstructured | SparsityPattern::Block { .. } => Pruning {
            sparsity: share,
            ..pruning
        },
    }
}

/// `pruning` in another pattern, with the share that the pattern fixes.
pub fn with_pattern(pruning: Pruning, pattern: SparsityPattern) -> Pruning {
    Pruning {
        pattern,
        sparsity: pattern.sparsity().unwrap_or(pruning.sparsity),
        ..pruning
    }
}

/// The method's name as the field writes it.
pub fn prune_name(method: PruneMethod) -> &'static str {
    match method {
        PruneMethod::None => "not pruned",
        PruneMethod::Magnitude => "magnitude",
        PruneMethod::Wanda => "Wanda",
        PruneMethod::SparseGpt => "SparseGPT",
    }
}

/// What a pruning method does, for people who meet it.
pub fn prune_hint(method: PruneMethod) -> &'static str {
    match method {
        PruneMethod::None => "No weight becomes zero",
        PruneMethod::Magnitude => "The smallest weights become zero; needs no text",
        PruneMethod::Wanda => "Weights that matter least for typical inputs become zero",
        PruneMethod::SparseGpt => {
            "As weights become zero the others make up for it; takes about as long as GPTQ"
        }
    }
}

/// A pattern in words.
pub fn pattern_name(pattern: SparsityPattern) -> String {
    match pattern {
        SparsityPattern::Block { width } => format!("blocks 1x{width}"),
        pattern => pattern.to_string(),
    }
}

/// Among which weights zeros are chosen, in words.
pub fn scope_name(scope: PruneScope) -> &'static str {
    match scope {
        PruneScope::Row => "in each row",
        PruneScope::Layer => "in each layer",
        PruneScope::Model => "in the whole model",
    }
}

/// Zeros in a few signs: `2:4`, `50 %`, `1x4 50 %`.
pub fn zeros_text(settings: &LayerSettings) -> Option<String> {
    let zeros = zeros_of(settings)?;
    let percent = format!("{:.0} %", 100.0 * zeros.sparsity);
    Some(match zeros.pattern {
        SparsityPattern::Unstructured => percent,
        SparsityPattern::NOfM { .. } => zeros.pattern.to_string(),
        SparsityPattern::Block { .. } => format!("{} {percent}", zeros.pattern),
    })
}

/// A rank in a few signs: `r16`, `r 25 %`, `95 % energy`.
pub fn rank_text(rank: Rank) -> String {
    match rank {
        Rank::None => "no factors".to_owned(),
        Rank::Fixed(rank) => format!("rank {rank}"),
        Rank::Share(share) => format!("rank for {:.0} % of the bytes", 100.0 * share),
        Rank::Energy(energy) => format!("rank for {:.0} % of the energy", 100.0 * energy),
    }
}

/// Rows of a palette in words.
pub fn palette_text(rows: usize) -> String {
    match rows {
        0 => "one palette per layer".to_owned(),
        1 => "one palette per row".to_owned(),
        rows => format!("one palette per {rows} rows"),
    }
}

/// What is beside codes, as the end of a sentence about settings: `, 2:4 by Wanda, rank 16`.
pub fn in_words(settings: &LayerSettings) -> String {
    let mut text = String::new();
    if settings.method == Method::Palette {
        text.push_str(&format!(", {}", palette_text(settings.palette_rows)));
    }
    if let (Some(zeros), Some(short)) = (zeros_of(settings), zeros_text(settings)) {
        let kind = match zeros.pattern {
            SparsityPattern::Unstructured => " zeros",
            _ => "",
        };
        text.push_str(&format!(", {short}{kind} by {}", prune_name(zeros.method)));
    }
    if let Some(rank) = rank_of(settings) {
        text.push_str(&format!(", {}", rank_text(rank)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use pare_engine::recipe::Recipe;

    fn pruned(pattern: SparsityPattern, share: f64) -> LayerSettings {
        let pruning = with_pattern(FIRST_PRUNING, pattern);
        LayerSettings {
            prune: with_share(pruning, share),
            ..Recipe::default().default
        }
    }

    #[test]
    fn shares_keep_to_what_patterns_can_have() {
        for (pattern, asked, expected) in [
            (SparsityPattern::Unstructured, 0.62, "62 %"),
            (SparsityPattern::Unstructured, 0.0, "5 %"),
            (SparsityPattern::TWO_OF_FOUR, 0.7, "1:4"),
            (SparsityPattern::TWO_OF_FOUR, 0.95, "1:4"),
            (SparsityPattern::NOfM { kept: 4, of: 8 }, 0.05, "7:8"),
            (SparsityPattern::BLOCK, 0.5, "1x4 50 %"),
        ] {
            let settings = pruned(pattern, asked);
            let found = zeros_text(&settings);
            assert_eq!(found.as_deref(), Some(expected), "{pattern} {asked}");
            let share = settings.prune.sparsity;
            assert_eq!(share_of(&settings), share, "{pattern} {asked}");
        }
        for pattern in PATTERNS {
            let shares = shares(pattern);
            assert!(shares.is_sorted() && shares.len() >= 3, "{shares:?}");
            for share in shares {
                let found = share_of(&pruned(pattern, share));
                assert!((found - share).abs() < 1e-12, "{pattern}: {share}");
            }
        }
    }

    #[test]
    fn what_is_left_as_it_is_has_neither_zeros_nor_factors() {
        let mut settings = pruned(SparsityPattern::TWO_OF_FOUR, 0.5);
        settings.rank = Rank::Fixed(16);
        assert_eq!(in_words(&settings), ", 2:4 by Wanda, rank 16");
        settings.method = Method::None;
        assert_eq!((zeros_text(&settings), rank_of(&settings)), (None, None));
        assert_eq!(in_words(&settings), "");
    }
}
