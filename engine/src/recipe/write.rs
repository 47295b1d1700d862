//! Types to recipe text with every default written out: `parse(to_toml(recipe)) = recipe`.

use std::fmt::Write as _;

use super::words::Word;
use super::{
    AdapterSettings, BlockChoice, Overrides, Pruning, Rank, Recipe, Structure, TrainPruning,
    TrainSettings,
};
use crate::settings::LayerSettings;

impl Recipe {
    /// The recipe as text, complete: no default is left to the reader.
    pub fn to_toml(&self) -> String {
        let mut text = Lines::default();
        text.pair("version", self.version);
        text.pair("strict", self.strict);
        text.head("[default]");
        text.overrides(&spelled_out(self.default));
        text.pair("prefix", quoted(self.default.prefix.word()));
        text.pair("kv_cache", quoted(self.kv_cache.word()));
        if let Some(embeddings) = &self.embeddings {
            text.head("[embeddings]");
            text.overrides(embeddings);
        }
        if !self.structure.is_none() {
            text.head("[structure]");
            text.structure(&self.structure);
        }
        text.head("[calibration]");
        text.some("corpus", self.calibration.corpus.as_deref().map(quoted));
        text.pair("sequences", self.calibration.sequences);
        text.pair("length", self.calibration.length);
        text.pair("seed", self.calibration.seed);
        if let Some(train) = &self.train {
            text.head("[train]");
            text.train(train);
        }
        for rule in &self.layers {
            text.head("[[layer]]");
            text.pair("match", quoted(&rule.pattern));
            text.overrides(&rule.overrides);
        }
        text.0
    }
}

/// Settings with nothing left to inherit. `prefix` and `kv_cache` are no overrides.
fn spelled_out(settings: LayerSettings) -> Overrides {
    Overrides {
        method: Some(settings.method),
        bits: Some(settings.bits),
        group: Some(settings.group),
        symmetric: Some(settings.symmetric),
        scale_dtype: Some(settings.scale_dtype),
        clip_search: Some(settings.clip_search),
        order: Some(settings.order),
        damping: Some(settings.damping),
        refine: Some(settings.refine),
        double_quant: Some(settings.double_quant),
        activations: Some(settings.activations),
        activation_block: Some(settings.activation_block),
        smooth: Some(settings.smooth),
        prune: Some(settings.prune),
        rank: Some(settings.rank),
        palette_rows: Some(settings.palette_rows),
    }
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn head(&mut self, title: &str) {
        self.0.push('\n');
        self.0.push_str(title);
        self.0.push('\n');
    }

    fn pair(&mut self, key: &str, value: impl std::fmt::Display) {
        writeln!(self.0, "{key} = {value}").expect("a String takes all text");
    }

    fn some(&mut self, key: &str, value: Option<impl std::fmt::Display>) {
        if let Some(value) = value {
            self.pair(key, value);
        }
    }

    fn word(&mut self, key: &str, choice: Option<impl Word>) {
        self.some(key, choice.map(|choice| quoted(choice.word())));
    }

    /// Debug prints the shortest digits that read back to the same number, and always as a float.
    fn number(&mut self, key: &str, value: Option<f64>) {
        self.some(key, value.map(|value| format!("{value:?}")));
    }

    fn overrides(&mut self, overrides: &Overrides) {
        self.word("method", overrides.method);
        self.some("bits", overrides.bits);
        self.some("group", overrides.group);
        self.some("symmetric", overrides.symmetric);
        self.word("scale_dtype", overrides.scale_dtype);
        self.some("clip_search", overrides.clip_search);
        self.word("order", overrides.order);
        self.number("damping", overrides.damping);
        self.word("refine", overrides.refine);
        self.some("double_quant", overrides.double_quant);
        self.word("activations", overrides.activations);
        self.some("activation_block", overrides.activation_block);
        self.number("smooth", overrides.smooth);
        self.some("prune", overrides.prune.map(pruning));
        self.some("rank", overrides.rank.map(rank));
        self.some("palette_rows", overrides.palette_rows);
    }

    fn structure(&mut self, structure: &Structure) {
        self.number("heads", Some(structure.heads));
        self.number("neurons", Some(structure.neurons));
        self.pair("neuron_multiple", structure.neuron_multiple);
        match &structure.blocks {
            BlockChoice::Count(count) => self.pair("blocks", count),
            BlockChoice::These(blocks) => self.pair("blocks", format!("{blocks:?}")),
        }
        self.pair("vocabulary", structure.vocabulary);
        self.pair("repair", structure.repair);
    }

    fn train(&mut self, train: &TrainSettings) {
        self.word("mode", Some(train.mode));
        self.pair("steps", train.steps);
        self.pair("batch", train.batch);
        self.pair("micro_batch", train.micro_batch);
        self.pair("length", train.length);
        self.word("optimizer", Some(train.optimizer));
        self.number("rate", Some(train.rate));
        self.word("schedule", Some(train.schedule));
        self.pair("warm_up", train.warm_up);
        self.number("last_rate", Some(train.last_rate));
        self.number("decay", Some(train.decay));
        self.number("beta1", Some(train.beta1));
        self.number("beta2", Some(train.beta2));
        self.number("epsilon", Some(train.epsilon));
        self.number("clip", Some(train.clip));
        self.number("temperature", Some(train.temperature));
        self.number("hard", Some(train.hard));
        self.word("ensemble", Some(train.ensemble));
        self.number("hidden", Some(train.hidden));
        self.number("attention", Some(train.attention));
        self.pair("cache_top", train.cache_top);
        self.pair("held_out", train.held_out);
        self.pair("check_every", train.check_every);
        self.pair("patience", train.patience);
        self.pair("save_every", train.save_every);
        self.pair("skip_limit", train.skip_limit);
        self.word("states", Some(train.states));
        self.pair("seed", train.seed);
        self.some("prune", train.prune.map(train_pruning));
        self.some("adapter", Some(adapter(&train.adapter)));
    }
}

/// An inline table.
fn pruning(pruning: Pruning) -> String {
    if pruning.is_none() {
        return format!("{{ method = {} }}", quoted(pruning.method.word()));
    }
    let (method, scope) = (pruning.method.word(), pruning.scope.word());
    format!(
        "{{ method = {}, pattern = {}, sparsity = {:?}, scope = {} }}",
        quoted(method),
        quoted(&pruning.pattern.to_string()),
        pruning.sparsity,
        quoted(scope)
    )
}

/// An inline table.
fn train_pruning(prune: TrainPruning) -> String {
    format!(
        "{{ pattern = {}, sparsity = {:?}, from = {}, until = {}, every = {} }}",
        quoted(&prune.pattern.to_string()),
        prune.sparsity,
        prune.from,
        prune.until,
        prune.every
    )
}

/// An inline table.
fn adapter(adapter: &AdapterSettings) -> String {
    format!(
        "{{ rank = {}, alpha = {:?}, dropout = {:?}, rslora = {}, targets = {}, merge = {} }}",
        adapter.rank,
        adapter.alpha,
        adapter.dropout,
        adapter.rslora,
        quoted(&adapter.targets),
        adapter.merge
    )
}

/// A number of columns, or an inline table that says how to find it.
fn rank(rank: Rank) -> String {
    match rank {
        Rank::None => "0".to_owned(),
        Rank::Fixed(rank) => rank.to_string(),
        Rank::Share(share) => format!("{{ share = {share:?} }}"),
        Rank::Energy(energy) => format!("{{ energy = {energy:?} }}"),
    }
}

/// A TOML string with whatever escapes it needs.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
