//! A desk for tests: the real window over temporary folders, stepped until it is idle.

use crate::renderer::PainterRenderer;
use egui::{Theme, Vec2};
use egui_kittest::Harness;
use pare::gui::App;
use pare::studio::state::Beginning;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A job that takes longer than this in a test hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// The window and the folders it lives on.
pub(crate) struct Desk {
    /// The window.
    pub(crate) harness: Harness<'static, App>,
    /// Holds cache and data; gone with the desk.
    pub(crate) folder: TempDir,
}

impl Desk {
    /// A window of 1400 x 900 points with the sample open and idle.
    pub(crate) fn with_sample() -> Self {
        Self::open(Some("sample".into()), Vec2::new(1400.0, 900.0), Theme::Dark)
    }

    /// A window with `model` open, or with nothing, idle.
    pub(crate) fn open(model: Option<PathBuf>, size: Vec2, theme: Theme) -> Self {
        Self::open_in(tempfile::tempdir().unwrap(), model, size, theme)
    }

    /// The same over folders used before.
    pub(crate) fn open_in(
        folder: TempDir,
        model: Option<PathBuf>,
        size: Vec2,
        theme: Theme,
    ) -> Self {
        let beginning = Beginning {
            cache_folder: folder.path().join("cache"),
            data_folder: Some(folder.path().join("data")),
            began_unix_ms: 1_800_000_000_000,
        };
        let harness = Harness::builder()
            .with_size(size)
            .with_theme(theme)
            .with_max_steps(40)
            .with_render_cursor(false)
            .renderer(PainterRenderer::default())
            .build_eframe(move |creation| {
                App::new(&creation.egui_ctx, beginning, model, None).unwrap()
            });
        let mut desk = Self { harness, folder };
        desk.settle();
        desk
    }

    /// Closes the window as the desktop would; the folders stay.
    pub(crate) fn close(self) -> TempDir {
        let Self {
            mut harness,
            folder,
        } = self;
        harness.state_mut().finish();
        drop(harness);
        folder
    }

    /// Steps until no job is at work and nothing moves.
    pub(crate) fn settle(&mut self) {
        self.until("the studio is idle", |app| !app.is_busy());
        self.harness.run_steps(3);
    }

    /// Steps until `done`, waiting for workers in between.
    ///
    /// # Panics
    /// Where it takes too long; `what` says what was waited for.
    pub(crate) fn until(&mut self, what: &str, done: impl Fn(&App) -> bool) {
        let began = Instant::now();
        self.harness.step();
        while !done(self.harness.state()) {
            assert!(began.elapsed() < PATIENCE, "waited too long until {what}");
            let context = self.harness.ctx.clone();
            self.harness
                .state_mut()
                .wait(&context, Duration::from_millis(20));
            self.harness.step();
        }
    }

    /// The studio.
    pub(crate) fn studio(&self) -> &pare::studio::Studio {
        &self.harness.state().studio
    }

    /// Does a command as a view would.
    pub(crate) fn command(&mut self, command: pare::studio::Command) {
        let context = self.harness.ctx.clone();
        self.harness.state_mut().command(command, &context);
        self.harness.step();
    }

    /// Saves a picture of the window: for people who work on a view, never for an assertion.
    #[allow(dead_code)] // Used while developing.
    pub(crate) fn picture(&mut self, path: &Path) {
        self.harness.render().unwrap().save(path).unwrap();
    }
}

#[test]
fn the_sample_opens_and_settles() {
    let desk = Desk::with_sample();
    let project = desk.studio().project().unwrap();
    assert_eq!(project.name, "sample");
    assert!(project.rows.matching > 10, "{}", project.rows.matching);
    assert!(project.totals.error.is_some(), "every layer is estimated");
    assert!(
        project.inputs().is_some(),
        "the sample is calibrated at once"
    );
}
