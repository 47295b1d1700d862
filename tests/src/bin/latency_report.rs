//! Holds estimated times against measured ones: the machine is measured by its own probes, then models that no probe has
//! seen read a prompt and write text through the code that `pare generate` runs.
//!
//! `OPT=3 cargo run -p pare-tests --bin latency_report -- [--out FILE] [--rounds 7]`: reads models from `../shared`, makes
//! larger ones of random weights in a temporary folder, writes `tests/reports/latency.txt`.

#![allow(clippy::print_stdout)] // A tool for the command line.

use pare_engine::device::DeviceProfile;
use pare_engine::estimate::Estimate;
use pare_engine::formats::Format;
use pare_engine::formats::store::atomic::write_bytes;
use pare_engine::generate::{GenerateConfig, Sampling, generate_ids};
use pare_engine::model::CacheKind;
use pare_engine::monitor::Unwatched;
use pare_engine::recipe::Recipe;
use pare_engine::session::{
    CompressRequest, EstimateRequest, RunShape, Session, SessionOptions, measure_machine,
};
use pare_engine::settings::Activations;
use pare_engine::solved::Method;
use pare_engine::tensor::Dtype;
use pare_tests::checkpoint::{RandomCheckpoint, llama_7b};
use pare_tests::sessions::{Quiet, shared};
use serde_json::{Value, json};
use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tempfile::TempDir;

/// Goals: median and worst of the errors of one column.
const MEDIAN_GOAL: f64 = 0.10;
const WORST_GOAL: f64 = 0.25;

/// One model under one recipe, and what is run.
struct Subject {
    model: &'static str,
    /// Bits of all weights of blocks and head and how inputs are rounded; `None` = as it is.
    recipe: Option<(u8, Activations)>,
    prompt: usize,
    tokens: usize,
    kv: CacheKind,
}

const fn subject(
    model: &'static str,
    recipe: Option<(u8, Activations)>,
    prompt: usize,
    tokens: usize,
) -> Subject {
    Subject {
        model,
        recipe,
        prompt,
        tokens,
        kv: CacheKind::F32,
    }
}

const DYNAMIC: Activations = Activations::Dynamic8;
const FLOATS: Activations = Activations::None;

const SUBJECTS: [Subject; 12] = [
    subject("gutenberg-5M", None, 64, 96),
    subject("gutenberg-5M", Some((8, DYNAMIC)), 64, 96),
    subject("gutenberg-5M", Some((4, FLOATS)), 64, 96),
    subject("random-60M", None, 128, 48),
    subject("random-60M", Some((8, DYNAMIC)), 128, 48),
    subject("random-60M", Some((4, DYNAMIC)), 128, 48),
    subject("random-60M", Some((4, FLOATS)), 128, 48),
    subject("random-60M", Some((3, DYNAMIC)), 128, 48),
    subject("random-170M", Some((8, DYNAMIC)), 256, 32),
    subject("random-170M", Some((4, DYNAMIC)), 256, 32),
    subject("random-gpt2-40M", Some((8, DYNAMIC)), 128, 48),
    Subject {
        kv: CacheKind::Int8,
        ..subject("random-170M", Some((4, DYNAMIC)), 512, 32)
    },
];

/// What was found of one subject.
struct Row {
    name: String,
    predicted: [f64; 2],
    measured: [f64; 2],
}

impl Row {
    fn error(&self, column: usize) -> f64 {
        self.predicted[column] / self.measured[column] - 1.0
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = PathBuf::from("tests/reports/latency.txt");
    let mut rounds = 7;
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or(format!("{name} needs a value"))?;
        match name.as_str() {
            "--out" => out = value.into(),
            "--rounds" => rounds = value.parse()?,
            _ => return Err(format!("{name} is unknown; there are --out, --rounds").into()),
        }
    }
    let folder = TempDir::new()?;
    let options = SessionOptions {
        threads: None,
        memory_bytes: Some(8 << 30),
        cache_folder: folder.path().join("cache"),
        cache_capacity_bytes: 1 << 30,
    };
    let models = prepare(folder.path(), &options)?;
    let began = Instant::now();
    let device = measure_machine(&options, &Quiet::default())?;
    let seconds = began.elapsed().as_secs_f64();
    let rows = rows(&models, &options, &device, rounds)?;
    let text = report(&rows, &device, seconds);
    print!("{text}");
    write_bytes(&out, text.as_bytes())?;
    Ok(())
}

/// Every subject's model on disk.
fn prepare(folder: &Path, options: &SessionOptions) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut paths = Vec::new();
    for (index, subject) in SUBJECTS.iter().enumerate() {
        let source = source(folder, subject.model)?;
        let Some((bits, activations)) = subject.recipe else {
            paths.push(source);
            continue;
        };
        let path = folder.join(format!("written-{index}"));
        let mut recipe = Recipe::default();
        recipe.default.method = Method::Rtn;
        recipe.default.bits = bits;
        recipe.default.group = 128;
        recipe.default.clip_search = 0;
        recipe.default.activations = activations;
        Session::open(&source, options.clone())?.compress(
            &CompressRequest {
                recipe,
                out: path.clone(),
                format: Format::Pare,
                evaluate: None,
                resume: false,
                keep_layers: false,
            },
            &Quiet::default(),
        )?;
        paths.push(path);
    }
    Ok(paths)
}

/// A real model's folder, or that of a random one, made once.
fn source(folder: &Path, model: &str) -> Result<PathBuf, Box<dyn Error>> {
    let path = folder.join(model);
    let config = match model {
        "random-60M" => llama(512, 1536, 16, 8),
        "random-170M" => llama(1024, 2816, 12, 16),
        "random-gpt2-40M" => gpt2(),
        _ => {
            return shared(&format!("models/{model}"))
                .ok_or_else(|| format!("there is no shared model {model}").into());
        }
    };
    if !path.exists() {
        RandomCheckpoint {
            config,
            dtype: Dtype::F16,
            shard_bytes: u64::MAX,
            seed: 1,
        }
        .write(&path)?;
    }
    Ok(path)
}

fn llama(hidden: usize, inner: usize, blocks: usize, heads: usize) -> Value {
    let mut config = llama_7b(blocks);
    for (key, value) in [
        ("hidden_size", json!(hidden)),
        ("intermediate_size", json!(inner)),
        ("vocab_size", json!(8192)),
        ("num_attention_heads", json!(heads)),
        ("num_key_value_heads", json!(heads / 2)),
        ("head_dim", json!(64)),
        ("max_position_embeddings", json!(1024)),
    ] {
        config[key] = value;
    }
    config
}

fn gpt2() -> Value {
    json!({"model_type": "gpt2", "n_embd": 640, "n_layer": 8, "n_head": 10, "vocab_size": 4096,
        "n_positions": 1024, "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new"})
}

/// Subjects take turns, so that a slow minute of the machine slows a round of each and not all rounds of one.
fn rows(
    models: &[PathBuf],
    options: &SessionOptions,
    device: &DeviceProfile,
    rounds: usize,
) -> Result<Vec<Row>, Box<dyn Error>> {
    let sessions = models
        .iter()
        .map(|path| Session::open(path, options.clone()));
    let sessions = sessions.collect::<Result<Vec<Session>, _>>()?;
    let mut times = vec![[Vec::new(), Vec::new()]; SUBJECTS.len()];
    for _ in 0..rounds {
        for (times, (subject, session)) in times.iter_mut().zip(SUBJECTS.iter().zip(&sessions)) {
            let [prompt, token] = measured(subject, session)?;
            times[0].push(prompt);
            times[1].push(token);
        }
    }
    let subjects = SUBJECTS.iter().zip(&sessions).zip(times);
    subjects
        .map(|((subject, session), times)| row(subject, session, device, times.map(median)))
        .collect()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn row(
    subject: &Subject,
    session: &Session,
    device: &DeviceProfile,
    measured: [f64; 2],
) -> Result<Row, Box<dyn Error>> {
    let found = session.estimate(&EstimateRequest {
        recipe: None,
        format: Format::Pare,
        device: device.clone(),
        engine: None,
        run: RunShape {
            // The middle of what is written.
            context: Some(subject.prompt + subject.tokens / 2),
            prompt: Some(subject.prompt),
            kv_cache: Some(subject.kv),
            threads: None,
        },
    })?;
    let kind = match subject.recipe {
        None => "as it is".to_owned(),
        Some((bits, FLOATS)) => format!("{bits} bits, floats"),
        Some((bits, _)) => format!("{bits} bits, dynamic8"),
    };
    Ok(Row {
        name: format!(
            "{}, {kind}, {} + {} tokens, kv {}",
            subject.model,
            subject.prompt,
            subject.tokens,
            subject.kv.word()
        ),
        predicted: predicted(&found),
        measured,
    })
}

/// Milliseconds of the prompt, and of a token.
fn predicted(found: &Estimate) -> [f64; 2] {
    let decode = found.decode.map_or(f64::NAN, |decode| decode.milliseconds);
    [found.prefill.milliseconds, decode]
}

/// The same by running it once, after a short run that warms up.
fn measured(subject: &Subject, session: &Session) -> Result<[f64; 2], Box<dyn Error>> {
    let model = session.model_on_kernels()?;
    let vocabulary = model.config().vocabulary as u32;
    let prompt: Vec<u32> = (0..subject.prompt as u32)
        .map(|index| (index * 7 + 3) % vocabulary)
        .collect();
    let config = GenerateConfig {
        tokens: subject.tokens,
        sampling: Sampling {
            temperature: 0.0,
            top_k: None,
            top_p: 1.0,
        },
        seed: 0,
        kv: subject.kv,
        end_tokens: Vec::new(),
        memory_bytes: u64::MAX,
    };
    let run =
        || session.install(|| generate_ids(&model, &prompt, &config, &Unwatched, &mut |_| Ok(())));
    run()?;
    let made = run()?;
    let token = made.decode.time.as_secs_f64() / made.decode.tokens as f64;
    Ok([made.prefill.time.as_secs_f64(), token].map(|seconds| seconds * 1e3))
}

fn report(rows: &[Row], device: &DeviceProfile, seconds: f64) -> String {
    let mut text = String::new();
    let engine = &device.engines[0];
    let _ = writeln!(
        text,
        "Estimated against measured times. Machine: {}, {} threads; measured in {seconds:.1} s: {:.0} f32 Gop/s, {:.1} GB/s by one thread, {:.1} by all.",
        engine.instructions,
        engine.threads,
        engine.f32_gops.value,
        engine
            .one_thread_gb_per_s
            .as_ref()
            .map_or(f64::NAN, |value| value.value),
        engine.bandwidth_gb_per_s.value
    );
    let _ = writeln!(
        text,
        "Probes are networks of their own; no subject was seen by them.\n"
    );
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let _ = writeln!(
        text,
        "{:width$}  {:>13}  {:>13}  {:>7}  {:>13}  {:>13}  {:>7}",
        "subject", "prompt est ms", "measured ms", "error", "tokens/s est", "measured", "error"
    );
    for row in rows {
        let _ = writeln!(
            text,
            "{:width$}  {:>13.2}  {:>13.2}  {:>+6.1}%  {:>13.1}  {:>13.1}  {:>+6.1}%",
            row.name,
            row.predicted[0],
            row.measured[0],
            100.0 * row.error(0),
            1e3 / row.predicted[1],
            1e3 / row.measured[1],
            // Of a speed: the error of the time turned around.
            100.0 * (row.measured[1] / row.predicted[1] - 1.0)
        );
    }
    text.push('\n');
    for (column, what) in [(0, "prompt"), (1, "decode")] {
        let mut errors: Vec<f64> = rows.iter().map(|row| row.error(column).abs()).collect();
        errors.sort_by(f64::total_cmp);
        let median = errors[errors.len() / 2];
        let worst = errors[errors.len() - 1];
        let verdict = |found: f64, goal: f64| if found <= goal { "holds" } else { "missed" };
        let _ = writeln!(
            text,
            "{what}: median error {:.1} % (goal {:.0} %: {}), worst {:.1} % (goal {:.0} %: {})",
            100.0 * median,
            100.0 * MEDIAN_GOAL,
            verdict(median, MEDIAN_GOAL),
            100.0 * worst,
            100.0 * WORST_GOAL,
            verdict(worst, WORST_GOAL)
        );
    }
    text
}
