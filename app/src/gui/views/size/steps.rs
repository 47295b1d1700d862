//! Bytes saved and loss step by step, in the order in which a run does them: structure, zeros, codes, factors.
//!
//! Made once for each draft and each run that ends. What no run measured has no figure; a click takes the step as the draft,
//! so that a run of it measures it.

use crate::gui::look::Look;
use crate::gui::scene::Scene;
use crate::gui::widgets::{error_text, sign};
use crate::studio::draft::Draft;
use crate::studio::figure::Mark;
use crate::studio::runs::RunId;
use crate::studio::steps::{Step, StepKind, steps};
use crate::studio::{Command, Project, Studio};
use egui::{Align2, Color32, FontId, Rect, RichText, Sense, Ui, pos2, vec2};
use pare_engine::units::Bytes;
use std::sync::Arc;

/// Width of a step's name.
const NAME_WIDTH: f32 = 84.0;
/// Width of the bytes that it saves.
const BYTES_WIDTH: f32 = 92.0;
/// Width of the loss.
const LOSS_WIDTH: f32 = 176.0;
/// Height of a step.
const ROW_HEIGHT: f32 = 24.0;

/// What the steps remember between frames.
#[derive(Debug, Default)]
pub(super) struct Memory {
    made_for: Option<MadeFor>,
    steps: Vec<Step>,
}

/// What the steps follow from. The draft is held, so that no other can have its address.
#[derive(Debug)]
struct MadeFor {
    draft: Arc<Draft>,
    measured: Vec<RunId>,
    smaller: u64,
}

impl Memory {
    fn follow(&mut self, studio: &Studio, project: &Project) {
        let measured = || {
            let runs = studio.runs_of_model().filter(|run| run.loss().is_some());
            runs.map(|run| run.id)
        };
        let draft = project.draft();
        let is_fresh = self.made_for.as_ref().is_some_and(|made_for| {
            Arc::ptr_eq(&made_for.draft, draft)
                && made_for.smaller == project.smaller.version
                && made_for.measured.iter().copied().eq(measured())
        });
        if !is_fresh {
            self.made_for = Some(MadeFor {
                draft: draft.clone(),
                measured: measured().collect(),
                smaller: project.smaller.version,
            });
            self.steps = steps(project, studio.runs_of_model());
        }
    }
}

/// A line for each step.
pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project, memory: &mut Memory) {
    memory.follow(scene.studio, project);
    let loss = match project.session.is_encoder() {
        true => "1 − cosine",
        false => "KL",
    };
    heading(ui, scene.look, project, loss);
    if memory.steps.is_empty() {
        let text = "The draft leaves the network as it is; choose bits, zeros or a structure to see what each saves";
        ui.label(RichText::new(text).color(scene.look.colours.weak));
        return;
    }
    let whole = project.bytes().0;
    let last = memory.steps.len() - 1;
    for (index, step) in memory.steps.iter().enumerate() {
        ui.horizontal(|ui| row(ui, scene, step, (whole, loss, index == last)));
    }
    if memory.steps.iter().any(|step| step.loss.is_none()) {
        let text = "– : no run measured this step; take it as the draft and run it, then undo";
        let text = RichText::new(text).small().color(scene.look.colours.weak);
        ui.label(text);
    }
}

fn heading(ui: &mut Ui, look: &Look, project: &Project, loss: &str) {
    let before = Bytes(project.bytes().0);
    ui.horizontal_wrapped(|ui| {
        ui.label(RichText::new("Steps").strong());
        let text = match project.planned_bytes() {
            Some(Ok(after)) => format!("{before} to {}", Bytes(after)),
            _ => format!("{before} to –"),
        };
        ui.label(RichText::new(text).strong());
        let words = format!("bytes from the plan, {loss} as runs measured it");
        ui.label(RichText::new(words).color(look.colours.weak));
    });
}

fn row(ui: &mut Ui, scene: &mut Scene<'_>, step: &Step, (whole, loss, is_last): (u64, &str, bool)) {
    let look = scene.look;
    let size = vec2(ui.available_width() - LOSS_WIDTH, ROW_HEIGHT);
    let (rect, response) = ui.allocate_exact_size(size.max(vec2(160.0, 0.0)), Sense::hover());
    let font = FontId::proportional(look.measures.text);
    let left = rect.left_center() + vec2(4.0, 0.0);
    let painter = ui.painter();
    painter.text(
        left,
        Align2::LEFT_CENTER,
        step.kind.name(),
        font.clone(),
        look.colours.text,
    );
    let track = Rect::from_min_max(
        pos2(rect.left() + NAME_WIDTH, rect.top() + 4.0),
        pos2(rect.right() - BYTES_WIDTH, rect.bottom() - 4.0),
    );
    painter.rect_filled(track, 1, look.colours.sunken);
    let mut said = format!("{}: size not known before the run", step.kind.name());
    if let (Some(before), Some(after)) = (step.bytes_before, step.bytes_after) {
        bar(
            ui,
            look,
            step.kind,
            track,
            [before, after].map(|bytes| bytes as f32 / whole.max(1) as f32),
        );
        let text = change_text(before, after);
        said = format!("{}: {text}, {} are left", step.kind.name(), Bytes(after));
        painter.text(
            rect.right_center() - vec2(6.0, 0.0),
            Align2::RIGHT_CENTER,
            text,
            font,
            look.colours.text,
        );
    } else {
        painter.text(
            rect.right_center() - vec2(6.0, 0.0),
            Align2::RIGHT_CENTER,
            "–",
            font,
            look.colours.weak,
        );
    }
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, &said));
    response.on_hover_text(said.as_str());
    measured(ui, scene, step, (loss, is_last));
}

/// What stays is solid, what goes is hollow; what comes on top stands out.
fn bar(ui: &Ui, look: &Look, kind: StepKind, track: Rect, [before, after]: [f32; 2]) {
    let place = |share: f32| track.left() + track.width() * share.min(1.0);
    let painter = ui.painter();
    let kept = Rect::from_x_y_ranges(track.left()..=place(before.min(after)), track.y_range());
    painter.rect_filled(kept, 1, look.colours.before.gamma_multiply(0.5));
    let (from, to) = (place(before.min(after)), place(before.max(after)));
    let moved = Rect::from_x_y_ranges(from..=to, track.y_range());
    match after > before {
        true => painter.rect_filled(moved, 1, look.colours.warning),
        false => painter.rect_filled(moved, 1, colour(look, kind)),
    };
}

fn colour(look: &Look, kind: StepKind) -> Color32 {
    match kind {
        StepKind::Structure => look.colours.good,
        StepKind::Zeros => look.colours.accent,
        StepKind::Codes | StepKind::Factors => look.colours.after,
    }
}

fn change_text(before: u64, after: u64) -> String {
    match after > before {
        true => format!("+{}", Bytes(after - before)),
        false => format!("−{}", Bytes(before - after)),
    }
}

/// The loss of this step and all before it, and what this one added.
fn measured(ui: &mut Ui, scene: &mut Scene<'_>, step: &Step, (loss, is_last): (&str, bool)) {
    let look = scene.look;
    let Some(found) = step.loss else {
        ui.label(RichText::new(format!("{loss} –")).color(look.colours.weak));
        if is_last {
            ui.label(
                RichText::new("run the draft")
                    .small()
                    .color(look.colours.weak),
            )
            .on_hover_text("This step is the draft: its run measures it");
            return;
        }
        let name = format!("Take as draft up to {}", step.kind.name());
        let button = ui.small_button("Take as draft");
        button.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, &name));
        let hint =
            "One step of undo: the draft with nothing after this step, for a run that measures it";
        if button.on_hover_text(hint).clicked() {
            scene.push(Command::TakeStep(step.kind));
        }
        return;
    };
    let text = format!("{loss} {}{}", sign(Mark::Measured), error_text(found));
    ui.label(RichText::new(text).color(look.colours.strong))
        .on_hover_text("Measured by a run of exactly these steps");
    if let Some(lost) = step.lost() {
        let sign = if lost < 0.0 { "−" } else { "+" };
        let text = format!("({sign}{})", error_text(lost.abs()));
        ui.label(RichText::new(text).small().color(look.colours.weak))
            .on_hover_text("What this step alone lost");
    }
}
