//! What is written reads back; what is damaged is an error in words.
#![allow(clippy::unwrap_used)]
#![expect(
    clippy::disallowed_methods,
    reason = "damage is made as a crash makes it"
)]

use super::*;
use serde_json::json;

fn adapter() -> Peft {
    let matrix = |rows, columns, from: f32| {
        Matrix::from_fn(rows, columns, |row, column| {
            from + (row * columns + column) as f32
        })
    };
    Peft {
        config: PeftConfig {
            base: "models/base".to_owned(),
            rank: 2,
            alpha: 16.0,
            dropout: 0.05,
            by_root: false,
            targets: vec!["q_proj".to_owned()],
            transposed: false,
            encoder: false,
        },
        layers: vec![PeftLayer {
            name: "model.layers.0.self_attn.q_proj".to_owned(),
            down: matrix(2, 5, 0.5),
            up: matrix(3, 2, -1.5),
        }],
    }
}

#[test]
fn what_is_written_reads_back_and_weighs_what_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = write_peft(&adapter(), folder.path()).unwrap();
    assert_eq!(read_peft(folder.path()).unwrap(), adapter());
    let files = [CONFIG_FILE, TENSOR_FILE];
    let sizes = files.map(|file| std::fs::metadata(folder.path().join(file)).unwrap().len());
    assert_eq!(bytes, sizes.iter().sum::<u64>());
    let text = std::fs::read(folder.path().join(TENSOR_FILE)).unwrap();
    let file = safetensors::SafeTensors::deserialize(&text).unwrap();
    let mut names = file.names();
    names.sort();
    let layer = "base_model.model.model.layers.0.self_attn.q_proj";
    assert_eq!(
        names,
        [
            format!("{layer}.lora_A.weight"),
            format!("{layer}.lora_B.weight")
        ]
    );
}

#[test]
fn targets_are_short_where_they_mean_no_other_layer() {
    let all = ["a.0.q", "a.1.q", "a.0.k"];
    assert_eq!(target_words(&["a.0.q", "a.1.q"], &all), ["q"]);
    assert_eq!(target_words(&["a.1.q"], &all), ["1.q"]);
    let all = ["e.0.out.dense", "e.0.mid.dense", "pooler.dense", "e.0.q"];
    assert_eq!(target_words(&all[..2], &all), ["mid.dense", "out.dense"]);
    let all = ["e.0.out.dense", "x.out.dense"];
    assert_eq!(target_words(&all[..1], &all), ["e.0.out.dense"]);
}

#[test]
fn settings_that_change_numbers_and_are_not_known_are_errors() {
    let plain = adapter().config.to_json();
    assert_eq!(PeftConfig::of_json(&plain).unwrap(), adapter().config);
    let cases = [
        ("peft_type", json!("IA3"), "LORA"),
        ("use_dora", json!(true), "DoRA"),
        ("rank_pattern", json!({"q": 4}), "ranks"),
        ("bias", json!("all"), "biases"),
        ("r", json!(0), "rank"),
        ("r", json!(1_000_000_000u64), "rank"),
        ("lora_alpha", json!(null), "lora_alpha"),
    ];
    for (key, value, expected) in cases {
        let mut changed = plain.clone();
        changed[key] = value;
        let error = PeftConfig::of_json(&changed).unwrap_err().to_string();
        assert!(error.contains(expected), "{key}: {error}");
    }
}

#[test]
fn damaged_adapters_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let write = |adapter: &Peft| write_peft(adapter, folder.path()).unwrap();
    let read = || read_peft(folder.path()).unwrap_err().to_string();
    let mut other_rank = adapter();
    other_rank.config.rank = 3;
    write(&other_rank);
    assert!(read().contains("another rank"));
    let mut not_finite = adapter();
    not_finite.layers[0].up.data_mut()[0] = f32::NAN;
    write(&not_finite);
    assert!(read().contains("finite"));
    write(&Peft {
        layers: Vec::new(),
        ..adapter()
    });
    assert!(read().contains("no matrices"));
    write(&adapter());
    std::fs::write(folder.path().join(TENSOR_FILE), [7u8; 30]).unwrap();
    assert!(read().contains("safetensors"));
    std::fs::write(folder.path().join(CONFIG_FILE), "{").unwrap();
    assert!(read().contains("no JSON"));
    std::fs::remove_file(folder.path().join(CONFIG_FILE)).unwrap();
    assert!(read().contains("cannot be read"));
}
