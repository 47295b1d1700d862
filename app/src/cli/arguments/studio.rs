//! Words of `pare open`.

use crate::cli::words;
use crate::studio::action::View;
use crate::studio::preferences::ThemeChoice;
use crate::studio::request::Renderer;
use crate::studio::sample;
use clap::Args;
use std::path::PathBuf;

/// `pare open`, and `pare` alone.
#[derive(Debug, Clone, Args)]
pub(crate) struct Open {
    /// Model folder or file, or `sample`.
    #[arg(default_value = sample::WORD)]
    pub(crate) model: PathBuf,
    /// Recipe (TOML) to begin with.
    #[arg(long, value_name = "FILE")]
    pub(crate) recipe: Option<PathBuf>,
    /// What draws the window: auto tries wgpu, then glow (OpenGL).
    #[arg(long, value_name = "WORD", default_value = "auto", value_parser = words::renderer(), conflicts_with = "headless")]
    pub(crate) renderer: Renderer,
    /// Draw into a file instead of a window; needs no display.
    #[arg(long, requires = "screenshot", help_heading = "Picture")]
    pub(crate) headless: bool,
    /// PNG file to write.
    #[arg(long, value_name = "FILE.png", requires = "headless", value_parser = words::png(), help_heading = "Picture")]
    pub(crate) screenshot: Option<PathBuf>,
    /// Width and height of the window, in points.
    #[arg(long, value_name = "WxH", requires = "headless", default_value = "1400x900", value_parser = words::size, help_heading = "Picture")]
    pub(crate) size: [u16; 2],
    /// Pixels of a point, 0.5 to 4.
    #[arg(long, value_name = "S", requires = "headless", default_value = "1", value_parser = words::scale, help_heading = "Picture")]
    pub(crate) scale: f32,
    /// Colours.
    #[arg(long, value_name = "WORD", requires = "headless", default_value = "dark", value_parser = words::theme(), help_heading = "Picture")]
    pub(crate) theme: ThemeChoice,
    /// View in front.
    #[arg(long, value_name = "WORD", requires = "headless", value_parser = words::view(), help_heading = "Picture")]
    pub(crate) view: Option<View>,
    /// Layers to select, in the words of the studio's filter, such as `down_proj block:0`.
    #[arg(
        long,
        value_name = "FILTER",
        requires = "headless",
        help_heading = "Picture"
    )]
    pub(crate) select: Option<String>,
    /// Run first, in a folder that is deleted again.
    #[arg(long, requires = "headless", help_heading = "Picture")]
    pub(crate) run: bool,
}

impl Default for Open {
    /// `pare` alone: a window on the sample.
    fn default() -> Self {
        Self {
            model: sample::WORD.into(),
            recipe: None,
            renderer: Renderer::Auto,
            headless: false,
            screenshot: None,
            size: [1400, 900],
            scale: 1.0,
            theme: ThemeChoice::Dark,
            view: None,
            select: None,
            run: false,
        }
    }
}
