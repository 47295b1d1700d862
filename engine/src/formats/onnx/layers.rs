//! The layers of a network at work: linear layers, the head, tables to look up in.
//!
//! Knows no place in the network.

use super::graph::Value;
use super::network::Network;
use super::products::Parts;
use super::weight::{OnnxForm, OnnxWeight, PartKind};

impl Network<'_> {
    /// The layer `name` (without `.weight`) of `[outputs, inputs]`: `input * weight^T + bias`.
    pub(super) fn linear(
        &mut self,
        name: &str,
        sizes: [usize; 2],
        has_bias: bool,
        input: &Value,
    ) -> Result<Value, String> {
        self.weight_product(name, sizes, has_bias, false, input)
    }

    /// The same of a layer inside a block, which may be stored `[in, out]`.
    pub(super) fn block_linear(
        &mut self,
        name: &str,
        sizes: [usize; 2],
        has_bias: bool,
        input: &Value,
    ) -> Result<Value, String> {
        self.weight_product(name, sizes, has_bias, self.config.transposed, input)
    }

    fn weight_product(
        &mut self,
        name: &str,
        [rows, columns]: [usize; 2],
        has_bias: bool,
        is_transposed: bool,
        input: &Value,
    ) -> Result<Value, String> {
        let tensor = format!("{name}.weight");
        let mut shape = [rows, columns];
        if is_transposed {
            shape.reverse();
        }
        self.check_shape(&tensor, &shape)?;
        let weight = self.place_of(&tensor, false)?;
        let parts = self.parts(name, weight, [rows, columns], is_transposed);
        let output = self.multiply(&parts, input);
        if !has_bias {
            return Ok(output);
        }
        let bias = self.vector(&format!("{name}.bias"), rows, false)?;
        Ok(self.graph.add(&parts.step("biased"), &output, &bias))
    }

    /// The head that is the table `name`.
    pub(super) fn tied_head(&mut self, name: &str, input: &Value) -> Result<Value, String> {
        let tensor = format!("{name}.weight");
        let weight = self.place_of(&tensor, true)?;
        let shape = self.table_shape(&tensor, self.config.embedding_width)?;
        let mut parts = self.parts(name, weight, shape, false);
        let head = "head".to_owned();
        parts.name = &head;
        Ok(self.multiply(&parts, input))
    }

    /// Rows `ids` of the table `name`, `[.., width]`.
    pub(super) fn table_rows(
        &mut self,
        name: &str,
        width: usize,
        ids: &Value,
    ) -> Result<Value, String> {
        let tensor = format!("{name}.weight");
        let weight = self.place_of(&tensor, true)?;
        let shape = self.table_shape(&tensor, width)?;
        let parts = self.parts(name, weight, shape, false);
        Ok(self.look_up(&parts, ids))
    }

    fn parts<'n>(
        &mut self,
        name: &'n str,
        weight: OnnxWeight,
        [rows, columns]: [usize; 2],
        is_transposed: bool,
    ) -> Parts<'n> {
        let tensor = format!("{name}.weight");
        let shapes = weight.parts(rows, columns).into_iter().map(|mut part| {
            if let PartKind::Values { turned, .. } = &mut part.kind {
                // What lies `[in, out]` already is not turned.
                *turned = *turned && !is_transposed;
            }
            part
        });
        let values = shapes.map(|part| {
            let value = self.store(&tensor, part.kind, part.element, &part.shape);
            (part.kind, part.element, value)
        });
        Parts {
            name,
            weight,
            rows,
            columns,
            values: values.collect(),
        }
    }

    /// `input` times the weight.
    fn multiply(&mut self, parts: &Parts<'_>, input: &Value) -> Value {
        let graph = &mut self.graph;
        let product = match parts.weight.form {
            OnnxForm::Nothing => None,
            OnnxForm::Values(_) => {
                let rounded = graph.rounded(parts, input);
                let values = graph.values_to_multiply(parts);
                Some(graph.product(&parts.step("product"), &rounded, &values))
            }
            OnnxForm::Bytes(_) => Some(graph.multiply_bytes(parts, input)),
            OnnxForm::Blocks { .. } => Some(graph.multiply_blocks(parts, input)),
        };
        if parts.weight.factors.is_none() {
            return product.unwrap_or_else(Value::none);
        }
        let inner = graph.float_part(parts, PartKind::FactorInner);
        let outer = graph.float_part(parts, PartKind::FactorOuter);
        let thin = graph.product(&parts.step("factor_inner"), input, &inner);
        let added = graph.product(&parts.step("factor_outer"), &thin, &outer);
        match product {
            Some(product) => graph.add(&parts.step("with_factors"), &product, &added),
            None => added,
        }
    }

    /// Rows of a table.
    fn look_up(&mut self, parts: &Parts<'_>, ids: &Value) -> Value {
        let graph = &mut self.graph;
        let looked_up = match parts.weight.form {
            OnnxForm::Nothing => None,
            OnnxForm::Values(_) => {
                let (_, element, table) = parts.values().expect("values have one tensor");
                let rows = graph.gather(&parts.step("rows"), table, ids);
                Some(graph.as_f32(&parts.step("floats"), &rows, *element))
            }
            OnnxForm::Bytes(grid) => {
                let block = if grid.group == 0 {
                    parts.columns
                } else {
                    grid.group
                };
                let codes = graph.gather(&parts.step("codes"), &parts.get(PartKind::Codes), ids);
                let scales = graph.float_part(parts, PartKind::Scales);
                let scales = graph.gather(&parts.step("scales"), &scales, ids);
                let mut inputs = vec![codes, scales];
                if !grid.symmetric {
                    let zeros = parts.get(PartKind::Zeros);
                    inputs.push(graph.gather(&parts.step("zeros"), &zeros, ids));
                }
                let inputs: Vec<&Value> = inputs.iter().collect();
                Some(graph.dequantize(&parts.step("floats"), &inputs, -1, Some(block)))
            }
            OnnxForm::Blocks { .. } => Some(graph.rows_of_blocks(parts, ids)),
        };
        if parts.weight.factors.is_none() {
            return looked_up.unwrap_or_else(Value::none);
        }
        // `[rank, rows]` lies turned.
        let outer = graph.float_part(parts, PartKind::FactorOuter);
        let inner = graph.float_part(parts, PartKind::FactorInner);
        let outer = graph.transpose(&parts.step("factor_rows"), &outer, &[1, 0]);
        let inner = graph.transpose(&parts.step("factor_columns"), &inner, &[1, 0]);
        let thin = graph.gather(&parts.step("factor_of_rows"), &outer, ids);
        let added = graph.product(&parts.step("factors"), &thin, &inner);
        match looked_up {
            Some(rows) => graph.add(&parts.step("with_factors"), &rows, &added),
            None => added,
        }
    }
}
