//! Paints egui's triangles into a picture in memory: no display, no graphics card, no driver.
//!
//! What `egui_glow` and `egui-wgpu` ask of a card is done here in plain arithmetic: colours are multiplied and blended as
//! they are stored (premultiplied, not linearized), a pixel belongs to a triangle by the top-left rule, and positions lie
//! on a grid of 1/256 pixel. The same triangles give the same bytes on every machine.
//!
//! ```text
//! mod -> mesh -> coverage
//!             -> window
//!             -> ink -> slope
//!                    -> texture
//! ```
//!
//! Knows nothing of widgets, time or files. Paint callbacks belong to a card and are left out.

mod coverage;
mod ink;
mod mesh;
mod slope;
mod texture;
mod window;

#[cfg(test)]
mod tests;

use crate::gui::painter::texture::Texture;
use crate::gui::painter::window::Window;
use egui::epaint::{ClippedPrimitive, Color32, Primitive, TextureId, textures::TexturesDelta};
use image::RgbaImage;
use std::collections::HashMap;

/// One pixel: red, green, blue and alpha, premultiplied.
type Pixel = [u8; 4];

/// The textures that egui handed over, and the hand that paints with them.
#[derive(Debug, Default)]
pub struct Painter {
    textures: HashMap<TextureId, Texture>,
    /// Freed by the last delta; the frame that came with it may still show them.
    leaving: Vec<TextureId>,
}

impl Painter {
    /// A painter without textures.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over what a frame says about textures. Call it once for each frame, before the frame is painted: what the
    /// frame frees stays until the next call. Clearing the delta is left to the caller.
    pub fn apply(&mut self, delta: &TexturesDelta) {
        for id in self.leaving.drain(..) {
            self.textures.remove(&id);
        }
        for (id, changes) in &delta.set {
            for change in changes {
                match self.textures.get_mut(id) {
                    Some(texture) => texture.update(change),
                    None => drop(self.textures.insert(*id, Texture::new(change))),
                }
            }
        }
        self.leaving.extend(&delta.free);
    }

    /// The picture of `primitives`, `size_pixels` wide and high, over `background`.
    ///
    /// Colours stay premultiplied: over an opaque background that makes no difference. Meshes whose texture is not known
    /// are left out, as the cards' painters do.
    pub fn paint(
        &self,
        primitives: &[ClippedPrimitive],
        size_pixels: [u32; 2],
        pixels_per_point: f32,
        background: Color32,
    ) -> RgbaImage {
        let mut canvas = Canvas::new(size_pixels, background.to_array());
        for ClippedPrimitive {
            clip_rect,
            primitive,
        } in primitives
        {
            let Primitive::Mesh(mesh) = primitive else {
                continue;
            };
            let window = Window::new(*clip_rect, pixels_per_point, size_pixels);
            if let Some(texture) = self.textures.get(&mesh.texture_id)
                && !window.is_empty()
            {
                mesh::draw(&mut canvas, window, mesh, texture, pixels_per_point);
            }
        }
        canvas.into_image(size_pixels)
    }
}

/// The picture while it is painted.
#[derive(Debug)]
struct Canvas {
    width: usize,
    pixels: Vec<Pixel>,
}

impl Canvas {
    fn new([width, height]: [u32; 2], background: Pixel) -> Self {
        let (width, height) = (width as usize, height as usize);
        Self {
            width,
            pixels: vec![background; width].repeat(height),
        }
    }

    /// The pixels `start..end` of row `y`, which lie inside a window of this canvas.
    fn span(&mut self, y: i64, start: i64, end: i64) -> &mut [Pixel] {
        let row = y as usize * self.width;
        &mut self.pixels[row + start as usize..row + end as usize]
    }

    fn into_image(self, [width, height]: [u32; 2]) -> RgbaImage {
        RgbaImage::from_raw(width, height, self.pixels.into_flattened())
            .expect("there are four bytes for each pixel")
    }
}
