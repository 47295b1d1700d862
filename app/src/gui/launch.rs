//! Showing the studio as it was asked for: in a window, or in a picture without one.
//!
//! Where one renderer does not start, the other is tried. Knows no flag: requests come from whoever starts the program.

use super::{App, picture};
use crate::studio::request::{Face, OpenOutcome, OpenRequest, Renderer};
use crate::studio::state::Beginning;
use eframe::NativeOptions;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// What to do where no window can be opened.
const INSTEAD: &str =
    "`pare open MODEL --headless --screenshot FILE.png` draws the studio without one";

/// Shows the studio; of a window, until it is closed.
pub fn open(request: &OpenRequest) -> Result<OpenOutcome, String> {
    match &request.face {
        Face::Picture(wanted) => picture::draw(request, wanted, now_unix_ms()),
        Face::Window {
            renderer,
            data_folder,
        } => window(request, *renderer, data_folder.clone()),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "lists show when a run was asked for; nothing that is computed depends on it"
)]
fn now_unix_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}

fn window(
    request: &OpenRequest,
    renderer: Renderer,
    data_folder: Option<PathBuf>,
) -> Result<OpenOutcome, String> {
    let order: &[eframe::Renderer] = match renderer {
        Renderer::Auto => &[eframe::Renderer::Wgpu, eframe::Renderer::Glow],
        Renderer::Wgpu => &[eframe::Renderer::Wgpu],
        Renderer::Glow => &[eframe::Renderer::Glow],
    };
    let beginning = Beginning {
        cache_folder: request.cache_folder.clone(),
        data_folder,
        began_unix_ms: now_unix_ms(),
    };
    let mut failures = Vec::new();
    for &renderer in order {
        match run(request, &beginning, renderer) {
            Ok(()) => return Ok(OpenOutcome::Closed),
            // Without an event loop, no renderer has a window to draw on.
            Err(eframe::Error::WinitEventLoop(error)) => {
                return Err(format!("{}; {INSTEAD}", no_desktop(&error.to_string())));
            }
            Err(error) => failures.push(format!("{renderer}: {error}")),
        }
    }
    Err(format!(
        "No window can be opened ({}). {} --renderer chooses what draws; {INSTEAD}",
        failures.join("; "),
        "A driver for Vulkan or OpenGL is needed."
    ))
}

/// Why no desktop answers, as a person would say it.
fn no_desktop(error: &str) -> String {
    if cfg!(all(unix, not(target_os = "macos"))) {
        return "No window can be opened: neither WAYLAND_DISPLAY nor DISPLAY names a display that answers"
            .to_owned();
    }
    format!("No window can be opened: {error}")
}

fn run(request: &OpenRequest, beginning: &Beginning, renderer: eframe::Renderer) -> eframe::Result {
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
    let (request, beginning) = (request.clone(), beginning.clone());
    eframe::run_native(
        "pare",
        options,
        Box::new(move |creation| {
            let mut app = App::new(
                &creation.egui_ctx,
                beginning,
                Some(request.model),
                request.recipe,
            )?;
            app.studio.limits = request.limits;
            Ok(Box::new(app))
        }),
    )
}
