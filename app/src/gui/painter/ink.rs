//! What a triangle puts on the pixels that it covers: vertex colour times texture, blended over what is there.
//!
//! Several ways to the same result, from the cheapest to the general one, chosen once for each triangle. Knows nothing of
//! edges: it is handed runs of pixels.

use crate::gui::painter::Pixel;
use crate::gui::painter::coverage::Point;
use crate::gui::painter::mesh::Corner;
use crate::gui::painter::slope::{Gradient, GradientLine, Slope};
use crate::gui::painter::texture::Texture;
use egui::Color32;
use egui::epaint::textures::TextureFilter;

/// So far may texels lie beside pixels, in texels, and still be copied as they are: it changes a colour by less than half
/// a level.
const ALIGNED_WITHIN: f64 = 1.0 / 512.0;

/// How the pixels of one triangle are coloured.
#[derive(Debug)]
pub(super) enum Ink<'texture> {
    /// One colour that hides what is below.
    Opaque(Pixel),
    /// One colour.
    Flat([f32; 4]),
    /// Colours that change from corner to corner.
    Shaded(Gradient),
    /// Texels that lie on pixels, in one colour: glyphs, and images at their own size.
    Copied {
        /// Where they come from.
        texture: &'texture Texture,
        /// From a pixel to its texel.
        offset: [i64; 2],
        /// What they are multiplied with, 0 to 1.
        color: [f32; 4],
    },
    /// All else.
    Sampled {
        /// Where the texels come from.
        texture: &'texture Texture,
        /// Between texels.
        filter: TextureFilter,
        /// The place in the texture.
        texel: [Slope; 2],
        /// What they are multiplied with, 0 to 1.
        color: Gradient,
    },
}

impl<'texture> Ink<'texture> {
    /// For the triangle with these corners. Nothing where the triangle leaves no trace.
    pub(super) fn new(corners: &[Corner; 3], texture: &'texture Texture) -> Option<Self> {
        let [a, b, c] = corners;
        let one_color = a.color == b.color && b.color == c.color;
        if a.texel == b.texel && b.texel == c.texel {
            let [u, v] = a.texel;
            let texel = texture.sample(texture.filter(0.0), u as f32, v as f32);
            return if one_color {
                Self::flat(product(scaled(a.color), texel))
            } else {
                let factor = texel.map(|level| f64::from(level) / 255.0);
                Some(Self::Shaded(gradient(corners, factor)))
            };
        }
        if one_color && let Some(offset) = aligned(corners, texture) {
            let color = scaled(a.color);
            return Some(Self::Copied {
                texture,
                offset,
                color,
            });
        }
        let places = places(corners);
        let texel = [0, 1].map(|axis| {
            let values = corners.each_ref().map(|corner| corner.texel[axis]);
            Slope::new(&places, values)
        });
        Some(Self::Sampled {
            texture,
            filter: texture.filter(Slope::longest_step(texel)),
            texel,
            color: gradient(corners, [1.0 / 255.0; 4]),
        })
    }

    fn flat(color: [f32; 4]) -> Option<Self> {
        if color == [0.0; 4] {
            None
        } else if color[3] >= 255.0 {
            Some(Self::Opaque(over([0; 4], color)))
        } else {
            Some(Self::Flat(color))
        }
    }

    /// Colours `pixels`, of which the first is the one at `x` and `y`.
    pub(super) fn span(&self, pixels: &mut [Pixel], x: i64, y: i64) {
        match self {
            Self::Opaque(color) => pixels.fill(*color),
            Self::Flat(color) => {
                for pixel in pixels {
                    *pixel = over(*pixel, *color);
                }
            }
            Self::Shaded(gradient) => shade(pixels, &gradient.line(x, y)),
            Self::Copied {
                texture,
                offset: [right, down],
                color,
            } => {
                if let Some(texels) = texture.row(y + down, x + right, pixels.len()) {
                    copy(pixels, texels, *color);
                }
            }
            Self::Sampled {
                texture,
                filter,
                texel: [u, v],
                color,
            } => {
                let (u, v, color) = (u.line(x, y), v.line(x, y), color.line(x, y));
                for (index, pixel) in pixels.iter_mut().enumerate() {
                    let index = index as f32;
                    let texel = texture.sample(*filter, u.at(index), v.at(index));
                    *pixel = over(*pixel, product(texel, color.at(index)));
                }
            }
        }
    }
}

fn shade(pixels: &mut [Pixel], line: &GradientLine) {
    for (index, pixel) in pixels.iter_mut().enumerate() {
        *pixel = over(*pixel, line.at(index as f32));
    }
}

fn copy(pixels: &mut [Pixel], texels: &[Color32], color: [f32; 4]) {
    for (pixel, texel) in pixels.iter_mut().zip(texels) {
        if *texel != Color32::TRANSPARENT {
            let [red, green, blue, alpha] = texel.to_array();
            let texel = [
                f32::from(red),
                f32::from(green),
                f32::from(blue),
                f32::from(alpha),
            ];
            *pixel = over(*pixel, product(texel, color));
        }
    }
}

#[inline(always)]
fn product(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
    [a[0] * b[0], a[1] * b[1], a[2] * b[2], a[3] * b[3]]
}

/// A premultiplied colour, 0 to 255, over a pixel: rounded to the nearest level, and never out of range.
#[inline(always)]
fn over(below: Pixel, color: [f32; 4]) -> Pixel {
    let keep = 1.0 - color[3] * (1.0 / 255.0);
    [
        (color[0] + f32::from(below[0]) * keep + 0.5) as u8,
        (color[1] + f32::from(below[1]) * keep + 0.5) as u8,
        (color[2] + f32::from(below[2]) * keep + 0.5) as u8,
        (color[3] + f32::from(below[3]) * keep + 0.5) as u8,
    ]
}

/// From 0 to 255 into 0 to 1.
fn scaled(color: [f64; 4]) -> [f32; 4] {
    color.map(|level| (level / 255.0) as f32)
}

/// Where the corners lie once they are on the grid, in pixels.
fn places(corners: &[Corner; 3]) -> [[f64; 2]; 3] {
    corners.each_ref().map(|corner| Point::new(corner).pixels())
}

fn gradient(corners: &[Corner; 3], factor: [f64; 4]) -> Gradient {
    let [a, b, c] = corners;
    Gradient::new(&places(corners), [a.color, b.color, c.color], factor)
}

/// From pixels to texels, where each pixel of the triangle lies on one texel of the texture.
fn aligned(corners: &[Corner; 3], texture: &Texture) -> Option<[i64; 2]> {
    let size = texture.size();
    let places = places(corners);
    let mut offset = [0; 2];
    for axis in 0..2 {
        let shift = (corners[0].texel[axis] - places[0][axis]).round();
        let fits = corners.iter().zip(&places).all(|(corner, place)| {
            let texel = place[axis] + shift;
            (corner.texel[axis] - texel).abs() <= ALIGNED_WITHIN
                && (0.0..=size[axis] as f64).contains(&texel)
        });
        if !fits {
            return None;
        }
        offset[axis] = shift as i64;
    }
    Some(offset)
}
