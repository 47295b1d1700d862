//! The front and its leftover bytes against all assignments there are, and the laws that hold at any size.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::rng::Rng;
use proptest::prelude::*;

/// Losses are multiples of 1/64, so that sums are exact and equal losses are equal.
fn choice(bytes: u64, sixty_fourths: u32) -> Choice {
    Choice {
        bytes,
        loss: f64::from(sixty_fourths) / 64.0,
    }
}

fn choices(
    most_items: usize,
    most_choices: usize,
    most_bytes: u64,
) -> impl Strategy<Value = Vec<Vec<Choice>>> {
    let choice = (0..most_bytes, 0_u32..2000).prop_map(|(bytes, loss)| choice(bytes, loss));
    let item = prop::collection::vec(choice, 1..=most_choices);
    prop::collection::vec(item, 1..=most_items)
}

/// Layer-like items: bytes rise by bits, losses fall fourfold, shapes repeat.
fn layers(count: usize, options: usize, seed: u64) -> Vec<Vec<Choice>> {
    let mut rng = Rng::new(seed, 0);
    let mut layer = |_| {
        let weights = 64 * 64 * (1 + (rng.uniform() * 12.0) as u64);
        let gain = (3.0 * rng.normal()).exp();
        let option = |option: usize| Choice {
            bytes: weights * (8 + 3 * option as u64) / 32,
            loss: gain * 0.5_f64.powi(option as i32) * (0.9 + 0.2 * rng.uniform()),
        };
        (0..options).map(option).collect()
    };
    (0..count).map(&mut layer).collect()
}

/// Bytes and loss of every assignment.
fn all_assignments(items: &[Vec<Choice>]) -> Vec<(u64, f64)> {
    items.iter().fold(vec![(0, 0.0)], |sums, choices| {
        let with = |&(bytes, loss): &(u64, f64)| {
            choices
                .iter()
                .map(move |choice| (bytes + choice.bytes, loss + choice.loss))
        };
        sums.iter().flat_map(with).collect()
    })
}

fn least_loss(all: &[(u64, f64)], budget_bytes: u64) -> f64 {
    let fitting = all.iter().filter(|(bytes, _)| *bytes <= budget_bytes);
    fitting.map(|(_, loss)| *loss).fold(f64::INFINITY, f64::min)
}

/// Bytes and loss of an assignment, added up again.
fn sums(items: &[Vec<Choice>], assignment: &Assignment) -> (u64, f64) {
    let chosen = items.iter().zip(&assignment.choices);
    chosen.fold((0, 0.0), |(bytes, loss), (choices, &chosen)| {
        (bytes + choices[chosen].bytes, loss + choices[chosen].loss)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn small_problems_are_solved_exactly(items in choices(6, 5, 60), share in 0.0_f64..1.1) {
        let front = Front::new(&items).unwrap();
        let all = all_assignments(&items);
        let largest = all.iter().map(|(bytes, _)| *bytes).max().unwrap();
        let budget_bytes = (largest as f64 * share) as u64;
        let best = least_loss(&all, budget_bytes);
        match solve(&front, budget_bytes) {
            Ok(found) => {
                prop_assert_eq!(sums(&items, &found), (found.bytes, found.loss));
                prop_assert!(found.bytes <= budget_bytes, "{found:?}");
                prop_assert_eq!(found.loss, best);
                prop_assert!(front.bound(budget_bytes).unwrap() <= best + 1e-9);
            }
            Err(error) => {
                prop_assert_eq!(best, f64::INFINITY);
                let smallest_bytes = all.iter().map(|(bytes, _)| *bytes).min().unwrap();
                prop_assert_eq!(error, BudgetError::TooSmall { budget_bytes, smallest_bytes });
            }
        }
    }

    #[test]
    fn the_front_is_the_hull_of_all_assignments(items in choices(5, 5, 60)) {
        let front = Front::new(&items).unwrap();
        let all = all_assignments(&items);
        let points = front.points();
        for pair in points.windows(2) {
            prop_assert!(pair[0].bytes < pair[1].bytes && pair[0].loss > pair[1].loss, "{pair:?}");
        }
        for [left, middle, right] in points.array_windows() {
            let gain = |from: &Point, to: &Point| (from.loss - to.loss) / (to.bytes - from.bytes) as f64;
            prop_assert!(gain(left, middle) >= gain(middle, right) - 1e-12, "{left:?} {middle:?} {right:?}");
        }
        for point in points {
            prop_assert_eq!(least_loss(&all, point.bytes), point.loss);
            let found = front.below(point.bytes).unwrap();
            prop_assert_eq!(sums(&items, &found), (point.bytes, point.loss));
        }
        let smallest = all.iter().map(|(bytes, _)| *bytes).min().unwrap();
        prop_assert_eq!(front.smallest_bytes(), smallest);
        prop_assert_eq!(points.last().unwrap().loss, least_loss(&all, u64::MAX));
        prop_assert!(smallest == 0 || front.below(smallest - 1).is_none());
    }

    #[test]
    fn dominated_and_double_choices_change_nothing(
        items in choices(8, 6, 100_000),
        picks in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..2_u64, 0..2_u32), 0..8),
        share in 0.0_f64..1.0,
    ) {
        let mut more = items.clone();
        for (item, model, bytes, loss) in picks {
            let item = &mut more[item.index(items.len())];
            let model = item[model.index(item.len())];
            item.push(Choice { bytes: model.bytes + bytes, loss: model.loss + f64::from(loss) });
        }
        let (front, larger) = (Front::new(&items).unwrap(), Front::new(&more).unwrap());
        prop_assert_eq!(front.points(), larger.points());
        let (first, last) = (front.points()[0], front.points()[front.points().len() - 1]);
        let budget_bytes = first.bytes + ((last.bytes - first.bytes) as f64 * share) as u64;
        prop_assert_eq!(solve(&front, budget_bytes), solve(&larger, budget_bytes));
    }
}

#[test]
fn larger_budgets_never_lose_at_any_size() {
    for (count, options) in [(3, 19), (40, 19), (1000, 20)] {
        let items = layers(count, options, count as u64);
        let front = Front::new(&items).unwrap();
        let last = front.points().len() - 1;
        for place in [0, last / 3, last / 2, last - 1] {
            let (from, to) = (front.points()[place], front.points()[place + 1]);
            let mut before = from.loss;
            for part in 0..=20 {
                let budget_bytes = from.bytes + (to.bytes - from.bytes) * part / 20;
                let found = solve(&front, budget_bytes).unwrap();
                let row = format!("{count} items, point {place}, part {part}: {found:?}");
                assert!(found.bytes <= budget_bytes, "{row}");
                assert!(
                    found.loss <= before * (1.0 + 1e-14),
                    "{row}, before {before}"
                );
                assert!(
                    found.loss >= front.bound(budget_bytes).unwrap() * (1.0 - 1e-12),
                    "{row}"
                );
                assert_eq!(found, solve(&front, budget_bytes).unwrap(), "{row}");
                before = found.loss;
            }
            assert!(
                before <= to.loss * (1.0 + 1e-14),
                "{count} items, point {place}"
            );
        }
    }
}

#[test]
fn leftover_bytes_close_most_of_the_gap() {
    let items = layers(1000, 20, 7);
    let front = Front::new(&items).unwrap();
    let points = front.points();
    // Bytes are multiples of 384, so a narrow step leaves no choice.
    let middle = points.len() / 2;
    let width = |place: &usize| points[place + 1].bytes - points[*place].bytes;
    let middle = (middle..middle + 50).max_by_key(width).unwrap();
    let budget_bytes = (points[middle].bytes + points[middle + 1].bytes) / 2;
    let bound = front.bound(budget_bytes).unwrap();
    let found = solve(&front, budget_bytes).unwrap();
    let (open, closed) = (
        points[middle].loss - bound,
        points[middle].loss - found.loss,
    );
    assert!(closed > 0.9 * open, "{closed} of {open}");
}

#[test]
fn a_choice_below_the_hull_of_others_is_found() {
    // On the hull: 0 and 100 bytes. 60 bytes hold the second item's middle choice, which no slope reaches.
    let items = vec![
        vec![choice(0, 640), choice(100, 0)],
        vec![choice(0, 64), choice(60, 32), choice(61, 31)],
    ];
    let front = Front::new(&items).unwrap();
    let rows = [
        (59, vec![0, 0]),
        (60, vec![0, 1]),
        (99, vec![0, 2]),
        (100, vec![1, 0]),
    ];
    for (budget_bytes, expected) in rows {
        let found = solve(&front, budget_bytes).unwrap();
        assert_eq!(found.choices, expected, "{budget_bytes} bytes");
    }
}

#[test]
fn wrong_items_are_errors() {
    let fine = vec![choice(1, 1)];
    let with_loss = |loss| vec![fine.clone(), vec![choice(1, 1), Choice { bytes: 1, loss }]];
    let huge = vec![Choice {
        bytes: u64::MAX / 3,
        loss: 0.0,
    }];
    let dear = vec![Choice {
        bytes: 1,
        loss: f64::MAX,
    }];
    let rows = [
        (vec![fine.clone(), vec![]], "item 1 has no choice"),
        (with_loss(f64::NAN), "choice 1 of item 1 has the loss NaN"),
        (with_loss(f64::INFINITY), "the loss inf"),
        (with_loss(-1.0), "the loss -1"),
        (
            vec![huge.clone(), huge],
            "add up to more than numbers hold at item 1",
        ),
        (
            vec![dear.clone(), dear],
            "add up to more than numbers hold at item 1",
        ),
    ];
    for (items, expected) in rows {
        let error = Front::new(&items).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn no_item_takes_no_byte() {
    let front = Front::new(&[]).unwrap();
    let nothing = Assignment {
        choices: vec![],
        bytes: 0,
        loss: 0.0,
    };
    assert_eq!(solve(&front, 0).unwrap(), nothing);
    assert_eq!(
        front.points(),
        [Point {
            bytes: 0,
            loss: 0.0
        }]
    );
}
