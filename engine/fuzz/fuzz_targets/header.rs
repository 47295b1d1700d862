//! Any bytes as a safetensors file: an answer, never a panic; and what is taken lies inside the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pare_engine::checkpoint::header::Header;

fuzz_target!(|file: &[u8]| {
    if let Ok(header) = Header::of_bytes(file) {
        for tensor in header.tensors {
            assert!(tensor.start + tensor.size_bytes <= file.len() as u64);
        }
    }
});
