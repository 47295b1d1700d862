//! Files dropped on the window; while they hover, the window says what would happen.

use crate::gui::scene::Scene;
use crate::studio::{Command, Project};
use egui::{Align2, FontId, Id, LayerId, Order, Shape, Stroke, Ui, vec2};
use std::path::{Path, PathBuf};

/// One frame.
pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>) {
    let (dropped, hovered) = ui.input(|input| {
        let dropped = input.raw.dropped_files.iter();
        let dropped: Vec<PathBuf> = dropped.map(|file| file.path().to_path_buf()).collect();
        let hovered = input.raw.hovered_files.iter();
        let hovered: Vec<Option<PathBuf>> = hovered.map(|file| file.path.clone()).collect();
        (dropped, hovered)
    });
    // Only the last one of several models would stay open.
    if let Some(path) = dropped.into_iter().next_back() {
        scene.push(Command::Take(path));
    }
    if let Some(first) = hovered.first() {
        overlay(ui, scene, &sentence(first.as_deref(), scene.project()));
    }
}

/// What dropping `path` would do.
fn sentence(path: Option<&Path>, project: Option<&Project>) -> String {
    let Some(path) = path else {
        return "Drop to open a model or a recipe".to_owned();
    };
    let name = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy();
    let is_recipe = path.extension().is_some_and(|ending| ending == "toml");
    match (is_recipe, project) {
        (true, Some(project)) => format!("Drop to read {name} as the recipe for {}", project.name),
        (true, None) => format!("Open a model before the recipe {name}"),
        (false, Some(project)) => {
            format!("Drop to open {name}; the draft of {} is kept", project.name)
        }
        (false, None) => format!("Drop to open {name}"),
    }
}

fn overlay(ui: &Ui, scene: &Scene<'_>, text: &str) {
    let rect = ui.ctx().content_rect();
    let layer = LayerId::new(Order::Foreground, Id::unique("drop overlay"));
    let painter = ui.ctx().layer_painter(layer);
    let colours = &scene.look.colours;
    painter.rect_filled(rect, 0, colours.surface.gamma_multiply(0.9));
    let inner = rect.shrink2(vec2(24.0, 24.0));
    let corners = [
        inner.left_top(),
        inner.right_top(),
        inner.right_bottom(),
        inner.left_bottom(),
        inner.left_top(),
    ];
    painter.extend(Shape::dashed_line(
        &corners,
        Stroke::new(2.0, colours.accent),
        10.0,
        8.0,
    ));
    painter.text(
        rect.center(),
        Align2::CENTER_CENTER,
        text,
        FontId::proportional(scene.look.measures.title),
        colours.strong,
    );
}
