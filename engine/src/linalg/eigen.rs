//! Eigenvalues and eigenvectors of symmetric matrices, in f64.
//!
//! Householder's reflections make the matrix tridiagonal, implicit QL steps make it diagonal (Bowdler, Martin, Reinsch and
//! Wilkinson 1968, Handbook II/3); rotations are gathered and then applied to panels of lanes, so that vectors pass the
//! cache seldom. Split by order alone: the same bits at any thread count.

use crate::kernels::transpose;
use crate::monitor::{Monitor, Stopped};
use rayon::prelude::*;

/// Values of a row that one task takes: shorter rows are not worth a task.
const PARALLEL_FROM: usize = 192;
/// Lanes of a panel of eigenvectors.
const PANEL: usize = 64;
/// Rotations gathered before panels are turned.
const BATCH: usize = 1 << 16;
/// QL steps for one eigenvalue; two or three are the rule.
const MOST_STEPS: usize = 100;

/// Eigenvalues and vectors, the largest value first.
#[derive(Debug, Clone, PartialEq)]
pub struct Eigen {
    /// Falling.
    pub values: Vec<f64>,
    /// One vector per row, `[order, order]` row-major, orthonormal.
    pub vectors: Vec<f64>,
}

/// Eigenvalues and eigenvectors of the symmetric `matrix` (row-major `[order, order]`, both triangles set, finite).
///
/// # Panics
/// If the length does not fit the order.
pub fn symmetric_eigen(
    matrix: Vec<f64>,
    order: usize,
    monitor: &dyn Monitor,
) -> Result<Eigen, Stopped> {
    let (mut tridiagonal, reflections) = tridiagonal(matrix, order, monitor)?;
    let mut vectors = Panels::identity(order);
    for reflection in reflections.iter().rev() {
        vectors.reflect(reflection);
    }
    vectors.turn_columns(order);
    tridiagonal.diagonalize(monitor, |rotations| vectors.rotate(rotations))?;
    let mut by_size: Vec<usize> = (0..order).collect();
    let values = &tridiagonal.diagonal;
    by_size.sort_by(|&left, &right| values[right].total_cmp(&values[left]));
    Ok(Eigen {
        values: by_size.iter().map(|&index| values[index]).collect(),
        vectors: vectors.rows(&by_size),
    })
}

/// Eigenvalues alone, falling: far less work.
///
/// # Panics
/// If the length does not fit the order.
pub fn symmetric_eigenvalues(
    matrix: Vec<f64>,
    order: usize,
    monitor: &dyn Monitor,
) -> Result<Vec<f64>, Stopped> {
    let (mut tridiagonal, _) = tridiagonal(matrix, order, monitor)?;
    tridiagonal.diagonalize(monitor, |_| {})?;
    let mut values = tridiagonal.diagonal;
    values.sort_by(|left, right| right.total_cmp(left));
    Ok(values)
}

/// `I - scale v vᵀ` on the last values of a vector, `v` as long as those.
struct Reflection {
    vector: Vec<f64>,
    scale: f64,
}

impl Reflection {
    /// The reflection that turns `column` into a multiple of the first axis, and that multiple.
    fn of(column: &[f64]) -> (Self, f64) {
        let largest = column
            .iter()
            .fold(0.0, |largest: f64, value| largest.max(value.abs()));
        let mut vector = column.to_vec();
        let tail = column[1..].iter().all(|&value| value == 0.0);
        if tail {
            let head = column[0];
            return (Self { vector, scale: 0.0 }, head);
        }
        vector.iter_mut().for_each(|value| *value /= largest);
        let norm = dot(&vector, &vector).sqrt();
        let head = -norm.copysign(vector[0]);
        vector[0] -= head;
        let scale = 2.0 / dot(&vector, &vector);
        (Self { vector, scale }, head * largest)
    }
}

/// A symmetric tridiagonal matrix.
struct Tridiagonal {
    diagonal: Vec<f64>,
    /// `[i]` stands between `i` and `i + 1`; the last is 0.
    beside: Vec<f64>,
}

/// The tridiagonal form of a matrix, and the reflections that made it, first to last.
fn tridiagonal(
    mut matrix: Vec<f64>,
    order: usize,
    monitor: &dyn Monitor,
) -> Result<(Tridiagonal, Vec<Reflection>), Stopped> {
    assert_eq!(matrix.len(), order * order, "a matrix of order {order}");
    let mut form = Tridiagonal {
        diagonal: vec![0.0; order],
        beside: vec![0.0; order],
    };
    let mut reflections = Vec::with_capacity(order.saturating_sub(2));
    for step in 0..order {
        monitor.check()?;
        form.diagonal[step] = matrix[step * order + step];
        let rest = step + 1;
        if rest == order {
            break;
        }
        if rest + 1 == order {
            form.beside[step] = matrix[step * order + rest];
            continue;
        }
        let (reflection, beside) = Reflection::of(&matrix[step * order + rest..rest * order]);
        form.beside[step] = beside;
        if reflection.scale != 0.0 {
            reflect_both_sides(&mut matrix[rest * order..], order, &reflection);
        }
        reflections.push(reflection);
    }
    Ok((form, reflections))
}

/// `A <- P A P` for the trailing block, whose rows are `order` values apart and end with it.
fn reflect_both_sides(rows: &mut [f64], order: usize, reflection: &Reflection) {
    let Reflection { vector, scale } = reflection;
    let size = vector.len();
    let product = |row: &[f64]| scale * dot(&row[order - size..], vector);
    let mut pull: Vec<f64> = if size >= PARALLEL_FROM {
        rows.par_chunks_exact(order).map(product).collect()
    } else {
        rows.chunks_exact(order).map(product).collect()
    };
    let share = 0.5 * scale * dot(&pull, vector);
    for (pull, value) in pull.iter_mut().zip(vector) {
        *pull -= share * value;
    }
    let update = |(row, (own, own_pull)): (&mut [f64], (&f64, &f64))| {
        let pairs = vector.iter().zip(&pull);
        for (value, (other, other_pull)) in row[order - size..].iter_mut().zip(pairs) {
            *value -= own * other_pull + own_pull * other;
        }
    };
    if size >= PARALLEL_FROM {
        let factors = vector.par_iter().zip(&pull);
        rows.par_chunks_exact_mut(order)
            .zip(factors)
            .for_each(update);
    } else {
        let factors = vector.iter().zip(&pull);
        rows.chunks_exact_mut(order).zip(factors).for_each(update);
    }
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    /// Sums side by side, so that none waits for another.
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (left, left_tail) = left.as_chunks::<LANES>();
    let (right, right_tail) = right.as_chunks::<LANES>();
    for (left, right) in left.iter().zip(right) {
        for lane in 0..LANES {
            sums[lane] += left[lane] * right[lane];
        }
    }
    let tail = left_tail.iter().zip(right_tail).map(|(a, b)| a * b);
    sums.iter().sum::<f64>() + tail.sum::<f64>()
}

/// Turns the vectors `index` and `index + 1` into each other.
#[derive(Debug, Clone, Copy)]
struct Rotation {
    index: usize,
    cosine: f64,
    sine: f64,
}

impl Tridiagonal {
    /// Implicit QL steps until nothing stands beside the diagonal. `turn` gets rotations in order, in batches.
    fn diagonalize(
        &mut self,
        monitor: &dyn Monitor,
        mut turn: impl FnMut(&[Rotation]),
    ) -> Result<(), Stopped> {
        let order = self.diagonal.len();
        let mut rotations = Vec::new();
        for index in 0..order {
            for _ in 0..MOST_STEPS {
                let end = self.end_of_block(index);
                if end == index {
                    break;
                }
                self.step(index, end, &mut rotations);
                if rotations.len() >= BATCH {
                    monitor.check()?;
                    turn(&rotations);
                    rotations.clear();
                }
            }
        }
        turn(&rotations);
        Ok(())
    }

    /// The first index from `start` that nothing ties to the next.
    fn end_of_block(&self, start: usize) -> usize {
        let last = self.diagonal.len() - 1;
        (start..last)
            .find(|&index| {
                let sizes = self.diagonal[index].abs() + self.diagonal[index + 1].abs();
                self.beside[index].abs() <= f64::EPSILON * sizes
            })
            .unwrap_or(last)
    }

    /// One step from `end` up to `start`, with Wilkinson's shift.
    fn step(&mut self, start: usize, end: usize, rotations: &mut Vec<Rotation>) {
        let (diagonal, beside) = (&mut self.diagonal, &mut self.beside);
        let half = (diagonal[start + 1] - diagonal[start]) / (2.0 * beside[start]);
        let root = half.hypot(1.0).copysign(half);
        let mut g = diagonal[end] - diagonal[start] + beside[start] / (half + root);
        let (mut sine, mut cosine, mut shift) = (1.0, 1.0, 0.0);
        for index in (start..end).rev() {
            let f = sine * beside[index];
            let b = cosine * beside[index];
            let length = f.hypot(g);
            beside[index + 1] = length;
            if length == 0.0 {
                diagonal[index + 1] -= shift;
                beside[end] = 0.0;
                return;
            }
            (sine, cosine) = (f / length, g / length);
            g = diagonal[index + 1] - shift;
            let r = (diagonal[index] - g) * sine + 2.0 * cosine * b;
            shift = sine * r;
            diagonal[index + 1] = g + shift;
            g = cosine * r - b;
            rotations.push(Rotation {
                index,
                cosine,
                sine,
            });
        }
        diagonal[start] -= shift;
        beside[start] = g;
        beside[end] = 0.0;
    }
}

/// A square matrix in panels of lanes: `panel[row][lane]`.
struct Panels {
    order: usize,
    panels: Vec<Vec<f64>>,
}

impl Panels {
    fn identity(order: usize) -> Self {
        let panels = (0..order).step_by(PANEL).map(|first| {
            let mut panel = vec![0.0; order * PANEL];
            for lane in 0..PANEL.min(order - first) {
                panel[(first + lane) * PANEL + lane] = 1.0;
            }
            panel
        });
        Self {
            order,
            panels: panels.collect(),
        }
    }

    /// Applies a reflection of the last rows from the left.
    fn reflect(&mut self, reflection: &Reflection) {
        let Reflection { vector, scale } = reflection;
        let first = self.order - vector.len();
        self.panels.par_iter_mut().for_each(|panel| {
            let rows = &mut panel[first * PANEL..];
            let mut sums = [0.0; PANEL];
            for (row, value) in rows.as_chunks::<PANEL>().0.iter().zip(vector) {
                for lane in 0..PANEL {
                    sums[lane] += value * row[lane];
                }
            }
            for (row, value) in rows.as_chunks_mut::<PANEL>().0.iter_mut().zip(vector) {
                let share = scale * value;
                for lane in 0..PANEL {
                    row[lane] -= share * sums[lane];
                }
            }
        });
    }

    /// Rows become columns.
    fn turn_columns(&mut self, order: usize) {
        let mut full = vec![0.0; order * order];
        self.write(&mut full);
        let panels = (0..order).step_by(PANEL).map(|first| {
            let lanes = PANEL.min(order - first);
            let mut panel = vec![0.0; order * PANEL];
            transpose(
                &mut panel,
                PANEL,
                &full[first * order..],
                order,
                lanes,
                order,
            );
            panel
        });
        self.panels = panels.collect();
    }

    fn write(&self, full: &mut [f64]) {
        for (index, panel) in self.panels.iter().enumerate() {
            let first = index * PANEL;
            let lanes = PANEL.min(self.order - first);
            let rows = full.chunks_exact_mut(self.order);
            for (row, line) in rows.zip(panel.chunks_exact(PANEL)) {
                row[first..first + lanes].copy_from_slice(&line[..lanes]);
            }
        }
    }

    fn rotate(&mut self, rotations: &[Rotation]) {
        self.panels.par_iter_mut().for_each(|panel| {
            for rotation in rotations {
                let pair = &mut panel[rotation.index * PANEL..(rotation.index + 2) * PANEL];
                let (upper, lower) = pair.split_at_mut(PANEL);
                for (upper, lower) in upper.iter_mut().zip(lower) {
                    let below = *lower;
                    *lower = rotation.sine * *upper + rotation.cosine * below;
                    *upper = rotation.cosine * *upper - rotation.sine * below;
                }
            }
        });
    }

    /// Rows in the given order, row-major.
    fn rows(&self, order: &[usize]) -> Vec<f64> {
        let mut full = vec![0.0; self.order * self.order];
        self.write(&mut full);
        let rows = order
            .iter()
            .flat_map(|&row| &full[row * self.order..(row + 1) * self.order]);
        rows.copied().collect()
    }
}

#[cfg(test)]
mod tests;
