//! A mesh of triangles with one texture: corners in pixels, rectangles told from other pairs of triangles.
//!
//! Knows neither how a pixel is found to be covered nor how it is coloured.

use crate::gui::painter::Canvas;
use crate::gui::painter::coverage::{self, Point};
use crate::gui::painter::ink::Ink;
use crate::gui::painter::texture::Texture;
use crate::gui::painter::window::{self, Window};
use egui::epaint::{Mesh, Vertex};
use std::array;

/// A vertex on the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Corner {
    /// To the right, in pixels.
    pub(super) x: f64,
    /// Down, in pixels.
    pub(super) y: f64,
    /// Place in the texture, in texels.
    pub(super) texel: [f64; 2],
    /// Premultiplied colour, 0 to 255.
    pub(super) color: [f64; 4],
}

impl Corner {
    fn new(vertex: &Vertex, texture: &Texture, pixels_per_point: f32) -> Self {
        let scale = f64::from(pixels_per_point);
        let [width, height] = texture.size();
        Self {
            x: f64::from(vertex.pos.x) * scale,
            y: f64::from(vertex.pos.y) * scale,
            texel: [
                f64::from(vertex.uv.x) * width as f64,
                f64::from(vertex.uv.y) * height as f64,
            ],
            color: vertex.color.to_array().map(f64::from),
        }
    }

    /// The corner at `share` of the way to `other`.
    pub(super) fn toward(&self, other: &Self, share: f64) -> Self {
        let between = |from: f64, to: f64| from + (to - from) * share;
        Self {
            x: between(self.x, other.x),
            y: between(self.y, other.y),
            texel: array::from_fn(|axis| between(self.texel[axis], other.texel[axis])),
            color: array::from_fn(|channel| between(self.color[channel], other.color[channel])),
        }
    }
}

/// Draws the part of `mesh` that lies inside `window`.
pub(super) fn draw(
    canvas: &mut Canvas,
    window: Window,
    mesh: &Mesh,
    texture: &Texture,
    pixels_per_point: f32,
) {
    let corners: Vec<Corner> = mesh
        .vertices
        .iter()
        .map(|vertex| Corner::new(vertex, texture, pixels_per_point))
        .collect();
    let at = |index: u32| corners.get(index as usize);
    let mut indices = mesh.indices.as_slice();
    while let [a, b, c, rest @ ..] = indices {
        indices = rest;
        let (Some(a_corner), Some(b_corner), Some(c_corner)) = (at(*a), at(*b), at(*c)) else {
            continue;
        };
        let triangle = [*a_corner, *b_corner, *c_corner];
        // A rectangle, as epaint writes it: the second triangle turns the first one's `b` and `c` around.
        if let [d, e, f, after @ ..] = rest
            && (d, e) == (c, b)
            && let Some(fourth) = at(*f)
            && let Some((least, most)) = rectangle(&triangle, fourth)
        {
            indices = after;
            draw_rectangle(canvas, window, &triangle, [least, most], texture);
        } else {
            draw_triangle(canvas, window, triangle, texture);
        }
    }
}

/// The upper left and lower right points where two triangles fill an upright rectangle over which all that they carry
/// changes evenly. `first` holds the corner opposite to `fourth` and its two neighbours.
fn rectangle(first: &[Corner; 3], fourth: &Corner) -> Option<(Point, Point)> {
    let [a, b, c] = first;
    let points = [a, b, c, fourth].map(Point::new);
    let [pa, pb, pc, pd] = points;
    let upright = pa.y == pb.y && pc.y == pd.y && pa.x == pc.x && pb.x == pd.x;
    let sideways = pa.x == pb.x && pc.x == pd.x && pa.y == pc.y && pb.y == pd.y;
    let even = |value: fn(&Corner) -> [f64; 4]| {
        let [a, b, c, d] = [value(a), value(b), value(c), value(fourth)];
        (0..4).all(|channel| a[channel] + d[channel] == b[channel] + c[channel])
    };
    let texels = |corner: &Corner| [corner.texel[0], corner.texel[1], 0.0, 0.0];
    let near = window::is_near(a) && window::is_near(fourth);
    ((upright || sideways) && near && even(|corner| corner.color) && even(texels)).then(|| {
        let least = Point {
            x: pa.x.min(pd.x),
            y: pa.y.min(pd.y),
        };
        let most = Point {
            x: pa.x.max(pd.x),
            y: pa.y.max(pd.y),
        };
        (least, most)
    })
}

fn draw_rectangle(
    canvas: &mut Canvas,
    window: Window,
    half: &[Corner; 3],
    [least, most]: [Point; 2],
    texture: &Texture,
) {
    let covered = coverage::between(least, most).intersect(window);
    if covered.is_empty() {
        return;
    }
    if let Some(ink) = Ink::new(half, texture) {
        for y in covered.top..covered.bottom {
            ink.span(canvas.span(y, covered.left, covered.right), covered.left, y);
        }
    }
}

fn draw_triangle(canvas: &mut Canvas, window: Window, triangle: [Corner; 3], texture: &Texture) {
    if !triangle.iter().all(window::is_near) {
        for part in window::cut_to_guard(triangle) {
            draw_near_triangle(canvas, window, &part, texture);
        }
    } else {
        draw_near_triangle(canvas, window, &triangle, texture);
    }
}

fn draw_near_triangle(
    canvas: &mut Canvas,
    window: Window,
    triangle: &[Corner; 3],
    texture: &Texture,
) {
    let points = triangle.each_ref().map(Point::new);
    let Some(rows) = coverage::Rows::new(points, window) else {
        return;
    };
    if let Some(ink) = Ink::new(triangle, texture) {
        rows.for_each(|y, start, end| ink.span(canvas.span(y, start, end), start, y));
    }
}
