//! What whoever starts the program asks of a face, and what came of it.
//!
//! The command line makes requests and the window answers them; both know this module and not each other.

use super::action::View;
use super::preferences::ThemeChoice;
use super::state::Limits;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The studio is to be shown.
#[derive(Debug, Clone)]
pub struct OpenRequest {
    /// The model to open: a path or `sample`.
    pub model: PathBuf,
    /// The recipe to read then.
    pub recipe: Option<PathBuf>,
    /// The user's cache folder.
    pub cache_folder: PathBuf,
    /// How jobs may use the machine, where the command line says so.
    pub limits: Limits,
    /// Where it is shown.
    pub face: Face,
}

/// Where the studio is shown.
#[derive(Debug, Clone)]
pub enum Face {
    /// In a window, until it is closed.
    Window {
        /// Which renderer draws.
        renderer: Renderer,
        /// Where runs, drafts and preferences are kept; `None` = nowhere.
        data_folder: Option<PathBuf>,
    },
    /// In a file, without a display.
    Picture(PictureRequest),
}

/// Which renderer draws a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Renderer {
    /// wgpu first, OpenGL where that does not start.
    #[default]
    Auto,
    /// Vulkan, Metal, DX12.
    Wgpu,
    /// OpenGL.
    Glow,
}

/// A picture of the studio.
#[derive(Debug, Clone)]
pub struct PictureRequest {
    /// The PNG file to write.
    pub file: PathBuf,
    /// Width and height of the window, in points.
    pub size_points: [u16; 2],
    /// Pixels of a point.
    pub scale: f32,
    /// Light or dark; the system's word is not asked.
    pub theme: ThemeChoice,
    /// The view in front; `None` = panes as at first.
    pub view: Option<View>,
    /// Layers to select, in the words of the filter.
    pub select: Option<String>,
    /// Whether the draft is run first, in a folder that is deleted again.
    pub run: bool,
    /// Whether the person asked to stop.
    pub stop: StopQuestion,
}

/// Asks whether the person wants to stop.
#[derive(Clone)]
pub struct StopQuestion(pub Arc<dyn Fn() -> bool + Send + Sync>);

impl StopQuestion {
    /// Whether to stop.
    pub fn is_raised(&self) -> bool {
        (self.0)()
    }
}

impl fmt::Debug for StopQuestion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("StopQuestion")
            .field(&self.is_raised())
            .finish()
    }
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenOutcome {
    /// The window was closed.
    Closed,
    /// The picture was written.
    Drawn {
        /// The file.
        file: PathBuf,
        /// Its pixels.
        size_pixels: [u32; 2],
    },
    /// The person stopped it before anything was written.
    Stopped,
}
