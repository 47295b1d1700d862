//! One block of the network: attention and feed-forward part around the residual stream.
//!
//! Its forward pass is one sequence of four stages; whoever wants a stage's input runs the same sequence and stops.
//! Knows no family: switches of the config only.

use super::attention::{Mixer, Projected};
use super::cache::BlockCache;
use super::config::{Activation, Arrangement, ModelConfig, ProjectionKind};
use super::context::Context;
use super::error::ModelError;
use super::fold::Fold;
use super::layers::{LayerInfo, LayerKind, Role};
use super::linear::{Linear, columns};
use super::norm::Norm;
use super::ops;
use super::plan::Plan;
use super::provider::Provider;
use super::stage::{STAGES, Stage, stages_of_block};
use super::watch::Watch;
use crate::packed::{ActivationPlan, PackedMatrix};
use crate::tensor::Matrix;
use candle_core::Tensor;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

/// A linear layer and its place.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) role: Role,
    /// Index into the model's list of layers.
    pub(super) layer: usize,
    /// Full name without `.weight`.
    pub(super) name: String,
    pub(super) transposed: bool,
    pub(super) linear: Linear,
    watch: Option<Watch>,
}

/// One loaded block.
#[derive(Debug, Clone)]
pub struct Block {
    arrangement: Arrangement,
    activation: Activation,
    projection: ProjectionKind,
    pub(super) intermediate: usize,
    mixer: Mixer,
    pub(super) attention_norm: Norm,
    attention_post_norm: Option<Norm>,
    pub(super) mlp_norm: Norm,
    mlp_post_norm: Option<Norm>,
    pub(super) linears: Vec<Placed>,
    stages: Vec<Stage>,
    pub(super) folds: Vec<Fold>,
    /// Names of tensors that folds have changed.
    pub(super) changed: BTreeSet<String>,
}

/// Asked at each stage: goes on or stops.
pub(super) type Visit<'a> = dyn FnMut(usize, &Tensor) -> ControlFlow<()> + 'a;

impl Block {
    /// Builds block `index` from any provider of tensors. `layers` is the model's list.
    pub(super) fn build(
        config: &ModelConfig,
        prefix: &str,
        layers: &[LayerInfo],
        index: usize,
        provider: &dyn Provider,
    ) -> Result<Self, ModelError> {
        let names = &config.family.names().block;
        let prefix_of_block = format!("{prefix}{}{index}.", config.family.names().blocks);
        let norm = |name: &str, width: usize| {
            Norm::load(format!("{prefix_of_block}{name}"), width, config, provider)
        };
        let norm_if = |name: Option<&str>, width: usize| -> Result<Option<Norm>, ModelError> {
            name.map(|name| norm(name, width)).transpose()
        };
        let mut mixer = Mixer::new(config, index);
        if config.head_norms {
            mixer.query_norm = norm_if(names.query_norm, config.head_dim)?;
            mixer.key_norm = norm_if(names.key_norm, config.head_dim)?;
        }
        let linears = load_linears(&Plan::new(config, prefix), layers, index, provider)?;
        let placed: Vec<(Role, usize)> = linears
            .iter()
            .map(|placed| (placed.role, placed.layer))
            .collect();
        let mut block = Self {
            arrangement: config.arrangement,
            activation: config.activation,
            projection: config.projection,
            intermediate: config.intermediate,
            mixer,
            attention_norm: norm(names.attention_norm, config.hidden)?,
            attention_post_norm: norm_if(names.attention_post_norm, config.hidden)?,
            mlp_norm: norm(names.mlp_norm, config.hidden)?,
            mlp_post_norm: norm_if(names.mlp_post_norm, config.hidden)?,
            stages: stages_of_block(config, &placed),
            linears,
            folds: Vec::new(),
            changed: BTreeSet::new(),
        };
        block.folds = Fold::list(config, &block);
        Ok(block)
    }

    /// Runs the block on `hidden` `[batch, tokens, hidden]`; with a cache, `context` must begin where the cache ends.
    pub fn forward(
        &self,
        hidden: &Tensor,
        context: &Context,
        cache: Option<&mut BlockCache>,
    ) -> Result<Tensor, ModelError> {
        let mut never = |_: usize, _: &Tensor| ControlFlow::Continue(());
        let output = self.run(hidden, context, cache, &mut never)?;
        Ok(output.expect("a visit that never stops reaches the end"))
    }

    /// The four groups of layers that share an input, in forward order.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// The input `[batch * tokens, width]` of one stage, computed only as far as needed.
    pub fn stage_input(
        &self,
        stage: usize,
        hidden: &Tensor,
        context: &Context,
    ) -> Result<Tensor, ModelError> {
        let mut found = None;
        self.run(hidden, context, None, &mut |reached, input| {
            if reached < stage {
                return ControlFlow::Continue(());
            }
            found = Some(input.clone());
            ControlFlow::Break(())
        })?;
        let input = found.ok_or_else(|| ModelError::Misuse {
            problem: format!(
                "a block has {} stages, there is no stage {stage}",
                STAGES.len()
            ),
        })?;
        Ok(input.flatten_to(1)?)
    }

    /// Runs the whole block and shows each stage's input `[batch * tokens, width]` on the way.
    pub fn forward_with_inputs(
        &self,
        hidden: &Tensor,
        context: &Context,
        see: &mut dyn FnMut(usize, Tensor),
    ) -> Result<Tensor, ModelError> {
        let mut failed = None;
        let output = self.run(hidden, context, None, &mut |stage, input| {
            match input.flatten_to(1) {
                Ok(flat) => see(stage, flat),
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(output.expect("a visit that never stops reaches the end")),
        }
    }

    /// One layer's weight, `[out, in]`.
    pub fn weights(&self, layer: usize) -> Result<Matrix, ModelError> {
        self.placed(layer)?.linear.weights()
    }

    /// Replaces one layer's weight, `[out, in]`.
    pub fn set_weights(&mut self, layer: usize, weights: &Matrix) -> Result<(), ModelError> {
        self.linear_mut(layer)?.set_weights(weights)
    }

    /// Replaces one layer's weight by codes, which the kernels multiply; no gradient goes through it from now on.
    pub fn set_packed(
        &mut self,
        layer: usize,
        matrix: Arc<PackedMatrix>,
        plan: ActivationPlan,
    ) -> Result<(), ModelError> {
        self.linear_mut(layer)?.set_packed(matrix, plan)
    }

    /// From now on backward passes through this block, and through clones made later, add up squares of the gradient at
    /// the output of each linear layer, and leave its weight without one.
    pub fn watch_outputs(&mut self) {
        for placed in &mut self.linears {
            placed.watch = Some(Watch::default());
        }
    }

    /// What was watched: by layer, for each output, the sum of squares over tokens; empty before a backward pass.
    pub fn watched_squares(&self) -> Vec<(usize, Vec<f64>)> {
        let placed = self.linears.iter();
        placed
            .filter_map(|placed| Some((placed.layer, placed.watch.as_ref()?.squares())))
            .collect()
    }

    pub(super) fn placed(&self, layer: usize) -> Result<&Placed, ModelError> {
        self.linears
            .iter()
            .find(|placed| placed.layer == layer)
            .ok_or_else(|| no_such_layer(layer))
    }

    fn linear_mut(&mut self, layer: usize) -> Result<&mut Linear, ModelError> {
        let placed = self.linears.iter_mut().find(|placed| placed.layer == layer);
        Ok(&mut placed.ok_or_else(|| no_such_layer(layer))?.linear)
    }

    pub(super) fn linear_of(&self, role: Role) -> Option<&Placed> {
        self.linears.iter().find(|placed| placed.role == role)
    }

    /// The whole block; `None` where `visit` stopped it.
    fn run(
        &self,
        hidden: &Tensor,
        context: &Context,
        cache: Option<&mut BlockCache>,
        visit: &mut Visit<'_>,
    ) -> Result<Option<Tensor>, ModelError> {
        self.run_showing(hidden, context, cache, visit, &mut |_| {})
    }

    /// The same; `see` is shown the shares of attention.
    pub(super) fn run_showing(
        &self,
        hidden: &Tensor,
        context: &Context,
        cache: Option<&mut BlockCache>,
        visit: &mut Visit<'_>,
        see: &mut dyn FnMut(&Tensor),
    ) -> Result<Option<Tensor>, ModelError> {
        self.check_call(hidden, context, cache.as_deref())?;
        let norm_first = self.arrangement != Arrangement::After;
        let input = if norm_first {
            self.attention_norm.forward(hidden)?
        } else {
            hidden.clone()
        };
        if visit(0, &input).is_break() {
            return Ok(None);
        }
        let mixed = self
            .mixer
            .mix(self.project(&input, context)?, context, cache, see)?;
        if visit(1, &mixed).is_break() {
            return Ok(None);
        }
        let attended = self.apply(Role::Output, &mixed, context)?;
        let attended = match &self.attention_post_norm {
            Some(norm) => norm.forward(&attended)?,
            None => attended,
        };
        let between = (hidden + attended)?;
        let (between, input) = match self.arrangement {
            Arrangement::Before => {
                let input = self.mlp_norm.forward(&between)?;
                (between, input)
            }
            Arrangement::After => {
                let between = self.attention_norm.forward(&between)?;
                (between.clone(), between)
            }
            Arrangement::Parallel => (between, self.mlp_norm.forward(hidden)?),
        };
        if visit(2, &input).is_break() {
            return Ok(None);
        }
        let inner = self.expand(&input, context)?;
        if visit(3, &inner).is_break() {
            return Ok(None);
        }
        let added = self.apply(Role::Down, &inner, context)?;
        let added = match &self.mlp_post_norm {
            Some(norm) => norm.forward(&added)?,
            None => added,
        };
        let output = (between + added)?;
        Ok(Some(if norm_first {
            output
        } else {
            self.mlp_norm.forward(&output)?
        }))
    }

    fn check_call(
        &self,
        hidden: &Tensor,
        context: &Context,
        cache: Option<&BlockCache>,
    ) -> Result<(), ModelError> {
        let (_, tokens, _) = hidden.dims3()?;
        let held = cache.map_or(0, BlockCache::tokens);
        if tokens == context.tokens() && held == context.offset() {
            return Ok(());
        }
        Err(ModelError::Misuse {
            problem: format!(
                "the context is for {} tokens after {}, but {tokens} tokens after {held} were given",
                context.tokens(),
                context.offset()
            ),
        })
    }

    fn project(&self, input: &Tensor, context: &Context) -> Result<Projected, ModelError> {
        match self.projection {
            ProjectionKind::Separate => {
                let [queries, keys, values] =
                    self.apply_all([Role::Query, Role::Key, Role::Value], input, context)?;
                self.mixer.split(&queries, &keys, &values)
            }
            fused => self
                .mixer
                .split_fused(&self.apply(Role::QueryKeyValue, input, context)?, fused),
        }
    }

    /// The feed-forward part up to its last product.
    fn expand(&self, input: &Tensor, context: &Context) -> Result<Tensor, ModelError> {
        let (gate, up) = if self.linear_of(Role::GateUp).is_some() {
            let both = self.apply(Role::GateUp, input, context)?;
            let width = self.intermediate;
            (columns(&both, 0, width)?, columns(&both, width, width)?)
        } else if self.linear_of(Role::Gate).is_some() {
            let [gate, up] = self.apply_all([Role::Gate, Role::Up], input, context)?;
            (gate, up)
        } else {
            let up = self.apply(Role::Up, input, context)?;
            return Ok(ops::activate(&up, self.activation)?);
        };
        Ok(ops::gated(&gate, &up, self.activation)?)
    }

    fn apply(&self, role: Role, input: &Tensor, context: &Context) -> Result<Tensor, ModelError> {
        let [output] = self.apply_all([role], input, context)?;
        Ok(output)
    }

    /// What layers that share an input make of it.
    fn apply_all<const COUNT: usize>(
        &self,
        roles: [Role; COUNT],
        input: &Tensor,
        context: &Context,
    ) -> Result<[Tensor; COUNT], ModelError> {
        let placed = roles.map(|role| {
            self.linear_of(role)
                .expect("the plan and the switches come from one table")
        });
        let outputs = if placed.iter().any(|placed| placed.watch.is_some()) {
            let outputs = placed.iter().map(|placed| match &placed.watch {
                Some(watch) => placed.linear.forward_watched(input, watch),
                None => placed.linear.forward(input),
            });
            outputs.collect::<Result<Vec<Tensor>, ModelError>>()?
        } else {
            let linears = placed.map(|placed| &placed.linear);
            Linear::forward_all(&linears, input, &context.places())?
        };
        Ok(outputs
            .try_into()
            .expect("there is one output for each layer"))
    }
}

fn no_such_layer(layer: usize) -> ModelError {
    ModelError::Misuse {
        problem: format!("layer {layer} is no linear layer of this block"),
    }
}

fn load_linears(
    plan: &Plan<'_>,
    layers: &[LayerInfo],
    block: usize,
    provider: &dyn Provider,
) -> Result<Vec<Placed>, ModelError> {
    let planned = plan.block(block);
    let mut linears = Vec::new();
    for tensor in planned
        .iter()
        .filter(|tensor| tensor.kind == LayerKind::Linear)
    {
        let name = tensor.name.trim_end_matches(".weight").to_owned();
        let layer = layers
            .iter()
            .position(|layer| layer.tensor == tensor.name)
            .ok_or_else(|| ModelError::MissingTensor {
                name: tensor.name.clone(),
            })?;
        let bias_name = format!("{name}.bias");
        let bias = planned.iter().find(|other| other.name == bias_name);
        let bias = match bias {
            Some(bias) => Some(provider.tensor(&bias.name, &bias.shape)?),
            None => None,
        };
        linears.push(Placed {
            role: tensor.role,
            layer,
            name,
            transposed: tensor.transposed,
            linear: Linear::load(provider, tensor, bias)?,
            watch: None,
        });
    }
    Ok(linears)
}
