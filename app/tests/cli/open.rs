//! `pare open`: pictures without a display, and what a machine without a display is told.

use crate::place::{Outcome, Place};
use std::path::Path;

/// The words of a picture, and these.
fn picture(place: &Place, words: &[&str]) -> Outcome {
    let picture = ["open", "--headless", "--screenshot", "shot.png"];
    place.run(&[&picture[..], words].concat())
}

#[test]
fn a_picture_has_the_size_asked_for_and_is_the_same_twice() {
    let place = Place::new();
    let words = ["open", "sample", "--headless", "--size", "640x400"];
    let mut pictures = Vec::new();
    for name in ["a.png", "b.png"] {
        let answer = place.json(&[&words[..], &["--scale", "1.5", "--screenshot", name]].concat());
        assert_eq!(answer["screenshot"], name, "{answer}");
        assert_eq!(
            (&answer["width"], &answer["height"]),
            (&960.into(), &600.into())
        );
        let picture = image::open(place.path(name)).unwrap();
        assert_eq!((picture.width(), picture.height()), (960, 600));
        pictures.push(picture.into_rgba8());
    }
    let differing = pictures[0].pixels().zip(pictures[1].pixels());
    let differing = differing.filter(|(left, right)| left != right).count();
    assert_eq!(
        differing, 0,
        "pixels differ between two pictures of the same"
    );
}

#[test]
fn each_view_and_theme_is_drawn() {
    let place = Place::new();
    let mut seen = Vec::new();
    for words in [
        &["--view", "start"][..],
        &["--view", "inspector"],
        &["--view", "size", "--theme", "light"],
        &["--view", "export", "--select", "down_proj block:0"],
    ] {
        let outcome = picture(&place, &[&["--size", "800x500"], words].concat());
        assert_eq!(
            outcome.page().trim(),
            "800 x 500 pixels: shot.png",
            "{words:?}"
        );
        let drawn = image::open(place.path("shot.png")).unwrap().into_rgba8();
        assert!(
            !seen.contains(&drawn),
            "{words:?} looks as another view does"
        );
        seen.push(drawn);
    }
}

#[test]
fn a_run_for_a_picture_leaves_nothing() {
    let place = Place::new();
    let temporary = place.path("temporary");
    std::fs::create_dir(&temporary).unwrap();
    let words = [
        "open",
        "--headless",
        "--screenshot",
        "shot.png",
        "--run",
        "--view",
        "runs",
    ];
    let output = place.command(&words).env("TMPDIR", &temporary).output();
    let outcome = Outcome::of(output.unwrap());
    assert!(outcome.page().contains("shot.png"));
    let left = std::fs::read_dir(&temporary).unwrap().count();
    assert_eq!(left, 0, "the run's folder is gone");
}

#[test]
fn a_recipe_that_says_sample_is_run_on_the_sample_s_text() {
    let place = Place::new();
    place.file(
        "recipe.toml",
        "version = 1\n[calibration]\ncorpus = \"sample\"\nsequences = 8\n",
    );
    picture(&place, &["--recipe", "recipe.toml", "--run"]).page();
}

#[test]
fn words_that_make_no_picture_are_a_wrong_command_line() {
    let place = Place::new();
    let cases: [(&[&str], &[&str]); 10] = [
        (&["--headless"], &["--screenshot"]),
        (&["--screenshot", "a.png"], &["--headless"]),
        (&["--headless", "--screenshot", "a.jpg"], &["a.jpg", ".png"]),
        (
            &["--headless", "--screenshot", "a.png", "--size", "big"],
            &["--size", "1400x900"],
        ),
        (
            &["--headless", "--screenshot", "a.png", "--size", "10x10"],
            &["--size", "200 to 4000"],
        ),
        (
            &["--headless", "--screenshot", "a.png", "--scale", "9"],
            &["--scale", "0.5 to 4"],
        ),
        (
            &["--headless", "--screenshot", "a.png", "--view", "cellar"],
            &["cellar", "layers", "trade-off"],
        ),
        (
            &["--headless", "--screenshot", "a.png", "--theme", "pink"],
            &["pink", "dark", "light"],
        ),
        (&["--renderer", "crayon"], &["crayon", "wgpu", "glow"]),
        (
            &["--headless", "--screenshot", "a.png", "--renderer", "glow"],
            &["--renderer", "--headless"],
        ),
    ];
    for (words, expected) in cases {
        place.run(&[&["open"], words].concat()).refused(2, expected);
    }
    assert!(!place.path("a.png").exists());
}

#[test]
fn what_fails_before_a_picture_is_told_and_writes_nothing() {
    let place = Place::new();
    place.file("wrong.toml", "bits = \"many\"");
    let cases: [(&[&str], &[&str]); 4] = [
        (&["absent"], &["absent"]),
        (&["--recipe", "absent.toml"], &["absent.toml"]),
        (&["--recipe", "wrong.toml"], &["wrong.toml"]),
        (&["--select", "block:999"], &["No layer", "block:999"]),
    ];
    for (words, expected) in cases {
        picture(&place, words).refused(1, expected);
        assert!(!place.path("shot.png").exists(), "{words:?}");
    }
    let nowhere = ["open", "--headless", "--screenshot", "no/folder/shot.png"];
    place.run(&nowhere).refused(1, &["no/folder/shot.png"]);
}

#[test]
#[cfg(target_os = "linux")]
fn without_a_display_the_way_without_one_is_named() {
    let place = Place::new();
    for words in [
        &[][..],
        &["open"],
        &["open", "sample", "--renderer", "glow"],
    ] {
        for display in [None, Some(":4093")] {
            let mut command = place.command(words);
            for variable in ["DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET"] {
                command.env_remove(variable);
            }
            command.envs(display.map(|display| ("DISPLAY", display)));
            command.env("XDG_DATA_HOME", place.path("data"));
            let outcome = Outcome::of(command.output().unwrap());
            outcome.refused(1, &["display", "--headless --screenshot"]);
        }
    }
    assert!(!Path::exists(&place.path("data")), "nothing was kept");
}
