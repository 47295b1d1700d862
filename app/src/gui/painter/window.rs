//! Where painting may happen: clip rectangles in whole pixels, and the guard band that keeps arithmetic exact.
//!
//! Knows no colours but as numbers to interpolate.

use crate::gui::painter::mesh::Corner;
use egui::emath::Rect;

/// Beyond this many pixels from the origin, coordinates are cut off so that products of them fit 64 bits.
const GUARD_PIXELS: f64 = (1 << 20) as f64;

/// A rectangle of whole pixels inside the picture: from `left` and `top`, up to but without `right` and `bottom`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) left: i64,
    pub(super) top: i64,
    pub(super) right: i64,
    pub(super) bottom: i64,
}

impl Window {
    /// `clip` in points, rounded to pixels and cut to the picture.
    pub(super) fn new(clip: Rect, pixels_per_point: f32, [width, height]: [u32; 2]) -> Self {
        let round = |points: f32, least: i64, most: u32| {
            ((points * pixels_per_point).round() as i64).clamp(least, i64::from(most))
        };
        let left = round(clip.min.x, 0, width);
        let top = round(clip.min.y, 0, height);
        Self {
            left,
            top,
            right: round(clip.max.x, left, width),
            bottom: round(clip.max.y, top, height),
        }
    }

    /// Whether no pixel is inside.
    pub(super) fn is_empty(self) -> bool {
        self.left >= self.right || self.top >= self.bottom
    }

    /// What is in both.
    pub(super) fn intersect(self, other: Self) -> Self {
        Self {
            left: self.left.max(other.left),
            top: self.top.max(other.top),
            right: self.right.min(other.right),
            bottom: self.bottom.min(other.bottom),
        }
    }
}

/// Whether a corner lies where arithmetic is exact. False for what is not a number.
pub(super) fn is_near(corner: &Corner) -> bool {
    corner.x.abs() <= GUARD_PIXELS && corner.y.abs() <= GUARD_PIXELS
}

/// The part of a triangle inside the guard band, as triangles; nothing where a coordinate is not finite.
///
/// A cut along an edge is the same for both triangles that share the edge, so that no seam opens.
pub(super) fn cut_to_guard(triangle: [Corner; 3]) -> Vec<[Corner; 3]> {
    if !triangle
        .iter()
        .all(|corner| corner.x.is_finite() && corner.y.is_finite())
    {
        return Vec::new();
    }
    let sides: [fn(&Corner) -> f64; 4] = [
        |corner| GUARD_PIXELS + corner.x,
        |corner| GUARD_PIXELS - corner.x,
        |corner| GUARD_PIXELS + corner.y,
        |corner| GUARD_PIXELS - corner.y,
    ];
    let polygon = sides
        .iter()
        .fold(triangle.to_vec(), |polygon, inside| cut(&polygon, inside));
    let Some((&first, rest)) = polygon.split_first() else {
        return Vec::new();
    };
    rest.windows(2)
        .map(|pair| [first, pair[0], pair[1]])
        .collect()
}

/// The part of a convex polygon where `inside` is not negative.
fn cut(polygon: &[Corner], inside: impl Fn(&Corner) -> f64) -> Vec<Corner> {
    let mut kept = Vec::with_capacity(polygon.len() + 1);
    for (index, corner) in polygon.iter().enumerate() {
        let next = &polygon[(index + 1) % polygon.len()];
        let (here, there) = (inside(corner), inside(next));
        if here >= 0.0 {
            kept.push(*corner);
        }
        if (here >= 0.0) != (there >= 0.0) {
            // Always from the inner corner to the outer one, whichever way round the polygon goes.
            kept.push(if here >= 0.0 {
                corner.toward(next, here / (here - there))
            } else {
                next.toward(corner, there / (there - here))
            });
        }
    }
    kept
}
