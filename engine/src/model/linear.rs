//! One matrix product of the network, whatever form its weight is in.
//!
//! Dense in f32, with a gradient; or packed codes that multiply as they are stored, which hand gradients on to their
//! inputs and take none. Knows no names.

use super::around::{Around, PackedProduct, Places};
use super::error::ModelError;
use super::ops::with_floats;
use super::plan::PlannedTensor;
use super::provider::Provider;
use super::watch::Watch;
use crate::kernels::matvec_f32;
use crate::packed::{ActivationPlan, PackedMatrix, multiply_all};
use crate::settings::{ACTIVATION_BLOCKS, Activations};
use crate::solved::Solved;
use crate::tensor::Matrix;
use candle_core::{D, Device, Tensor};
use std::sync::Arc;

/// Inputs up to which weights are better read in place than packed for a matrix product.
const FEW_ROWS: usize = 8;

/// `y = x Wᵀ + b`.
#[derive(Debug, Clone)]
pub enum Linear {
    /// Weight `[out, in]` in f32; may be a transposed view of what is stored.
    Dense {
        /// `[out, in]`.
        weight: Tensor,
        /// `[out]`.
        bias: Option<Tensor>,
    },
    /// Codes that the kernels multiply; they have no gradient themselves.
    Packed {
        /// `[out, in]`.
        matrix: Arc<PackedMatrix>,
        /// What happens to the inputs.
        plan: ActivationPlan,
        /// `[out]`.
        bias: Option<Tensor>,
    },
    /// A layer with something around it.
    Dressed {
        /// The layer.
        inner: Box<Linear>,
        /// What is around it.
        around: Around,
    },
}

impl Linear {
    /// What `provider` holds under the name of `tensor`: codes where it has them.
    pub(super) fn load(
        provider: &dyn Provider,
        tensor: &PlannedTensor,
        bias: Option<Tensor>,
    ) -> Result<Self, ModelError> {
        let inner = Box::new(Self::load_bare(provider, tensor, bias)?);
        Ok(match provider.around(&tensor.name)? {
            Some(around) => Self::Dressed { inner, around },
            None => *inner,
        })
    }

    fn load_bare(
        provider: &dyn Provider,
        tensor: &PlannedTensor,
        bias: Option<Tensor>,
    ) -> Result<Self, ModelError> {
        if let Some((matrix, plan)) = provider.matrix(&tensor.name)? {
            let [rows, columns] = [matrix.rows(), matrix.columns()];
            check_codes(tensor, rows, columns, &plan)?;
            return Ok(Self::Packed { matrix, plan, bias });
        }
        if let Some((solved, plan)) = packed_weight(provider, tensor)? {
            return Ok(Self::packed(&solved, plan, bias));
        }
        let stored = provider.tensor(&tensor.name, &tensor.shape)?;
        let weight = match tensor.transposed {
            // Rows that lie in one piece are read in one go; a variable must stay the tensor that it is.
            true if !stored.track_op() => stored.t()?.contiguous()?,
            true => stored.t()?,
            false => stored,
        };
        Ok(Self::Dense { weight, bias })
    }

    /// Over the codes of a solved layer.
    pub(super) fn packed(solved: &Solved, plan: ActivationPlan, bias: Option<Tensor>) -> Self {
        Self::Packed {
            matrix: Arc::new(PackedMatrix::new(solved)),
            plan,
            bias,
        }
    }

    /// `input` is `[batch, tokens, in]`; gives `[batch, tokens, out]`.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor, ModelError> {
        self.forward_at(input, &Places::default())
    }

    /// The same of an input whose rows lie at `places`.
    fn forward_at(&self, input: &Tensor, places: &Places<'_>) -> Result<Tensor, ModelError> {
        let (weight, bias) = match self {
            Self::Dense { weight, bias } => (weight, bias),
            Self::Packed { .. } => {
                let mut outputs = Self::forward_packed(&[self], input)?;
                return Ok(outputs.remove(0));
            }
            Self::Dressed { inner, around } => {
                return match around {
                    Around::RoundedInputs(rounded) => inner.forward(&rounded.apply(input)?),
                    Around::Adapter(adapter) => {
                        Ok((inner.forward(input)? + adapter.forward(input, places)?)?)
                    }
                };
            }
        };
        let (batch, tokens, _) = input.dims3()?;
        let tracked = [Some(input), Some(weight), bias.as_ref()];
        let tracked = tracked.into_iter().flatten().any(Tensor::track_op);
        if batch * tokens <= FEW_ROWS && !tracked && weight.is_contiguous() {
            return few_rows(input, weight, bias.as_ref());
        }
        product(input, weight, bias.as_ref())
    }

    /// The outputs of several layers that share one input, which is prepared for the kernels once; its rows lie at
    /// `places`.
    pub(super) fn forward_all(
        layers: &[&Self],
        input: &Tensor,
        places: &Places<'_>,
    ) -> Result<Vec<Tensor>, ModelError> {
        if layers
            .iter()
            .all(|layer| matches!(layer, Self::Packed { .. }))
        {
            return Self::forward_packed(layers, input);
        }
        let outputs = layers.iter();
        outputs
            .map(|layer| layer.forward_at(input, places))
            .collect()
    }

    /// The same where all of them are packed.
    fn forward_packed(layers: &[&Self], input: &Tensor) -> Result<Vec<Tensor>, ModelError> {
        let (batch, tokens, width) = input.dims3()?;
        let mut matrices = Vec::with_capacity(layers.len());
        for layer in layers {
            if let Self::Packed { matrix, plan, .. } = layer {
                if matrix.columns() != width {
                    return Err(ModelError::Misuse {
                        problem: format!(
                            "a layer of {} inputs cannot take {width}",
                            matrix.columns()
                        ),
                    });
                }
                matrices.push((matrix.as_ref(), plan));
            }
        }
        if input.track_op() {
            return layers
                .iter()
                .map(|layer| layer.forward_tracked(input))
                .collect();
        }
        let rows = batch * tokens;
        let products = with_floats(input, |input| multiply_all(&matrices, input, rows))?;
        let outputs = layers.iter().zip(products);
        outputs
            .map(|(layer, product)| finished(product, (batch, tokens, layer.rows()?), layer.bias()))
            .collect()
    }

    /// A packed product that hands gradients on.
    fn forward_tracked(&self, input: &Tensor) -> Result<Tensor, ModelError> {
        let Self::Packed { matrix, plan, bias } = self else {
            return self.forward(input);
        };
        let product = input.contiguous()?.apply_op1(PackedProduct {
            matrix: matrix.clone(),
            plan: *plan,
        })?;
        Ok(match bias {
            Some(bias) => product.broadcast_add(bias)?,
            None => product,
        })
    }

    /// As `forward`, with `watch` over the gradients that come back; none goes to the weight.
    pub(super) fn forward_watched(
        &self,
        input: &Tensor,
        watch: &Watch,
    ) -> Result<Tensor, ModelError> {
        match self {
            // As a tracked input is multiplied, however few rows there are.
            Self::Dense { weight, bias } => {
                let output = product(&input.detach(), weight, bias.as_ref())?;
                watch.over(input, &output, weight)
            }
            Self::Packed { .. } | Self::Dressed { .. } => Err(no_watch()),
        }
    }

    /// The weight as plain values, `[out, in]`, whatever stands around it.
    pub fn weights(&self) -> Result<Matrix, ModelError> {
        match self {
            Self::Dense { weight, .. } => matrix_of(weight),
            Self::Packed { matrix, .. } => Ok(matrix.dequantize()),
            Self::Dressed { inner, .. } => inner.weights(),
        }
    }

    /// Replaces the weight by a dense one; the shape stays.
    pub fn set_weights(&mut self, weights: &Matrix) -> Result<(), ModelError> {
        let shape = (weights.rows(), weights.columns());
        self.check_shape(shape)?;
        let weight = Tensor::from_slice(weights.data(), shape, &Device::Cpu)?;
        let bias = self.bias().cloned();
        *self = Self::Dense { weight, bias };
        Ok(())
    }

    /// Replaces the weight by a packed one; shape and bias stay.
    pub fn set_packed(
        &mut self,
        matrix: Arc<PackedMatrix>,
        plan: ActivationPlan,
    ) -> Result<(), ModelError> {
        self.check_shape((matrix.rows(), matrix.columns()))?;
        check_plan(&plan)?;
        let bias = self.bias().cloned();
        *self = Self::Packed { matrix, plan, bias };
        Ok(())
    }

    fn check_shape(&self, shape: (usize, usize)) -> Result<(), ModelError> {
        let own = self.shape()?;
        if own == shape {
            return Ok(());
        }
        Err(ModelError::Misuse {
            problem: format!("a {own:?} weight cannot be replaced by a {shape:?} one"),
        })
    }

    /// Outputs and inputs.
    fn shape(&self) -> Result<(usize, usize), ModelError> {
        Ok(match self {
            Self::Dense { weight, .. } => weight.dims2()?,
            Self::Packed { matrix, .. } => (matrix.rows(), matrix.columns()),
            Self::Dressed { inner, .. } => inner.shape()?,
        })
    }

    /// Outputs.
    fn rows(&self) -> Result<usize, ModelError> {
        Ok(self.shape()?.0)
    }

    pub(super) fn bias(&self) -> Option<&Tensor> {
        match self {
            Self::Dense { bias, .. } | Self::Packed { bias, .. } => bias.as_ref(),
            Self::Dressed { inner, .. } => inner.bias(),
        }
    }

    pub(super) fn set_bias(&mut self, values: Vec<f32>) -> Result<(), ModelError> {
        let bias = match self {
            Self::Dense { bias, .. } | Self::Packed { bias, .. } => bias,
            Self::Dressed { inner, .. } => return inner.set_bias(values),
        };
        let width = values.len();
        *bias = Some(Tensor::from_vec(values, width, &Device::Cpu)?);
        Ok(())
    }
}

/// A dense product of any number of inputs, with a gradient.
fn product(input: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, ModelError> {
    let (batch, tokens, width) = input.dims3()?;
    let product = input
        .reshape((batch * tokens, width))?
        .matmul(&weight.t()?)?;
    let product = match bias {
        Some(bias) => product.broadcast_add(bias)?,
        None => product,
    };
    Ok(product.reshape((batch, tokens, ()))?)
}

/// A dense product of a few inputs, without a gradient.
fn few_rows(input: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, ModelError> {
    let (batch, tokens, columns) = input.dims3()?;
    let (rows, width) = weight.dims2()?;
    if columns != width {
        return Err(ModelError::Misuse {
            problem: format!("a layer of {width} inputs cannot take {columns}"),
        });
    }
    let mut product = vec![0.0; batch * tokens * rows];
    with_floats(input, |input| {
        with_floats(weight, |weight| {
            matvec_f32(&mut product, input, batch * tokens, weight);
        })
    })??;
    finished(product, (batch, tokens, rows), bias)
}

/// A product with the bias added, as a tensor.
fn finished(
    mut product: Vec<f32>,
    shape: (usize, usize, usize),
    bias: Option<&Tensor>,
) -> Result<Tensor, ModelError> {
    if let Some(bias) = bias {
        with_floats(bias, |bias| {
            for row in product.chunks_mut(bias.len().max(1)) {
                row.iter_mut()
                    .zip(bias)
                    .for_each(|(sum, bias)| *sum += bias);
            }
        })?;
    }
    Ok(Tensor::from_vec(product, shape, &Device::Cpu)?)
}

/// The codes that `provider` holds for `tensor`, where they fit the network.
pub(super) fn packed_weight(
    provider: &dyn Provider,
    tensor: &PlannedTensor,
) -> Result<Option<(Solved, ActivationPlan)>, ModelError> {
    let Some((solved, plan)) = provider.packed(&tensor.name)? else {
        return Ok(None);
    };
    check_codes(tensor, solved.codes.rows, solved.codes.columns, &plan)?;
    Ok(Some((solved, plan)))
}

/// Whether codes `[rows, columns]` fit the network.
fn check_codes(
    tensor: &PlannedTensor,
    rows: usize,
    columns: usize,
    plan: &ActivationPlan,
) -> Result<(), ModelError> {
    let mut found = vec![rows, columns];
    if tensor.transposed {
        found.reverse();
    }
    if found != tensor.shape {
        return Err(ModelError::WrongShape {
            name: tensor.name.clone(),
            found,
            expected: tensor.shape.clone(),
        });
    }
    check_plan(plan)
}

/// Blocks and steps come from files.
fn check_plan(plan: &ActivationPlan) -> Result<(), ModelError> {
    if !ACTIVATION_BLOCKS.contains(&plan.block) {
        return Err(ModelError::Misuse {
            problem: format!(
                "a layer rounds its inputs in blocks of {}, but there are only {ACTIVATION_BLOCKS:?}",
                plan.block
            ),
        });
    }
    match (plan.mode, plan.static_step) {
        (Activations::Static8, None) => Err(ModelError::Misuse {
            problem: "a layer rounds its inputs by a fixed step, but has none".to_owned(),
        }),
        (_, Some(step)) if !(step.is_normal() && step > 0.0) => Err(ModelError::Misuse {
            problem: format!("a layer rounds its inputs by steps of {step}, which is no size"),
        }),
        _ => Ok(()),
    }
}

fn no_watch() -> ModelError {
    ModelError::Misuse {
        problem: "gradients are watched at dense weights; open the model with those".to_owned(),
    }
}

/// A two-dimensional tensor's values.
pub(super) fn matrix_of(tensor: &Tensor) -> Result<Matrix, ModelError> {
    let (rows, columns) = tensor.dims2()?;
    Ok(Matrix::new(rows, columns, values_of(tensor)?))
}

/// All values, row-major.
pub(super) fn values_of(tensor: &Tensor) -> Result<Vec<f32>, ModelError> {
    Ok(tensor.flatten_all()?.to_vec1::<f32>()?)
}

/// Columns `start..start + width` of the last dimension.
pub(super) fn columns(tensor: &Tensor, start: usize, width: usize) -> Result<Tensor, ModelError> {
    Ok(tensor.narrow(D::Minus1, start, width)?)
}
