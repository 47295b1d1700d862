//! One run as one self-contained page of HTML, and its layers as comma-separated values.
//!
//! No script, no network, no clock: the same run gives the same bytes. Every string is escaped where it is written, every
//! number that does not exist says why. Knows no folder: `session` gathers what a run left.

mod axis;
mod csv;
mod figures;
mod layers;
mod plots;
mod sections;
mod svg;
mod text;
mod training;

pub use csv::layers_csv;

use super::{
    DistillReport, Environment, Evaluation, LayerFallback, LayerReport, StructureReport, Verified,
};

/// What kind of work a run was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunKind {
    /// `compress`, with or without structure.
    Compressed,
    /// `distill`.
    Trained,
    /// `export`.
    Exported,
}

/// A file of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashedFile {
    /// Path inside the run's folder, with `/`.
    pub path: String,
    /// Its bytes.
    pub bytes: u64,
    /// SHA-256 in hexadecimal, or why there is none.
    pub sha256: Result<String, String>,
}

/// The best sizes and losses that an allocation found.
#[derive(Debug, Clone, PartialEq)]
pub struct Front {
    /// What the losses are: `predicted_kl` or `predicted_cosine_distance`.
    pub measure: String,
    /// Bytes of all files, and the predicted loss, by size.
    pub points: Vec<(u64, f64)>,
}

/// Everything that a page tells.
#[derive(Debug, Clone, PartialEq)]
pub struct RunPage {
    /// The folder's name.
    pub name: String,
    /// What was done.
    pub kind: RunKind,
    /// The container's word, where known.
    pub format: Option<String>,
    /// Bytes of the source's files.
    pub bytes_before: Option<u64>,
    /// Bytes of the written files.
    pub bytes_after: Option<u64>,
    /// Over the compressed layers; `None` where none are.
    pub bits_per_weight: Option<f64>,
    /// Wall seconds.
    pub seconds: Option<f64>,
    /// The process's high-water mark.
    pub peak_rss_bytes: Option<u64>,
    /// Seconds of stages.
    pub stages: Vec<(String, f64)>,
    /// Each compressible layer.
    pub layers: Vec<LayerReport>,
    /// Layers that an export could not hold as they were solved.
    pub fallbacks: Vec<LayerFallback>,
    /// What was taken out of the network as a whole.
    pub structure: Option<StructureReport>,
    /// What training told.
    pub training: Option<DistillReport>,
    /// Quality.
    pub evaluation: Option<Evaluation>,
    /// Outcome of reopening.
    pub verified: Option<Verified>,
    /// The complete recipe as TOML; `None` where the run has none.
    pub recipe: Option<String>,
    /// The recipe's seed, where it can be read.
    pub seed: Option<u64>,
    /// With what the run was made; `None` of runs of versions that did not say.
    pub environment: Option<Environment>,
    /// What an allocation found before.
    pub front: Option<Front>,
    /// Every file.
    pub files: Vec<HashedFile>,
    /// For people.
    pub warnings: Vec<String>,
}

impl RunPage {
    /// A page of which nothing is known yet.
    pub fn empty(kind: RunKind) -> Self {
        Self {
            name: String::new(),
            kind,
            format: None,
            bytes_before: None,
            bytes_after: None,
            bits_per_weight: None,
            seconds: None,
            peak_rss_bytes: None,
            stages: Vec::new(),
            layers: Vec::new(),
            fallbacks: Vec::new(),
            structure: None,
            training: None,
            evaluation: None,
            verified: None,
            recipe: None,
            seed: None,
            environment: None,
            front: None,
            files: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The page.
    pub fn html(&self) -> String {
        let title = text::escape(&self.name);
        let sections = [
            sections::head(self),
            figures::section(self),
            sections::warnings(self),
            plots::section(self),
            layers::section(self),
            training::structure(self),
            training::section(self),
            sections::evaluation(self),
            sections::recipe(self),
            sections::environment(self),
            sections::files(self),
        ];
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{title} · Pare</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n{}</main>\n</body>\n</html>\n",
            include_str!("style.css"),
            sections.concat()
        )
    }
}

/// A section under a heading; nothing where there is nothing to tell.
fn under(heading: &str, content: &str) -> String {
    match content {
        "" => String::new(),
        content => format!("<section>\n<h2>{heading}</h2>\n{content}</section>\n"),
    }
}

/// A row of two cells, both escaped already.
fn pair(name: &str, value: &str) -> String {
    format!("<tr><th scope=\"row\">{name}</th><td>{value}</td></tr>\n")
}

/// A table of such rows.
fn pairs(rows: &str) -> String {
    match rows {
        "" => String::new(),
        rows => format!("<table class=\"pairs\">\n<tbody>\n{rows}</tbody>\n</table>\n"),
    }
}

/// What stands where a number does not exist.
fn missing(reason: &str) -> String {
    format!(
        "<span class=\"missing\">not measured: {}</span>",
        text::escape(reason)
    )
}

#[cfg(test)]
mod tests;
