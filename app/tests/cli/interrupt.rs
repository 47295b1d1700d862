//! Ctrl-C: exit code 130, finished layers kept, and a resumed run with the bytes of one that was never stopped.

use crate::place::{Outcome, Place, files, same_bytes, same_layers};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than any machine that is not broken takes to stop.
const PATIENCE: Duration = Duration::from_secs(20);

fn words<'a>(out: &'a str, sequences: &'a str, text: &'a str) -> Vec<&'a str> {
    let mut words = vec!["compress", "sample", "--out", out, "--evaluate", text];
    words.extend([
        "--sequences",
        sequences,
        "--length",
        "64",
        "--group",
        "32",
        "--bits",
        "3",
    ]);
    words
}

fn interrupt(child: &Child) {
    let status = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

/// Runs, and interrupts once the run `is_ready`. `None` where it was over before.
pub(crate) fn once(place: &Place, words: &[&str], is_ready: impl Fn() -> bool) -> Option<Outcome> {
    let mut child = place
        .command(words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while child.try_wait().unwrap().is_none() {
        if is_ready() {
            interrupt(&child);
            let asked = Instant::now();
            let output = child.wait_with_output().unwrap();
            assert!(
                asked.elapsed() < PATIENCE,
                "stopping took {:?}",
                asked.elapsed()
            );
            return Some(Outcome::of(output)).filter(|outcome| outcome.code != Some(0));
        }
        thread::sleep(Duration::from_millis(2));
    }
    None
}

#[test]
fn a_stopped_run_goes_on_to_the_same_bytes() {
    let place = Place::new();
    let text = place.text();
    // A machine that is through before the signal arrives gets more to do.
    for sequences in ["16", "128", "1024"] {
        let words = words("out", sequences, &text);
        let layers = place.path("out.partial/.pare/layers");
        let is_stored = || layers.is_dir() && !files(&layers).is_empty();
        let Some(outcome) = once(&place, &words, is_stored) else {
            std::fs::remove_dir_all(place.path("out")).unwrap();
            continue;
        };
        outcome.refused(130, &["--resume", "out.partial"]);
        assert!(!place.path("out").exists());
        place.json(&[&words[..], &["--resume"]].concat());
        place.json(&self::words("whole", sequences, &text));
        same_bytes(&place.path("out"), &place.path("whole"));
        same_layers(&place.path("out"), &place.path("whole"));
        return;
    }
    println!("skipped: this machine is too quick to be interrupted");
}
