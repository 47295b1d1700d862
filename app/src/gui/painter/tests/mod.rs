//! Single rows: textures, clips, blending, borders. The twin that judges random meshes is in `twin`.
#![allow(clippy::unwrap_used)]

mod twin;

use super::*;
use egui::epaint::{
    ColorImage, ImageDelta, Mesh, Vertex,
    textures::{TextureFilter, TextureOptions, TextureWrapMode},
};
use egui::{Pos2, Rect, pos2, vec2};

const WHITE: TextureId = TextureId::Managed(0);
const PICTURE: TextureId = TextureId::Managed(1);
const EVERYWHERE: Rect = Rect::EVERYTHING;
const HALF_RED: Color32 = Color32::from_rgba_premultiplied(128, 0, 0, 128);
const BLACK: [u8; 4] = [0, 0, 0, 255];

/// A painter that knows a white texel as `WHITE`, and `image` as `PICTURE`.
fn painter(image: ColorImage, options: TextureOptions) -> Painter {
    let mut painter = Painter::new();
    let white = ColorImage::filled([1, 1], Color32::WHITE);
    change(
        &mut painter,
        WHITE,
        ImageDelta::full(white, TextureOptions::LINEAR),
    );
    change(&mut painter, PICTURE, ImageDelta::full(image, options));
    painter
}

fn plain() -> Painter {
    painter(two_by_two(), TextureOptions::NEAREST)
}

fn change(painter: &mut Painter, id: TextureId, delta: ImageDelta) {
    let mut deltas = TexturesDelta::default();
    deltas.push(id, delta);
    painter.apply(&deltas);
    deltas.clear();
}

fn two_by_two() -> ColorImage {
    ColorImage::new(
        [2, 2],
        vec![Color32::RED, Color32::GREEN, Color32::BLUE, Color32::WHITE],
    )
}

fn rectangle(rect: Rect, color: Color32) -> Mesh {
    let mut mesh = Mesh::with_texture(WHITE);
    mesh.add_colored_rect(rect, color);
    mesh
}

fn image(rect: Rect, uv: Rect) -> Mesh {
    let mut mesh = Mesh::with_texture(PICTURE);
    mesh.add_rect_with_uv(rect, uv, Color32::WHITE);
    mesh
}

fn triangles(corners: &[(Pos2, Color32)]) -> Mesh {
    let vertices = corners
        .iter()
        .map(|(place, color)| Vertex::untextured(*place, *color));
    Mesh {
        indices: (0..corners.len() as u32).collect(),
        vertices: vertices.collect(),
        texture_id: WHITE,
    }
}

fn clipped(mesh: Mesh, clip_rect: Rect) -> ClippedPrimitive {
    ClippedPrimitive {
        clip_rect,
        primitive: Primitive::Mesh(mesh),
    }
}

fn paint(painter: &Painter, meshes: impl IntoIterator<Item = Mesh>, size: [u32; 2]) -> RgbaImage {
    let primitives: Vec<_> = meshes
        .into_iter()
        .map(|mesh| clipped(mesh, EVERYWHERE))
        .collect();
    painter.paint(&primitives, size, 1.0, Color32::BLACK)
}

fn rect(left: f32, top: f32, right: f32, bottom: f32) -> Rect {
    Rect::from_min_max(pos2(left, top), pos2(right, bottom))
}

/// The pixels that are not black.
fn painted(picture: &RgbaImage) -> Vec<(u32, u32)> {
    let pixels = picture.enumerate_pixels();
    pixels
        .filter(|(.., pixel)| pixel.0 != BLACK)
        .map(|(x, y, _)| (x, y))
        .collect()
}

#[test]
fn a_pixel_is_covered_when_its_centre_is() {
    let rows: [(Rect, &[(u32, u32)]); 6] = [
        (rect(1.0, 1.0, 3.0, 2.0), &[(1, 1), (2, 1)]),
        // Centres on the left and top edges are in, those on the right and bottom edges are not.
        (rect(0.5, 0.5, 1.5, 1.5), &[(0, 0)]),
        (rect(0.51, 0.5, 2.49, 1.0), &[(1, 0)]),
        (rect(1.6, 0.0, 2.4, 3.0), &[]),
        (rect(-9.0, 2.0, 0.6, 9.0), &[(0, 2)]),
        (rect(2.0, 2.0, 2.0, 9.0), &[]),
    ];
    for (area, expected) in rows {
        let picture = paint(&plain(), [rectangle(area, Color32::RED)], [4, 3]);
        assert_eq!(painted(&picture), expected, "{area:?}");
        let [min, max] = [area.min, area.max];
        let halves = [min, pos2(max.x, min.y), max, min, max, pos2(min.x, max.y)];
        let halves = halves.map(|place| (place, Color32::RED));
        let picture = paint(&plain(), [triangles(&halves)], [4, 3]);
        assert_eq!(painted(&picture), expected, "{area:?} as two triangles");
    }
}

#[test]
fn blending_keeps_what_alpha_lets_through() {
    let rows = [
        (Color32::from_rgb(10, 20, 30), [10, 20, 30, 255]),
        (HALF_RED, [228, 100, 50, 255]),
        (
            Color32::from_rgba_premultiplied(100, 0, 0, 0),
            [255, 200, 100, 255],
        ),
        (Color32::TRANSPARENT, [200, 200, 100, 255]),
    ];
    for (color, expected) in rows {
        let primitives = [clipped(
            rectangle(rect(0.0, 0.0, 1.0, 1.0), color),
            EVERYWHERE,
        )];
        let background = Color32::from_rgb(200, 200, 100);
        let picture = plain().paint(&primitives, [1, 1], 1.0, background);
        assert_eq!(picture.get_pixel(0, 0).0, expected, "{color:?}");
    }
}

#[test]
fn clips_are_rounded_to_pixels_and_cut_to_the_picture() {
    let rows: [(Rect, f32, usize); 5] = [
        (rect(1.4, 1.4, 2.6, 2.6), 1.0, 4),
        (rect(0.2, 0.0, 0.8, 2.0), 2.0, 8),
        (EVERYWHERE, 1.0, 16),
        (Rect::NOTHING, 1.0, 0),
        (rect(3.0, 0.0, 1.0, 4.0), 1.0, 0),
    ];
    for (clip, pixels_per_point, expected) in rows {
        let primitives = [clipped(
            rectangle(rect(-9.0, -9.0, 99.0, 99.0), Color32::RED),
            clip,
        )];
        let picture = plain().paint(&primitives, [4, 4], pixels_per_point, Color32::BLACK);
        assert_eq!(
            painted(&picture).len(),
            expected,
            "{clip:?} at {pixels_per_point}"
        );
    }
}

#[test]
fn a_border_belongs_to_one_of_its_neighbours() {
    let expected = paint(
        &plain(),
        [rectangle(rect(0.0, 0.0, 31.0, 17.0), HALF_RED)],
        [31, 17],
    );
    // Fans around points on and off the grid: each pixel is blended once.
    for middle in [
        pos2(15.5, 8.5),
        pos2(3.0, 16.0),
        pos2(30.996, 0.003),
        pos2(7.25, 11.125),
    ] {
        for far in [31.0, 400.0, 1e7, 1e12, 1e38] {
            let outline = [
                pos2(0.0, 0.0),
                pos2(far, 0.0),
                pos2(far, far),
                pos2(0.0, far),
                pos2(0.0, 0.0),
            ];
            let fan: Vec<_> = outline
                .windows(2)
                .flat_map(|side| [side[0], side[1], middle])
                .map(|place| (place, HALF_RED))
                .collect();
            let picture = paint(&plain(), [triangles(&fan)], [31, 17]);
            assert!(
                picture == expected,
                "{middle:?}, {far}: {:?}",
                picture.get_pixel(15, 8)
            );
        }
    }
}

#[test]
fn an_image_is_looked_up_as_its_options_say() {
    let linear_shrunk = TextureOptions {
        magnification: TextureFilter::Nearest,
        ..TextureOptions::LINEAR
    };
    let (unit, red, green) = (rect(0.0, 0.0, 1.0, 1.0), [255, 0, 0, 255], [0, 255, 0, 255]);
    let mean = [128, 128, 128, 255];
    let rows = [
        // Options, place in the texture, size on the picture, pixel to look at, its colour.
        (TextureOptions::NEAREST, unit, 4.0, (1, 0), red),
        (TextureOptions::NEAREST, unit, 4.0, (2, 0), green),
        (TextureOptions::LINEAR, unit, 4.0, (1, 0), [191, 64, 0, 255]),
        (TextureOptions::LINEAR, unit, 2.0, (1, 0), green),
        (TextureOptions::LINEAR, unit, 1.0, (0, 0), mean),
        (linear_shrunk, unit, 1.0, (0, 0), mean),
        (linear_shrunk, unit, 4.0, (1, 0), red),
        (
            TextureOptions::NEAREST,
            rect(0.0, 0.0, 2.0, 2.0),
            4.0,
            (3, 0),
            green,
        ),
        (
            TextureOptions::NEAREST_REPEAT,
            rect(0.0, 0.0, 2.0, 2.0),
            4.0,
            (2, 0),
            red,
        ),
        (
            TextureOptions::NEAREST_MIRRORED_REPEAT,
            rect(0.0, 0.0, 2.0, 2.0),
            4.0,
            (2, 0),
            green,
        ),
    ];
    for (options, uv, size, (x, y), expected) in rows {
        let mesh = image(Rect::from_min_size(Pos2::ZERO, vec2(size, size)), uv);
        let picture = paint(&painter(two_by_two(), options), [mesh], [4, 4]);
        let found = picture.get_pixel(x, y).0;
        let near = found
            .iter()
            .zip(expected)
            .all(|(found, expected)| found.abs_diff(expected) <= 1);
        assert!(
            near,
            "{options:?} {uv:?} {size}: {found:?}, not {expected:?}"
        );
    }
    assert_eq!(
        TextureOptions::NEAREST.wrap_mode,
        TextureWrapMode::ClampToEdge
    );
}

#[test]
fn textures_are_changed_in_part_and_freed_after_their_last_frame() {
    let mut painter = plain();
    let show = |painter: &Painter| {
        let picture = paint(
            painter,
            [image(rect(0.0, 0.0, 2.0, 2.0), rect(0.0, 0.0, 1.0, 1.0))],
            [2, 2],
        );
        [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(x, y)| {
            Color32::from_rgb(
                picture.get_pixel(x, y)[0],
                picture.get_pixel(x, y)[1],
                picture.get_pixel(x, y)[2],
            )
        })
    };
    let (red, green, blue, gold) = (Color32::RED, Color32::GREEN, Color32::BLUE, Color32::GOLD);
    assert_eq!(show(&painter), [red, green, blue, Color32::WHITE]);
    let row = ColorImage::filled([1, 2], gold);
    change(
        &mut painter,
        PICTURE,
        ImageDelta::partial([1, 0], row, TextureOptions::NEAREST),
    );
    assert_eq!(show(&painter), [red, gold, blue, gold]);
    let large = ColorImage::filled([9, 9], green);
    change(
        &mut painter,
        PICTURE,
        ImageDelta::partial([1, 1], large, TextureOptions::NEAREST),
    );
    assert_eq!(
        show(&painter),
        [red, gold, blue, green],
        "what lies outside is left out"
    );

    let mut freed = TexturesDelta::default();
    freed.free(PICTURE);
    painter.apply(&freed);
    freed.clear();
    assert_eq!(
        show(&painter),
        [red, gold, blue, green],
        "the frame that frees it still shows it"
    );
    painter.apply(&freed);
    assert_eq!(
        show(&painter),
        [Color32::BLACK; 4],
        "then it is gone, and its meshes are left out"
    );
}

#[test]
fn what_makes_no_sense_is_left_out() {
    let wild = [f32::NAN, f32::INFINITY, -1e38, 0.0];
    for (index, first) in wild.into_iter().enumerate() {
        let corners = [
            pos2(first, 0.0),
            pos2(4.0, wild[(index + 1) % 4]),
            pos2(0.0, 4.0),
        ];
        let mut mesh = triangles(&corners.map(|place| (place, HALF_RED)));
        mesh.texture_id = PICTURE;
        mesh.vertices[0].uv = pos2(first, -first);
        mesh.vertices[1].uv = pos2(1.0, first);
        mesh.indices.extend([0, 1, 99, 2]);
        paint(&plain(), [mesh], [4, 4]);
    }
    assert_eq!(
        paint(&plain(), [], [0, 3]).dimensions(),
        (0, 3),
        "an empty picture"
    );
    let empty = ColorImage::filled([0, 0], Color32::RED);
    let mesh = image(rect(0.0, 0.0, 4.0, 4.0), rect(0.0, 0.0, 1.0, 1.0));
    let picture = paint(&painter(empty, TextureOptions::LINEAR), [mesh], [4, 4]);
    assert_eq!(
        painted(&picture),
        [],
        "a texture without texels leaves no trace"
    );
}
