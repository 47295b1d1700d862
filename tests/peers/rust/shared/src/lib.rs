//! What the workers share: the protocol of `workers.py`, and codes made of f32 weights.
//!
//! Knows no library whose products are timed.

pub mod codes;

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What stops a command; its text is the answer.
pub type Failure = Box<dyn Error>;

/// A product, or a ruler, that is ready to run.
pub trait Case {
    /// Does the timed work once.
    fn run(&mut self);
    /// Bytes of one copy of the weights, as the kernel reads them.
    fn weight_bytes(&self) -> usize;
    /// `[tokens, rows]` of the first copy; nothing for a ruler.
    fn result(&mut self) -> Vec<f32>;
}

/// Which case, of which size.
pub struct Request {
    /// Name of the case; workers know different ones.
    pub name: String,
    /// Rows of the input.
    pub tokens: usize,
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub columns: usize,
    /// Copies of the weights that are used in turn, so that caches do not hold them.
    pub copies: usize,
    folder: PathBuf,
}

impl Request {
    fn parse<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Self, Failure> {
        let mut word = || words.next().ok_or("a word is missing in the command");
        Ok(Self {
            name: word()?.to_owned(),
            tokens: word()?.parse()?,
            rows: word()?.parse()?,
            columns: word()?.parse()?,
            copies: word()?.parse()?,
            folder: word()?.into(),
        })
    }

    /// `[rows, columns]`.
    pub fn weights(&self) -> Result<Vec<f32>, Failure> {
        self.floats("weights.f32", self.rows * self.columns)
    }

    /// `[tokens, columns]`.
    pub fn input(&self) -> Result<Vec<f32>, Failure> {
        self.floats("input.f32", self.tokens * self.columns)
    }

    fn floats(&self, file: &str, count: usize) -> Result<Vec<f32>, Failure> {
        let bytes = std::fs::read(self.folder.join(file))?;
        let (words, _) = bytes.as_chunks::<4>();
        if words.len() != count {
            return Err(format!("{file} holds {} values, not {count}", words.len()).into());
        }
        Ok(words.iter().map(|&word| f32::from_le_bytes(word)).collect())
    }
}

/// Copies that are used in turn.
pub struct Ring<T> {
    copies: Vec<T>,
    next: usize,
}

impl<T> Ring<T> {
    /// `copies` times what `make` returns.
    pub fn new(copies: usize, mut make: impl FnMut() -> T) -> Self {
        Self {
            copies: (0..copies).map(|_| make()).collect(),
            next: 0,
        }
    }

    /// The next copy.
    pub fn turn(&mut self) -> &T {
        let copy = self.next;
        self.next = (copy + 1) % self.copies.len();
        &self.copies[copy]
    }

    /// Any copy.
    pub fn first(&self) -> &T {
        &self.copies[0]
    }
}

/// Answers commands until standard input ends.
pub fn serve(prepare: impl Fn(&Request) -> Result<Box<dyn Case>, Failure>) -> Result<(), Failure> {
    let mut cases = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let answer = answer(&mut cases, &prepare, &line)
            .unwrap_or_else(|failure| format!("missing {failure}"));
        let mut output = std::io::stdout().lock();
        writeln!(output, "{}", answer.replace('\n', " "))?;
        output.flush()?;
    }
    Ok(())
}

fn answer(
    cases: &mut HashMap<String, Box<dyn Case>>,
    prepare: impl Fn(&Request) -> Result<Box<dyn Case>, Failure>,
    line: &str,
) -> Result<String, Failure> {
    let mut words = line.split_whitespace();
    let (Some(verb), Some(id)) = (words.next(), words.next()) else {
        return Err("a command is a verb and a case".into());
    };
    if verb == "prepare" {
        let case = prepare(&Request::parse(words)?)?;
        let answer = format!("ready {}", case.weight_bytes());
        cases.insert(id.to_owned(), case);
        return Ok(answer);
    }
    if verb == "drop" {
        cases.remove(id);
        return Ok("ready".to_owned());
    }
    let case = cases.get_mut(id).ok_or("no such case")?;
    let argument = words.next().ok_or("a word is missing in the command")?;
    match verb {
        "check" => {
            let bytes: Vec<u8> = case.result().iter().flat_map(|v| v.to_le_bytes()).collect();
            std::fs::write(argument, bytes)?;
            Ok("ready".to_owned())
        }
        "time" => Ok(time(case.as_mut(), argument.parse()?)),
        _ => Err("no such command".into()),
    }
}

/// Nanoseconds of each call, after one that is not counted, until `milliseconds` have passed.
fn time(case: &mut dyn Case, milliseconds: f64) -> String {
    let limit = Duration::from_secs_f64(milliseconds / 1e3);
    let mut answer = "timed".to_owned();
    case.run();
    let begin = Instant::now();
    while {
        let before = Instant::now();
        case.run();
        answer += &format!(" {}", before.elapsed().as_nanos());
        begin.elapsed() < limit
    } {}
    answer
}

/// Runs `work` on a thread of rayon's global pool of as many threads as the first argument says.
pub fn in_pool<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Failure> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads())
        .build_global()?;
    Ok(rayon::scope(|_| work()))
}

/// Threads asked for: the first argument, or one.
pub fn threads() -> usize {
    std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(1)
}
