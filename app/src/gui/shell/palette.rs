//! The command palette: every action and every layer, found by a few letters; disabled ones say why.
//!
//! Matching runs when the text changes, never in an idle frame. Knows no action's inside.

use super::keys;
use crate::gui::scene::Scene;
use crate::studio::Command;
use crate::studio::action::{Action, View};
use crate::studio::selection::Join;
use egui::text::{LayoutJob, TextFormat};
use egui::{Align2, FontId, Key, Modifiers, Rect, Sense, TextEdit, Ui, vec2};
use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};

/// Width of the palette.
const WIDTH: f32 = 560.0;

/// Rows in sight.
const ROWS: usize = 12;

/// The palette.
#[derive(Debug, Default)]
pub(super) struct Palette {
    is_open: bool,
    is_fresh: bool,
    query: String,
    matched: Option<String>,
    hits: Vec<Hit>,
    chosen: usize,
    scroll: bool,
}

/// What an entry does.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Entry {
    Action(Action),
    Layer(usize),
}

/// An entry that matches.
#[derive(Debug, Clone)]
struct Hit {
    entry: Entry,
    label: String,
    /// Letters of the label that match.
    letters: Vec<u32>,
}

impl Palette {
    pub(super) fn open(&mut self) {
        *self = Self {
            is_open: true,
            is_fresh: true,
            ..Self::default()
        };
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    pub(super) fn show(&mut self, ui: &mut Ui, scene: &mut Scene<'_>) {
        if !self.is_open {
            return;
        }
        self.keys(ui, scene);
        if self.matched.as_ref() != Some(&self.query) {
            self.hits = hits(&self.query, scene);
            self.matched = Some(self.query.clone());
            self.chosen = 0;
            self.scroll = true;
        }
        let width = WIDTH.min(ui.ctx().content_rect().width() - 32.0);
        let area = egui::Modal::default_area(egui::Id::unique("palette"))
            .anchor(Align2::CENTER_TOP, vec2(0.0, 64.0));
        let modal = egui::Modal::new(egui::Id::unique("palette"))
            .frame(egui::Frame::window(ui.style()))
            .area(area)
            .backdrop_color(egui::Color32::from_black_alpha(60))
            .show(ui.ctx(), |ui| {
                ui.set_width(width);
                self.content(ui, scene);
            });
        if modal.should_close() {
            self.is_open = false;
        }
    }

    /// Keys before the field takes them.
    fn keys(&mut self, ui: &mut Ui, scene: &mut Scene<'_>) {
        let pressed = |key| ui.input_mut(|input| input.consume_key(Modifiers::NONE, key));
        let last = self.hits.len().saturating_sub(1);
        let before = self.chosen;
        if pressed(Key::ArrowDown) {
            self.chosen = if before == last { 0 } else { before + 1 };
        }
        if pressed(Key::ArrowUp) {
            self.chosen = before.checked_sub(1).unwrap_or(last);
        }
        if pressed(Key::PageDown) {
            self.chosen = (before + ROWS).min(last);
        }
        if pressed(Key::PageUp) {
            self.chosen = before.saturating_sub(ROWS);
        }
        self.scroll |= self.chosen != before;
        if pressed(Key::Escape) {
            self.is_open = false;
        }
        if pressed(Key::Enter)
            && let Some(hit) = self.hits.get(self.chosen).cloned()
        {
            self.run(hit.entry, scene);
        }
    }

    fn content(&mut self, ui: &mut Ui, scene: &mut Scene<'_>) {
        let field = TextEdit::singleline(&mut self.query)
            .hint_text("Type an action, a view or a layer")
            .desired_width(f32::INFINITY)
            .margin(egui::Margin::symmetric(8, 6));
        let response = ui.add(field);
        if std::mem::take(&mut self.is_fresh) || !response.has_focus() {
            response.request_focus();
        }
        ui.add_space(4.0);
        if self.hits.is_empty() {
            let text = format!("Nothing is called “{}”", self.query);
            ui.label(egui::RichText::new(text).weak());
            return;
        }
        let row_height = scene.look.measures.row_height + 4.0;
        let mut clicked = None;
        ui.spacing_mut().item_spacing.y = 0.0;
        let (hits, chosen) = (&self.hits, self.chosen);
        let mut area = egui::ScrollArea::vertical()
            .max_height(row_height * ROWS as f32)
            .auto_shrink([false, true]);
        if std::mem::take(&mut self.scroll) {
            let top = (chosen + 1).saturating_sub(ROWS) as f32 * row_height;
            area = area.vertical_scroll_offset(top);
        }
        area.show_rows(ui, row_height, hits.len(), |ui, range| {
            for index in range {
                let is_chosen = index == chosen;
                if row(ui, scene, &hits[index], is_chosen, row_height) {
                    clicked = Some(hits[index].entry);
                }
            }
        });
        if let Some(entry) = clicked {
            self.run(entry, scene);
        }
    }

    /// Does it and closes; a disabled action stays, its reason is in the row.
    fn run(&mut self, entry: Entry, scene: &mut Scene<'_>) {
        match entry {
            Entry::Action(action) if action.availability(scene.studio).is_err() => return,
            Entry::Action(action) => scene.act(action),
            Entry::Layer(layer) => {
                scene.push(Command::Select(layer, Join::Replace));
                scene.push(Command::Show(View::Layers));
            }
        }
        self.is_open = false;
    }
}

/// One row. Returns whether it was clicked.
fn row(ui: &mut Ui, scene: &Scene<'_>, hit: &Hit, is_chosen: bool, height: f32) -> bool {
    let size = vec2(ui.available_width(), height);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    let colours = &scene.look.colours;
    if is_chosen || response.hovered() {
        let fill = if is_chosen {
            colours.accent_fill
        } else {
            colours.hover
        };
        ui.painter()
            .rect_filled(rect, scene.look.measures.corner, fill);
    }
    let reason = match hit.entry {
        Entry::Action(action) => action.availability(scene.studio).err(),
        Entry::Layer(_) => None,
    };
    let right = right_text(ui, hit.entry, reason.as_deref());
    let font = FontId::proportional(scene.look.measures.text);
    let small = FontId::proportional(scene.look.measures.small);
    let inner = rect.shrink2(vec2(8.0, 0.0));
    let right = ui.painter().layout_no_wrap(right, small, colours.weak);
    let right_width = right.size().x;
    let place = Rect::from_min_max(inner.min, inner.max - vec2(right_width + 12.0, 0.0));
    let at = inner.right_center() - vec2(right_width, right.size().y / 2.0);
    ui.painter().galley(at, right, colours.weak);
    let colour = if reason.is_some() {
        colours.weak
    } else {
        colours.text
    };
    let mut job = highlighted(hit, &font, colour, colours.accent);
    job.wrap.max_width = place.width();
    job.wrap.max_rows = 1;
    let label = ui.painter().layout_job(job);
    let at = place.left_center() - vec2(0.0, label.size().y / 2.0);
    ui.painter().galley(at, label, colour);
    let enabled = reason.is_none();
    response.widget_info(|| {
        egui::WidgetInfo::selected(egui::Role::Button, enabled, is_chosen, &hit.label)
    });
    match reason {
        Some(reason) => response.on_hover_text(reason).clicked(),
        None => response.clicked(),
    }
}

/// The reason of a disabled entry, else its shortcut or kind.
fn right_text(ui: &Ui, entry: Entry, reason: Option<&str>) -> String {
    match (entry, reason) {
        (_, Some(reason)) => reason.to_owned(),
        (Entry::Layer(_), None) => "layer".to_owned(),
        (Entry::Action(action), None) => action
            .shortcut()
            .and_then(|key| keys::text(ui.ctx(), key))
            .unwrap_or_default(),
    }
}

fn highlighted(
    hit: &Hit,
    font: &FontId,
    colour: egui::Color32,
    accent: egui::Color32,
) -> LayoutJob {
    let mut job = LayoutJob::default();
    for (index, letter) in hit.label.chars().enumerate() {
        let matches = hit.letters.contains(&(index as u32));
        let mut format = TextFormat::simple(font.clone(), if matches { accent } else { colour });
        if matches {
            format.underline = egui::Stroke::new(1.0, accent);
        }
        let mut buffer = [0; 4];
        job.append(letter.encode_utf8(&mut buffer), 0.0, format);
    }
    job
}

/// What matches `query`, best first; with nothing typed, every action that can be done now, then the others.
fn hits(query: &str, scene: &Scene<'_>) -> Vec<Hit> {
    let actions = Action::all()
        .filter(|action| !matches!(action, Action::Palette))
        .map(|action| (Entry::Action(action), action.label_in(scene.studio)));
    if query.trim().is_empty() {
        let mut hits: Vec<Hit> = actions
            .map(|(entry, label)| Hit {
                entry,
                label,
                letters: Vec::new(),
            })
            .collect();
        hits.sort_by_key(|hit| match hit.entry {
            Entry::Action(action) => action.availability(scene.studio).is_err(),
            Entry::Layer(_) => false,
        });
        return hits;
    }
    let layers = scene.project().into_iter().flat_map(|project| {
        let layers = project.layers.iter().enumerate();
        layers.map(|(index, layer)| (Entry::Layer(index), layer.name.clone()))
    });
    matching(query, actions.chain(layers))
}

fn matching(query: &str, entries: impl Iterator<Item = (Entry, String)>) -> Vec<Hit> {
    let mut matcher = Matcher::new(Config::DEFAULT);
    let pattern = Pattern::parse(query, CaseMatching::Smart, Normalization::Smart);
    let mut scored: Vec<(u32, Hit)> = Vec::new();
    let mut buffer = Vec::new();
    for (entry, label) in entries {
        let mut letters = Vec::new();
        let text = Utf32Str::new(&label, &mut buffer);
        if let Some(score) = pattern.indices(text, &mut matcher, &mut letters) {
            scored.push((
                score,
                Hit {
                    entry,
                    label,
                    letters,
                },
            ));
        }
    }
    scored.sort_by_key(|(score, hit)| (std::cmp::Reverse(*score), hit.label.len()));
    scored.into_iter().map(|(_, hit)| hit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_letters_find_what_is_meant() {
        let entries = || {
            let actions = Action::all().map(|action| (Entry::Action(action), action.label()));
            let layer = "model.layers.7.mlp.down_proj".to_owned();
            actions.chain([(Entry::Layer(3), layer)])
        };
        for (query, expected) in [
            ("run", Entry::Action(Action::StartRun)),
            ("undo", Entry::Action(Action::Undo)),
            ("svrec", Entry::Action(Action::SaveRecipe)),
            ("zoom in", Entry::Action(Action::ZoomIn)),
            ("7.down", Entry::Layer(3)),
        ] {
            let hits = matching(query, entries());
            assert_eq!(hits.first().map(|hit| hit.entry), Some(expected), "{query}");
            assert!(!hits[0].letters.is_empty(), "{query}: letters to highlight");
        }
        assert!(matching("qqqq", entries()).is_empty());
    }
}
