//! Rows become columns, a cache-sized tile at a time.

/// Edge of a tile: two tiles of f32 fill a quarter of the smallest first-level cache.
const TILE: usize = 32;

/// `target[column * target_stride + row] = source[row * source_stride + column]`, on this thread.
///
/// # Panics
/// If a slice is too short for its shape.
pub fn transpose<T: Copy>(
    target: &mut [T],
    target_stride: usize,
    source: &[T],
    source_stride: usize,
    rows: usize,
    columns: usize,
) {
    for first_row in (0..rows).step_by(TILE) {
        let end_row = (first_row + TILE).min(rows);
        for first_column in (0..columns).step_by(TILE) {
            for column in first_column..(first_column + TILE).min(columns) {
                let line = &mut target[column * target_stride..][first_row..end_row];
                let from = &source[first_row * source_stride + column..];
                for (value, from) in line
                    .iter_mut()
                    .zip(from.iter().step_by(source_stride.max(1)))
                {
                    *value = *from;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_moves_around_tile_edges() {
        for (rows, columns) in [(1, 1), (31, 33), (32, 32), (65, 3), (1, 70)] {
            let source: Vec<usize> = (0..rows * (columns + 2)).collect();
            let mut target = vec![usize::MAX; columns * (rows + 1)];
            transpose(&mut target, rows + 1, &source, columns + 2, rows, columns);
            for row in 0..rows {
                for column in 0..columns {
                    let found = target[column * (rows + 1) + row];
                    assert_eq!(found, row * (columns + 2) + column, "({row}, {column})");
                }
            }
        }
    }
}
