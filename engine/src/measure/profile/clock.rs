//! A typical time of a piece of work: the median of several rounds within a share of a second.
//!
//! Not the best: an estimate tells what to expect, and machines have slow moments.

use crate::monitor::{Monitor, Stopped};
use std::time::{Duration, Instant};

/// Fewest and most rounds within the budget.
const ROUNDS: (usize, usize) = (5, 200);
/// Times the budget after which even one round is enough: slow machines shall not take minutes.
const PATIENCE: u32 = 4;
/// Shorter rounds than this repeat the work, so that the clock's own steps do not count.
const SHORTEST: Duration = Duration::from_micros(60);
/// Most repetitions of a round.
const MOST_REPEATS: u32 = 1 << 14;

/// What rounds of the same work took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    /// Of the median round.
    pub(super) seconds: f64,
    /// How much longer a slow round took than a fast one (the ninth tenth against the first), as a share.
    pub(super) spread: f64,
}

/// Seconds that `work` typically takes, measured for about `budget`.
pub(super) fn typical<E: From<Stopped>>(
    monitor: &dyn Monitor,
    budget: Duration,
    work: impl FnMut() -> Result<(), E>,
) -> Result<f64, E> {
    Ok(timed(monitor, budget, work)?.seconds)
}

/// The same, and how much rounds differ.
pub(super) fn timed<E: From<Stopped>>(
    monitor: &dyn Monitor,
    budget: Duration,
    mut work: impl FnMut() -> Result<(), E>,
) -> Result<Timing, E> {
    let repeats = repeats(&mut work)?;
    let mut rounds: Vec<f64> = Vec::new();
    let begun = Instant::now();
    loop {
        let most = match begun.elapsed() {
            elapsed if elapsed > budget * PATIENCE => 1,
            elapsed if elapsed > budget => ROUNDS.0,
            _ => ROUNDS.1,
        };
        if rounds.len() >= most {
            break;
        }
        monitor.check()?;
        let started = Instant::now();
        for _ in 0..repeats {
            work()?;
        }
        rounds.push(started.elapsed().as_secs_f64() / f64::from(repeats));
    }
    rounds.sort_by(f64::total_cmp);
    // Never 0: what divides by it goes on.
    let at = |tenth: usize| rounds[(rounds.len() - 1) * tenth / 10].max(1e-10);
    Ok(Timing {
        seconds: rounds[rounds.len() / 2].max(1e-10),
        spread: at(9) / at(1) - 1.0,
    })
}

/// How often a round must do `work`; warms it up.
fn repeats<E>(work: &mut impl FnMut() -> Result<(), E>) -> Result<u32, E> {
    let mut repeats = 1;
    loop {
        let started = Instant::now();
        for _ in 0..repeats {
            work()?;
        }
        if started.elapsed() >= SHORTEST || repeats >= MOST_REPEATS {
            return Ok(repeats);
        }
        repeats *= 2;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::monitor::Unwatched;

    #[test]
    fn longer_work_takes_longer() {
        let words: Vec<u64> = (0..1 << 16).collect();
        let time = |words: &[u64]| {
            typical::<Stopped>(&Unwatched, Duration::from_millis(5), || {
                std::hint::black_box(words.iter().fold(0, |sum, word| sum ^ word));
                Ok(())
            })
        };
        let (short, long) = (time(&words[..64]).unwrap(), time(&words).unwrap());
        assert!(0.0 < short && short < long, "{short} {long}");
    }
}
