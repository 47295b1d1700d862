//! The compare view.

use crate::desk::Desk;
use egui::{Theme, Vec2};
use pare::studio::action::View;
use pare::studio::command::Command;
use std::path::Path;

#[test]
fn pictures() {
    for (theme, name, size) in [
        (Theme::Dark, "dark", [1400.0, 900.0]),
        (Theme::Light, "light", [1024.0, 700.0]),
    ] {
        let mut desk = Desk::open(Some("sample".into()), Vec2::from(size), theme);
        desk.command(Command::Run(None));
        desk.settle();
        desk.command(Command::Uniform(3));
        desk.command(Command::Run(None));
        desk.settle();
        let ids: Vec<_> = desk.studio().runs.iter().map(|run| run.id).collect();
        desk.command(Command::Pin(ids[1]));
        desk.command(Command::Show(View::Runs));
        desk.settle();
        desk.picture(Path::new(&format!("/tmp/s_runs_{name}.png")));
        desk.command(Command::Compare(Some(ids[1]), Some(ids[0])));
        desk.command(Command::Select(5, pare::studio::selection::Join::Replace));
        desk.command(Command::Generate {
            prompt: "The ".into(),
            tokens: 40,
            temperature: 0.0,
            seed: 0,
        });
        desk.command(Command::Show(View::Compare));
        desk.settle();
        desk.picture(Path::new(&format!("/tmp/s_compare_{name}.png")));
    }
}
