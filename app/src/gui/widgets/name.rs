//! Names that are too long for their place lose their middle, never their end.

use egui::{Color32, FontSelection, Ui};

/// `name` with its middle left out where it is wider than `width` points in the body font.
pub fn elided(ui: &Ui, name: &str, width: f32) -> String {
    let font = FontSelection::Default.resolve(ui.style());
    let whole = ui
        .painter()
        .layout_no_wrap(name.to_owned(), font.clone(), Color32::PLACEHOLDER);
    if whole.size().x <= width {
        return name.to_owned();
    }
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

/// What of a name is drawn, and how many bytes before it are left out. Under a block's header that is what comes after
/// the block's number; elsewhere the whole, or what comes from the number on where the whole is too wide.
pub fn shortened(ui: &Ui, name: &str, width: f32, after_block: bool) -> (usize, String) {
    let (number, after) = block_number(name);
    if after_block {
        return (after, elided(ui, &name[after..], width));
    }
    let whole = elided(ui, name, width);
    match whole == name {
        true => (0, whole),
        false => (number, elided(ui, &name[number..], width)),
    }
}

/// Where the number of the block begins in a name and where its part ends: around the `3.` of `model.layers.3.mlp`.
fn block_number(name: &str) -> (usize, usize) {
    let mut begin = 0;
    for part in name.split_inclusive('.') {
        let end = begin + part.len();
        let digits = part.trim_end_matches('.');
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if end < name.len() && is_number {
            return (begin, end);
        }
        begin = end;
    }
    (0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_around_the_number_of_their_block() {
        let cases = [
            ("model.layers.3.mlp.up_proj", "3.mlp.up_proj", "mlp.up_proj"),
            (
                "model.embed_tokens",
                "model.embed_tokens",
                "model.embed_tokens",
            ),
            ("h.11.attn.c_attn", "11.attn.c_attn", "attn.c_attn"),
            ("layers.7", "layers.7", "layers.7"),
        ];
        for (name, from_number, after_number) in cases {
            let (number, after) = block_number(name);
            assert_eq!(
                (&name[number..], &name[after..]),
                (from_number, after_number)
            );
        }
    }
}
