//! A texture: its texels, and how one is looked up between them.
//!
//! Mipmaps are not made: as in `egui-wgpu`, the two filters are all there is.

use egui::Color32;
use egui::epaint::{
    ColorImage, ImageData, ImageDelta,
    textures::{TextureFilter, TextureOptions, TextureWrapMode},
};
use std::array;
use std::sync::Arc;

/// An image that egui handed over.
#[derive(Debug)]
pub(super) struct Texture {
    image: Arc<ColorImage>,
    options: TextureOptions,
}

impl Texture {
    /// From the first thing that is said about it.
    pub(super) fn new(delta: &ImageDelta) -> Self {
        let ImageData::Color(image) = &delta.image;
        Self {
            image: Arc::clone(image),
            options: delta.options,
        }
    }

    /// Replaces all of it or the rectangle that `delta` names; what would lie outside is left out.
    pub(super) fn update(&mut self, delta: &ImageDelta) {
        let Some([left, top]) = delta.pos else {
            *self = Self::new(delta);
            return;
        };
        let ImageData::Color(patch) = &delta.image;
        self.options = delta.options;
        let image = Arc::make_mut(&mut self.image);
        let [width, height] = image.size;
        let columns = patch.width().min(width.saturating_sub(left));
        for row in 0..patch.height().min(height.saturating_sub(top)) {
            let target = (top + row) * width + left;
            let source = row * patch.width();
            image.pixels[target..target + columns]
                .copy_from_slice(&patch.pixels[source..source + columns]);
        }
    }

    /// Width and height in texels.
    pub(super) fn size(&self) -> [usize; 2] {
        self.image.size
    }

    /// The filter where a pixel's step is `texels_per_pixel` long.
    pub(super) fn filter(&self, texels_per_pixel: f64) -> TextureFilter {
        // A little more than one: what is meant to be one comes with a rounding error.
        if texels_per_pixel > 1.001 {
            self.options.minification
        } else {
            self.options.magnification
        }
    }

    /// The texels `start..start + count` of a row; nothing where they do not all exist.
    pub(super) fn row(&self, row: i64, start: i64, count: usize) -> Option<&[Color32]> {
        let row = usize::try_from(row).ok()?;
        let start = usize::try_from(start).ok()?;
        let [width, _] = self.size();
        if start + count > width {
            return None;
        }
        self.image
            .pixels
            .get(row * width + start..row * width + start + count)
    }

    /// The colour, 0 to 255, at `u` and `v` texels from the upper left corner.
    pub(super) fn sample(&self, filter: TextureFilter, u: f32, v: f32) -> [f32; 4] {
        match filter {
            TextureFilter::Nearest => self.texel(u.floor() as i64, v.floor() as i64),
            TextureFilter::Linear => self.blend(u - 0.5, v - 0.5),
        }
    }

    fn blend(&self, u: f32, v: f32) -> [f32; 4] {
        let (left, top) = (u.floor(), v.floor());
        let (share_right, share_below) = (u - left, v - top);
        let (left, top) = (left as i64, top as i64);
        let (right, bottom) = (left.saturating_add(1), top.saturating_add(1));
        let above = mix(self.texel(left, top), self.texel(right, top), share_right);
        let below = mix(
            self.texel(left, bottom),
            self.texel(right, bottom),
            share_right,
        );
        mix(above, below, share_below)
    }

    fn texel(&self, column: i64, row: i64) -> [f32; 4] {
        let [width, height] = self.size();
        let column = wrap(self.options.wrap_mode, column, width);
        let row = wrap(self.options.wrap_mode, row, height);
        match self.image.pixels.get(row * width + column) {
            Some(color) => color.to_array().map(f32::from),
            None => [0.0; 4],
        }
    }
}

fn mix(from: [f32; 4], to: [f32; 4], share: f32) -> [f32; 4] {
    array::from_fn(|channel| from[channel] + (to[channel] - from[channel]) * share)
}

/// The texel that stands for `place` on an axis of `count` texels. Zero where there are none.
fn wrap(mode: TextureWrapMode, place: i64, count: usize) -> usize {
    let count = (count as i64).max(1);
    let wrapped = match mode {
        TextureWrapMode::ClampToEdge => place.clamp(0, count - 1),
        TextureWrapMode::Repeat => place.rem_euclid(count),
        TextureWrapMode::MirroredRepeat => {
            let phase = place.rem_euclid(2 * count);
            phase.min(2 * count - 1 - phase)
        }
    };
    wrapped as usize
}
