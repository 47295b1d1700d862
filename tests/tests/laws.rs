//! The laws of the house that bind several modules, and where the others stand.
//!
//! | law | test |
//! | --- | --- |
//! | 1 unpack(pack(x)) = x | engine `packed::tests::affine_layers_return_unchanged`, `nf4_layers_return_unchanged` |
//! | 2 block size changes nothing | engine `solve::gptq::tests::block_size_changes_nothing_where_numbers_are_exact`, `block_size_hardly_moves_the_loss` |
//! | 3 moments c·identity give plain rounding | engine `solve::gptq::tests::scaled_identity_moments_give_plain_rounding` |
//! | 4 batches do not matter to moments | engine `moments::accumulate::tests::do_not_depend_on_batches` |
//! | 5 kernels equal their slow twins | engine `kernels::*::tests::*slow_twin*`, `kernels::columns::tests::every_instruction_set_gives_the_same_bits` |
//! | 6 odd layers stay finite | engine `solve::gptq::tests::degenerate_layers_stay_finite`, `solve::rtn::tests::odd_layers_stay_finite`; whole models here |
//! | 7 N:M keeps exactly N of every M | engine `mask::tests::exactly_n_of_every_m_are_kept_and_they_are_the_largest` |
//! | 8 export, reopen: same values, same score | here |
//! | 9 same bytes at any thread count | here |
//! | 10 a stop leaves nothing broken, a resume ends the same | here |
//! | 11 loss is the damped output error | engine `solve::gptq::tests::loss_is_the_damped_output_error` |

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use pare_engine::checkpoint::Checkpoint;
use pare_engine::formats::{Format, export};
use pare_engine::report::Evaluation;
use pare_engine::session::{EvaluateRequest, Session};
use pare_engine::solved::Method;
use pare_engine::tensor::WeightSource as _;
use pare_tests::ladder::source_files;
use pare_tests::sessions::{Quiet, Stopper, Workshop, differing, files_of};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;

/// All tensors of a model by name.
fn values(model: &Path) -> BTreeMap<String, Vec<f32>> {
    let source = Checkpoint::open(model).unwrap();
    let read = |name: String| {
        let values = source.read_f32(&name).unwrap();
        (name, values)
    };
    source.names().into_iter().map(read).collect()
}

/// Perplexity of `model` on the workshop's ids.
fn perplexity(workshop: &Workshop, model: &Path) -> f64 {
    let request = EvaluateRequest {
        corpus: Some(workshop.ids()),
        reference: None,
        length: Some(32),
        windows: None,
        sts: None,
        kv: None,
    };
    let evaluation = workshop
        .open(model)
        .unwrap()
        .evaluate(&request, &Quiet::default())
        .unwrap();
    match evaluation {
        Evaluation::Decoder(decoder) => decoder.perplexity,
        Evaluation::Encoder(_) => panic!("a Llama is a decoder"),
    }
}

#[test]
fn tests_that_the_table_names_exist() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/src");
    let all: String = source_files(&sources)
        .unwrap()
        .iter()
        .map(|file| std::fs::read_to_string(sources.join(file)).unwrap())
        .collect();
    let table = include_str!("laws.rs")
        .lines()
        .filter(|line| line.starts_with("//! |"));
    let mut found = 0;
    for cell in table.flat_map(|line| line.split('`').skip(1).step_by(2)) {
        let name = cell.rsplit("::").next().unwrap_or(cell);
        if !name.contains('*') {
            assert!(
                all.contains(&format!("fn {name}(")),
                "there is no test {name}"
            );
            found += 1;
        }
    }
    assert!(found >= 8, "only {found} names were found in the table");
}

#[test]
fn law_6_a_model_of_zeros_and_constants_is_compressed_and_stays_finite() {
    let workshop = Workshop::new();
    flatten_weights(&workshop.model());
    for method in [
        Method::Rtn,
        Method::Gptq,
        Method::Awq,
        Method::Hqq,
        Method::Nf4,
    ] {
        let out = format!("out-{}", method.word());
        let recipe = workshop.recipe(method, 3, 32);
        let request = workshop.request(recipe, &out, Format::Pare);
        let session = workshop.open(&workshop.model()).unwrap();
        session
            .compress(&request, &Quiet::default())
            .unwrap_or_else(|error| panic!("{}: {error}", method.word()));
        for (name, values) in values(&workshop.path(&out)) {
            let finite = values.iter().all(|value| value.is_finite());
            assert!(finite, "{}: {name} is not finite", method.word());
        }
    }
}

/// Sets the first block's values to zero and each other tensor to one constant, in place.
fn flatten_weights(model: &Path) {
    let path = model.join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let header_bytes = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header_bytes]).unwrap();
    for (name, entry) in header.as_object().unwrap() {
        let Some(offsets) = entry["data_offsets"].as_array() else {
            continue;
        };
        let offset = |index: usize| 8 + header_bytes + offsets[index].as_u64().unwrap() as usize;
        let value: f32 = if name.contains("layers.0.") { 0.0 } else { 0.5 };
        for place in bytes[offset(0)..offset(1)].chunks_exact_mut(4) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn law_8_exports_reopen_with_the_same_values_and_the_same_score() {
    let workshop = Workshop::new();
    let session = workshop.open(&workshop.model()).unwrap();
    for (method, bits) in [(Method::Gptq, 4), (Method::Gptq, 3), (Method::Rtn, 8)] {
        let run = format!("run-{}-{bits}", method.word());
        let request = workshop.request(workshop.recipe(method, bits, 32), &run, Format::Pare);
        session.compress(&request, &Quiet::default()).unwrap();
        let run = workshop.path(&run);
        let expected = (values(&run), perplexity(&workshop, &run));
        for format in [Format::Dense, Format::Gptq] {
            let out = workshop.path(&format!("{}-{bits}-{}", method.word(), format.word()));
            export(&run, format, &out, &Quiet::default()).unwrap();
            let found = (values(&out), perplexity(&workshop, &out));
            let place = format!("{} {bits} bits as {}", method.word(), format.word());
            assert!(found.0 == expected.0, "{place}: values differ");
            // Codes run on the same kernels whatever holds them; dense weights are summed in another order.
            let allowed = match format {
                Format::Pare | Format::Gptq => 0.0,
                _ => 1e-7 * expected.1,
            };
            assert!(
                (found.1 - expected.1).abs() <= allowed,
                "{place}: {} and {}",
                found.1,
                expected.1
            );
        }
    }
}

#[test]
fn law_9_threads_and_memory_change_no_byte() {
    let workshop = Workshop::new();
    for (method, bits) in [(Method::Gptq, 3), (Method::Awq, 4), (Method::Hqq, 4)] {
        let run = |threads: usize, memory_bytes: Option<u64>| {
            let mut options = workshop.options(threads);
            options.memory_bytes = memory_bytes;
            let out = format!("{}-{threads}-{}", method.word(), memory_bytes.is_some());
            let request = workshop.request(workshop.recipe(method, bits, 32), &out, Format::Pare);
            let session = Session::open(&workshop.model(), options).unwrap();
            session.compress(&request, &Quiet::default()).unwrap();
            files_of(&request.out)
        };
        let one = run(1, None);
        for (threads, memory_bytes) in [(2, None), (3, None), (2, Some(1))] {
            let differing = differing(&one, &run(threads, memory_bytes));
            assert!(
                differing.is_empty(),
                "{}, {threads} threads, {memory_bytes:?} bytes: {differing:?}",
                method.word()
            );
        }
    }
}

#[test]
fn law_10_a_stopped_run_leaves_nothing_broken_and_resumes_to_the_same_bytes() {
    let workshop = Workshop::new();
    let before = files_of(&workshop.model());
    let session = workshop.open(&workshop.model()).unwrap();
    let mut request = workshop.request(workshop.recipe(Method::Gptq, 3, 32), "whole", Format::Pare);
    let watcher = Quiet::default();
    session.compress(&request, &watcher).unwrap();
    let expected = files_of(&request.out);
    let polls = watcher.polls.load(Ordering::Relaxed);
    assert!(
        polls > 20,
        "the run asked only {polls} times whether to stop"
    );
    for part in 0..10 {
        request.out = workshop.path(&format!("stopped-{part}"));
        request.resume = false;
        let stopped = session.compress(&request, &Stopper::new(polls * part / 10));
        let error = stopped
            .map(|_| ())
            .expect_err("the watcher asked for a stop");
        assert!(error.is_stopped(), "stop {part} of 10 gave: {error}");
        assert!(
            !request.out.exists(),
            "stop {part} of 10 left a finished name"
        );
        let changed = differing(&before, &files_of(&workshop.model()));
        assert!(changed.is_empty(), "stop {part} of 10 changed {changed:?}");
        request.resume = true;
        session.compress(&request, &Quiet::default()).unwrap();
        let differing = differing(&expected, &files_of(&request.out));
        assert!(differing.is_empty(), "stop {part} of 10: {differing:?}");
        let partial = workshop.path(&format!("stopped-{part}.partial"));
        assert!(!partial.exists(), "stop {part} of 10 left its draft");
    }
}
