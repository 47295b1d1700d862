//! All that is known of the smaller model before anything is scored: sizes, configuration, tokens, side files.

use super::super::{Session, SessionError};
use super::tokens::TokenPlan;
use crate::model::{KeptParts, Model, ModelConfig, SmallerSizes};
use crate::recipe::Recipe;
use crate::report::{BlockSimilarity, NetworkSizes, StructurePlan};
use crate::transform::structure::vocabulary::{is_stale, remap_ids, remap_tokenizer_config};
use crate::transform::structure::{Cut, CutSource, plan_sizes};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The smaller model, but for which parts stay.
#[derive(Debug)]
pub(in crate::session) struct SmallerPlan {
    pub(super) sizes: SmallerSizes,
    pub(in crate::session) config: Value,
    pub(super) tokens: Option<TokenPlan>,
    pub(super) sides: Vec<SideFile>,
    pub(super) notes: Vec<String>,
    /// What decided which blocks go; empty where the recipe names them.
    pub(super) similarity: Vec<BlockSimilarity>,
}

/// A file beside the tensors.
#[derive(Debug)]
pub(super) struct SideFile {
    /// Inside the folder.
    pub(super) path: PathBuf,
    pub(super) content: SideContent,
}

/// What is in it.
#[derive(Debug)]
pub(super) enum SideContent {
    Copy(PathBuf),
    Json(Value),
}

impl SmallerPlan {
    /// `model` with the right sizes and any parts: the first ones stay.
    pub(super) fn stand_in(&self, model: &Model) -> Result<Model, SessionError> {
        let parts = KeptParts {
            groups: (0..self.sizes.groups).collect(),
            neurons: (0..self.sizes.neurons).collect(),
        };
        let cut = Cut {
            parts: vec![parts; self.sizes.blocks.len()],
            blocks: self.sizes.blocks.clone(),
            tokens: self.tokens.as_ref().map(TokenPlan::rows),
        };
        Ok(Model::open(
            Arc::new(CutSource::new(model, &cut)),
            &self.config,
        )?)
    }

    pub(super) fn sizes_before_and_after(
        &self,
        session: &Session,
    ) -> Result<StructurePlan, SessionError> {
        let model = session.model()?;
        Ok(StructurePlan {
            before: network_sizes(model),
            after: network_sizes(&self.stand_in(model)?),
            notes: self.notes.clone(),
        })
    }
}

fn network_sizes(model: &Model) -> NetworkSizes {
    let config: &ModelConfig = model.config();
    let layers = model.layers().iter();
    NetworkSizes {
        blocks: config.blocks,
        heads: config.heads,
        kv_heads: config.kv_heads,
        neurons: config.intermediate,
        vocabulary: config.vocabulary,
        parameters: layers.clone().map(|layer| layer.parameters).sum(),
        tensor_bytes: layers
            .map(|layer| layer.parameters * layer.dtype.size_bytes() as u64)
            .sum(),
    }
}

impl Session {
    /// What `recipe` leaves of the open model.
    pub(in crate::session) fn plan_smaller(
        &self,
        recipe: &Recipe,
    ) -> Result<SmallerPlan, SessionError> {
        let model = self.model()?;
        self.refuse_open_settings(recipe)?;
        let (mut sizes, mut notes) = plan_sizes(&recipe.structure, model.config())?;
        let tokens = match recipe.structure.vocabulary {
            true => Some(self.plan_tokens(&recipe.calibration)?),
            false => None,
        };
        if let Some(tokens) = &tokens {
            sizes.vocabulary = tokens.kept.ids().len();
            let compared = "outputs are compared with the original over the tokens that stay";
            notes.push(compared.to_owned());
        }
        let original = self.checkpoint.config_json().cloned().unwrap_or_default();
        let (mut config, more) = model.config().smaller_json(&original, &sizes)?;
        notes.extend(more);
        if let Some(tokens) = &tokens {
            remap_ids(&mut config, &tokens.kept);
        }
        let made = self.checkpoint.made_files().iter().map(|(path, _)| path);
        let sides = self.checkpoint.side_files().iter().chain(made);
        let sides = sides.filter_map(|path| self.side_file(path, &config, tokens.as_ref()));
        Ok(SmallerPlan {
            sides: sides.collect(),
            sizes,
            config,
            tokens,
            notes,
            similarity: Vec::new(),
        })
    }

    /// What only the weights of the smaller model can tell has no size before it is made.
    fn refuse_open_settings(&self, recipe: &Recipe) -> Result<(), SessionError> {
        let decisions = recipe.resolve(&self.layers).decisions;
        let mut decisions = decisions.iter();
        if !decisions.any(|decision| decision.settings.waits_for_weights()) {
            return Ok(());
        }
        Err(self.input_problem(
            "one threshold for a whole model and a rank by energy are found in the weights of the smaller model, which is not there yet; make it first (structure alone, with method none), then compress it",
        ))
    }

    /// What becomes of a side file; `None` where it goes.
    fn side_file(
        &self,
        path: &Path,
        config: &Value,
        tokens: Option<&TokenPlan>,
    ) -> Option<SideFile> {
        let name = path.to_str().unwrap_or_default();
        let edited = |edit: &dyn Fn(&mut Value)| {
            let mut value = self.read_side(name)?;
            edit(&mut value);
            Some(value)
        };
        let changed = match (name, tokens) {
            ("config.json", _) => Some(config.clone()),
            (stale, Some(_)) if is_stale(stale) => return None,
            ("tokenizer.json", Some(tokens)) => Some(tokens.tokenizer.clone()),
            ("generation_config.json", Some(tokens)) => {
                edited(&|value| remap_ids(value, &tokens.kept))
            }
            ("tokenizer_config.json", Some(tokens)) => {
                edited(&|value| remap_tokenizer_config(value, &tokens.kept))
            }
            (name, _)
                if self
                    .checkpoint
                    .made_files()
                    .iter()
                    .any(|(made, _)| made == path) =>
            {
                self.read_side(name)
            }
            _ => None,
        };
        Some(SideFile {
            path: path.to_owned(),
            content: match changed {
                Some(value) => SideContent::Json(value),
                None => SideContent::Copy(self.checkpoint.root().join(path)),
            },
        })
    }
}
