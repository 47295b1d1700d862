//! Words of the command line: what each may be, and what it means.
//!
//! Knows which words work today; clap lists them where another is typed.

use crate::cli::arguments::{ErrorsOf, Gain};
use crate::studio::action::View;
use crate::studio::preferences::ThemeChoice;
use crate::studio::request::Renderer;
use clap::builder::{PathBufValueParser, PossibleValuesParser, TypedValueParser};
use pare_engine::formats::Format;
use pare_engine::ggml::GgmlType;
use pare_engine::grid::ScaleDtype;
use pare_engine::mask::SparsityPattern;
use pare_engine::model::CacheKind;
use pare_engine::moments::Prefix;
use pare_engine::recipe::{
    Activations, BlockChoice, ColumnOrder, PruneMethod, PruneScope, Rank, Refine,
};
use pare_engine::solved::Method;
use std::path::PathBuf;

mod numbers;

pub(super) use numbers::{
    bits_per_weight, bytes, count, damping, milliseconds, probability, rate, scale, share, size,
    smooth, sparsity, teacher_weight, temperature,
};

/// A parser that takes only the words of `table`.
fn table<T: Copy + Send + Sync + 'static>(
    table: Vec<(&'static str, T)>,
) -> impl TypedValueParser<Value = T> {
    let words: Vec<&'static str> = table.iter().map(|(word, _)| *word).collect();
    PossibleValuesParser::new(words).map(move |word| {
        table
            .iter()
            .find(|(known, _)| *known == word)
            .map(|(_, value)| *value)
            .expect("clap lets only the words of the table through")
    })
}

/// `--method`.
pub(super) fn method() -> impl TypedValueParser<Value = Method> {
    table(Method::ALL.map(|method| (method.word(), method)).to_vec())
}

/// `--format`.
pub(super) fn format() -> impl TypedValueParser<Value = Format> {
    table(Format::ALL.map(|format| (format.word(), format)).to_vec())
}

/// `--type`: letters may be small.
pub(super) fn ggml_type() -> impl TypedValueParser<Value = GgmlType> {
    let words = GgmlType::ALL.map(GgmlType::word);
    PossibleValuesParser::new(words)
        .try_map(|word| GgmlType::of_word(&word).ok_or("no type of ggml"))
}

/// `--scale-dtype`.
pub(super) fn scale_dtype() -> impl TypedValueParser<Value = ScaleDtype> {
    table(vec![
        ("f16", ScaleDtype::F16),
        ("bf16", ScaleDtype::BF16),
        ("f32", ScaleDtype::F32),
    ])
}

/// `--order`.
pub(super) fn order() -> impl TypedValueParser<Value = ColumnOrder> {
    table(vec![
        ("none", ColumnOrder::None),
        ("static", ColumnOrder::Static),
        ("gar", ColumnOrder::Gar),
    ])
}

/// `--refine`.
pub(super) fn refine() -> impl TypedValueParser<Value = Refine> {
    table(vec![
        ("auto", Refine::Auto),
        ("off", Refine::Off),
        ("on", Refine::On),
    ])
}

/// `--activations`.
pub(super) fn activations() -> impl TypedValueParser<Value = Activations> {
    table(Activations::ALL.map(|mode| (mode.word(), mode)).to_vec())
}

/// `--activation-block`.
pub(super) fn activation_block() -> impl TypedValueParser<Value = usize> {
    table(vec![("0", 0), ("32", 32), ("128", 128)])
}

/// `--activations` of a model that is only run.
pub(super) fn input_rounding() -> impl TypedValueParser<Value = Activations> {
    let modes = [Activations::None, Activations::Dynamic8];
    table(modes.map(|mode| (mode.word(), mode)).to_vec())
}

/// `--activation-block` of a model that is only run.
pub(super) fn input_block() -> impl TypedValueParser<Value = usize> {
    table(vec![("0", 0), ("32", 32), ("128", 128), ("256", 256)])
}

/// `--prefix`.
pub(super) fn prefix() -> impl TypedValueParser<Value = Prefix> {
    table(vec![
        ("compressed", Prefix::Compressed),
        ("original", Prefix::Original),
    ])
}

/// `--kv`.
pub(super) fn cache_kind() -> impl TypedValueParser<Value = CacheKind> {
    table(CacheKind::ALL.map(|kind| (kind.word(), kind)).to_vec())
}

/// `--solver`.
pub(super) fn errors_of() -> impl TypedValueParser<Value = ErrorsOf> {
    table(vec![("own", ErrorsOf::Own), ("rtn", ErrorsOf::Rounding)])
}

/// `--gain`.
pub(super) fn gain() -> impl TypedValueParser<Value = Gain> {
    table(vec![
        ("measured", Gain::Measured),
        ("gradient", Gain::Gradient),
        ("none", Gain::None),
    ])
}

/// `--renderer`.
pub(super) fn renderer() -> impl TypedValueParser<Value = Renderer> {
    table(vec![
        ("auto", Renderer::Auto),
        ("wgpu", Renderer::Wgpu),
        ("glow", Renderer::Glow),
    ])
}

/// `--theme` of a picture: fixed, so that the same words give the same picture.
pub(super) fn theme() -> impl TypedValueParser<Value = ThemeChoice> {
    table(vec![
        ("dark", ThemeChoice::Dark),
        ("light", ThemeChoice::Light),
    ])
}

/// `--view`.
pub(super) fn view() -> impl TypedValueParser<Value = View> {
    table(View::ALL.map(|view| (view.word(), view)).to_vec())
}

/// `--screenshot`: named as what it will be.
pub(super) fn png() -> impl TypedValueParser<Value = PathBuf> {
    ending("png", "pictures are PNG files, so the name ends with .png")
}

/// Of `report`: so that no file of a run is taken for its page.
pub(super) fn html() -> impl TypedValueParser<Value = PathBuf> {
    ending("html", "pages are HTML files, so the name ends with .html")
}

/// Of `report`.
pub(super) fn csv() -> impl TypedValueParser<Value = PathBuf> {
    ending("csv", "tables are CSV files, so the name ends with .csv")
}

/// A path named as what it will be.
fn ending(wanted: &'static str, problem: &'static str) -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(move |path| {
        let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
        match ending.is_some_and(|ending| ending == wanted) {
            true => Ok(path),
            false => Err(problem),
        }
    })
}

/// `--drop-blocks`: a number of blocks, or a list of them with a comma in it.
pub(super) fn blocks(text: &str) -> Result<BlockChoice, String> {
    let wrong = || "must be how many blocks go, as in 2, or which, as in 3,5 or 3,".to_owned();
    let number = |text: &str| text.trim().parse::<usize>().map_err(|_| wrong());
    if !text.contains(',') {
        return Ok(BlockChoice::Count(number(text)?));
    }
    let listed = text.split(',').filter(|part| !part.trim().is_empty());
    let these: Vec<usize> = listed.map(number).collect::<Result<_, _>>()?;
    match these.is_empty() {
        true => Err(wrong()),
        false => Ok(BlockChoice::These(these)),
    }
}

/// `--prune`.
pub(super) fn prune_method() -> impl TypedValueParser<Value = PruneMethod> {
    table(
        PruneMethod::ALL
            .map(|method| (method.word(), method))
            .to_vec(),
    )
}

/// `--scope`.
pub(super) fn scope() -> impl TypedValueParser<Value = PruneScope> {
    table(PruneScope::ALL.map(|scope| (scope.word(), scope)).to_vec())
}

/// `--pattern`.
pub(super) fn pattern(text: &str) -> Result<SparsityPattern, String> {
    text.parse().map_err(|_| {
        "write unstructured, N:M with N below M and M at most 32 (such as 2:4), or 1x4".to_owned()
    })
}

/// `--rank`: a number, a share of the dense bytes, or an energy.
pub(super) fn rank(text: &str) -> Result<Rank, String> {
    let wrong = || {
        "write a rank such as 16, a share of the dense bytes such as 25%, or energy:0.95; 0 is none"
            .to_owned()
    };
    let share = |text: &str, whole: f64| {
        let share = text.parse::<f64>().ok().map(|value| value / whole);
        share
            .filter(|share| (0.0..=1.0).contains(share))
            .ok_or_else(wrong)
    };
    if let Some(energy) = text.strip_prefix("energy:") {
        return share(energy, 1.0).map(Rank::Energy);
    }
    if let Some(percent) = text.strip_suffix('%') {
        return share(percent, 100.0).map(Rank::Share);
    }
    match text.parse::<usize>() {
        Ok(0) => Ok(Rank::None),
        Ok(rank) if rank <= 1 << 30 => Ok(Rank::Fixed(rank)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_read_as_numbers_shares_and_energies() {
        let cases = [
            ("0", Ok(Rank::None)),
            ("16", Ok(Rank::Fixed(16))),
            ("25%", Ok(Rank::Share(0.25))),
            ("energy:0.95", Ok(Rank::Energy(0.95))),
        ];
        for (text, expected) in cases {
            assert_eq!(rank(text), expected, "{text}");
        }
        for text in [
            "",
            "-1",
            "1.5",
            "101%",
            "%",
            "energy:",
            "energy:2",
            "NaN%",
            "99999999999",
        ] {
            assert!(rank(text).is_err(), "{text}");
        }
    }

    #[test]
    fn blocks_are_a_number_or_a_list() {
        let cases = [
            ("2", Some(BlockChoice::Count(2))),
            ("3,5", Some(BlockChoice::These(vec![3, 5]))),
            ("3,", Some(BlockChoice::These(vec![3]))),
            (",", None),
            ("two", None),
            ("1,x", None),
        ];
        for (text, expected) in cases {
            assert_eq!(blocks(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn patterns_keep_some_of_each_few() {
        for text in ["2:4", "unstructured", "1x4"] {
            assert!(pattern(text).is_ok(), "{text}");
        }
        assert!(pattern("4:2").is_err());
    }
}
