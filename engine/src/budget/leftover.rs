//! Assignments between two points of the front: what to change at the lower one to use the bytes that it leaves.
//!
//! On the way from a point to the next, `gain` losses are saved for each byte. A change of one item that takes `bytes`
//! more and lowers the loss by less than `gain · bytes` lags behind the hull by its *excess*, `loss + gain · bytes >= 0`.
//! Excesses add up, and an assignment is better than a known one only if its excess is below that one's distance from
//! the hull: the *gap*. Dynamic programming over the items, those with the smallest excess first, keeps states (bytes,
//! loss) that no other state beats and whose excess is below the gap, and narrows the gap as it finds states. It ends
//! when no item left has a change below the gap: then every state is an optimum for its bytes.
//!
//! Bytes are exact, never rounded into buckets. Where states would grow beyond `WORK` in all, those with the largest
//! excess are dropped, and once it is spent the items still to come keep what they have. All this depends on the two
//! points and not on the budget between them, so a larger budget finds every state that a smaller one finds, and has
//! never a larger loss. Knows no items but through `Front`.

use super::front::Front;

/// States that one search may make: some milliseconds. Fifty items of 19 choices need fewer as a rule.
const WORK: usize = 150_000;
/// States that an item may begin with, however many items are left.
const FEWEST_STATES: usize = 64;
/// What rounding may do to an excess, as a share of the widest gap.
const SLACK: f64 = 1e-9;

/// What a search found.
#[derive(Debug)]
pub(super) struct Found {
    /// By rising bytes and falling loss, both against the lower point.
    states: Vec<State>,
    trail: Vec<Mark>,
}

/// An assignment, by how it differs from the lower point.
#[derive(Debug, Clone, Copy)]
struct State {
    bytes: i64,
    loss: f64,
    /// Its last change, as an index into the trail; `START` = none.
    last: u32,
}

/// No change.
const START: u32 = u32::MAX;

/// One change of a state, and the one before it.
#[derive(Debug, Clone, Copy)]
struct Mark {
    before: u32,
    item: usize,
    to: usize,
}

/// A change of one item.
#[derive(Debug, Clone, Copy)]
struct Change {
    /// Index into all kept choices.
    to: usize,
    bytes: i64,
    loss: f64,
    excess: f64,
}

/// The changes of one item, the smallest excess first.
#[derive(Debug)]
struct Core {
    item: usize,
    changes: Vec<Change>,
    /// Fewest and most bytes by which this item and those after it can change.
    reach: (i64, i64),
}

impl Found {
    /// The changes (item, kept choice) that make the best of `room` bytes above the lower point.
    pub(super) fn changes(&self, room: u64) -> Vec<(usize, usize)> {
        let fits = |state: &State| i64::try_from(room).is_ok_and(|room| state.bytes > room);
        let above = self.states.iter().position(fits);
        let best = self.states[..above.unwrap_or(self.states.len())].last();
        let mut changes = Vec::new();
        let better = best.filter(|best| best.loss < 0.0);
        let mut last = better.map_or(START, |best| best.last);
        while last != START {
            let mark = self.trail[last as usize];
            changes.push((mark.item, mark.to));
            last = mark.before;
        }
        changes
    }
}

/// Searches the assignments between point `point`, at which each item has the choice in `kept`, and the next.
pub(super) fn search(front: &Front, point: usize, kept: &[usize]) -> Found {
    let mut search = Search::new(front, point, kept);
    let cores = search.cores(front, kept);
    let mut work = WORK;
    for (place, core) in cores.iter().enumerate() {
        let open = cores[place..].partition_point(|core| search.is_open(core.changes[0].excess));
        if open == 0 || work == 0 {
            break;
        }
        let states = work / open / (core.changes.len() + 1);
        search.thin(states.max(FEWEST_STATES));
        let after = cores.get(place + 1).map_or((0, 0), |next| next.reach);
        work = work.saturating_sub(search.extend(core, after));
        search.narrow();
    }
    search.found
}

/// A search under way.
struct Search {
    found: Found,
    gain: f64,
    /// Bytes from the lower point to the next.
    width: i64,
    gap: f64,
    slack: f64,
}

impl Search {
    fn new(front: &Front, point: usize, kept: &[usize]) -> Self {
        let gain = front.gain_after(point).unwrap_or(0.0);
        let points = front.points();
        let next = points.get(point + 1).unwrap_or(&points[point]);
        let width = (next.bytes - points[point].bytes) as i64;
        let start = State {
            bytes: 0,
            loss: 0.0,
            last: START,
        };
        let mut search = Self {
            found: Found {
                states: vec![start],
                trail: Vec::new(),
            },
            gain,
            width,
            gap: gain * width as f64,
            slack: SLACK * gain * width as f64,
        };
        let mut alone: Vec<(i64, f64)> = (0..kept.len())
            .flat_map(|item| search.changes(front, item, kept[item]))
            .filter(|change| change.bytes >= 0)
            .map(|change| (change.bytes, change.loss))
            .collect();
        alone.sort_by(|left, right| left.0.cmp(&right.0).then(left.1.total_cmp(&right.1)));
        search.gap = search.widest_gap(alone.into_iter());
        search
    }

    /// Whether a change of this excess may lead to something better than is known.
    fn is_open(&self, excess: f64) -> bool {
        excess < self.gap + self.slack
    }

    /// Changes of an item that are open.
    fn changes<'a>(
        &'a self,
        front: &'a Front,
        item: usize,
        now: usize,
    ) -> impl Iterator<Item = Change> + 'a {
        let (first, kept) = front.kept_of(item);
        let base = kept[now - first];
        let all = (first..).zip(kept).filter(move |(to, _)| *to != now);
        let changes = all.map(move |(to, kept)| {
            let bytes = kept.bytes as i64 - base.bytes as i64;
            let loss = kept.loss - base.loss;
            Change {
                to,
                bytes,
                loss,
                excess: self.excess(bytes, loss),
            }
        });
        changes.filter(|change| self.is_open(change.excess))
    }

    /// How far a difference lies above the hull.
    fn excess(&self, bytes: i64, loss: f64) -> f64 {
        (loss + self.gain * bytes as f64).max(0.0)
    }

    /// The items with open changes, the smallest excess first.
    fn cores(&self, front: &Front, kept: &[usize]) -> Vec<Core> {
        let core = |item: usize| {
            let mut changes: Vec<Change> = self.changes(front, item, kept[item]).collect();
            changes.sort_by(|left, right| left.excess.total_cmp(&right.excess));
            Core {
                item,
                changes,
                reach: (0, 0),
            }
        };
        let mut cores: Vec<Core> = (0..kept.len())
            .map(core)
            .filter(|core| !core.changes.is_empty())
            .collect();
        cores.sort_by(|left, right| {
            let excess = |core: &Core| core.changes[0].excess;
            excess(left).total_cmp(&excess(right))
        });
        let mut reach = (0, 0);
        for core in cores.iter_mut().rev() {
            let bytes = || core.changes.iter().map(|change| change.bytes);
            reach.0 += bytes().min().map_or(0, |fewest| fewest.min(0));
            reach.1 += bytes().max().map_or(0, |most| most.max(0));
            core.reach = reach;
        }
        cores
    }

    /// Adds the states in which an item changes; returns how many it made. `after` is what later items can do.
    fn extend(&mut self, core: &Core, after: (i64, i64)) -> usize {
        let states = std::mem::take(&mut self.found.states);
        let mut made: Vec<(State, Option<usize>)> =
            states.iter().map(|&state| (state, None)).collect();
        for (index, change) in core.changes.iter().enumerate() {
            if !self.is_open(change.excess) {
                break;
            }
            made.extend(states.iter().filter_map(|state| {
                let bytes = state.bytes + change.bytes;
                let loss = state.loss + change.loss;
                let comes_back = bytes + after.0 <= self.width && bytes + after.1 >= 0;
                let last = state.last;
                (comes_back && self.is_open(self.excess(bytes, loss)))
                    .then_some((State { bytes, loss, last }, Some(index)))
            }));
        }
        // Runs that are sorted already: a merge.
        made.sort_by(|(left, _), (right, _)| {
            left.bytes
                .cmp(&right.bytes)
                .then(left.loss.total_cmp(&right.loss))
        });
        let count = made.len();
        let mut least = f64::INFINITY;
        for (mut state, change) in made {
            if state.loss >= least {
                continue;
            }
            least = state.loss;
            if let Some(change) = change {
                let to = core.changes[change].to;
                state.last = self.mark(state.last, core.item, to);
            }
            self.found.states.push(state);
        }
        count
    }

    fn mark(&mut self, before: u32, item: usize, to: usize) -> u32 {
        let place = u32::try_from(self.found.trail.len()).expect("work is limited to far fewer");
        self.found.trail.push(Mark { before, item, to });
        place
    }

    /// Narrows the gap to what the states leave open, and drops states beyond it.
    fn narrow(&mut self) {
        let inside = self.found.states.iter().filter(|state| state.bytes >= 0);
        let inside = inside.map(|state| (state.bytes, state.loss));
        self.gap = self.gap.min(self.widest_gap(inside));
        let mut states = std::mem::take(&mut self.found.states);
        states.retain(|state| self.is_open(self.excess(state.bytes, state.loss)));
        self.found.states = states;
    }

    /// The largest distance of the best of `known` (bytes, loss), by rising bytes, from the hull, at any budget between
    /// the two points.
    fn widest_gap(&self, known: impl Iterator<Item = (i64, f64)>) -> f64 {
        let (mut widest, mut best) = (0.0_f64, 0.0_f64);
        for (bytes, loss) in known.take_while(|known| known.0 < self.width) {
            if loss < best {
                widest = widest.max(self.excess(bytes, best));
                best = loss;
            }
        }
        widest.max(self.excess(self.width, best))
    }

    /// Keeps no more than `most` states: those nearest to the hull and, of equally near ones, to the interval.
    fn thin(&mut self, most: usize) {
        let states = &self.found.states;
        if states.len() <= most {
            return;
        }
        let mut ranks: Vec<(f64, i64, usize)> = states
            .iter()
            .enumerate()
            .map(|(place, state)| {
                let outside = (-state.bytes).max(state.bytes - self.width).max(0);
                (self.excess(state.bytes, state.loss), outside, place)
            })
            .collect();
        ranks.select_nth_unstable_by(most, |left, right| {
            let tie = (left.1, left.2).cmp(&(right.1, right.2));
            left.0.total_cmp(&right.0).then(tie)
        });
        ranks.truncate(most);
        ranks.sort_unstable_by_key(|rank| rank.2);
        self.found.states = ranks.iter().map(|rank| states[rank.2]).collect();
    }
}
