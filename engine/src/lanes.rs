//! Independent jobs side by side, at most `lanes` of them at any moment.
//!
//! A plain parallel iterator would not do: a thread that waits for a matrix product inside one job would start the next
//! job meanwhile, and more of them would be in memory than planned. Here each thread of the pool runs one lane, which
//! takes jobs in index order; waiting threads help with products only.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// `job(0)`, …, `job(count - 1)`, in index order. After an error no further job starts; the one of lowest index that
/// was met is returned.
pub fn run_in_lanes<T: Send, E: Send>(
    lanes: usize,
    count: usize,
    job: impl Fn(usize) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let done: Mutex<Vec<(usize, Result<T, E>)>> = Mutex::new(Vec::with_capacity(count));
    rayon::broadcast(|thread| {
        if thread.index() >= lanes.max(1) {
            return;
        }
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return;
            }
            let outcome = job(index);
            failed.fetch_or(outcome.is_err(), Ordering::Relaxed);
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.push((index, outcome));
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stand_in_index_order() {
        let squares = run_in_lanes(3, 100, |index| Ok::<_, ()>(index * index));
        let expected: Vec<usize> = (0..100).map(|index| index * index).collect();
        assert_eq!(squares, Ok(expected));
        assert_eq!(run_in_lanes(2, 0, Ok::<_, ()>), Ok(vec![]));
    }

    #[test]
    fn an_error_ends_the_work() {
        let started = AtomicUsize::new(0);
        let outcome = run_in_lanes(1, 1000, |index| {
            started.fetch_add(1, Ordering::Relaxed);
            if index < 5 { Ok(()) } else { Err(index) }
        });
        assert_eq!(outcome, Err(5));
        assert_eq!(started.into_inner(), 6, "jobs started on one lane");
    }
}
