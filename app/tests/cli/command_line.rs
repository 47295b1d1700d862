//! Words, help and exit codes, without a model.

use crate::place::Place;

#[test]
fn help_and_version_are_answers() {
    let place = Place::new();
    let outcome = place.run(&["--help"]);
    let help = outcome.page();
    assert!(
        ["sample", "open", "compress"]
            .iter()
            .all(|word| help.contains(word)),
        "{help}"
    );
    assert!(place.run(&["compress", "--help"]).page().contains("--bits"));
    assert!(place.run(&["--version"]).page().starts_with("pare "));
}

#[test]
fn words_that_do_not_exist_yet_list_those_that_do() {
    let place = Place::new();
    let cases: [(&[&str], &[&str]); 7] = [
        (&["serve", "sample"], &["serve", "inspect", "bench"]),
        (
            &["compress", "sample", "--out", "o", "--method", "magic"],
            &["magic", "gptq", "nf4"],
        ),
        (
            &["compress", "sample", "--out", "o", "--format", "exe"],
            &["exe", "pare", "dense"],
        ),
        (
            &["export", "o", "--out", "p", "--format", "coreml"],
            &["coreml", "gptq"],
        ),
        (
            &["generate", "sample", "--prompt", "a", "--kv", "int4"],
            &["int4", "f32", "f16", "int8"],
        ),
        (&["bench", "magic"], &["magic", "kernels", "solvers"]),
        (
            &["compress", "sample", "--out", "o", "--order", "best"],
            &["best", "static"],
        ),
    ];
    for (words, expected) in cases {
        place.run(words).refused(2, expected);
    }
}

#[test]
fn numbers_out_of_range_are_a_wrong_command_line() {
    let place = Place::new();
    let cases: [(&[&str], &[&str]); 6] = [
        (&["--bits", "1"], &["--bits", "2..=8"]),
        (&["--bits", "9"], &["--bits", "2..=8"]),
        (&["--damping", "nan"], &["--damping"]),
        (&["--sequences", "0"], &["--sequences"]),
        (&["--threads", "0"], &["--threads"]),
        (&["--memory", "lots"], &["--memory", "2GB"]),
    ];
    for (flags, expected) in cases {
        let words = [&["compress", "sample", "--out", "o"], flags].concat();
        place.run(&words).refused(2, expected);
    }
    assert!(!place.path("o").exists());
}

#[test]
fn what_is_missing_is_named() {
    let place = Place::new();
    place.run(&["compress", "sample"]).refused(2, &["--out"]);
    place.run(&["inspect"]).refused(2, &["MODEL"]);
    place.run(&["generate", "sample"]).refused(2, &["--prompt"]);
}
