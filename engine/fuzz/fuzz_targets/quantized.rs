//! A folder that another program quantized, from any bytes: `config.json`, a zero byte, `model.safetensors`. An answer, never a
//! panic; and a layer that is taken has as many values as its shape says, or is an error when it is read.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use pare_engine::checkpoint::Checkpoint;
use pare_engine::tensor::WeightSource;

fuzz_target!(|bytes: &[u8]| {
    let Some(end) = bytes.iter().position(|&byte| byte == 0) else {
        return;
    };
    let folder = std::env::temp_dir().join(format!("pare-fuzz-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder can be made");
    fs::write(folder.join("config.json"), &bytes[..end]).expect("it can be written to");
    fs::write(folder.join("model.safetensors"), &bytes[end + 1..]).expect("it can be written to");
    if let Ok(model) = Checkpoint::open(&folder) {
        for name in model.names() {
            let shape = model.info(&name).expect("it has been named").shape;
            if let Ok(values) = model.read_f32(&name) {
                assert_eq!(values.len(), shape.iter().product::<usize>());
            }
        }
    }
});
