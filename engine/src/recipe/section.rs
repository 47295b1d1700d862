//! One table of a recipe, read key by key with its kind and range checked; errors name the line and the nearest key.
//!
//! Knows no recipe: keys and ranges are handed in.

use std::fmt::Display;
use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::RecipeError;
use super::words::Word;

/// A table of the text and the name that errors call it by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section<'table> {
    text: &'table str,
    title: &'static str,
    table: &'table DeTable<'table>,
}

impl<'table> Section<'table> {
    /// Takes up a table that may hold the keys `known` and no others.
    pub(super) fn new(
        text: &'table str,
        title: &'static str,
        table: &'table DeTable<'table>,
        known: &[&'static str],
    ) -> Result<Self, RecipeError> {
        let unknown = table
            .keys()
            .filter(|key| !known.contains(&key.get_ref().as_ref()))
            .min_by_key(|key| key.span().start);
        match unknown {
            None => Ok(Self { text, title, table }),
            Some(key) => Err(RecipeError::UnknownKey {
                line: line_at(text, key.span().start),
                section: title,
                key: key.get_ref().to_string(),
                advice: advice(key.get_ref(), known),
            }),
        }
    }

    /// The line of `key`'s value; where the key is absent, of the table's first key. Counted for errors alone: it walks the whole text.
    pub(super) fn line_of(&self, key: &str) -> usize {
        let first = || self.table.keys().map(|key| key.span().start).min();
        let value = self.table.get(key).map(|value| value.span().start);
        value
            .or_else(first)
            .map_or(1, |byte| line_at(self.text, byte))
    }

    /// A value of the kind that `take` picks out.
    fn of_kind<T>(
        &self,
        key: &str,
        expected: &'static str,
        take: impl Fn(&'table DeValue<'table>) -> Option<T>,
    ) -> Result<Option<T>, RecipeError> {
        let Some(value) = self.table.get(key).map(Spanned::get_ref) else {
            return Ok(None);
        };
        take(value).map(Some).ok_or_else(|| RecipeError::WrongType {
            line: self.line_of(key),
            key: self.full(key),
            expected,
            found: kind_of(value),
        })
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self, key: &str) -> Result<Option<bool>, RecipeError> {
        self.of_kind(key, "true or false", DeValue::as_bool)
    }

    /// A text.
    pub(super) fn text(&self, key: &str) -> Result<Option<&'table str>, RecipeError> {
        self.of_kind(key, "a text in quotes", DeValue::as_str)
    }

    /// A whole number within `range`.
    pub(super) fn whole(
        &self,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, RecipeError> {
        let integer = self.of_kind(key, "a whole number", DeValue::as_integer)?;
        let Some(integer) = integer else {
            return Ok(None);
        };
        match u64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => Err(self.out_of_range(
                key,
                format!("{} to {}", range.start(), range.end()),
                integer,
            )),
        }
    }

    /// One of a few whole numbers.
    pub(super) fn one_of(
        &self,
        key: &str,
        allowed: &[usize],
    ) -> Result<Option<usize>, RecipeError> {
        let found = self.whole(key, 0..=u64::MAX)?;
        let Some(found) = found else {
            return Ok(None);
        };
        let row = allowed.iter().find(|&&allowed| allowed as u64 == found);
        row.map(|&allowed| Some(allowed))
            .ok_or_else(|| self.out_of_range(key, either(allowed), found))
    }

    /// A number from 0 to 1.
    pub(super) fn share(&self, key: &str) -> Result<Option<f64>, RecipeError> {
        self.number(key, 0.0..=1.0, "0 to 1")
    }

    /// A finite number of 0 or more.
    pub(super) fn amount(&self, key: &str) -> Result<Option<f64>, RecipeError> {
        self.number(key, 0.0..=f64::MAX, "a finite number of 0 or more")
    }

    fn number(
        &self,
        key: &str,
        range: RangeInclusive<f64>,
        allowed: &str,
    ) -> Result<Option<f64>, RecipeError> {
        let text = self.of_kind(key, "a number", |value| match value {
            DeValue::Float(float) => Some(float.as_str()),
            DeValue::Integer(integer) if integer.radix() == 10 => Some(integer.as_str()),
            _ => None,
        })?;
        let Some(text) = text else {
            return Ok(None);
        };
        match text.parse::<f64>() {
            // Adding 0 turns a minus zero into a plain one.
            Ok(number) if range.contains(&number) => Ok(Some(number + 0.0)),
            _ => Err(self.out_of_range(key, allowed.to_owned(), text)),
        }
    }

    /// One of a choice's words.
    pub(super) fn word<T: Word>(&self, key: &str) -> Result<Option<T>, RecipeError> {
        let Some(found) = self.text(key)? else {
            return Ok(None);
        };
        let row = T::TABLE.iter().find(|(word, _)| *word == found);
        row.map(|&(_, choice)| Some(choice))
            .ok_or_else(|| RecipeError::UnknownWord {
                line: self.line_of(key),
                key: self.full(key),
                found: found.to_owned(),
                allowed: list(T::TABLE.iter().map(|(word, _)| *word)),
            })
    }

    /// The table under `key`.
    pub(super) fn table(&self, key: &str) -> Result<Option<&'table DeTable<'table>>, RecipeError> {
        self.of_kind(key, "a table", DeValue::as_table)
    }

    /// Whether a table stands under `key`.
    pub(super) fn is_table(&self, key: &str) -> bool {
        let value = self.table.get(key).map(Spanned::get_ref);
        value.is_some_and(|value| value.as_table().is_some())
    }

    /// The table under `key`, which may hold the keys `known` and no others.
    pub(super) fn section(
        &self,
        key: &str,
        title: &'static str,
        known: &[&'static str],
    ) -> Result<Option<Self>, RecipeError> {
        let table = self.table(key)?;
        table
            .map(|table| Self::new(self.text, title, table, known))
            .transpose()
    }

    /// A list of whole numbers within `range`; `None` where no list stands under `key`.
    pub(super) fn whole_list(
        &self,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<Vec<usize>>, RecipeError> {
        let list = self.table.get(key).map(Spanned::get_ref);
        let Some(list) = list.and_then(DeValue::as_array) else {
            return Ok(None);
        };
        let number = |value: &DeValue<'_>| {
            let integer = value.as_integer()?;
            let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok()?;
            range.contains(&number).then_some(number as usize)
        };
        list.iter()
            .map(|value| {
                number(value.get_ref()).ok_or_else(|| RecipeError::WrongType {
                    line: line_at(self.text, value.span().start),
                    key: self.full(key),
                    expected: "whole numbers",
                    found: kind_of(value.get_ref()),
                })
            })
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// What stands under a key that cannot be left out.
    pub(super) fn needed<T: Word>(&self, key: &str, found: Option<T>) -> Result<T, RecipeError> {
        let words = || list(T::TABLE.iter().map(|(word, _)| *word));
        found.ok_or_else(|| self.unlisted_owned(key, "nothing", words()))
    }

    /// `found` is none of what `key` allows.
    pub(super) fn unlisted(&self, key: &str, found: &str, allowed: &str) -> RecipeError {
        self.unlisted_owned(key, found, allowed.to_owned())
    }

    fn unlisted_owned(&self, key: &str, found: &str, allowed: String) -> RecipeError {
        RecipeError::UnknownWord {
            line: self.line_of(key),
            key: self.full(key),
            found: found.to_owned(),
            allowed,
        }
    }

    /// The tables under `key`, each with the byte where it begins.
    pub(super) fn tables(
        &self,
        key: &str,
    ) -> Result<Vec<(&'table DeTable<'table>, usize)>, RecipeError> {
        const EXPECTED: &str = "tables, each begun with [[layer]]";
        let array = self.of_kind(key, EXPECTED, DeValue::as_array)?;
        let entries = array.into_iter().flat_map(|array| array.iter());
        entries
            .map(|entry: &Spanned<DeValue<'_>>| {
                let start = entry.span().start;
                let table = entry.get_ref().as_table();
                table
                    .map(|table| (table, start))
                    .ok_or_else(|| RecipeError::WrongType {
                        line: line_at(self.text, start),
                        key: self.full(key),
                        expected: EXPECTED,
                        found: kind_of(entry.get_ref()),
                    })
            })
            .collect()
    }

    /// `found` is outside what `key` allows.
    pub(super) fn out_of_range(
        &self,
        key: &str,
        allowed: String,
        found: impl Display,
    ) -> RecipeError {
        RecipeError::OutOfRange {
            line: self.line_of(key),
            key: self.full(key),
            allowed,
            found: found.to_string(),
        }
    }

    /// `key` as errors name it.
    fn full(&self, key: &str) -> String {
        format!("{} {key}", self.title)
    }
}

/// The line (counted from 1) of a byte of `text`.
pub(super) fn line_at(text: &str, byte: usize) -> usize {
    let before = text.as_bytes().get(..byte).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

/// What to do about an unknown key: the nearest one where one is near, and always the whole list.
fn advice(key: &str, known: &[&'static str]) -> String {
    const NEAR: f64 = 0.5;
    let nearest = known
        .iter()
        .map(|&candidate| {
            (
                strsim::normalized_damerau_levenshtein(key, candidate),
                candidate,
            )
        })
        .max_by(|(left, _), (right, _)| left.total_cmp(right));
    let keys = list(known.iter().copied());
    match nearest {
        Some((similarity, nearest)) if similarity >= NEAR => {
            format!("the nearest key is {nearest} (its keys: {keys})")
        }
        _ => format!("its keys are {keys}"),
    }
}

fn list<'word>(words: impl Iterator<Item = &'word str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

/// `0, 32 or 128`.
fn either(numbers: &[usize]) -> String {
    let words: Vec<String> = numbers.iter().map(usize::to_string).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, first)) => format!("{} or {last}", first.join(", ")),
        None => String::new(),
    }
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
