//! `config.json` of a written model: as it was, or with the quantization that loaders of its container read.
//!
//! What stands in that quantization is `external`'s knowledge, container by container.

use serde_json::{Map, Value};

/// Keys under which models tell how they are quantized.
const KEYS: [&str; 2] = ["quantization_config", "quantization"];

/// `config` without the traces of an earlier quantization. `None` where it has none and can stay as it is.
pub(super) fn without_quantization(config: &Value) -> Option<Vec<u8>> {
    let entries = config.as_object()?;
    let bare = bare(entries);
    (bare.len() < entries.len()).then(|| pretty(Value::Object(bare)))
}

/// `config` with these entries in place of the traces of an earlier quantization.
pub(super) fn with(config: &Map<String, Value>, quantization: Map<String, Value>) -> Vec<u8> {
    let mut entries = bare(config);
    entries.extend(quantization);
    pretty(Value::Object(entries))
}

fn bare(config: &Map<String, Value>) -> Map<String, Value> {
    let mut entries = config.clone();
    for key in KEYS {
        entries.shift_remove(key);
    }
    entries
}

fn pretty(value: Value) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(&value).expect("a JSON value always has a text");
    text.push(b'\n');
    text
}
