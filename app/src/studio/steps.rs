//! What a draft saves and loses step by step, in the order in which a run does them: structure, zeros, codes, factors.
//!
//! Bytes come from the plan; loss is what finished runs measured of exactly these steps, and of no others.

use super::compose;
use super::draft::Draft;
use super::project::Project;
use super::runs::{Run, RunStatus};
use super::smaller::{Question, tensor_bytes};
use super::sparse;
use pare_engine::recipe::{BlockChoice, LayerSettings, Pruning, Rank, Structure};
use pare_engine::solved::Method;

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepKind {
    /// Heads, neurons, blocks and rows of the vocabulary go.
    Structure,
    /// Weights become zero.
    Zeros,
    /// Weights become codes.
    Codes,
    /// Factors stand for weights, or make up for what was lost.
    Factors,
}

impl StepKind {
    /// In the order in which they are done.
    pub const ALL: [Self; 4] = [Self::Structure, Self::Zeros, Self::Codes, Self::Factors];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Structure => "structure",
            Self::Zeros => "zeros",
            Self::Codes => "codes",
            Self::Factors => "factors",
        }
    }
}

/// One step of a draft.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Which.
    pub kind: StepKind,
    /// Bytes of all tensors before it; `None` where nobody can say yet.
    pub bytes_before: Option<u64>,
    /// Bytes of all tensors after it.
    pub bytes_after: Option<u64>,
    /// Loss that a run of this step and those before it measured.
    pub loss: Option<f64>,
    /// Loss that a run of the steps before it measured; nothing is lost before the first.
    pub loss_before: Option<f64>,
}

impl Step {
    /// What the step alone lost, where both sides were measured.
    pub fn lost(&self) -> Option<f64> {
        Some(self.loss? - self.loss_before?)
    }
}

/// The steps that the draft of `project` has, and what `runs` measured of them.
pub fn steps<'a>(project: &Project, runs: impl Iterator<Item = &'a Run>) -> Vec<Step> {
    let draft = project.draft();
    let kinds = kinds(draft);
    if kinds.is_empty() {
        return Vec::new();
    }
    let measured: Vec<(&str, f64)> = runs
        .filter(|run| run.status == RunStatus::Done)
        .filter_map(|run| Some((run.recipe_toml.as_str(), run.loss()?.value)))
        .collect();
    let mut bytes_before = Some(project.layers.iter().map(|info| info.size_bytes).sum());
    let mut loss_before = Some(0.0);
    let step = |kind: StepKind| {
        let draft = draft_up_to(draft, kind);
        let text = compose::recipe(&draft, &project.layers).to_toml();
        let found = measured.iter().find(|(recipe, _)| *recipe == text);
        let bytes_after = bytes(project, &draft);
        let loss = found.map(|(_, loss)| *loss);
        Step {
            kind,
            bytes_before: std::mem::replace(&mut bytes_before, bytes_after),
            bytes_after,
            loss_before: std::mem::replace(&mut loss_before, loss),
            loss,
        }
    };
    kinds.into_iter().map(step).collect()
}

/// The steps that `draft` has, in order.
pub fn kinds(draft: &Draft) -> Vec<StepKind> {
    let all = StepKind::ALL.into_iter();
    all.filter(|&kind| has(draft, kind)).collect()
}

/// `draft` with the steps after `last` left out.
pub fn draft_up_to(draft: &Draft, last: StepKind) -> Draft {
    let settings = draft.settings.iter();
    Draft {
        settings: settings.map(|settings| up_to(*settings, last)).collect(),
        ..draft.clone()
    }
}

/// A structure in a few words: `25 % neurons, 2 blocks`.
pub fn structure_in_words(structure: &Structure) -> String {
    let percent =
        |share: f64, word: &str| (share > 0.0).then(|| format!("{:.0} % {word}", 100.0 * share));
    let blocks = match &structure.blocks {
        BlockChoice::Count(count) => *count,
        BlockChoice::These(blocks) => blocks.len(),
    };
    let blocks = match blocks {
        0 => None,
        1 => Some("1 block".to_owned()),
        count => Some(format!("{count} blocks")),
    };
    let parts = [
        percent(structure.heads, "heads"),
        percent(structure.neurons, "neurons"),
        blocks,
        structure.vocabulary.then(|| "unused tokens".to_owned()),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    match parts.is_empty() {
        true => "all of it stays".to_owned(),
        false => parts.join(", "),
    }
}

fn has(draft: &Draft, kind: StepKind) -> bool {
    let any = |test: fn(&LayerSettings) -> bool| draft.settings.iter().any(test);
    match kind {
        StepKind::Structure => !draft.structure.is_none(),
        StepKind::Zeros => any(|settings| sparse::zeros_of(settings).is_some()),
        StepKind::Codes => any(sparse::has_codes),
        StepKind::Factors => any(|settings| sparse::rank_of(settings).is_some()),
    }
}

fn up_to(settings: LayerSettings, last: StepKind) -> LayerSettings {
    let mut settings = settings;
    if settings.method == Method::None {
        return settings;
    }
    if last < StepKind::Factors {
        settings.rank = Rank::None;
    }
    if last < StepKind::Codes {
        settings.method = Method::Float;
    }
    if last < StepKind::Zeros {
        settings.prune = Pruning::NONE;
    }
    settings.settled()
}

/// Bytes of all tensors; `None` until a dry run has told them where they wait for one.
fn bytes(project: &Project, draft: &Draft) -> Option<u64> {
    let layers = &project.layers;
    if !draft.waits_for_plan() {
        return Some(tensor_bytes(draft, layers));
    }
    let question = Question::of(draft, layers);
    project.smaller.get(&question.plan)?.as_ref().ok().copied()
}

#[cfg(test)]
mod tests {
    use super::super::layer_edit::LayerEdit;
    use super::super::state::testing;
    use super::*;
    use pare_engine::mask::SparsityPattern;

    #[test]
    fn steps_of_a_draft_end_with_the_draft() {
        let layers = testing::layers(2);
        let draft = testing::draft(&layers);
        let all: Vec<usize> = (0..layers.len()).collect();
        let edits = [
            LayerEdit::Pattern(SparsityPattern::TWO_OF_FOUR),
            LayerEdit::Rank(Rank::Fixed(8)),
        ];
        let inner = |draft: Draft, edit| draft.edited(&layers, &all[1..all.len() - 1], edit).0;
        let draft = edits.into_iter().fold(draft, inner);
        assert_eq!(draft_up_to(&draft, StepKind::Factors), draft);
        let methods = |kind| draft_up_to(&draft, kind).settings[1].method;
        assert_eq!(methods(StepKind::Structure), Method::None);
        assert_eq!(methods(StepKind::Zeros), Method::Float);
        assert_eq!(methods(StepKind::Codes), Method::Gptq);
        let codes = draft_up_to(&draft, StepKind::Codes).settings[1];
        assert_eq!(
            (codes.rank, codes.prune),
            (Rank::None, draft.settings[1].prune)
        );
    }

    #[test]
    fn structures_are_told_in_words() {
        let mut structure = Structure::default();
        assert_eq!(structure_in_words(&structure), "all of it stays");
        structure.neurons = 0.25;
        structure.blocks = BlockChoice::These(vec![1]);
        structure.vocabulary = true;
        let words = structure_in_words(&structure);
        assert_eq!(words, "25 % neurons, 1 block, unused tokens");
    }
}
