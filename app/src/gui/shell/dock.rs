//! Panes that a person can move: which views are where, kept between sessions.

use crate::gui::scene::Scene;
use crate::gui::views;
use crate::studio::action::View;
use crate::studio::state::Phase;
use egui::{Color32, Ui, Visuals, WidgetText};
use egui_tiles::{
    Behavior, Container, EditAction, SimplificationOptions, Tile, TileId, Tiles, Tree, UiResponse,
};

/// The panes.
#[derive(Debug)]
pub(super) struct Dock {
    tree: Tree<View>,
    edited: bool,
    /// The filter of the layers wants the caret.
    pub(super) focus_filter: bool,
    /// Panes are shown although nothing is open: a person asked for a view.
    asked_for: bool,
}

impl Dock {
    pub(super) fn new() -> Self {
        Self {
            tree: first_layout(),
            edited: false,
            focus_filter: false,
            asked_for: false,
        }
    }

    pub(super) fn is_asked_for(&self) -> bool {
        self.asked_for
    }

    pub(super) fn show(&mut self, ui: &mut Ui, scene: &mut Scene<'_>, memory: &mut views::Memory) {
        if std::mem::take(&mut self.focus_filter) {
            memory.layers.focus_filter = true;
        }
        if matches!(scene.studio.phase, Phase::Open(_)) {
            self.asked_for = false;
        }
        let mut hands = Hands {
            scene,
            memory,
            edited: false,
        };
        self.tree.ui(&mut hands, ui);
        self.edited |= hands.edited;
    }

    /// Brings a view to the front; puts it back where it was taken away.
    pub(super) fn focus(&mut self, view: View) {
        self.asked_for = view != View::Start;
        if self.tree.tiles.find_pane(&view).is_none() {
            let pane = self.tree.tiles.insert_pane(view);
            match self.tree.root() {
                Some(root) => self
                    .tree
                    .move_tile_to_container(pane, root, usize::MAX, false),
                None => self.tree.root = Some(pane),
            }
        }
        self.tree
            .make_active(|_, tile| matches!(tile, Tile::Pane(shown) if *shown == view));
    }

    /// The next tab of the group that was used last, in the order of the menu.
    pub(super) fn next(&mut self) {
        let active = self.tree.active_tiles();
        let shown: Vec<View> = active
            .iter()
            .filter_map(|tile| self.tree.tiles.get_pane(tile).copied())
            .collect();
        let hidden = View::ALL
            .into_iter()
            .find(|view| *view != View::Start && !shown.contains(view));
        if let Some(view) = hidden {
            self.focus(view);
        }
    }

    pub(super) fn reset(&mut self) {
        self.tree = first_layout();
        self.edited = true;
    }

    pub(super) fn restore(&mut self, layout: Option<&str>) {
        // A layout of another version is not worth an error: the first one stands in.
        if let Some(tree) = layout.and_then(|text| serde_json::from_str(text).ok()) {
            self.tree = tree;
        }
    }

    pub(super) fn changed(&mut self) -> Option<String> {
        std::mem::take(&mut self.edited).then(|| serde_json::to_string(&self.tree).ok())?
    }
}

/// Layers and inspector above, trade-off and the rest below.
fn first_layout() -> Tree<View> {
    let mut tiles = Tiles::default();
    let layers = tiles.insert_pane(View::Layers);
    let beside: Vec<TileId> = [View::Inspector, View::Sensitivity]
        .into_iter()
        .map(|view| tiles.insert_pane(view))
        .collect();
    let beside = tiles.insert_tab_tile(beside);
    let above = share(&mut tiles, [layers, beside], [0.56, 0.44], true);
    let left: Vec<TileId> = [View::TradeOff, View::Size]
        .into_iter()
        .map(|view| tiles.insert_pane(view))
        .collect();
    let right: Vec<TileId> = [
        View::Run,
        View::Train,
        View::Runs,
        View::Compare,
        View::Export,
        View::Settings,
    ]
    .into_iter()
    .map(|view| tiles.insert_pane(view))
    .collect();
    let left = tiles.insert_tab_tile(left);
    let right = tiles.insert_tab_tile(right);
    let below = share(&mut tiles, [left, right], [0.45, 0.55], true);
    let root = share(&mut tiles, [above, below], [0.6, 0.4], false);
    let mut tree = Tree::new(egui::Id::unique("panes"), root, tiles);
    tree.make_active(|_, tile| {
        matches!(
            tile,
            Tile::Pane(View::Inspector | View::Run | View::TradeOff)
        )
    });
    tree
}

fn share(
    tiles: &mut Tiles<View>,
    children: [TileId; 2],
    shares: [f32; 2],
    horizontal: bool,
) -> TileId {
    let mut linear = egui_tiles::Linear {
        children: children.to_vec(),
        dir: match horizontal {
            true => egui_tiles::LinearDir::Horizontal,
            false => egui_tiles::LinearDir::Vertical,
        },
        ..Default::default()
    };
    for (child, share) in children.into_iter().zip(shares) {
        linear.shares.set_share(child, share);
    }
    tiles.insert_container(Container::Linear(linear))
}

/// Draws panes.
struct Hands<'a, 'b> {
    scene: &'a mut Scene<'b>,
    memory: &'a mut views::Memory,
    edited: bool,
}

impl Behavior<View> for Hands<'_, '_> {
    fn pane_ui(&mut self, ui: &mut Ui, _tile: TileId, view: &mut View) -> UiResponse {
        let grid = self.scene.look.measures.grid as i8;
        egui::Frame::new()
            .fill(self.scene.look.colours.surface)
            .inner_margin(egui::Margin::symmetric(2 * grid, grid))
            .show(ui, |ui| {
                ui.set_min_size(ui.available_size());
                views::show(*view, ui, self.scene, self.memory);
            });
        UiResponse::None
    }

    fn tab_title_for_pane(&mut self, view: &View) -> WidgetText {
        view.title().into()
    }

    fn simplification_options(&self) -> SimplificationOptions {
        SimplificationOptions {
            all_panes_must_have_tabs: true,
            ..Default::default()
        }
    }

    fn gap_width(&self, _style: &egui::Style) -> f32 {
        2.0
    }

    fn tab_bar_color(&self, _visuals: &Visuals) -> Color32 {
        self.scene.look.colours.raised
    }

    fn on_edit(&mut self, _action: EditAction) {
        self.edited = true;
    }
}
