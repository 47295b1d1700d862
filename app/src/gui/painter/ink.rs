//! What a triangle puts on the pixels that it covers: vertex colour times texture, blended over what is there.
//!
//! Several ways to the same result, from the cheapest to the general one, chosen once for each triangle. Knows nothing of
//! edges: it is handed runs of pixels.

use crate::gui::painter::Pixel;
use crate::gui::painter::coverage::Point;
use crate::gui::painter::mesh::Corner;
use crate::gui::painter::texture::Texture;
use egui::Color32;
use egui::epaint::textures::TextureFilter;
use std::array;

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
    Shaded([Slope; 4]),
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
        color: [Slope; 4],
    },
}

impl<'texture> Ink<'texture> {
    /// For the triangle with these corners. Nothing where the triangle leaves no trace.
    pub(super) fn new(corners: &[Corner; 3], texture: &'texture Texture) -> Option<Self> {
        let [a, b, c] = corners;
        let places = corners.each_ref().map(|corner| Point::new(corner).pixels());
        let one_color = a.color == b.color && b.color == c.color;
        if a.texel == b.texel && b.texel == c.texel {
            let [u, v] = a.texel.map(|texels| texels as f32);
            let texel = texture.sample(texture.filter(0.0), u, v);
            return if one_color {
                Self::flat(array::from_fn(|channel| {
                    a.color[channel] as f32 * texel[channel] / 255.0
                }))
            } else {
                let scaled = |channel: usize| f64::from(texel[channel]) / 255.0;
                Some(Self::Shaded(slopes(&places, |corner, channel| {
                    corners[corner].color[channel] * scaled(channel)
                })))
            };
        }
        if one_color && let Some(offset) = aligned(corners, &places, texture) {
            let color = a.color.map(|level| level as f32 / 255.0);
            return Some(Self::Copied {
                texture,
                offset,
                color,
            });
        }
        let texel: [Slope; 2] = slopes(&places, |corner, axis| corners[corner].texel[axis]);
        let filter = texture.filter(longest_step(&texel));
        let color = slopes(&places, |corner, channel| {
            corners[corner].color[channel] / 255.0
        });
        Some(Self::Sampled {
            texture,
            filter,
            texel,
            color,
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
            Self::Shaded(slopes) => shade(pixels, slopes.map(|slope| slope.line(x, y))),
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
                texel,
                color,
            } => {
                let [u, v] = texel.map(|slope| slope.line(x, y));
                let color = color.map(|slope| slope.line(x, y));
                for (index, pixel) in pixels.iter_mut().enumerate() {
                    let index = index as f32;
                    let texel = texture.sample(*filter, u.at(index), v.at(index));
                    *pixel = over(*pixel, product(texel, color.map(|line| line.at(index))));
                }
            }
        }
    }
}

fn shade(pixels: &mut [Pixel], [red, green, blue, alpha]: [Line; 4]) {
    for (index, pixel) in pixels.iter_mut().enumerate() {
        let index = index as f32;
        let color = [
            red.at(index),
            green.at(index),
            blue.at(index),
            alpha.at(index),
        ];
        *pixel = over(*pixel, color);
    }
}

fn copy(pixels: &mut [Pixel], texels: &[Color32], color: [f32; 4]) {
    for (pixel, texel) in pixels.iter_mut().zip(texels) {
        let texel = texel.to_array();
        if texel != [0; 4] {
            *pixel = over(*pixel, product(texel.map(f32::from), color));
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

/// From pixels to texels, where each pixel of the triangle lies on one texel of the texture.
fn aligned(corners: &[Corner; 3], places: &[[f64; 2]; 3], texture: &Texture) -> Option<[i64; 2]> {
    let size = texture.size();
    let mut offset = [0; 2];
    for axis in 0..2 {
        let shift = (corners[0].texel[axis] - places[0][axis]).round();
        let fits = corners.iter().zip(places).all(|(corner, place)| {
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

/// How far apart in the texture neighbouring pixels lie at most.
fn longest_step([u, v]: &[Slope; 2]) -> f64 {
    let length = |u: f64, v: f64| (u * u + v * v).sqrt();
    length(u.right, v.right).max(length(u.down, v.down))
}

fn slopes<const COUNT: usize>(
    places: &[[f64; 2]; 3],
    value: impl Fn(usize, usize) -> f64,
) -> [Slope; COUNT] {
    array::from_fn(|index| Slope::new(places, [value(0, index), value(1, index), value(2, index)]))
}

/// A number that changes evenly over a triangle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slope {
    /// At the centre of the first pixel of the picture.
    at_origin: f64,
    right: f64,
    down: f64,
}

impl Slope {
    /// With these values at the corners of a triangle that has an area.
    fn new([a, b, c]: &[[f64; 2]; 3], [at_a, at_b, at_c]: [f64; 3]) -> Self {
        let (ab, ac) = ([b[0] - a[0], b[1] - a[1]], [c[0] - a[0], c[1] - a[1]]);
        let (rise_b, rise_c) = (at_b - at_a, at_c - at_a);
        let area = ab[0] * ac[1] - ab[1] * ac[0];
        let right = (rise_b * ac[1] - rise_c * ab[1]) / area;
        let down = (rise_c * ab[0] - rise_b * ac[0]) / area;
        Self {
            at_origin: at_a + right * (0.5 - a[0]) + down * (0.5 - a[1]),
            right,
            down,
        }
    }

    /// Along a row, from the pixel at `x` and `y`.
    fn line(self, x: i64, y: i64) -> Line {
        Line {
            start: (self.at_origin + self.right * x as f64 + self.down * y as f64) as f32,
            step: self.right as f32,
        }
    }
}

/// A number that changes evenly along a run of pixels.
#[derive(Debug, Clone, Copy)]
struct Line {
    start: f32,
    step: f32,
}

impl Line {
    #[inline(always)]
    fn at(self, index: f32) -> f32 {
        self.start + self.step * index
    }
}
