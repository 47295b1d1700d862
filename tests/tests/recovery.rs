//! Learning on codes and beside weights, on whole folders: rounding that stops and goes on, adapters under the names that
//! PEFT asks for, what merging says of itself, what is refused before the first step.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use pare_engine::formats::Format;
use pare_engine::formats::peft::{Peft, read_peft};
use pare_engine::recipe::{TrainMode, TrainPruning, TrainSettings};
use pare_engine::report::DistillReport;
use pare_engine::session::{
    DistillRequest, OtherTeacher, Session, SessionError, StudentSpec, read_report,
};
use pare_engine::settings::PruneMethod;
use pare_engine::solved::Method;
use pare_tests::sessions::{Quiet, Stopper, Workshop, differing, files_of};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn request(workshop: &Workshop, mode: TrainMode, student: &Path, out: &str) -> DistillRequest {
    let mut recipe = workshop.recipe(Method::Rtn, 3, 32);
    recipe.train = Some(TrainSettings {
        steps: 4,
        batch: 2,
        length: 16,
        warm_up: 1,
        held_out: 2,
        ..TrainSettings::of_mode(mode)
    });
    DistillRequest {
        weight: 1.0,
        others: Vec::new(),
        student: StudentSpec::Model(student.to_owned()),
        recipe,
        out: workshop.path(out),
        evaluate: None,
        resume: false,
    }
}

fn train(request: &mut DistillRequest) -> &mut TrainSettings {
    request.recipe.train.as_mut().unwrap()
}

fn session(workshop: &Workshop) -> Session {
    workshop.open(&workshop.model()).unwrap()
}

fn distill(workshop: &Workshop, request: &DistillRequest) -> Result<DistillReport, SessionError> {
    session(workshop).distill(request, &Quiet::default())
}

/// A run of the workshop's model.
fn compressed(workshop: &Workshop, method: Method) -> PathBuf {
    let recipe = workshop.recipe(method, 3, 32);
    let request = workshop.request(recipe, "start", Format::Pare);
    let session = session(workshop);
    session.compress(&request, &Quiet::default()).unwrap();
    workshop.path("start")
}

#[test]
fn rounding_goes_on_behind_finished_blocks_and_ends_with_the_same_bytes() {
    let workshop = Workshop::new();
    let start = compressed(&workshop, Method::Gptq);
    let mut request = request(&workshop, TrainMode::Round, &start, "whole");
    train(&mut request).rate = 0.1;
    distill(&workshop, &request).unwrap();
    let expected = files_of(&workshop.path("whole"));
    request.out = workshop.path("pieces");
    let mut stops = 0;
    for polls in 1..200 {
        request.resume = workshop.path("pieces.partial").exists();
        match session(&workshop).distill(&request, &Stopper::new(3 * polls)) {
            Ok(_) => break,
            Err(error) => assert!(error.is_stopped(), "{error}"),
        }
        stops += 1;
    }
    let found = files_of(&workshop.path("pieces"));
    assert_eq!(differing(&found, &expected), Vec::<PathBuf>::new());
    assert!(stops > 2, "{stops}");
}

#[test]
fn rounding_looks_at_its_rate_and_length() {
    let workshop = Workshop::new();
    let start = compressed(&workshop, Method::Rtn);
    let codes = |name: &str, edit: &dyn Fn(&mut TrainSettings)| {
        let mut request = request(&workshop, TrainMode::Round, &start, name);
        // Steps so long that codes change within four of them.
        train(&mut request).rate = 0.1;
        edit(train(&mut request));
        distill(&workshop, &request).unwrap();
        std::fs::read(workshop.path(name).join("model.safetensors")).unwrap()
    };
    let plain = codes("plain", &|_| {});
    assert!(plain != codes("rate", &|train| train.rate = 0.02));
    assert!(plain != codes("length", &|train| train.length = 8));
    assert!(plain == codes("again", &|train| train.temperature = 4.0));
}

/// A workshop whose model's tensors are called otherwise.
fn renamed(config: Value, rename: &dyn Fn(&str) -> String) -> Workshop {
    let workshop = Workshop::with_config(config, 50);
    let path = workshop.model().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let named = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
        let view = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
        (rename(name), view)
    };
    let tensors: Vec<_> = file.iter().map(named).collect();
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        let view = safetensors::tensor::TensorView::new(*dtype, shape.clone(), data);
        (name.as_str(), view.unwrap())
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    std::fs::write(&path, bytes).unwrap();
    workshop
}

fn gpt2_config() -> Value {
    json!({"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": 50,
        "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new"})
}

#[test]
fn adapters_are_called_as_modules_and_merge_back_whoever_names_them() {
    let whole = |name: &str| name.to_owned();
    let bare = |name: &str| name.trim_start_matches("transformer.").to_owned();
    for rename in [&whole as &dyn Fn(&str) -> String, &bare] {
        let workshop = renamed(gpt2_config(), rename);
        let model = workshop.model();
        let beside = request(&workshop, TrainMode::Adapter, &model, "beside");
        distill(&workshop, &beside).unwrap();
        let adapter: Peft = read_peft(&workshop.path("beside")).unwrap();
        assert_eq!(adapter.layers[0].name, "transformer.h.0.attn.c_attn");
        assert_eq!(adapter.config.targets, ["c_attn", "c_fc", "c_proj"]);
        assert!(adapter.config.transposed && !adapter.config.encoder);
        let mut merging = request(&workshop, TrainMode::Adapter, &model, "merged");
        train(&mut merging).adapter.merge = true;
        distill(&workshop, &merging).unwrap();
        let session = session(&workshop);
        let again = workshop.path("again");
        session
            .merge_adapter(&workshop.path("beside"), &again, &Quiet::default())
            .unwrap();
        let bytes = |folder: &Path| std::fs::read(folder.join("model.safetensors")).unwrap();
        assert!(bytes(&again) == bytes(&workshop.path("merged")));
        assert!(bytes(&again) != bytes(&model));
    }
}

#[test]
fn merged_codes_say_that_they_were_rounded_anew() {
    let workshop = Workshop::new();
    let start = compressed(&workshop, Method::Gptq);
    let mut request = request(&workshop, TrainMode::Adapter, &start, "merged");
    train(&mut request).adapter.merge = true;
    distill(&workshop, &request).unwrap();
    let report = read_report(&workshop.path("merged")).unwrap();
    let solved = report.layers.iter();
    let mut solved = solved.filter(|layer| layer.name.contains("layers."));
    assert!(solved.clone().count() > 10);
    assert!(solved.all(|layer| {
        let fallback = layer.fallback.as_ref();
        let told = fallback.map(|told| (told.from.as_str(), told.to.as_str()));
        let has_reason = layer.relative_output_error.is_some() || layer.reason.is_some();
        layer.method == Method::Rtn && told == Some(("gptq", "rtn")) && has_reason
    }));
    let beside = request_beside(&workshop, &start);
    let report = distill(&workshop, &beside).unwrap();
    let warned = report.warnings.iter().any(|text| text.contains("PEFT"));
    assert!(warned, "{:?}", report.warnings);
}

fn request_beside(workshop: &Workshop, start: &Path) -> DistillRequest {
    request(workshop, TrainMode::Adapter, start, "beside")
}

#[test]
fn what_a_mode_cannot_do_is_refused_before_the_first_step() {
    let workshop = Workshop::new();
    let mut recipe = workshop.recipe(Method::Rtn, 4, 32);
    recipe.default.prune.method = PruneMethod::Magnitude;
    recipe.default.prune.sparsity = 0.5;
    let pruned = workshop.request(recipe, "pruned", Format::Pare);
    let opened = session(&workshop);
    opened.compress(&pruned, &Quiet::default()).unwrap();
    let pruned = workshop.path("pruned");
    let with = |mode, edit: &dyn Fn(&mut DistillRequest)| {
        let mut request = request(&workshop, mode, &pruned, "out");
        edit(&mut request);
        request
    };
    let rows: Vec<(&str, DistillRequest, &str)> = vec![
        (
            "an adapter into zeros",
            with(TrainMode::Adapter, &|request| {
                train(request).adapter.merge = true;
            }),
            "leave --merge out",
        ),
        (
            "rounding with two teachers",
            with(TrainMode::Round, &|request| {
                request.others.push(OtherTeacher {
                    path: workshop.model(),
                    weight: 1.0,
                });
            }),
            "one model",
        ),
        (
            "zeros that grow among codes",
            with(TrainMode::Qat, &|request| {
                train(request).prune = Some(TrainPruning {
                    pattern: "2:4".parse().unwrap(),
                    sparsity: 0.5,
                    from: 0,
                    until: 2,
                    every: 1,
                });
            }),
            "leave prune out",
        ),
    ];
    for (name, request, expected) in rows {
        let message = distill(&workshop, &request).unwrap_err().to_string();
        assert!(message.contains(expected), "{name}: {message}");
        assert!(!workshop.path("out.partial").exists(), "{name}");
    }
}
