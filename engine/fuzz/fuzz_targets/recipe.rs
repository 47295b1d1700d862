//! Any text as a recipe: an answer, never a panic; and what is taken is written back as the same recipe.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pare_engine::recipe::Recipe;

fuzz_target!(|text: &str| {
    if let Ok(recipe) = Recipe::parse(text) {
        assert_eq!(Recipe::parse(&recipe.to_toml()), Ok(recipe));
    }
});
