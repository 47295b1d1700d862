//! Strings and numbers as people read them on a page: escaped, three digits, with units.
//!
//! Every string of a file is hostile until it went through `escape`. Knows no report.

use crate::units::Bytes;

/// Between a number and its unit, and between thousands: narrow and never broken.
const NARROW: char = '\u{202f}';

/// `text` as text or as an attribute's value, in HTML and in XML alike. Signs that steer what others look like become
/// visible.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(letter),
            letter if is_steering(letter) => {
                safe.push_str(&format!("[U+{:04X}]", u32::from(letter)));
            }
            letter => safe.push(letter),
        }
    }
    safe
}

/// Controls, marks that turn the direction of writing, and what XML forbids.
fn is_steering(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(
            letter,
            '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
        )
}

/// Three significant digits.
pub(super) fn figure(value: f64) -> String {
    significant(value, 3)
}

/// So many significant digits; powers of ten where plain digits would be long.
pub(super) fn significant(value: f64, digits: i32) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if !value.is_finite() {
        return "not a number".to_owned();
    }
    let power = value.abs().log10().floor() as i32;
    if !(-3..6).contains(&power) {
        return format!("{value:.*e}", (digits - 1).max(0) as usize);
    }
    let decimals = (digits - 1 - power).max(0) as usize;
    format!("{value:.decimals$}")
}

/// A measured value with its standard error, where there is one: both with the decimals of the error's second digit.
pub(super) fn measured(value: f64, stderr: Option<f64>) -> String {
    match stderr.filter(|stderr| *stderr > 0.0 && stderr.is_finite()) {
        Some(stderr) => {
            let decimals = decimals_of(stderr);
            format!("{value:.decimals$} ± {stderr:.decimals$}")
        }
        None => significant(value, 4),
    }
}

/// Decimals at which a standard error has two digits.
pub(super) fn decimals_of(stderr: f64) -> usize {
    let power = stderr.abs().log10().floor() as i32;
    (1 - power).clamp(0, 12) as usize
}

/// A share as percent.
pub(super) fn percent(share: f64) -> String {
    format!("{}{NARROW}%", figure(100.0 * share))
}

/// A whole number with its thousands apart.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(NARROW);
        }
        text.push(digit);
    }
    text
}

/// So many of something: `1 layer`, `2 layers`.
pub(super) fn counted(number: usize, word: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {word}{ending}", count(number as u64))
}

/// Bytes in decimal multiples.
pub(super) fn bytes(number: u64) -> String {
    Bytes(number).to_string().replace(' ', &NARROW.to_string())
}

/// A duration.
pub(super) fn seconds(value: f64) -> String {
    if value < 100.0 || !value.is_finite() {
        return format!("{}{NARROW}s", figure(value));
    }
    let whole = value.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, minutes, seconds) => format!("{minutes}{NARROW}min {seconds}{NARROW}s"),
        (hours, minutes, _) => format!("{hours}{NARROW}h {minutes}{NARROW}min"),
    }
}

/// A moment in coordinated universal time, from seconds since 1970 (Hinnant, days to civil date).
pub(super) fn date(unix_seconds: u64) -> String {
    // The year 9999 is far enough.
    let unix_seconds = unix_seconds.min(253_402_300_799);
    let days = unix_seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Years begin in March here.
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = year_of_era + era * 400 + carry;
    let second = unix_seconds % 86_400;
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02} UTC",
        second / 3600,
        second / 60 % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_name_is_markup() {
        let cases = [
            (
                "<script>alert('&\")</script>",
                "&lt;script&gt;alert(&#39;&amp;&quot;)&lt;/script&gt;",
            ),
            ("a\u{202e}b\u{0}c", "a[U+202E]b[U+0000]c"),
            ("zeile\nzwei\u{ffff}", "zeile\nzwei[U+FFFF]"),
            ("größe", "größe"),
        ];
        for (text, expected) in cases {
            assert_eq!(escape(text), expected, "{text:?}");
        }
    }

    #[test]
    fn numbers_have_three_digits() {
        let cases = [
            (0.0, "0"),
            (2.109_44, "2.11"),
            (0.004_719, "0.00472"),
            (209_512.0, "209512"),
            (4.4e-5, "4.40e-5"),
            (-12.345, "-12.3"),
            (1e9, "1.00e9"),
            (f64::NAN, "not a number"),
        ];
        for (value, expected) in cases {
            assert_eq!(figure(value), expected, "{value}");
        }
        assert_eq!(measured(2.109_44, Some(0.0204)), "2.109 ± 0.020");
        assert_eq!(measured(0.004_719, Some(0.000_23)), "0.00472 ± 0.00023");
        assert_eq!(measured(2.109_44, None), "2.109");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(count(12), "12");
        assert_eq!(percent(0.0083), "0.830\u{202f}%");
    }

    #[test]
    fn moments_and_durations_read_as_people_write_them() {
        let cases = [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_732_370_700, "2024-11-23 14:05 UTC"),
            (u64::MAX, "9999-12-31 23:59 UTC"),
        ];
        for (moment, expected) in cases {
            assert_eq!(date(moment), expected, "{moment}");
        }
        assert_eq!(seconds(0.912), "0.912\u{202f}s");
        assert_eq!(seconds(245.0), "4\u{202f}min 5\u{202f}s");
        assert_eq!(seconds(7_260.0), "2\u{202f}h 1\u{202f}min");
    }
}
