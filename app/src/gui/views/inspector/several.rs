//! Several layers at once: a small picture of each, the one at the cursor first.

use super::{Memory, charts};
use crate::gui::look::Look;
use crate::gui::scene::Scene;
use crate::gui::widgets::{self, error_text, plot, sign};
use crate::studio::draft::short_words;
use crate::studio::estimates::MOST_PREVIEWS;
use crate::studio::selection::Join;
use crate::studio::{Command, Project};
use egui::{Align2, Rect, RichText, Role, Sense, Ui, WidgetInfo, pos2, vec2};

const CARD: [f32; 2] = [176.0, 104.0];

/// One card for each layer previewed.
pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory, project: &Project) {
    let gap = 8.0;
    let columns = ((ui.available_width() + gap) / (CARD[0] + gap))
        .floor()
        .max(1.0);
    let width = (ui.available_width() - gap * (columns - 1.0)) / columns;
    ui.spacing_mut().item_spacing = vec2(gap, gap);
    for row in project.preview.asked.chunks(columns as usize) {
        ui.horizontal(|ui| {
            for &(layer, _) in row {
                card(ui, scene, memory, project, layer, width);
            }
        });
    }
    let others = project
        .selection
        .layers()
        .len()
        .saturating_sub(MOST_PREVIEWS);
    if others > 0 {
        let text = format!("and {others} more; the first {MOST_PREVIEWS} are shown");
        ui.label(RichText::new(text).color(scene.look.colours.weak));
    }
}

fn card(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    memory: &mut Memory,
    project: &Project,
    layer: usize,
    width: f32,
) {
    let name = &project.layers[layer].name;
    let (rect, response) = ui.allocate_exact_size(vec2(width, CARD[1]), Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, format!("Inspect {name}")));
    let look = scene.look;
    let ground = match response.hovered() {
        true => look.colours.hover,
        false => look.colours.sunken,
    };
    ui.painter().rect_filled(rect, look.measures.corner, ground);
    let inner = rect.shrink(6.0);
    let text = widgets::elided(ui, name, inner.width());
    plot::label(
        ui,
        look,
        inner.min,
        Align2::LEFT_TOP,
        &text,
        look.colours.text,
    );
    let is_stale = project.answer(layer).is_some_and(|(_, is_fresh)| !is_fresh)
        && project.measured_now(layer).is_none();
    let picture = memory.pictures.of(project, layer, memory.is_log);
    let middle = Rect::from_min_max(
        inner.min + vec2(0.0, 16.0),
        pos2(inner.max.x, inner.max.y - 16.0),
    );
    if picture.before.is_empty() {
        plot::label(
            ui,
            look,
            middle.center(),
            Align2::CENTER_CENTER,
            "computing…",
            look.colours.weak,
        );
    } else {
        charts::histogram(ui, look, middle, picture, is_stale);
    }
    foot(ui, look, project, layer, inner);
    if response.on_hover_text(name.as_str()).clicked() {
        scene.push(Command::Select(layer, Join::Replace));
    }
}

fn foot(ui: &Ui, look: &Look, project: &Project, layer: usize, inner: Rect) {
    let settings = short_words(&project.draft().settings[layer]);
    plot::label(
        ui,
        look,
        inner.left_bottom(),
        Align2::LEFT_BOTTOM,
        &settings,
        look.colours.weak,
    );
    let error = project.figures[layer].error;
    let text = error.map_or_else(
        || "…".to_owned(),
        |error| format!("error {}{}", sign(error.mark), error_text(error.value)),
    );
    plot::label(
        ui,
        look,
        inner.right_bottom(),
        Align2::RIGHT_BOTTOM,
        &text,
        look.colours.text,
    );
}
