//! `pare inspect`: what is in a model.
//!
//! Reads headers only.

use crate::cli::answer::Answer;
use crate::cli::arguments::Inspect;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::table::{Edge, Table};
use pare_engine::session::{InspectedLayer, Inspection};
use pare_engine::units::Bytes;

pub(super) fn run(arguments: &Inspect, context: &Context) -> Result<Answer, Failure> {
    let inspection = context.open(&arguments.model)?.session.inspect();
    Answer::new(&inspection, page(&inspection))
}

fn page(inspection: &Inspection) -> String {
    let mut table = Table::new(&[
        ("name", Edge::Left),
        ("role", Edge::Left),
        ("shape", Edge::Right),
        ("dtype", Edge::Left),
        ("size", Edge::Right),
        ("", Edge::Left),
    ]);
    for layer in &inspection.layers {
        table.row(row(layer));
    }
    format!("{}\n{}", table.text(), summary(inspection))
}

fn row(layer: &InspectedLayer) -> [String; 6] {
    let shape: Vec<String> = layer.shape.iter().map(usize::to_string).collect();
    [
        layer.name.clone(),
        layer.role.clone(),
        shape.join(" x "),
        layer.dtype.clone(),
        Bytes(layer.bytes).to_string(),
        if layer.compressible {
            "compressible"
        } else {
            ""
        }
        .to_owned(),
    ]
}

fn summary(inspection: &Inspection) -> String {
    let family = inspection.family.as_deref().unwrap_or("unknown family");
    let dtypes: Vec<String> = inspection
        .dtypes
        .iter()
        .map(|share| format!("{} {}", Bytes(share.bytes), share.dtype))
        .collect();
    let mut text = format!(
        "{}: {family}, {} parameters, {} ({})",
        inspection.model,
        inspection.parameters,
        Bytes(inspection.bytes),
        dtypes.join(", ")
    );
    if let Some(context) = inspection.context_length {
        text.push_str(&format!(", context {context} tokens"));
    }
    text.push('\n');
    if let Some(reason) = &inspection.reason {
        text.push_str(&format!("The network cannot be run: {reason}\n"));
    }
    for note in &inspection.notes {
        text.push_str(&format!("Note: {note}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use pare_engine::session::DtypeShare;

    #[test]
    fn the_page_names_family_size_and_layers() {
        let inspection = Inspection {
            model: "m".to_owned(),
            family: None,
            reason: Some("its architecture is not known.".to_owned()),
            parameters: 8,
            bytes: 16,
            dtypes: vec![DtypeShare {
                dtype: "F16".to_owned(),
                bytes: 16,
            }],
            context_length: Some(64),
            notes: vec!["it asks for more.".to_owned()],
            layers: vec![InspectedLayer {
                name: "a".to_owned(),
                role: "other".to_owned(),
                block: None,
                shape: vec![2, 4],
                dtype: "F16".to_owned(),
                parameters: 8,
                bytes: 16,
                compressible: true,
            }],
        };
        let expected = "\
name  role   shape  dtype  size
a     other  2 x 4  F16    16 B  compressible

m: unknown family, 8 parameters, 16 B (16 B F16), context 64 tokens
The network cannot be run: its architecture is not known.
Note: it asks for more.
";
        assert_eq!(page(&inspection), expected);
    }
}
