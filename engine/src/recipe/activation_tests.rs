//! What recipes say of inputs: words, ranges, precedence.

#![allow(clippy::unwrap_used)]

use super::tests::layer;
use super::*;
use crate::model::LayerKind;

fn settings_of(text: &str, name: &str) -> LayerSettings {
    let recipe = Recipe::parse(&format!("version = 1\n{text}")).unwrap();
    let layers = [
        layer("a.q_proj", LayerKind::Linear),
        layer("a.down_proj", LayerKind::Linear),
    ];
    let place = layers.iter().position(|layer| layer.name == name).unwrap();
    recipe.resolve(&layers).decisions[place].settings
}

#[test]
fn a_rule_wins_over_the_default_for_inputs_too() {
    let text = "[default]\nactivations = \"dynamic8\"\nactivation_block = 128\nsmooth = 0.5\n\
                [[layer]]\nmatch = \"*.down_proj\"\nactivations = \"static8\"\nsmooth = 0\n";
    let default = settings_of(text, "a.q_proj");
    let ruled = settings_of(text, "a.down_proj");
    let said = |settings: LayerSettings| {
        let LayerSettings {
            activations,
            activation_block,
            smooth,
            ..
        } = settings;
        (activations, activation_block, smooth)
    };
    assert_eq!(said(default), (Activations::Dynamic8, 128, 0.5));
    assert_eq!(said(ruled), (Activations::Static8, 128, 0.0));
    let flags = Overrides {
        activations: Some(Activations::None),
        ..Overrides::default()
    };
    let recipe = Recipe::parse(&format!("version = 1\n{text}")).unwrap();
    let recipe = recipe.with_command_line(&flags);
    assert_eq!(recipe.default.activations, Activations::None);
    let rule = recipe.layers[0].overrides;
    assert_eq!(rule.activations, Some(Activations::None), "a flag wins");
}

#[test]
fn the_cache_of_keys_and_values_is_the_whole_recipes() {
    let read = |text: &str| Recipe::parse(&format!("version = 1\n{text}"));
    assert_eq!(read("").unwrap().kv_cache, KvCache::F32);
    let recipe = read("[default]\nkv_cache = \"int8\"\n").unwrap();
    assert_eq!(recipe.kv_cache, KvCache::Int8);
    assert!(recipe.to_toml().contains("kv_cache = \"int8\""));
    let error = read("[[layer]]\nmatch = \"*\"\nkv_cache = \"int8\"\n").unwrap_err();
    assert!(matches!(error, RecipeError::UnknownKey { .. }), "{error:?}");
}

#[test]
fn wrong_values_name_what_would_be_right() {
    let cases = [
        ("activations = \"int8\"", "none, dynamic8, static8"),
        ("activation_block = 64", "0, 32 or 128"),
        ("activation_block = -1", "activation_block"),
        ("smooth = 1.5", "0 to 1"),
        ("smooth = nan", "0 to 1"),
        ("smooth = \"half\"", "a number"),
        ("kv_cache = \"f8\"", "f32, f16, int8"),
        ("activation = \"none\"", "activations"),
    ];
    for (line, expected) in cases {
        let text = format!("version = 1\n[default]\n{line}\n");
        let error = Recipe::parse(&text).unwrap_err().to_string();
        assert!(
            error.contains(expected) && error.contains("line 3"),
            "{line}: expected {expected:?} in {error:?}"
        );
    }
}
