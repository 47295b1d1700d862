//! What a slider waits for: the front of 1,000 items with 20 choices each, and the best choice within one budget.

use criterion::{Criterion, criterion_group, criterion_main};
use pare_engine::budget::{Choice, Front, solve};
use pare_engine::rng::Rng;
use std::hint::black_box;

/// Items like layers: shapes repeat, bytes rise by bits, losses fall fourfold with each.
fn items(count: usize, choices: usize) -> Vec<Vec<Choice>> {
    let mut rng = Rng::new(0, 0);
    let mut item = |_| {
        let weights = 64 * 64 * (1 + (rng.uniform() * 12.0) as u64);
        let gain = (3.0 * rng.normal()).exp();
        let choice = |choice: usize| Choice {
            bytes: weights * (8 + 3 * choice as u64) / 32,
            loss: gain * 0.5_f64.powi(choice as i32) * (0.9 + 0.2 * rng.uniform()),
        };
        (0..choices).map(choice).collect()
    };
    (0..count).map(&mut item).collect()
}

fn budgets(criterion: &mut Criterion) {
    for (count, choices) in [(112, 19), (1000, 20)] {
        let items = items(count, choices);
        criterion.bench_function(&format!("front of {count} x {choices}"), |bencher| {
            bencher.iter(|| black_box(Front::new(&items).map(|front| front.points().len())));
        });
        let front = Front::new(&items).expect("losses are finite");
        let points = front.points();
        let (first, last) = (points[0].bytes, points[points.len() - 1].bytes);
        for tenth in [1, 5, 9] {
            let budget_bytes = first + (last - first) / 10 * tenth;
            let name = format!("solve {count} x {choices}, budget {tenth}/10");
            criterion.bench_function(&name, |bencher| {
                bencher.iter(|| black_box(solve(&front, budget_bytes)));
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = budgets
}
criterion_main!(benches);
