//! The command line that the studio copies makes the same bytes as the studio's own run.

use crate::desk::Desk;
use pare::studio::action::Action;
use pare::studio::draft::LayerEdit;
use pare::studio::runs::RunStatus;
use pare::studio::{Command, Effect};
use pare_engine::mask::SparsityPattern;
use pare_engine::recipe::Rank;
use pare_engine::solved::Method;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};

/// Files of a run that decide what other programs load, and the recipe; not the report, which holds times.
pub(crate) fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if !name.ends_with("report.json") {
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

#[test]
fn the_copied_command_line_makes_the_same_bytes() {
    let mut desk = Desk::with_sample();
    let layers = desk.studio().project().unwrap().rows.visible[2..9].to_vec();
    let edits = [
        LayerEdit::Bits(3),
        LayerEdit::Group(32),
        LayerEdit::Bits(6),
        LayerEdit::Pattern(SparsityPattern::TWO_OF_FOUR),
        LayerEdit::Method(Method::Float),
        LayerEdit::Method(Method::Palette),
        LayerEdit::Rank(Rank::Fixed(8)),
    ];
    for (layer, edit) in layers.into_iter().zip(edits) {
        desk.command(Command::Edit {
            edit,
            layers: Some(vec![layer]),
            gesture: None,
        });
    }
    let effects = desk
        .harness
        .state_mut()
        .studio
        .command(Command::Act(Action::CopyCommandLine));
    let Some(Effect::Copy(text)) = effects.first() else {
        panic!("nothing was copied: {effects:?}");
    };
    let (line, recipe) = text.split_once(" <<'RECIPE'\n").unwrap();
    let recipe = recipe.strip_suffix("RECIPE\n").unwrap();
    let out = desk.studio().next_out();
    let again = desk.folder.path().join("again");

    desk.command(Command::Run(None));
    desk.settle();
    assert_eq!(desk.studio().runs[0].status, RunStatus::Done);

    let line = line.replacen("pare ", &format!("{} ", env!("CARGO_BIN_EXE_pare")), 1);
    let line = line.replace(out.to_str().unwrap(), again.to_str().unwrap());
    let mut shell = Process::new("sh")
        .args([
            "-c",
            &format!(
                "{line} --cache '{}'",
                desk.folder.path().join("cache").display()
            ),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = shell.stdin.take().unwrap();
    stdin.write_all(recipe.as_bytes()).unwrap();
    drop(stdin);
    let done = shell.wait_with_output().unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let (ours, theirs) = (content(&out), content(&again));
    assert_eq!(
        ours.keys().collect::<Vec<_>>(),
        theirs.keys().collect::<Vec<_>>()
    );
    for (name, bytes) in &ours {
        assert_eq!(bytes, &theirs[name], "{} differs", name.display());
    }
    assert!(ours.len() > 5, "{:?}", ours.keys());
}
