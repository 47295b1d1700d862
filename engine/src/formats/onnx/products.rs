//! Weights in a graph: codes turned into values, products, rows of packed tables, rounded inputs.
//!
//! Knows no network: a weight comes with its tensors.

use super::element::Element;
use super::graph::{Attribute, Graph, MICROSOFT, Value};
use super::weight::{BlockZeros, NIBBLE_BITS, OnnxForm, OnnxWeight, PartKind, middle};
use crate::settings::Activations;

/// Levels of rounded inputs on each side of zero.
const LEVELS: f64 = 127.0;

/// Stands for the scale of a token of zeros.
const SMALLEST_SCALE: f32 = 1e-30;

/// `MatMulNBits` may round inputs to 8 bits.
const ACCURACY_INT8: i64 = 4;

/// A weight with its tensors.
pub(super) struct Parts<'a> {
    pub(super) name: &'a str,
    pub(super) weight: OnnxWeight,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) values: Vec<(PartKind, Element, Value)>,
}

impl Parts<'_> {
    pub(super) fn get(&self, kind: PartKind) -> Value {
        let found = self.values.iter().find(|(held, ..)| *held == kind);
        found.map_or_else(Value::none, |(_, _, value)| value.clone())
    }

    /// The one that holds values.
    pub(super) fn values(&self) -> Option<&(PartKind, Element, Value)> {
        let is_values = |kind: &PartKind| matches!(kind, PartKind::Values { .. });
        self.values.iter().find(|(kind, ..)| is_values(kind))
    }

    pub(super) fn step(&self, what: &str) -> String {
        format!("{}/{what}", self.name)
    }
}

impl Graph {
    pub(super) fn as_f32(&mut self, name: &str, value: &Value, element: Element) -> Value {
        match element {
            Element::F32 => value.clone(),
            _ => self.cast(name, value, Element::F32),
        }
    }

    /// A tensor of floats in F32; nothing where the weight has none.
    pub(super) fn float_part(&mut self, parts: &Parts<'_>, kind: PartKind) -> Value {
        let found = parts.values.iter().find(|(held, ..)| *held == kind);
        match found {
            Some((_, element, value)) => {
                let name = format!("{}/float", value.name());
                let value = value.clone();
                self.as_f32(&name, &value, *element)
            }
            None => Value::none(),
        }
    }

    /// Plain values as a product takes them: F32, `[in, out]`.
    pub(super) fn values_to_multiply(&mut self, parts: &Parts<'_>) -> Value {
        let (_, element, values) = parts.values().expect("values have one tensor");
        let floats = self.as_f32(&parts.step("floats"), values, *element);
        match parts.weight.is_table {
            true => self.transpose(&parts.step("turned"), &floats, &[1, 0]),
            false => floats,
        }
    }

    /// Codes as weights. Inputs: codes, scales, zeros where they have some.
    pub(super) fn dequantize(
        &mut self,
        name: &str,
        inputs: &[&Value],
        axis: i64,
        block: Option<usize>,
    ) -> Value {
        let mut attributes = vec![("axis", Attribute::Int(axis))];
        attributes.extend(block.map(|block| ("block_size", Attribute::Int(block as i64))));
        self.node(name, "DequantizeLinear", inputs, &attributes)
    }

    pub(super) fn multiply_bytes(&mut self, parts: &Parts<'_>, input: &Value) -> Value {
        let OnnxForm::Bytes(grid) = parts.weight.form else {
            return Value::none();
        };
        let plan = parts.weight.activations;
        let is_integer = plan.mode == Activations::Dynamic8 && plan.block == 0;
        if is_integer && grid.group == 0 && !parts.weight.is_table {
            return self.multiply_integers(parts, input);
        }
        let input = self.rounded(parts, input);
        let scales = self.float_part(parts, PartKind::Scales);
        let (codes, zeros) = (parts.get(PartKind::Codes), parts.get(PartKind::Zeros));
        let mut inputs = vec![&codes, &scales];
        if !grid.symmetric {
            inputs.push(&zeros);
        }
        let name = parts.step("weights");
        let weights = match (parts.weight.is_table, grid.group) {
            (false, 0) => self.dequantize(&name, &inputs, 1, None),
            (false, group) => self.dequantize(&name, &inputs, 0, Some(group)),
            (true, group) => {
                let block = if group == 0 { parts.columns } else { group };
                let table = self.dequantize(&name, &inputs, 1, Some(block));
                self.transpose(&parts.step("turned"), &table, &[1, 0])
            }
        };
        self.product(&parts.step("product"), &input, &weights)
    }

    /// Inputs rounded token by token, multiplied as integers.
    fn multiply_integers(&mut self, parts: &Parts<'_>, input: &Value) -> Value {
        let (levels, scale) = self.levels(&parts.step("input"), input);
        let levels = self.cast(&parts.step("input/levels"), &levels, Element::I8);
        let (codes, zeros) = (parts.get(PartKind::Codes), parts.get(PartKind::Zeros));
        let none = Value::none();
        let mut inputs = vec![&levels, &codes];
        if zeros != none {
            inputs.extend([&none, &zeros]);
        }
        let sums = self.node(&parts.step("product"), "MatMulInteger", &inputs, &[]);
        let sums = self.cast(&parts.step("product/floats"), &sums, Element::F32);
        let scales = self.float_part(parts, PartKind::Scales);
        let sums = self.multiply(&parts.step("product/of_weights"), &sums, &scales);
        self.multiply(&parts.step("product/of_inputs"), &sums, &scale)
    }

    pub(super) fn multiply_blocks(&mut self, parts: &Parts<'_>, input: &Value) -> Value {
        let OnnxForm::Blocks {
            bits, block, zeros, ..
        } = parts.weight.form
        else {
            return Value::none();
        };
        let is_dynamic = parts.weight.activations.mode == Activations::Dynamic8;
        let input = match is_dynamic {
            true => input.clone(),
            false => self.rounded(parts, input),
        };
        let scales = self.float_part(parts, PartKind::Scales);
        let codes = parts.get(PartKind::Codes);
        let zero_points = match zeros {
            BlockZeros::Middle => Value::none(),
            BlockZeros::Whole => parts.get(PartKind::Zeros),
            BlockZeros::Fractional => self.float_part(parts, PartKind::Zeros),
        };
        let mut inputs = vec![&input, &codes, &scales];
        if zeros != BlockZeros::Middle {
            inputs.push(&zero_points);
        }
        let mut attributes = vec![
            ("K", Attribute::Int(parts.columns as i64)),
            ("N", Attribute::Int(parts.rows as i64)),
            ("bits", Attribute::Int(i64::from(bits))),
            ("block_size", Attribute::Int(block as i64)),
        ];
        if is_dynamic {
            attributes.push(("accuracy_level", Attribute::Int(ACCURACY_INT8)));
        }
        let name = parts.step("product");
        self.node_of(MICROSOFT, &name, "MatMulNBits", &inputs, &attributes)
    }

    /// Rows of packed codes: looked up as bytes, then unpacked and turned into values.
    pub(super) fn rows_of_blocks(&mut self, parts: &Parts<'_>, ids: &Value) -> Value {
        let OnnxForm::Blocks {
            bits, block, zeros, ..
        } = parts.weight.form
        else {
            return Value::none();
        };
        let count = parts.columns.div_ceil(block);
        let codes = self.gather(&parts.step("codes"), &parts.get(PartKind::Codes), ids);
        let codes = self.unpacked(&parts.step("codes"), &codes, bits, &[count, block]);
        let scales = self.float_part(parts, PartKind::Scales);
        let scales = self.gather(&parts.step("scales"), &scales, ids);
        let scales = self.unsqueeze(&parts.step("scales/of_blocks"), &scales, &[-1]);
        let zeros = match zeros {
            BlockZeros::Middle => self.float(f32::from(middle(bits))),
            BlockZeros::Fractional => {
                let zeros = self.float_part(parts, PartKind::Zeros);
                let zeros = self.gather(&parts.step("zeros"), &zeros, ids);
                self.unsqueeze(&parts.step("zeros/of_blocks"), &zeros, &[-1])
            }
            BlockZeros::Whole => {
                let zeros = self.gather(&parts.step("zeros"), &parts.get(PartKind::Zeros), ids);
                let packed = match bits {
                    NIBBLE_BITS => count.next_multiple_of(2),
                    _ => count,
                };
                let zeros = self.unpacked(&parts.step("zeros"), &zeros, bits, &[packed]);
                let zeros = match packed == count {
                    true => zeros,
                    false => self.first_columns(&parts.step("zeros/stored"), &zeros, count),
                };
                self.unsqueeze(&parts.step("zeros/of_blocks"), &zeros, &[-1])
            }
        };
        let steps = self.subtract(&parts.step("steps"), &codes, &zeros);
        let values = self.multiply(&parts.step("values"), &steps, &scales);
        let width = (count * block) as i64;
        let rows = self.reshape(&parts.step("rows"), &values, &[0, 0, width]);
        match count * block == parts.columns {
            true => rows,
            false => self.first_columns(&parts.step("floats"), &rows, parts.columns),
        }
    }

    /// Bytes as the floats of the codes in them, `[batch, tokens, shape]`.
    fn unpacked(&mut self, name: &str, bytes: &Value, bits: u8, shape: &[usize]) -> Value {
        let mut sizes = vec![0, 0];
        sizes.extend(shape.iter().map(|&size| size as i64));
        let codes = match bits {
            NIBBLE_BITS => self.nibbles(name, bytes),
            _ => bytes.clone(),
        };
        let codes = self.reshape(&format!("{name}/unpacked"), &codes, &sizes);
        self.cast(&format!("{name}/floats"), &codes, Element::F32)
    }

    /// Both codes of each byte, in a dimension of their own.
    fn nibbles(&mut self, name: &str, bytes: &Value) -> Value {
        let mask = self.constant("constant.byte.15", Element::U8, &[], vec![15]);
        let four = self.constant("constant.byte.4", Element::U8, &[], vec![4]);
        let low = self.node(&format!("{name}/low"), "BitwiseAnd", &[bytes, &mask], &[]);
        let right = [("direction", Attribute::Text("RIGHT"))];
        let high = self.node(&format!("{name}/high"), "BitShift", &[bytes, &four], &right);
        let low = self.unsqueeze(&format!("{name}/first"), &low, &[-1]);
        let high = self.unsqueeze(&format!("{name}/second"), &high, &[-1]);
        self.join(&format!("{name}/pairs"), &[&low, &high])
    }

    /// The input as a layer takes it: as it is, or what its 8 bits stand for.
    pub(super) fn rounded(&mut self, parts: &Parts<'_>, input: &Value) -> Value {
        let plan = parts.weight.activations;
        let name = parts.step("input");
        match plan.mode {
            Activations::None => input.clone(),
            Activations::Static8 => {
                let step = parts.get(PartKind::Step);
                let zero = self.constant("constant.i8.0", Element::I8, &[], vec![0]);
                let levels = [input, &step, &zero];
                let levels = self.node(&format!("{name}/levels"), "QuantizeLinear", &levels, &[]);
                let inputs = [&levels, &step, &zero];
                self.node(&name, "DequantizeLinear", &inputs, &[])
            }
            Activations::Dynamic8 => {
                let is_even = plan.block > 0 && parts.columns.is_multiple_of(plan.block);
                let blocks = match is_even {
                    true => {
                        let shape = [0, 0, -1, plan.block as i64];
                        self.reshape(&format!("{name}/blocks"), input, &shape)
                    }
                    false => input.clone(),
                };
                let (levels, scale) = self.levels(&name, &blocks);
                let rounded = self.multiply(&format!("{name}/rounded"), &levels, &scale);
                match is_even {
                    true => self.reshape(&name, &rounded, &[0, 0, parts.columns as i64]),
                    false => rounded,
                }
            }
        }
    }

    /// Whole numbers from -127 to 127, as floats, and what one of them is worth: a scale for each row of the last dimension.
    fn levels(&mut self, name: &str, input: &Value) -> (Value, Value) {
        let sizes = self.node(&format!("{name}/sizes"), "Abs", &[input], &[]);
        let largest = self.largest(&format!("{name}/largest"), &sizes);
        let scale = self.scale(&format!("{name}/per_level"), &largest, 1.0 / LEVELS);
        let smallest = self.float(SMALLEST_SCALE);
        let scale = self.node(&format!("{name}/scale"), "Max", &[&scale, &smallest], &[]);
        let levels = self.divide(&format!("{name}/divided"), input, &scale);
        let levels = self.node(&format!("{name}/whole"), "Round", &[&levels], &[]);
        (levels, scale)
    }
}
