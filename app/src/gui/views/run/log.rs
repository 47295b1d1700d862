//! The log: levels, search, the newest line in sight.
//!
//! Which lines pass is kept between frames and only new lines are looked at; a new search reads a long log in pieces, so
//! that no frame waits for it.

use crate::gui::scene::Scene;
use crate::gui::widgets::text_field;
use crate::studio::log::{Level, Line, Log};
use egui::text::{LayoutJob, TextFormat};
use egui::{FontId, Label, ScrollArea, TextEdit, Ui};
use egui_material_icons::icons::{ICON_CONTENT_COPY, ICON_ERROR, ICON_INFO, ICON_WARNING};
use regex::{Regex, RegexBuilder};
use std::collections::VecDeque;

/// Lines looked at in one frame.
const LINES_A_FRAME: usize = 20_000;

/// What passes, and how far the log was read.
#[derive(Debug)]
pub(super) struct Memory {
    shown: [bool; 3],
    search: String,
    pattern: Option<Regex>,
    problem: Option<String>,
    follow: bool,
    /// Numbers of lines that pass, oldest first.
    passing: VecDeque<u64>,
    /// The first line not looked at yet.
    next: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            shown: [true; 3],
            search: String::new(),
            pattern: None,
            problem: None,
            follow: true,
            passing: VecDeque::new(),
            next: 0,
        }
    }
}

impl Memory {
    /// Another question: all lines are looked at anew.
    fn restart(&mut self) {
        self.passing.clear();
        self.next = 0;
    }

    fn set_search(&mut self) {
        let (text, plain) = match self.search.strip_prefix("re:") {
            Some(pattern) => (pattern.to_owned(), false),
            None => (regex::escape(&self.search), true),
        };
        let empty = plain && text.is_empty();
        match RegexBuilder::new(&text).case_insensitive(true).build() {
            Ok(pattern) => {
                self.pattern = (!empty).then_some(pattern);
                self.problem = None;
                self.restart();
            }
            // What was found before stays until the pattern makes sense.
            Err(error) => {
                let text = error.to_string();
                self.problem = text.lines().last().map(str::to_owned);
            }
        }
    }

    /// Looks at lines that came since; true once there are no more.
    fn catch_up(&mut self, log: &Log) -> bool {
        let first = log.first();
        while self.passing.front().is_some_and(|&number| number < first) {
            self.passing.pop_front();
        }
        self.next = self.next.max(first);
        let end = log.written().min(self.next + LINES_A_FRAME as u64);
        for number in self.next..end {
            if log.line(number).is_some_and(|line| self.passes(line)) {
                self.passing.push_back(number);
            }
        }
        self.next = end;
        end == log.written()
    }

    fn passes(&self, line: &Line) -> bool {
        self.shown[line.level as usize]
            && self
                .pattern
                .as_ref()
                .is_none_or(|pattern| pattern.is_match(&line.text))
    }
}

pub(super) fn show(ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut Memory) {
    bar(ui, scene, memory);
    if !memory.catch_up(&scene.studio.log) {
        ui.ctx().request_repaint();
    }
    if memory.passing.is_empty() {
        let text = match scene.studio.log.written() {
            0 => "Nothing happened yet: stages, layers and warnings of runs come here",
            _ => "No line passes the levels and the search above",
        };
        ui.weak(text);
        return;
    }
    let row = ui.text_style_height(&egui::TextStyle::Body);
    egui::Frame::new()
        .fill(scene.look.colours.sunken)
        .inner_margin(4)
        .show(ui, |ui| {
            ScrollArea::both()
                .id_salt("log")
                .auto_shrink(false)
                .stick_to_bottom(memory.follow)
                .show_rows(ui, row, memory.passing.len(), |ui, rows| {
                    for row in rows {
                        let line = memory.passing.get(row);
                        if let Some(line) = line.and_then(|&n| scene.studio.log.line(n)) {
                            ui.add(Label::new(job(scene, line)).extend())
                                .on_hover_text(&*line.text);
                        }
                    }
                });
        });
}

fn bar(ui: &mut Ui, scene: &Scene<'_>, memory: &mut Memory) {
    ui.horizontal(|ui| {
        let levels = [Level::Info, Level::Warning, Level::Error];
        for level in levels {
            let count = scene.studio.log.count(level);
            let text = format!("{} {} {count}", sign(level), level.word());
            let shown = &mut memory.shown[level as usize];
            if ui.toggle_value(shown, text).changed() {
                memory.restart();
            }
        }
        let field = TextEdit::singleline(&mut memory.search)
            .hint_text("find, or re:pattern")
            .desired_width(160.0);
        let response = ui.add(field);
        text_field(&response, "Search the log", &memory.search, "find");
        if response.changed() {
            memory.set_search();
        }
        if let Some(problem) = &memory.problem {
            ui.label(egui::RichText::new(problem).color(scene.look.colours.error));
        }
        ui.toggle_value(&mut memory.follow, "Follow")
            .on_hover_text("Keep the newest line in sight");
        let copy = ui.button(format!("{} Copy", ICON_CONTENT_COPY.codepoint));
        if copy
            .on_hover_text("Copy the lines that pass the levels and the search")
            .clicked()
        {
            let lines = memory.passing.iter();
            let lines = lines.filter_map(|&number| scene.studio.log.line(number));
            ui.ctx().copy_text(lines.map(text).collect());
        }
    });
}

/// A shape for each level, so that colour never says it alone.
fn sign(level: Level) -> &'static str {
    match level {
        Level::Info => ICON_INFO.codepoint,
        Level::Warning => ICON_WARNING.codepoint,
        Level::Error => ICON_ERROR.codepoint,
    }
}

fn text(line: &Line) -> String {
    format!(
        "{:.2}\t{}\t{}\n",
        line.seconds,
        line.level.word(),
        line.text
    )
}

fn job(scene: &Scene<'_>, line: &Line) -> LayoutJob {
    let colours = &scene.look.colours;
    let colour = match line.level {
        Level::Info => colours.text,
        Level::Warning => colours.warning,
        Level::Error => colours.error,
    };
    let size = scene.look.measures.text;
    let mut job = LayoutJob::default();
    let format = |font, colour| TextFormat::simple(font, colour);
    job.append(
        &format!("{:8.2} s  ", line.seconds),
        0.0,
        format(FontId::monospace(scene.look.measures.small), colours.weak),
    );
    if line.level != Level::Info {
        let sign = format!("{} ", sign(line.level));
        job.append(&sign, 0.0, format(FontId::proportional(size), colour));
    }
    // Rows have one height: further lines are on hover.
    let first = line.text.lines().next().unwrap_or_default();
    job.append(first, 0.0, format(FontId::proportional(size), colour));
    job
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_is_read_in_pieces_and_only_once() {
        let mut log = Log::default();
        for number in 0..50_000 {
            let level = match number % 100 {
                0 => Level::Warning,
                _ => Level::Info,
            };
            log.write(level, 0.0, format!("line {number}"));
        }
        let mut memory = Memory::default();
        assert!(!memory.catch_up(&log));
        while !memory.catch_up(&log) {}
        assert_eq!(memory.passing.len(), 50_000);
        log.write(Level::Error, 0.0, "one more");
        assert!(memory.catch_up(&log));
        assert_eq!(memory.passing.len(), 50_001);

        let mut count = |search: &str, shown: [bool; 3]| {
            memory.search = search.to_owned();
            memory.shown = shown;
            memory.set_search();
            while !memory.catch_up(&log) {}
            memory.passing.len()
        };
        // Search, levels, lines expected.
        let cases = [
            ("LINE 4999", [true; 3], 11),
            ("re:line \\d00$", [true; 3], 9),
            ("line", [false, true, false], 500),
            ("a.b", [true; 3], 0),
        ];
        for (search, shown, expected) in cases {
            assert_eq!(count(search, shown), expected, "{search}");
        }
        memory.search = "re:(".to_owned();
        memory.set_search();
        assert!(memory.problem.is_some());
    }

    #[test]
    fn lines_that_left_the_ring_leave_the_list() {
        let mut log = Log::default();
        log.write(Level::Info, 0.0, "first");
        let mut memory = Memory::default();
        memory.catch_up(&log);
        for _ in 0..200_000 {
            log.write(Level::Info, 0.0, "x");
        }
        while !memory.catch_up(&log) {}
        assert_eq!(memory.passing.len(), 200_000);
        assert_eq!(memory.passing.front(), Some(&1));
    }
}
