//! Plain row-major matrices, tensor descriptions, and where weights come from.
//!
//! Knows no file, container or model: a `WeightSource` is anything that gives a named tensor when asked.
//! Not here: autograd (candle, in `model`) and packed forms (`packed`).

mod dtype;

pub use dtype::{Dtype, ScaleDtype};

use std::fmt;

/// A dense f32 matrix, row-major: element `(row, column)` is `data[row * columns + column]`.
#[derive(Clone, PartialEq, Default)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    data: Vec<f32>,
}

impl Matrix {
    /// Wraps `data` (`rows * columns` values, row-major).
    ///
    /// # Panics
    /// If the length does not fit the shape: a mistake of the caller, never of a file.
    pub fn new(rows: usize, columns: usize, data: Vec<f32>) -> Self {
        assert_eq!(
            data.len(),
            rows * columns,
            "a {rows} x {columns} matrix needs {} values",
            rows * columns
        );
        Self {
            rows,
            columns,
            data,
        }
    }

    /// All zeros.
    pub fn zeros(rows: usize, columns: usize) -> Self {
        Self {
            rows,
            columns,
            data: vec![0.0; rows * columns],
        }
    }

    /// Element by element from a function of `(row, column)`.
    pub fn from_fn(
        rows: usize,
        columns: usize,
        mut value: impl FnMut(usize, usize) -> f32,
    ) -> Self {
        let data = (0..rows * columns)
            .map(|index| value(index / columns, index % columns))
            .collect();
        Self {
            rows,
            columns,
            data,
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// All values, row-major.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// All values, row-major, to change in place.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// The values themselves.
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }

    /// One row.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.data[row * self.columns..(row + 1) * self.columns]
    }

    /// One row, to change in place.
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.data[row * self.columns..(row + 1) * self.columns]
    }

    /// Rows and columns exchanged, in cache-sized tiles.
    pub fn transposed(&self) -> Self {
        const TILE: usize = 32;
        let mut data = vec![0.0; self.data.len()];
        for row_tile in (0..self.rows).step_by(TILE) {
            for column_tile in (0..self.columns).step_by(TILE) {
                for row in row_tile..(row_tile + TILE).min(self.rows) {
                    for column in column_tile..(column_tile + TILE).min(self.columns) {
                        data[column * self.rows + row] = self.data[row * self.columns + column];
                    }
                }
            }
        }
        Self {
            rows: self.columns,
            columns: self.rows,
            data,
        }
    }
}

/// A symmetric matrix `[n, n]`, kept as its upper triangle row by row: row `i` holds columns `i..n`.
#[derive(Clone, PartialEq, Default)]
pub struct Symmetric {
    order: usize,
    upper: Vec<f32>,
}

impl Symmetric {
    /// Number of values in the upper triangle of an `order x order` matrix.
    pub fn stored_len(order: usize) -> usize {
        order * (order + 1) / 2
    }

    /// Wraps an upper triangle of `stored_len(order)` values.
    ///
    /// # Panics
    /// If the length does not fit the order: a mistake of the caller, never of a file.
    pub fn new(order: usize, upper: Vec<f32>) -> Self {
        assert_eq!(
            upper.len(),
            Self::stored_len(order),
            "upper triangle of order {order}"
        );
        Self { order, upper }
    }

    /// `value` on the diagonal, zero elsewhere.
    pub fn scaled_identity(order: usize, value: f32) -> Self {
        let mut upper = vec![0.0; Self::stored_len(order)];
        let mut diagonal = 0;
        for row in 0..order {
            upper[diagonal] = value;
            diagonal += order - row;
        }
        Self { order, upper }
    }

    /// Rows, which are also columns.
    pub fn order(&self) -> usize {
        self.order
    }

    /// The upper triangle, row by row.
    pub fn upper(&self) -> &[f32] {
        &self.upper
    }

    /// Columns `row..order` of one row.
    pub fn upper_row(&self, row: usize) -> &[f32] {
        let start = row * self.order - row * (row.saturating_sub(1)) / 2;
        &self.upper[start..start + self.order - row]
    }

    /// Element `(row, column)`.
    pub fn at(&self, row: usize, column: usize) -> f32 {
        let (low, high) = (row.min(column), row.max(column));
        self.upper_row(low)[high - low]
    }

    /// The diagonal.
    pub fn diagonal(&self) -> Vec<f32> {
        (0..self.order).map(|row| self.upper_row(row)[0]).collect()
    }

    /// All `order x order` values.
    pub fn to_matrix(&self) -> Matrix {
        let mut full = Matrix::zeros(self.order, self.order);
        for row in 0..self.order {
            for (offset, &value) in self.upper_row(row).iter().enumerate() {
                full.data[row * self.order + row + offset] = value;
                full.data[(row + offset) * self.order + row] = value;
            }
        }
        full
    }
}

impl fmt::Debug for Symmetric {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Symmetric[{} x {}]", self.order, self.order)
    }
}

impl fmt::Debug for Matrix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Matrix[{} x {}]", self.rows, self.columns)
    }
}

/// A tensor's description: no data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Element type as stored.
    pub dtype: Dtype,
    /// Dimensions as stored, outermost first.
    pub shape: Vec<usize>,
    /// Bytes as stored (for a packed layer: of all its parts).
    pub size_bytes: u64,
}

impl TensorInfo {
    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.shape
            .iter()
            .map(|&dimension| dimension as u64)
            .product()
    }
}

/// Why a tensor could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No tensor of that name.
    #[error("there is no tensor named {name}")]
    Missing {
        /// The name asked for.
        name: String,
    },
    /// The tensor exists but is not what was asked for.
    #[error("tensor {name} {problem}")]
    Unfit {
        /// The tensor.
        name: String,
        /// What is wrong with it, as the end of a sentence.
        problem: String,
    },
    /// The operating system refused.
    #[error("tensor {name} could not be read: {source}; {path}")]
    Io {
        /// The tensor.
        name: String,
        /// The operating system's word.
        source: std::io::Error,
        /// The file.
        path: String,
    },
}

/// Named tensors, read when asked. Values come as f32 whatever is stored; a packed layer comes dequantized under its
/// dense name (`….weight`).
pub trait WeightSource: Send + Sync {
    /// All tensor names, in the container's order. Parts of packed layers do not appear; their dense name does.
    fn names(&self) -> Vec<String>;

    /// Description from the header alone.
    fn info(&self, name: &str) -> Option<TensorInfo>;

    /// All values as f32, in stored order (row-major over `shape`). Integer tensors are an error.
    fn read_f32(&self, name: &str) -> Result<Vec<f32>, SourceError>;

    /// Stored bytes `[offset, offset + buffer.len())` of the tensor, little-endian. Packed layers give their
    /// dequantized f32 values' bytes.
    fn read_bytes(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError>;

    /// Bytes from `offset` on of a tensor that is stored in blocks of ggml, exactly as they lie in the file.
    fn read_blocks(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<(), SourceError> {
        let _ = (offset, buffer);
        Err(SourceError::Unfit {
            name: name.to_owned(),
            problem: "is not stored in blocks of ggml".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_twice_gives_the_same_matrix() {
        let matrix = Matrix::from_fn(37, 70, |row, column| (row * 100 + column) as f32);
        assert_eq!(matrix.transposed().row(3)[5], matrix.row(5)[3]);
        assert_eq!(matrix.transposed().transposed(), matrix);
    }

    #[test]
    fn symmetric_reads_both_triangles() {
        let symmetric = Symmetric::new(3, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(symmetric.diagonal(), [1.0, 4.0, 6.0]);
        assert_eq!(
            (symmetric.at(0, 2), symmetric.at(2, 0), symmetric.at(2, 1)),
            (3.0, 3.0, 5.0)
        );
        assert_eq!(
            symmetric.to_matrix().data(),
            [1.0, 2.0, 3.0, 2.0, 4.0, 5.0, 3.0, 5.0, 6.0]
        );
        assert_eq!(
            Symmetric::scaled_identity(3, 2.0).to_matrix().data(),
            [2.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 2.0]
        );
    }
}
