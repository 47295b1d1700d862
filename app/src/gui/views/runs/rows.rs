//! The rows of the table as text, in order: made anew only when runs, order or baseline change.

use crate::gui::widgets::{error_text, interval_text};
use crate::studio::Studio;
use crate::studio::runs::{Run, RunId, RunStatus};
use crate::studio::train::Training;
use pare_engine::report::Evaluation;
use pare_engine::units::Bytes;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Columns of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Name,
    Kind,
    Model,
    Created,
    Status,
    Format,
    Size,
    Bits,
    Loss,
    Quality,
    Trained,
    Seconds,
    Memory,
    Recipe,
}

impl Column {
    /// All, from left to right.
    pub(super) const ALL: [Self; 14] = [
        Self::Name,
        Self::Status,
        Self::Kind,
        Self::Size,
        Self::Bits,
        Self::Loss,
        Self::Quality,
        Self::Trained,
        Self::Seconds,
        Self::Memory,
        Self::Format,
        Self::Model,
        Self::Created,
        Self::Recipe,
    ];

    /// The header.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Kind => "kind",
            Self::Trained => "loss before → after",
            Self::Model => "model",
            Self::Created => "asked for (UTC)",
            Self::Status => "status",
            Self::Format => "format",
            Self::Size => "size",
            Self::Bits => "bpw",
            Self::Loss => "KL ± SE, nats",
            Self::Quality => "ppl",
            Self::Seconds => "seconds",
            Self::Memory => "peak memory",
            Self::Recipe => "recipe",
        }
    }

    /// What the header's hover says.
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::Loss => {
                "Mean KL of a decoder per token with its standard error; cosine of an encoder"
            }
            Self::Quality => "Perplexity of a decoder; Spearman of an encoder",
            Self::Trained => {
                "What training lost before its first step and at its best, on held-out sequences where there are any"
            }
            Self::Bits => "Stored bits per weight over the compressed layers",
            Self::Recipe => "First digits of the recipe's SHA-256",
            _ => "Click to sort",
        }
    }

    /// Whether its cells are numbers, set right.
    pub(super) fn is_number(self) -> bool {
        matches!(
            self,
            Self::Size
                | Self::Bits
                | Self::Loss
                | Self::Quality
                | Self::Trained
                | Self::Seconds
                | Self::Memory
        )
    }

    /// Points that it takes at first.
    pub(super) fn width(self) -> f32 {
        match self {
            Self::Name => 132.0,
            Self::Model => 120.0,
            Self::Created | Self::Loss | Self::Trained => 128.0,
            Self::Kind => 112.0,
            Self::Recipe | Self::Status | Self::Memory => 96.0,
            Self::Size => 84.0,
            Self::Format | Self::Bits | Self::Seconds => 64.0,
            Self::Quality => 76.0,
        }
    }
}

/// One row.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: RunId,
    /// In the order of `Column::ALL`.
    pub(super) cells: [String; Column::ALL.len()],
}

/// All rows.
#[derive(Debug, Default)]
pub(super) struct Rows {
    made_for: Option<u64>,
    pub(super) rows: Vec<Row>,
}

impl Rows {
    /// Makes the rows anew where anything that they show has changed.
    pub(super) fn follow(
        &mut self,
        studio: &Studio,
        sort: Option<(Column, bool)>,
        differences: bool,
    ) {
        let mark = mark(studio, sort, differences);
        if self.made_for == Some(mark) {
            return;
        }
        self.made_for = Some(mark);
        let mut runs: Vec<&Run> = studio.runs.iter().collect();
        if let Some((column, down)) = sort {
            runs.sort_by(|left, right| {
                let order = key(left, column).cmp(&key(right, column));
                if down { order.reverse() } else { order }
            });
        }
        runs.sort_by_key(|run| !run.pinned);
        let row = |run: &&Run| {
            let baseline = studio.runs.iter();
            let mut baseline = baseline.filter(|other| other.pinned && other.model == run.model);
            let baseline = baseline.find(|other| differences && other.id != run.id);
            Row {
                id: run.id,
                cells: Column::ALL.map(|column| cell(run, column, baseline)),
            }
        };
        self.rows = runs.iter().map(row).collect();
    }
}

/// Changes whenever a row would.
fn mark(studio: &Studio, sort: Option<(Column, bool)>, differences: bool) -> u64 {
    let mut hasher = DefaultHasher::new();
    sort.map(|(column, down)| (column as u8, down))
        .hash(&mut hasher);
    differences.hash(&mut hasher);
    for run in &studio.runs {
        run.id.hash(&mut hasher);
        run.name.hash(&mut hasher);
        run.status.word().hash(&mut hasher);
        (run.pinned, run.evaluations.len(), run.bytes().is_some()).hash(&mut hasher);
    }
    hasher.finish()
}

/// Numbers sort by value, whatever their text; unknown ones come last.
#[derive(Debug, PartialEq, PartialOrd)]
enum Key {
    Number(f64),
    Text(String),
    Unknown,
}

impl Eq for Key {}

#[expect(clippy::derive_ord_xor_partial_ord, reason = "no number here is NaN")]
impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        match (self, other) {
            (Self::Number(left), Self::Number(right)) => left.total_cmp(right),
            _ => self.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal),
        }
    }
}

fn key(run: &Run, column: Column) -> Key {
    match column {
        Column::Created => Key::Number(run.created_unix_ms as f64),
        column if column.is_number() => number(run, column).map_or(Key::Unknown, Key::Number),
        column => Key::Text(cell(run, column, None)),
    }
}

fn number(run: &Run, column: Column) -> Option<f64> {
    let report = run.report.as_ref();
    match column {
        Column::Size => run.bytes().map(|bytes| bytes as f64),
        Column::Bits => report.map(|report| report.bits_per_weight),
        Column::Seconds => run.seconds(),
        Column::Memory => run.peak_bytes().map(|bytes| bytes as f64),
        Column::Trained => run.training.as_ref()?.losses().map(|[_, after]| after),
        Column::Loss => match run.evaluation()? {
            Evaluation::Decoder(decoder) => decoder.kl.as_ref().map(|kl| kl.mean),
            Evaluation::Encoder(encoder) => encoder.cosine.as_ref().map(|cosine| cosine.mean),
        },
        Column::Quality => match run.evaluation()? {
            Evaluation::Decoder(decoder) => Some(decoder.perplexity),
            Evaluation::Encoder(encoder) => encoder.spearman,
        },
        _ => None,
    }
}

fn cell(run: &Run, column: Column, baseline: Option<&Run>) -> String {
    if let (Column::Trained, Some([before, after])) =
        (column, run.training.as_ref().and_then(Training::losses))
        && baseline.is_none()
    {
        return format!("{before:.3} → {after:.3}");
    }
    if let Some(value) = number(run, column) {
        let compared = baseline.and_then(|baseline| number(baseline, column));
        return match compared {
            Some(from) => signed(run, column, value - from),
            None => written(run, column, value),
        };
    }
    match column {
        Column::Name => run.name.clone(),
        Column::Kind => run.kind(),
        Column::Model => {
            let name = run.model.file_name().unwrap_or(run.model.as_os_str());
            name.to_string_lossy().into_owned()
        }
        Column::Created => utc(run.created_unix_ms),
        Column::Status => run.status.word().to_owned(),
        Column::Format => run.format.clone(),
        Column::Recipe => run.recipe_hash.chars().take(8).collect(),
        _ if run.status == RunStatus::Done => "–".to_owned(),
        _ => String::new(),
    }
}

fn written(run: &Run, column: Column, value: f64) -> String {
    match column {
        Column::Size | Column::Memory => Bytes(value as u64).to_string(),
        Column::Bits => format!("{value:.2}"),
        Column::Seconds => format!("{value:.1}"),
        Column::Quality | Column::Trained => format!("{value:.3}"),
        _ => match run.kl().and_then(|(_, stderr)| stderr) {
            Some(stderr) => interval_text(value, stderr),
            None => error_text(value),
        },
    }
}

/// A difference, always with its sign.
fn signed(run: &Run, column: Column, difference: f64) -> String {
    let sign = if difference < 0.0 { "−" } else { "+" };
    // An encoder's cosine has no interval; a decoder's belongs to its own figure, not to the difference.
    let text = match column {
        Column::Loss => error_text(difference.abs()),
        column => written(run, column, difference.abs()),
    };
    format!("{sign}{text}")
}

/// Date and minute of a time since 1970, by the rules of the Gregorian calendar.
fn utc(unix_ms: i64) -> String {
    let minutes = unix_ms.div_euclid(60_000);
    let (day, minute) = (minutes.div_euclid(1440), minutes.rem_euclid(1440));
    // Howard Hinnant's days-to-civil: years begin in March, eras have 146,097 days.
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!(
        "{year}-{month:02}-{date:02} {:02}:{:02}",
        minute / 60,
        minute % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let cases = [
            (0, "1970-01-01 00:00"),
            (951_782_400_000, "2000-02-29 00:00"),
            (1_800_000_000_000, "2027-01-15 08:00"),
            (4_107_542_340_000, "2100-02-28 23:59"),
        ];
        for (unix_ms, expected) in cases {
            assert_eq!(utc(unix_ms), expected, "{unix_ms}");
        }
    }

    #[test]
    fn numbers_sort_by_value_and_unknown_ones_last() {
        let mut keys = [Key::Unknown, Key::Number(10.0), Key::Number(9.0)];
        keys.sort();
        assert_eq!(keys, [Key::Number(9.0), Key::Number(10.0), Key::Unknown]);
    }
}
