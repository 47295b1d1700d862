//! What egui's shapes look like once painted: rectangles, borders between them, text, clips, gradients.

use crate::renderer::PainterRenderer;
use egui::epaint::{Mesh, Shape, TessellationOptions};
use egui::{Color32, Rect, Theme, Ui, pos2, vec2};
use egui_kittest::Harness;
use image::RgbaImage;

const SIZE: [f32; 2] = [120.0, 80.0];

/// What `show` draws, with edges as they are given and not smoothed.
fn picture(pixels_per_point: f32, show: impl FnMut(&mut Ui)) -> RgbaImage {
    let mut harness = Harness::builder()
        .with_size(SIZE)
        .with_pixels_per_point(pixels_per_point)
        .with_theme(Theme::Dark)
        .with_context_setup(|context| {
            context.tessellation_options_mut(|options| {
                *options = TessellationOptions {
                    feathering: false,
                    ..*options
                };
            });
        })
        .renderer(PainterRenderer::new())
        .build_ui(show);
    harness.run();
    harness.render().unwrap()
}

fn rect(left: f32, top: f32, right: f32, bottom: f32) -> Rect {
    Rect::from_min_max(pos2(left, top), pos2(right, bottom))
}

fn count(picture: &RgbaImage, is: impl Fn([u8; 4]) -> bool) -> usize {
    picture.pixels().filter(|pixel| is(pixel.0)).count()
}

fn paper(picture: &RgbaImage) -> [u8; 4] {
    picture
        .get_pixel(picture.width() - 1, picture.height() - 1)
        .0
}

#[test]
fn a_rectangle_covers_exactly_its_pixels() {
    for scale in [1.0, 1.5, 2.0] {
        let picture = picture(scale, |ui| {
            ui.painter()
                .rect_filled(rect(10.0, 20.0, 40.0, 30.0), 0.0, Color32::RED);
        });
        let inside = |x: u32, y: u32| {
            let (x, y) = (x as f32 / scale, y as f32 / scale);
            (10.0..40.0).contains(&x) && (20.0..30.0).contains(&y)
        };
        for (x, y, pixel) in picture.enumerate_pixels() {
            let red = pixel.0 == Color32::RED.to_array();
            assert_eq!(
                red,
                inside(x, y),
                "pixel {x} {y} at scale {scale}: {pixel:?}"
            );
        }
    }
}

#[test]
fn half_transparent_neighbours_leave_no_seam() {
    let half = Color32::from_rgba_unmultiplied(255, 255, 255, 128);
    // The border runs through centres of pixels, between pixels, and elsewhere.
    for border in [40.5, 40.0, 40.3] {
        let picture = picture(1.0, |ui| {
            let mut mesh = Mesh::default();
            mesh.add_colored_rect(rect(10.0, 10.0, border, 50.0), half);
            mesh.add_colored_rect(rect(border, 10.0, 70.0, 50.0), half);
            ui.painter().add(Shape::mesh(mesh));
        });
        let mixed = picture.get_pixel(20, 20).0;
        assert_ne!(mixed, paper(&picture), "{border}");
        let found = count(&picture, |pixel| pixel == mixed);
        assert_eq!(found, 60 * 40, "{border}: one colour over both rectangles");
    }
}

#[test]
fn text_leaves_ink() {
    let picture = picture(1.0, |ui| {
        ui.label("down_proj");
    });
    let paper = paper(&picture);
    let ink = count(&picture, |pixel| pixel != paper);
    assert!((100..800).contains(&ink), "{ink} pixels of ink");
    let brightest = picture.pixels().map(|pixel| pixel[0]).max().unwrap();
    assert!(
        brightest > 100,
        "strokes are as bright as text is: {brightest}"
    );
}

#[test]
fn clipped_things_stay_inside() {
    let window = rect(30.0, 20.0, 60.0, 45.0);
    let picture = picture(1.0, |ui| {
        let painter = ui.painter().with_clip_rect(window);
        painter.circle_filled(pos2(45.0, 30.0), 300.0, Color32::RED);
        painter.text(
            pos2(0.0, 30.0),
            egui::Align2::LEFT_CENTER,
            "a long line of text across",
            egui::FontId::proportional(20.0),
            Color32::WHITE,
        );
    });
    let paper = paper(&picture);
    for (x, y, pixel) in picture.enumerate_pixels() {
        let centre = pos2(x as f32 + 0.5, y as f32 + 0.5);
        assert_eq!(
            pixel.0 != paper,
            window.contains(centre),
            "pixel {x} {y}: {pixel:?}"
        );
    }
    assert!(
        count(&picture, |pixel| pixel == [255; 4]) > 10,
        "the text is there"
    );
}

#[test]
fn a_gradient_never_turns_back() {
    let picture = picture(1.0, |ui| {
        let mut mesh = Mesh::default();
        for (x, color) in [(10.0, Color32::BLACK), (110.0, Color32::WHITE)] {
            mesh.colored_vertex(pos2(x, 10.0), color);
            mesh.colored_vertex(pos2(x, 70.0), color);
        }
        mesh.add_triangle(0, 1, 2);
        mesh.add_triangle(2, 1, 3);
        ui.painter().add(Shape::mesh(mesh));
    });
    for y in 10..70 {
        let row: Vec<u8> = (10..110).map(|x| picture.get_pixel(x, y)[1]).collect();
        assert!(row.is_sorted(), "row {y}: {row:?}");
        assert!(
            row[0] <= 2 && row[99] >= 253,
            "row {y} from black to white: {row:?}"
        );
    }
}

#[test]
fn a_panel_is_the_same_twice_and_larger_at_twice_the_scale() {
    let show = |ui: &mut Ui| {
        ui.heading("Layers");
        ui.horizontal(|ui| {
            ui.label("bits");
            drop(ui.button("4"));
            ui.checkbox(&mut true, "lock");
        });
        ui.add(egui::ProgressBar::new(0.6).desired_width(80.0));
    };
    let [small, again, large] = [1.0, 1.0, 2.0].map(|scale| picture(scale, show));
    assert!(small == again, "the same bytes");
    let size = vec2(SIZE[0], SIZE[1]);
    assert_eq!(small.dimensions(), (size.x as u32, size.y as u32));
    assert_eq!(large.dimensions(), (2 * size.x as u32, 2 * size.y as u32));
    let ink = |picture: &RgbaImage| count(picture, |pixel| pixel != paper(picture));
    let ratio = ink(&large) as f32 / ink(&small) as f32;
    assert!(
        (3.0..5.0).contains(&ratio),
        "four times the pixels, about four times the ink: {ratio}"
    );
}
