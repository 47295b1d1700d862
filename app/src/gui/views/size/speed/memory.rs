//! What memory is made of, against what the device has.

use crate::gui::look::Look;
use crate::studio::devices::Entry;
use crate::studio::latency::Demand;
use egui::{Color32, Rect, RichText, Sense, Ui, vec2};
use pare_engine::estimate::MemoryBytes;
use pare_engine::units::Bytes;

/// Height of the bar.
const HEIGHT: f32 = 14.0;

/// The bar, its parts in words, and whether all fits.
pub(super) fn show(ui: &mut Ui, look: &Look, demand: &Demand, device: Entry<'_>) {
    let parts = parts(look, &demand.memory);
    bar(ui, look, demand, device, &parts);
    ui.horizontal_wrapped(|ui| {
        let colour = match demand.spare_bytes() {
            Some(spare) if spare >= 0 => look.colours.good,
            Some(_) => look.colours.error,
            None => look.colours.weak,
        };
        ui.label(RichText::new(verdict(demand)).color(colour))
            .on_hover_text(words(demand, device));
        for (name, bytes, colour, hint) in parts {
            let (rect, _) = ui.allocate_exact_size(vec2(10.0, 10.0), Sense::hover());
            ui.painter().rect_filled(rect, 2, colour);
            let text = format!("{name} {}", Bytes(bytes));
            ui.label(RichText::new(text).small()).on_hover_text(hint);
        }
    });
}

/// A name, its bytes, its colour, and what it is.
type Part = (&'static str, u64, Color32, &'static str);

fn parts(look: &Look, memory: &MemoryBytes) -> [Part; 3] {
    let colours = &look.colours;
    [
        (
            "weights",
            memory.weights,
            colours.accent,
            "All tensors as they are held while they run",
        ),
        (
            "KV cache",
            memory.kv_cache,
            colours.good,
            "Keys and values of every token of the context",
        ),
        (
            "activations",
            memory.activations,
            colours.warning,
            "Working values while the prompt is read",
        ),
    ]
}

fn bar(ui: &mut Ui, look: &Look, demand: &Demand, device: Entry<'_>, parts: &[Part]) {
    let needed = demand.memory.total;
    let room = demand.room_bytes.unwrap_or(needed);
    let full = room.max(needed).max(1);
    let size = vec2(ui.available_width(), HEIGHT);
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    let painter = ui.painter();
    painter.rect_filled(rect, 3, look.colours.sunken);
    let width = |bytes: u64| rect.width() * (bytes as f64 / full as f64) as f32;
    let mut left = rect.left();
    for &(_, bytes, colour, _) in parts {
        let right = left + width(bytes);
        let part = Rect::from_x_y_ranges(left..=right, rect.y_range());
        painter.rect_filled(part, 2, colour);
        left = right;
    }
    // Where too much is needed, the end of what there is cuts the bar.
    if room < needed {
        let line = (2.0, look.colours.error);
        let end = rect.left() + width(room);
        painter.vline(end, rect.expand2(vec2(0.0, 2.0)).y_range(), line);
    }
    let line = (1.0, look.colours.line);
    painter.rect_stroke(rect, 3, line, egui::StrokeKind::Inside);
    let said = format!("Memory: {}", verdict(demand));
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, &said));
    response.on_hover_text_at_pointer(words(demand, device));
}

fn words(demand: &Demand, device: Entry<'_>) -> String {
    let needed = Bytes(demand.memory.total);
    match (demand.room_bytes, device.profile) {
        (Some(room), Some(profile)) => format!(
            "{needed} of {} that {} has\n{}: {}",
            Bytes(room),
            device.name,
            profile.memory_gb.basis.word(),
            profile.memory_gb.source
        ),
        (Some(room), None) => format!("{needed} of {} that were free when Pare began", Bytes(room)),
        (None, _) => format!("{needed}; the memory of {} is not known", device.name),
    }
}

/// Whether it fits, and by how much.
fn verdict(demand: &Demand) -> String {
    let Some(spare) = demand.spare_bytes() else {
        return format!("{} needed", Bytes(demand.memory.total));
    };
    let size = Bytes(u64::try_from(spare.unsigned_abs()).unwrap_or(u64::MAX));
    match spare >= 0 {
        true => format!("Fits, {size} free"),
        false => format!("Does not fit by {size}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_say_by_how_much() {
        for (room_bytes, expected) in [
            (Some(3_000_000), "Fits, 1.0 MB free"),
            (Some(2_000_000), "Fits, 0 B free"),
            (Some(500_000), "Does not fit by 1.5 MB"),
            (None, "2.0 MB needed"),
        ] {
            let memory = MemoryBytes {
                total: 2_000_000,
                ..MemoryBytes::default()
            };
            let demand = Demand { memory, room_bytes };
            assert_eq!(verdict(&demand), expected, "{room_bytes:?}");
        }
    }
}
