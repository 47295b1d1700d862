//! What a GGUF file will consist of, to the byte, before a value is read: header, tensors, types, places.
//!
//! Reads headers and the texts beside a model only.

use super::metadata::{Described, describe};
use super::vocabulary::{self, Texts};
use super::write::AsItIs;
use super::{split, types};
use crate::checkpoint::gguf::names::Architecture;
use crate::checkpoint::gguf::value::Value;
use crate::checkpoint::pooling_of;
use crate::formats::layout::{LayoutError, PlanSource};
use crate::ggml::GgmlType;
use crate::model::ModelConfig;
use crate::packed::{Blocks, Change, Order};
use crate::score::Pooling;
use serde_json::Value as Json;
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

/// A whole model as one GGUF file or a series of them.
#[derive(Debug, Clone, PartialEq)]
pub struct GgufPlan {
    /// The files, at least one.
    pub(super) files: Vec<GgufFile>,
    /// The tensors of all files, in the order in which they lie.
    pub(super) parts: Vec<GgufPart>,
    /// Bytes of all files.
    pub size_bytes: u64,
    /// What a reader of the report must know.
    pub notes: Vec<String>,
}

/// One file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct GgufFile {
    /// Everything before the data.
    pub(super) header: Vec<u8>,
    /// Which of the plan's parts lie in it.
    pub(super) parts: Range<usize>,
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
    /// Whether the source's own bytes are what this file wants.
    pub(super) as_it_is: AsItIs,
    /// From the start of its file's data on.
    pub(super) offset: u64,
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

/// Lays out `source` as one file, or as several of at most `split_bytes` (a larger tensor has one for itself). `kinds`: the
/// types of layers by the names of their tensors; anything else with two dimensions stays as it is, and with one becomes F32.
pub fn plan(
    source: &PlanSource<'_>,
    kinds: &HashMap<String, GgmlType>,
    split_bytes: Option<u64>,
) -> Result<GgufPlan, LayoutError> {
    plan_or_say(source, kinds, split_bytes).map_err(|problem| LayoutError::Gguf {
        problem,
        path: source.root.to_owned(),
    })
}

/// Refuses a model that no architecture of llama.cpp is, before anything is solved.
pub fn check(source: &PlanSource<'_>) -> Result<(), LayoutError> {
    plan(source, &HashMap::new(), None).map(|_| ())
}

fn plan_or_say(
    source: &PlanSource<'_>,
    kinds: &HashMap<String, GgmlType>,
    split_bytes: Option<u64>,
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
    let Described {
        keys,
        tables,
        mut notes,
    } = describe(architecture, &config, json, &pooling(source)?)?;
    let texts = texts_of(source, json);
    let (vocabulary, told) = vocabulary::keys(&texts, config.vocabulary);
    notes.extend(told);
    let mut parts = Vec::new();
    for (name, values) in tables {
        parts.push(made(name, values));
    }
    for name in source.weights.names() {
        parts.extend(part(source, architecture, &config, &name, kinds)?);
    }
    if architecture == Architecture::GptNeox && config.tied {
        let (head, note) = repeated_head(&parts)?;
        parts.push(head);
        notes.push(note);
    }
    let all = all_keys(source, architecture, keys, vocabulary, &parts);
    let files = split::files(&all, &mut parts, split_bytes);
    Ok(GgufPlan {
        size_bytes: files.iter().map(|file| split::size_of(file, &parts)).sum(),
        files,
        parts,
        notes,
    })
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
    if let Some(name) = name_of(source.root) {
        all.push(text("general.name", &name));
    }
    all.push(("general.file_type".to_owned(), Value::u32(file_type(parts))));
    if parts.iter().any(|part| part.kind.is_quantized()) {
        all.push(("general.quantization_version".to_owned(), Value::u32(2)));
    }
    all.extend(keys);
    all.extend(vocabulary);
    all
}

/// What a person would call the model: its folder's whole name, or its file's without the ending.
fn name_of(root: &Path) -> Option<String> {
    let whole = std::path::absolute(root).ok()?;
    let name = match whole.is_dir() {
        true => whole.file_name(),
        false => whole.file_stem(),
    };
    Some(name?.to_str()?.to_owned())
}

/// llama.cpp's gptneox loads no model without a head: one that is tied stands in the file twice.
fn repeated_head(parts: &[GgufPart]) -> Result<(GgufPart, String), String> {
    let embedding = parts.iter().find(|part| part.name == "token_embd.weight");
    let head = GgufPart {
        name: "output.weight".to_owned(),
        ..embedding.ok_or("it has no embedding")?.clone()
    };
    let note = format!(
        "llama.cpp's gptneox has no tied head, so the embedding stands in the file twice: {} bytes more",
        head.size_bytes
    );
    Ok((head, note))
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
        as_it_is: AsItIs::No,
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
    let blocks = source.packed.and_then(|packed| packed.blocks(name));
    let kind = match (kinds.get(name), blocks) {
        (Some(&kind), _) => kind,
        _ if shape.len() < 2 || is_table => GgmlType::F32,
        (None, Some(blocks)) => blocks.kind,
        (None, None) => types::plain(info.dtype),
    };
    let is_same = |blocks: Blocks| blocks.kind == kind && blocks.order.agrees(order);
    // Who stands in for a model, with no codes of its own, may change values and not bytes.
    let keeps_values =
        source.packed.is_some() && !matches!(change, Change::Transposed | Change::PlusOne);
    let as_it_is = match blocks {
        Some(blocks) if is_same(blocks) => AsItIs::Blocks,
        None if types::is_dtype(kind, info.dtype) && keeps_values => match order.moves_rows() {
            true => AsItIs::MovedRows,
            false => AsItIs::Floats,
        },
        _ => AsItIs::No,
    };
    let size_bytes = kind.bytes_of(info.elements());
    Ok(Some(GgufPart {
        name: gguf,
        origin: Origin::Tensor(name.to_owned()),
        kind,
        shape,
        order,
        as_it_is,
        offset: 0,
        size_bytes: size_bytes
            .ok_or_else(|| format!("{name} has rows that are no whole blocks of {kind}"))?,
    }))
}

/// A text beside the model, whether it lies on disk or is made of the container.
fn read_side(source: &PlanSource<'_>, name: &str) -> Option<Vec<u8>> {
    let mut made = source.made_files.iter();
    if let Some((_, bytes)) = made.find(|(path, _)| path == Path::new(name)) {
        return Some(bytes.clone());
    }
    let listed = source.side_files.iter().any(|path| path == Path::new(name));
    listed.then(|| std::fs::read(source.root.join(name)).ok())?
}

fn pooling(source: &PlanSource<'_>) -> Result<Pooling, String> {
    let read = |name: &str| {
        let text = read_side(source, name);
        let parsed = text.map(|text| serde_json::from_slice(&text));
        parsed
            .transpose()
            .map_err(|error| format!("is not JSON ({error})"))
    };
    pooling_of(&read).map_err(|wrong| format!("{}: {}", wrong.file, wrong.problem))
}

fn texts_of(source: &PlanSource<'_>, config: &Json) -> Texts {
    let json = |name: &str| serde_json::from_slice(&read_side(source, name)?).ok();
    Texts {
        tokenizer: json("tokenizer.json"),
        tokenizer_config: json("tokenizer_config.json"),
        config: config.clone(),
        chat_template: read_side(source, "chat_template.jinja")
            .and_then(|bytes| String::from_utf8(bytes).ok()),
    }
}
