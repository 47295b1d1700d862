//! Which tokens stay of the open model's vocabulary, and the files that speak of them.

use super::super::{Session, SessionError};
use crate::corpus::Tokenizer;
use crate::model::{Family, ModelConfig};
use crate::recipe::CalibrationSettings;
use crate::report::VocabularyCut;
use crate::transform::structure::StructureError;
use crate::transform::structure::vocabulary::{KeptTokens, token_ids};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// A smaller vocabulary.
#[derive(Debug)]
pub(super) struct TokenPlan {
    pub(super) kept: KeptTokens,
    /// `tokenizer.json` with these tokens.
    pub(super) tokenizer: Value,
    pub(super) report: VocabularyCut,
}

impl TokenPlan {
    /// Rows that stay of tables with one for each token.
    pub(super) fn rows(&self) -> Vec<usize> {
        self.kept.ids().iter().map(|&id| id as usize).collect()
    }
}

impl Session {
    /// The tokens that stay where those that the calibration text does not hold go.
    pub(super) fn plan_tokens(
        &self,
        calibration: &CalibrationSettings,
    ) -> Result<TokenPlan, SessionError> {
        let Some(path) = &calibration.corpus else {
            return Err(self.input_problem(
                "the vocabulary is cut to the tokens of a text; name one with --corpus",
            ));
        };
        let path = Path::new(path);
        if path.extension().is_some_and(|found| found == "safetensors") {
            return Err(self.input_problem(
                "the vocabulary is cut to the tokens of a text, and the corpus holds token ids, which would mean others afterwards; name a .txt or .jsonl",
            ));
        }
        let config = self.model()?.config();
        let tokenizer = self.read_tokenizer()?;
        let text = self.open_corpus(path)?;
        let in_text: BTreeSet<u32> = text.ids().iter().copied().collect();
        let mut used = in_text.clone();
        for name in ["config.json", "generation_config.json"] {
            let ids = self
                .read_side(name)
                .as_ref()
                .map_or_else(Vec::new, token_ids);
            used.extend(
                ids.into_iter()
                    .filter(|&id| (id as usize) < config.vocabulary),
            );
        }
        let kept = KeptTokens::choose(&tokenizer, &used, config.vocabulary)?;
        self.check_padding(config, &kept)?;
        let smaller = kept.tokenizer(&tokenizer)?;
        self.check_same_text(path, &smaller, &kept, text.ids())?;
        Ok(TokenPlan {
            report: VocabularyCut {
                before: config.vocabulary,
                after: kept.ids().len(),
                in_text: in_text.len(),
            },
            tokenizer: smaller,
            kept,
        })
    }

    /// A side file of the open model as JSON; `None` where there is none.
    pub(super) fn read_side(&self, name: &str) -> Option<Value> {
        let bytes = self.checkpoint.read_side(name)?;
        serde_json::from_slice(&bytes).ok()
    }

    fn read_tokenizer(&self) -> Result<Value, SessionError> {
        self.read_side("tokenizer.json").ok_or_else(|| {
            self.input_problem(
                "the vocabulary is cut through tokenizer.json, and the model has none that can be read",
            )
        })
    }

    /// Roberta counts positions from its padding token on.
    fn check_padding(&self, config: &ModelConfig, kept: &KeptTokens) -> Result<(), SessionError> {
        let named = self.checkpoint.config_json();
        let padding = named.and_then(|named| named.get("pad_token_id")?.as_u64());
        let padding = u32::try_from(padding.unwrap_or(1)).unwrap_or(u32::MAX);
        if config.family == Family::Roberta && kept.new_id(padding) != Some(padding) {
            let problem = "its positions are counted from the id of padding, which would change";
            return Err(StructureError::Vocabulary(problem.to_owned()).into());
        }
        Ok(())
    }

    /// The text must be the same tokens as before.
    fn check_same_text(
        &self,
        path: &Path,
        smaller: &Value,
        kept: &KeptTokens,
        before: &[u32],
    ) -> Result<(), SessionError> {
        let json = serde_json::to_vec(smaller).unwrap_or_default();
        let name = self.checkpoint.root().join("tokenizer.json");
        let tokenizer = Tokenizer::from_json(&name.display().to_string(), &json)?;
        let after = crate::corpus::Corpus::open(path, Some(&tokenizer), kept.ids().len())?;
        let same = after.ids().len() == before.len()
            && after
                .ids()
                .iter()
                .zip(before)
                .all(|(&new, &old)| kept.old_id(new) == Some(old));
        match same {
            true => Ok(()),
            false => Err(StructureError::Vocabulary(
                "with fewer tokens the tokenizer would cut the text in other places".to_owned(),
            )
            .into()),
        }
    }
}
