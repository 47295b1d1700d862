//! Measures what chosen bits gain over uniform ones, and how well predicted losses tell measured ones, on real models.
//!
//! `cargo run --release -p pare-tests --bin allocation_report -- [--out FILE] [--model WORD] [--windows 200]`: reads models
//! and texts from `../shared`, writes `tests/reports/allocation.txt`. Losses are predicted from a slice of the training
//! text and measured on windows of the validation text, each recipe by a whole run.

#![allow(clippy::print_stdout)] // A tool for the command line.

use pare_engine::allocate::{Planner, Rules};
use pare_engine::formats::Format;
use pare_engine::formats::store::atomic::write_file;
use pare_engine::recipe::Recipe;
use pare_engine::report::Evaluation;
use pare_engine::rng::Rng;
use pare_engine::session::{
    Agreement, CompressRequest, Effort, EvaluateRequest, SensitivityRequest, Session,
    SessionOptions, Slice,
};
use pare_engine::settings::{LayerOption, LayerSettings};
use pare_tests::sessions::{Quiet, shared};
use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tempfile::TempDir;

/// A model and its texts.
struct Subject {
    model: &'static str,
    train: &'static str,
    valid: &'static str,
    group: usize,
    length: usize,
    /// Judge embedding and head too.
    ends: bool,
}

const SUBJECTS: [Subject; 5] = [
    Subject {
        model: "babyllama-361",
        train: "tinystories_train_1MB",
        valid: "tinystories_valid_400kB",
        group: 64,
        length: 256,
        ends: false,
    },
    Subject {
        model: "gutenberg-5M",
        train: "gutenberg_train_4MB",
        valid: "gutenberg_valid_1MB",
        group: 64,
        length: 256,
        ends: false,
    },
    Subject {
        model: "stories260K",
        train: "tinystories_train_1MB",
        valid: "tinystories_valid_400kB",
        group: 64,
        length: 256,
        ends: false,
    },
    Subject {
        model: "stories260K",
        train: "tinystories_train_1MB",
        valid: "tinystories_valid_400kB",
        group: 64,
        length: 256,
        ends: true,
    },
    Subject {
        model: "minilm",
        train: "wikitext2_valid",
        valid: "wikitext2_test",
        group: 64,
        length: 128,
        ends: false,
    },
];

/// Bits whose uniform bytes are the budgets at which gains are measured.
const BUDGET_BITS: [u8; 3] = [3, 4, 5];

/// One model at work.
struct Bench {
    session: Session,
    request: SensitivityRequest,
    evaluate: EvaluateRequest,
    scratch: TempDir,
    /// Losses by recipe: no run is made twice.
    measured: HashMap<String, f64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let windows = options
        .get("--windows")
        .map_or(Ok(200), |text| text.parse())?;
    let mut text = String::from(
        "What chosen bits gain, and how well losses are predicted\n\
         Made by `cargo run --release -p pare-tests --bin allocation_report`.\n",
    );
    for subject in &SUBJECTS {
        if options
            .get("--model")
            .is_some_and(|model| model != subject.model)
        {
            continue;
        }
        let Some(model) = shared(&format!("models/{}", subject.model)) else {
            continue;
        };
        let section = section(subject, &model, windows)?;
        println!("{section}");
        text.push_str(&section);
    }
    let out = options.get("--out").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/allocation.txt"),
        PathBuf::from,
    );
    write_file(&out, |writer| {
        let written = writer.write_all(text.as_bytes());
        written.map_err(pare_engine::formats::StoreError::io(
            "could not be written",
            &out,
        ))
    })?;
    Ok(())
}

/// All that is measured on one model, as text.
fn section(subject: &Subject, model: &Path, windows: usize) -> Result<String, Box<dyn Error>> {
    let mut bench = Bench::new(subject, model, windows)?;
    let began = Instant::now();
    let report = bench
        .session
        .sensitivity(&bench.request, &Quiet::default())?;
    let seconds = began.elapsed().as_secs_f64();
    let table = report.table;
    let base = bench.base();
    let planner = Planner::new(
        &table,
        bench.session.layers(),
        &base,
        Format::Pare,
        &Rules::default(),
    )?;
    let mut text = String::new();
    let ends = if subject.ends {
        ", embedding and head too"
    } else {
        ""
    };
    writeln!(
        text,
        "\n{}{ends}: {} layers, {} options, sensitivity in {seconds:.0} s, loss = {}",
        subject.model,
        table.layers.len(),
        table.options.len(),
        table.measure.name()
    )?;
    if let Some(gradient) = report.agreement {
        writeln!(
            text,
            "  one gradient pass against {} measured losses of single layers: rank correlation {}, median ratio {}",
            gradient.pairs,
            number(gradient.rank_correlation),
            number(gradient.median_ratio)
        )?;
    }
    writeln!(
        text,
        "  at equal bytes        bytes   allocated   uniform   ratio   ends higher   ratio   predicted ratio"
    )?;
    let mut recipes: Vec<(String, Vec<LayerSettings>)> = Vec::new();
    for bits in BUDGET_BITS {
        let option = LayerOption::Grid {
            bits,
            group: subject.group,
        };
        let uniform = bench.uniform(&planner, &base, option);
        let bytes = planner.fixed_bytes() + planner.free_bytes_of(&uniform);
        let allocated = planner.solve(bytes)?;
        let higher = planner.ends_higher(bytes).ok_or("no higher ends fit")?;
        let ours = bench.loss(&allocated.settings)?;
        let theirs = bench.loss(&uniform)?;
        let ends = bench.loss(&higher.settings)?;
        let predicted = planner.predict(&uniform).unwrap_or(f64::NAN);
        writeln!(
            text,
            "  uniform {:<10} {bytes:>9}   {ours:>9.6} {theirs:>9.6}   {:>5.3}     {ends:>9.6}   {:>5.3}             {:>5.3}",
            option.to_string(),
            ours / theirs,
            ours / ends,
            allocated.predicted_loss / predicted
        )?;
        recipes.push((format!("allocated at {option}"), allocated.settings));
        recipes.push((format!("higher ends at {option}"), higher.settings));
    }
    recipes.extend(bench.further(&planner, &base));
    let mut pairs = Vec::new();
    writeln!(
        text,
        "  recipe                      predicted    measured   ratio"
    )?;
    for (name, settings) in recipes {
        let Some(predicted) = planner.predict(&settings) else {
            continue;
        };
        let measured = bench.loss(&settings)?;
        writeln!(
            text,
            "  {name:<26} {predicted:>10.6}  {measured:>10.6}   {:>5.3}",
            predicted / measured
        )?;
        pairs.push((predicted, measured));
    }
    if let Some(agreement) = Agreement::of(&pairs) {
        writeln!(
            text,
            "  prediction over {} recipes: rank correlation {}, median ratio {}",
            agreement.pairs,
            number(agreement.rank_correlation),
            number(agreement.median_ratio)
        )?;
    }
    Ok(text)
}

impl Bench {
    fn new(subject: &Subject, model: &Path, windows: usize) -> Result<Self, Box<dyn Error>> {
        let scratch = TempDir::new()?;
        let text = |name: &str| shared(&format!("text/{name}.txt")).ok_or("a text is absent");
        let options = SessionOptions {
            threads: None,
            memory_bytes: None,
            cache_folder: scratch.path().join("cache"),
            cache_capacity_bytes: 8 << 30,
        };
        let session = Session::open(model, options)?;
        let is_encoder = session.model()?.is_encoder();
        let mut recipe = Recipe::default();
        recipe.default.group = subject.group;
        recipe.calibration.corpus = Some(text(subject.train)?.to_string_lossy().into_owned());
        recipe.calibration.sequences = 64;
        recipe.calibration.length = subject.length;
        let corpus = if is_encoder {
            some_lines(
                &text(subject.valid)?,
                &scratch.path().join("valid.txt"),
                windows,
            )?
        } else {
            text(subject.valid)?
        };
        Ok(Self {
            session,
            request: SensitivityRequest {
                recipe,
                format: Format::Pare,
                options: LayerOption::all(),
                ends: subject.ends,
                effort: Effort::full(subject.group),
                slice: Slice::usual(is_encoder),
            },
            evaluate: EvaluateRequest {
                corpus: Some(corpus),
                reference: Some(model.to_owned()),
                length: Some(subject.length),
                windows: Some(windows),
                sts: None,
                kv: None,
            },
            scratch,
            measured: HashMap::new(),
        })
    }

    /// Settings of all layers where nothing is chosen.
    fn base(&self) -> Vec<LayerSettings> {
        let decisions = self.request.recipe.resolve(self.session.layers()).decisions;
        decisions
            .into_iter()
            .map(|decision| decision.settings)
            .collect()
    }

    /// Every layer that is chosen for at one option.
    fn uniform(
        &self,
        planner: &Planner,
        base: &[LayerSettings],
        option: LayerOption,
    ) -> Vec<LayerSettings> {
        self.chosen(planner, base, |_| option)
    }

    fn chosen(
        &self,
        planner: &Planner,
        base: &[LayerSettings],
        mut option: impl FnMut(usize) -> LayerOption,
    ) -> Vec<LayerSettings> {
        let mut settings = base.to_vec();
        for layer in planner.free() {
            let method = planner.method(layer);
            settings[layer] = option(layer).apply(&base[layer], method);
        }
        settings
    }

    /// Recipes that no anchor was measured at: uniform ones, and bits drawn for each layer.
    fn further(
        &self,
        planner: &Planner,
        base: &[LayerSettings],
    ) -> Vec<(String, Vec<LayerSettings>)> {
        let mut recipes = Vec::new();
        for (bits, group) in [(2, 32), (3, 32), (3, 128), (4, 32), (5, 64), (8, 128)] {
            let option = LayerOption::Grid { bits, group };
            recipes.push((
                format!("uniform {option}"),
                self.uniform(planner, base, option),
            ));
        }
        for draw in 0..4 {
            let mut rng = Rng::new(7, draw);
            let drawn = self.chosen(planner, base, |_| {
                let bits = [2, 3, 4, 5, 6][rng.below(5) as usize];
                LayerOption::Grid { bits, group: 64 }
            });
            recipes.push((format!("bits drawn by seed {draw}"), drawn));
        }
        recipes
    }

    /// The loss of a recipe by a whole run.
    fn loss(&mut self, settings: &[LayerSettings]) -> Result<f64, Box<dyn Error>> {
        let recipe = self.request.recipe.saying(self.session.layers(), settings);
        let toml = recipe.to_toml();
        if let Some(&known) = self.measured.get(&toml) {
            return Ok(known);
        }
        let out = self
            .scratch
            .path()
            .join(format!("run-{}", self.measured.len()));
        let request = CompressRequest {
            recipe,
            out: out.clone(),
            format: Format::Pare,
            evaluate: None,
            resume: false,
            keep_layers: false,
        };
        self.session.compress(&request, &Quiet::default())?;
        let written = Session::open(&out, self.session.options().clone())?;
        let loss = match written.evaluate(&self.evaluate, &Quiet::default())? {
            Evaluation::Decoder(decoder) => decoder.kl.ok_or("a reference was given")?.mean,
            Evaluation::Encoder(encoder) => 1.0 - encoder.cosine.ok_or("no embedding")?.mean,
        };
        std::fs::remove_dir_all(&out)?;
        self.measured.insert(toml, loss);
        Ok(loss)
    }
}

/// The first lines of a text that hold a sentence.
fn some_lines(text: &Path, out: &Path, count: usize) -> Result<PathBuf, Box<dyn Error>> {
    let text = std::fs::read_to_string(text)?;
    let lines = text.lines().map(str::trim).filter(|line| line.len() > 40);
    let chosen: Vec<&str> = lines.take(count).collect();
    write_file(out, |writer| {
        let written = writer.write_all(chosen.join("\n").as_bytes());
        written.map_err(pare_engine::formats::StoreError::io(
            "could not be written",
            out,
        ))
    })?;
    Ok(out.to_owned())
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}

/// `--name value` pairs.
fn options() -> Result<BTreeMap<String, String>, Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let pairs = words.chunks(2).map(|pair| match pair {
        [name, value] => Ok((name.clone(), value.clone())),
        _ => Err(format!("{} needs a value", pair[0]).into()),
    });
    pairs.collect()
}
