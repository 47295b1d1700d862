//! Which pixels a triangle or an upright rectangle covers: those whose centre lies inside, or on a top or left edge.
//!
//! All in whole numbers on a grid of 1/256 pixel, so that neighbours share each pixel of their border without gap or
//! overlap. Knows no colours.

use crate::gui::painter::mesh::Corner;
use crate::gui::painter::window::Window;

/// Steps of the grid in a pixel, as graphics cards have it.
const STEPS: i64 = 256;
/// From a pixel's corner to its centre.
const HALF: i64 = STEPS / 2;

/// A place on the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) x: i64,
    pub(super) y: i64,
}

impl Point {
    /// The place nearest to a corner.
    pub(super) fn new(corner: &Corner) -> Self {
        let snap = |pixels: f64| (pixels * STEPS as f64).round() as i64;
        Self {
            x: snap(corner.x),
            y: snap(corner.y),
        }
    }

    /// In pixels.
    pub(super) fn pixels(self) -> [f64; 2] {
        [self.x, self.y].map(|steps| steps as f64 / STEPS as f64)
    }
}

/// The pixels of the rectangle from `least` to `most`.
pub(super) fn between(least: Point, most: Point) -> Window {
    Window {
        left: first_centre(least.x),
        top: first_centre(least.y),
        right: first_centre(most.x),
        bottom: first_centre(most.y),
    }
}

/// The first pixel whose centre is not before `steps`.
fn first_centre(steps: i64) -> i64 {
    -(HALF - steps).div_euclid(STEPS)
}

/// A side of a triangle as a function of the pixel: not negative where the pixel's centre is on the inner side.
#[derive(Debug, Clone, Copy)]
struct Side {
    at_origin: i64,
    step_right: i64,
    step_down: i64,
}

impl Side {
    /// Of a triangle that is walked clockwise on the screen.
    fn new(from: Point, to: Point) -> Self {
        let (right, down) = (to.x - from.x, to.y - from.y);
        let is_top_or_left = down < 0 || (down == 0 && right > 0);
        Self {
            at_origin: right * (HALF - from.y)
                - down * (HALF - from.x)
                - i64::from(!is_top_or_left),
            step_right: -down * STEPS,
            step_down: right * STEPS,
        }
    }

    /// The part of `start..end` in row `y` on the inner side.
    fn cut(self, y: i64, start: i64, end: i64) -> (i64, i64) {
        let value = self.at_origin + y * self.step_down;
        if self.step_right > 0 {
            (start.max(-value.div_euclid(self.step_right)), end)
        } else if self.step_right < 0 {
            (start, end.min(value.div_euclid(-self.step_right) + 1))
        } else if value >= 0 {
            (start, end)
        } else {
            (start, start)
        }
    }
}

/// The rows of pixels that a triangle covers.
#[derive(Debug)]
pub(super) struct Rows {
    sides: [Side; 3],
    bounds: Window,
}

impl Rows {
    /// Nothing where the triangle has no area or lies outside of `window`.
    pub(super) fn new([a, b, c]: [Point; 3], window: Window) -> Option<Self> {
        let least = Point {
            x: a.x.min(b.x).min(c.x),
            y: a.y.min(b.y).min(c.y),
        };
        let most = Point {
            x: a.x.max(b.x).max(c.x),
            y: a.y.max(b.y).max(c.y),
        };
        let bounds = between(least, most).intersect(window);
        let area = (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x);
        if area == 0 || bounds.is_empty() {
            return None;
        }
        let [a, b, c] = if area > 0 { [a, b, c] } else { [a, c, b] };
        let sides = [Side::new(a, b), Side::new(b, c), Side::new(c, a)];
        Some(Self { sides, bounds })
    }

    /// Calls `paint` with each row that has pixels: its number, its first pixel, and one past its last.
    pub(super) fn for_each(&self, mut paint: impl FnMut(i64, i64, i64)) {
        let Self { sides, bounds } = self;
        for y in bounds.top..bounds.bottom {
            let (mut start, mut end) = (bounds.left, bounds.right);
            for side in sides {
                (start, end) = side.cut(y, start, end);
            }
            if start < end {
                paint(y, start, end);
            }
        }
    }
}
