//! Which columns the room holds, and their headers.
//!
//! The name takes what is left; columns that matter less go first where the pane is narrow, so that nothing has to be
//! scrolled sideways in a pane of common width. Knows no row.

use crate::gui::look::Look;
use crate::gui::scene::Scene;
use crate::studio::Command;
use crate::studio::rows::{Sort, SortKey};
use egui::{Align, Align2, FontId, Id, Rect, Role, Sense, Ui, WidgetInfo, pos2};
use egui_material_icons::icons::{ICON_ARROW_DOWNWARD, ICON_ARROW_UPWARD};

/// Space at both sides of a cell.
pub(super) const PADDING: f32 = 6.0;
const LEAST_NAME: f32 = 136.0;
const MOST_NAME: f32 = 380.0;
const MOST_SHARE: f32 = 160.0;

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Name,
    Role,
    Shape,
    Method,
    Bits,
    Group,
    Zeros,
    BitsPerWeight,
    Before,
    After,
    Share,
    Error,
    Latency,
    State,
}

/// A column and its width.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    pub(super) column: Column,
    pub(super) width: f32,
}

/// From left to right.
const ORDER: [Column; 14] = [
    Column::Name,
    Column::Role,
    Column::Shape,
    Column::Method,
    Column::Bits,
    Column::Group,
    Column::Zeros,
    Column::BitsPerWeight,
    Column::Before,
    Column::After,
    Column::Share,
    Column::Error,
    Column::Latency,
    Column::State,
];

/// Shown where there is room, the most useful first.
const OPTIONAL: [Column; 5] = [
    Column::Latency,
    Column::Share,
    Column::Shape,
    Column::Before,
    Column::Role,
];

/// Dropped where even the rest has no room, the least useful first.
const LEAST: [Column; 2] = [Column::Group, Column::BitsPerWeight];

/// Rooms narrower than this have tight columns.
const TIGHT: f32 = 640.0;

impl Column {
    /// Its width in a narrow pane: enough for what it holds nearly always.
    fn tight_width(self) -> f32 {
        match self {
            Self::Name => 124.0,
            Self::Method => 62.0,
            Self::Bits => 38.0,
            Self::Group => 48.0,
            Self::Zeros => 64.0,
            Self::BitsPerWeight => 44.0,
            Self::After => 62.0,
            Self::Error => 66.0,
            Self::Latency => 74.0,
            Self::State => 36.0,
            column => column.width(),
        }
    }

    fn width(self) -> f32 {
        match self {
            Self::Name => LEAST_NAME,
            Self::Role => 92.0,
            Self::Shape => 88.0,
            Self::Method => 64.0,
            Self::Bits => 48.0,
            Self::Group => 56.0,
            Self::Zeros => 72.0,
            Self::BitsPerWeight => 48.0,
            Self::Before | Self::After => 76.0,
            Self::Share => 80.0,
            Self::Error => 72.0,
            Self::Latency => 80.0,
            Self::State => 44.0,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Name => "Name",
            Self::Role => "Role",
            Self::Shape => "Shape",
            Self::Method => "Method",
            Self::Bits => "Bits",
            Self::Group => "Group",
            Self::Zeros => "Zeros",
            Self::BitsPerWeight => "bpw",
            Self::Before => "Before",
            Self::After => "After",
            Self::Share => "Size",
            Self::Error => "Error",
            Self::Latency => "Latency",
            Self::State => "",
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::Name => "Name as in the file",
            Self::Role => "What the layer does in the network",
            Self::Shape => "Outputs × inputs",
            Self::Method => "How the layer is quantized",
            Self::Bits => "Bits of a code",
            Self::Group => "Weights that share a scale; row is one scale for each output",
            Self::Zeros => "Weights that become zero: share, or N of M that stay",
            Self::BitsPerWeight => "Stored bits for each weight, scales and zeros included",
            Self::Before => "Size in the file that was opened",
            Self::After => "Size that will be written",
            Self::Share => "Size before and after, beside the largest layer shown",
            Self::Error => "Relative error of the layer's output",
            Self::Latency => {
                "Time of each token that is written on the chosen device; of an encoder, of the prompt"
            }
            Self::State => "What the last run made of the layer, and its lock",
        }
    }

    fn sort_key(self) -> Option<SortKey> {
        Some(match self {
            Self::Name => SortKey::Name,
            Self::Role => SortKey::Role,
            Self::Shape => SortKey::Shape,
            Self::Method => SortKey::Method,
            Self::Bits => SortKey::Bits,
            Self::Group => SortKey::Group,
            Self::Zeros => SortKey::Zeros,
            Self::BitsPerWeight => SortKey::BitsPerWeight,
            Self::Before => SortKey::Before,
            Self::After => SortKey::After,
            Self::Error => SortKey::Error,
            Self::Latency => SortKey::Latency,
            Self::Share | Self::State => return None,
        })
    }

    /// Where its text begins: numerals end at the right.
    pub(super) fn align(self) -> Align {
        match self {
            Self::Name | Self::Role | Self::Method | Self::Share => Align::LEFT,
            _ => Align::RIGHT,
        }
    }
}

/// The unit that sizes of a table are written in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Unit {
    pub(super) word: &'static str,
    bytes: f64,
}

impl Unit {
    /// The largest unit that leaves the largest size at least four digits, so that small layers keep some.
    pub(super) fn of_most(bytes: u64) -> Self {
        let units = [("GB", 1e9), ("MB", 1e6)];
        let fits = |&(_, unit): &(&str, f64)| bytes as f64 >= 1e4 * unit / 1e3;
        let (word, bytes) = units.into_iter().find(fits).unwrap_or(("kB", 1e3));
        Self { word, bytes }
    }

    /// `bytes` in this unit.
    pub(super) fn text(self, bytes: u64) -> String {
        format!("{:.1}", bytes as f64 / self.bytes)
    }
}

/// The columns that `room` points hold; that of zeros only where there are some.
pub(super) fn layout(room: f32, has_zeros: bool) -> Vec<Placed> {
    let mut shown: Vec<Column> = ORDER
        .into_iter()
        .filter(|column| !OPTIONAL.contains(column))
        .filter(|column| has_zeros || *column != Column::Zeros)
        .collect();
    let width_of = |column: Column| match room < TIGHT {
        true => column.tight_width(),
        false => column.width(),
    };
    let mut used: f32 = shown.iter().map(|column| width_of(*column)).sum();
    for column in LEAST {
        if used <= room {
            break;
        }
        used -= width_of(column);
        shown.retain(|kept| *kept != column);
    }
    for column in OPTIONAL {
        if used + width_of(column) > room {
            break;
        }
        used += width_of(column);
        shown.push(column);
    }
    let spare = (room - used).max(0.0);
    let name = spare.min(MOST_NAME - LEAST_NAME);
    let share = (spare - name).min(MOST_SHARE - Column::Share.width());
    let wider = |column| match column {
        Column::Name => name,
        Column::Share => share,
        _ => 0.0,
    };
    ORDER
        .into_iter()
        .filter(|column| shown.contains(column))
        .map(|column| Placed {
            column,
            width: (width_of(column) + wider(column)).floor(),
        })
        .collect()
}

/// One header: a click sorts.
pub(super) fn header(ui: &mut Ui, scene: &mut Scene<'_>, placed: Placed, sort: Sort, unit: Unit) {
    let Placed { column, .. } = placed;
    let rect = ui.max_rect();
    let key = column.sort_key();
    let sense = match key {
        Some(_) => Sense::CLICK,
        None => Sense::HOVER,
    };
    let id = Id::unique(("layers header", column.title()));
    let response = ui.interact(rect, id, sense);
    if let Some(key) = key {
        let label = format!("Sort by {}", column.title().to_lowercase());
        response.widget_info(|| WidgetInfo::labeled(Role::ColumnHeader, true, &label));
        if response.clicked() {
            scene.push(Command::Sort(key));
        }
    }
    let sorted = key.filter(|key| *key == sort.key && *key != SortKey::Model);
    paint(
        ui,
        scene.look,
        rect,
        column,
        (sorted.map(|_| sort.descending), unit),
        response.hovered(),
    );
    response.on_hover_text(column.hint());
}

fn paint(
    ui: &Ui,
    look: &Look,
    rect: Rect,
    column: Column,
    (descending, unit): (Option<bool>, Unit),
    hovered: bool,
) {
    let painter = ui.painter();
    let font = FontId::proportional(look.measures.text);
    let small = FontId::proportional(look.measures.small);
    let (weak, strong) = (look.colours.weak, look.colours.strong);
    let colour = match hovered || descending.is_some() {
        true => strong,
        false => weak,
    };
    let arrow = descending.map(|descending| match descending {
        true => ICON_ARROW_DOWNWARD.codepoint,
        false => ICON_ARROW_UPWARD.codepoint,
    });
    let unit = match column {
        Column::Before | Column::After => Some(unit.word),
        Column::Latency => Some("µs"),
        _ => None,
    };
    let inner = rect.shrink2(egui::vec2(PADDING, 0.0));
    let y = rect.center().y;
    if column.align() == Align::LEFT {
        let title = painter.text(
            pos2(inner.left(), y),
            Align2::LEFT_CENTER,
            column.title(),
            font,
            colour,
        );
        if let Some(arrow) = arrow {
            painter.text(
                pos2(title.right() + 2.0, y),
                Align2::LEFT_CENTER,
                arrow,
                small,
                strong,
            );
        }
        return;
    }
    let mut right = inner.right();
    if let Some(unit) = unit {
        let drawn = painter.text(
            pos2(right, y),
            Align2::RIGHT_CENTER,
            unit,
            small.clone(),
            weak,
        );
        right = drawn.left() - 4.0;
    }
    let drawn = painter.text(
        pos2(right, y),
        Align2::RIGHT_CENTER,
        column.title(),
        font,
        colour,
    );
    if let Some(arrow) = arrow {
        painter.text(
            pos2(drawn.left() - 2.0, y),
            Align2::RIGHT_CENTER,
            arrow,
            small,
            strong,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fill_the_room_and_never_leave_it() {
        let rooms = [480.0, 557.0, 640.0, 768.0, 960.0, 1400.0, 2400.0_f32];
        for (room, has_zeros) in rooms
            .into_iter()
            .flat_map(|room| [(room, false), (room, true)])
        {
            let placed = layout(room, has_zeros);
            let width: f32 = placed.iter().map(|placed| placed.width).sum();
            let columns: Vec<Column> = placed.iter().map(|placed| placed.column).collect();
            assert!(width <= room, "{room}: {width} by {columns:?}");
            let has_column = columns.contains(&Column::Zeros);
            assert_eq!(has_column, has_zeros, "{room}: {columns:?}");
            assert_eq!(columns[0], Column::Name);
            assert!(columns.contains(&Column::Error), "{room}: {columns:?}");
        }
        let has_latency = |placed: &Placed| placed.column == Column::Latency;
        assert!(
            layout(556.0, false).iter().any(has_latency),
            "at 1024 pixels"
        );
        assert_eq!(layout(1400.0, true).len(), ORDER.len());
        assert_eq!(layout(1400.0, false).len(), ORDER.len() - 1);
    }

    #[test]
    fn units_keep_small_layers_readable() {
        let cases = [
            (1_310_720, "kB", "1310.7"),
            (9_999_000, "kB", "9999.0"),
            (524_288_000, "MB", "524.3"),
            (20_000_000_000, "GB", "20.0"),
        ];
        for (bytes, word, text) in cases {
            let unit = Unit::of_most(bytes);
            assert_eq!((unit.word, unit.text(bytes).as_str()), (word, text));
        }
    }
}
