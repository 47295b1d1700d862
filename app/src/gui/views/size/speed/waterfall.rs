//! Steps one after another: what each block, end, attention and small operation takes of a token or of a prompt.
//!
//! Lines are made once for each answer; in a frame only those in sight are drawn. A click selects layers everywhere.

use crate::gui::look::Look;
use crate::gui::scene::Scene;
use crate::gui::widgets::{elided, sign, swatch, time_text};
use crate::studio::latency::{Line, Pass, Segment, Speed, lines, part_name};
use crate::studio::selection::Join;
use crate::studio::{Command, Project};
use egui::{Align2, Color32, FontId, Rect, RichText, Sense, Ui, pos2, vec2};
use pare_engine::estimate::{Bound, TimedPart};

/// Width of a line's name.
const NAME_WIDTH: f32 = 104.0;
/// Width of its time.
const TIME_WIDTH: f32 = 74.0;
/// Height of a line.
const ROW_HEIGHT: f32 = 18.0;

/// Kinds of steps, as the legend has them.
const KINDS: [TimedPart; 5] = [
    TimedPart::Product,
    TimedPart::Attention,
    TimedPart::Small,
    TimedPart::Embedding,
    TimedPart::Fixed,
];

/// What the waterfall remembers between frames.
#[derive(Debug, Default)]
pub(super) struct Memory {
    by_step: bool,
    /// Every line begins at the left, beside the longest.
    is_aligned: bool,
    made_for: Option<(u64, Pass, bool)>,
    lines: Vec<Line>,
    /// The end of the last line.
    total: f64,
    /// The longest line.
    longest: f64,
    /// How much of all time each kind of step takes.
    shares: Vec<(TimedPart, f64)>,
}

impl Memory {
    fn follow(&mut self, project: &Project, speed: &Speed, pass: Pass) {
        let made_for = (project.latency.version, pass, self.by_step);
        if self.made_for == Some(made_for) {
            return;
        }
        self.made_for = Some(made_for);
        self.lines = lines(&speed.estimate.layers, &project.layers, pass, self.by_step);
        self.total = self.lines.iter().map(|line| line.seconds).sum();
        let seconds = self.lines.iter().map(|line| line.seconds);
        self.longest = seconds.fold(0.0, f64::max);
        self.shares = KINDS.map(|part| (part, self.share(part))).into();
        // What is less than a per cent needs no place in the legend.
        self.shares.retain(|(_, share)| *share >= 0.005);
    }
}

impl Memory {
    fn share(&self, part: TimedPart) -> f64 {
        let segments = self.lines.iter().flat_map(|line| &line.segments);
        let same = segments.filter(|segment| segment.part == part);
        same.map(|segment| segment.seconds).sum::<f64>() / self.total.max(f64::MIN_POSITIVE)
    }
}

/// The heading and all lines.
pub(super) fn show(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    memory: &mut Memory,
    (speed, pass): (&Speed, Pass),
) {
    memory.follow(project, speed, pass);
    heading(ui, scene.look, memory, speed, pass);
    // Lines may have become others.
    memory.follow(project, speed, pass);
    let size = vec2(ui.available_width(), ROW_HEIGHT * memory.lines.len() as f32);
    let (whole, _) = ui.allocate_exact_size(size, Sense::hover());
    let seen = ui.clip_rect().y_range();
    let first = ((seen.min - whole.top()) / ROW_HEIGHT).floor().max(0.0) as usize;
    let last = ((seen.max - whole.top()) / ROW_HEIGHT).ceil().max(0.0) as usize;
    for (index, line) in memory.lines.iter().enumerate().take(last).skip(first) {
        let top = whole.top() + ROW_HEIGHT * index as f32;
        let rect = Rect::from_min_size(pos2(whole.left(), top), vec2(whole.width(), ROW_HEIGHT));
        let drawn = Drawn {
            line,
            index,
            rect,
            scale: match memory.is_aligned {
                true => Scale {
                    begins: line.begins,
                    span: memory.longest,
                },
                false => Scale {
                    begins: 0.0,
                    span: memory.total,
                },
            },
        };
        row(ui, scene, project, speed, pass, &drawn);
    }
}

/// How lines are made, what their colours are, and the time of all of them.
fn heading(ui: &mut Ui, look: &Look, memory: &mut Memory, speed: &Speed, pass: Pass) {
    ui.horizontal_wrapped(|ui| {
        ui.selectable_value(&mut memory.by_step, false, "By block");
        ui.selectable_value(&mut memory.by_step, true, "By layer");
        ui.toggle_value(&mut memory.is_aligned, "Aligned")
            .on_hover_text("Every line begins at the left, beside the longest; otherwise where the one before it ends");
        if let Some(band) = speed.seconds(pass) {
            let words = match pass {
                Pass::Decode => "a token",
                Pass::Prefill => "the prompt",
            };
            let text = format!("{}{}", sign(speed.mark()), time_text(band.value));
            let (low, high) = (time_text(band.low), time_text(band.high));
            let hint = format!("{low} to {high}. {}", speed.basis());
            ui.label(RichText::new(format!("{words} {text}")).strong())
                .on_hover_text(hint);
        }
        legend(ui, look, memory);
    });
}

/// A line and where it lies.
struct Drawn<'a> {
    line: &'a Line,
    index: usize,
    rect: Rect,
    scale: Scale,
}

/// Which time the track stands for.
#[derive(Clone, Copy)]
struct Scale {
    begins: f64,
    span: f64,
}

fn row(
    ui: &mut Ui,
    scene: &mut Scene<'_>,
    project: &Project,
    speed: &Speed,
    pass: Pass,
    drawn: &Drawn<'_>,
) {
    let Drawn { line, rect, .. } = *drawn;
    let id = ui.scope_id().with(("waterfall", drawn.index));
    let response = ui.interact(rect, id, Sense::click());
    let look = scene.look;
    let is_marked =
        |layer: &usize| project.selection.contains(*layer) || project.hovered == Some(*layer);
    let fill = match (line.layers.iter().any(is_marked), response.hovered()) {
        (true, _) => Some(look.colours.accent_fill),
        (false, true) => Some(look.colours.hover),
        (false, false) => None,
    };
    if let Some(fill) = fill {
        ui.painter().rect_filled(rect, 2, fill);
    }
    texts(ui, look, drawn, speed);
    let pointed = segments(
        ui,
        look,
        project,
        drawn,
        response.hover_pos().map(|pos| pos.x),
    );
    let said = format!("{}: {}", line.name, time_text(line.seconds));
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, &said));
    let layer = pointed.and_then(|segment| segment.layer);
    let only = line
        .layers
        .first()
        .copied()
        .filter(|_| line.layers.len() == 1);
    let layer = layer.or(only);
    if response.hovered() && layer.is_some() && project.hovered != layer {
        scene.push(Command::Hover(layer));
    }
    if response.clicked() {
        let join = match ui.input(|input| input.modifiers.command) {
            true => Join::Toggle,
            false => Join::Replace,
        };
        match layer {
            Some(layer) => scene.push(Command::Select(layer, join)),
            None if !line.layers.is_empty() => {
                scene.push(Command::SelectLayers(line.layers.clone()));
            }
            None => {}
        }
    }
    response.on_hover_ui_at_pointer(|ui| hint(ui, look, project, speed, pass, line, pointed));
}

fn texts(ui: &Ui, look: &Look, drawn: &Drawn<'_>, speed: &Speed) {
    let Drawn { line, rect, .. } = *drawn;
    let font = FontId::proportional(look.measures.text);
    let name = elided(ui, &line.name, NAME_WIDTH - 10.0);
    let painter = ui.painter();
    painter.text(
        pos2(rect.left() + 4.0, rect.center().y),
        Align2::LEFT_CENTER,
        name,
        font.clone(),
        look.colours.text,
    );
    painter.text(
        pos2(rect.right() - 4.0, rect.center().y),
        Align2::RIGHT_CENTER,
        format!("{}{}", sign(speed.mark()), time_text(line.seconds)),
        font,
        look.colours.text,
    );
}

/// Draws all stretches; returns the one at `across`.
fn segments(
    ui: &Ui,
    look: &Look,
    project: &Project,
    drawn: &Drawn<'_>,
    across: Option<f32>,
) -> Option<Segment> {
    let Drawn {
        line, rect, scale, ..
    } = *drawn;
    let track = Rect::from_min_max(
        pos2(rect.left() + NAME_WIDTH, rect.top() + 3.0),
        pos2(rect.right() - TIME_WIDTH, rect.bottom() - 3.0),
    );
    let place = |seconds: f64| {
        let share = (seconds - scale.begins) / scale.span.max(f64::MIN_POSITIVE);
        track.left() + track.width() * share as f32
    };
    let mut pointed = None;
    for segment in &line.segments {
        let (left, right) = (
            place(segment.begins),
            place(segment.begins + segment.seconds),
        );
        // What is too short to be seen is still seen to be there.
        let shown = Rect::from_x_y_ranges(left..=right.max(left + 0.75), track.y_range());
        let part = match right - left > 4.0 {
            true => shown.with_max_x(right - 1.0),
            false => shown,
        };
        ui.painter()
            .rect_filled(part, 1, colour(look, segment.part));
        if let Some(layer) = segment.layer
            && right - left > 4.0
            && (project.selection.contains(layer) || project.hovered == Some(layer))
        {
            let stroke = (1.5, look.colours.strong);
            ui.painter()
                .rect_stroke(part, 1, stroke, egui::StrokeKind::Inside);
        }
        if across.is_some_and(|across| (left..right).contains(&across)) {
            pointed = Some(*segment);
        }
    }
    pointed
}

fn hint(
    ui: &mut Ui,
    look: &Look,
    project: &Project,
    speed: &Speed,
    pass: Pass,
    line: &Line,
    pointed: Option<Segment>,
) {
    let share = |seconds: f64| {
        let all = speed.seconds(pass).map_or(seconds, |band| band.value);
        100.0 * seconds / all.max(f64::MIN_POSITIVE)
    };
    let only = (line.segments.len() == 1).then(|| line.segments[0]);
    if let Some(segment) = pointed.or(only) {
        step_hint(ui, project, speed, pass, segment.step);
        ui.label(format!("{:.1} % of all", share(segment.seconds)));
    }
    if only.is_none() {
        let text = format!(
            "{}: {}, {:.1} %",
            line.name,
            time_text(line.seconds),
            share(line.seconds)
        );
        ui.label(RichText::new(text).color(look.colours.weak));
    }
}

/// A step in words: its name, its time with the band, what it waits for.
pub(super) fn step_hint(ui: &mut Ui, project: &Project, speed: &Speed, pass: Pass, place: usize) {
    let Some(step) = speed.estimate.layers.get(place) else {
        return;
    };
    ui.label(match step.layer {
        Some(layer) => &project.layers[layer].name,
        None => &step.name,
    });
    if let Some(time) = pass.of(step) {
        ui.label(format!(
            "{}{} ({} – {}), {}",
            sign(speed.mark()),
            time_text(time.milliseconds / 1e3),
            time_text(time.low / 1e3),
            time_text(time.high / 1e3),
            bound_words(time.bound_by)
        ));
    }
}

fn bound_words(bound: Bound) -> &'static str {
    match bound {
        Bound::Memory => "bound by memory",
        Bound::Compute => "bound by compute",
        Bound::Launch => "bound by starting it",
    }
}

/// The colour of a step; the legend and the hover say it in words.
pub(super) fn colour(look: &Look, part: TimedPart) -> Color32 {
    match part {
        TimedPart::Product => look.colours.after,
        TimedPart::Attention => look.colours.warning,
        TimedPart::Small => look.colours.good,
        TimedPart::Embedding | TimedPart::Fixed => look.colours.before,
    }
}

/// What each colour is, and how much of all it takes.
fn legend(ui: &mut Ui, look: &Look, memory: &Memory) {
    for &(part, share) in &memory.shares {
        let text = format!("{} {:.0} %", part_name(part), 100.0 * share);
        swatch(ui, look, colour(look, part), 10.0, &text);
    }
}
