//! What `distill` is asked.
//!
//! Types and their words only.

use crate::recipe::Recipe;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Who is trained.
#[derive(Debug, Clone, PartialEq)]
pub enum StudentSpec {
    /// A model as it lies.
    Model(PathBuf),
    /// The teacher with a share of its blocks.
    Depth {
        /// Share that stays, above 0 and below 1.
        share: f64,
        /// Blocks at even distances stay, instead of those that change their input most.
        evenly: bool,
    },
    /// The teacher with a share of its heads and neurons.
    Width {
        /// Share that stays, above 0 and below 1.
        share: f64,
    },
    /// A network of this `config.json`, its weights drawn anew.
    Config(PathBuf),
}

/// A word that names no student.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no student; write the folder of a model, depth:0.5 (or depth:0.5:even), width:0.5 or config:FILE"
)]
pub struct NoStudent(String);

impl FromStr for StudentSpec {
    type Err = NoStudent;

    fn from_str(word: &str) -> Result<Self, NoStudent> {
        let unknown = || NoStudent(word.to_owned());
        let share = |text: &str| {
            let share: f64 = text.parse().map_err(|_| unknown())?;
            match share > 0.0 && share < 1.0 {
                true => Ok(share),
                false => Err(unknown()),
            }
        };
        match word.split_once(':') {
            Some(("depth", rest)) => Ok(match rest.strip_suffix(":even") {
                Some(rest) => Self::Depth {
                    share: share(rest)?,
                    evenly: true,
                },
                None => Self::Depth {
                    share: share(rest)?,
                    evenly: false,
                },
            }),
            Some(("width", rest)) => Ok(Self::Width {
                share: share(rest)?,
            }),
            Some(("config", "")) => Err(unknown()),
            Some(("config", path)) => Ok(Self::Config(path.into())),
            _ if word.is_empty() => Err(unknown()),
            _ => Ok(Self::Model(word.into())),
        }
    }
}

impl fmt::Display for StudentSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(path) => write!(formatter, "{}", path.display()),
            Self::Depth {
                share,
                evenly: true,
            } => write!(formatter, "depth:{share}:even"),
            Self::Depth { share, .. } => write!(formatter, "depth:{share}"),
            Self::Width { share } => write!(formatter, "width:{share}"),
            Self::Config(path) => write!(formatter, "config:{}", path.display()),
        }
    }
}

/// A teacher beside the open model.
#[derive(Debug, Clone, PartialEq)]
pub struct OtherTeacher {
    /// Its folder or file.
    pub path: PathBuf,
    /// Its weight in the average.
    pub weight: f64,
}

/// What `distill` is asked; the open model is the first teacher.
#[derive(Debug, Clone, PartialEq)]
pub struct DistillRequest {
    /// The first teacher's weight in the average.
    pub weight: f64,
    /// Further teachers, with the first one's tokenizer.
    pub others: Vec<OtherTeacher>,
    /// Who is trained.
    pub student: StudentSpec,
    /// The whole recipe, command line already merged in: `[train]` says how, `[calibration]` names the text (all of it is
    /// used) and how much of it decides which blocks, heads and neurons of a teacher stay.
    pub recipe: Recipe,
    /// The folder to make.
    pub out: PathBuf,
    /// A text to evaluate on before and after.
    pub evaluate: Option<PathBuf>,
    /// Continue `out.partial`.
    pub resume: bool,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn words_read_back() {
        for word in [
            "depth:0.5",
            "depth:0.25:even",
            "width:0.75",
            "config:small.json",
            "some/model",
            "C:\\model",
        ] {
            assert_eq!(word.parse::<StudentSpec>().unwrap().to_string(), word);
        }
        for word in [
            "",
            "depth:",
            "depth:1",
            "depth:0",
            "width:x",
            "config:",
            "depth:0.5:odd",
        ] {
            let error = word.parse::<StudentSpec>().unwrap_err().to_string();
            assert!(error.contains("depth:0.5"), "{error}");
        }
    }
}
