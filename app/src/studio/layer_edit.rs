//! One change to the settings of a layer, and what it makes of them.
//!
//! Knows no layer: what a layer can have is `draft`'s word.

use super::draft::{MAX_BITS, MIN_BITS, activations_name, method_name};
use super::sparse;
use pare_engine::mask::SparsityPattern;
use pare_engine::recipe::{
    ColumnOrder, LayerSettings, PruneMethod, PruneScope, Pruning, Rank, Refine,
};
use pare_engine::settings::{Activations, LayerOption};
use pare_engine::solved::Method;

/// One change to the settings of a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LayerEdit {
    /// Another method; `none` keeps the layer dense.
    Method(Method),
    /// Bits of a code; quantizes a dense layer with the template's method.
    Bits(u8),
    /// Bits up or down by so many, within 2 to 8.
    BitsBy(i8),
    /// Weights per scale, 0 = a row.
    Group(usize),
    /// Zero in the middle.
    Symmetric(bool),
    /// Column order of GPTQ.
    Order(ColumnOrder),
    /// When GPTQ refines.
    Refine(Refine),
    /// Steps of the clip search.
    ClipSearch(u32),
    /// Share of the mean diagonal added to the Gram matrix.
    Damping(f64),
    /// NF4: quantize the block scales too.
    DoubleQuant(bool),
    /// How inputs are rounded when the layer runs.
    Activations(Activations),
    /// Inputs that share a scale of a token, 0 = all of them.
    ActivationBlock(usize),
    /// SmoothQuant's exponent, 0 = off.
    Smooth(f64),
    /// Bits and group at once, or dense.
    Option(LayerOption),
    /// Which weights become zero is decided so; a dense layer stays floats.
    Prune(PruneMethod),
    /// Where zeros may lie.
    Pattern(SparsityPattern),
    /// Share of weights that become zero; of an N:M pattern the nearest N.
    Sparsity(f64),
    /// Among which weights zeros are chosen.
    Scope(PruneScope),
    /// How thin factors are.
    Rank(Rank),
    /// Rows that share a palette.
    PaletteRows(usize),
    /// All settings of another layer.
    Paste(LayerSettings),
}

impl LayerEdit {
    /// What the edit does, as the end of "Undo …".
    pub fn label(&self) -> String {
        match self {
            Self::Method(Method::None) => "keep dense".to_owned(),
            Self::Method(method) => format!("set {}", method_name(*method)),
            Self::Bits(bits) => format!("set {bits}-bit"),
            Self::BitsBy(step) if *step > 0 => "raise bits".to_owned(),
            Self::BitsBy(_) => "lower bits".to_owned(),
            Self::Group(0) => "set one scale per row".to_owned(),
            Self::Group(group) => format!("set group {group}"),
            Self::Symmetric(true) => "set symmetric".to_owned(),
            Self::Symmetric(false) => "set asymmetric".to_owned(),
            Self::Order(_) => "set column order".to_owned(),
            Self::Refine(_) => "set refinement".to_owned(),
            Self::ClipSearch(_) => "set clip search".to_owned(),
            Self::Damping(_) => "set damping".to_owned(),
            Self::DoubleQuant(_) => "set double quantization".to_owned(),
            Self::Activations(Activations::None) => "leave inputs as they are".to_owned(),
            Self::Activations(mode) => format!("set inputs {}", activations_name(*mode)),
            Self::ActivationBlock(_) => "set blocks of inputs".to_owned(),
            Self::Smooth(_) => "set smoothing".to_owned(),
            Self::Option(LayerOption::Dense) => "keep dense".to_owned(),
            Self::Option(option) => format!("set {option}"),
            Self::Prune(PruneMethod::None) => "keep all weights".to_owned(),
            Self::Prune(method) => format!("prune by {}", sparse::prune_name(*method)),
            Self::Pattern(pattern) => format!("set pattern {pattern}"),
            Self::Sparsity(share) => format!("set {:.0} % zeros", 100.0 * share),
            Self::Scope(scope) => format!("choose zeros {}", sparse::scope_name(*scope)),
            Self::Rank(Rank::None) => "drop factors".to_owned(),
            Self::Rank(rank) => format!("set {}", sparse::rank_text(*rank)),
            Self::PaletteRows(rows) => format!("set {}", sparse::palette_text(*rows)),
            Self::Paste(_) => "paste settings".to_owned(),
        }
    }

    /// `settings` after the edit. `template` tells what a dense layer becomes once bits or a group are named.
    pub fn apply(&self, settings: LayerSettings, template: &LayerSettings) -> LayerSettings {
        let woken = || match settings.method {
            Method::None | Method::Float => LayerSettings {
                method: awake(template.method),
                ..settings
            },
            _ => settings,
        };
        match *self {
            Self::Method(method) => with_method(settings, method),
            Self::Bits(bits) => with_bits(woken(), bits, template),
            Self::BitsBy(step) if sparse::has_codes(&settings) => {
                let bits = settings.bits.saturating_add_signed(step);
                with_bits(settings, bits, template)
            }
            Self::BitsBy(_) => settings,
            Self::Group(group) => LayerSettings { group, ..woken() },
            Self::Symmetric(symmetric) => LayerSettings {
                symmetric,
                ..settings
            },
            Self::Order(order) => LayerSettings { order, ..settings },
            Self::Refine(refine) => LayerSettings { refine, ..settings },
            Self::ClipSearch(clip_search) => LayerSettings {
                clip_search,
                ..settings
            },
            Self::Damping(damping) => LayerSettings {
                damping,
                ..settings
            },
            Self::DoubleQuant(double_quant) => LayerSettings {
                double_quant,
                ..settings
            },
            Self::Activations(activations) => LayerSettings {
                activations,
                ..settings
            },
            Self::ActivationBlock(activation_block) => LayerSettings {
                activation_block,
                ..settings
            },
            Self::Smooth(smooth) => LayerSettings { smooth, ..settings },
            Self::Option(LayerOption::Dense) => with_method(settings, Method::None),
            Self::Option(LayerOption::Grid { bits, group }) => {
                let settings = match settings.method {
                    Method::Palette => with_method(settings, Method::Nf4),
                    _ => woken(),
                };
                let settings = on_a_grid(with_bits(settings, bits, template), template);
                // The option says all of it: neither zeros nor factors.
                LayerSettings {
                    group,
                    prune: Pruning::NONE,
                    rank: Rank::None,
                    ..settings
                }
            }
            Self::Option(option) => option.apply(&settings, awake(template.method)),
            Self::Prune(_) | Self::Pattern(_) | Self::Sparsity(_) | Self::Scope(_) => {
                self.prune(settings)
            }
            Self::Rank(rank) => LayerSettings {
                rank,
                ..awake_with(settings, rank != Rank::None)
            },
            Self::PaletteRows(palette_rows) => LayerSettings {
                palette_rows,
                ..settings
            },
            Self::Paste(pasted) => LayerSettings {
                prefix: settings.prefix,
                ..pasted
            },
        }
    }

    /// `settings` with other zeros; what is pruned for the first time gets the rest of the usual.
    fn prune(&self, settings: LayerSettings) -> LayerSettings {
        let before = sparse::zeros_of(&settings).unwrap_or(sparse::FIRST_PRUNING);
        let prune = match *self {
            Self::Prune(PruneMethod::None) => Pruning::NONE,
            Self::Prune(method) => Pruning { method, ..before },
            Self::Pattern(pattern) => sparse::with_pattern(before, pattern),
            Self::Sparsity(share) => sparse::with_share(before, share),
            Self::Scope(scope) => Pruning { scope, ..before },
            _ => settings.prune,
        };
        LayerSettings {
            prune,
            ..awake_with(settings, !prune.is_none())
        }
    }
}

/// A method that makes codes.
fn awake(method: Method) -> Method {
    match method {
        Method::None | Method::Float => Method::Gptq,
        method => method,
    }
}

/// `settings`; where they leave the layer as it is and something is asked, its values stay floats. What was asked of a
/// layer before it was left as it is does not count.
fn awake_with(settings: LayerSettings, something: bool) -> LayerSettings {
    match (settings.method, something) {
        (Method::None, true) => LayerSettings {
            method: Method::Float,
            prune: Pruning::NONE,
            rank: Rank::None,
            ..settings
        },
        _ => settings,
    }
}

/// Floats that are neither pruned nor factored are what is there already: they are pruned.
fn with_method(settings: LayerSettings, method: Method) -> LayerSettings {
    let settings = LayerSettings { method, ..settings };
    let is_idle = settings.prune.is_none() && settings.rank == Rank::None;
    match method {
        Method::Float if is_idle => LayerSettings {
            prune: sparse::FIRST_PRUNING,
            ..settings
        },
        _ => settings,
    }
}

/// NF4 codes have 4 bits; other bits lead back to the template's method.
fn with_bits(settings: LayerSettings, bits: u8, template: &LayerSettings) -> LayerSettings {
    let bits = bits.clamp(MIN_BITS, MAX_BITS);
    let settings = match bits {
        4 => settings,
        _ => on_a_grid(settings, template),
    };
    LayerSettings { bits, ..settings }
}

/// NF4 has levels of its own; a grid is asked for.
fn on_a_grid(settings: LayerSettings, template: &LayerSettings) -> LayerSettings {
    let has_grid = |method| !matches!(method, Method::Nf4 | Method::Palette | Method::Float);
    match (settings.method, template.method) {
        (Method::Nf4, Method::None) => with_method(settings, Method::Rtn),
        (Method::Nf4, method) if has_grid(method) => with_method(settings, method),
        (Method::Nf4, _) => with_method(settings, Method::Rtn),
        _ => settings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pare_engine::recipe::Recipe;

    fn after(edits: &[LayerEdit]) -> LayerSettings {
        let template = Recipe::default().default;
        let apply =
            |settings: LayerSettings, edit: &LayerEdit| edit.apply(settings, &template).settled();
        edits.iter().fold(template, apply)
    }

    #[test]
    fn dense_layers_stay_floats_when_they_are_pruned() {
        let dense = LayerEdit::Method(Method::None);
        let pruned = after(&[dense, LayerEdit::Sparsity(0.7)]);
        assert_eq!((pruned.method, pruned.prune.sparsity), (Method::Float, 0.7));
        let kept = after(&[
            dense,
            LayerEdit::Sparsity(0.7),
            LayerEdit::Prune(PruneMethod::None),
        ]);
        assert_eq!((kept.method, kept.prune), (Method::None, Pruning::NONE));
        let factored = after(&[dense, LayerEdit::Rank(Rank::Fixed(8))]);
        assert_eq!(factored.method, Method::Float);
        let floats = after(&[LayerEdit::Method(Method::Float)]);
        assert_eq!(
            (floats.method, floats.prune),
            (Method::Float, sparse::FIRST_PRUNING)
        );
    }

    #[test]
    fn codes_keep_their_zeros() {
        let edits = [
            LayerEdit::Pattern(SparsityPattern::TWO_OF_FOUR),
            LayerEdit::Prune(PruneMethod::SparseGpt),
            LayerEdit::Bits(3),
        ];
        let settings = after(&edits);
        assert_eq!((settings.method, settings.bits), (Method::Gptq, 3));
        assert_eq!(sparse::zeros_text(&settings).as_deref(), Some("2:4"));
        assert_eq!(settings.prune.method, PruneMethod::SparseGpt);
        let woken = after(&[LayerEdit::Method(Method::Float), LayerEdit::Bits(4)]);
        assert_eq!(woken.method, Method::Gptq);
        assert!(!woken.prune.is_none(), "zeros stay");
        let option = LayerOption::Grid { bits: 4, group: 32 };
        let on_a_grid = after(&[
            LayerEdit::Method(Method::Palette),
            LayerEdit::Option(option),
        ]);
        assert_eq!((on_a_grid.method, on_a_grid.group), (Method::Gptq, 32));
    }
}
