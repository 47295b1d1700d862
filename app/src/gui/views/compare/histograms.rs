//! Weights of the selected layer on both sides, over those of the original.

use crate::gui::scene::Scene;
use crate::studio::runs::RunId;
use egui::{Color32, RichText, Ui, vec2};
use egui_plot::{Line, LineStyle, Plot, PlotPoints};
use pare_engine::report::{Histogram, LayerReport};

/// Height of the plot in points.
const HEIGHT: f32 = 150.0;

pub(super) fn show(ui: &mut Ui, scene: &Scene<'_>, names: &[String; 2]) {
    let layer = scene.project().and_then(|project| {
        let layer = project.selection.cursor()?;
        project.layers.get(layer)
    });
    let Some(layer) = layer else {
        ui.weak(
            "Select a layer in the list above, or in any view, to see its weights on both sides",
        );
        return;
    };
    let (left, right) = scene.studio.compared;
    let sides = [left, right].map(|id| report(scene, id, &layer.name));
    let drawn = |side: &Option<&LayerReport>| side.is_some_and(|side| side.histograms.is_some());
    if !sides.iter().any(drawn) {
        ui.weak("Neither run kept histograms of this layer");
        return;
    }
    let colours = &scene.look.colours;
    let before = sides.iter().flatten();
    let before = before.filter_map(|side| side.histograms.as_ref()).next();
    let mut lines = Vec::new();
    if let Some(histograms) = before {
        lines.push((
            "original".to_owned(),
            &histograms.before,
            colours.before,
            LineStyle::Solid,
        ));
    }
    let looks = [
        (colours.warning, LineStyle::dashed_loose()),
        (colours.after, LineStyle::Solid),
    ];
    for ((side, name), (colour, style)) in sides.iter().zip(names).zip(looks) {
        if let Some(histograms) = side.and_then(|side| side.histograms.as_ref()) {
            lines.push((name.clone(), &histograms.after, colour, style));
        }
    }
    legend(ui, &layer.name, &lines);
    Plot::new("weights compared")
        .height(HEIGHT)
        .allow_scroll(false)
        .show_y(false)
        .y_axis_formatter(|mark, _| share_text(mark.value))
        .show(ui, |plot| {
            for (name, histogram, colour, style) in lines {
                let line = Line::new(name, PlotPoints::new(outline(histogram)));
                plot.line(line.color(colour).style(style).width(1.5));
            }
        });
}

fn legend(ui: &mut Ui, layer: &str, lines: &[(String, &Histogram, Color32, LineStyle)]) {
    ui.horizontal_wrapped(|ui| {
        for (name, _, colour, style) in lines {
            let stroke = match style {
                LineStyle::Solid => "—",
                _ => "- -",
            };
            ui.label(RichText::new(format!("{stroke} {name}")).color(*colour));
        }
        ui.add_sized(
            vec2(ui.available_width(), 0.0),
            egui::Label::new(RichText::new(layer).weak()).truncate(),
        );
    });
}

fn report<'a>(scene: &Scene<'a>, id: Option<RunId>, name: &str) -> Option<&'a LayerReport> {
    let run = scene.studio.run(id?)?;
    let layers = &run.report.as_ref()?.layers;
    layers.iter().find(|layer| layer.name == name)
}

/// log10(1 + count) at the middle of each bin that lies within the outermost filled ones: 256 points at most.
fn outline(histogram: &Histogram) -> Vec<[f64; 2]> {
    let filled = |(_, count): &(usize, &u64)| **count > 0;
    let counts = || histogram.counts.iter().enumerate();
    let first = counts().find(filled).map_or(0, |(bin, _)| bin);
    let last = counts().rev().find(filled).map_or(0, |(bin, _)| bin);
    let width = 2.0 * f64::from(histogram.limit) / histogram.counts.len().max(1) as f64;
    let middle = |bin: usize| (bin as f64 + 0.5) * width - f64::from(histogram.limit);
    let inside = counts().skip(first).take(last + 1 - first);
    inside
        .map(|(bin, &count)| [middle(bin), (1.0 + count as f64).log10()])
        .collect()
}

/// Marks of the logarithmic axis, as counts.
fn share_text(exponent: f64) -> String {
    match exponent {
        exponent if exponent < 0.0 || exponent.fract() != 0.0 => String::new(),
        exponent => format!("{:.0}", 10f64.powf(exponent)),
    }
}
