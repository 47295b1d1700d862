//! Where things are in the window: the same application on the same folders at the same size, but without a display, is
//! asked for places by name. The mouse then goes there in the real window.

use crate::window::PATIENCE;
use egui::accesskit::Role;
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use pare::gui::App;
use pare::studio::Command;
use pare::studio::state::Beginning;
use std::path::Path;
use std::time::{Duration, Instant};

/// The window's double.
pub(crate) struct Twin(Harness<'static, App>);

impl Twin {
    /// A double of a window with the sample open in `folder`.
    pub(crate) fn open(folder: &Path) -> Self {
        let beginning = Beginning {
            cache_folder: folder.join("cache/pare"),
            data_folder: Some(folder.join("data/pare")),
            began_unix_ms: 0,
        };
        let harness = Harness::builder()
            .with_size([1400.0, 900.0])
            .with_max_steps(40)
            .build_eframe(|creation| {
                App::new(&creation.egui_ctx, beginning, Some("sample".into()), None).unwrap()
            });
        let mut twin = Self(harness);
        twin.settle();
        twin
    }

    /// Brings it where the window is.
    pub(crate) fn command(&mut self, command: Command) {
        let context = self.0.ctx.clone();
        self.0.state_mut().command(command, &context);
        self.settle();
    }

    /// The middle of what has this role and name; of several, of the lowest.
    pub(crate) fn place(&self, role: Role, name: &str) -> [f32; 2] {
        let found = self.0.get_all_by_role_and_label(role, name);
        let places = found.map(|node| node.rect().center());
        let lowest = places
            .max_by(|left, right| left.y.total_cmp(&right.y))
            .unwrap();
        [lowest.x, lowest.y]
    }

    fn settle(&mut self) {
        let began = Instant::now();
        self.0.run_steps(2);
        while self.0.state().is_busy() {
            assert!(began.elapsed() < PATIENCE, "the double is still at work");
            let context = self.0.ctx.clone();
            self.0.state_mut().wait(&context, Duration::from_millis(20));
        }
        self.0.run_steps(3);
    }
}
