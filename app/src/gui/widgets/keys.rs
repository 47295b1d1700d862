//! Which of several views plain keys mean, the one that was pressed last, and what pressed keys ask for.

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

/// What `events` ask for, keys first; a key and the text it types count once.
pub fn asks<A: PartialEq>(
    events: &[egui::Event],
    of_key: impl Fn(&egui::Event) -> Option<A>,
    of_text: impl Fn(&str) -> Option<A>,
) -> Vec<A> {
    let mut asks: Vec<A> = events.iter().filter_map(of_key).collect();
    for event in events {
        if let egui::Event::Text(text) = event
            && let Some(ask) = of_text(text)
            && !asks.contains(&ask)
        {
            asks.push(ask);
        }
    }
    asks
}
