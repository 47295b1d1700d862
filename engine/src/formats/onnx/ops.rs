//! Shorthand for nodes: one line for each operator that networks are made of.
//!
//! Operators of ONNX, operator set 21; the function's first argument is the node's name.

use super::element::Element;
use super::graph::{Attribute, Graph, Value};

impl Graph {
    pub(super) fn add(&mut self, name: &str, left: &Value, right: &Value) -> Value {
        self.node(name, "Add", &[left, right], &[])
    }

    pub(super) fn subtract(&mut self, name: &str, left: &Value, right: &Value) -> Value {
        self.node(name, "Sub", &[left, right], &[])
    }

    pub(super) fn multiply(&mut self, name: &str, left: &Value, right: &Value) -> Value {
        self.node(name, "Mul", &[left, right], &[])
    }

    pub(super) fn divide(&mut self, name: &str, left: &Value, right: &Value) -> Value {
        self.node(name, "Div", &[left, right], &[])
    }

    pub(super) fn product(&mut self, name: &str, left: &Value, right: &Value) -> Value {
        self.node(name, "MatMul", &[left, right], &[])
    }

    /// `input * factor`.
    pub(super) fn scale(&mut self, name: &str, input: &Value, factor: f64) -> Value {
        let factor = self.float(factor as f32);
        self.multiply(name, input, &factor)
    }

    /// A shape may hold 0 (as it was) and one -1 (what remains).
    pub(super) fn reshape(&mut self, name: &str, input: &Value, shape: &[i64]) -> Value {
        let shape = self.ints(shape);
        self.node(name, "Reshape", &[input, &shape], &[])
    }

    /// Takes every dimension from where `order` says.
    pub(super) fn transpose(&mut self, name: &str, input: &Value, order: &[i64]) -> Value {
        let attributes = [("perm", Attribute::Ints(order.to_vec()))];
        self.node(name, "Transpose", &[input], &attributes)
    }

    /// The same value where it is of that type already.
    pub(super) fn cast(&mut self, name: &str, input: &Value, to: Element) -> Value {
        let attributes = [("to", Attribute::Int(to.number()))];
        self.node(name, "Cast", &[input], &attributes)
    }

    /// Rows `indices` of `table`.
    pub(super) fn gather(&mut self, name: &str, table: &Value, indices: &Value) -> Value {
        self.node(name, "Gather", &[table, indices], &[])
    }

    /// Puts dimensions of one at `axes`.
    pub(super) fn unsqueeze(&mut self, name: &str, input: &Value, axes: &[i64]) -> Value {
        let axes = self.ints(axes);
        self.node(name, "Unsqueeze", &[input, &axes], &[])
    }

    /// Joins along the last dimension.
    pub(super) fn join(&mut self, name: &str, parts: &[&Value]) -> Value {
        self.node(name, "Concat", parts, &[("axis", Attribute::Int(-1))])
    }

    /// The first `width` of the last dimension.
    pub(super) fn first_columns(&mut self, name: &str, input: &Value, width: usize) -> Value {
        let (start, end, axis) = (
            self.ints(&[0]),
            self.ints(&[width as i64]),
            self.ints(&[-1]),
        );
        self.node(name, "Slice", &[input, &start, &end, &axis], &[])
    }

    /// Of the last dimension the mean, which keeps its place.
    pub(super) fn mean(&mut self, name: &str, input: &Value) -> Value {
        let axes = self.ints(&[-1]);
        self.node(name, "ReduceMean", &[input, &axes], &[])
    }

    /// Of the last dimension the largest, which keeps its place.
    pub(super) fn largest(&mut self, name: &str, input: &Value) -> Value {
        let axes = self.ints(&[-1]);
        self.node(name, "ReduceMax", &[input, &axes], &[])
    }

    pub(super) fn softmax(&mut self, name: &str, input: &Value) -> Value {
        self.node(name, "Softmax", &[input], &[("axis", Attribute::Int(-1))])
    }

    /// `limit * tanh(input / limit)`.
    pub(super) fn softcap(&mut self, name: &str, input: &Value, limit: f64) -> Value {
        let limit = self.float(limit as f32);
        let input = self.divide(&format!("{name}/divided"), input, &limit);
        let bent = self.node(&format!("{name}/bent"), "Tanh", &[&input], &[]);
        self.multiply(name, &bent, &limit)
    }

    /// Running sums along the last of two dimensions.
    pub(super) fn running_sum(&mut self, name: &str, input: &Value) -> Value {
        let axis = self.int(1);
        self.node(name, "CumSum", &[input, &axis], &[])
    }
}
