//! The studio as a value: commands and events in, effects out, on the sample model, with no worker and no window.

#![allow(clippy::unwrap_used)]

use crate::studio::action::Action;
use crate::studio::draft::LayerEdit;
use crate::studio::effect::Job;
use crate::studio::event::{Generation, Opened, Outcome};
use crate::studio::history::Gesture;
use crate::studio::log::Level;
use crate::studio::project::Inputs;
use crate::studio::runs::RunStatus;
use crate::studio::sample::{self, Text};
use crate::studio::selection::Join;
use crate::studio::state::{Beginning, Phase, SideJob};
use crate::studio::{Command, Effect, Event, Studio};
use pare_engine::recipe::Recipe;
use pare_engine::session::Session;
use pare_engine::settings::LayerOption;
use pare_engine::solved::Method;
use proptest::prelude::*;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// The sample, opened once for all tests.
pub(super) fn session() -> Opened {
    static SAMPLE: OnceLock<(tempfile::TempDir, Opened)> = OnceLock::new();
    let (_, opened) = SAMPLE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let word = Path::new(sample::WORD);
        let options = nothing_open(folder.path()).session_options();
        let place = sample::model(word, folder.path()).unwrap();
        let opened = Opened {
            session: Arc::new(Session::open(&place, options).unwrap()),
            is_sample: true,
            calibration_text: Some(sample::text(word, Text::Calibration, folder.path()).unwrap()),
            evaluation_text: None,
            autosaved: None,
        };
        (folder, opened)
    });
    opened.clone()
}

fn nothing_open(folder: &Path) -> Studio {
    Studio::new(Beginning {
        cache_folder: folder.to_owned(),
        data_folder: Some(folder.join("data")),
        began_unix_ms: 1_800_000_000_000,
    })
}

pub(super) fn with_sample() -> Studio {
    let mut studio = nothing_open(Path::new("/nowhere"));
    studio.command(Command::Open(sample::WORD.into()));
    let effects = studio.event(Event::Opened {
        generation: studio.generation,
        path: sample::WORD.into(),
        result: Ok(session()),
    });
    assert!(has_job(&effects, "calibrating"), "{effects:?}");
    studio
}

fn has_job(effects: &[Effect], name: &str) -> bool {
    effects
        .iter()
        .any(|effect| matches!(effect, Effect::Start(job) if job.name() == name))
}

fn bits(studio: &Studio) -> Vec<u8> {
    let project = studio.project().unwrap();
    let settings = project.draft().settings.iter();
    settings.map(|settings| settings.bits).collect()
}

/// An edit of the first layers inside blocks.
pub(super) fn edit(studio: &mut Studio, count: usize, edit: LayerEdit) -> Vec<Effect> {
    let project = studio.project().unwrap();
    let inner = project.rows.visible.iter().copied();
    let inner = inner.filter(|&layer| project.layers[layer].block.is_some());
    let layers: Vec<usize> = inner.take(count).collect();
    studio.command(Command::Edit {
        edit,
        layers: Some(layers),
        gesture: None,
    })
}

#[test]
fn edits_are_undone_one_by_one_and_keep_the_draft() {
    let mut studio = with_sample();
    let before = (bits(&studio), studio.project().unwrap().totals.bytes_after);
    let effects = edit(&mut studio, 5, LayerEdit::Bits(6));
    assert!(has_job(&effects, "keeping the draft"));
    let after = studio.project().unwrap().totals.bytes_after;
    assert!(
        after > before.1,
        "{after} bytes after more bits than {}",
        before.1
    );
    let label = studio
        .project()
        .unwrap()
        .history
        .undo_label()
        .map(str::to_owned);
    assert!(label.unwrap().starts_with("set 6-bit on "));
    studio.command(Command::Act(Action::Undo));
    let undone = (bits(&studio), studio.project().unwrap().totals.bytes_after);
    assert_eq!(undone, before);
    studio.command(Command::Act(Action::Redo));
    assert_eq!(studio.project().unwrap().totals.bytes_after, after);
}

#[test]
fn a_gesture_is_one_step_until_it_ends() {
    let mut studio = with_sample();
    let layers = studio.project().unwrap().rows.visible[1..3].to_vec();
    for bits in [5, 6, 7] {
        studio.command(Command::Edit {
            edit: LayerEdit::Bits(bits),
            layers: Some(layers.clone()),
            gesture: Some(Gesture(3)),
        });
    }
    assert_eq!(studio.project().unwrap().history.labels().count(), 1);
    studio.command(Command::EndGesture);
    studio.command(Command::Edit {
        edit: LayerEdit::Bits(8),
        layers: Some(layers),
        gesture: Some(Gesture(3)),
    });
    assert_eq!(studio.project().unwrap().history.labels().count(), 2);
}

#[test]
fn locked_layers_stay_and_that_is_told() {
    let mut studio = with_sample();
    let layer = studio.project().unwrap().rows.visible[1];
    studio.command(Command::Lock(vec![layer], true));
    let before = bits(&studio);
    let effects = studio.command(Command::Edit {
        edit: LayerEdit::Bits(2),
        layers: Some(vec![layer]),
        gesture: None,
    });
    assert_eq!(bits(&studio), before);
    assert!(matches!(&effects[..], [Effect::Toast(Level::Info, text)] if text.contains("Locked")));
}

#[test]
fn a_wrong_filter_keeps_the_rows_of_the_last_right_one() {
    let mut studio = with_sample();
    studio.command(Command::Filter("down_proj".to_owned()));
    let rows = studio.project().unwrap().rows.clone();
    assert!(rows.matching > 0 && rows.matching < rows.total);
    studio.command(Command::Filter("re:(".to_owned()));
    let project = studio.project().unwrap();
    assert_eq!(project.rows.rows, rows.rows);
    assert!(project.filter_problem.is_some());
    studio.command(Command::Filter(String::new()));
    assert_eq!(studio.project().unwrap().rows.matching, rows.total);
}

#[test]
fn late_answers_about_another_model_are_dropped() {
    let mut studio = with_sample();
    let old = studio.generation;
    studio.command(Command::Open("/other".into()));
    studio.event(Event::Opened {
        generation: old,
        path: sample::WORD.into(),
        result: Ok(session()),
    });
    assert!(matches!(studio.phase, Phase::Opening { .. }));
    assert_ne!(old, Generation(studio.generation.0));
    studio.event(Event::Opened {
        generation: studio.generation,
        path: "/other".into(),
        result: Err("there is nothing; /other".to_owned()),
    });
    let back = studio.project().map(|project| project.name.clone());
    assert_eq!(
        back.as_deref(),
        Some("sample"),
        "the model open before is back"
    );
    let (path, reason) = studio.open_failure.clone().unwrap();
    assert_eq!(
        (path.to_str(), &reason[..]),
        (Some("/other"), "there is nothing; /other")
    );
}

#[test]
fn runs_queue_and_go_on_whatever_came_of_the_one_before() {
    let mut studio = with_sample();
    let first = studio.command(Command::Act(Action::StartRun));
    assert!(has_job(&first, "a run"));
    let second = studio.command(Command::Act(Action::StartRun));
    assert!(!has_job(&second, "a run"), "one run at a time");
    assert_eq!(studio.waiting.len(), 1);
    let ids: Vec<_> = studio.runs.iter().rev().map(|run| run.id).collect();
    let outs: Vec<_> = studio.runs.iter().map(|run| run.out.clone()).collect();
    assert_ne!(outs[0], outs[1], "each run has its own folder");
    studio.event(Event::Began(ids[0]));
    studio.command(Command::Act(Action::StopRun));
    assert!(studio.active.as_ref().unwrap().control.is_stopped());
    let effects = studio.event(Event::Ended(ids[0], Outcome::Stopped));
    assert!(has_job(&effects, "a run"), "the next run starts");
    assert_eq!(studio.run(ids[0]).unwrap().status, RunStatus::Stopped);
    let effects = studio.event(Event::Ended(
        ids[1],
        Outcome::Failed("disk full".to_owned()),
    ));
    assert!(
        matches!(&effects[..], [.., Effect::Toast(Level::Error, text)] if text.contains("disk full"))
    );
    assert!(studio.active.is_none());
    assert_eq!(studio.unread(), 1);
    assert_eq!(studio.resumable(), Some(ids[1]));
}

#[test]
fn closing_asks_while_a_run_is_at_work() {
    let mut studio = with_sample();
    studio.command(Command::Act(Action::StartRun));
    assert!(matches!(
        &studio.command(Command::Close(false))[..],
        [Effect::ConfirmClose]
    ));
    assert!(matches!(
        &studio.command(Command::Close(true))[..],
        [Effect::Close]
    ));
    assert!(studio.active.as_ref().unwrap().control.is_stopped());
}

#[test]
fn closing_asks_while_an_export_is_at_work() {
    let mut studio = with_sample();
    let control = Arc::default();
    let name = "Exporting to gguf".to_owned();
    studio.side_job = Some(SideJob {
        name,
        control,
        share: None,
        measures_machine: false,
    });
    assert!(matches!(
        &studio.command(Command::Close(false))[..],
        [Effect::ConfirmClose]
    ));
}

#[test]
fn the_copied_command_says_what_was_chosen() {
    let mut studio = with_sample();
    edit(&mut studio, 4, LayerEdit::Bits(3));
    let effects = studio.command(Command::Act(Action::CopyCommandLine));
    let Some(Effect::Copy(text)) = effects.first() else {
        panic!("no text for the clipboard in {effects:?}");
    };
    assert!(
        text.starts_with("pare compress sample --recipe /dev/stdin --out "),
        "{text}"
    );
    let toml = text
        .split_once("<<'RECIPE'\n")
        .unwrap()
        .1
        .strip_suffix("RECIPE\n")
        .unwrap();
    let project = studio.project().unwrap();
    let resolved = Recipe::parse(toml).unwrap().resolve(&project.layers);
    for (layer, decision) in resolved.decisions.iter().enumerate() {
        let chosen = project.draft().settings[layer];
        let same = decision.settings == chosen
            || (decision.settings.method == Method::None && chosen.method == Method::None);
        assert!(
            same,
            "{}: {chosen:?}, not {:?}",
            project.layers[layer].name, decision.settings
        );
    }
}

#[test]
fn what_cannot_be_done_says_why() {
    let mut studio = nothing_open(Path::new("/nowhere"));
    for action in Action::all() {
        if let Err(reason) = action.availability(&studio) {
            assert!(
                !reason.is_empty() && !reason.ends_with('.'),
                "{action:?}: {reason}"
            );
            let effects = studio.command(Command::Act(action));
            assert!(
                matches!(&effects[..], [Effect::Toast(_, text)] if text.contains(&reason)),
                "{action:?}: {effects:?}"
            );
        }
    }
}

#[test]
fn nothing_waits_for_estimates_that_a_defect_ended() {
    let mut studio = with_sample();
    assert!(studio.project().unwrap().estimating.is_some());
    let effects = studio.event(Event::Panicked {
        job: "estimating".to_owned(),
        message: "index out of bounds".to_owned(),
    });
    assert!(
        matches!(&effects[..], [Effect::Toast(Level::Error, text)] if text.contains("estimating")),
        "{effects:?}"
    );
    assert!(studio.project().unwrap().estimating.is_none());
}

#[test]
fn a_run_that_has_not_begun_stops_at_once() {
    let mut studio = with_sample();
    studio.command(Command::Act(Action::StartRun));
    let id = studio.active.as_ref().unwrap().id;
    studio.command(Command::Act(Action::StopRun));
    assert!(studio.active.is_none());
    assert_eq!(studio.run(id).unwrap().status, RunStatus::Stopped);
}

#[test]
fn inputs_of_a_text_that_was_changed_meanwhile_are_dropped() {
    let mut studio = with_sample();
    let Inputs::Gathering(control) = studio.project().unwrap().inputs.clone() else {
        panic!("the sample is calibrated at once");
    };
    let mut calibration = studio.project().unwrap().draft().calibration.clone();
    calibration.sequences += 1;
    studio.command(Command::SetCalibration(calibration));
    assert!(control.is_stopped(), "nobody wants the old inputs");
    let reason = "too late".to_owned();
    studio.event(Event::Calibrated {
        generation: studio.generation,
        control,
        result: Outcome::Failed(reason),
    });
    let inputs = &studio.project().unwrap().inputs;
    assert!(matches!(inputs, Inputs::Gathering(_)), "{inputs:?}");
}

#[test]
fn a_recipe_with_another_calibration_drops_the_inputs() {
    let mut studio = with_sample();
    let Inputs::Gathering(control) = studio.project().unwrap().inputs.clone() else {
        panic!("the sample is calibrated at once");
    };
    let mut recipe = Recipe::default();
    recipe.calibration.sequences = 7;
    let effects = studio.event(Event::RecipeRead("other.toml".into(), Ok(recipe.to_toml())));
    assert!(control.is_stopped(), "nobody wants the old inputs");
    assert!(has_job(&effects, "calibrating"), "{effects:?}");
}

#[test]
fn a_stopped_estimate_is_asked_again_with_the_inputs() {
    let mut studio = with_sample();
    let first = studio.project().unwrap().estimating.clone().unwrap();
    let session = studio.project().unwrap().session.clone();
    let settings = studio.project().unwrap().draft().calibration.clone();
    let mut few = settings;
    (few.sequences, few.length) = (2, 32);
    let watcher = Quiet;
    let inputs = session.original_inputs(&few, &watcher).unwrap();
    let effects = studio.event(Event::Calibrated {
        generation: studio.generation,
        control: Arc::default(),
        result: Outcome::Done(Arc::new(inputs)),
    });
    assert!(
        first.is_stopped(),
        "errors of weights alone are no longer wanted"
    );
    let asked = effects.iter().find_map(|effect| match effect {
        Effect::Start(Job::Estimate { inputs, wanted, .. }) => {
            Some((inputs.is_some(), wanted.len()))
        }
        _ => None,
    });
    let (with_inputs, wanted) = asked.unwrap();
    assert!(with_inputs && wanted > 10, "{wanted} estimates");
}

/// Watches nothing.
pub(super) struct Quiet;

impl pare_engine::monitor::Monitor for Quiet {
    fn step(&self, _done: u64, _total: u64) {}

    fn should_stop(&self) -> bool {
        false
    }
}

impl pare_engine::report::Observer for Quiet {
    fn notice(&self, _notice: pare_engine::report::Notice<'_>) {}
}

/// Commands as wild fingers would give them.
fn any_command() -> impl Strategy<Value = Command> {
    let join = prop_oneof![
        Just(Join::Replace),
        Just(Join::Toggle),
        Just(Join::Reach),
        Just(Join::AddReach)
    ];
    let edit = prop_oneof![
        (0u8..12).prop_map(LayerEdit::Bits),
        (-3i8..4).prop_map(LayerEdit::BitsBy),
        (0usize..200).prop_map(LayerEdit::Group),
        (0usize..6).prop_map(|method| LayerEdit::Method(Method::ALL[method])),
    ];
    let actions: Vec<Action> = Action::all().collect();
    prop_oneof![
        4 => (0usize..12, join).prop_map(|(layer, join)| Command::Select(layer, join)),
        4 => (edit, any::<bool>()).prop_map(|(edit, gesture)| Command::Edit {
            edit,
            layers: None,
            gesture: gesture.then_some(Gesture(1)),
        }),
        3 => prop::sample::select(actions).prop_map(Command::Act),
        1 => (-5isize..6, any::<bool>()).prop_map(|(steps, reach)| Command::Step(steps, reach)),
        1 => prop::sample::select(vec!["", "down", "bits<4", "re:(", "-selected", "error>0"])
            .prop_map(|text| Command::Filter(text.to_owned())),
        1 => prop::option::of(0usize..5).prop_map(Command::Fold),
        1 => (2u8..9).prop_map(Command::Uniform),
        1 => (0u64..400_000).prop_map(Command::SetBudget),
        1 => Just(Command::SettleBudget),
        2 => (prop::collection::vec(0usize..12, 0..5), prop::sample::select(LayerOption::all())).prop_map(
            |(layers, option)| Command::PaintOption { layers, option, gesture: Some(Gesture(2)) }
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn wild_fingers_break_nothing(commands in prop::collection::vec(any_command(), 1..40)) {
        let mut studio = with_sample();
        for command in commands {
            studio.command(command);
            let Some(project) = studio.project() else { continue };
            let layers = project.layers.len();
            prop_assert_eq!(project.draft().settings.len(), layers);
            prop_assert_eq!(project.figures.len(), layers);
            prop_assert!(project.rows.visible.iter().all(|&layer| project.layers[layer].compressible));
            let sum: u64 = (0..layers)
                .filter(|&layer| project.layers[layer].compressible)
                .map(|layer| project.figures[layer].bytes_after)
                .sum();
            prop_assert_eq!(project.totals.bytes_after, sum);
            let bits = project.draft().settings.iter().all(|settings| (2..=8).contains(&settings.bits));
            prop_assert!(bits, "bits stay within 2 to 8");
        }
    }
}
