//! A field for text that counts once it is finished: on Enter or when the caret leaves.

use super::text_field;
use egui::{Response, TextEdit, Ui};

/// What is being typed.
#[derive(Debug, Clone, Default)]
pub struct Typed {
    text: String,
    is_typing: bool,
}

impl Typed {
    /// Draws the field over `current`; answers the new text once it is finished and different. `name` is what screen
    /// readers say.
    pub fn show(
        &mut self,
        ui: &mut Ui,
        name: &str,
        current: &str,
        hint: &str,
        width: f32,
    ) -> (Response, Option<String>) {
        if !self.is_typing && self.text != current {
            current.clone_into(&mut self.text);
        }
        let field = TextEdit::singleline(&mut self.text)
            .hint_text(hint)
            .align(egui::Align2::LEFT_CENTER)
            .desired_width(width);
        let response = ui.add(field);
        text_field(&response, name, &self.text, hint);
        self.is_typing = response.has_focus();
        let finished = response.lost_focus() && self.text.trim() != current;
        let text = finished.then(|| self.text.trim().to_owned());
        (response, text)
    }
}
