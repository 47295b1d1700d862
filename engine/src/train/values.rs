//! Plain values into tensors and back, for operations of our own.

use candle_core::{CpuStorage, Device, Layout, Result, Shape, Tensor, Var, bail};

/// The values of a contiguous f32 storage.
pub(super) fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("an operation on weights needs contiguous tensors"),
    }
}

/// All values, row-major.
pub(super) fn values_of(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}

/// A constant.
pub(super) fn constant(values: Vec<f32>, shape: impl Into<Shape>) -> Result<Tensor> {
    Tensor::from_vec(values, shape.into(), &Device::Cpu)
}

/// A variable that starts at `values`.
pub(super) fn variable(values: Vec<f32>, shape: impl Into<Shape>) -> Result<Var> {
    Var::from_tensor(&constant(values, shape)?)
}
