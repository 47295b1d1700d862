//! Opening the window: renderer, size, icon; where one renderer does not start, the other is tried.

use super::App;
use crate::studio::state::Beginning;
use eframe::{NativeOptions, Renderer};
use std::path::PathBuf;

/// Which renderer draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RendererChoice {
    /// wgpu first, OpenGL where that does not start.
    Auto,
    /// Vulkan, Metal, DX12.
    Wgpu,
    /// OpenGL.
    Glow,
}

/// What the command line asks of the window.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The model to open.
    pub model: Option<PathBuf>,
    /// The recipe to read then.
    pub recipe: Option<PathBuf>,
    /// Which renderer draws.
    pub renderer: RendererChoice,
    /// Where things are kept.
    pub beginning: Beginning,
}

/// Opens the window and stays until it is closed.
pub fn open(launch: &Launch) -> Result<(), String> {
    let order: &[Renderer] = match launch.renderer {
        RendererChoice::Auto => &[Renderer::Wgpu, Renderer::Glow],
        RendererChoice::Wgpu => &[Renderer::Wgpu],
        RendererChoice::Glow => &[Renderer::Glow],
    };
    let mut failures = Vec::new();
    for &renderer in order {
        match run(launch, renderer) {
            Ok(()) => return Ok(()),
            Err(error) => failures.push(format!("{renderer}: {error}")),
        }
    }
    Err(format!(
        "No window could be opened ({}). Without a display, use --headless --screenshot FILE.png",
        failures.join("; ")
    ))
}

fn run(launch: &Launch, renderer: Renderer) -> Result<(), String> {
    let options = NativeOptions {
        renderer,
        viewport: egui::ViewportBuilder::default()
            .with_title("Pare")
            .with_app_id("pare")
            .with_inner_size([1400.0, 900.0])
            .with_min_inner_size([800.0, 500.0])
            .with_drag_and_drop(true),
        ..NativeOptions::default()
    };
    let launch = launch.clone();
    eframe::run_native(
        "pare",
        options,
        Box::new(move |creation| {
            let app = App::new(
                &creation.egui_ctx,
                launch.beginning,
                launch.model,
                launch.recipe,
            )?;
            Ok(Box::new(app))
        }),
    )
    .map_err(|error| error.to_string())
}
