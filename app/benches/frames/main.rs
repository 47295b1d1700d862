//! Seconds of a frame: layout and tessellation of the real window, each view in front, a thousand layers open and a run
//! at work; of an edit of all layers; and from a checkpoint of 13.5 GB to its table.
//!
//! `cargo bench -p pare --bench frames [-- --frames 200 --layers 1000]`. Prints and never fails: whether a figure is
//! good enough depends on the machine. Drawing itself is left out: that is the graphics card's.

#![allow(clippy::unwrap_used)] // A tool for people who work on the window.
#![allow(clippy::print_stdout)]

mod checkpoint;
mod stand;

use checkpoint::Shape;
use pare::studio::Command;
use pare::studio::action::{Action, View};
use pare::studio::draft::LayerEdit;
use stand::Stand;
use std::time::{Duration, Instant};

/// A frame has so long if nobody is to notice it.
const GOAL: Duration = Duration::from_millis(8);

fn main() {
    let frames = option("--frames", 200);
    let blocks = option("--layers", 1000).div_ceil(Shape::LINEAR);
    let folder = tempfile::tempdir().unwrap();
    let model = checkpoint::write(folder.path(), &Shape::small(blocks));
    let mut stand = Stand::open(folder.path(), &model);
    let layers = stand.app.studio.project().unwrap().layers.len();
    stand.pretend_run();
    stand.pretend_sensitivity();
    println!("{layers} tensors, a run at work, {frames} frames of 1400 x 900 points each");
    println!(
        "{:<28}{:>9}{:>9}{:>9}",
        "milliseconds", "p50", "p95", "most"
    );
    for view in View::ALL.into_iter().filter(|view| *view != View::Start) {
        stand.command(Command::Show(view));
        let seconds = stand.frames(frames, |_, _| {});
        tell(view.title(), seconds);
    }
    stand.pretend_training();
    stand.command(Command::Show(View::Train));
    let seconds = stand.frames(frames, |_, _| {});
    tell("training of 100,000 steps", seconds);
    edits(&mut stand, frames);
    budgets(&mut stand, frames);
    drop(stand);
    table_of_a_large_model(folder.path());
}

/// Frames that answer something that concerns every layer.
fn edits(stand: &mut Stand, frames: usize) {
    stand.command(Command::Show(View::Layers));
    stand.command(Command::Act(Action::SelectAll));
    let seconds = stand.frames(frames, |stand, frame| {
        stand.command(Command::Edit {
            edit: LayerEdit::Bits(2 + (frame % 7) as u8),
            layers: None,
            gesture: None,
        });
    });
    tell("edit of all layers", seconds);
    let seconds = stand.frames(frames, |stand, frame| {
        let filters = ["re:mlp\\.(up|down)", "bits<9 role:mlp", "block:3", ""];
        stand.command(Command::Filter(filters[frame % filters.len()].to_owned()));
    });
    tell("filter as it is typed", seconds);
}

/// Frames of a budget that is dragged: each is answered with bits for every layer.
fn budgets(stand: &mut Stand, frames: usize) {
    stand.command(Command::Show(View::TradeOff));
    let front = stand.app.studio.project().unwrap().outlook.front.clone();
    let (Some(first), Some(last)) = (front.first(), front.last()) else {
        return println!("there is no front to drag a budget along");
    };
    let (least, room) = (first.bytes, last.bytes - first.bytes);
    let seconds = stand.frames(frames, |stand, frame| {
        let share = (frame * 37 % 100) as u64;
        stand.command(Command::SetBudget(least + room / 100 * share));
    });
    tell("budget as it is dragged", seconds);
}

/// From the command to the first frame with the table, headers of 13.5 GB in cache.
fn table_of_a_large_model(folder: &std::path::Path) {
    let large = folder.join("large");
    let model = checkpoint::write(&large, &Shape::llama_7b());
    let began = Instant::now();
    let mut stand = Stand::open_to_table(&large, &model);
    let table = began.elapsed();
    let layers = stand.app.studio.project().unwrap().layers.len();
    println!(
        "13.5 GB, {layers} tensors: table after {:.3} s",
        table.as_secs_f64()
    );
    stand.app.finish();
}

fn tell(what: &str, mut seconds: Vec<f64>) {
    seconds.sort_by(f64::total_cmp);
    let at = |share: f64| 1e3 * seconds[((seconds.len() - 1) as f64 * share).round() as usize];
    let [median, most_frames, most] = [0.5, 0.95, 1.0].map(at);
    let verdict = match most_frames <= 1e3 * GOAL.as_secs_f64() {
        true => "",
        false => "  over the goal of 8 ms",
    };
    println!("{what:<28}{median:>9.2}{most_frames:>9.2}{most:>9.2}{verdict}");
}

/// A number on the command line; cargo adds words of its own, which are left alone.
fn option(name: &str, default: usize) -> usize {
    let mut words = std::env::args().skip_while(|word| word != name);
    words
        .nth(1)
        .and_then(|word| word.parse().ok())
        .unwrap_or(default)
}
