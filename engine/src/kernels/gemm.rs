//! Matrix product of strided row-major operands: a safe door to the `gemm` crate.
//!
//! Split over tiles of the result whose edges depend on the shape alone, so one thread and many give the same bits.

use super::Element;
use rayon::prelude::*;

/// Edge of the result's tiles when the product is split over threads: large enough that packing costs little.
const LARGEST_TILE: usize = 512;
/// Below this edge packing costs more than another thread brings.
const SMALLEST_TILE: usize = 128;
/// Tiles that keep several threads busy to the end.
const WANTED_TILES: usize = 8;
/// Rows of a product from which copying its right operand costs less than lines that share sets of the cache.
const WORTH_SPREADING: usize = 128;
/// Lines at a multiple of this many bytes share few sets of the first-level cache: packing 64 of them side by side evicts
/// what it has just read. Products of 1024 columns took 1.6 times as long.
const COLLIDING_BYTES: usize = 1024;
/// What keeps them apart.
const LINES_APART_BYTES: usize = 64;
/// Bytes of lines copied at once.
const SPREAD_BYTES: usize = 16 << 20;

/// A row-major matrix inside a slice: element `(row, column)` is `values[row * stride + column]`.
#[derive(Debug, Clone, Copy)]
pub struct Operand<'a, T> {
    values: &'a [T],
    stride: usize,
    transposed: bool,
}

impl<'a, T> Operand<'a, T> {
    /// The matrix as it lies; `stride` is the distance between rows.
    pub fn new(values: &'a [T], stride: usize) -> Self {
        Self {
            values,
            stride,
            transposed: false,
        }
    }

    /// The transpose of the matrix as it lies.
    pub fn transposed(values: &'a [T], stride: usize) -> Self {
        Self {
            values,
            stride,
            transposed: true,
        }
    }

    /// Distances between neighbouring rows and between neighbouring columns.
    fn strides(&self) -> (usize, usize) {
        if self.transposed {
            (1, self.stride)
        } else {
            (self.stride, 1)
        }
    }

    /// Element `(row, column)`.
    pub(super) fn at(&self, row: usize, column: usize) -> T
    where
        T: Copy,
    {
        let (rows, columns) = self.strides();
        self.values[row * rows + column * columns]
    }

    /// Whether it is read along lines that share sets of the cache.
    fn rows_collide(&self) -> bool
    where
        T: Element,
    {
        self.transposed && (self.stride * size_of::<T>()).is_multiple_of(COLLIDING_BYTES)
    }

    pub(super) fn assert_holds(&self, rows: usize, columns: usize) {
        let (lying_rows, lying_columns) = if self.transposed {
            (columns, rows)
        } else {
            (rows, columns)
        };
        assert_holds(self.values.len(), self.stride, lying_rows, lying_columns);
    }
}

/// How many threads work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// The calling one: for callers that split their own work.
    One,
    /// All of the rayon pool that the caller runs in.
    Pool,
}

/// `output = keep * output + scale * left * right`, with `left` `[m, k]`, `right` `[k, n]` and `shape = [m, n, k]`.
///
/// `output` is `[m, n]` row-major with `output_stride` between rows; `keep = 0` never reads it.
///
/// # Panics
/// If a slice is too short for its shape.
pub fn gemm<T: Element>(
    output: &mut [T],
    output_stride: usize,
    [m, n, k]: [usize; 3],
    (left, right): (Operand<'_, T>, Operand<'_, T>),
    (scale, keep): (T, T),
    threads: Threads,
) {
    left.assert_holds(m, k);
    right.assert_holds(k, n);
    assert_holds(output.len(), output_stride, m, n);
    let target = Target {
        start: output.as_mut_ptr(),
        stride: output_stride,
    };
    let whole = Tile {
        rows: (0, m),
        columns: (0, n),
    };
    if threads == Threads::One {
        // SAFETY: the three slices hold their shapes (asserted above), and `output` is borrowed mutably.
        unsafe { multiply_tile(target, whole, k, left, right, scale, keep) };
        return;
    }
    let tiles = tiles_of(m, n);
    if m >= WORTH_SPREADING && right.rows_collide() {
        // SAFETY: as above.
        return unsafe { multiply_spread(target, tiles, k, (left, right), (scale, keep)) };
    }
    tiles.into_par_iter().for_each(|tile| {
        // SAFETY: as above; tiles of one product do not overlap.
        unsafe { multiply_tile(target, tile, k, left, right, scale, keep) };
    });
}

/// The tiles of a product whose right operand lies in lines that share sets of the cache: lines are copied apart, a few
/// columns of the product at a time. A tile's sums are the same: only the distance between lines is another.
///
/// # Safety
/// As `multiply_tile`, for all `tiles`, which are those of one product and lie row by row.
unsafe fn multiply_spread<T: Element>(
    target: Target<T>,
    tiles: Vec<Tile>,
    k: usize,
    (left, right): (Operand<'_, T>, Operand<'_, T>),
    (scale, keep): (T, T),
) {
    let stride = k + LINES_APART_BYTES / size_of::<T>();
    let at_once = (SPREAD_BYTES / (stride * size_of::<T>())).max(1);
    let mut by_columns = tiles;
    by_columns.sort_by_key(|tile| tile.columns);
    let mut lines = Vec::new();
    let mut rest = &by_columns[..];
    while let Some(first) = rest.first() {
        let first = first.columns.0;
        let reaches = |tile: &Tile| tile.columns.0 == first || tile.columns.1 - first <= at_once;
        let (here, after) = rest.split_at(rest.iter().take_while(|tile| reaches(tile)).count());
        let end = here
            .iter()
            .map(|tile| tile.columns.1)
            .max()
            .unwrap_or(first);
        lines.resize((end - first) * stride, T::ZERO);
        lines
            .par_chunks_mut(stride)
            .enumerate()
            .for_each(|(index, line)| {
                let start = (first + index) * right.stride;
                line[..k].copy_from_slice(&right.values[start..start + k]);
            });
        let spread = Operand::transposed(&lines, stride);
        let target = Target {
            start: target.start.wrapping_add(first),
            ..target
        };
        here.par_iter().for_each(|tile| {
            let tile = Tile {
                columns: (tile.columns.0 - first, tile.columns.1 - first),
                ..*tile
            };
            // SAFETY: the caller's; columns are counted from `first`, where the target begins.
            unsafe { multiply_tile(target, tile, k, left, spread, scale, keep) };
        });
        rest = after;
    }
}

fn assert_holds(len: usize, stride: usize, rows: usize, columns: usize) {
    let fits =
        rows == 0 || columns == 0 || (stride >= columns && len >= (rows - 1) * stride + columns);
    assert!(
        fits,
        "{len} values cannot hold {rows} x {columns} with {stride} between rows"
    );
}

/// Part of a product's result: `(first, end)` of its rows and columns.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    pub(super) rows: (usize, usize),
    pub(super) columns: (usize, usize),
}

/// Tiles of an `m x n` result, chosen from the shape alone.
fn tiles_of(m: usize, n: usize) -> Vec<Tile> {
    let mut edge = LARGEST_TILE;
    while edge > SMALLEST_TILE && m.div_ceil(edge) * n.div_ceil(edge) < WANTED_TILES {
        edge /= 2;
    }
    let cuts = |length: usize| {
        let starts = (0..length).step_by(edge);
        starts.map(move |first| (first, (first + edge).min(length)))
    };
    cuts(m)
        .flat_map(|rows| cuts(n).map(move |columns| Tile { rows, columns }))
        .collect()
}

/// Where the result goes.
pub(super) struct Target<T> {
    pub(super) start: *mut T,
    pub(super) stride: usize,
}

impl<T> Clone for Target<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Target<T> {}

// SAFETY: threads write through the pointer only to tiles that do not overlap, while `gemm` holds the mutable borrow.
unsafe impl<T: Send> Send for Target<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Target<T> {}

/// One tile of the product, on this thread.
///
/// # Safety
/// `target`, `left` and `right` hold the whole product's shapes; nobody else touches this tile of `target`.
pub(super) unsafe fn multiply_tile<T: Element>(
    target: Target<T>,
    tile: Tile,
    k: usize,
    left: Operand<'_, T>,
    right: Operand<'_, T>,
    scale: T,
    keep: T,
) {
    let (m, n) = (tile.rows.1 - tile.rows.0, tile.columns.1 - tile.columns.0);
    if m == 0 || n == 0 {
        return;
    }
    let (left_rows, left_columns) = left.strides();
    let (right_rows, right_columns) = right.strides();
    let output = target
        .start
        .wrapping_add(tile.rows.0 * target.stride + tile.columns.0);
    let left = left.values.as_ptr().wrapping_add(tile.rows.0 * left_rows);
    let right = right
        .values
        .as_ptr()
        .wrapping_add(tile.columns.0 * right_columns);
    // SAFETY: the caller vouches for the shapes; every stride is in elements and fits the slices.
    unsafe {
        ::gemm::gemm(
            m,
            n,
            k,
            output,
            1,
            target.stride as isize,
            keep != T::ZERO,
            left,
            left_columns as isize,
            left_rows as isize,
            right,
            right_columns as isize,
            right_rows as isize,
            keep,
            scale,
            false,
            false,
            false,
            ::gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::reference;

    /// Small integers: every product and sum is exact, so that any order of summing gives the same bits.
    fn integers<T: Element>(len: usize, seed: usize) -> Vec<T> {
        (0..len)
            .map(|index| T::from_f64(((index * 7 + seed * 13) % 11) as f64 - 5.0))
            .collect()
    }

    fn check<T: Element + PartialEq>(m: usize, n: usize, k: usize, transposed: (bool, bool)) {
        let pick = |flag, values, rows: usize, columns: usize| {
            if flag {
                Operand::transposed(values, rows + 3)
            } else {
                Operand::new(values, columns + 3)
            }
        };
        let left = integers::<T>((m + 3) * (k + 3), 1);
        let right = integers::<T>((k + 3) * (n + 3), 2);
        let operands = (
            pick(transposed.0, &left, m, k),
            pick(transposed.1, &right, k, n),
        );
        let start = integers::<T>(m * (n + 2), 3);
        let scales = (T::from_f64(-1.0), T::from_f64(2.0));
        let mut expected = start.clone();
        reference::gemm(&mut expected, n + 2, [m, n, k], operands, scales);
        for threads in [Threads::One, Threads::Pool] {
            let mut found = start.clone();
            gemm(&mut found, n + 2, [m, n, k], operands, scales, threads);
            assert!(
                found == expected,
                "{m} x {n} x {k}, transposed {transposed:?}, {threads:?}"
            );
        }
    }

    #[test]
    fn equals_its_slow_twin_around_tile_edges() {
        let sizes = [
            (1, 1, 1),
            (1, 17, 5),
            (16, 16, 16),
            (17, 15, 33),
            (31, 65, 2),
            (64, 1, 7),
            (130, 70, 129),
        ];
        for (m, n, k) in sizes {
            for transposed in [(false, false), (true, false), (false, true), (true, true)] {
                check::<f32>(m, n, k, transposed);
                check::<f64>(m, n, k, transposed);
            }
        }
    }

    #[test]
    fn equals_its_slow_twin_across_the_split_over_threads() {
        for (m, n, k) in [(127, 130, 9), (511, 30, 9), (512, 513, 3), (1030, 515, 4)] {
            check::<f32>(m, n, k, (false, false));
        }
    }

    #[test]
    fn lines_that_share_sets_of_the_cache_change_no_bit() {
        let (m, n, k, stride) = (WORTH_SPREADING + 3, 530, 200, COLLIDING_BYTES / 4);
        let mut value = 1u32;
        let mut noise = |len: usize| -> Vec<f32> {
            (0..len)
                .map(|_| {
                    value = value.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    value as f32 / u32::MAX as f32 - 0.5
                })
                .collect()
        };
        let (left, right) = (noise(m * k), noise(n * stride));
        let mut apart = vec![0.0f32; n * (stride + 1)];
        for (line, from) in apart.chunks_mut(stride + 1).zip(right.chunks(stride)) {
            line[..stride].copy_from_slice(from);
        }
        let product = |right: &[f32], stride: usize| {
            let mut output = vec![0.0; m * n];
            let operands = (Operand::new(&left, k), Operand::transposed(right, stride));
            gemm(
                &mut output,
                n,
                [m, n, k],
                operands,
                (1.0, 0.0),
                Threads::Pool,
            );
            output
        };
        assert!(product(&right, stride) == product(&apart, stride + 1));
    }

    #[test]
    fn an_empty_sum_only_scales_the_output() {
        let mut output = [1.0f32, 2.0];
        let empty = Operand::new(&[], 0);
        let operands = (empty, Operand::new(&[], 2));
        gemm(
            &mut output,
            2,
            [1, 2, 0],
            operands,
            (1.0, 2.0),
            Threads::One,
        );
        assert_eq!(output, [2.0, 4.0]);
    }

    #[test]
    #[should_panic(expected = "cannot hold")]
    fn a_short_slice_is_refused() {
        let values = [0.0f32; 5];
        let operand = Operand::new(&values, 3);
        gemm(
            &mut [0.0; 4],
            2,
            [2, 2, 3],
            (operand, operand),
            (1.0, 0.0),
            Threads::One,
        );
    }
}
