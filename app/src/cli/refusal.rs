//! clap's complaints in one or two plain sentences.
//!
//! Knows clap's error kinds and nothing of what the words mean.

use crate::cli::arguments::Arguments;
use crate::cli::printer::capital;
use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// `error` as a person would say it: what is wrong, and what would be right.
pub(super) fn sentence(error: &clap::Error) -> String {
    let context = |kind| error.get(kind).map(words);
    match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.render().to_string(),
        ErrorKind::InvalidSubcommand => format!(
            "`{}` is no verb of pare. These work: {}.",
            context(ContextKind::InvalidSubcommand).unwrap_or_default(),
            verbs()
        ),
        ErrorKind::InvalidValue => invalid_value(
            &flag(context(ContextKind::InvalidArg)),
            &context(ContextKind::InvalidValue).unwrap_or_default(),
            &context(ContextKind::ValidValue).unwrap_or_default(),
        ),
        ErrorKind::MissingRequiredArgument => format!(
            "Something is missing: {}.",
            context(ContextKind::InvalidArg).unwrap_or_default()
        ),
        _ => first_sentence(error),
    }
}

fn invalid_value(flag: &str, value: &str, valid: &str) -> String {
    if value.is_empty() {
        format!("{flag} needs a value. These work: {valid}.")
    } else {
        format!("`{value}` does not work for {flag}. These do: {valid}.")
    }
}

/// `--method <WORD>` without the placeholder, `[WHAT]` without its brackets.
fn flag(argument: Option<String>) -> String {
    let argument = argument.unwrap_or_default();
    argument
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .trim_matches(['[', ']'])
        .to_owned()
}

fn words(value: &ContextValue) -> String {
    match value {
        ContextValue::Strings(list) => list.join(", "),
        other => other.to_string(),
    }
}

fn verbs() -> String {
    let command = Arguments::command();
    let names: Vec<&str> = command
        .get_subcommands()
        .map(clap::Command::get_name)
        .collect();
    names.join(", ")
}

/// clap's own first line, a tip where it has one, without its usage block.
fn first_sentence(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let mut sentence = capital(first.strip_prefix("error: ").unwrap_or(first));
    if !sentence.ends_with(['.', '?']) {
        sentence.push('.');
    }
    if let Some(tip) = lines.find_map(|line| line.strip_prefix("tip: ")) {
        sentence.push_str(&format!(" Note: {tip}."));
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn refused(words: &str) -> String {
        match Arguments::try_parse_from(words.split_whitespace()) {
            Ok(_) => panic!("{words:?} was taken"),
            Err(error) => sentence(&error),
        }
    }

    #[test]
    fn what_does_not_exist_lists_what_does() {
        let cases = [
            (
                "pare merge x",
                "`merge` is no verb of pare. These work: open, inspect, logits, calibrate, sensitivity, allocate, compress, distill, evaluate, generate, export, report, estimate, devices, bench.",
            ),
            (
                "pare compress x --out o --method magic",
                "`magic` does not work for --method. These do: rtn, gptq, awq, hqq, nf4, palette, float, none.",
            ),
            (
                "pare compress x --out o --format coreml",
                "`coreml` does not work for --format. These do: pare, dense, gptq, awq, compressed-tensors, gguf, mlx, bnb-nf4, onnx.",
            ),
            (
                "pare bench magic",
                "`magic` does not work for WHAT. These do: kernels, memory, solvers, structure.",
            ),
            ("pare compress x", "Something is missing: --out <DIR>."),
            (
                "pare allocate x --out r.toml --latency-ms 0",
                "Invalid value '0' for '--latency-ms <T>': write milliseconds above 0, such as 20 or 0.5.",
            ),
        ];
        for (words, expected) in cases {
            assert_eq!(refused(words), expected, "{words}");
        }
    }

    #[test]
    fn other_complaints_are_one_line() {
        for words in [
            "pare compress x --out o --bits 9",
            "pare inspect x --colour",
            "pare compress x --out o --resume --dry-run",
            "pare inspect x y",
            "pare inspect x --threads 0",
            "pare inspect x --memory lots",
        ] {
            let sentence = refused(words);
            assert_eq!(sentence.lines().count(), 1, "{words}: {sentence}");
            assert!(!sentence.contains("error:"), "{words}: {sentence}");
        }
    }
}
