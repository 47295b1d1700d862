//! Works an adapter that PEFT wrote into its dense base: `merge_adapter BASE ADAPTER OUT`. For `tests/interop`.

#![allow(clippy::print_stdout)] // A tool for the command line.

use pare_engine::monitor::Unwatched;
use pare_engine::session::{Session, SessionOptions};
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [base, adapter, out] = words.as_slice() else {
        return Err("name a base, an adapter and a folder to make".into());
    };
    let options = SessionOptions {
        threads: None,
        memory_bytes: None,
        cache_folder: Path::new(out).with_extension("cache"),
        cache_capacity_bytes: 0,
    };
    let session = Session::open(Path::new(base), options)?;
    let written = session.merge_adapter(Path::new(adapter), Path::new(out), &Unwatched)?;
    println!("{} tensors changed", written.tensors);
    Ok(())
}
