//! The largest of many scores without sorting them: a bar, and how many that just reach it stay.
//!
//! Scores become whole numbers of the same order. Knows no matrix; ties keep the earlier.

use rayon::prelude::*;

/// A score as a number of the same order; nothing below 0 and no NaN is worth more than 0.
#[inline(always)]
pub(in crate::solve) fn rank(score: f32) -> u32 {
    // Positive floats are ordered as their bits are.
    if score > 0.0 { score.to_bits() } else { 0 }
}

/// What separates the largest of some ranks from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::solve) struct Bar {
    /// Everything above stays.
    pub(in crate::solve) least: u32,
    /// So many that equal it stay too, the earliest.
    pub(in crate::solve) ties: usize,
}

impl Bar {
    /// Nothing stays: no rank is above this.
    const NOTHING: Self = Self {
        least: u32::MAX,
        ties: 0,
    };
    const EVERYTHING: Self = Self {
        least: 0,
        ties: usize::MAX,
    };

    /// The bar that `count` of `ranks` pass. `scratch` is overwritten.
    pub(in crate::solve) fn of(ranks: &[u32], count: usize, scratch: &mut Vec<u32>) -> Self {
        if count == 0 {
            return Self::NOTHING;
        }
        if count >= ranks.len() {
            return Self::EVERYTHING;
        }
        scratch.clear();
        scratch.extend_from_slice(ranks);
        let (_, &mut least, above) = scratch.select_nth_unstable(ranks.len() - count);
        let above = above.iter().filter(|&&rank| rank > least).count();
        Self {
            least,
            ties: count - above,
        }
    }

    /// The bar that `count` of all ranks of `parts` pass; `each` hands a part's ranks on, in any order. They are counted
    /// by their upper halves, then those of the half that decides by their lower.
    pub(in crate::solve) fn of_parts(
        parts: usize,
        count: usize,
        each: impl Fn(usize, &mut dyn FnMut(&[u32])) + Sync,
    ) -> Self {
        if count == 0 {
            return Self::NOTHING;
        }
        let upper = tally(parts, &each, |rank| Some(rank >> HALF_BITS));
        let Some((half, left)) = reach(&upper, count) else {
            return Self::EVERYTHING;
        };
        let lower = tally(parts, &each, |rank| {
            (rank >> HALF_BITS == half).then_some(rank & (HALF - 1))
        });
        let (rest, ties) = reach(&lower, left).expect("the upper half holds as many");
        Self {
            least: half << HALF_BITS | rest,
            ties,
        }
    }

    /// How many of `ranks` just reach the bar.
    pub(in crate::solve) fn count_ties(&self, ranks: &[u32]) -> usize {
        ranks.iter().filter(|&&rank| rank == self.least).count()
    }

    /// Marks what stays; the ties still to be had are taken from `self`.
    pub(in crate::solve) fn mark(&mut self, ranks: &[u32], keep: &mut [bool]) {
        for (keep, &rank) in keep.iter_mut().zip(ranks) {
            *keep = rank > self.least;
        }
        if self.ties == 0 {
            return;
        }
        let tied = keep.iter_mut().zip(ranks);
        let tied = tied.filter(|&(_, &rank)| rank == self.least);
        let mut used = 0;
        for (keep, _) in tied.take(self.ties) {
            *keep = true;
            used += 1;
        }
        self.ties -= used;
    }
}

/// Bits of half a rank.
const HALF_BITS: u32 = 16;
/// Values of half a rank.
const HALF: u32 = 1 << HALF_BITS;

/// How often each half occurs.
fn tally(
    parts: usize,
    each: &(impl Fn(usize, &mut dyn FnMut(&[u32])) + Sync),
    half: impl Fn(u32) -> Option<u32> + Sync,
) -> Vec<u64> {
    let empty = || vec![0u64; HALF as usize];
    let counted = (0..parts).into_par_iter().fold(empty, |mut counts, part| {
        each(part, &mut |ranks| {
            for half in ranks.iter().filter_map(|&rank| half(rank)) {
                counts[half as usize] += 1;
            }
        });
        counts
    });
    counted.reduce(empty, |mut left, right| {
        left.iter_mut().zip(right).for_each(|(a, b)| *a += b);
        left
    })
}

/// The bin in which the `count`-th largest lies, and how many of the bin belong to the largest.
fn reach(counts: &[u64], count: usize) -> Option<(u32, usize)> {
    let mut left = count;
    for (bin, &here) in counts.iter().enumerate().rev() {
        let here = usize::try_from(here).unwrap_or(usize::MAX);
        if here >= left {
            return Some((bin as u32, left));
        }
        left -= here;
    }
    None
}

/// Keeps the `kept` largest of every `of` ranks; a shorter tail keeps at most `kept`.
pub(in crate::solve) fn keep_n_of_m(ranks: &[u32], kept: usize, of: usize, keep: &mut [bool]) {
    if of == 4 {
        let (whole, tail) = ranks.as_chunks::<4>();
        let (keep, keep_tail) = keep.split_at_mut(whole.len() * 4);
        for (ranks, keep) in whole.iter().zip(keep.as_chunks_mut::<4>().0) {
            *keep = best_of_four(*ranks, kept);
        }
        keep_n_of_any(tail, kept, keep_tail);
        return;
    }
    for (ranks, keep) in ranks.chunks(of).zip(keep.chunks_mut(of)) {
        keep_n_of_any(ranks, kept, keep);
    }
}

/// Six comparisons, no branch.
#[inline(always)]
fn best_of_four([a, b, c, d]: [u32; 4], kept: usize) -> [bool; 4] {
    let wins = |left: u32, right: u32| usize::from(left >= right);
    let (ab, ac, ad) = (wins(a, b), wins(a, c), wins(a, d));
    let (bc, bd, cd) = (wins(b, c), wins(b, d), wins(c, d));
    [
        3 - ab - ac - ad < kept,
        2 + ab - bc - bd < kept,
        1 + ac + bc - cd < kept,
        ad + bd + cd < kept,
    ]
}

fn keep_n_of_any(ranks: &[u32], kept: usize, keep: &mut [bool]) {
    for (index, (keep, &rank)) in keep.iter_mut().zip(ranks).enumerate() {
        let (earlier, later) = ranks.split_at(index);
        let better = earlier.iter().filter(|&&other| other >= rank).count()
            + later.iter().filter(|&&other| other > rank).count();
        *keep = better < kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask;
    use proptest::prelude::*;

    fn few_scores() -> impl Strategy<Value = Vec<f32>> {
        let score = prop_oneof![
            0.0f32..3.0,
            Just(0.0),
            Just(1.0),
            Just(1.0),
            Just(f32::INFINITY)
        ];
        prop::collection::vec(score, 0..90)
    }

    proptest! {
        #[test]
        fn n_of_m_equals_the_slow_twin(scores in few_scores(), of in 1usize..9, kept in 0usize..9) {
            let ranks: Vec<u32> = scores.iter().map(|&score| rank(score)).collect();
            let mut found = vec![false; scores.len()];
            let mut expected = found.clone();
            keep_n_of_m(&ranks, kept, of, &mut found);
            mask::keep_n_of_m(&scores, kept, of, &mut expected);
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn the_largest_equal_the_slow_twins(scores in few_scores(), count in 0usize..100) {
            let ranks: Vec<u32> = scores.iter().map(|&score| rank(score)).collect();
            let mut expected = vec![false; scores.len()];
            mask::keep_largest(&scores, count, &mut expected);
            let mut found = vec![false; scores.len()];
            Bar::of(&ranks, count, &mut Vec::new()).mark(&ranks, &mut found);
            prop_assert_eq!(&found, &expected, "of one slice");
            let parts: Vec<&[u32]> = ranks.chunks(7).collect();
            let mut bar = Bar::of_parts(parts.len(), count, |part, hand| hand(parts[part]));
            for (ranks, keep) in parts.iter().zip(found.chunks_mut(7)) {
                bar.mark(ranks, keep);
            }
            prop_assert_eq!(&found, &expected, "of parts");
        }
    }

    #[test]
    fn what_is_no_score_is_worth_nothing() {
        for score in [f32::NAN, -1.0, -0.0, f32::NEG_INFINITY] {
            assert_eq!(rank(score), 0, "{score}");
        }
    }
}
