//! A block of the network: attention and feed-forward part around the residual stream, as `model::block` runs them.

use super::graph::Value;
use super::network::{Network, Shared};
use crate::model::{Activation, Arrangement, ProjectionKind};

/// Queries, keys and values, `[batch, tokens, width]` or already by heads.
pub(super) struct Projected {
    pub(super) queries: Value,
    pub(super) keys: Value,
    pub(super) values: Value,
}

impl Network<'_> {
    /// What block `index` makes of `hidden`.
    pub(super) fn block(
        &mut self,
        index: usize,
        hidden: &Value,
        shared: &Shared,
    ) -> Result<Value, String> {
        let (config, names) = (self.config, &self.names.block);
        let width = config.hidden;
        let prefix = self.full_name(&format!("{}{index}.", self.names.blocks));
        let name = |inner: &str| format!("{prefix}{inner}");
        let first_norm = name(names.attention_norm);
        let second_norm = name(names.mlp_norm);
        let input = match config.arrangement {
            Arrangement::After => hidden.clone(),
            _ => self.norm(&first_norm, width, hidden)?,
        };
        let projected = self.project(&prefix, &input)?;
        let mixed = self.mix(index, &prefix, projected, shared)?;
        let sizes = [width, config.query_width()];
        let attended = self.block_linear(&name(names.output), sizes, config.output_bias, &mixed)?;
        let attended = self.post_norm(&prefix, names.attention_post_norm, attended)?;
        let between = self.graph.add(&name("attended"), hidden, &attended);
        let (between, input) = match config.arrangement {
            Arrangement::Before => {
                let input = self.norm(&second_norm, width, &between)?;
                (between, input)
            }
            Arrangement::After => {
                let between = self.norm(&first_norm, width, &between)?;
                (between.clone(), between)
            }
            Arrangement::Parallel => (between, self.norm(&second_norm, width, hidden)?),
        };
        let inner = self.expand(&prefix, &input)?;
        let sizes = [width, config.intermediate];
        let added = self.block_linear(&name(names.down), sizes, config.mlp_bias, &inner)?;
        let added = self.post_norm(&prefix, names.mlp_post_norm, added)?;
        let output = self.graph.add(&name("output"), &between, &added);
        match config.arrangement {
            Arrangement::After => self.norm(&second_norm, width, &output),
            _ => Ok(output),
        }
    }

    fn post_norm(
        &mut self,
        prefix: &str,
        norm: Option<&str>,
        input: Value,
    ) -> Result<Value, String> {
        match norm {
            Some(norm) => self.norm(&format!("{prefix}{norm}"), self.config.hidden, &input),
            None => Ok(input),
        }
    }

    fn project(&mut self, prefix: &str, input: &Value) -> Result<Projected, String> {
        let (config, names) = (self.config, &self.names.block);
        let (hidden, bias) = (config.hidden, config.qkv_bias);
        let (queries, keys) = (config.query_width(), config.key_width());
        if config.projection == ProjectionKind::Separate {
            let mut linear = |inner: Option<&str>, rows: usize| {
                let name = format!("{prefix}{}", inner.unwrap_or_default());
                self.block_linear(&name, [rows, hidden], bias, input)
            };
            return Ok(Projected {
                queries: linear(names.query, queries)?,
                keys: linear(names.key, keys)?,
                values: linear(names.value, keys)?,
            });
        }
        let name = format!("{prefix}{}", names.fused.unwrap_or_default());
        let fused = self.block_linear(&name, [queries + 2 * keys, hidden], bias, input)?;
        let graph = &mut self.graph;
        let parts = match config.projection {
            ProjectionKind::Interleaved => {
                let width = config.head_dim;
                let shape = [0, 0, config.heads as i64, 3 * width as i64];
                let heads = graph.reshape(&format!("{name}/heads"), &fused, &shape);
                graph.split(&format!("{name}/split"), &heads, &[width; 3])
            }
            _ => graph.split(&format!("{name}/split"), &fused, &[queries, keys, keys]),
        };
        let [queries, keys, values] =
            <[Value; 3]>::try_from(parts).expect("a split has as many parts as widths");
        Ok(Projected {
            queries,
            keys,
            values,
        })
    }

    /// The feed-forward part up to its last product.
    fn expand(&mut self, prefix: &str, input: &Value) -> Result<Value, String> {
        let (config, names) = (self.config, &self.names.block);
        let (hidden, inner, bias) = (config.hidden, config.intermediate, config.mlp_bias);
        let full = |name: &str| format!("{prefix}{name}");
        let (gate, up) = match (names.gate_up, names.gate, names.up) {
            (Some(both), ..) => {
                let both = full(both);
                let output = self.block_linear(&both, [2 * inner, hidden], bias, input)?;
                let split = format!("{both}/split");
                let parts = self.graph.split(&split, &output, &[inner; 2]);
                let [gate, up] =
                    <[Value; 2]>::try_from(parts).expect("a split has as many parts as widths");
                (Some(gate), up)
            }
            (None, gate, up) => {
                let gate = match gate {
                    Some(gate) => {
                        Some(self.block_linear(&full(gate), [inner, hidden], bias, input)?)
                    }
                    None => None,
                };
                let up = full(up.unwrap_or_default());
                (gate, self.block_linear(&up, [inner, hidden], bias, input)?)
            }
        };
        Ok(match gate {
            Some(gate) => {
                let opened = self.activate(&full("mlp/gate"), &gate);
                self.graph.multiply(&full("mlp/gated"), &opened, &up)
            }
            None => self.activate(&full("mlp/activated"), &up),
        })
    }

    fn activate(&mut self, name: &str, input: &Value) -> Value {
        self.graph.activate(name, input, self.config.activation)
    }
}

impl super::graph::Graph {
    fn activate(&mut self, name: &str, input: &Value, activation: Activation) -> Value {
        use super::graph::Attribute::Text;
        match activation {
            Activation::Silu => {
                let open = self.node(&format!("{name}/open"), "Sigmoid", &[input], &[]);
                self.multiply(name, input, &open)
            }
            Activation::GeluErf => {
                self.node(name, "Gelu", &[input], &[("approximate", Text("none"))])
            }
            Activation::GeluTanh => {
                self.node(name, "Gelu", &[input], &[("approximate", Text("tanh"))])
            }
            Activation::Relu => self.node(name, "Relu", &[input], &[]),
        }
    }
}
