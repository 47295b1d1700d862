//! A stage without a window: runs frames of egui, keeps what the last one drew and makes a picture of it.
//!
//! Time does not pass by itself: each frame is as much later as the caller says, so that the same frames give the same
//! picture. Knows nothing of the studio: what is shown is a function of `egui::Ui`.

use crate::gui::painter::Painter;
use egui::epaint::ClippedPrimitive;
use egui::{
    Context, OutputCommand, Pos2, RawInput, Rect, Theme, Ui, Vec2, ViewportCommand, ViewportId,
};
use egui_system_font_provider::SystemFontProvider;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder, RgbaImage};
use pare_engine::formats::store::{StoreError, atomic};
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// From one frame to the next unless the input says otherwise: longer than any animation, so that two frames end it.
const STEP_SECONDS: f64 = 0.25;
/// As large as common graphics cards allow.
const TEXTURE_SIDE: usize = 8192;

/// An egui context with a screen that is a picture.
pub struct Stage {
    context: Context,
    painter: Painter,
    size_pixels: [u32; 2],
    native_pixels_per_point: f32,
    theme: Theme,
    now_seconds: f64,
    primitives: Vec<ClippedPrimitive>,
    /// Of the last frame: the person's zoom is in it.
    pixels_per_point: f32,
}

/// What a frame asks of whoever runs it.
#[derive(Debug, Clone)]
pub struct FrameOutcome {
    /// When the next frame is due; `Duration::MAX` where nothing moves.
    pub repaint_after: Duration,
    /// What was asked of the system: texts for the clipboard, addresses to open.
    pub requests: Vec<OutputCommand>,
    /// What was asked of the window: close, title, size.
    pub commands: Vec<ViewportCommand>,
}

impl Stage {
    /// A screen of `size_points` at a scale. Without another word from the application it follows `theme` as it would
    /// follow the system's. Characters that egui's own fonts lack come from fonts of the system, where it has them.
    pub fn new(size_points: Vec2, pixels_per_point: f32, theme: Theme) -> Self {
        let context = Context::default();
        context.add_font_provider(Arc::new(SystemFontProvider::new()));
        let pixels = |points: f32| (points * pixels_per_point).round() as u32;
        Self {
            context,
            painter: Painter::new(),
            size_pixels: [pixels(size_points.x), pixels(size_points.y)],
            native_pixels_per_point: pixels_per_point,
            theme,
            now_seconds: 0.0,
            primitives: Vec::new(),
            pixels_per_point,
        }
    }

    /// To set it up before the first frame, or to ask for a repaint from elsewhere.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Runs one frame. Of `input` only what is news has to be filled in: events, dropped files, a time.
    pub fn frame(&mut self, input: RawInput, ui: impl FnMut(&mut Ui)) -> FrameOutcome {
        let input = self.complete(input);
        let mut output = self.context.run_ui(input, ui);
        self.painter.apply(&output.textures_delta);
        output.textures_delta.clear();
        self.pixels_per_point = output.pixels_per_point;
        self.primitives = self
            .context
            .tessellate(output.shapes, output.pixels_per_point);
        let window = output.viewport_output.remove(&ViewportId::ROOT);
        let (repaint_after, commands) = window.map_or((Duration::MAX, Vec::new()), |window| {
            (window.repaint_delay, window.commands)
        });
        FrameOutcome {
            repaint_after,
            requests: output.platform_output.commands,
            commands,
        }
    }

    /// Runs frames without input until none is due soon, but `most` at most. Whether they came to rest.
    pub fn settle(&mut self, most: usize, mut ui: impl FnMut(&mut Ui)) -> bool {
        let soon = Duration::from_secs_f64(STEP_SECONDS);
        (0..most).any(|_| self.frame(RawInput::default(), &mut ui).repaint_after >= soon)
    }

    /// The triangles of the last frame.
    pub fn primitives(&self) -> &[ClippedPrimitive] {
        &self.primitives
    }

    /// The picture of the last frame, over the theme's own background.
    pub fn picture(&self) -> RgbaImage {
        let background = self.context.global_style().visuals.panel_fill.to_opaque();
        self.painter.paint(
            &self.primitives,
            self.size_pixels,
            self.pixels_per_point,
            background,
        )
    }

    fn complete(&mut self, mut input: RawInput) -> RawInput {
        let scale = self.native_pixels_per_point * self.context.zoom_factor();
        let [width, height] = self.size_pixels.map(|pixels| pixels as f32 / scale);
        let screen = Rect::from_min_size(Pos2::ZERO, Vec2::new(width, height));
        let screen = *input.screen_rect.get_or_insert(screen);
        input.max_texture_side.get_or_insert(TEXTURE_SIDE);
        input.system_theme.get_or_insert(self.theme);
        self.now_seconds = *input.time.get_or_insert(self.now_seconds + STEP_SECONDS);
        let window = input.viewports.entry(ViewportId::ROOT).or_default();
        window
            .native_pixels_per_point
            .get_or_insert(self.native_pixels_per_point);
        window.inner_rect.get_or_insert(screen);
        input
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Stage")
            .field("size_pixels", &self.size_pixels)
            .field("pixels_per_point", &self.pixels_per_point)
            .field("theme", &self.theme)
            .field("primitives", &self.primitives.len())
            .finish_non_exhaustive()
    }
}

/// Writes `picture` as PNG: the file is whole or as it was before.
pub fn write_png(path: &Path, picture: &RgbaImage) -> Result<(), StoreError> {
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes)
        .write_image(
            picture,
            picture.width(),
            picture.height(),
            ExtendedColorType::Rgba8,
        )
        .map_err(|error| {
            StoreError::io("could not be made into a PNG", path)(io::Error::other(error))
        })?;
    atomic::write_bytes(path, &bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use egui::{Color32, Event, PointerButton, pos2, vec2};

    const INK: Color32 = Color32::from_rgb(1, 200, 3);

    fn stage(pixels_per_point: f32) -> Stage {
        Stage::new(vec2(60.0, 40.0), pixels_per_point, Theme::Light)
    }

    fn square(ui: &mut Ui) {
        let square = Rect::from_min_max(pos2(10.0, 10.0), pos2(20.0, 30.0));
        ui.painter().rect_filled(square, 0.0, INK);
    }

    fn count(picture: &RgbaImage, color: Color32) -> usize {
        let pixels = picture.pixels();
        pixels.filter(|pixel| pixel.0 == color.to_array()).count()
    }

    #[test]
    fn a_picture_has_the_screen_s_scale_and_theme() {
        for (scale, zoom, size, expected) in [
            (1.0, 1.0, (60, 40), 200),
            (2.0, 1.0, (120, 80), 800),
            // Half as many points fit, and the square's lower half does not.
            (1.0, 2.0, (60, 40), 400),
        ] {
            let mut stage = stage(scale);
            stage.context().set_zoom_factor(zoom);
            for _ in 0..2 {
                stage.frame(RawInput::default(), square);
            }
            let picture = stage.picture();
            assert_eq!(picture.dimensions(), size, "{scale} {zoom}");
            // Edges are feathered: what lies wholly inside counts.
            let found = count(&picture, INK);
            assert!(
                found.abs_diff(expected) <= 120,
                "{scale} {zoom}: {found}, not about {expected}"
            );
            let corner = picture.get_pixel(0, 0).0;
            let light = Theme::Light.default_visuals().panel_fill.to_array();
            assert_eq!(corner, light, "{scale} {zoom}");
        }
    }

    #[test]
    fn frames_answer_events_and_come_to_rest() {
        let mut stage = stage(1.0);
        let mut clicks = 0;
        let mut show = |ui: &mut Ui| {
            let button = ui.put(
                Rect::from_min_size(pos2(5.0, 5.0), vec2(40.0, 20.0)),
                egui::Button::new("x"),
            );
            clicks += usize::from(button.clicked());
            if button.clicked() {
                ui.copy_text("copied".to_owned());
                ui.send_viewport_cmd(ViewportCommand::Close);
            }
        };
        assert!(stage.settle(8, &mut show), "a button rests");
        let pos = pos2(20.0, 15.0);
        let press = |pressed| Event::PointerButton {
            pos,
            button: PointerButton::Primary,
            pressed,
            modifiers: egui::Modifiers::NONE,
        };
        let events = [
            vec![Event::PointerMoved(pos)],
            vec![press(true)],
            vec![press(false)],
        ];
        let outcomes = events.map(|events| {
            let input = RawInput {
                events,
                ..RawInput::default()
            };
            stage.frame(input, &mut show)
        });
        assert!(outcomes[2].commands.contains(&ViewportCommand::Close));
        assert_eq!(outcomes[2].requests.len(), 1, "a text for the clipboard");
        assert!(stage.settle(8, &mut show), "and rests again");
        assert_eq!(clicks, 1);
        assert!(
            !stage.settle(4, |ui| ui.request_repaint()),
            "what always moves does not rest"
        );
    }

    #[test]
    fn the_same_frames_give_the_same_picture() {
        let picture = || {
            let mut stage = stage(1.25);
            stage.settle(4, |ui| drop(ui.label("W8A8 0.25 ≈ é")));
            stage.picture()
        };
        let first = picture();
        assert!(first == picture());
        let [red, green, blue, _] = first.get_pixel(0, 0).0;
        let paper = count(&first, Color32::from_rgb(red, green, blue));
        assert!(paper < 75 * 50, "text leaves ink");
    }

    #[test]
    fn a_written_picture_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shot.png");
        let picture = RgbaImage::from_fn(5, 3, |x, y| image::Rgba([x as u8, y as u8, 7, 255]));
        write_png(&path, &picture).unwrap();
        assert!(image::open(&path).unwrap().into_rgba8() == picture);
        let missing = folder.path().join("no/such/folder/shot.png");
        let error = write_png(&missing, &picture).unwrap_err().to_string();
        assert!(
            error.contains("shot.png") && error.contains("could not be created"),
            "{error}"
        );
    }
}
