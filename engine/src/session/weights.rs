//! A layer's weights as previews and inspectors want them: whole, or some rows.
//!
//! Always `[out, in]` in f32, however they are stored. Knows no solver.

use super::{Session, SessionError};
use crate::model::LayerInfo;
use crate::tensor::Matrix;

impl Session {
    /// All weights of one layer, `[out, in]`.
    pub fn read_layer(&self, layer: usize) -> Result<Matrix, SessionError> {
        let info = self.layer(layer)?;
        self.install(|| Ok(info.read(self.checkpoint.as_ref())?))
    }

    /// `rows` (outputs) of one layer, in the order asked, `[rows.len(), in]`.
    ///
    /// Only the bytes of these rows are read, unless the layer is stored `[in, out]` or packed: then it is read as a whole.
    pub fn read_rows(&self, layer: usize, rows: &[usize]) -> Result<Matrix, SessionError> {
        let info = self.layer(layer)?;
        if let Some(row) = rows.iter().find(|&&row| row >= info.rows) {
            let problem = format!(
                "layer {} has {} rows, and row {row} was asked for",
                info.name, info.rows
            );
            return Err(self.input_problem(&problem));
        }
        let values = if info.transposed {
            let whole = self.read_layer(layer)?;
            rows.iter()
                .flat_map(|&row| whole.row(row))
                .copied()
                .collect()
        } else if self.checkpoint.is_packed(&info.tensor) {
            self.install(|| self.checkpoint.read_rows(&info.tensor, rows))?
        } else {
            self.checkpoint.read_rows(&info.tensor, rows)?
        };
        Ok(Matrix::new(rows.len(), info.columns, values))
    }

    /// One entry of `layers`.
    fn layer(&self, layer: usize) -> Result<&LayerInfo, SessionError> {
        self.layers.get(layer).ok_or_else(|| {
            let count = self.layers.len();
            self.input_problem(&format!(
                "the model has {count} layers, and layer {layer} was asked for; open the model again"
            ))
        })
    }
}
