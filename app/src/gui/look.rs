//! Looks: colours and measures from `assets/theme.toml`, turned into egui styles.
//!
//! Knows no view. Tokens are compiled in; a test reads them, so that a broken file cannot ship.

use crate::studio::preferences::ThemeChoice;
use egui::{
    Color32, Context, CornerRadius, FontFamily, FontId, Margin, Stroke, Style, TextStyle, Theme,
    ThemePreference, Vec2,
};
use pare_engine::solved::Method;
use serde::Deserialize;

/// The file of tokens.
const TOKENS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/theme.toml"));

/// Measures in points.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Measures {
    /// Margins and gaps are multiples of this.
    pub grid: f32,
    /// Height of a table's row.
    pub row_height: f32,
    /// Size of text.
    pub text: f32,
    /// Size of small text.
    pub small: f32,
    /// Size of headings.
    pub heading: f32,
    /// Size of the one large title.
    pub title: f32,
    /// Radius of corners.
    pub corner: u8,
    /// Seconds of any motion.
    pub motion_seconds: f32,
}

/// Colours of one theme.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Colours {
    /// Panes.
    pub surface: Color32,
    /// Fields, plots, tables.
    pub sunken: Color32,
    /// Bars, menus, headers.
    pub raised: Color32,
    /// Every other row.
    pub stripe: Color32,
    /// Lines between things.
    pub line: Color32,
    /// Text.
    pub text: Color32,
    /// Text that matters most.
    pub strong: Color32,
    /// Text that matters less.
    pub weak: Color32,
    /// The one accent.
    pub accent: Color32,
    /// Selected rows, chosen buttons.
    pub accent_fill: Color32,
    /// Under the pointer.
    pub hover: Color32,
    /// Went well.
    pub good: Color32,
    /// Should be read.
    pub warning: Color32,
    /// Did not work.
    pub error: Color32,
    /// The original, in plots.
    pub before: Color32,
    /// The compressed one, in plots.
    pub after: Color32,
    /// What was before the last edit, in plots.
    pub ghost: Color32,
}

/// Everything that is drawn takes its colours and measures from here.
#[derive(Debug, Clone)]
pub struct Look {
    /// Measures.
    pub measures: Measures,
    /// Colours of the theme in force.
    pub colours: Colours,
    /// Whether the dark theme is in force.
    pub is_dark: bool,
    dark: Colours,
    light: Colours,
    methods: Vec<(Method, Color32)>,
}

impl Look {
    /// The looks of the file of tokens, dark until `apply`.
    ///
    /// # Panics
    /// Never: the file is compiled in and a test reads it.
    pub fn new() -> Self {
        read(TOKENS).expect("the file of tokens is compiled in, and a test reads it")
    }

    /// Gives `context` the icons, as a font behind that of text: icons may stand inside any text.
    pub fn install_icons(context: &Context) {
        egui_material_icons::initialize(context);
    }

    /// Sets both styles of `context` and the theme asked for.
    pub fn install(&self, context: &Context, theme: ThemeChoice) {
        // The scale is a preference: egui's own keys would not be kept.
        context.options_mut(|options| options.zoom_with_keyboard = false);
        context.set_theme(match theme {
            ThemeChoice::System => ThemePreference::System,
            ThemeChoice::Dark => ThemePreference::Dark,
            ThemeChoice::Light => ThemePreference::Light,
        });
        for (theme, colours) in [(Theme::Dark, &self.dark), (Theme::Light, &self.light)] {
            context.style_mut_of(theme, |style| self.dress(style, colours));
        }
    }

    /// Takes the colours of the theme that `context` shows now.
    pub fn follow(&mut self, context: &Context) {
        self.is_dark = context.theme() == Theme::Dark;
        self.colours = if self.is_dark { self.dark } else { self.light };
    }

    /// The hue of a method; always with its name beside it.
    pub fn method(&self, method: Method) -> Color32 {
        let found = self.methods.iter().find(|(known, _)| *known == method);
        found.map_or(self.colours.weak, |(_, colour)| *colour)
    }

    /// Viridis at `share` of its way, 0 to 1: for magnitudes.
    pub fn magnitude(share: f32) -> Color32 {
        // Nine colours of matplotlib's viridis (CC0), evenly spaced.
        const VIRIDIS: [[f32; 3]; 9] = [
            [68.0, 1.0, 84.0],
            [71.0, 44.0, 122.0],
            [59.0, 81.0, 139.0],
            [44.0, 113.0, 142.0],
            [33.0, 144.0, 141.0],
            [39.0, 173.0, 129.0],
            [92.0, 200.0, 99.0],
            [170.0, 220.0, 50.0],
            [253.0, 231.0, 37.0],
        ];
        let place = share.clamp(0.0, 1.0) * (VIRIDIS.len() - 1) as f32;
        let low = (place.floor() as usize).min(VIRIDIS.len() - 2);
        let mix = place - low as f32;
        let channel = |index: usize| {
            let (from, to) = (VIRIDIS[low][index], VIRIDIS[low + 1][index]);
            (from + (to - from) * mix).round() as u8
        };
        Color32::from_rgb(channel(0), channel(1), channel(2))
    }

    fn dress(&self, style: &mut Style, colours: &Colours) {
        let measures = &self.measures;
        let font = |size| FontId::new(size, FontFamily::Proportional);
        style.text_styles = [
            (TextStyle::Small, font(measures.small)),
            (TextStyle::Body, font(measures.text)),
            (TextStyle::Button, font(measures.text)),
            (TextStyle::Heading, font(measures.heading)),
            (
                TextStyle::Monospace,
                FontId::new(measures.text, FontFamily::Monospace),
            ),
        ]
        .into();
        style.animation_time = measures.motion_seconds;
        let spacing = &mut style.spacing;
        spacing.item_spacing = Vec2::new(2.0 * measures.grid, measures.grid);
        spacing.button_padding = Vec2::new(2.0 * measures.grid, measures.grid / 2.0);
        spacing.interact_size = Vec2::new(24.0, measures.row_height);
        spacing.menu_margin = Margin::same(measures.grid as i8 + 2);
        spacing.window_margin = Margin::same(3 * measures.grid as i8);
        let visuals = &mut style.visuals;
        visuals.panel_fill = colours.surface;
        visuals.window_fill = colours.raised;
        visuals.window_stroke = Stroke::new(1.0, colours.line);
        visuals.extreme_bg_color = colours.sunken;
        visuals.text_edit_bg_color = Some(colours.sunken);
        visuals.faint_bg_color = colours.stripe;
        visuals.code_bg_color = colours.sunken;
        visuals.hyperlink_color = colours.accent;
        visuals.warn_fg_color = colours.warning;
        visuals.error_fg_color = colours.error;
        visuals.selection.bg_fill = colours.accent_fill;
        visuals.selection.stroke = Stroke::new(1.0, colours.strong);
        visuals.weak_text_color = Some(colours.weak);
        visuals.window_corner_radius = CornerRadius::same(measures.corner + 2);
        visuals.menu_corner_radius = CornerRadius::same(measures.corner);
        let widgets = &mut visuals.widgets;
        for (state, fill, text, line) in [
            (
                &mut widgets.noninteractive,
                colours.surface,
                colours.text,
                colours.line,
            ),
            (
                &mut widgets.inactive,
                colours.raised,
                colours.text,
                colours.line,
            ),
            (
                &mut widgets.hovered,
                colours.hover,
                colours.strong,
                colours.weak,
            ),
            (
                &mut widgets.active,
                colours.accent_fill,
                colours.strong,
                colours.accent,
            ),
            (
                &mut widgets.open,
                colours.hover,
                colours.strong,
                colours.line,
            ),
        ] {
            state.bg_fill = fill;
            state.weak_bg_fill = fill;
            state.fg_stroke = Stroke::new(1.0, text);
            state.bg_stroke = Stroke::new(1.0, line);
            state.corner_radius = CornerRadius::same(measures.corner);
            state.expansion = 0.0;
        }
    }
}

impl Default for Look {
    fn default() -> Self {
        Self::new()
    }
}

fn read(text: &str) -> Result<Look, String> {
    let table: toml::Table = text.parse().map_err(|error| format!("{error}"))?;
    let section = |name: &str| {
        table
            .get(name)
            .and_then(toml::Value::as_table)
            .ok_or_else(|| format!("there is no [{name}]"))
    };
    let measures = toml::Value::Table(section("measure")?.clone())
        .try_into()
        .map_err(|error| format!("{error}"))?;
    let methods = section("methods")?;
    let methods = Method::ALL
        .into_iter()
        .map(|method| colour(methods, method.word()).map(|colour| (method, colour)))
        .collect::<Result<_, _>>()?;
    let (dark, light) = (colours(section("dark")?)?, colours(section("light")?)?);
    Ok(Look {
        measures,
        colours: dark,
        is_dark: true,
        dark,
        light,
        methods,
    })
}

fn colours(table: &toml::Table) -> Result<Colours, String> {
    let colour = |name| colour(table, name);
    Ok(Colours {
        surface: colour("surface")?,
        sunken: colour("sunken")?,
        raised: colour("raised")?,
        stripe: colour("stripe")?,
        line: colour("line")?,
        text: colour("text")?,
        strong: colour("strong")?,
        weak: colour("weak")?,
        accent: colour("accent")?,
        accent_fill: colour("accent_fill")?,
        hover: colour("hover")?,
        good: colour("good")?,
        warning: colour("warning")?,
        error: colour("error")?,
        before: colour("before")?,
        after: colour("after")?,
        ghost: colour("ghost")?,
    })
}

fn colour(table: &toml::Table, name: &str) -> Result<Color32, String> {
    let text = table
        .get(name)
        .and_then(toml::Value::as_str)
        .ok_or_else(|| format!("there is no colour {name}"))?;
    Color32::from_hex(text).map_err(|_| format!("{name} = {text:?} is no colour"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// WCAG 2.1 contrast ratio of two opaque colours.
    fn contrast(left: Color32, right: Color32) -> f32 {
        let luminance = |colour: Color32| {
            let linear = egui::Rgba::from(colour);
            0.2126 * linear.r() + 0.7152 * linear.g() + 0.0722 * linear.b() + 0.05
        };
        let (left, right) = (luminance(left), luminance(right));
        left.max(right) / left.min(right)
    }

    #[test]
    fn the_tokens_are_whole() {
        read(TOKENS).unwrap();
        assert!(read("[measure]\n").is_err());
    }

    #[test]
    fn text_can_be_read_on_every_surface() {
        let look = Look::new();
        for colours in [look.dark, look.light] {
            for ground in [
                colours.surface,
                colours.sunken,
                colours.raised,
                colours.stripe,
                colours.accent_fill,
            ] {
                let ratio = contrast(colours.text, ground);
                assert!(ratio >= 4.5, "text on {ground:?}: {ratio}");
            }
            for text in [
                colours.weak,
                colours.warning,
                colours.error,
                colours.good,
                colours.accent,
            ] {
                let ratio = contrast(text, colours.surface);
                assert!(ratio >= 4.5, "{text:?} on surface: {ratio}");
            }
        }
    }
}
