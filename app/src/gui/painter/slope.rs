//! Numbers and colours that change evenly over a triangle, and along a row of it.
//!
//! Knows neither what they mean nor where the triangle ends. Channels are written out: these lines run for each pixel,
//! also in builds that inline nothing.

/// A number that changes evenly over a triangle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slope {
    /// At the centre of the first pixel of the picture.
    at_origin: f64,
    right: f64,
    down: f64,
}

impl Slope {
    /// With these values at the corners, in pixels, of a triangle that has an area.
    pub(super) fn new([a, b, c]: &[[f64; 2]; 3], [at_a, at_b, at_c]: [f64; 3]) -> Self {
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
    #[inline]
    pub(super) fn line(self, x: i64, y: i64) -> Line {
        Line {
            start: (self.at_origin + self.right * x as f64 + self.down * y as f64) as f32,
            step: self.right as f32,
        }
    }

    /// How far apart neighbouring pixels lie at most in the plane of two slopes.
    pub(super) fn longest_step([u, v]: [Self; 2]) -> f64 {
        let length = |u: f64, v: f64| (u * u + v * v).sqrt();
        length(u.right, v.right).max(length(u.down, v.down))
    }
}

/// A number that changes evenly along a run of pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    start: f32,
    step: f32,
}

impl Line {
    /// At the pixel `index` steps from the first.
    #[inline(always)]
    pub(super) fn at(self, index: f32) -> f32 {
        self.start + self.step * index
    }
}

/// A colour that changes evenly over a triangle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gradient([Slope; 4]);

impl Gradient {
    /// With these colours at the corners, times `factor`.
    pub(super) fn new(places: &[[f64; 2]; 3], [a, b, c]: [[f64; 4]; 3], factor: [f64; 4]) -> Self {
        let slope = |channel: usize| {
            let factor = factor[channel];
            let values = [
                a[channel] * factor,
                b[channel] * factor,
                c[channel] * factor,
            ];
            Slope::new(places, values)
        };
        Self([slope(0), slope(1), slope(2), slope(3)])
    }

    /// Along a row, from the pixel at `x` and `y`.
    pub(super) fn line(&self, x: i64, y: i64) -> GradientLine {
        let [red, green, blue, alpha] = &self.0;
        GradientLine([
            red.line(x, y),
            green.line(x, y),
            blue.line(x, y),
            alpha.line(x, y),
        ])
    }
}

/// A colour that changes evenly along a run of pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct GradientLine([Line; 4]);

impl GradientLine {
    /// At the pixel `index` steps from the first.
    #[inline(always)]
    pub(super) fn at(&self, index: f32) -> [f32; 4] {
        let [red, green, blue, alpha] = &self.0;
        [
            red.at(index),
            green.at(index),
            blue.at(index),
            alpha.at(index),
        ]
    }
}
