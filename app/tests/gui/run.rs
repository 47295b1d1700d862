//! The run view.

use crate::desk::Desk;
use egui::{Theme, Vec2};
use pare::studio::action::View;
use pare::studio::command::Command;
use std::path::Path;

#[test]
fn pictures() {
    let mut desk = Desk::with_sample();
    desk.command(Command::Show(View::Run));
    desk.settle();
    desk.picture(Path::new("/tmp/s_run_setup.png"));
    desk.command(Command::Run(None));
    desk.until("some layers are solved", |app| {
        app.studio
            .active
            .as_ref()
            .is_some_and(|active| active.layers.len() > 3)
    });
    desk.harness.run_steps(1);
    desk.picture(Path::new("/tmp/s_run_work.png"));
    desk.command(Command::Act(pare::studio::Action::StopRun));
    desk.settle();
    desk.picture(Path::new("/tmp/s_run_stopped.png"));
    let _ = (Theme::Light, Vec2::ZERO);
}
