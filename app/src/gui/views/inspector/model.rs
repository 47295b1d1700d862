//! Previews and reports as pictures: heights of bins, channels, facts; made once for each answer, never in a frame.

use super::facts::{self, Fact};
use crate::studio::Project;
use crate::studio::project::Stage;
use pare_engine::preview::{Channel, Preview, outlier_channels};
use pare_engine::report::{Histogram, Histograms};
use std::collections::HashMap;

/// Bins of the strip of channels: about one for each pixel of a pane.
const STRIP_BINS: usize = 320;

/// Channels listed as outliers.
const OUTLIERS: usize = 6;

/// Pictures kept.
const MOST_PICTURES: usize = 32;

/// What a picture was made of.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Key {
    answer: Option<(u64, Stage, bool)>,
    measured: Option<f64>,
    is_fresh: bool,
    is_log: bool,
    latency: u64,
}

/// One layer, ready to be drawn.
#[derive(Debug, Clone, Default)]
pub(super) struct Picture {
    /// Weights before and after, 0 to 1, over `[-limit, limit]`.
    pub(super) before: Vec<f32>,
    pub(super) after: Vec<f32>,
    /// Of the weights before, those that become zero; empty where none does.
    pub(super) pruned: Vec<f32>,
    /// Share of weights that become zero.
    pub(super) pruned_share: f64,
    pub(super) limit: f32,
    /// What moved, over `[-error_limit, error_limit]`.
    pub(super) error: Vec<f32>,
    pub(super) error_limit: f32,
    /// Smallest and largest weight that codes can stand for, where known.
    pub(super) clip: Option<[f32; 2]>,
    /// Largest magnitude of each stretch of channels, 0 to 1.
    pub(super) strip: Vec<f32>,
    /// Channels in all.
    pub(super) channels: Vec<Channel>,
    /// The largest magnitude of all.
    pub(super) largest: f32,
    /// Channels that stand out, farthest first.
    pub(super) outliers: Vec<usize>,
    /// Named figures.
    pub(super) facts: Vec<Fact>,
}

/// Pictures by layer.
#[derive(Debug, Default)]
pub(super) struct Pictures {
    made: HashMap<usize, (Key, Picture)>,
}

impl Pictures {
    /// The picture of `layer`, made anew only where what it shows has changed.
    pub(super) fn of(&mut self, project: &Project, layer: usize, is_log: bool) -> &Picture {
        let key = key(project, layer, is_log);
        if self.made.len() > MOST_PICTURES {
            self.made.clear();
        }
        let slot = self
            .made
            .entry(layer)
            .or_insert_with(|| (key, picture(project, layer, is_log)));
        if slot.0 != key {
            *slot = (key, picture(project, layer, is_log));
        }
        &slot.1
    }
}

fn key(project: &Project, layer: usize, is_log: bool) -> Key {
    let answer = project.answer(layer);
    let measured = project.measured_now(layer);
    Key {
        answer: answer.map(|(answer, _)| (answer.question, answer.stage, answer.is_outdated)),
        is_fresh: answer.is_some_and(|(_, is_fresh)| is_fresh),
        measured: measured.map(|report| report.max_error.unwrap_or(0.0) + report.seconds),
        latency: project.latency.version,
        is_log,
    }
}

fn picture(project: &Project, layer: usize, is_log: bool) -> Picture {
    let preview = project
        .answer(layer)
        .and_then(|(answer, _)| answer.result.as_ref().ok());
    let measured = project.measured_now(layer);
    let histograms = measured
        .and_then(|report| report.histograms.as_ref())
        .or_else(|| preview.map(|preview| &preview.histograms));
    let mut picture = Picture {
        facts: facts::of(project, layer),
        ..Picture::default()
    };
    if let Some(histograms) = histograms {
        fill_histograms(&mut picture, histograms, is_log);
    }
    if let Some(preview) = preview {
        picture.clip = Some([preview.clip_low, preview.clip_high]);
        fill_channels(&mut picture, preview);
    }
    picture
}

fn fill_histograms(picture: &mut Picture, histograms: &Histograms, is_log: bool) {
    let (before, pruned) = (&histograms.before, histograms.pruned.as_ref());
    let after = &without_zeros(&histograms.after, pruned);
    let limit = used_limit(before).max(used_limit(after));
    picture.limit = limit;
    // One scale for both: else a bin of the same count would have two heights.
    let most = before.counts.iter().chain(&after.counts).copied().max();
    let most = most.unwrap_or(0);
    picture.before = heights(before, limit, most, is_log);
    picture.after = heights(after, limit, most, is_log);
    if let Some(pruned) = pruned {
        let count = |histogram: &Histogram| histogram.counts.iter().sum::<u64>();
        picture.pruned = heights(pruned, limit, most, is_log);
        picture.pruned_share = count(pruned) as f64 / count(before).max(1) as f64;
    }
    let error = &histograms.error;
    picture.error_limit = used_limit(error);
    let most = error.counts.iter().copied().max().unwrap_or(0);
    picture.error = heights(error, picture.error_limit, most, is_log);
}

/// Weights after without the zeros of those that are pruned: one bar of half of all weights would flatten the rest.
fn without_zeros(after: &Histogram, pruned: Option<&Histogram>) -> Histogram {
    let mut kept = after.clone();
    let zeros: u64 = pruned.map_or(0, |pruned| pruned.counts.iter().sum());
    let middle = kept.counts.len() / 2;
    if let Some(count) = kept.counts.get_mut(middle) {
        *count = count.saturating_sub(zeros);
    }
    kept
}

/// The smallest half range, in whole bins, that holds all that was counted.
fn used_limit(histogram: &Histogram) -> f32 {
    let half = histogram.counts.len() / 2;
    let far =
        |(index, _): (usize, &u64)| (half - index.min(half)).max((index + 1).saturating_sub(half));
    let used = histogram
        .counts
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0);
    let bins = used.map(far).max().unwrap_or(half);
    histogram.limit * bins as f32 / half.max(1) as f32
}

/// Counts inside `[-limit, limit]` as heights.
fn heights(histogram: &Histogram, limit: f32, most: u64, is_log: bool) -> Vec<f32> {
    let half = histogram.counts.len() / 2;
    if histogram.limit <= 0.0 || limit <= 0.0 {
        return Vec::new();
    }
    let bins = (limit / histogram.limit * half as f32).round() as usize;
    let height = |count: u64| match (most, is_log) {
        (0, _) => 0.0,
        (most, true) => ((count as f64).ln_1p() / (most as f64).ln_1p()) as f32,
        (most, false) => count as f32 / most as f32,
    };
    let empty = bins.saturating_sub(half);
    let kept = &histogram.counts[half - bins.min(half)..half + bins.min(half)];
    let room = || std::iter::repeat_n(0.0, empty);
    room()
        .chain(kept.iter().map(|&count| height(count)))
        .chain(room())
        .collect()
}

fn fill_channels(picture: &mut Picture, preview: &Preview) {
    let channels = &preview.channels;
    picture.largest = channels
        .iter()
        .map(|channel| channel.abs_max)
        .fold(0.0, f32::max);
    let bins = channels.len().min(STRIP_BINS);
    let largest = picture.largest.max(f32::MIN_POSITIVE);
    let bin = |bin: usize| {
        let (first, last) = (
            bin * channels.len() / bins,
            (bin + 1) * channels.len() / bins,
        );
        let most = channels[first..last].iter().map(|channel| channel.abs_max);
        most.fold(0.0, f32::max) / largest
    };
    picture.strip = (0..bins).map(bin).collect();
    picture.outliers = outlier_channels(channels, OUTLIERS);
    picture.channels.clone_from(channels);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(limit: f32, filled: &[(usize, u64)]) -> Histogram {
        let mut counts = vec![0; 256];
        for &(bin, count) in filled {
            counts[bin] = count;
        }
        Histogram { limit, counts }
    }

    #[test]
    fn ranges_hold_all_that_was_counted() {
        for (filled, expected) in [
            (vec![(128, 5)], 1.0 / 128.0),
            (vec![(127, 5)], 1.0 / 128.0),
            (vec![(64, 1), (128, 9)], 0.5),
            (vec![(191, 1)], 0.5),
            (vec![(0, 1)], 1.0),
            (vec![(255, 1)], 1.0),
            (vec![], 1.0),
        ] {
            assert_eq!(used_limit(&histogram(1.0, &filled)), expected, "{filled:?}");
        }
    }

    #[test]
    fn histograms_of_two_ranges_share_one() {
        let wide = histogram(2.0, &[(0, 1), (128, 100)]);
        let narrow = histogram(1.0, &[(128, 100)]);
        let limit = used_limit(&wide).max(used_limit(&narrow));
        let (wide, narrow) = (
            heights(&wide, limit, 100, false),
            heights(&narrow, limit, 100, false),
        );
        assert_eq!((wide.len(), narrow.len()), (256, 512));
        assert_eq!((wide[128], narrow[256]), (1.0, 1.0), "both in the middle");
        assert_eq!(wide[0], 0.01);
    }
}
