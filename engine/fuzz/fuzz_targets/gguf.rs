//! Any bytes as a GGUF file: an answer, never a panic; and what is taken lies inside the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pare_engine::checkpoint::gguf::header::Header;

fuzz_target!(|file: &[u8]| {
    if let Ok(header) = Header::read(file, file.len() as u64) {
        for tensor in header.tensors {
            assert!(tensor.start + tensor.size_bytes <= file.len() as u64);
        }
    }
});
