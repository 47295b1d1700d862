//! Makes a random checkpoint: `--shape llama-7b` (13.5 GB in bf16) or any network that `--config FILE` describes.
//!
//! `cargo run --release -p pare-tests --bin make_checkpoint -- --shape llama-7b --out DIR [--blocks 32]
//! [--dtype bf16|f16|f32] [--shard-bytes 5000000000] [--seed 0] [--ids 4096]`: with `--ids`, `ids.safetensors` holds
//! that many random token ids, a corpus for a model without a tokenizer.

#![allow(clippy::print_stdout)] // A tool for the command line.

use pare_engine::tensor::Dtype;
use pare_tests::checkpoint::{RandomCheckpoint, llama_7b, write_ids};
use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let get = |name: &str, default: &str| options.get(name).cloned().unwrap_or(default.to_owned());
    let config: Value = match (options.get("--config"), get("--shape", "llama-7b").as_str()) {
        (Some(path), _) => serde_json::from_str(&std::fs::read_to_string(path)?)?,
        (None, "llama-7b") => llama_7b(get("--blocks", "32").parse()?),
        (None, shape) => return Err(format!("{shape} is no known shape; there is llama-7b").into()),
    };
    let dtype = match get("--dtype", "bf16").as_str() {
        "bf16" => Dtype::BF16,
        "f16" => Dtype::F16,
        "f32" => Dtype::F32,
        other => return Err(format!("{other} is no dtype; there are bf16, f16, f32").into()),
    };
    let out = PathBuf::from(options.get("--out").ok_or("name a folder with --out")?);
    let seed = get("--seed", "0").parse()?;
    let checkpoint = RandomCheckpoint {
        config,
        dtype,
        shard_bytes: get("--shard-bytes", "5000000000").parse()?,
        seed,
    };
    let began = Instant::now();
    let bytes = checkpoint.write(&out)?;
    if let Some(count) = options.get("--ids") {
        let vocabulary = checkpoint.config["vocab_size"]
            .as_u64()
            .ok_or("config.json has no vocab_size")?;
        write_ids(
            &out.join("ids.safetensors"),
            vocabulary as usize,
            count.parse()?,
            seed,
        )?;
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{bytes} bytes in {seconds:.1} s, {:.0} MB/s",
        bytes as f64 / 1e6 / seconds
    );
    Ok(())
}

/// The command line as name and value.
fn options() -> Result<BTreeMap<String, String>, Box<dyn Error>> {
    const KNOWN: [&str; 8] = [
        "--shape",
        "--config",
        "--out",
        "--blocks",
        "--dtype",
        "--shard-bytes",
        "--seed",
        "--ids",
    ];
    let mut options = BTreeMap::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if !KNOWN.contains(&name.as_str()) {
            return Err(format!("{name} is unknown; there are {}", KNOWN.join(", ")).into());
        }
        let value = arguments.next().ok_or(format!("{name} needs a value"))?;
        options.insert(name, value);
    }
    Ok(options)
}
