//! What a view is given: the studio to read, the looks, and a list for what the person asks.

use crate::gui::look::Look;
use crate::studio::action::Action;
use crate::studio::{Command, Project, Studio};

/// What a view is given.
#[derive(Debug)]
pub struct Scene<'a> {
    /// Everything that can be shown.
    pub studio: &'a Studio,
    /// Colours and measures.
    pub look: &'a Look,
    /// What the person asks for in this frame.
    pub commands: &'a mut Vec<Command>,
}

impl Scene<'_> {
    /// Asks for `command`; it is done after this frame.
    pub fn push(&mut self, command: Command) {
        self.commands.push(command);
    }

    /// Asks for an action.
    pub fn act(&mut self, action: Action) {
        self.commands.push(Command::Act(action));
    }

    /// The open model, if any.
    pub fn project(&self) -> Option<&Project> {
        self.studio.project()
    }

    /// A button for an action: its label, its shortcut and, where it is disabled, why.
    pub fn action_button(&mut self, ui: &mut egui::Ui, action: Action) -> egui::Response {
        let availability = action.availability(self.studio);
        let response = ui.add_enabled(availability.is_ok(), egui::Button::new(action.label()));
        let response = match availability {
            Ok(()) => response,
            Err(reason) => response.on_disabled_hover_text(reason),
        };
        if response.clicked() {
            self.act(action);
        }
        response
    }
}
