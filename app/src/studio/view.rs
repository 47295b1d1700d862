//! Views by name: what panes can show, menus list and `--view` takes.
//!
//! Knows no widget and no pane.

/// Views that can be shown in panes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, PartialOrd, Ord,
)]
#[serde(rename_all = "kebab-case")]
pub enum View {
    /// Drop zone, recent models, the sample.
    Start,
    /// The table of layers.
    Layers,
    /// The selected layer.
    Inspector,
    /// Every layer at every option: how much it hurts.
    Sensitivity,
    /// Size against quality.
    TradeOff,
    /// The run at work, its log.
    Run,
    /// Teachers, a student, live curves.
    Train,
    /// All runs.
    Runs,
    /// Two runs, or a run and the original.
    Compare,
    /// Bytes, memory, latency.
    Size,
    /// Other containers.
    Export,
    /// Preferences.
    Settings,
}

impl View {
    /// All views, in the order of the menu.
    pub const ALL: [Self; 12] = [
        Self::Start,
        Self::Layers,
        Self::Inspector,
        Self::Sensitivity,
        Self::TradeOff,
        Self::Run,
        Self::Train,
        Self::Runs,
        Self::Compare,
        Self::Size,
        Self::Export,
        Self::Settings,
    ];

    /// The word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Layers => "layers",
            Self::Inspector => "inspector",
            Self::Sensitivity => "sensitivity",
            Self::TradeOff => "trade-off",
            Self::Run => "run",
            Self::Train => "train",
            Self::Runs => "runs",
            Self::Compare => "compare",
            Self::Size => "size",
            Self::Export => "export",
            Self::Settings => "settings",
        }
    }

    /// The title of its pane.
    pub fn title(self) -> &'static str {
        match self {
            Self::Start => "Start",
            Self::Layers => "Layers",
            Self::Inspector => "Inspector",
            Self::Sensitivity => "Sensitivity",
            Self::TradeOff => "Trade-off",
            Self::Run => "Run",
            Self::Train => "Train",
            Self::Runs => "Runs",
            Self::Compare => "Compare",
            Self::Size => "Size and latency",
            Self::Export => "Export",
            Self::Settings => "Settings",
        }
    }
}
