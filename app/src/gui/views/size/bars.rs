//! One bar for each block or role: bytes before as a thin line, bytes after as one part for each layer.

use crate::gui::scene::Scene;
use crate::gui::widgets::{sign, swatch};
use crate::studio::draft::{method_name, settings_in_words};
use crate::studio::{Command, Project};
use egui::{Align2, FontId, Rect, RichText, Sense, Ui, pos2, vec2};
use pare_engine::model::LayerInfo;
use pare_engine::solved::Method;
use pare_engine::units::Bytes;
use std::sync::Arc;

/// Width of a group's name.
const NAME_WIDTH: f32 = 88.0;

/// Width of the two numbers.
const NUMBERS_WIDTH: f32 = 138.0;

/// Height of a bar's row.
const ROW_HEIGHT: f32 = 22.0;

/// What the bars remember between frames.
#[derive(Debug, Default)]
pub(super) struct Memory {
    by_role: bool,
    layers: Option<Arc<Vec<LayerInfo>>>,
    blocks: Vec<Group>,
    roles: Vec<Group>,
}

/// Layers that are drawn as one bar.
#[derive(Debug)]
struct Group {
    name: String,
    layers: Vec<usize>,
}

pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    let Some(project) = scene.project() else {
        return;
    };
    memory.group(&project.layers);
    header(ui, scene, project, memory);
    let groups = match memory.by_role {
        true => &memory.roles,
        false => &memory.blocks,
    };
    let most = groups.iter().map(|group| bytes(project, group).0).max();
    let most = most.unwrap_or(1).max(1);
    let mut asked = None;
    ui.spacing_mut().item_spacing.y = 0.0;
    for group in groups {
        if let Some(command) = row(ui, scene, project, group, most) {
            asked = Some(command);
        }
    }
    ui.spacing_mut().item_spacing.y = scene.look.measures.grid;
    legend(ui, scene, project);
    if let Some(command) = asked {
        scene.push(command);
    }
}

fn header(ui: &mut Ui, scene: &Scene<'_>, project: &Project, memory: &mut Memory) {
    let (before, after) = project.bytes();
    ui.horizontal(|ui| {
        ui.label(RichText::new("Bytes").strong());
        ui.selectable_value(&mut memory.by_role, false, "By block");
        ui.selectable_value(&mut memory.by_role, true, "By role");
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let text = format!("{} to {}", Bytes(before), Bytes(after));
            ui.label(RichText::new(text).strong());
            ui.label(RichText::new("in all").color(scene.look.colours.weak));
        });
    });
    ui.add_space(4.0);
}

/// Bytes of a group before and after.
fn bytes(project: &Project, group: &Group) -> (u64, u64) {
    let figures = group.layers.iter().map(|&layer| &project.figures[layer]);
    figures.fold((0, 0), |(before, after), figures| {
        (before + figures.bytes_before, after + figures.bytes_after)
    })
}

fn row(
    ui: &mut Ui,
    scene: &Scene<'_>,
    project: &Project,
    group: &Group,
    most: u64,
) -> Option<Command> {
    let size = vec2(ui.available_width(), ROW_HEIGHT);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    if !ui.is_rect_visible(rect) {
        return None;
    }
    let (look, painter) = (scene.look, ui.painter());
    let (before, after) = bytes(project, group);
    if response.hovered() {
        painter.rect_filled(rect, 3, look.colours.hover);
    }
    let font = FontId::proportional(look.measures.text);
    let left = rect.left_center() + vec2(4.0, 0.0);
    painter.text(
        left,
        Align2::LEFT_CENTER,
        &group.name,
        font.clone(),
        look.colours.text,
    );
    let numbers = format!("{} to {}", Bytes(before), Bytes(after));
    let right = rect.right_center() - vec2(4.0, 0.0);
    painter.text(
        right,
        Align2::RIGHT_CENTER,
        &numbers,
        font,
        look.colours.text,
    );
    let track = Rect::from_min_max(
        pos2(rect.left() + NAME_WIDTH, rect.top()),
        pos2(rect.right() - NUMBERS_WIDTH, rect.bottom()),
    );
    let parts = draw(ui, scene, project, group, track, most);
    let name = format!("{}: {numbers}", group.name);
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, &name));
    let pointed = response.hover_pos().and_then(|pos| {
        let part = parts
            .iter()
            .find(|(part, _)| part.x_range().contains(pos.x));
        part.map(|&(_, layer)| layer)
    });
    let clicked = response.clicked();
    let hover = match pointed {
        Some(layer) => part_hint(project, layer),
        None => name,
    };
    let is_hovered = response.hovered();
    response.on_hover_text_at_pointer(hover);
    if clicked {
        let layers = pointed.map_or_else(|| group.layers.clone(), |layer| vec![layer]);
        return Some(Command::SelectLayers(layers));
    }
    (is_hovered && pointed != project.hovered).then_some(Command::Hover(pointed))
}

/// Draws both bars; returns where each layer's part lies.
fn draw(
    ui: &Ui,
    scene: &Scene<'_>,
    project: &Project,
    group: &Group,
    track: Rect,
    most: u64,
) -> Vec<(Rect, usize)> {
    let (look, painter) = (scene.look, ui.painter());
    let width_of = |bytes: u64| track.width() * bytes as f32 / most as f32;
    let (before, _) = bytes(project, group);
    let line = Rect::from_min_size(track.min + vec2(0.0, 3.0), vec2(width_of(before), 3.0));
    painter.rect_filled(line, 1, look.colours.before);
    let mut parts = Vec::with_capacity(group.layers.len());
    let mut left = track.left();
    for &layer in &group.layers {
        let width = width_of(project.figures[layer].bytes_after);
        let part = Rect::from_min_size(pos2(left, track.top() + 8.0), vec2(width, 11.0));
        left += width;
        let method = project.draft().settings[layer].method;
        // A gap parts neighbours of one colour, where there is room for it.
        let drawn = match width > 3.0 {
            true => part.with_max_x(part.right() - 1.0),
            false => part,
        };
        painter.rect_filled(drawn, 1, look.method(method));
        let is_marked = project.selection.contains(layer) || project.hovered == Some(layer);
        if is_marked && width > 2.0 {
            let stroke = (1.5, look.colours.strong);
            painter.rect_stroke(drawn, 1, stroke, egui::StrokeKind::Inside);
        }
        parts.push((part, layer));
    }
    parts
}

fn part_hint(project: &Project, layer: usize) -> String {
    let (info, figures) = (&project.layers[layer], &project.figures[layer]);
    let settings = &project.draft().settings[layer];
    let method = settings_in_words(settings);
    format!(
        "{}\n{method}\n{} to {}{}\nClick to select it",
        info.name,
        Bytes(figures.bytes_before),
        sign(figures.bytes_mark),
        Bytes(figures.bytes_after)
    )
}

/// Which hue is which method, and what the thin line is.
fn legend(ui: &mut Ui, scene: &Scene<'_>, project: &Project) {
    let settings = &project.draft().settings;
    let is_met = |method: &Method| settings.iter().any(|layer| layer.method == *method);
    ui.horizontal_wrapped(|ui| {
        let look = scene.look;
        swatch(ui, look, look.colours.before, 3.0, "before");
        for method in Method::ALL.into_iter().filter(is_met) {
            swatch(ui, look, look.method(method), 10.0, method_name(method));
        }
    });
}

impl Memory {
    fn group(&mut self, layers: &Arc<Vec<LayerInfo>>) {
        if self
            .layers
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, layers))
        {
            return;
        }
        self.layers = Some(layers.clone());
        self.blocks = grouped(layers, |layer| match layer.block {
            Some(block) => format!("block {block}"),
            None => layer.role.as_str().to_owned(),
        });
        self.roles = grouped(layers, |layer| layer.role.as_str().to_owned());
    }
}

/// Groups in the order in which their first layers come.
fn grouped(layers: &[LayerInfo], name: impl Fn(&LayerInfo) -> String) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let name = name(layer);
        match groups.iter_mut().find(|group| group.name == name) {
            Some(group) => group.layers.push(index),
            None => groups.push(Group {
                name,
                layers: vec![index],
            }),
        }
    }
    groups
}
