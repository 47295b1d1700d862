//! `pare distill`: what is answered, what is written, and what is refused.

use crate::place::{Place, has_keys};

const SHORT: [&str; 6] = ["--steps", "3", "--batch", "2", "--length", "32"];

#[test]
fn the_report_has_every_key_and_the_student_opens() {
    let place = Place::new();
    let out = place.path("half");
    let out = out.to_str().unwrap();
    let mut words = vec![
        "distill",
        "--teacher",
        "sample",
        "--student",
        "depth:0.5",
        "--out",
        out,
    ];
    words.extend(SHORT);
    let document = place.json(&words);
    has_keys(
        &document,
        &[
            "out",
            "steps",
            "loss_first",
            "loss_last",
            "perplexity_before",
            "perplexity_after",
            "reference_perplexity",
            "seconds",
            "curve",
            "skipped_steps",
            "tokens_per_second",
            "step_seconds",
            "of_fma_bound",
        ],
    );
    assert_eq!(document["steps"], 3);
    let curve = document["curve"].as_array().unwrap();
    assert_eq!(curve.len(), 4);
    has_keys(
        &curve[1],
        &["step", "loss", "held_out", "rate", "gradient_norm"],
    );
    let inspected = place.json(&["inspect", out]);
    let parameters = inspected["parameters"].as_u64().unwrap();
    assert_eq!(Some(parameters), document["parameters"].as_u64());
}

#[test]
fn a_wrong_command_line_says_what_is_right() {
    let place = Place::new();
    let out = place.path("out");
    let out = out.to_str().unwrap();
    let base = ["distill", "--teacher", "sample", "--out", out];
    let rows: [(&[&str], i32, &str); 5] = [
        (&["--student", "depth:2"], 2, "depth:0.5"),
        (
            &[
                "--student",
                "depth:0.5",
                "--teacher-weight",
                "1",
                "--teacher-weight",
                "2",
            ],
            2,
            "2 weights",
        ),
        (
            &["--student", "depth:0.5", "--qat", "--scales"],
            2,
            "--scales",
        ),
        (&["--student", "depth:0.5", "--rate", "0"], 2, "above 0"),
        (
            &["--student", "depth:0.5", "--steps", "3", "--length", "9999"],
            1,
            "9999 tokens",
        ),
    ];
    for (more, code, expected) in rows {
        let mut words = base.to_vec();
        words.extend(more);
        place.run(&words).refused(code, &[expected]);
        assert!(!place.path("out.partial").exists(), "{more:?}");
    }
}
