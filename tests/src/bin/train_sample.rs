//! Makes the sample model of `assets/sample`: text, tokenizer, training, and a check that bits matter.
//!
//! `cargo run -p pare-tests --bin train_sample -- [--out assets/sample] [--steps 1000] [--seed 0]`

// A tool for the command line: it prints, and a broken run is simply run again.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use pare_engine::model::Model;
use pare_engine::recipe::TrainSettings;
use pare_tests::grammar::Storyteller;
use pare_tests::memory::MemorySource;
use pare_tests::train::{mean_loss, train};
use pare_tests::{rtn, sample, tokenizer};
use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

const TRAINING_BYTES: usize = 8_000_000;
const CALIBRATION_BYTES: usize = 150_000;
const EVALUATION_BYTES: usize = 60_000;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let options = Options::from_arguments()?;
    let text = |stream, bytes| Storyteller::new(options.seed, stream).text(bytes);
    let training = text(0, TRAINING_BYTES);
    let evaluation = text(2, EVALUATION_BYTES);
    let tokenizer = tokenizer::train(&training, sample::VOCABULARY)?;
    let encoder = tokenizer::open(&tokenizer)?;
    let tokens = encoder.encode_fast(training, true)?.get_ids().to_vec();
    let judged = encoder
        .encode_fast(evaluation.as_str(), true)?
        .get_ids()
        .to_vec();
    println!(
        "{} training tokens, {} evaluation tokens",
        tokens.len(),
        judged.len()
    );
    let weights = sample::rounded_to_f16(&trained(&tokens, &options)?);
    sample::write(&options.out, &weights, &tokenizer)?;
    std::fs::write(
        options.out.join("calibration.txt"),
        text(1, CALIBRATION_BYTES),
    )?;
    std::fs::write(options.out.join("evaluation.txt"), evaluation)?;
    report(&weights, &judged)
}

fn trained(
    tokens: &[u32],
    options: &Options,
) -> Result<MemorySource, Box<dyn Error + Send + Sync>> {
    let settings = TrainSettings {
        seed: options.seed,
        steps: options.steps,
        batch: 8,
        length: sample::CONTEXT,
        rate: 6e-3,
        warm_up: 50,
        decay: 0.05,
        held_out: 0,
        check_every: 0,
        ..TrainSettings::default()
    };
    let began = Instant::now();
    let recent = Mutex::new(None);
    let told = |step: u64, loss: f64| {
        let mut recent = recent.lock().unwrap_or_else(PoisonError::into_inner);
        let smooth = recent.map_or(loss, |before| 0.95 * before + 0.05 * loss);
        *recent = Some(smooth);
        if step.is_multiple_of(100) {
            let seconds = began.elapsed().as_secs_f64();
            println!(
                "step {step} of {}: loss {smooth:.4}, {seconds:.0} s",
                options.steps
            );
        }
    };
    Ok(train(&sample::config(), tokens, &settings, &told)?)
}

/// Perplexity of the model and of its plain roundings.
fn report(weights: &MemorySource, judged: &[u32]) -> Result<(), Box<dyn Error + Send + Sync>> {
    let perplexity = |weights: MemorySource| -> Result<f64, Box<dyn Error + Send + Sync>> {
        let model = Model::open(Arc::new(weights), &sample::config())?;
        Ok(mean_loss(&model, judged, sample::CONTEXT)?.exp())
    };
    let dense = perplexity(weights.clone())?;
    println!("f16: perplexity {dense:.4}");
    for bits in [8, 4, 3, 2] {
        let rounded = perplexity(rtn::round_linears(weights, bits, 128))?;
        println!(
            "{bits} bits, group 128: perplexity {rounded:.4}, x{:.4}",
            rounded / dense
        );
    }
    Ok(())
}

struct Options {
    out: PathBuf,
    steps: u64,
    seed: u64,
}

impl Options {
    fn from_arguments() -> Result<Self, Box<dyn Error + Send + Sync>> {
        let mut options = Self {
            out: PathBuf::from("assets/sample"),
            steps: 1000,
            seed: 0,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or(format!("{name} needs a value"))?;
            match name.as_str() {
                "--out" => options.out = PathBuf::from(value),
                "--steps" => options.steps = value.parse()?,
                "--seed" => options.seed = value.parse()?,
                _ => {
                    return Err(
                        format!("{name} is unknown; there are --out, --steps, --seed").into(),
                    );
                }
            }
        }
        Ok(options)
    }
}
