//! A graph being built: nodes in the order in which they run, constants, weights by their place, inputs and outputs.
//!
//! Every value has one maker and is made before it is used, since a node can only be given values that exist. Names are
//! those of the network's layers. Knows no network and no bytes.

use super::element::Element;
use super::weight::PartKind;
use std::collections::{HashMap, HashSet};

/// The operators of ONNX Runtime beside the standard ones.
pub(super) const MICROSOFT: &str = "com.microsoft";

/// Something that a node makes or takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value(String);

/// What a node is told beside its inputs.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Attribute {
    Int(i64),
    Ints(Vec<i64>),
    Float(f32),
    Text(&'static str),
}

/// One step of the computation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) operator: &'static str,
    /// Empty for the standard operators.
    pub(super) domain: &'static str,
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    pub(super) attributes: Vec<(&'static str, Attribute)>,
}

/// A small constant, inside the graph's file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Constant {
    pub(super) name: String,
    pub(super) element: Element,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Vec<u8>,
}

/// A tensor in the file beside the graph.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredTensor {
    /// Its name in the graph.
    pub name: String,
    pub(super) element: Element,
    pub(super) shape: Vec<usize>,
    pub(super) origin: Origin,
    /// From the start of that file on.
    pub(super) offset: u64,
    /// Bytes.
    pub size_bytes: u64,
}

/// Where a stored tensor's values come from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Origin {
    /// The tensor of the checkpoint.
    pub(super) tensor: String,
    /// What of it is stored.
    pub(super) kind: PartKind,
}

/// A size of an input or output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Fixed(usize),
    Named(&'static str),
}

/// An input or output of the graph.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Port {
    pub(super) name: String,
    pub(super) element: Element,
    pub(super) sizes: Vec<Size>,
}

/// A graph.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    pub(super) constants: Vec<Constant>,
    pub(super) stored: Vec<StoredTensor>,
    pub(super) inputs: Vec<Port>,
    pub(super) outputs: Vec<Port>,
    names: HashSet<String>,
    known: HashMap<(Element, Vec<usize>, Vec<u8>), Value>,
}

impl Value {
    /// The place of an input that is left out.
    pub(super) fn none() -> Self {
        Self(String::new())
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }
}

impl Graph {
    /// A new input.
    pub(super) fn input(&mut self, name: &str, element: Element, sizes: &[Size]) -> Value {
        let value = self.new_name(name);
        self.inputs.push(Port {
            name: value.0.clone(),
            element,
            sizes: sizes.to_vec(),
        });
        value
    }

    /// Calls `value` an output under `name`.
    pub(super) fn output(&mut self, name: &str, value: &Value, element: Element, sizes: &[Size]) {
        let value = self.node(name, "Identity", &[value], &[]);
        self.outputs.push(Port {
            name: value.0,
            element,
            sizes: sizes.to_vec(),
        });
    }

    /// A node of a standard operator with one output, both called `name`.
    pub(super) fn node(
        &mut self,
        name: &str,
        operator: &'static str,
        inputs: &[&Value],
        attributes: &[(&'static str, Attribute)],
    ) -> Value {
        self.node_of("", name, operator, inputs, attributes)
    }

    /// The same of another set of operators.
    pub(super) fn node_of(
        &mut self,
        domain: &'static str,
        name: &str,
        operator: &'static str,
        inputs: &[&Value],
        attributes: &[(&'static str, Attribute)],
    ) -> Value {
        let value = self.new_name(name);
        self.nodes.push(Node {
            name: value.0.clone(),
            operator,
            domain,
            inputs: inputs.iter().map(|input| input.0.clone()).collect(),
            outputs: vec![value.0.clone()],
            attributes: attributes.to_vec(),
        });
        value
    }

    /// Cuts the last dimension into parts of these widths, called `name/0`, `name/1`, …
    pub(super) fn split(&mut self, name: &str, input: &Value, widths: &[usize]) -> Vec<Value> {
        let sizes: Vec<i64> = widths.iter().map(|&width| width as i64).collect();
        let sizes = self.ints(&sizes);
        let outputs: Vec<Value> = (0..widths.len())
            .map(|part| self.new_name(&format!("{name}/{part}")))
            .collect();
        let node = self.new_name(name);
        self.nodes.push(Node {
            name: node.0,
            operator: "Split",
            domain: "",
            inputs: vec![input.0.clone(), sizes.0],
            outputs: outputs.iter().map(|output| output.0.clone()).collect(),
            attributes: vec![("axis", Attribute::Int(-1))],
        });
        outputs
    }

    /// A list of whole numbers.
    pub(super) fn ints(&mut self, values: &[i64]) -> Value {
        let words: Vec<String> = values.iter().map(i64::to_string).collect();
        let bytes = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let name = format!("constant.ints.{}", words.join("_"));
        self.constant(&name, Element::I64, &[values.len()], bytes)
    }

    /// One whole number.
    pub(super) fn int(&mut self, value: i64) -> Value {
        let name = format!("constant.int.{value}");
        self.constant(&name, Element::I64, &[], value.to_le_bytes().to_vec())
    }

    /// One float.
    pub(super) fn float(&mut self, value: f32) -> Value {
        let name = format!("constant.float.{value:e}");
        self.constant(&name, Element::F32, &[], value.to_le_bytes().to_vec())
    }

    /// Floats.
    pub(super) fn floats(&mut self, name: &str, values: &[f32]) -> Value {
        let bytes = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.constant(name, Element::F32, &[values.len()], bytes)
    }

    /// A small constant; one that exists already is found again.
    pub(super) fn constant(
        &mut self,
        name: &str,
        element: Element,
        shape: &[usize],
        bytes: Vec<u8>,
    ) -> Value {
        let key = (element, shape.to_vec(), bytes);
        if let Some(value) = self.known.get(&key) {
            return value.clone();
        }
        let value = self.new_name(name);
        self.constants.push(Constant {
            name: value.0.clone(),
            element,
            shape: shape.to_vec(),
            bytes: key.2.clone(),
        });
        self.known.insert(key, value.clone());
        value
    }

    /// A tensor in the file beside the graph; its place is found later. One that is stored already is found again.
    pub(super) fn store(
        &mut self,
        name: &str,
        element: Element,
        shape: &[usize],
        origin: Origin,
    ) -> Value {
        if let Some(known) = self.stored.iter().find(|stored| stored.origin == origin) {
            return Value(known.name.clone());
        }
        let value = self.new_name(name);
        let elements: u64 = shape.iter().map(|&size| size as u64).product();
        self.stored.push(StoredTensor {
            name: value.0.clone(),
            element,
            shape: shape.to_vec(),
            origin,
            offset: 0,
            size_bytes: elements * element.size_bytes(),
        });
        value
    }

    /// `name`, or with a number where it is taken.
    fn new_name(&mut self, name: &str) -> Value {
        let mut found = name.to_owned();
        let mut number = 1;
        while !self.names.insert(found.clone()) {
            number += 1;
            found = format!("{name}#{number}");
        }
        Value(found)
    }
}
