//! Which of several views plain keys mean: the one that was pressed last.

use egui::Ui;

/// A press inside the view gives it the keys, one elsewhere takes them; menus that lie over it change nothing.
pub fn takes_keys(ui: &Ui, before: bool) -> bool {
    let press = ui.input(|input| {
        let pressed = input.pointer.any_pressed();
        pressed.then(|| input.pointer.interact_pos()).flatten()
    });
    match press {
        Some(at) if ui.ctx().layer_id_at(at) == Some(ui.layer_id()) => ui.max_rect().contains(at),
        _ => before,
    }
}
