//! Reading `config.json` with an error that names the key.
//!
//! Knows no family: types, ranges and finiteness only. Null counts as absent, as in the transformers library.

use super::error::ModelError;
use serde_json::Value;

/// No dimension of a model is larger; keeps products of two dimensions far from overflow.
const LARGEST_DIMENSION: u64 = 1 << 30;

/// One JSON object whose values are asked for by name.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a>(pub(super) &'a Value);

impl<'a> Keys<'a> {
    pub(super) fn get(self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn object(self, key: &str) -> Option<Keys<'a>> {
        self.get(key).filter(|value| value.is_object()).map(Keys)
    }

    /// A dimension: 1 to 2^30.
    pub(super) fn dimension(self, key: &str) -> Result<usize, ModelError> {
        self.dimension_or_none(key)?
            .ok_or_else(|| ModelError::MissingKey {
                key: key.to_owned(),
            })
    }

    pub(super) fn dimension_or(self, key: &str, default: usize) -> Result<usize, ModelError> {
        Ok(self.dimension_or_none(key)?.unwrap_or(default))
    }

    pub(super) fn dimension_or_none(self, key: &str) -> Result<Option<usize>, ModelError> {
        match self.count_or_none(key)? {
            Some(0) => Err(ModelError::bad_key(key, "is 0, but must be at least 1")),
            other => Ok(other),
        }
    }

    /// A whole number from 0 to 2^30.
    pub(super) fn count_or_none(self, key: &str) -> Result<Option<usize>, ModelError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match value.as_u64() {
            Some(number) if number <= LARGEST_DIMENSION => Ok(Some(number as usize)),
            _ => Err(ModelError::bad_key(
                key,
                format!("is {value}, but must be a whole number from 0 to {LARGEST_DIMENSION}"),
            )),
        }
    }

    /// A finite number above 0.
    pub(super) fn positive(self, key: &str) -> Result<f64, ModelError> {
        self.positive_or_none(key)?
            .ok_or_else(|| ModelError::MissingKey {
                key: key.to_owned(),
            })
    }

    pub(super) fn positive_or(self, key: &str, default: f64) -> Result<f64, ModelError> {
        Ok(self.positive_or_none(key)?.unwrap_or(default))
    }

    pub(super) fn positive_or_none(self, key: &str) -> Result<Option<f64>, ModelError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match value.as_f64() {
            Some(number) if number.is_finite() && number > 0.0 => Ok(Some(number)),
            _ => Err(ModelError::bad_key(
                key,
                format!("is {value}, but must be a number above 0"),
            )),
        }
    }

    pub(super) fn flag_or(self, key: &str, default: bool) -> Result<bool, ModelError> {
        let Some(value) = self.get(key) else {
            return Ok(default);
        };
        value.as_bool().ok_or_else(|| {
            ModelError::bad_key(key, format!("is {value}, but must be true or false"))
        })
    }

    pub(super) fn word_or(self, key: &str, default: &'a str) -> Result<&'a str, ModelError> {
        let Some(value) = self.get(key) else {
            return Ok(default);
        };
        value
            .as_str()
            .ok_or_else(|| ModelError::bad_key(key, format!("is {value}, but must be a word")))
    }

    /// A list of finite numbers above 0.
    pub(super) fn positive_list(self, key: &str) -> Result<Vec<f64>, ModelError> {
        let missing = || ModelError::MissingKey {
            key: key.to_owned(),
        };
        let wrong = || ModelError::bad_key(key, "must be a list of numbers above 0");
        let list = self.get(key).ok_or_else(missing)?;
        let list = list.as_array().ok_or_else(wrong)?;
        list.iter()
            .map(|value| {
                value
                    .as_f64()
                    .filter(|number| number.is_finite() && *number > 0.0)
                    .ok_or_else(wrong)
            })
            .collect()
    }
}
