//! What a verb answers: one JSON document for programs and one page for people.
//!
//! Knows neither verbs nor the terminal.

use crate::cli::failure::Failure;
use serde::Serialize;

/// Both faces of one result.
#[derive(Debug)]
pub(crate) struct Answer {
    /// For `--json`. NaN and infinities cannot appear: `serde_json` has no numbers for them and writes null.
    pub(crate) document: serde_json::Value,
    /// For people; lines end with `\n`.
    pub(crate) page: String,
}

impl Answer {
    /// `report` as it serializes, beside the `page` that tells the same to people.
    pub(crate) fn new(report: &impl Serialize, page: String) -> Result<Self, Failure> {
        Ok(Self {
            document: serde_json::to_value(report).map_err(Failure::failed)?,
            page,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_that_json_lacks_become_null() {
        let answer = Answer::new(&[f64::NAN, f64::INFINITY, 1.5], String::new()).unwrap();
        assert_eq!(answer.document.to_string(), "[null,null,1.5]");
    }
}
