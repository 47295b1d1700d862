//! All assignments on the lower convex hull, few bytes first.
//!
//! Of each item, choices that another beats in bytes and loss are dropped; the lower hull of the rest is a chain of steps
//! with falling gain for each byte. All steps of all items, by falling gain, walk the hull of the whole sum. Knows nothing
//! of budgets between two points; see `leftover`.

use super::{Assignment, BudgetError, Choice};

/// Most bytes of an assignment: differences of two must fit `i64`.
const MOST_BYTES: u64 = i64::MAX as u64;

/// A point of the front.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Bytes of all items.
    pub bytes: u64,
    /// Losses of all items.
    pub loss: f64,
}

/// The lower convex hull of all assignments.
#[derive(Debug, Clone)]
pub struct Front {
    /// Choices that are not dominated, item by item; of each item by rising bytes and falling loss.
    kept: Vec<Kept>,
    /// Where each item's begin in `kept`, and the end.
    starts: Vec<usize>,
    /// The way along the hull: step `k` leads from point `k` to point `k + 1`.
    steps: Vec<Step>,
    points: Vec<Point>,
}

/// A choice that is not dominated.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    /// Index among the choices that were handed in.
    choice: usize,
    pub(super) bytes: u64,
    pub(super) loss: f64,
}

/// An item takes its next choice on its hull.
#[derive(Debug, Clone, Copy)]
struct Step {
    item: usize,
    /// Index into `kept`.
    to: usize,
    /// Loss saved for each byte.
    gain: f64,
}

impl Front {
    /// The front of `items`, each with its choices in any order.
    pub fn new(items: &[Vec<Choice>]) -> Result<Self, BudgetError> {
        check(items)?;
        let mut front = Self {
            kept: Vec::with_capacity(items.iter().map(Vec::len).sum()),
            starts: vec![0],
            steps: Vec::new(),
            points: Vec::new(),
        };
        for (item, choices) in items.iter().enumerate() {
            let first = front.kept.len();
            keep(choices, &mut front.kept);
            front.starts.push(front.kept.len());
            hull_steps(item, first, &front.kept, &mut front.steps);
        }
        // Of one item gains fall strictly, so its steps stay in order.
        let by_gain = |left: &Step, right: &Step| right.gain.total_cmp(&left.gain);
        front
            .steps
            .sort_by(|left, right| by_gain(left, right).then(left.item.cmp(&right.item)));
        front.points = front.walk();
        Ok(front)
    }

    /// The points, few bytes first. Bytes rise; losses fall, and never faster than before, but for rounding.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// The assignment of the largest point within `budget_bytes`. No other assignment of so few bytes has less loss.
    pub fn below(&self, budget_bytes: u64) -> Option<Assignment> {
        let point = self.place(budget_bytes)?;
        Some(self.assignment(&self.kept_at(point)))
    }

    /// A loss that no assignment within `budget_bytes` undercuts: the hull, read between its points.
    pub fn bound(&self, budget_bytes: u64) -> Option<f64> {
        let place = self.place(budget_bytes)?;
        let point = self.points[place];
        let gain = self.steps.get(place).map_or(0.0, |step| step.gain);
        Some(point.loss - gain * (budget_bytes - point.bytes) as f64)
    }

    /// Bytes of the smallest assignment.
    pub fn smallest_bytes(&self) -> u64 {
        self.points[0].bytes
    }

    /// Index of the largest point within `budget_bytes`.
    pub(super) fn place(&self, budget_bytes: u64) -> Option<usize> {
        let above = self
            .points
            .partition_point(|point| point.bytes <= budget_bytes);
        above.checked_sub(1)
    }

    /// Loss saved for each byte on the way from a point to the next.
    pub(super) fn gain_after(&self, point: usize) -> Option<f64> {
        self.steps.get(point).map(|step| step.gain)
    }

    /// Choices of an item that are not dominated, and where they begin among all.
    pub(super) fn kept_of(&self, item: usize) -> (usize, &[Kept]) {
        let first = self.starts[item];
        (first, &self.kept[first..self.starts[item + 1]])
    }

    /// For each item, what it has at a point, as an index into all kept choices.
    pub(super) fn kept_at(&self, point: usize) -> Vec<usize> {
        let mut kept = self.starts[..self.starts.len() - 1].to_vec();
        for step in &self.steps[..point] {
            kept[step.item] = step.to;
        }
        kept
    }

    /// The assignment in which each item has the kept choice named.
    pub(super) fn assignment(&self, kept: &[usize]) -> Assignment {
        let chosen = || kept.iter().map(|&index| &self.kept[index]);
        let mut loss = Sum::default();
        chosen().for_each(|kept| loss.add(kept.loss));
        Assignment {
            choices: chosen().map(|kept| kept.choice).collect(),
            bytes: chosen().map(|kept| kept.bytes).sum(),
            loss: loss.value(),
        }
    }

    /// Bytes and loss before the first step and after each.
    fn walk(&self) -> Vec<Point> {
        let mut now = self.kept_at(0);
        let mut bytes: u64 = now.iter().map(|&kept| self.kept[kept].bytes).sum();
        let mut loss = Sum::default();
        now.iter().for_each(|&kept| loss.add(self.kept[kept].loss));
        let mut points = Vec::with_capacity(self.steps.len() + 1);
        points.push(Point {
            bytes,
            loss: loss.value(),
        });
        for step in &self.steps {
            let (from, to) = (self.kept[now[step.item]], self.kept[step.to]);
            now[step.item] = step.to;
            bytes += to.bytes - from.bytes;
            loss.add(to.loss);
            loss.add(-from.loss);
            points.push(Point {
                bytes,
                loss: loss.value(),
            });
        }
        points
    }
}

fn check(items: &[Vec<Choice>]) -> Result<(), BudgetError> {
    let (mut bytes, mut loss) = (0_u64, 0.0);
    for (item, choices) in items.iter().enumerate() {
        let most = choices.iter().map(|choice| choice.bytes).max();
        let most = most.ok_or(BudgetError::NoChoice { item })?;
        let bad = |choice: &Choice| !choice.loss.is_finite() || choice.loss < 0.0;
        if let Some(choice) = choices.iter().position(bad) {
            let loss = choices[choice].loss;
            return Err(BudgetError::BadLoss { item, choice, loss });
        }
        loss += choices.iter().map(|choice| choice.loss).fold(0.0, f64::max);
        bytes = bytes.saturating_add(most);
        if bytes > MOST_BYTES || !loss.is_finite() {
            return Err(BudgetError::TooLarge { item });
        }
    }
    Ok(())
}

/// Appends the choices that no other beats, by rising bytes; of equal ones the first.
fn keep(choices: &[Choice], kept: &mut Vec<Kept>) {
    let first = kept.len();
    kept.extend(choices.iter().enumerate().map(|(choice, of)| Kept {
        choice,
        bytes: of.bytes,
        // No -0.
        loss: of.loss + 0.0,
    }));
    kept[first..].sort_by(|left, right| {
        let by_loss = left.loss.total_cmp(&right.loss);
        left.bytes.cmp(&right.bytes).then(by_loss)
    });
    let mut end = first;
    for index in first..kept.len() {
        if end == first || kept[index].loss < kept[end - 1].loss {
            kept[end] = kept[index];
            end += 1;
        }
    }
    kept.truncate(end);
}

/// Appends the steps along the lower hull of an item's kept choices, which begin at `first`.
fn hull_steps(item: usize, first: usize, kept: &[Kept], steps: &mut Vec<Step>) {
    let begin = steps.len();
    for to in first + 1..kept.len() {
        loop {
            let last = steps[begin..].last();
            let from = last.map_or(first, |step| step.to);
            let gain = gain(&kept[from], &kept[to]);
            if last.is_some_and(|last| last.gain <= gain) {
                steps.pop();
                continue;
            }
            steps.push(Step { item, to, gain });
            break;
        }
    }
}

/// Loss saved for each byte from one kept choice to a larger one.
fn gain(from: &Kept, to: &Kept) -> f64 {
    (from.loss - to.loss) / (to.bytes - from.bytes) as f64
}

/// A sum that keeps what rounding takes from it, so that adding and taking away leaves no trace.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    high: f64,
    low: f64,
}

impl Sum {
    fn add(&mut self, value: f64) {
        let high = self.high + value;
        let back = high - self.high;
        self.low += (self.high - (high - back)) + (value - back);
        self.high = high;
    }

    fn value(&self) -> f64 {
        // What is left of zero after rounding may lie below it.
        (self.high + self.low).max(0.0)
    }
}
