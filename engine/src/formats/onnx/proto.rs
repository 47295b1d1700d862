//! A graph as the bytes of an ONNX model, and what of such a file is needed to check it.
//!
//! Field numbers are those of onnx.proto (IR version 10, operator set 21); tensors beside the graph carry the name of their
//! file, an offset and a length. Knows no network.

use super::element::Element;
use super::graph::{Attribute, Constant, Graph, MICROSOFT, Node, Port, Size, StoredTensor};
use super::wire::{Field, Fields, Message, NoMessage};
use super::{DATA_FILE, OPERATORS};

/// The version of ONNX's own form that operator set 21 came with.
const IR_VERSION: i64 = 10;

/// Data lies in another file.
const EXTERNAL: i64 = 1;

/// The whole file of a graph.
pub(super) fn model(graph: &Graph, name: &str) -> Vec<u8> {
    let mut model = Message::default();
    model.number(1, IR_VERSION);
    model.text(2, "pare");
    model.text(3, env!("CARGO_PKG_VERSION"));
    model.message(7, graph_message(graph, name));
    model.message(8, operators("", OPERATORS));
    let is_ours = |node: &Node| node.domain == MICROSOFT;
    if graph.nodes.iter().any(is_ours) {
        model.message(8, operators(MICROSOFT, 1));
    }
    model.into_bytes()
}

fn operators(domain: &str, version: i64) -> Message {
    let mut message = Message::default();
    message.text(1, domain);
    message.number(2, version);
    message
}

fn graph_message(graph: &Graph, name: &str) -> Message {
    let mut message = Message::default();
    for node in &graph.nodes {
        message.message(1, node_message(node));
    }
    message.text(2, name);
    for constant in &graph.constants {
        message.message(5, constant_message(constant));
    }
    for tensor in &graph.stored {
        message.message(5, stored_message(tensor));
    }
    for port in &graph.inputs {
        message.message(11, port_message(port));
    }
    for port in &graph.outputs {
        message.message(12, port_message(port));
    }
    message
}

fn node_message(node: &Node) -> Message {
    let mut message = Message::default();
    for input in &node.inputs {
        message.text(1, input);
    }
    for output in &node.outputs {
        message.text(2, output);
    }
    message.text(3, &node.name);
    message.text(4, node.operator);
    for (name, attribute) in &node.attributes {
        message.message(5, attribute_message(name, attribute));
    }
    if !node.domain.is_empty() {
        message.text(7, node.domain);
    }
    message
}

fn attribute_message(name: &str, attribute: &Attribute) -> Message {
    let mut message = Message::default();
    message.text(1, name);
    let kind = match attribute {
        Attribute::Float(value) => {
            message.float(2, *value);
            1
        }
        Attribute::Int(value) => {
            message.number(3, *value);
            2
        }
        Attribute::Text(text) => {
            message.text(4, text);
            3
        }
        Attribute::Ints(values) => {
            values.iter().for_each(|&value| message.number(8, value));
            7
        }
    };
    message.number(20, kind);
    message
}

fn tensor_message(name: &str, element: Element, shape: &[usize]) -> Message {
    let mut message = Message::default();
    for &size in shape {
        message.number(1, size as i64);
    }
    message.number(2, element.number());
    message.text(8, name);
    message
}

fn constant_message(constant: &Constant) -> Message {
    let mut message = tensor_message(&constant.name, constant.element, &constant.shape);
    message.bytes(9, &constant.bytes);
    message
}

fn stored_message(tensor: &StoredTensor) -> Message {
    let mut message = tensor_message(&tensor.name, tensor.element, &tensor.shape);
    let entries = [
        ("location", DATA_FILE.to_owned()),
        ("offset", tensor.offset.to_string()),
        ("length", tensor.size_bytes.to_string()),
    ];
    for (key, value) in entries {
        let mut entry = Message::default();
        entry.text(1, key);
        entry.text(2, &value);
        message.message(13, entry);
    }
    message.number(14, EXTERNAL);
    message
}

fn port_message(port: &Port) -> Message {
    let mut shape = Message::default();
    for size in &port.sizes {
        let mut dimension = Message::default();
        match size {
            Size::Fixed(size) => dimension.number(1, *size as i64),
            Size::Named(name) => dimension.text(2, name),
        }
        shape.message(1, dimension);
    }
    let mut tensor = Message::default();
    tensor.number(1, port.element.number());
    tensor.message(2, shape);
    let mut kind = Message::default();
    kind.message(1, tensor);
    let mut message = Message::default();
    message.text(1, &port.name);
    message.message(2, kind);
    message
}

/// A tensor that a read file says lies beside it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ReadTensor {
    pub(super) name: String,
    pub(super) element: Option<Element>,
    pub(super) shape: Vec<i64>,
    pub(super) location: String,
    pub(super) offset: u64,
    pub(super) length: u64,
    is_external: bool,
}

/// The tensors beside the graph of an ONNX file, and the number of its nodes.
pub(super) fn read(bytes: &[u8]) -> Result<(Vec<ReadTensor>, usize), NoMessage> {
    let mut graph = None;
    for field in Fields::new(bytes) {
        if let (7, Field::Bytes(bytes)) = field? {
            graph = Some(bytes);
        }
    }
    let (mut tensors, mut nodes) = (Vec::new(), 0);
    for field in Fields::new(graph.ok_or(NoMessage)?) {
        match field? {
            (1, _) => nodes += 1,
            (5, Field::Bytes(bytes)) => tensors.push(read_tensor(bytes)?),
            _ => {}
        }
    }
    tensors.retain(|tensor| tensor.is_external);
    Ok((tensors, nodes))
}

fn read_tensor(bytes: &[u8]) -> Result<ReadTensor, NoMessage> {
    let mut tensor = ReadTensor::default();
    for field in Fields::new(bytes) {
        match field? {
            (1, Field::Number(size)) => tensor.shape.push(size),
            (2, Field::Number(number)) => tensor.element = Element::of_number(number),
            (8, Field::Bytes(name)) => tensor.name = read_text(name)?,
            (13, Field::Bytes(entry)) => {
                let (key, value) = read_entry(entry)?;
                let number = || value.parse().map_err(|_| NoMessage);
                match key.as_str() {
                    "location" => tensor.location = value,
                    "offset" => tensor.offset = number()?,
                    "length" => tensor.length = number()?,
                    _ => {}
                }
            }
            (14, Field::Number(place)) => tensor.is_external = place == EXTERNAL,
            _ => {}
        }
    }
    Ok(tensor)
}

fn read_entry(bytes: &[u8]) -> Result<(String, String), NoMessage> {
    let (mut key, mut value) = (String::new(), String::new());
    for field in Fields::new(bytes) {
        match field? {
            (1, Field::Bytes(text)) => key = read_text(text)?,
            (2, Field::Bytes(text)) => value = read_text(text)?,
            _ => {}
        }
    }
    Ok((key, value))
}

fn read_text(bytes: &[u8]) -> Result<String, NoMessage> {
    String::from_utf8(bytes.to_vec()).map_err(|_| NoMessage)
}
