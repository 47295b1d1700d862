//! Names that are too long for their place lose their middle, never their end.

use egui::{FontSelection, Ui};

/// `name` with its middle left out where it is wider than `width` points in the body font.
pub fn elided(ui: &Ui, name: &str, width: f32) -> String {
    let font = FontSelection::Default.resolve(ui.style());
    let letter = ui.fonts_mut(|fonts| fonts.glyph_width(&font, 'n'));
    let room = (width / letter.max(1.0)).floor() as usize;
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= room.max(5) {
        return name.to_owned();
    }
    let kept = room.max(5) - 1;
    let head = kept / 3;
    let tail = kept - head;
    let start: String = letters[..head].iter().collect();
    let end: String = letters[letters.len() - tail..].iter().collect();
    format!("{start}…{end}")
}
