//! A bar for each block: how much it changes what passes through it. A click takes the block out, or in again.

use crate::gui::look::Look;
use crate::gui::scene::Scene;
use crate::studio::action::Action;
use crate::studio::similarity::{Similarity, gone, toggled};
use crate::studio::{Command, Project};
use egui::{
    Align2, FontId, Rect, RichText, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo, pos2, vec2,
};
use pare_engine::recipe::Structure;

/// Height of the longest bar.
const HEIGHT: f32 = 26.0;
/// Height of the numbers below.
const FOOT: f32 = 12.0;
/// Widest and narrowest place of a bar.
const WIDTHS: [f32; 2] = [22.0, 3.0];
/// Places at least so wide have their number below.
const NUMBERED: f32 = 14.0;

/// One block, where it is drawn.
struct Bar {
    block: usize,
    /// 1 - cosine of its input and output.
    change: f64,
    /// Of the longest bar.
    height: f32,
    is_gone: bool,
}

/// The bars, or what would fill them.
pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, project: &Project, structure: &Structure) {
    let weak = scene.look.colours.weak;
    match &project.similarity {
        Similarity::Known(similarity) => bars(ui, scene, similarity, structure),
        Similarity::Measuring(_) => {
            ui.add(egui::Spinner::new().size(12.0));
            ui.label(RichText::new("comparing blocks").color(weak));
            if ui
                .button("Stop")
                .on_hover_text("Stop comparing blocks")
                .clicked()
            {
                scene.push(Command::StopComparing);
            }
        }
        Similarity::Unknown | Similarity::Failed(_) => {
            scene.action_button(ui, Action::CompareBlocks);
            let words = match &project.similarity {
                Similarity::Failed(reason) => reason.as_str(),
                _ => "shows which blocks change least what passes through them",
            };
            ui.add(egui::Label::new(RichText::new(words).color(weak)).truncate());
        }
    }
}

fn bars(ui: &mut Ui, scene: &mut Scene<'_>, similarity: &[f64], structure: &Structure) {
    let gone = gone(structure, Some(similarity), similarity.len());
    let changes = similarity.iter().map(|cosine| (1.0 - cosine).max(0.0));
    let most = changes.clone().fold(f64::MIN_POSITIVE, f64::max);
    let width = ui.available_width() / similarity.len().max(1) as f32;
    let width = width.clamp(WIDTHS[1], WIDTHS[0]);
    let size = vec2(width * similarity.len() as f32, HEIGHT + FOOT);
    let (whole, _) = ui.allocate_exact_size(size, Sense::hover());
    for (block, change) in changes.enumerate() {
        let left = whole.left() + width * block as f32;
        let rect = Rect::from_min_size(pos2(left, whole.top()), vec2(width, whole.height()));
        let bar = Bar {
            block,
            change,
            height: (change / most) as f32,
            is_gone: gone.contains(&block),
        };
        let response = ui.interact(rect, ui.scope_id().with(("block", block)), Sense::click());
        let words = words(&bar);
        response.widget_info(|| WidgetInfo::selected(Role::Button, true, bar.is_gone, &words));
        draw(ui, scene.look, rect, &bar, response.hovered());
        if response.on_hover_text(words.as_str()).clicked() {
            let structure = toggled(structure, &gone, block);
            scene.push(Command::SetStructure(structure, None));
        }
    }
}

fn words(bar: &Bar) -> String {
    let stays = match bar.is_gone {
        true => "goes",
        false => "stays",
    };
    format!(
        "Block {} {stays}: 1 − cosine of input and output {:.4}",
        bar.block, bar.change
    )
}

/// A block that goes is hollow.
fn draw(ui: &Ui, look: &Look, rect: Rect, bar: &Bar, is_hovered: bool) {
    let painter = ui.painter();
    if is_hovered {
        painter.rect_filled(rect, 2, look.colours.hover);
    }
    let floor = rect.bottom() - FOOT;
    let gap = if rect.width() > 6.0 { 2.0 } else { 0.5 };
    let top = floor - (HEIGHT * bar.height).max(1.0);
    let shown = Rect::from_min_max(pos2(rect.left(), top), pos2(rect.right() - gap, floor));
    match bar.is_gone {
        true => painter.rect_stroke(
            shown,
            1,
            Stroke::new(1.0, look.colours.warning),
            StrokeKind::Inside,
        ),
        false => painter.rect_filled(shown, 1, look.colours.after),
    };
    if rect.width() >= NUMBERED {
        let colour = match bar.is_gone {
            true => look.colours.warning,
            false => look.colours.weak,
        };
        let at = pos2(shown.center().x, rect.bottom());
        let font = FontId::proportional(look.measures.small);
        painter.text(
            at,
            Align2::CENTER_BOTTOM,
            bar.block.to_string(),
            font,
            colour,
        );
    }
}
