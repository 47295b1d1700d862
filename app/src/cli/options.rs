//! Words for options of a layer: `4/64`, `4/64@2:4`, `float@50%`, `rank25%`, `dense`, and `4` or `4@2:4` for four bits in
//! the recipe's group; and what stands for them where none are named.
//!
//! Knows no layer and no recipe but its group.

use pare_engine::settings::{KeptValues, LayerOption, Zeros};
use std::str::FromStr;

/// Bits at which single layers are changed where nobody names others.
const PROBED_BITS: [u8; 3] = [2, 3, 4];
/// Bits at which all layers are changed where nobody names others.
const ANCHORED_BITS: [u8; 4] = [2, 3, 4, 6];

/// One option, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OptionWord {
    /// `4`: the group is the recipe's.
    Bits(u8),
    /// `4@2:4`: the group is the recipe's.
    Pruned(u8, Zeros),
    /// `4/64`, `float@50%`, `rank25%` or `dense`.
    Whole(LayerOption),
}

/// `PATTERN=3/64,4/64`: the only options of layers that the pattern hits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AllowedWord {
    /// A glob, or `/regex/`, on layer names.
    pub(super) pattern: String,
    /// The options.
    pub(super) options: Vec<OptionWord>,
}

/// What is judged, and at which options losses are measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    /// All options that are judged; what is measured is among them.
    pub(super) options: Vec<LayerOption>,
    /// Options of layers changed alone.
    pub(super) probes: Vec<LayerOption>,
    /// Options of all layers changed together.
    pub(super) anchors: Vec<LayerOption>,
}

/// What is asked for in words; none named = the documented ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// `--options`.
    pub(super) options: &'a [OptionWord],
    /// `--probes`.
    pub(super) probes: &'a [OptionWord],
    /// `--anchors`.
    pub(super) anchors: &'a [OptionWord],
}

impl OptionWord {
    /// The option, for a recipe of this group.
    pub(super) fn at(self, group: usize) -> LayerOption {
        match self {
            Self::Bits(bits) => LayerOption::Grid { bits, group },
            Self::Pruned(bits, zeros) => LayerOption::Pruned {
                values: KeptValues::Grid { bits, group },
                zeros,
            },
            Self::Whole(option) => option,
        }
    }
}

impl FromStr for OptionWord {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        if let Ok(bits @ 2..=8) = word.parse() {
            return Ok(Self::Bits(bits));
        }
        if let Some((bits, zeros)) = word.split_once('@')
            && let (Ok(bits @ 2..=8), Ok(zeros)) = (bits.parse(), zeros.parse())
        {
            return Ok(Self::Pruned(bits, zeros));
        }
        word.parse().map(Self::Whole).map_err(|_| {
            format!("`{word}` is no option; write bits (2 to 8) and group as 4/64, bits alone as 4 for the recipe's group, zeros behind them as 4/64@2:4 or float@50%, factors as rank25%, or dense")
        })
    }
}

impl FromStr for AllowedWord {
    type Err = String;

    /// Patterns may hold `=`, options never do.
    fn from_str(word: &str) -> Result<Self, String> {
        let (pattern, options) = word
            .rsplit_once('=')
            .filter(|(pattern, _)| !pattern.is_empty())
            .ok_or("write a pattern on layer names and its options, as '*.down_proj=4/64,6/64'")?;
        Ok(Self {
            pattern: pattern.to_owned(),
            options: options
                .split(',')
                .map(str::parse)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Asked<'_> {
    /// The options meant, for a recipe of this `group` that makes these `zeros`, when rules speak of `mentioned` options
    /// too. Options that nobody names have the recipe's zeros.
    pub(super) fn at(
        self,
        group: usize,
        zeros: Option<Zeros>,
        mentioned: &[LayerOption],
    ) -> Chosen {
        let named = |words: &[OptionWord]| -> Vec<LayerOption> {
            words.iter().map(|word| word.at(group)).collect()
        };
        let mut options = match self.options {
            [] => documented(group)
                .into_iter()
                .map(|option| with_zeros(option, zeros))
                .collect(),
            words => named(words),
        };
        let probes = match self.probes {
            [] => at_bits(&PROBED_BITS, &options, group, zeros),
            words => named(words),
        };
        let anchors = match self.anchors {
            [] => at_bits(&ANCHORED_BITS, &options, group, zeros),
            words => named(words),
        };
        options.extend(probes.iter().chain(&anchors).chain(mentioned));
        Chosen {
            options: unique(options),
            probes: unique(probes),
            anchors: unique(anchors),
        }
    }
}

/// All options of the usual groups, and of the recipe's where that is another one.
fn documented(group: usize) -> Vec<LayerOption> {
    let mut options = LayerOption::all();
    let own = [2, 3, 4, 5, 6, 8].map(|bits| LayerOption::Grid { bits, group });
    options.extend(own);
    unique(options)
}

/// Of the options judged, one for each of `wanted`, with the recipe's zeros where there are such: that of the recipe's
/// group, else the first.
fn at_bits(
    wanted: &[u8],
    options: &[LayerOption],
    group: usize,
    zeros: Option<Zeros>,
) -> Vec<LayerOption> {
    let of_bits = |bits: u8, zeros: Option<Zeros>| {
        let grid = |group: usize| with_zeros(LayerOption::Grid { bits, group }, zeros);
        let own = grid(group);
        let mut found = options
            .iter()
            .filter(|option| option.group().map(grid) == Some(**option));
        let first = found.next()?;
        let has_own = *first == own || found.any(|option| *option == own);
        Some(if has_own { own } else { *first })
    };
    let of_bits = |bits: &u8| of_bits(*bits, zeros).or_else(|| of_bits(*bits, None));
    wanted.iter().filter_map(of_bits).collect()
}

/// Codes of a grid with zeros among them, where there are any.
fn with_zeros(option: LayerOption, zeros: Option<Zeros>) -> LayerOption {
    match (option, zeros) {
        (LayerOption::Grid { bits, group }, Some(zeros)) => LayerOption::Pruned {
            values: KeptValues::Grid { bits, group },
            zeros,
        },
        (option, _) => option,
    }
}

/// Each option once, where it stands first.
fn unique(options: Vec<LayerOption>) -> Vec<LayerOption> {
    let mut once: Vec<LayerOption> = Vec::with_capacity(options.len());
    for option in options {
        if !once.contains(&option) {
            once.push(option);
        }
    }
    once
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn words(text: &str) -> Vec<OptionWord> {
        let words = text.split_whitespace();
        words.map(|word| word.parse().unwrap()).collect()
    }

    fn options(text: &str, group: usize) -> Vec<LayerOption> {
        words(text).iter().map(|word| word.at(group)).collect()
    }

    fn shown(options: &[LayerOption]) -> String {
        let words: Vec<String> = options.iter().map(LayerOption::to_string).collect();
        words.join(" ")
    }

    #[test]
    fn bits_alone_take_the_group_of_the_recipe() {
        assert_eq!(
            shown(&options("4 3/64 8/0 dense 4@2:4 float@50% rank25%", 32)),
            "4/32 3/64 8/0 dense 4/32@2:4 float@50% rank25%"
        );
        for wrong in [
            "", "1", "4@", "1@2:4", "float", "9", "4/", "/64", "four", "1/64", "Dense",
        ] {
            assert!(wrong.parse::<OptionWord>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn allowed_options_stand_behind_the_last_equals_sign() {
        let allowed: AllowedWord = "/a=b/=3/64,dense".parse().unwrap();
        assert_eq!(allowed.pattern, "/a=b/");
        assert_eq!(allowed.options, words("3/64 dense"));
        for wrong in ["3/64", "=3/64", "*=", "*=3/64,", "*=x"] {
            assert!(wrong.parse::<AllowedWord>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_measured_is_judged() {
        // Options, probes, anchors; then what is judged, probed and anchored at group 128.
        let rows = [
            (
                "2/64 4/64 dense",
                "",
                "",
                "2/64 4/64 dense",
                "2/64 4/64",
                "2/64 4/64",
            ),
            ("4/64 4", "", "3", "4/64 4/128 3/128", "4/128", "3/128"),
            ("8 dense", "", "", "8/128 dense", "", ""),
            ("8", "3/32", "", "8/128 3/32 6/64", "3/32", ""),
        ];
        for (options, probes, anchors, judged, probed, anchored) in rows {
            let (options, probes, anchors) = (words(options), words(probes), words(anchors));
            let asked = Asked {
                options: &options,
                probes: &probes,
                anchors: &anchors,
            };
            let mentioned: Vec<LayerOption> = match judged.ends_with("6/64") {
                true => self::options("6/64", 128),
                false => Vec::new(),
            };
            let chosen = asked.at(128, None, &mentioned);
            assert_eq!(shown(&chosen.options), judged);
            assert_eq!(shown(&chosen.probes), probed, "probes of {judged}");
            assert_eq!(shown(&chosen.anchors), anchored, "anchors of {judged}");
        }
    }

    #[test]
    fn without_words_the_documented_ones_hold() {
        let none = Asked {
            options: &[],
            probes: &[],
            anchors: &[],
        };
        let chosen = none.at(128, None, &[]);
        assert_eq!(chosen.options, LayerOption::all());
        assert_eq!(shown(&chosen.probes), "2/128 3/128 4/128");
        assert_eq!(shown(&chosen.anchors), "2/128 3/128 4/128 6/128");
        let zeros = "2:4".parse().unwrap();
        let chosen = none.at(64, Some(zeros), &[]);
        assert_eq!(shown(&chosen.probes), "2/64@2:4 3/64@2:4 4/64@2:4");
        assert_eq!(chosen.options.len(), LayerOption::all().len());
        let chosen = none.at(0, None, &[]);
        assert_eq!(chosen.options.len(), LayerOption::all().len() + 6);
        assert_eq!(shown(&chosen.probes), "2/0 3/0 4/0");
    }
}
