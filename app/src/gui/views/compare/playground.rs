//! One prompt, the same seed, both texts side by side; what differs is tinted and underlined.

use crate::gui::scene::Scene;
use crate::gui::widgets::text_field;
use crate::studio::Command;
use crate::studio::comparison::common_prefix;
use crate::studio::runs::Run;
use egui::text::{LayoutJob, TextFormat};
use egui::{DragValue, FontId, Label, RichText, ScrollArea, Stroke, TextEdit, Ui};
use egui_material_icons::icons::{ICON_PLAY_ARROW, ICON_STOP};
use pare_engine::report::Evaluation;

/// Height of the texts in points.
const HEIGHT: f32 = 140.0;

/// What is asked, and where the texts part.
#[derive(Debug)]
pub(super) struct Memory {
    prompt: String,
    tokens: usize,
    temperature: f64,
    seed: u64,
    parted: ([usize; 2], usize),
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            prompt: "The ".to_owned(),
            tokens: 64,
            temperature: 0.0,
            seed: 0,
            parted: ([0; 2], 0),
        }
    }
}

pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory, names: &[String; 2]) {
    if let Some(reason) = why_not(scene) {
        ui.weak(reason);
        return;
    }
    asked(ui, scene, memory);
    let playground = &scene.studio.playground;
    if let Some(problem) = &playground.problem {
        ui.label(RichText::new(problem).color(scene.look.colours.error));
    }
    // Texts only grow or begin anew: their lengths tell whether anything came.
    let lengths = [playground.texts[0].len(), playground.texts[1].len()];
    if memory.parted.0 != lengths {
        let parted = common_prefix(&playground.texts[0], &playground.texts[1]);
        memory.parted = (lengths, parted);
    }
    if lengths == [0, 0] && !playground.busy {
        ui.weak("Generate writes on from the prompt with both sides, one after the other");
        return;
    }
    let both = lengths.iter().all(|&length| length > 0);
    verdict(ui, scene, memory.parted.1, both);
    ui.columns(2, |columns| {
        for (side, ui) in columns.iter_mut().enumerate() {
            let letter = ["A", "B"][side];
            text(
                ui,
                scene,
                side,
                &format!("{letter}  {}", names[side]),
                memory.parted.1,
                both,
            );
        }
    });
}

/// Why no text can be written, where none can.
fn why_not(scene: &Scene<'_>) -> Option<String> {
    let run = |side: Option<_>| side.and_then(|id| scene.studio.run(id));
    let (left, right) = scene.studio.compared;
    let runs: Vec<&Run> = [run(left), run(right)].into_iter().flatten().collect();
    let is_encoder = |run: &&Run| matches!(run.evaluation(), Some(Evaluation::Encoder(_)));
    if runs.iter().any(is_encoder) {
        return Some(
            "An encoder embeds text and writes none; its cosine and Spearman are above".to_owned(),
        );
    }
    let project = scene.project();
    let Some(project) = project else {
        let needs_original = runs.len() < 2;
        return needs_original.then(|| "Open the model to write text with the original".to_owned());
    };
    if project
        .inspection
        .family
        .as_deref()
        .is_some_and(|family| family.contains("bert"))
    {
        return Some("An encoder embeds text and writes none".to_owned());
    }
    let reason = project.inspection.reason.as_ref();
    reason.map(|reason| format!("The network cannot be run: {reason}"))
}

fn asked(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    ui.horizontal(|ui| {
        let width = (ui.available_width() - 400.0).max(120.0);
        let field = TextEdit::singleline(&mut memory.prompt)
            .hint_text("prompt")
            .desired_width(width);
        let response = ui.add(field);
        text_field(&response, "Prompt", &memory.prompt, "prompt");
        ui.add(
            DragValue::new(&mut memory.tokens)
                .range(1..=4096)
                .suffix(" tokens"),
        )
        .on_hover_text("Most new tokens");
        let temperature = DragValue::new(&mut memory.temperature)
            .range(0.0..=4.0)
            .speed(0.01)
            .max_decimals(2)
            .prefix("temperature ");
        ui.add(temperature)
            .on_hover_text("Temperature: 0 takes the most likely token each time");
        ui.add(DragValue::new(&mut memory.seed).prefix("seed "))
            .on_hover_text("Seed of both sides");
        if scene.studio.playground.busy {
            if ui
                .button(format!("{} Stop writing", ICON_STOP.codepoint))
                .clicked()
            {
                scene.push(Command::StopGenerating);
            }
            return;
        }
        let busy = scene.studio.side_job.as_ref().map(|job| job.name.clone());
        let generate = egui::Button::new(format!("{} Generate", ICON_PLAY_ARROW.codepoint));
        let generate = ui.add_enabled(busy.is_none() && !memory.prompt.is_empty(), generate);
        let reason = busy.map_or("Type a prompt first".to_owned(), |job| {
            format!("{job} is at work")
        });
        if generate.on_disabled_hover_text(reason).clicked() {
            scene.push(Command::Generate {
                prompt: memory.prompt.clone(),
                tokens: memory.tokens,
                temperature: memory.temperature,
                seed: memory.seed,
            });
        }
    });
}

fn verdict(ui: &mut Ui, scene: &Scene<'_>, parted: usize, both: bool) {
    let texts = &scene.studio.playground.texts;
    let busy = scene.studio.playground.busy;
    let text = match (both, busy) {
        (false, _) => "Writing…".to_owned(),
        (true, false) if texts[0] == texts[1] => "Both texts are the same".to_owned(),
        (true, _) => format!("The texts part at byte {parted}; what follows is underlined"),
    };
    ui.label(RichText::new(text).color(scene.look.colours.weak));
}

fn text(ui: &mut Ui, scene: &Scene<'_>, side: usize, title: &str, parted: usize, both: bool) {
    let playground = &scene.studio.playground;
    let colours = &scene.look.colours;
    ui.horizontal(|ui| {
        ui.label(RichText::new(title).strong());
        if let Some(speed) = playground.tokens_per_second[side] {
            ui.label(RichText::new(format!("{speed:.0} tokens/s")).color(colours.weak))
                .on_hover_text("Measured while it wrote");
        }
    });
    let text = &playground.texts[side];
    let parted = if both {
        parted.min(text.len())
    } else {
        text.len()
    };
    let (same, other) = text.split_at_checked(parted).unwrap_or((text, ""));
    let font = FontId::proportional(scene.look.measures.text);
    let format = |colour| TextFormat::simple(font.clone(), colour);
    let mut job = LayoutJob::default();
    job.append(&playground.prompt, 0.0, format(colours.weak));
    job.append(same, 0.0, format(colours.text));
    let tail = TextFormat {
        background: colours.accent_fill,
        underline: Stroke::new(1.0, colours.accent),
        ..format(colours.strong)
    };
    job.append(other, 0.0, tail);
    egui::Frame::new()
        .fill(colours.sunken)
        .inner_margin(6)
        .show(ui, |ui| {
            ScrollArea::vertical()
                .id_salt(title)
                .max_height(HEIGHT)
                .auto_shrink([false, true])
                .show(ui, |ui| ui.add(Label::new(job).wrap()));
        });
}
