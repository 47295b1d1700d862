//! ggml's block types on raw arrays, for programs of other languages to compare with: `tests/interop` calls it.
//!
//! ```text
//! ggml_blocks encode TYPE COLUMNS OUT VALUES [IMPORTANCE]     f32 -> blocks
//! ggml_blocks decode TYPE COLUMNS OUT BLOCKS                  blocks -> f32
//! ```

use pare_engine::ggml::{self, GgmlType};
use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [verb, kind, columns, out, input, rest @ ..] = words.as_slice() else {
        return Err("ggml_blocks encode|decode TYPE COLUMNS OUT IN [IMPORTANCE]".into());
    };
    let kind = GgmlType::of_word(kind).ok_or("no such type")?;
    let written = match verb.as_str() {
        "encode" => {
            let importance = rest.first().map(|path| floats(Path::new(path)));
            let importance = importance.transpose()?;
            let values = floats(Path::new(input))?;
            ggml::encode(kind, columns.parse()?, &values, importance.as_deref())
        }
        _ => decoded(kind, &fs::read(input)?),
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "a scratch file of the comparison, which is read once"
    )]
    fs::write(out, written)?;
    Ok(())
}

fn floats(path: &Path) -> Result<Vec<f32>, Box<dyn Error>> {
    let bytes = fs::read(path)?;
    let mut values = vec![0.0; bytes.len() / 4];
    ggml::decode(GgmlType::F32, &bytes, &mut values);
    Ok(values)
}

fn decoded(kind: GgmlType, bytes: &[u8]) -> Vec<u8> {
    let mut values = vec![0.0; bytes.len() / kind.block_bytes() * kind.block_values()];
    ggml::decode(kind, bytes, &mut values);
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}
