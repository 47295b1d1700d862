//! A draft as it is kept between sessions: the recipe as text, and beside it what no recipe holds.
//!
//! A value that the store writes and a model that is opened again reads. Knows no file.

use super::compose;
use super::draft::Draft;
use super::project::Project;
use super::proposal::BudgetRules;
use pare_engine::formats::Format;
use pare_engine::model::LayerInfo;
use std::path::PathBuf;

/// A draft as it is kept.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct KeptDraft {
    /// The recipe.
    pub toml: String,
    /// The rest; `None` where an older version kept the recipe alone.
    pub rest: Option<Rest>,
}

/// What of a draft no recipe holds.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Rest {
    /// Names of locked layers.
    pub locked: Vec<String>,
    /// The container.
    pub format: Option<Format>,
    /// The text that measures, where its name is text: JSON holds no others.
    pub evaluation: Option<String>,
    /// The budget last set.
    pub budget_bytes: Option<u64>,
    /// The budget last set, where it was one of time, in seconds.
    pub budget_seconds: Option<f64>,
    /// What proposals must keep to.
    pub rules: BudgetRules,
}

impl KeptDraft {
    /// What is kept of `project`.
    pub fn of(project: &Project) -> Self {
        let draft = project.draft();
        let known = project.outlook.recipe_of(draft);
        let toml = known.map_or_else(
            || compose::recipe(draft, &project.layers).to_toml(),
            str::to_owned,
        );
        let locked = project.layers.iter().zip(&draft.locked);
        let rest = Rest {
            locked: locked
                .filter(|(_, locked)| **locked)
                .map(|(info, _)| info.name.clone())
                .collect(),
            format: Some(draft.format),
            evaluation: draft
                .evaluation
                .as_ref()
                .and_then(|text| text.to_str())
                .map(str::to_owned),
            budget_bytes: project.budget_bytes,
            budget_seconds: project.budget_seconds,
            rules: project.budget_rules.clone(),
        };
        Self {
            toml,
            rest: Some(rest),
        }
    }
}

impl Rest {
    /// `draft` with what is kept of it.
    pub fn restore(&self, draft: Draft, layers: &[LayerInfo]) -> Draft {
        let is_locked = |info: &LayerInfo| self.locked.contains(&info.name);
        Draft {
            locked: layers.iter().map(is_locked).collect(),
            format: self.format.unwrap_or(draft.format),
            evaluation: self.evaluation.as_ref().map(PathBuf::from),
            ..draft
        }
    }
}
