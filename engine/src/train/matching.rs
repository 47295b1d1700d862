//! States and attention inside the network matched with a teacher's: of states the mean squared difference after a learned projection (Romero et al.
//! 2015, arXiv 1412.6550; Jiao et al. 2020, arXiv 1909.10351, section 3), of attention that of its mean over heads, so
//! that numbers of heads may differ.
//!
//! Student block `i` of `n` is matched with teacher block `ceil((i + 1) N / n) - 1` of `N`: the last with the last.

use super::error::TrainError;
use super::learner::Variable;
use super::objective::StateLoss;
use super::teacher::{Kept, Lesson};
use crate::model::ModelConfig;
use crate::rng::Rng;
use candle_core::{Device, Tensor, Var};

/// The random stream of projections.
const PROJECTION_STREAM: u64 = 0x5052_4f4a_0000_0000;

/// Which states are matched, and how.
#[derive(Debug)]
pub struct Matching {
    /// Weight of a block's states, and of its attention.
    weight: f64,
    attention: f64,
    /// Teacher block of each student block.
    blocks: Vec<usize>,
    /// Of the teacher's states.
    width: usize,
    /// `[student width, teacher width]` for each block; empty where widths agree.
    projections: Vec<Variable>,
}

impl Matching {
    /// `weight` and `attention`: of all states and of all attention; 0 = not matched. Projections are drawn by `seed` where
    /// widths differ.
    pub fn new(
        student: &ModelConfig,
        teacher: &ModelConfig,
        (weight, attention): (f64, f64),
        seed: u64,
    ) -> Result<Self, TrainError> {
        let (own, width) = (student.hidden, teacher.hidden);
        let mut projections = Vec::new();
        for block in 0..student.blocks {
            if own == width || weight == 0.0 {
                break;
            }
            let mut rng = Rng::new(seed, PROJECTION_STREAM + block as u64);
            let deviation = 1.0 / (own as f64).sqrt();
            let values: Vec<f32> = (0..own * width)
                .map(|_| (deviation * rng.normal()) as f32)
                .collect();
            projections.push(Variable {
                name: format!("projection.{block}"),
                var: Var::from_vec(values, (own, width), &Device::Cpu)?,
                decay: false,
                rate: 1.0,
            });
        }
        Ok(Self {
            weight: weight / student.blocks.max(1) as f64,
            attention: attention / student.blocks.max(1) as f64,
            blocks: (0..student.blocks)
                .map(|block| ((block + 1) * teacher.blocks).div_ceil(student.blocks) - 1)
                .collect(),
            width,
            projections,
        })
    }

    pub(super) fn variables(&self) -> &[Variable] {
        &self.projections
    }

    /// What a teacher has to keep of each block.
    pub(super) fn kept(&self) -> Kept {
        Kept {
            states: self.weight > 0.0,
            attention: self.attention > 0.0,
        }
    }

    /// The loss of where tokens look in `block`: the squared difference of a token's shares, as a mean over tokens.
    pub(super) fn judge_attention(
        &self,
        block: usize,
        members: &[usize],
        shares: &Tensor,
        lesson: &Lesson<'_>,
        token_share: f64,
    ) -> Result<Option<Tensor>, TrainError> {
        let rows = members.iter();
        let rows = rows.map(|&member| lesson.attention_in(self.blocks[block], member).clone());
        let taught = Tensor::cat(&rows.collect::<Vec<_>>(), 0)?;
        let squares = (shares - taught)?.sqr()?.sum_all()?;
        Ok(Some((squares * (self.attention * token_share))?))
    }

    /// The loss of what left `block` for `members` of the batch; `token_share` is one over the tokens of the step.
    pub(super) fn judge(
        &self,
        block: usize,
        members: &[usize],
        states: &Tensor,
        lesson: &Lesson<'_>,
        token_share: f64,
    ) -> Result<Option<StateLoss>, TrainError> {
        if self.weight == 0.0 {
            return Ok(None);
        }
        let rows = members
            .iter()
            .map(|&member| lesson.states_after(self.blocks[block], member).clone())
            .collect::<Vec<_>>();
        let taught = Tensor::cat(&rows, 0)?;
        let scale = self.weight * token_share / self.width as f64;
        let own = Var::from_tensor(states)?;
        let projected = match self.projections.get(block) {
            Some(projection) => {
                let (batch, tokens, width) = own.dims3()?;
                let flat = own.reshape((batch * tokens, width))?;
                let projected = flat.matmul(projection.var.as_tensor())?;
                projected.reshape((batch, tokens, self.width))?
            }
            None => own.as_tensor().clone(),
        };
        let loss = ((projected - taught)?.sqr()?.sum_all()? * scale)?;
        let mut store = loss.backward()?;
        let found = f64::from(loss.to_scalar::<f32>()?);
        let gradient = store.remove(own.as_tensor());
        let own_gradient = self.projections.get(block).and_then(|projection| {
            let variable = projection.var.as_tensor();
            Some((variable.clone(), store.remove(variable)?))
        });
        Ok(gradient.map(|gradient| StateLoss {
            loss: found,
            gradient,
            own: own_gradient.into_iter().collect(),
        }))
    }
}
