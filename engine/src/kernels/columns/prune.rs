//! The rounding recursion where some weights become zero: told which, or choosing N of every M on the way.

use super::{NARROW, RoundTile, WIDE, add_lines, lanes_at, lanes_at_mut, lines_of};
use crate::kernels::dispatch::per_instruction_set;

/// Most columns among which a choice is made.
pub const LARGEST_CHOICE: usize = 32;

/// One tile of the pruning recursion; see `prune_columns`.
#[derive(Debug)]
pub struct PruneTile<'a> {
    /// Everything that rounding needs. Of weights that stay floats, `codes`, `scales`, `zeros` and `group_of` are not
    /// looked at.
    pub round: RoundTile<'a>,
    /// Which weights stay, `[count, stride]`: in, or out where there is a choice.
    pub keep: &'a mut [bool],
    /// How columns are chosen; none where `keep` is given.
    pub choice: Option<Choice<'a>>,
    /// Out: the weights, `[count, stride]`, where they stay floats.
    pub values: Option<&'a mut [f32]>,
}

/// Of every `of` columns of the tile `kept` stay, those that cost most to lose.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    /// N.
    pub kept: usize,
    /// M, 1 to `LARGEST_CHOICE`.
    pub of: usize,
    /// Root of what a squared error of each column costs, up to a common factor.
    pub pivots: &'a [f32],
}

per_instruction_set! {
    /// `round_columns` with `q_j = 0` where a weight does not stay, and `q_j = t_j` where those that stay remain floats.
    ///
    /// A choice is made when the first of its columns is reached. What a column would lose is its weight with the best
    /// answer of this and later columns to all errors so far, times its pivot; on ties the earlier stays.
    ///
    /// # Panics
    /// If a slice does not fit its shape.
    pub fn prune_columns(tile: PruneTile<'_>) {
        let mut tile = tile;
        let round = &tile.round;
        let count = lines_of(round.errors.len(), round.stride, round.lanes, round.factor.len());
        assert_eq!(tile.keep.len(), round.errors.len(), "one mask bit per weight");
        if let Some(choice) = &tile.choice {
            assert!((1..=LARGEST_CHOICE).contains(&choice.of), "of {}", choice.of);
            assert_eq!(choice.pivots.len(), count, "one pivot per column");
        }
        over_lanes!(tile.round.lanes, |first, WIDTH| prune_lanes::<WIDTH>(&mut tile, first, count));
    }
}

#[inline(always)]
fn prune_lanes<const L: usize>(tile: &mut PruneTile<'_>, first: usize, count: usize) {
    let mut loss: [f64; L] = *lanes_at(tile.round.loss, first);
    match tile.choice {
        None => {
            for line in 0..count {
                let target = past::<L>(tile, line, line, first, count);
                finish_line(tile, line, first, &target, &mut loss);
            }
        }
        Some(choice) => {
            let mut pasts = [[0.0; L]; LARGEST_CHOICE];
            for start in (0..count).step_by(choice.of) {
                let lines = start..(start + choice.of).min(count);
                for line in lines.clone() {
                    pasts[line - start] = past(tile, line, start, first, count);
                }
                choose(tile, choice, &pasts[..lines.len()], start, first, count);
                for line in lines {
                    let target = &mut pasts[line - start];
                    let stride = tile.round.stride;
                    let coefficients = &tile.round.factor[line * count + start..];
                    let earlier = &tile.round.errors[start * stride..line * stride];
                    add_lines(target, coefficients, earlier, stride, first);
                    let target = *target;
                    finish_line(tile, line, first, &target, &mut loss);
                }
            }
        }
    }
    *lanes_at_mut(tile.round.loss, first) = loss;
}

/// What errors of the tile's first `known` lines and of all columns before it add to a line.
#[inline(always)]
fn past<const L: usize>(
    tile: &PruneTile<'_>,
    line: usize,
    known: usize,
    first: usize,
    count: usize,
) -> [f32; L] {
    let round = &tile.round;
    let mut target: [f32; L] = *lanes_at(round.pending, line * round.stride + first);
    let earlier = &round.errors[..known * round.stride];
    let coefficients = &round.factor[line * count..];
    add_lines(&mut target, coefficients, earlier, round.stride, first);
    target
}

/// Marks which of the lines from `start` stay.
#[inline(always)]
fn choose<const L: usize>(
    tile: &mut PruneTile<'_>,
    choice: Choice<'_>,
    pasts: &[[f32; L]],
    start: usize,
    first: usize,
    count: usize,
) {
    let stride = tile.round.stride;
    let mut moves = [[0.0f32; L]; LARGEST_CHOICE];
    let mut scores = [[0.0f32; L]; LARGEST_CHOICE];
    for (line, past) in pasts.iter().enumerate() {
        let mut sum = [0.0f32; L];
        let coefficients = &tile.round.factor[(start + line) * count + start..][..line];
        for (earlier, &coefficient) in moves.iter().zip(coefficients) {
            for lane in 0..L {
                sum[lane] += coefficient * earlier[lane];
            }
        }
        let weights: &[f32; L] = lanes_at(tile.round.errors, (start + line) * stride + first);
        let pivot = choice.pivots[start + line];
        for lane in 0..L {
            moves[line][lane] = past[lane] - sum[lane];
            let score = ((weights[lane] + moves[line][lane]) * pivot).abs();
            // No number is worth nothing.
            scores[line][lane] = if score > 0.0 { score } else { 0.0 };
        }
    }
    let scores = &scores[..pasts.len()];
    for (line, score) in scores.iter().enumerate() {
        let mut better = [0u32; L];
        for (other, rival) in scores.iter().enumerate() {
            for lane in 0..L {
                let beats = if other < line {
                    rival[lane] >= score[lane]
                } else {
                    rival[lane] > score[lane]
                };
                better[lane] += u32::from(beats);
            }
        }
        let keep: &mut [bool; L] = lanes_at_mut(tile.keep, (start + line) * stride + first);
        for lane in 0..L {
            keep[lane] = better[lane] < choice.kept as u32;
        }
    }
}

/// Rounds or drops one line whose `target` holds all that errors add to it.
#[inline(always)]
fn finish_line<const L: usize>(
    tile: &mut PruneTile<'_>,
    line: usize,
    first: usize,
    target: &[f32; L],
    loss: &mut [f64; L],
) {
    let round = &mut tile.round;
    let at = line * round.stride + first;
    let price = round.price[line];
    let keep: &[bool; L] = lanes_at(tile.keep, at);
    let error: &mut [f32; L] = lanes_at_mut(round.errors, at);
    if let Some(values) = &mut tile.values {
        let values: &mut [f32; L] = lanes_at_mut(values, at);
        for lane in 0..L {
            let wanted = error[lane] + target[lane];
            let kept = if keep[lane] { wanted } else { 0.0 };
            let miss = wanted - kept;
            error[lane] -= kept;
            values[lane] = kept;
            loss[lane] += price * f64::from(miss * miss);
        }
        return;
    }
    let group = round.group_of[line] * round.stride + first;
    let scale: &[f32; L] = lanes_at(round.scales, group);
    let zero: &[f32; L] = lanes_at(round.zeros, group);
    let codes: &mut [u8; L] = lanes_at_mut(round.codes, at);
    for lane in 0..L {
        let wanted = error[lane] + target[lane];
        let code = (wanted / scale[lane] + zero[lane])
            .round_ties_even()
            .clamp(0.0, round.max_code);
        let code = if keep[lane] { code } else { zero[lane] };
        let rounded = scale[lane] * (code - zero[lane]);
        let miss = wanted - rounded;
        error[lane] -= rounded;
        codes[lane] = code as u8;
        loss[lane] += price * f64::from(miss * miss);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::same_on_every_instruction_set;
    use crate::kernels::round_columns;

    const LANES: usize = 77;
    const COUNT: usize = 13;

    fn noise(len: usize, speed: f32) -> Vec<f32> {
        (0..len).map(|index| (index as f32 * speed).sin()).collect()
    }

    /// What a run gives: errors, codes, values, mask, loss.
    type Found = (Vec<f32>, Vec<u8>, Vec<f32>, Vec<bool>, Vec<f64>);

    fn run(keep: Vec<bool>, choice: Option<(usize, usize)>, floats: bool) -> Found {
        let mut keep = keep;
        let pivots: Vec<f32> = (0..COUNT).map(|line| 1.0 + 0.1 * line as f32).collect();
        let mut errors = noise(COUNT * LANES, 0.7);
        let mut codes = vec![0; COUNT * LANES];
        let mut values = vec![0.0; COUNT * LANES];
        let mut loss = vec![0.0; LANES];
        prune_columns(PruneTile {
            round: RoundTile {
                stride: LANES,
                lanes: LANES,
                factor: &noise(COUNT * COUNT, 0.3),
                pending: &noise(COUNT * LANES, 0.9),
                errors: &mut errors,
                codes: &mut codes,
                scales: &[0.13; LANES],
                zeros: &[7.0; LANES],
                group_of: &[0; COUNT],
                max_code: 15.0,
                price: &[1.0; COUNT],
                loss: &mut loss,
            },
            keep: &mut keep,
            choice: choice.map(|(kept, of)| Choice {
                kept,
                of,
                pivots: &pivots,
            }),
            values: floats.then_some(&mut values[..]),
        });
        (errors, codes, values, keep, loss)
    }

    #[test]
    fn keeping_everything_is_plain_rounding() {
        let (errors, codes, _, _, loss) = run(vec![true; COUNT * LANES], None, false);
        let mut expected = noise(COUNT * LANES, 0.7);
        let mut plain_codes = vec![0; COUNT * LANES];
        let mut plain_loss = vec![0.0; LANES];
        round_columns(RoundTile {
            stride: LANES,
            lanes: LANES,
            factor: &noise(COUNT * COUNT, 0.3),
            pending: &noise(COUNT * LANES, 0.9),
            errors: &mut expected,
            codes: &mut plain_codes,
            scales: &[0.13; LANES],
            zeros: &[7.0; LANES],
            group_of: &[0; COUNT],
            max_code: 15.0,
            price: &[1.0; COUNT],
            loss: &mut plain_loss,
        });
        assert!(errors == expected && codes == plain_codes && loss == plain_loss);
    }

    #[test]
    fn a_choice_keeps_exactly_n_of_m_and_then_acts_like_a_given_mask() {
        for (kept, of) in [(2, 4), (1, 3), (4, 8), (1, 32)] {
            for floats in [false, true] {
                let chosen = run(vec![false; COUNT * LANES], Some((kept, of)), floats);
                for lane in 0..LANES {
                    let column: Vec<bool> = (0..COUNT)
                        .map(|line| chosen.3[line * LANES + lane])
                        .collect();
                    for unit in column.chunks(of) {
                        let count = unit.iter().filter(|&&keep| keep).count();
                        assert_eq!(count, kept.min(unit.len()), "{kept}:{of}, lane {lane}");
                    }
                }
                let given = run(chosen.3.clone(), None, floats);
                assert!(given == chosen, "{kept}:{of}, floats {floats}");
            }
        }
    }

    #[test]
    fn what_does_not_stay_reads_as_zero() {
        let keep: Vec<bool> = (0..COUNT * LANES).map(|index| index % 3 == 0).collect();
        let (_, codes, ..) = run(keep.clone(), None, false);
        let (_, _, values, ..) = run(keep.clone(), None, true);
        for (index, &keep) in keep.iter().enumerate().filter(|(_, keep)| !**keep) {
            assert_eq!((codes[index], values[index]), (7, 0.0), "{index}: {keep}");
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        same_on_every_instruction_set(|| {
            let empty = vec![false; COUNT * LANES];
            (
                run(empty.clone(), Some((2, 4)), false),
                run(empty, Some((3, 5)), true),
            )
        });
    }
}
