//! What the hardware allows, and whether something else used it meanwhile.
//!
//! The same rulers are taken before and after everything else. A machine that is busy shows in rounds that differ, in
//! rulers that differ, and in threads that together do far less than one of them would.

use super::ProfileError;
use super::clock::{Timing, timed};
use crate::kernels::rulers::{multiply_adds, read_all};
use crate::monitor::Monitor;
use std::hint::black_box;
use std::time::Duration;

/// Words that the read rulers go over: memory, and a part of the last-level cache.
const FAR_WORDS: usize = 24 << 20;
const NEAR_WORDS: usize = 1 << 20;
/// Rounds of the multiply-add ruler: some milliseconds.
const ROUNDS: u64 = 400_000;
/// For each ruler.
const BUDGET: Duration = Duration::from_millis(60);

/// By how much rounds of multiply-adds may differ on a machine that does nothing else.
const QUIET_SPREAD: f64 = 0.3;
/// How often as fast one ruler may be as the same one later.
const QUIET_DRIFT: f64 = 1.25;
/// Share of its own speed that a thread keeps beside all others: two threads of one core share its arithmetic.
const QUIET_SHARE: f64 = 0.4;

/// What the hardware allows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rulers {
    pub(super) fma_gops: f64,
    pub(super) one_thread_fma_gops: f64,
    pub(super) one_thread_gb_per_s: f64,
    pub(super) far_gb_per_s: f64,
    pub(super) near_gb_per_s: f64,
    /// How much rounds of multiply-adds differ, as a share.
    pub(super) spread: f64,
}

impl Rulers {
    pub(super) fn measure(monitor: &dyn Monitor) -> Result<Self, ProfileError> {
        let words: Vec<u64> = (0..FAR_WORDS as u64).collect();
        let threads = rayon::current_num_threads();
        let all = timed::<ProfileError>(monitor, BUDGET, || {
            rayon::broadcast(|_| black_box(multiply_adds(ROUNDS)));
            Ok(())
        })?;
        let alone = timed::<ProfileError>(monitor, BUDGET, || {
            black_box(multiply_adds(ROUNDS));
            Ok(())
        })?;
        let (operations, _) = multiply_adds(ROUNDS);
        let gops = |timing: Timing, threads: usize| {
            (operations * threads as u64) as f64 / timing.seconds / 1e9
        };
        Ok(Self {
            fma_gops: gops(all, threads),
            one_thread_fma_gops: gops(alone, 1),
            one_thread_gb_per_s: read_gb_per_s(&words, 1, monitor)?,
            far_gb_per_s: read_gb_per_s(&words, threads, monitor)?,
            near_gb_per_s: read_gb_per_s(&words[..NEAR_WORDS], threads, monitor)?,
            spread: all.spread,
        })
    }

    /// The faster of two takes of each: what the hardware allows is no less.
    pub(super) fn best(self, other: &Self) -> Self {
        Self {
            fma_gops: self.fma_gops.max(other.fma_gops),
            one_thread_fma_gops: self.one_thread_fma_gops.max(other.one_thread_fma_gops),
            one_thread_gb_per_s: self.one_thread_gb_per_s.max(other.one_thread_gb_per_s),
            far_gb_per_s: self.far_gb_per_s.max(other.far_gb_per_s),
            near_gb_per_s: self.near_gb_per_s.max(other.near_gb_per_s),
            spread: self.spread.max(other.spread),
        }
    }

    /// Share of its own speed that a thread keeps beside all others.
    fn share(&self) -> f64 {
        self.fma_gops / (self.one_thread_fma_gops * rayon::current_num_threads() as f64)
    }
}

/// Why what was measured between two takes of the rulers may be too slow, as a sentence; `None` where nothing tells so.
pub(super) fn unrest(before: &Rulers, after: &Rulers) -> Option<String> {
    let mut signs = Vec::new();
    let spread = before.spread.max(after.spread);
    if spread > QUIET_SPREAD {
        signs.push(format!("equal rounds differed by {:.0} %", 100.0 * spread));
    }
    let drifts = [
        (before.fma_gops, after.fma_gops, "arithmetic"),
        (before.far_gb_per_s, after.far_gb_per_s, "reading"),
    ];
    for (first, last, what) in drifts {
        let drift = (first / last).max(last / first);
        if drift > QUIET_DRIFT {
            signs.push(format!(
                "{what} was {drift:.1} times as fast at one end as at the other"
            ));
        }
    }
    let share = before.share().min(after.share());
    if share < QUIET_SHARE {
        signs.push(format!(
            "threads together kept {:.0} % of the speed of one",
            100.0 * share
        ));
    }
    (!signs.is_empty()).then(|| {
        format!(
            "the machine seems to have been busy while it was measured ({}), so that times may be estimated too long; measure again when nothing else runs",
            signs.join(", ")
        )
    })
}

fn read_gb_per_s(
    words: &[u64],
    threads: usize,
    monitor: &dyn Monitor,
) -> Result<f64, ProfileError> {
    let piece = words.len().div_ceil(threads);
    let timing = timed::<ProfileError>(monitor, BUDGET, || {
        match threads {
            1 => {
                black_box(read_all(words));
            }
            _ => {
                rayon::broadcast(|context| {
                    let piece = words.chunks(piece).nth(context.index());
                    black_box(read_all(piece.unwrap_or_default()))
                });
            }
        }
        Ok(())
    })?;
    Ok((words.len() * 8) as f64 / timing.seconds / 1e9)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_busy_machine_shows() {
        let threads = rayon::current_num_threads() as f64;
        let quiet = Rulers {
            fma_gops: 50.0 * threads,
            one_thread_fma_gops: 50.0,
            one_thread_gb_per_s: 10.0,
            far_gb_per_s: 20.0,
            near_gb_per_s: 50.0,
            spread: 0.05,
        };
        assert_eq!(unrest(&quiet, &quiet), None);
        let cases = [
            (
                "differed by 80 %",
                Rulers {
                    spread: 0.8,
                    ..quiet
                },
            ),
            (
                "reading was 2.0 times",
                Rulers {
                    far_gb_per_s: 10.0,
                    ..quiet
                },
            ),
            (
                "kept 30 % of the speed of one",
                Rulers {
                    one_thread_fma_gops: 50.0 / 0.3,
                    ..quiet
                },
            ),
        ];
        for (expected, busy) in cases {
            for found in [unrest(&quiet, &busy), unrest(&busy, &quiet)] {
                let found = found.unwrap_or_default();
                assert!(
                    found.contains(expected),
                    "expected {expected:?} in {found:?}"
                );
            }
        }
        assert_eq!(quiet.best(&cases_of_half(quiet)).fma_gops, quiet.fma_gops);
    }

    fn cases_of_half(rulers: Rulers) -> Rulers {
        Rulers {
            fma_gops: rulers.fma_gops / 2.0,
            ..rulers
        }
    }
}
