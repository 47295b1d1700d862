//! What learning gives back to quantized models, held against its goals: scales alone, learned rounding, fake-quantized
//! training, adapters.
//!
//! `OPT=3 cargo run -p pare-tests --bin quantized_report -- [--out FILE] [--steps 100]`: the sample, and what of
//! `../shared` is there, by the defaults of each mode but for the steps; writes `tests/reports/quantized.txt`.

#![allow(clippy::print_stdout)] // A tool for the command line.

use pare_engine::formats::Format;
use pare_engine::formats::store::atomic::write_bytes;
use pare_engine::monitor::Unwatched;
use pare_engine::recipe::{Recipe, TrainMode, TrainSettings};
use pare_engine::report::{DistillReport, Evaluation};
use pare_engine::session::{
    CompressRequest, DistillRequest, EvaluateRequest, Session, SessionOptions, StudentSpec,
};
use pare_tests::sessions::shared;
use std::error::Error;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Tokens of a sequence.
const LENGTH: usize = 256;

/// A model, its texts, and where runs go.
struct Place {
    name: &'static str,
    model: PathBuf,
    training: PathBuf,
    evaluation: PathBuf,
    folder: PathBuf,
    options: SessionOptions,
    steps: u64,
}

/// A goal held against a model: whether it holds, and the figures.
type Row = fn(&Place) -> Outcome<(bool, String)>;

fn main() -> Outcome<()> {
    let mut out = PathBuf::from("tests/reports/quantized.txt");
    let mut steps = 100;
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or(format!("{name} needs a value"))?;
        match name.as_str() {
            "--steps" => steps = value.parse()?,
            "--out" => out = value.into(),
            _ => return Err(format!("{name} is unknown; there are --out, --steps").into()),
        }
    }
    let temporary = TempDir::new()?;
    let sample = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/sample"));
    let place = |name, model: &Path, training, evaluation| Place {
        name,
        model: model.to_owned(),
        training,
        evaluation,
        folder: temporary.path().join(name),
        options: SessionOptions {
            threads: None,
            memory_bytes: Some(4 << 30),
            cache_folder: temporary.path().join("cache"),
            cache_capacity_bytes: 1 << 30,
        },
        steps,
    };
    let texts = [
        sample.join("calibration.txt"),
        sample.join("evaluation.txt"),
    ];
    let [training, evaluation] = texts;
    let all: &[Row] = &[scales, rounding, qat, adapter];
    let mut subjects = vec![(place("sample", sample, training, evaluation), all)];
    let texts = shared("text/tinystories_train_1MB.txt")
        .zip(shared("text/tinystories_valid_400kB.txt"))
        .zip(shared("models/babyllama-361"));
    if let Some(((training, evaluation), model)) = texts {
        let some: &[Row] = &[scales, rounding];
        subjects.push((place("babyllama-361", &model, training, evaluation), some));
    }
    let mut text = String::from("Recovery of quantized models, groups of 32\n\n");
    for (place, rows) in subjects {
        std::fs::create_dir_all(&place.folder)?;
        for row in rows {
            let (holds, found) = row(&place)?;
            let verdict = if holds { "holds" } else { "missed" };
            let line = format!("{verdict:7} {}: {found}\n", place.name);
            print!("{line}");
            text.push_str(&line);
        }
    }
    write_bytes(&out, text.as_bytes())?;
    Ok(())
}

/// Scales alone on a 3-bit model that was rounded to nearest.
fn scales(place: &Place) -> Outcome<(bool, String)> {
    let start = place.compress("rtn3", "rtn", 3)?;
    let before = place.kl(&start)?;
    let (out, report) = place.train("scales", TrainMode::Scales, &start, false)?;
    let after = place.kl(&out)?;
    let gain = 1.0 - after / before;
    Ok((
        gain >= 0.25,
        format!(
            "scales alone lower the KL of a 3-bit model by 25 %: {before:.5} -> {after:.5} ({:.1} %), {} steps, {:.0} s",
            100.0 * gain,
            report.steps,
            report.seconds
        ),
    ))
}

/// Learned rounding at 2 bits against GPTQ, from GPTQ's own codes.
fn rounding(place: &Place) -> Outcome<(bool, String)> {
    let gptq = place.compress("gptq2", "gptq", 2)?;
    let goal = place.kl(&gptq)?;
    let (out, report) = place.train("round", TrainMode::Round, &gptq, false)?;
    let found = place.kl(&out)?;
    Ok((
        found < goal,
        format!(
            "learned rounding at 2 bits has a lower KL than GPTQ: {goal:.5} -> {found:.5}; {} steps a block, {:.0} s",
            report.steps, report.seconds
        ),
    ))
}

/// Fake-quantized training at 4 bits and its integer form.
fn qat(place: &Place) -> Outcome<(bool, String)> {
    let start = place.compress("rtn4", "rtn", 4)?;
    let before = place.kl(&start)?;
    let (out, report) = place.train("qat", TrainMode::Qat, &start, false)?;
    let difference = report.export_difference.unwrap_or(f64::NAN);
    Ok((
        difference <= 1e-3,
        format!(
            "integer export of fake-quantized training at 4 bits within 1e-3: {difference:.1e} of the largest output; KL {before:.5} -> {:.5}, {} steps, {:.0} s",
            place.kl(&out)?,
            report.steps,
            report.seconds
        ),
    ))
}

/// An adapter on a 3-bit base and on the dense one, beside the weights and worked into them.
fn adapter(place: &Place) -> Outcome<(bool, String)> {
    let start = place.compress("rtn3", "rtn", 3)?;
    let before = place.kl(&start)?;
    let (_, beside) = place.train("adapter", TrainMode::Adapter, &start, false)?;
    let (_, merged) = place.train("merged", TrainMode::Adapter, &start, true)?;
    let kl = |report: &DistillReport| match &report.evaluation {
        Some(Evaluation::Decoder(decoder)) => decoder.kl.as_ref().map_or(f64::NAN, |kl| kl.mean),
        _ => f64::NAN,
    };
    let (beside, merged) = (kl(&beside), kl(&merged));
    Ok((
        beside < before,
        format!(
            "an adapter on a 3-bit base lowers its KL: {before:.5} -> {beside:.5} beside the codes, {merged:.5} worked into new codes"
        ),
    ))
}

impl Place {
    fn recipe(&self, method: &str, bits: u8) -> Outcome<Recipe> {
        let text = format!(
            "version = 1\n[default]\nmethod = \"{method}\"\nbits = {bits}\ngroup = 32\n[[layer]]\nmatch = \"lm_head\"\nmethod = \"none\"\n"
        );
        let mut recipe = Recipe::parse(&text)?;
        recipe.calibration.corpus = Some(self.training.display().to_string());
        (recipe.calibration.length, recipe.calibration.sequences) = (LENGTH, 64);
        Ok(recipe)
    }

    fn compress(&self, name: &str, method: &str, bits: u8) -> Outcome<PathBuf> {
        let out = self.folder.join(name);
        if out.exists() {
            return Ok(out);
        }
        let request = CompressRequest {
            recipe: self.recipe(method, bits)?,
            out: out.clone(),
            format: Format::Pare,
            evaluate: None,
            resume: false,
            keep_layers: true,
        };
        Session::open(&self.model, self.options.clone())?.compress(&request, &Unwatched)?;
        Ok(out)
    }

    fn train(
        &self,
        name: &str,
        mode: TrainMode,
        student: &Path,
        merge: bool,
    ) -> Outcome<(PathBuf, DistillReport)> {
        let mut recipe = self.recipe("rtn", 4)?;
        let mut settings = TrainSettings {
            steps: self.steps,
            length: LENGTH,
            ..TrainSettings::of_mode(mode)
        };
        settings.adapter.merge = merge;
        recipe.train = Some(settings);
        let out = self.folder.join(name);
        let request = DistillRequest {
            weight: 1.0,
            others: Vec::new(),
            student: StudentSpec::Model(student.to_owned()),
            recipe,
            out: out.clone(),
            evaluate: (mode == TrainMode::Adapter).then(|| self.evaluation.clone()),
            resume: false,
        };
        let teacher = Session::open(&self.model, self.options.clone())?;
        let report = teacher.distill(&request, &Unwatched)?;
        Ok((out, report))
    }

    /// Mean KL to the original on the evaluation text, as it runs.
    fn kl(&self, model: &Path) -> Outcome<f64> {
        let request = EvaluateRequest {
            corpus: Some(self.evaluation.clone()),
            reference: Some(self.model.clone()),
            length: Some(LENGTH),
            windows: Some(200),
            sts: None,
            kv: None,
        };
        let session = Session::open(model, self.options.clone())?;
        match session.evaluate(&request, &Unwatched)? {
            Evaluation::Decoder(decoder) => {
                Ok(decoder.kl.ok_or("there is a reference, and no KL")?.mean)
            }
            Evaluation::Encoder(_) => Err("this report is about decoders".into()),
        }
    }
}
