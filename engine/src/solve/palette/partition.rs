//! The best cut of ascending bins into runs: exact k-means in one dimension.
//!
//! `cost(i..j)` is the weighted variance of a run. The best last run of `j` bins begins no earlier than that of `j - 1`,
//! so that each row of the table is filled by halving (Grønlund et al. 2017, arXiv 1701.07204).

/// Weights of one bin.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Bin {
    pub(super) weight: f64,
    sum: f64,
    squares: f64,
}

impl Bin {
    pub(super) fn add(&mut self, value: f64, weight: f64) {
        self.weight += weight;
        self.sum += weight * value;
        self.squares += weight * value * value;
    }

    pub(super) fn join(&mut self, other: Self) {
        self.weight += other.weight;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    fn less(self, other: Self) -> Self {
        Self {
            weight: self.weight - other.weight,
            sum: self.sum - other.sum,
            squares: self.squares - other.squares,
        }
    }

    fn mean(self) -> f64 {
        self.sum / self.weight
    }

    /// Weighted squares around the mean.
    fn cost(self) -> f64 {
        (self.squares - self.sum * self.sum / self.weight).max(0.0)
    }
}

/// The means of the best `count` runs of `bins` (ascending, none empty), ascending; the last repeats where there are fewer
/// bins than levels, and all are 0 where there is none.
pub(super) fn best_levels(bins: &[Bin], count: usize) -> Vec<f64> {
    let runs = count.min(bins.len());
    let mut levels = if runs == 0 {
        vec![0.0]
    } else {
        Table::new(bins).levels(runs)
    };
    let last = levels[levels.len() - 1];
    levels.resize(count, last);
    levels
}

/// Sums before each bin, taken around the mean of all, so that differences keep their digits.
struct Table {
    center: f64,
    before: Vec<Bin>,
}

impl Table {
    fn new(bins: &[Bin]) -> Self {
        let mut all = Bin::default();
        bins.iter().for_each(|&bin| all.join(bin));
        let center = all.mean();
        let mut sum = Bin::default();
        let mut before = vec![sum];
        for bin in bins {
            sum.join(Bin {
                weight: bin.weight,
                sum: bin.sum - center * bin.weight,
                squares: bin.squares - center * (2.0 * bin.sum - center * bin.weight),
            });
            before.push(sum);
        }
        Self { center, before }
    }

    fn run(&self, start: usize, end: usize) -> Bin {
        self.before[end].less(self.before[start])
    }

    fn levels(&self, runs: usize) -> Vec<f64> {
        let bins = self.before.len() - 1;
        // Cost of the best runs of the first bins; with one run, that of all of them.
        let mut costs: Vec<f64> = (0..=bins)
            .map(|end| {
                if end == 0 {
                    0.0
                } else {
                    self.run(0, end).cost()
                }
            })
            .collect();
        let mut starts: Vec<Vec<u32>> = Vec::with_capacity(runs);
        for run in 1..runs {
            let mut row = Row {
                table: self,
                earlier: &costs,
                costs: vec![f64::INFINITY; bins + 1],
                starts: vec![0; bins + 1],
            };
            row.fill(run + 1, bins, run, bins - 1);
            let Row {
                costs: next,
                starts: of_row,
                ..
            } = row;
            costs = next;
            starts.push(of_row);
        }
        let mut levels = vec![0.0; runs];
        let mut end = bins;
        for run in (0..runs).rev() {
            let start = if run == 0 {
                0
            } else {
                starts[run - 1][end] as usize
            };
            // Next to weights of far more importance a run's own may vanish in the difference of sums.
            let mean = self.run(start, end).mean();
            levels[run] = self.center + if mean.is_finite() { mean } else { 0.0 };
            end = start;
        }
        levels.sort_by(f64::total_cmp);
        levels
    }
}

/// One row of the table: the best runs of the first bins, one run more than in the row before.
struct Row<'a> {
    table: &'a Table,
    earlier: &'a [f64],
    costs: Vec<f64>,
    starts: Vec<u32>,
}

impl Row<'_> {
    /// Fills the ends `first..=last`, whose last runs begin within `low..=high`.
    fn fill(&mut self, first: usize, last: usize, low: usize, high: usize) {
        if first > last {
            return;
        }
        let middle = first.midpoint(last);
        let mut best = (f64::INFINITY, low);
        for start in low..=high.min(middle - 1) {
            let cost = self.earlier[start] + self.table.run(start, middle).cost();
            if cost < best.0 {
                best = (cost, start);
            }
        }
        (self.costs[middle], self.starts[middle]) = (best.0, best.1 as u32);
        self.fill(first, middle - 1, low, best.1);
        self.fill(middle + 1, last, best.1, high);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn bin(value: f64, weight: f64) -> Bin {
        let mut bin = Bin::default();
        bin.add(value, weight);
        bin
    }

    /// The least cost of any cut into `runs`, by trying all.
    fn exhaustive(bins: &[Bin], runs: usize) -> f64 {
        let cost = |run: &[Bin]| {
            let mut all = Bin::default();
            run.iter().for_each(|&bin| all.join(bin));
            all.cost()
        };
        if runs == 1 {
            return cost(bins);
        }
        let cuts = 1..=bins.len() + 1 - runs;
        cuts.map(|cut| cost(&bins[..cut]) + exhaustive(&bins[cut..], runs - 1))
            .fold(f64::INFINITY, f64::min)
    }

    fn cost_at(bins: &[Bin], levels: &[f64]) -> f64 {
        let costs = bins.iter().map(|bin| {
            let misses = levels.iter().map(|level| (bin.mean() - level).powi(2));
            bin.weight * misses.fold(f64::INFINITY, f64::min)
        });
        costs.sum()
    }

    #[test]
    fn no_cut_is_better() {
        let mut rng = Rng::new(90, 0);
        for _ in 0..20 {
            let mut values: Vec<f64> = (0..11).map(|_| 5.0 + rng.normal()).collect();
            values.sort_by(f64::total_cmp);
            let bins: Vec<Bin> = values
                .iter()
                .map(|&value| bin(value, 0.1 + rng.uniform()))
                .collect();
            for runs in 1..=5 {
                let levels = best_levels(&bins, runs);
                assert!(levels.is_sorted());
                let (found, best) = (cost_at(&bins, &levels), exhaustive(&bins, runs));
                assert!(
                    (found - best).abs() < 1e-9,
                    "{runs} runs: {found}, best {best}"
                );
            }
        }
    }

    #[test]
    fn fewer_bins_than_levels_are_all_levels() {
        let bins = [bin(-1.0, 2.0), bin(3.0, 1.0)];
        assert_eq!(best_levels(&bins, 4), [-1.0, 3.0, 3.0, 3.0]);
        assert_eq!(best_levels(&[], 4), [0.0; 4]);
    }
}
