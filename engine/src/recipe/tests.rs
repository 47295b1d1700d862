//! Recipes read, written and resolved; one case for each way of being wrong.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::words::Word;
use super::*;
use crate::mask::SparsityPattern;
use crate::model::{LayerInfo, LayerKind, Role};
use crate::tensor::Dtype;

/// The recipe of the contract.
const CONTRACT: &str = r#"
version = 1
strict = false
[default]
method = "gptq"            # rtn | gptq | awq | hqq | nf4 | none
bits = 4
group = 128
symmetric = false
scale_dtype = "f16"
clip_search = 20
order = "static"
damping = 0.01
refine = "auto"
prefix = "compressed"
double_quant = false
[embeddings]
bits = 8
[calibration]
corpus = "text.txt"
sequences = 128
length = 2048
seed = 0
[[layer]]
match = "*.down_proj"
bits = 6
[[layer]]
match = "lm_head"
method = "none"
"#;

pub(super) fn layer(name: &str, kind: LayerKind) -> LayerInfo {
    LayerInfo {
        name: name.to_owned(),
        tensor: format!("{name}.weight"),
        role: Role::Other,
        kind,
        block: None,
        rows: 8,
        columns: 8,
        shape: vec![8, 8],
        dtype: Dtype::F32,
        size_bytes: 256,
        parameters: 64,
        transposed: false,
        compressible: kind != LayerKind::Other,
        packed: false,
        fused_peers: None,
    }
}

fn layers() -> Vec<LayerInfo> {
    let inner = [0, 1].into_iter().flat_map(|block| {
        ["self_attn.q_proj", "mlp.down_proj"]
            .map(|name| layer(&format!("model.layers.{block}.{name}"), LayerKind::Linear))
    });
    let mut all = vec![layer("model.embed_tokens", LayerKind::Embedding)];
    all.extend(inner);
    all.push(layer("model.norm", LayerKind::Other));
    all.push(layer("lm_head", LayerKind::Head));
    all
}

/// Method, bits and rule of one layer under a recipe without its version line.
fn decided(text: &str, name: &str) -> (Method, u8, String) {
    let recipe = Recipe::parse(&format!("version = 1\n{text}")).unwrap();
    let layers = layers();
    let index = layers.iter().position(|layer| layer.name == name).unwrap();
    let decision = recipe.resolve(&layers).decisions.swap_remove(index);
    (
        decision.settings.method,
        decision.settings.bits,
        decision.rule,
    )
}

fn error_of(text: &str) -> RecipeError {
    Recipe::parse(text).unwrap_err()
}

#[test]
fn the_contract_recipe_is_the_default_and_its_rules() {
    let recipe = Recipe::parse(CONTRACT).unwrap();
    assert_eq!(recipe.default, Recipe::default().default);
    assert_eq!(recipe.embeddings.unwrap().bits, Some(8));
    assert_eq!(recipe.calibration.corpus.as_deref(), Some("text.txt"));
    assert_eq!(recipe.layers[0].pattern, "*.down_proj");
    assert_eq!(recipe.layers[1].overrides.method, Some(Method::None));
}

#[test]
fn a_version_alone_is_the_documented_default() {
    assert_eq!(Recipe::parse("version = 1").unwrap(), Recipe::default());
}

#[test]
fn the_written_text_is_complete() {
    let text = Recipe::default().to_toml();
    for key in [
        "version",
        "strict",
        "method",
        "bits",
        "group",
        "symmetric",
        "scale_dtype",
        "clip_search",
        "order",
        "damping",
        "refine",
        "prefix",
        "double_quant",
        "activations",
        "activation_block",
        "smooth",
        "kv_cache",
        "sequences",
        "length",
        "seed",
    ] {
        assert!(
            text.contains(&format!("\n{key} = ")) || text.starts_with(key),
            "{key}:\n{text}"
        );
    }
}

#[test]
fn an_unknown_key_names_line_and_nearest_key() {
    let error = error_of("version = 1\n[default]\nbits = 4\ngruop = 32\n");
    assert!(
        matches!(&error, RecipeError::UnknownKey { line: 4, .. }),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("nearest key is group"),
        "{error}"
    );
    let error = error_of("version = 1\n[[layer]]\nmatch = \"*\"\nprefix = \"original\"\n");
    assert!(
        error.to_string().contains("[[layer]] has no key prefix"),
        "{error}"
    );
    let error = error_of("version = 1\n[xyzzy]\n");
    assert!(
        error.to_string().contains("its keys are version"),
        "{error}"
    );
}

#[test]
fn wrong_kinds_name_line_and_key() {
    let cases = [
        (
            "strict = 1",
            "the recipe strict must be true or false, not a whole number",
        ),
        (
            "[default]\nbits = \"4\"",
            "[default] bits must be a whole number, not a text",
        ),
        (
            "[default]\nbits = 4.0",
            "[default] bits must be a whole number, not a fraction",
        ),
        (
            "[default]\nmethod = 3",
            "[default] method must be a text in quotes",
        ),
        (
            "[default]\ndamping = true",
            "[default] damping must be a number",
        ),
        ("default = 3", "the recipe default must be a table"),
        ("layer = 3", "the recipe layer must be tables"),
        ("layer = [3]", "the recipe layer must be tables"),
        ("[layer]\nmatch = \"*\"", "the recipe layer must be tables"),
        (
            "[calibration]\ncorpus = [1]",
            "[calibration] corpus must be a text",
        ),
    ];
    for (text, expected) in cases {
        let error = error_of(&format!("version = 1\n{text}"));
        assert!(
            matches!(error, RecipeError::WrongType { .. }),
            "{text}: {error}"
        );
        assert!(error.to_string().contains(expected), "{text}: {error}");
    }
}

#[test]
fn numbers_out_of_range() {
    let wrong = [
        "[default]\nbits = 1",
        "[default]\nbits = 9",
        "[default]\nbits = -4",
        "[default]\nbits = 99999999999999999999999",
        "[embeddings]\nbits = 16",
        "[default]\ngroup = -1",
        "[default]\nclip_search = 100000000",
        "[default]\ndamping = nan",
        "[default]\ndamping = inf",
        "[default]\ndamping = -0.1",
        "[default]\ndamping = 1e999",
        "[calibration]\nsequences = 0",
        "[calibration]\nlength = 0",
        "[calibration]\nseed = -1",
        "[[layer]]\nmatch = \"*\"\nbits = 0",
    ];
    for text in wrong {
        let error = error_of(&format!("version = 1\n{text}"));
        assert!(
            matches!(error, RecipeError::OutOfRange { .. }),
            "{text}: {error}"
        );
    }
    let error = error_of("version = 1\n[default]\nbits = 9");
    let expected = "line 3 of the recipe: [default] bits must be 2 to 8, not 9; correct it";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn unknown_words_list_those_that_exist() {
    let cases = [
        (
            "method = \"gtpq\"",
            "rtn, gptq, awq, hqq, nf4, palette, float, none",
        ),
        ("scale_dtype = \"f8\"", "f16, bf16, f32"),
        ("order = \"desc\"", "none, static, gar"),
        ("refine = \"yes\"", "auto, off, on"),
        ("prefix = \"dense\"", "compressed, original"),
    ];
    for (text, expected) in cases {
        let error = error_of(&format!("version = 1\n[default]\n{text}"));
        assert!(
            matches!(error, RecipeError::UnknownWord { line: 3, .. }),
            "{text}: {error}"
        );
        assert!(error.to_string().ends_with(expected), "{text}: {error}");
    }
}

#[test]
fn versions() {
    assert_eq!(error_of(""), RecipeError::NoVersion);
    assert_eq!(
        error_of("version = 2"),
        RecipeError::NewerVersion { line: 1, found: 2 }
    );
    assert!(matches!(
        error_of("version = 0"),
        RecipeError::OutOfRange { .. }
    ));
}

#[test]
fn wrong_patterns() {
    for pattern in ["/(/", "a[", "", "/x"] {
        let error = error_of(&format!(
            "version = 1\n[[layer]]\nbits = 4\nmatch = '{pattern}'"
        ));
        assert!(
            matches!(error, RecipeError::Pattern { line: 4, .. }),
            "{pattern}: {error}"
        );
    }
    assert_eq!(
        error_of("version = 1\n\n[[layer]]\nbits = 4"),
        RecipeError::NoMatch { line: 3 }
    );
}

#[test]
fn text_that_is_no_toml() {
    for text in [
        "version = ",
        "version = 1\nversion = 1",
        "[default",
        "version = 1\n\u{0}",
    ] {
        let error = error_of(text);
        assert!(
            matches!(error, RecipeError::Syntax { .. }),
            "{text:?}: {error}"
        );
    }
}

#[test]
fn later_rules_win_key_by_key() {
    let text = "[[layer]]\nmatch = \"*\"\nbits = 3\nmethod = \"hqq\"\n[[layer]]\nmatch = \"/down/\"\nbits = 6\n";
    let down = (Method::Hqq, 6, "[[layer]] match = \"/down/\"".to_owned());
    assert_eq!(decided(text, "model.layers.1.mlp.down_proj"), down);
    let query = (Method::Hqq, 3, "[[layer]] match = \"*\"".to_owned());
    assert_eq!(decided(text, "model.layers.0.self_attn.q_proj"), query);
}

#[test]
fn ends_are_left_alone_unless_named() {
    let cases = [
        ("", Method::None, "no [embeddings]"),
        (
            "[[layer]]\nmatch = \"*\"\nbits = 3",
            Method::None,
            "no [embeddings]",
        ),
        ("[embeddings]\nbits = 8", Method::Rtn, "[embeddings]"),
        (
            "[embeddings]\nmethod = \"hqq\"\n",
            Method::Hqq,
            "[embeddings]",
        ),
        (
            "[[layer]]\nmatch = \"lm_*\"\nbits = 6",
            Method::Rtn,
            "[[layer]] match = \"lm_*\"",
        ),
        (
            "[embeddings]\nbits = 8\n[[layer]]\nmatch = \"lm_head\"\nmethod = \"none\"",
            Method::None,
            "[[layer]] match = \"lm_head\"",
        ),
    ];
    for (text, method, rule) in cases {
        let (found, _, found_rule) = decided(text, "lm_head");
        assert_eq!((found, found_rule.as_str()), (method, rule), "{text}");
    }
    assert_eq!(decided("[embeddings]\nbits = 8", "model.embed_tokens").1, 8);
}

#[test]
fn what_cannot_be_compressed_is_left_alone() {
    let (method, _, rule) = decided("[[layer]]\nmatch = \"*\"\nmethod = \"rtn\"", "model.norm");
    assert_eq!((method, rule.as_str()), (Method::None, "not compressible"));
}

#[test]
fn rules_that_hit_nothing_name_the_nearest_names() {
    let text = "version = 1\n[[layer]]\nmatch = \"*.dwn_proj\"\n[[layer]]\nmatch = \"model.norm\"\n[[layer]]\nmatch = \"*\"\n";
    let warnings = Recipe::parse(text).unwrap().resolve(&layers()).warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[0].contains("the nearest names are model.layers.0.mlp.down_proj,"),
        "{warnings:?}"
    );
    assert!(!warnings[0].contains("layers.1"), "{warnings:?}");
    let text = "version = 1\n[[layer]]\nmatch = \"model.layers.1.mlp.dwn_proj\"\n";
    let found = Recipe::parse(text).unwrap().resolve(&layers()).warnings;
    assert!(
        found[0].contains("the nearest names are model.layers.1.mlp.down_proj,"),
        "{found:?}"
    );
    assert!(warnings[1].contains("cannot be compressed"), "{warnings:?}");
}

#[test]
fn flags_win_over_rules_and_default() {
    let recipe = Recipe::parse(CONTRACT).unwrap();
    let flags = Overrides {
        bits: Some(3),
        method: Some(Method::Rtn),
        ..Overrides::default()
    };
    let recipe = recipe.with_command_line(&flags);
    let decisions = recipe.resolve(&layers()).decisions;
    let found: Vec<_> = decisions
        .iter()
        .map(|decision| (decision.settings.method, decision.settings.bits))
        .collect();
    let inner = (Method::Rtn, 3);
    assert_eq!(
        found[0],
        (Method::Rtn, 8),
        "[embeddings] keeps its own words"
    );
    assert_eq!(found[1..5], [inner; 4]);
    assert_eq!(found[6].0, Method::Rtn, "a flag wins over method = none");
}

#[test]
fn the_corpus_is_relative_to_the_recipe() {
    let cases = [
        ("text.txt", "/recipes/text.txt"),
        ("/data/text.txt", "/data/text.txt"),
        ("sample", "sample"),
    ];
    for (corpus, expected) in cases {
        let mut recipe = Recipe::default();
        recipe.calibration.corpus = Some(corpus.to_owned());
        let recipe = recipe.relative_to(Path::new("/recipes"));
        assert_eq!(recipe.calibration.corpus.as_deref(), Some(expected));
    }
}

fn word<T: Word + std::fmt::Debug>() -> impl Strategy<Value = T> {
    (0..T::TABLE.len()).prop_map(|index| T::TABLE[index].1)
}

fn maybe<T: std::fmt::Debug + Clone>(
    strategy: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<T>> {
    proptest::option::of(strategy)
}

fn any_overrides() -> impl Strategy<Value = Overrides> {
    let grid = (
        maybe(word::<Method>()),
        maybe(2..=8u8),
        maybe(0..=1_000_000_000usize),
        maybe(any::<bool>()),
        maybe(word::<ScaleDtype>()),
    );
    let search = (
        maybe(0..=10_000u32),
        maybe(word::<ColumnOrder>()),
        maybe(proptest::num::f64::POSITIVE | proptest::num::f64::ZERO),
        maybe(word::<Refine>()),
        maybe(any::<bool>()),
    );
    let inputs = (
        maybe(word::<Activations>()),
        maybe(proptest::sample::select(
            crate::settings::ACTIVATION_BLOCKS.to_vec(),
        )),
        maybe(0.0..=1.0f64),
    );
    let less = (maybe(any_pruning()), maybe(any_rank()), maybe(0..=64usize));
    (grid, search, inputs, less).prop_map(|(grid, search, inputs, less)| Overrides {
        method: grid.0,
        bits: grid.1,
        group: grid.2,
        symmetric: grid.3,
        scale_dtype: grid.4,
        clip_search: search.0,
        order: search.1,
        // The strategies also give infinities and minus zero, which no recipe can hold.
        damping: search.2.filter(|damping| damping.is_finite()).map(f64::abs),
        refine: search.3,
        double_quant: search.4,
        activations: inputs.0,
        activation_block: inputs.1,
        smooth: inputs.2,
        prune: less.0,
        rank: less.1,
        palette_rows: less.2,
    })
}

fn any_pruning() -> impl Strategy<Value = Pruning> {
    let pattern = ["unstructured", "2:4", "4:8", "1:32", "1x4"]
        .map(|word| word.parse::<SparsityPattern>().unwrap());
    let pattern = proptest::sample::select(pattern.to_vec());
    let parts = (
        word::<PruneMethod>(),
        pattern,
        0.0..=1.0f64,
        word::<PruneScope>(),
    );
    parts.prop_map(|(method, pattern, sparsity, scope)| match method {
        PruneMethod::None => Pruning::NONE,
        method => Pruning {
            method,
            pattern,
            sparsity: pattern.sparsity().unwrap_or(sparsity),
            scope,
        },
    })
}

fn any_rank() -> impl Strategy<Value = Rank> {
    prop_oneof![
        Just(Rank::None),
        (1..=4096usize).prop_map(Rank::Fixed),
        (0.0..=1.0f64).prop_map(Rank::Share),
        (0.0..=1.0f64).prop_map(Rank::Energy),
    ]
}

fn any_recipe() -> impl Strategy<Value = Recipe> {
    let calibration = (
        maybe(any::<String>()),
        1..=1_000_000_000usize,
        1..=1_000_000_000usize,
        any::<u64>(),
    );
    let rule = ("[a-z.*?]{1,12}|/[a-z]+/", any_overrides())
        .prop_map(|(pattern, overrides)| LayerRule { pattern, overrides });
    (
        any::<bool>(),
        any_overrides(),
        (word::<Prefix>(), word::<KvCache>()),
        maybe(any_overrides()),
        calibration,
        proptest::collection::vec(rule, 0..4),
    )
        .prop_map(
            |(strict, default, (prefix, kv_cache), embeddings, calibration, layers)| {
                let mut recipe = Recipe {
                    strict,
                    embeddings,
                    layers,
                    kv_cache,
                    ..Recipe::default()
                };
                recipe.default = default.apply(recipe.default);
                recipe.default.prefix = prefix;
                let (corpus, sequences, length, seed) = calibration;
                recipe.calibration = CalibrationSettings {
                    corpus,
                    sequences,
                    length,
                    seed,
                };
                recipe
            },
        )
}

proptest! {
    #[test]
    fn any_text_is_answered(text in any::<String>()) {
        let _ = Recipe::parse(&text);
    }

    #[test]
    fn a_nudged_recipe_is_answered(position in 0..CONTRACT.len(), with in any::<char>()) {
        let mut text: Vec<char> = CONTRACT.chars().collect();
        let last = text.len() - 1;
        text[position.min(last)] = with;
        let _ = Recipe::parse(&text.into_iter().collect::<String>());
    }

    #[test]
    fn what_is_written_reads_back(recipe in any_recipe()) {
        let text = recipe.to_toml();
        prop_assert_eq!(Recipe::parse(&text), Ok(recipe), "{}", text);
    }
}

/// The seeds of the fuzz target, held to what the target asserts.
#[test]
fn fuzz_seeds_are_answered() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/recipe");
    let mut right = 0;
    for seed in std::fs::read_dir(seeds).unwrap() {
        let text = std::fs::read_to_string(seed.unwrap().path()).unwrap();
        if let Ok(recipe) = Recipe::parse(&text) {
            right += 1;
            assert_eq!(Recipe::parse(&recipe.to_toml()), Ok(recipe));
        }
    }
    assert_eq!(right, 4, "contract, small, inline and numbers");
}
