//! Lets egui_kittest make its pictures with the application's painter.
//!
//! `Harness::builder().renderer(PainterRenderer::new())` is all that a test says.

use egui_kittest::TestRenderer;
use image::RgbaImage;
use pare::gui::painter::Painter;

/// Paints what a harness shows.
#[derive(Debug, Default)]
pub(crate) struct PainterRenderer(Painter);

impl PainterRenderer {
    /// One for each harness: textures are its own.
    pub(crate) fn new() -> Self {
        Self::default()
    }
}

impl TestRenderer for PainterRenderer {
    fn handle_delta(&mut self, delta: &mut egui::TexturesDelta) {
        self.0.apply(delta);
        delta.clear();
    }

    fn render(
        &mut self,
        context: &egui::Context,
        output: &egui::FullOutput,
    ) -> Result<RgbaImage, String> {
        let scale = context.pixels_per_point();
        let size = context.content_rect().size() * scale;
        let size_pixels = [size.x, size.y].map(|side| side.round() as u32);
        let primitives = context.tessellate(output.shapes.clone(), scale);
        let background = context.global_style().visuals.panel_fill.to_opaque();
        Ok(self.0.paint(&primitives, size_pixels, scale, background))
    }
}
