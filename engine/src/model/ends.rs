//! What stands before the first block and after the last: token ids -> hidden states, hidden states -> logits.
//!
//! A tied head shares the embedding's tensor.

use super::config::{ModelConfig, Positions};
use super::context::Context;
use super::embedding::Embedding;
use super::error::ModelError;
use super::layers::{LayerInfo, LayerKind, Role};
use super::linear::Linear;
use super::norm::Norm;
use super::ops;
use super::plan::Plan;
use super::provider::Provider;
use super::watch::Watch;
use crate::tensor::Matrix;
use candle_core::{Device, Tensor};
use std::borrow::Cow;

/// The loaded ends of a network.
#[derive(Debug, Clone)]
pub struct Ends {
    embedding: Embedding,
    embedding_layer: usize,
    embedding_scale: f64,
    positions: Positions,
    position_table: Option<Tensor>,
    /// `[1, hidden]`: all tokens are of type 0.
    token_type: Option<Tensor>,
    embedding_norm: Option<Norm>,
    project_in: Option<Linear>,
    final_norm: Option<Norm>,
    project_out: Option<Linear>,
    /// `None` where the head is the embedding, or where there is none.
    head: Option<(usize, Linear)>,
    /// The embedding as a head, where it is one and packed, or rounds its inputs.
    packed_tied_head: Option<Linear>,
    softcap: Option<f64>,
    encoder: bool,
    watch: Option<Watch>,
}

impl Ends {
    pub(super) fn build(
        config: &ModelConfig,
        prefix: &str,
        layers: &[LayerInfo],
        provider: &dyn Provider,
    ) -> Result<Self, ModelError> {
        let names = config.family.names();
        let plan = Plan::new(config, prefix);
        let planned: Vec<_> = plan.front().into_iter().chain(plan.back()).collect();
        let table = |name: Option<&str>| -> Result<Option<Tensor>, ModelError> {
            let full = name.map(|name| format!("{prefix}{name}.weight"));
            let found = planned
                .iter()
                .find(|tensor| Some(&tensor.name) == full.as_ref());
            found
                .map(|tensor| provider.tensor(&tensor.name, &tensor.shape))
                .transpose()
        };
        let bare = |weight| Linear::Dense { weight, bias: None };
        let norm = |name: Option<&str>| -> Result<Option<Norm>, ModelError> {
            name.map(|name| Norm::load(format!("{prefix}{name}"), config.hidden, config, provider))
                .transpose()
        };
        let layer_of = |kind: LayerKind| layers.iter().position(|layer| layer.kind == kind);
        let missing = || ModelError::MissingTensor {
            name: format!("{prefix}{}.weight", names.embedding),
        };
        let token_type = match table(names.token_type)? {
            Some(types) => Some(types.narrow(0, 0, 1)?),
            None => None,
        };
        let head = match planned.iter().find(|tensor| tensor.role == Role::Head) {
            Some(head) => {
                let layer = layer_of(LayerKind::Head).ok_or_else(missing)?;
                Some((layer, Linear::load(provider, head, None)?))
            }
            None => None,
        };
        let table_of_tokens = planned
            .iter()
            .find(|tensor| tensor.role == Role::Embedding)
            .ok_or_else(missing)?;
        let is_head = head.is_none() && !config.family.is_encoder();
        let (embedding, packed_tied_head) = Embedding::load(provider, table_of_tokens, is_head)?;
        Ok(Self {
            embedding,
            embedding_layer: layer_of(LayerKind::Embedding).ok_or_else(missing)?,
            embedding_scale: config.embedding_scale,
            positions: config.positions,
            position_table: table(names.position)?,
            token_type,
            embedding_norm: norm(names.embedding_norm)?,
            project_in: table(names.project_in)?.map(bare),
            final_norm: norm(names.final_norm.filter(|_| config.final_norm))?,
            project_out: table(names.project_out)?.map(bare),
            head,
            packed_tied_head,
            softcap: config.logit_softcap,
            encoder: config.family.is_encoder(),
            watch: None,
        })
    }

    /// The hidden states `[1, tokens, hidden]` of one sequence.
    pub fn embed(&self, ids: &[u32], context: &Context) -> Result<Tensor, ModelError> {
        if ids.len() != context.tokens() {
            return Err(ModelError::Misuse {
                problem: format!(
                    "the context is for {} tokens, but {} were given",
                    context.tokens(),
                    ids.len()
                ),
            });
        }
        let vocabulary = self.embedding.vocabulary()?;
        if let Some(&token) = ids.iter().find(|&&id| id as usize >= vocabulary) {
            return Err(ModelError::TokenOutOfRange { token, vocabulary });
        }
        let mut hidden = self.embedding.rows(ids)?;
        if self.embedding_scale != 1.0 {
            hidden = (hidden * self.embedding_scale)?;
        }
        if let Some(project) = &self.project_in {
            hidden = project.forward(&hidden)?;
        }
        if let Some(table) = &self.position_table {
            let rows = self.position_rows(ids, context.offset())?;
            hidden = hidden.broadcast_add(&table.index_select(&rows, 0)?)?;
        }
        if let Some(row) = &self.token_type {
            hidden = hidden.broadcast_add(row)?;
        }
        match &self.embedding_norm {
            Some(norm) => norm.forward(&hidden),
            None => Ok(hidden),
        }
    }

    fn position_rows(&self, ids: &[u32], offset: usize) -> Result<Tensor, ModelError> {
        let (rows, limit, shift): (Vec<usize>, usize, usize) = match self.positions {
            Positions::None => (vec![0; ids.len()], 1, 0),
            Positions::Learned {
                rows,
                offset: shift,
            } => {
                let first = offset + shift;
                ((first..first + ids.len()).collect(), rows, shift)
            }
            Positions::LearnedFromPadding { rows, padding } => {
                let mut counted = padding as usize + offset;
                let row_of = |&id: &u32| {
                    if id == padding {
                        return padding as usize;
                    }
                    counted += 1;
                    counted
                };
                (ids.iter().map(row_of).collect(), rows, padding as usize + 1)
            }
        };
        if rows.iter().any(|&row| row >= limit) {
            return Err(ModelError::TooLong {
                tokens: offset + ids.len(),
                limit: limit.saturating_sub(shift),
            });
        }
        let rows: Vec<u32> = rows.into_iter().map(|row| row as u32).collect();
        let count = rows.len();
        Ok(Tensor::from_vec(rows, count, &Device::Cpu)?)
    }

    /// What the head multiplies: `[batch, tokens, width]`. An encoder's last hidden state.
    pub fn head_input(&self, hidden: &Tensor) -> Result<Tensor, ModelError> {
        let hidden = match &self.final_norm {
            Some(norm) => norm.forward(hidden)?,
            None => hidden.clone(),
        };
        match &self.project_out {
            Some(project) => project.forward(&hidden),
            None => Ok(hidden),
        }
    }

    /// Logits `[batch, tokens, vocabulary]`; of an encoder the last hidden state.
    pub fn head(&self, hidden: &Tensor) -> Result<Tensor, ModelError> {
        let input = self.head_input(hidden)?;
        if self.encoder {
            return Ok(input);
        }
        let head = match (&self.head, &self.packed_tied_head) {
            (Some((_, head)), _) | (None, Some(head)) => Cow::Borrowed(head),
            (None, None) => Cow::Owned(self.embedding.as_linear()?),
        };
        let logits = match &self.watch {
            Some(watch) => head.forward_watched(&input, watch)?,
            None => head.forward(&input)?,
        };
        Ok(match self.softcap {
            Some(limit) => ops::softcap(&logits, limit)?,
            None => logits,
        })
    }

    /// From now on backward passes through the head add up squares of the gradient at its outputs, and leave its weight
    /// without one.
    pub fn watch_head(&mut self) {
        self.watch = Some(Watch::default());
    }

    /// What was watched: the head's layer (the embedding's of a tied head) and, for each output, the sum of squares over
    /// tokens; `None` of an encoder, and before a backward pass.
    pub fn watched_squares(&self) -> Option<(usize, Vec<f64>)> {
        let squares = self.watch.as_ref()?.squares();
        let layer = self.head_layer().unwrap_or(self.embedding_layer);
        (!squares.is_empty()).then_some((layer, squares))
    }

    /// Rows of the embedding.
    pub fn vocabulary(&self) -> Result<usize, ModelError> {
        self.embedding.vocabulary()
    }

    /// Index of the embedding in the model's list of layers.
    pub fn embedding_layer(&self) -> usize {
        self.embedding_layer
    }

    /// Index of the head in the model's list of layers; `None` where it is the embedding or where there is none.
    pub fn head_layer(&self) -> Option<usize> {
        self.head.as_ref().map(|(layer, _)| *layer)
    }

    /// The weight of the embedding or head, `[vocabulary, width]`.
    pub fn weights(&self, layer: usize) -> Result<Matrix, ModelError> {
        match &self.head {
            Some((head, linear)) if *head == layer => linear.weights(),
            _ if layer == self.embedding_layer => self.embedding.weights(),
            _ => Err(no_such_layer(layer)),
        }
    }

    /// Replaces the weight of the embedding (and of a head tied to it) or of the head.
    pub fn set_weights(&mut self, layer: usize, weights: &Matrix) -> Result<(), ModelError> {
        match &mut self.head {
            Some((head, linear)) if *head == layer => linear.set_weights(weights),
            _ if layer == self.embedding_layer => {
                self.packed_tied_head = None;
                self.embedding.set_weights(weights)
            }
            _ => Err(no_such_layer(layer)),
        }
    }
}

fn no_such_layer(layer: usize) -> ModelError {
    ModelError::Misuse {
        problem: format!("layer {layer} is neither embedding nor head"),
    }
}
