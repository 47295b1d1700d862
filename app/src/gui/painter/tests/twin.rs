//! A second painter that asks each pixel about each triangle, and random shapes that both must paint alike.
//!
//! The twin shares no code with the painter: weights of the corners instead of slopes, a centre that is nudged right and
//! down instead of kinds of edges, and a texture that is always looked up in full.

use super::*;
use proptest::prelude::*;

const SIZE: [u32; 2] = [14, 11];

/// What one step of a picture adds.
#[derive(Debug, Clone)]
struct Shape {
    mesh: Mesh,
    clip: Rect,
}

#[derive(Debug, Clone)]
struct Scene {
    image: ColorImage,
    options: TextureOptions,
    pixels_per_point: f32,
    shapes: Vec<Shape>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_painter_agrees_with_its_twin(scene in scene()) {
        let Scene { image, options, pixels_per_point, shapes } = scene;
        let painter = painter(image.clone(), options);
        let primitives: Vec<_> =
            shapes.iter().map(|shape| clipped(shape.mesh.clone(), shape.clip)).collect();
        let mut before = painter.paint(&[], SIZE, pixels_per_point, Color32::DARK_GRAY);
        for (step, shape) in shapes.iter().enumerate() {
            let after = painter.paint(&primitives[..=step], SIZE, pixels_per_point, Color32::DARK_GRAY);
            let mut expected = before;
            for corners in shape.mesh.triangles() {
                let corners = corners.map(|index| shape.mesh.vertices[index as usize]);
                let twin = Twin { corners, image: &image, options, scale: pixels_per_point.into() };
                twin.paint(&mut expected, shape.clip, &after);
            }
            for (x, y, found) in after.enumerate_pixels() {
                let expected = expected.get_pixel(x, y);
                let near = (0..4).all(|channel| found[channel].abs_diff(expected[channel]) <= 1);
                prop_assert!(near, "shape {step}, pixel {x} {y}: {found:?}, the twin has {expected:?}");
            }
            before = after;
        }
    }
}

struct Twin<'image> {
    corners: [Vertex; 3],
    image: &'image ColorImage,
    options: TextureOptions,
    scale: f64,
}

impl Twin<'_> {
    /// Where the texel cannot be told for rounding, the pixel is taken from `judged`.
    fn paint(&self, picture: &mut RgbaImage, clip: Rect, judged: &RgbaImage) {
        let scale = self.scale as f32;
        let inside = |place: u32, min: f32, max: f32| {
            (min * scale).round() <= place as f32 && (place as f32) < (max * scale).round()
        };
        for (x, y, pixel) in picture.enumerate_pixels_mut() {
            let clipped = inside(x, clip.min.x, clip.max.x) && inside(y, clip.min.y, clip.max.y);
            let Some(weights) = self.weights(x, y).filter(|_| clipped) else {
                continue;
            };
            match self.color(weights) {
                Some(color) => {
                    for channel in 0..4 {
                        let kept = f64::from(pixel[channel]) * (1.0 - color[3] / 255.0);
                        pixel[channel] = (color[channel] + kept).round().clamp(0.0, 255.0) as u8;
                    }
                }
                None => *pixel = *judged.get_pixel(x, y),
            }
        }
    }

    /// The shares of the corners in the colour of a pixel; nothing where the pixel is outside.
    fn weights(&self, x: u32, y: u32) -> Option<[f64; 3]> {
        let snap = |points: f32| (f64::from(points) * self.scale * 256.0).round() as i128;
        let [a, b, c] = self
            .corners
            .map(|corner| (snap(corner.pos.x), snap(corner.pos.y)));
        let centre = (i128::from(x) * 256 + 128, i128::from(y) * 256 + 128);
        let doubled_area = area(a, b, c);
        let sign = doubled_area.signum();
        let parts = [(b, c), (c, a), (a, b)].map(|(from, to)| {
            let part = sign * area(from, to, centre);
            // The centre lies the tiniest bit to the right, and far less than that below.
            let nudged_right = sign * (from.1 - to.1);
            let nudged_down = sign * (to.0 - from.0);
            ((part, nudged_right, nudged_down) > (0, 0, 0)).then_some(part as f64)
        });
        let [Some(a), Some(b), Some(c)] = parts else {
            return None;
        };
        Some([a, b, c].map(|part| part / doubled_area.abs() as f64))
    }

    fn color(&self, weights: [f64; 3]) -> Option<[f64; 4]> {
        let mean = |value: &dyn Fn(&Vertex) -> f64| -> f64 {
            (0..3)
                .map(|corner| weights[corner] * value(&self.corners[corner]))
                .sum()
        };
        let [width, height] = self.image.size.map(|count| count as f64);
        let u = mean(&|corner| f64::from(corner.uv.x)) * width;
        let v = mean(&|corner| f64::from(corner.uv.y)) * height;
        let texel = match self.options.magnification {
            TextureFilter::Nearest => {
                let undecided = |place: f64| (place - place.round()).abs() < 1e-3;
                if undecided(u) || undecided(v) {
                    return None;
                }
                self.texel(u.floor(), v.floor())
            }
            TextureFilter::Linear => self.between(u - 0.5, v - 0.5),
        };
        Some(std::array::from_fn(|channel| {
            mean(&|corner| f64::from(corner.color.to_array()[channel])) * texel[channel] / 255.0
        }))
    }

    fn between(&self, u: f64, v: f64) -> [f64; 4] {
        let (left, top) = (u.floor(), v.floor());
        let (right_share, lower_share) = (u - left, v - top);
        let mut sum = [0.0; 4];
        for (right, share) in [(0.0, 1.0 - right_share), (1.0, right_share)] {
            for (below, other) in [(0.0, 1.0 - lower_share), (1.0, lower_share)] {
                let texel = self.texel(left + right, top + below);
                for channel in 0..4 {
                    sum[channel] += share * other * texel[channel];
                }
            }
        }
        sum
    }

    fn texel(&self, column: f64, row: f64) -> [f64; 4] {
        let wrap = |place: f64, count: usize| {
            let count = count as f64;
            let place = match self.options.wrap_mode {
                TextureWrapMode::ClampToEdge => place.clamp(0.0, count - 1.0),
                TextureWrapMode::Repeat => place - (place / count).floor() * count,
                TextureWrapMode::MirroredRepeat => {
                    let turn = (place / count).floor();
                    let within = place - turn * count;
                    if turn % 2.0 == 0.0 {
                        within
                    } else {
                        count - 1.0 - within
                    }
                }
            };
            place as usize
        };
        let [width, height] = self.image.size;
        self.image[(wrap(column, width), wrap(row, height))]
            .to_array()
            .map(f64::from)
    }
}

/// Twice the area of a triangle, negative for those that turn left.
fn area(a: (i128, i128), b: (i128, i128), c: (i128, i128)) -> i128 {
    (b.0 - a.0) * (c.1 - a.1) - (b.1 - a.1) * (c.0 - a.0)
}

fn scene() -> impl Strategy<Value = Scene> {
    let image = (1..6_usize, 1..5_usize).prop_flat_map(|(width, height)| {
        prop::collection::vec(color(), width * height)
            .prop_map(move |pixels| ColorImage::new([width, height], pixels))
    });
    let scales = prop::sample::select(vec![1.0_f32, 1.25, 2.0]);
    (image, options(), scales).prop_flat_map(|(image, options, pixels_per_point)| {
        let shape = shape(image.size);
        prop::collection::vec(shape, 1..5).prop_map(move |shapes| Scene {
            image: image.clone(),
            options,
            pixels_per_point,
            shapes,
        })
    })
}

fn options() -> impl Strategy<Value = TextureOptions> {
    let modes = [
        TextureWrapMode::ClampToEdge,
        TextureWrapMode::Repeat,
        TextureWrapMode::MirroredRepeat,
    ];
    let filters = [TextureFilter::Nearest, TextureFilter::Linear];
    (
        prop::sample::select(modes.to_vec()),
        prop::sample::select(filters.to_vec()),
    )
        .prop_map(|(wrap_mode, filter)| TextureOptions {
            magnification: filter,
            minification: filter,
            wrap_mode,
            mipmap_mode: None,
        })
}

/// Any colour, also such that add light.
fn color() -> impl Strategy<Value = Color32> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|[r, g, b, a]| Color32::from_rgba_premultiplied(r, g, b, a)),
        any::<[u8; 4]>().prop_map(|[r, g, b, a]| Color32::from_rgba_unmultiplied(r, g, b, a)),
        any::<[u8; 3]>().prop_map(|[r, g, b]| Color32::from_rgb(r, g, b)),
        Just(Color32::WHITE),
    ]
}

/// Often on the grid of pixels and their centres, where the rules about edges matter.
fn place() -> impl Strategy<Value = Pos2> {
    let axis = || {
        prop_oneof![
            (-6..34_i32).prop_map(|halves| halves as f32 / 2.0),
            -4.0..18.0_f32
        ]
    };
    (axis(), axis()).prop_map(|(x, y)| pos2(x, y))
}

fn clip() -> impl Strategy<Value = Rect> {
    prop_oneof![
        Just(EVERYWHERE),
        (place(), place()).prop_map(|(one, other)| Rect::from_two_pos(one, other)),
    ]
}

fn shape(image_size: [usize; 2]) -> impl Strategy<Value = Shape> {
    let mesh = prop_oneof![
        triangle().boxed(),
        upright().boxed(),
        copied(image_size).boxed()
    ];
    (mesh, clip()).prop_map(|(mesh, clip)| Shape { mesh, clip })
}

fn texture_place() -> impl Strategy<Value = Pos2> {
    (-1.5..2.5_f32, -1.5..2.5_f32).prop_map(|(u, v)| pos2(u, v))
}

fn triangle() -> impl Strategy<Value = Mesh> {
    let vertex =
        (place(), texture_place(), color()).prop_map(|(pos, uv, color)| Vertex { pos, uv, color });
    (
        prop::collection::vec(vertex, 3),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(mut vertices, one_texel, one_color)| {
            for index in 1..3 {
                if one_texel {
                    vertices[index].uv = vertices[0].uv;
                }
                if one_color {
                    vertices[index].color = vertices[0].color;
                }
            }
            Mesh {
                indices: vec![0, 1, 2],
                vertices,
                texture_id: PICTURE,
            }
        })
}

/// An upright rectangle in two triangles that may differ in how colours and texels change, any way round.
fn upright() -> impl Strategy<Value = Mesh> {
    let corners = (place(), place(), texture_place(), texture_place());
    let colored = prop::sample::select(vec![
        vec![],
        vec![1_usize, 3],
        vec![2, 3],
        vec![3],
        vec![1, 2],
    ]);
    (corners, color(), color(), colored, any::<bool>()).prop_map(
        |((min, max, uv_min, uv_max), from, to, colored, twisted)| {
            let mut mesh = Mesh::with_texture(PICTURE);
            let (place, uv) = (
                Rect { min, max },
                Rect {
                    min: uv_min,
                    max: uv_max,
                },
            );
            mesh.add_rect_with_uv(place, uv, from);
            for index in colored {
                mesh.vertices[index].color = to;
            }
            if twisted {
                mesh.vertices[3].uv = uv_min;
            }
            mesh
        },
    )
}

/// A part of the image at its own size, on the grid of pixels as glyphs are or a little beside it.
fn copied([width, height]: [usize; 2]) -> impl Strategy<Value = Mesh> {
    let beside = prop_oneof![Just(0.0), -0.4..0.4_f32];
    (-2..14_i32, -2..14_i32, beside, color()).prop_map(move |(x, y, beside, color)| {
        let mut mesh = Mesh::with_texture(PICTURE);
        let whole = vec2(width as f32, height as f32);
        // Without the outermost texels, where others are left.
        let margin = vec2(f32::from(width > 2), f32::from(height > 2));
        let place = pos2(x as f32 + beside, y as f32);
        let place = Rect::from_min_size(place, whole - 2.0 * margin);
        let first = (margin / whole).to_pos2();
        let last = ((whole - margin) / whole).to_pos2();
        mesh.add_rect_with_uv(place, Rect::from_min_max(first, last), color);
        mesh
    })
}
