//! Runs on disk, scored and run on the kernels: beside the dense weights that they stand for, and damaged.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use pare_engine::evaluate::evaluate_decoder;
use pare_engine::formats::Format;
use pare_engine::model::{CacheKind, Model};
use pare_engine::recipe::Overrides;
use pare_engine::report::{DecoderEvaluation, Evaluation};
use pare_engine::session::{EvaluateRequest, Session, SessionError};
use pare_engine::solved::Method;
use pare_tests::sessions::{Quiet, TINY_VOCABULARY, Workshop};
use std::path::{Path, PathBuf};

const WINDOW_TOKENS: usize = 32;

/// A finished run of 4 bits, 8 in embedding and head where the container holds them.
fn run(workshop: &Workshop, format: Format) -> PathBuf {
    let mut recipe = workshop.recipe(Method::Rtn, 4, 32);
    recipe.embeddings = (format == Format::Pare).then(|| Overrides {
        bits: Some(8),
        ..Default::default()
    });
    let request = workshop.request(recipe, format.word(), format);
    let session = workshop.open(&workshop.model()).unwrap();
    session.compress(&request, &Quiet::default()).unwrap();
    request.out
}

fn evaluate(
    workshop: &Workshop,
    session: &Session,
    windows: usize,
) -> Result<DecoderEvaluation, SessionError> {
    let request = EvaluateRequest {
        corpus: Some(workshop.ids()),
        reference: None,
        length: Some(WINDOW_TOKENS),
        windows: Some(windows),
        sts: None,
        kv: None,
    };
    match session.evaluate(&request, &Quiet::default())? {
        Evaluation::Decoder(decoder) => Ok(decoder),
        other => panic!("a decoder was scored, not {other:?}"),
    }
}

fn resident_bytes(model: &Model) -> u64 {
    let layers = model.layers().iter();
    layers.map(|layer| model.resident_bytes(layer)).sum()
}

#[test]
fn codes_score_as_the_dense_weights_that_they_stand_for() {
    for format in [Format::Pare, Format::Gptq] {
        let workshop = Workshop::new();
        let session = workshop.open(&run(&workshop, format)).unwrap();
        let (dense, packed) = (
            session.model().unwrap(),
            session.model_on_kernels().unwrap(),
        );
        let bytes = [dense, &packed].map(resident_bytes);
        assert!(2 * bytes[1] < bytes[0], "{format:?}: bytes {bytes:?}");
        let ids: Vec<u32> = (0..8 * WINDOW_TOKENS as u32)
            .map(|place| place * place % TINY_VOCABULARY as u32)
            .collect();
        let windows: Vec<&[u32]> = ids.chunks(WINDOW_TOKENS).collect();
        let beside = evaluate_decoder(
            &packed,
            CacheKind::F32,
            Some(dense),
            &windows,
            u64::MAX,
            &Quiet::default(),
        );
        let kl = beside.unwrap().kl.unwrap().max;
        assert!(
            kl < 1e-8,
            "{format:?}: expected the same distributions, KL {kl}"
        );
        assert!(evaluate(&workshop, &session, 8).unwrap().perplexity > 1.0);
    }
}

/// Offsets and bytes of each tensor of a safetensors file.
fn tensors(path: &Path) -> Vec<(String, std::ops::Range<usize>)> {
    let bytes = std::fs::read(path).unwrap();
    let header_bytes = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header_bytes]).unwrap();
    let entries = header.as_object().unwrap().iter();
    entries
        .filter_map(|(name, entry)| {
            let offsets = entry["data_offsets"].as_array()?;
            let offset =
                |index: usize| 8 + header_bytes + offsets[index].as_u64().unwrap() as usize;
            Some((name.clone(), offset(0)..offset(1)))
        })
        .collect()
}

/// All bits set is NaN in a scale, the largest code, -1 in an index; all clear is a scale of zero.
#[test]
fn damaged_parts_are_errors_or_numbers_but_never_a_panic() {
    for format in [Format::Pare, Format::Gptq] {
        let workshop = Workshop::new();
        let path = run(&workshop, format).join("model.safetensors");
        let whole = std::fs::read(&path).unwrap();
        let folder = path.parent().unwrap();
        let mut refused = 0;
        for (name, range) in tensors(&path) {
            for byte in [0xff, 0x00] {
                let mut damaged = whole.clone();
                damaged[range.clone()].fill(byte);
                std::fs::write(&path, damaged).unwrap();
                let outcome = workshop
                    .open(folder)
                    .and_then(|session| evaluate(&workshop, &session, 1));
                let message = outcome.as_ref().err().map(ToString::to_string);
                let is_scale = name.contains("scales") || name.ends_with("absmax");
                if is_scale && byte == 0xff {
                    let message = message.clone().unwrap_or_default();
                    assert!(message.contains("NaN"), "{format:?}, {name}: {message:?}");
                }
                refused += usize::from(message.is_some());
            }
        }
        assert!(refused > 0, "{format:?}: nothing was refused");
    }
}
