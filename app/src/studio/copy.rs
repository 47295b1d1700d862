//! Command lines that do what the studio would do, to the byte: for scripts, other machines, and people who want to know.
//!
//! The recipe travels inside the command as a here-document, so that one paste is enough. Knows no clipboard.

use pare_engine::formats::Format;
use pare_engine::recipe::Recipe;
use pare_engine::session::DistillRequest;
use std::path::Path;

/// A run of `recipe` on `model` into `out`.
pub fn compress(
    model: &Path,
    recipe: &Recipe,
    out: &Path,
    format: Format,
    evaluation: Option<&Path>,
) -> String {
    let mut line = format!(
        "pare compress {} --recipe /dev/stdin --out {} --format {}",
        quoted(model),
        quoted(out),
        format.word()
    );
    if let Some(text) = evaluation {
        line.push_str(&format!(" --evaluate {}", quoted(text)));
    }
    format!("{line} <<'RECIPE'\n{}RECIPE\n", recipe.to_toml())
}

/// A training as `request` says, with `model` as the first teacher.
pub fn distill(model: &Path, request: &DistillRequest) -> String {
    let mut line = format!("pare distill --teacher {}", quoted(model));
    let mut weights = vec![request.weight];
    for other in &request.others {
        line.push_str(&format!(" --teacher {}", quoted(&other.path)));
        weights.push(other.weight);
    }
    if weights.iter().any(|&weight| weight != 1.0) {
        for weight in weights {
            line.push_str(&format!(" --teacher-weight {weight}"));
        }
    }
    let student = request.student.to_string();
    line.push_str(&format!(
        " --student {} --recipe /dev/stdin --out {}",
        quoted(Path::new(&student)),
        quoted(&request.out)
    ));
    if let Some(text) = &request.evaluate {
        line.push_str(&format!(" --evaluate {}", quoted(text)));
    }
    format!("{line} <<'RECIPE'\n{}RECIPE\n", request.recipe.to_toml())
}

/// An export of a run.
pub fn export(run: &Path, format: Format, out: &Path) -> String {
    format!(
        "pare export {} --format {} --out {}\n",
        quoted(run),
        format.word(),
        quoted(out)
    )
}

/// A word of a POSIX shell that means exactly `path`.
pub fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+=:@%".contains(letter);
    // A word that begins with a dash would be read as a flag.
    let text = match text.starts_with('-') {
        true => format!("./{text}"),
        false => text.into_owned(),
    };
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pare_engine::session::{OtherTeacher, StudentSpec};

    #[test]
    fn odd_names_stay_one_word() {
        let cases = [
            ("/a/b-c.d", "/a/b-c.d"),
            ("my model", "'my model'"),
            ("it's", "'it'\\''s'"),
            ("$(x)", "'$(x)'"),
            ("-x", "./-x"),
            ("模型", "'模型'"),
        ];
        for (path, expected) in cases {
            assert_eq!(quoted(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn teachers_have_weights_where_they_differ() {
        let mut request = DistillRequest {
            weight: 1.0,
            others: vec![OtherTeacher {
                path: "other one".into(),
                weight: 1.0,
            }],
            student: StudentSpec::Width { share: 0.5 },
            recipe: Recipe::default(),
            out: "out".into(),
            evaluate: None,
            resume: false,
        };
        let head = |request: &DistillRequest| {
            let text = distill(Path::new("sample"), request);
            text.lines().next().unwrap_or_default().to_owned()
        };
        let (teachers, rest) = (
            "pare distill --teacher sample --teacher 'other one'",
            "--student width:0.5 --recipe /dev/stdin --out out <<'RECIPE'",
        );
        assert_eq!(head(&request), format!("{teachers} {rest}"));
        request.others[0].weight = 0.5;
        let weights = "--teacher-weight 1 --teacher-weight 0.5";
        assert_eq!(head(&request), format!("{teachers} {weights} {rest}"));
    }

    #[test]
    fn the_recipe_travels_along() {
        let text = compress(
            Path::new("sample"),
            &Recipe::default(),
            Path::new("/tmp/o 1"),
            Format::Gptq,
            None,
        );
        let (line, rest) = text.split_once('\n').unwrap_or_default();
        assert_eq!(
            line,
            "pare compress sample --recipe /dev/stdin --out '/tmp/o 1' --format gptq <<'RECIPE'"
        );
        assert_eq!(rest, format!("{}RECIPE\n", Recipe::default().to_toml()));
    }
}
