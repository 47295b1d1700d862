//! Preferences change at once and are commands.

use crate::desk::Desk;
use egui::{Theme, vec2};
use egui_kittest::kittest::Queryable as _;
use pare::studio::Command;
use pare::studio::action::{Action, View};
use pare::studio::preferences::ThemeChoice;

#[test]
fn the_theme_follows_a_click() {
    let mut desk = Desk::open(Some("sample".into()), vec2(1400.0, 900.0), Theme::Dark);
    desk.command(Command::Show(View::Settings));
    desk.harness.run_steps(2);
    assert_eq!(desk.harness.ctx.theme(), Theme::Dark, "as the system says");
    desk.harness.get_by_label("Light").click();
    desk.harness.run_steps(3);
    assert_eq!(desk.studio().preferences.theme, ThemeChoice::Light);
    assert_eq!(desk.harness.ctx.theme(), Theme::Light);
}

#[test]
fn zooming_is_a_preference_and_every_view_stands_it() {
    let mut desk = Desk::open(Some("sample".into()), vec2(1400.0, 900.0), Theme::Dark);
    for _ in 0..10 {
        desk.command(Command::Act(Action::ZoomIn));
    }
    assert_eq!(desk.studio().preferences.scale, 2.0);
    for view in View::ALL {
        desk.command(Command::Show(view));
        desk.harness.run_steps(2);
    }
    assert!((desk.harness.ctx.zoom_factor() - 2.0).abs() < 1e-6);
    desk.command(Command::Act(Action::ZoomReset));
    assert_eq!(desk.studio().preferences.scale, 1.0);
}
