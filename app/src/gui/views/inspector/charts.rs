//! Charts of one layer: weights before and after, what moved, channels. Draws pictures; computes none.

use super::model::Picture;
use crate::gui::look::Look;
use crate::gui::widgets::{plot, swatch};
use egui::epaint::Mesh;
use egui::{Align2, Color32, Rect, RichText, Sense, Shape, Stroke, Ui, lerp, pos2};

const HEIGHT: f32 = 112.0;

/// Weights before and after, one over the other, with the ends of what codes can stand for.
pub(super) fn weights(
    ui: &mut Ui,
    look: &Look,
    picture: &Picture,
    is_stale: bool,
    is_log: &mut bool,
) {
    let colours = &look.colours;
    ui.horizontal(|ui| {
        ui.label(RichText::new("Weights").strong());
        swatch(ui, look, colours.before, 8.0, "before");
        swatch(ui, look, after(look, is_stale), 8.0, "after");
        if !picture.pruned.is_empty() {
            let share = 100.0 * picture.pruned_share;
            let word = format!("pruned {share:.0} %");
            swatch(ui, look, colours.warning, 8.0, &word);
        }
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            ui.checkbox(is_log, "log y")
                .on_hover_text("Logarithmic heights");
        });
    });
    let (rect, response) = plot::ground(ui, look, HEIGHT, Sense::hover());
    if picture.before.is_empty() {
        return;
    }
    histogram(ui, look, rect, picture, is_stale);
    ends(ui, look, rect, picture.limit);
    if let Some(clip) = picture.clip {
        for edge in clip.into_iter().filter(|edge| edge.abs() <= picture.limit) {
            let x = lerp(rect.x_range(), 0.5 + 0.5 * edge / picture.limit);
            let dashes = Shape::dashed_line(
                &[pos2(x, rect.min.y), pos2(x, rect.max.y)],
                Stroke::new(1.0, colours.warning),
                3.0,
                3.0,
            );
            ui.painter().extend(dashes);
        }
    }
    let hover = response.hover_pos().map(|pos| {
        let share = ((pos.x - rect.min.x) / rect.width()).clamp(0.0, 1.0);
        (2.0 * share - 1.0) * picture.limit
    });
    if let Some(weight) = hover {
        let clip = picture.clip.unwrap_or([0.0; 2]);
        response.on_hover_text(format!(
            "Weight {weight:+.4}\nCodes reach from {:+.4} to {:+.4} (dashed)",
            clip[0], clip[1]
        ));
    }
}

/// Only the histograms, over each other: of the weights before, those that become zero stand out.
pub(super) fn histogram(ui: &Ui, look: &Look, rect: Rect, picture: &Picture, is_stale: bool) {
    plot::steps(
        ui,
        rect,
        &picture.before,
        look.colours.before.gamma_multiply(0.45),
    );
    plot::steps(
        ui,
        rect,
        &picture.after,
        after(look, is_stale).gamma_multiply(0.35),
    );
    if !picture.pruned.is_empty() {
        let colour = look.colours.warning;
        plot::steps(ui, rect, &picture.pruned, colour.gamma_multiply(0.3));
        plot::outline(ui, rect, &picture.pruned, Stroke::new(1.0, colour));
    }
    plot::outline(
        ui,
        rect,
        &picture.after,
        Stroke::new(1.0, after(look, is_stale)),
    );
}

/// What moved: weights after less weights before.
pub(super) fn error(ui: &mut Ui, look: &Look, picture: &Picture, is_stale: bool) {
    ui.label(RichText::new("Error of weights").strong());
    let (rect, response) = plot::ground(ui, look, 0.7 * HEIGHT, Sense::hover());
    response.on_hover_text("Weights after less weights before");
    if picture.error.is_empty() {
        let middle = rect.center();
        let text = match picture.before.is_empty() {
            true => "",
            false => "no weight moves",
        };
        return plot::label(
            ui,
            look,
            middle,
            Align2::CENTER_CENTER,
            text,
            look.colours.weak,
        );
    }
    plot::steps(
        ui,
        rect,
        &picture.error,
        after(look, is_stale).gamma_multiply(0.7),
    );
    ends(ui, look, rect, picture.error_limit);
}

/// Largest magnitude of each input channel, and those that stand out.
pub(super) fn channels(ui: &mut Ui, look: &Look, picture: &Picture, is_stale: bool) {
    let count = picture.channels.len();
    ui.horizontal(|ui| {
        ui.label(RichText::new("Channels").strong());
        ui.label(
            RichText::new(format!("largest weight of {count} inputs"))
                .small()
                .color(look.colours.weak),
        );
    });
    let (rect, response) = plot::ground(ui, look, 0.6 * HEIGHT, Sense::hover());
    if count == 0 {
        return;
    }
    let mut mesh = Mesh::default();
    let width = rect.width() / picture.strip.len() as f32;
    for (index, &height) in picture.strip.iter().enumerate() {
        let left = rect.min.x + index as f32 * width;
        let top = rect.max.y - height * rect.height();
        let bar = Rect::from_min_max(pos2(left, top), pos2(left + width, rect.max.y));
        let colour = Look::magnitude(0.25 + 0.7 * height);
        mesh.add_colored_rect(
            bar,
            if is_stale {
                colour.gamma_multiply(0.5)
            } else {
                colour
            },
        );
    }
    ui.painter().add(Shape::mesh(mesh));
    let last = (count - 1).to_string();
    foot(ui, look, rect, ["0", &last]);
    if let Some(pos) = response.hover_pos() {
        let share = ((pos.x - rect.min.x) / rect.width()).clamp(0.0, 1.0);
        let channel = &picture.channels[((share * count as f32) as usize).min(count - 1)];
        response.on_hover_text(format!(
            "Channel {}: largest weight {:.4}, error {:.2e} rms",
            channel.column, channel.abs_max, channel.error_rms
        ));
    }
    outliers(ui, look, picture);
}

fn outliers(ui: &mut Ui, look: &Look, picture: &Picture) {
    if picture.outliers.is_empty() {
        return;
    }
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 10.0;
        ui.label(RichText::new("outliers").small().color(look.colours.weak));
        for &column in &picture.outliers {
            let channel = &picture.channels[column];
            let text = RichText::new(format!("{column}: {:.3}", channel.abs_max)).small();
            ui.label(text).on_hover_text(format!(
                "Channel {column}: largest weight {:.4}, error {:.2e} rms",
                channel.abs_max, channel.error_rms
            ));
        }
    });
}

fn after(look: &Look, is_stale: bool) -> Color32 {
    match is_stale {
        true => look.colours.ghost,
        false => look.colours.after,
    }
}

fn ends(ui: &Ui, look: &Look, rect: Rect, limit: f32) {
    let text = plot::axis_text(f64::from(limit));
    foot(ui, look, rect, [&format!("−{text}"), &text]);
    let middle = pos2(rect.center().x, rect.max.y + 1.0);
    plot::label(ui, look, middle, Align2::CENTER_TOP, "0", look.colours.weak);
}

fn foot(ui: &Ui, look: &Look, rect: Rect, [left, right]: [&str; 2]) {
    let y = rect.max.y + 1.0;
    plot::label(
        ui,
        look,
        pos2(rect.min.x, y),
        Align2::LEFT_TOP,
        left,
        look.colours.weak,
    );
    plot::label(
        ui,
        look,
        pos2(rect.max.x, y),
        Align2::RIGHT_TOP,
        right,
        look.colours.weak,
    );
}
