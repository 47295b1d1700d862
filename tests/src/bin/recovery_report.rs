//! What training gives back, held against its goals: distilled students, several teachers, the speed of a step.
//!
//! `OPT=3 cargo run -p pare-tests --bin recovery_report -- [--out FILE] [--steps 80]`: trains on the sample and on models
//! of `../shared` in a temporary folder, writes `tests/reports/recovery.txt`.

#![allow(clippy::print_stdout)] // A tool for the command line.

use pare_engine::formats::store::atomic::write_bytes;
use pare_engine::monitor::Monitor;
use pare_engine::recipe::{Recipe, TrainSettings};
use pare_engine::report::{DistillReport, Notice, Observer};
use pare_engine::session::{DistillRequest, OtherTeacher, Session, SessionOptions, StudentSpec};
use pare_tests::sessions::shared;
use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Bytes of a large evaluation text that are used.
const EVALUATED_BYTES: usize = 60_000;

/// Outcome of one goal.
struct Bar {
    goal: &'static str,
    found: String,
    holds: bool,
}

/// Where runs go and how they use the machine.
struct Place {
    folder: TempDir,
    options: SessionOptions,
    steps: u64,
}

/// A model with texts to train and to evaluate on.
struct Subject {
    name: &'static str,
    model: PathBuf,
    training: PathBuf,
    evaluation: PathBuf,
    length: usize,
    rate: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = PathBuf::from("tests/reports/recovery.txt");
    let mut steps = 80;
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or(format!("{name} needs a value"))?;
        match name.as_str() {
            "--out" => out = value.into(),
            "--steps" => steps = value.parse()?,
            _ => return Err(format!("{name} is unknown; there are --out, --steps").into()),
        }
    }
    let folder = TempDir::new()?;
    let options = SessionOptions {
        threads: None,
        memory_bytes: Some(4 << 30),
        cache_folder: folder.path().join("cache"),
        cache_capacity_bytes: 1 << 30,
    };
    let place = Place {
        folder,
        options,
        steps,
    };
    let mut bars = Vec::new();
    for subject in subjects(place.folder.path())? {
        let found = distillation(&place, &subject)?;
        print!("{}", lines(&found));
        bars.extend(found);
    }
    let found = step_time(&place)?;
    print!("{}", lines(&found));
    bars.extend(found);
    let text = format!("Recovery by training\n\n{}", lines(&bars));
    write_bytes(&out, text.as_bytes())?;
    Ok(())
}

/// The sample, and what of the shared material is there.
fn subjects(folder: &Path) -> Result<Vec<Subject>, Box<dyn Error>> {
    let sample = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/sample"));
    let mut subjects = vec![Subject {
        name: "sample",
        model: sample.to_owned(),
        training: sample.join("calibration.txt"),
        evaluation: sample.join("evaluation.txt"),
        length: 256,
        rate: 2e-3,
    }];
    let texts = shared("text/tinystories_train_1MB.txt")
        .zip(shared("text/tinystories_valid_400kB.txt"))
        .zip(shared("models/stories260K"));
    if let Some(((training, evaluation), model)) = texts {
        subjects.push(Subject {
            name: "stories260K",
            model,
            training,
            evaluation: beginning(&evaluation, folder)?,
            length: 256,
            rate: 2e-3,
        });
    }
    Ok(subjects)
}

/// The beginning of a text, as a file in `folder`: each student is measured before and after.
fn beginning(text: &Path, folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let whole = std::fs::read_to_string(text)?;
    let end = (0..=EVALUATED_BYTES.min(whole.len()))
        .rev()
        .find(|&end| whole.is_char_boundary(end));
    let path = folder.join("evaluation.txt");
    write_bytes(&path, &whole.as_bytes()[..end.unwrap_or(0)])?;
    Ok(path)
}

/// Students of half the depth: distilled, by the text alone, by a weaker teacher, by both.
fn distillation(place: &Place, subject: &Subject) -> Result<Vec<Bar>, Box<dyn Error>> {
    let run = |name: &str, hard: f64, weak: Option<(&Path, bool)>| {
        let (model, others) = match weak {
            Some((weak, true)) => (weak.to_owned(), vec![subject.model.clone()]),
            Some((weak, false)) => (weak.to_owned(), Vec::new()),
            None => (subject.model.clone(), Vec::new()),
        };
        let student = match weak {
            // All begin at the same weights.
            Some(_) => StudentSpec::Model(place.path(subject, "start")),
            None => StudentSpec::Depth {
                share: 0.5,
                evenly: false,
            },
        };
        let steps = if name == "start" { 1 } else { place.steps };
        place.train(subject, name, (&model, &others), student, (steps, hard))
    };
    let start = place.start(subject)?;
    let alone = run("alone", 1.0, None)?;
    let taught = run("taught", 0.0, None)?;
    // A teacher that is a short run away from its start.
    let weak = place.weak(subject)?;
    let by_weak = run("by-weak", 0.0, Some((&weak, false)))?;
    let by_both = run("by-both", 0.0, Some((&weak, true)))?;
    let after = |report: &DistillReport| report.perplexity_after.unwrap_or(f64::NAN);
    let name = subject.name;
    Ok(vec![
        Bar {
            goal: "half the depth, distilled: lower perplexity than by the text alone, same steps",
            found: format!(
                "{name}: {:.4} distilled, {:.4} alone; {:.4} before, teacher {:.4}; {} steps",
                after(&taught),
                after(&alone),
                start.perplexity_before.unwrap_or(f64::NAN),
                taught.reference_perplexity.unwrap_or(f64::NAN),
                taught.steps
            ),
            holds: after(&taught) < after(&alone),
        },
        Bar {
            goal: "two teachers: lower perplexity than by the weaker one alone, same steps",
            found: format!(
                "{name}: {:.4} by both, {:.4} by the weaker one, whose own is {:.4}",
                after(&by_both),
                after(&by_weak),
                by_weak.reference_perplexity.unwrap_or(f64::NAN)
            ),
            holds: after(&by_both) < after(&by_weak),
        },
    ])
}

/// Seconds of a step over the whole sample model, without and with a teacher.
fn step_time(place: &Place) -> Result<Vec<Bar>, Box<dyn Error>> {
    let subjects = subjects(place.folder.path())?;
    let sample = &subjects[0];
    let mut bars = Vec::new();
    for (goal, hard) in [
        (
            "a training step of the sample, 8 x 256 tokens: no goal but to be told",
            1.0,
        ),
        ("the same with its teacher", 0.0),
    ] {
        let model = sample.model.clone();
        let name = format!("time-{hard}");
        let student = StudentSpec::Model(model.clone());
        let report = place.train(sample, &name, (&model, &[]), student, (20, hard))?;
        bars.push(Bar {
            goal,
            found: format!(
                "{:.1} ms, {:.0} tokens/s, {:.1} % of the multiply-add rate of {} threads",
                1e3 * report.step_seconds,
                report.tokens_per_second,
                100.0 * report.of_fma_bound.unwrap_or(f64::NAN),
                std::thread::available_parallelism()?
            ),
            holds: report.step_seconds > 0.0,
        });
    }
    Ok(bars)
}

impl Place {
    fn path(&self, subject: &Subject, name: &str) -> PathBuf {
        self.folder.path().join(format!("{}-{name}", subject.name))
    }

    /// The untrained student of half the depth: one step of no size.
    fn start(&self, subject: &Subject) -> Result<DistillReport, Box<dyn Error>> {
        let student = StudentSpec::Depth {
            share: 0.5,
            evenly: false,
        };
        let slow = Subject {
            rate: 1e-12,
            model: subject.model.clone(),
            training: subject.training.clone(),
            evaluation: subject.evaluation.clone(),
            ..*subject
        };
        self.train(&slow, "start", (&subject.model, &[]), student, (1, 1.0))
    }

    /// A weaker teacher: half the depth after a third of the steps.
    fn weak(&self, subject: &Subject) -> Result<PathBuf, Box<dyn Error>> {
        let student = StudentSpec::Depth {
            share: 0.5,
            evenly: true,
        };
        let steps = (self.steps / 3).max(1);
        self.train(
            subject,
            "weak",
            (&subject.model, &[]),
            student,
            (steps, 1.0),
        )?;
        Ok(self.path(subject, "weak"))
    }

    fn train(
        &self,
        subject: &Subject,
        name: &str,
        (teacher, others): (&Path, &[PathBuf]),
        student: StudentSpec,
        (steps, hard): (u64, f64),
    ) -> Result<DistillReport, Box<dyn Error>> {
        let mut recipe = Recipe::default();
        recipe.calibration.corpus = Some(subject.training.display().to_string());
        recipe.calibration.length = subject.length;
        recipe.calibration.sequences = 64;
        recipe.train = Some(TrainSettings {
            steps,
            hard,
            rate: subject.rate,
            length: subject.length,
            ..TrainSettings::default()
        });
        let other = |path: &PathBuf| OtherTeacher {
            path: path.clone(),
            weight: 1.0,
        };
        let request = DistillRequest {
            weight: 1.0,
            others: others.iter().map(other).collect(),
            student,
            recipe,
            out: self.path(subject, name),
            evaluate: Some(subject.evaluation.clone()),
            resume: false,
        };
        println!("{} {name} …", subject.name);
        let session = Session::open(teacher, self.options.clone())?;
        Ok(session.distill(&request, &Told)?)
    }
}

/// Tells warnings.
struct Told;

impl Monitor for Told {
    fn step(&self, _done: u64, _total: u64) {}

    fn should_stop(&self) -> bool {
        false
    }
}

impl Observer for Told {
    fn notice(&self, notice: Notice<'_>) {
        if let Notice::Warning(text) = notice {
            println!("  {text}");
        }
    }
}

fn lines(bars: &[Bar]) -> String {
    let mut text = String::new();
    for bar in bars {
        let verdict = if bar.holds { "holds" } else { "missed" };
        let _ = writeln!(text, "{verdict:7} {}\n        {}", bar.goal, bar.found);
    }
    text
}
