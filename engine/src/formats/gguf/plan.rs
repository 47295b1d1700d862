//! What a GGUF file will consist of, to the byte, before a value is read: header, tensors, types, places.
//!
//! Reads headers and the texts beside a model only.

use super::container::{ALIGNMENT, Listed, header};
use super::metadata::{Described, describe};
use super::types;
use super::vocabulary::{self, Texts};
use crate::checkpoint::gguf::Order;
use crate::checkpoint::gguf::names::{Architecture, Change};
use crate::checkpoint::gguf::value::Value;
use crate::formats::layout::{LayoutError, Placement, Plan, PlanSource};
use crate::ggml::GgmlType;
use crate::model::ModelConfig;
use serde_json::Value as Json;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// A whole GGUF file.
#[derive(Debug, Clone, PartialEq)]
pub struct GgufPlan {
    /// Everything before the data.
    pub(super) header: Vec<u8>,
    /// The tensors, in the order in which they lie.
    pub(super) parts: Vec<GgufPart>,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// What a reader of the report must know.
    pub notes: Vec<String>,
}

/// One tensor of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct GgufPart {
    /// Its name in the file.
    pub name: String,
    /// Where its values come from.
    pub(super) origin: Origin,
    /// Its element type.
    pub kind: GgmlType,
    /// Its shape in the file, outermost first.
    pub shape: Vec<usize>,
    /// What lies otherwise than in the source.
    pub(super) order: Order,
    /// From the start of the data on.
    offset: u64,
    /// Bytes.
    pub size_bytes: u64,
}

/// Where values come from.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Origin {
    /// The source's tensor of this name, or what replaced it.
    Tensor(String),
    /// These, which no checkpoint has.
    Made(Vec<f32>),
}

impl GgufPlan {
    /// The parts that a run solved or changed: what else there is came from the source as it was.
    pub(super) fn solved_only(&self, plan: &Plan) -> Self {
        let solved = plan.layers.iter();
        let solved = solved.filter(|layer| layer.placement != Placement::Source);
        let names: HashSet<&str> = solved.map(|layer| layer.tensor.name.as_str()).collect();
        let is_solved = |part: &&GgufPart| part.tensor().is_some_and(|name| names.contains(name));
        Self {
            parts: self.parts.iter().filter(is_solved).cloned().collect(),
            ..self.clone()
        }
    }
}

impl GgufPart {
    /// The tensor of the source; of a table that is made, none.
    pub fn tensor(&self) -> Option<&str> {
        match &self.origin {
            Origin::Tensor(name) => Some(name),
            Origin::Made(_) => None,
        }
    }

    /// Values of a row.
    pub(super) fn columns(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }
}

/// Lays out `source` as one file. `kinds`: the types of layers by the names of their tensors; anything else with two
/// dimensions stays as it is, and with one becomes F32.
pub fn plan(
    source: &PlanSource<'_>,
    kinds: &HashMap<String, GgmlType>,
) -> Result<GgufPlan, LayoutError> {
    plan_or_say(source, kinds).map_err(|problem| LayoutError::Gguf {
        problem,
        path: source.root.to_owned(),
    })
}

/// Refuses a model that no architecture of llama.cpp is, before anything is solved.
pub fn check(source: &PlanSource<'_>) -> Result<(), LayoutError> {
    plan(source, &HashMap::new()).map(|_| ())
}

fn plan_or_say(
    source: &PlanSource<'_>,
    kinds: &HashMap<String, GgmlType>,
) -> Result<GgufPlan, String> {
    let json = source
        .config
        .ok_or("it has no config.json, so its architecture is not known")?;
    let config = ModelConfig::parse(json).map_err(|error| error.to_string())?;
    let architecture = Architecture::of_family(config.family).ok_or_else(|| {
        format!(
            "llama.cpp has no architecture for the family {}",
            config.family.name()
        )
    })?;
    let Described { keys, tables } = describe(architecture, &config, json)?;
    let texts = texts_of(source, json);
    let (vocabulary, told) = vocabulary::keys(&texts, config.vocabulary);
    let mut parts = Vec::new();
    for (name, values) in tables {
        parts.push(made(name, values));
    }
    for name in source.weights.names() {
        parts.extend(part(source, architecture, &config, &name, kinds)?);
    }
    let size = place(&mut parts);
    let all = all_keys(source, architecture, keys, vocabulary, &parts);
    let listed: Vec<Listed<'_>> = parts.iter().map(listed).collect();
    let header = header(&all, &listed);
    Ok(GgufPlan {
        size_bytes: header.len() as u64 + size,
        header,
        parts,
        notes: told.into_iter().collect(),
    })
}

fn listed(part: &GgufPart) -> Listed<'_> {
    Listed {
        name: &part.name,
        shape: &part.shape,
        kind: part.kind,
        offset: part.offset,
    }
}

fn all_keys(
    source: &PlanSource<'_>,
    architecture: Architecture,
    keys: Vec<(String, Value)>,
    vocabulary: Vec<(String, Value)>,
    parts: &[GgufPart],
) -> Vec<(String, Value)> {
    let text = |key: &str, text: &str| (key.to_owned(), Value::Text(text.to_owned()));
    let mut all = vec![text("general.architecture", architecture.word())];
    if let Some(name) = source.root.file_stem().and_then(|name| name.to_str()) {
        all.push(text("general.name", name));
    }
    all.push(("general.file_type".to_owned(), Value::u32(file_type(parts))));
    if parts.iter().any(|part| part.kind.is_quantized()) {
        all.push(("general.quantization_version".to_owned(), Value::u32(2)));
    }
    all.extend(keys);
    all.extend(vocabulary);
    all
}

/// llama.cpp's number for the type of most weights.
fn file_type(parts: &[GgufPart]) -> u32 {
    let mut bytes: HashMap<GgmlType, u64> = HashMap::new();
    for part in parts.iter().filter(|part| part.shape.len() > 1) {
        *bytes.entry(part.kind).or_default() += part.size_bytes;
    }
    let most = GgmlType::ALL
        .into_iter()
        .max_by_key(|kind| bytes.get(kind).copied().unwrap_or(0));
    match most.unwrap_or(GgmlType::F32) {
        GgmlType::F32 => 0,
        GgmlType::F16 => 1,
        GgmlType::Q4_0 => 2,
        GgmlType::Q4_1 => 3,
        GgmlType::Q8_0 => 7,
        GgmlType::Q5_0 => 8,
        GgmlType::Q5_1 => 9,
        GgmlType::Q2_K => 10,
        GgmlType::Q3_K => 11,
        GgmlType::Q4_K => 14,
        GgmlType::Q5_K => 16,
        GgmlType::Q6_K => 18,
        GgmlType::IQ4_NL => 25,
        GgmlType::BF16 => 32,
    }
}

fn made(name: &str, values: Vec<f32>) -> GgufPart {
    GgufPart {
        name: name.to_owned(),
        shape: vec![values.len()],
        size_bytes: 4 * values.len() as u64,
        origin: Origin::Made(values),
        kind: GgmlType::F32,
        order: Order {
            change: Change::None,
            heads: 0,
        },
        offset: 0,
    }
}

/// Tensors that llama.cpp makes itself or has no use for.
fn is_left_out(name: &str, config: &ModelConfig) -> bool {
    let endings = [
        ".attn.bias",
        ".attn.masked_bias",
        ".attention.bias",
        ".attention.masked_bias",
        "rotary_emb.inv_freq",
        "position_ids",
    ];
    let heads_of_encoders = ["pooler.", "bert.pooler.", "cls."];
    endings.iter().any(|ending| name.ends_with(ending))
        || heads_of_encoders
            .iter()
            .any(|start| name.starts_with(start))
        || (config.tied && (name == "lm_head.weight" || name == "embed_out.weight"))
}

fn part(
    source: &PlanSource<'_>,
    architecture: Architecture,
    config: &ModelConfig,
    name: &str,
    kinds: &HashMap<String, GgmlType>,
) -> Result<Option<GgufPart>, String> {
    if is_left_out(name, config) {
        return Ok(None);
    }
    let (Some((gguf, change)), Some(info)) =
        (architecture.to_gguf(name), source.weights.info(name))
    else {
        let word = architecture.word();
        return Err(format!(
            "its tensor {name} has no place in llama.cpp's {word}"
        ));
    };
    let mut shape = info.shape.clone();
    if change == Change::Transposed && shape.len() == 2 {
        shape.swap(0, 1);
    }
    let order = Order {
        change,
        heads: match change {
            Change::KeyRows => config.kv_heads,
            _ => config.heads,
        },
    };
    let rows = shape.first().copied().unwrap_or(1);
    if !order.fits(rows) {
        return Err(format!(
            "the {rows} rows of {name} are not divided by {} heads",
            order.heads
        ));
    }
    let is_table = gguf.starts_with("position_embd") || gguf.starts_with("token_types");
    let kind = match kinds.get(name) {
        Some(&kind) => kind,
        None if shape.len() < 2 || is_table => GgmlType::F32,
        None => types::plain(info.dtype),
    };
    let size_bytes = kind.bytes_of(info.elements());
    Ok(Some(GgufPart {
        name: gguf,
        origin: Origin::Tensor(name.to_owned()),
        kind,
        shape,
        order,
        offset: 0,
        size_bytes: size_bytes
            .ok_or_else(|| format!("{name} has rows that are no whole blocks of {kind}"))?,
    }))
}

/// Puts parts one behind the other and tells the bytes of all.
fn place(parts: &mut [GgufPart]) -> u64 {
    let mut offset = 0;
    for part in parts {
        part.offset = offset;
        offset = (offset + part.size_bytes).next_multiple_of(ALIGNMENT);
    }
    offset
}

fn texts_of(source: &PlanSource<'_>, config: &Json) -> Texts {
    let read = |name: &str| -> Option<Vec<u8>> {
        let made = source
            .made_files
            .iter()
            .find(|(path, _)| path == Path::new(name));
        match made {
            Some((_, bytes)) => Some(bytes.clone()),
            None => {
                let listed = source.side_files.iter().any(|path| path == Path::new(name));
                listed.then(|| std::fs::read(source.root.join(name)).ok())?
            }
        }
    };
    let json = |name: &str| serde_json::from_slice(&read(name)?).ok();
    Texts {
        tokenizer: json("tokenizer.json"),
        tokenizer_config: json("tokenizer_config.json"),
        config: config.clone(),
        chat_template: read("chat_template.jinja").and_then(|bytes| String::from_utf8(bytes).ok()),
    }
}
