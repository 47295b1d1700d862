//! Measuring and painting: commands and events in, state and effects out.

#![allow(clippy::unwrap_used)]

use super::super::tests::{Quiet, edit, with_sample};
use crate::studio::action::Action;
use crate::studio::draft::LayerEdit;
use crate::studio::effect::Job;
use crate::studio::event::Outcome;
use crate::studio::history::Gesture;
use crate::studio::runs::Control;
use crate::studio::sensitivity::{Known, SensitivityEffort, SensitivityState, SensitivityStep};
use crate::studio::{Command, Effect, Event, Project, Studio};
use pare_engine::formats::layout::stored_bytes;
use pare_engine::recipe::LayerSettings;
use pare_engine::report::{Anchor, LayerSensitivity, Measure, OptionError, SensitivityTable};
use pare_engine::settings::LayerOption;
use pare_engine::solved::Method;
use std::sync::Arc;

/// A table of every layer of `project`: later layers hurt more, each bit less hurts four times as much.
fn table(project: &Project) -> SensitivityTable {
    let options = LayerOption::all();
    let row = |layer: usize| {
        let info = &project.layers[layer];
        let cell = |option: &LayerOption| {
            let settings = option.apply(&project.draft().template, Method::Gptq);
            let error = match option {
                LayerOption::Grid { bits, group } => {
                    let spread = 1.0 + *group as f64 / 1024.0;
                    (layer + 1) as f64 * spread * 0.25f64.powi(i32::from(*bits))
                }
                _ => 0.0,
            };
            Some(OptionError {
                output_error: error,
                relative_output_error: Some(error.sqrt()),
                gradient_loss: Some(error),
                method: Method::Gptq,
                bytes: stored_bytes(project.draft().format, info, &settings),
            })
        };
        LayerSensitivity {
            layer,
            name: info.name.clone(),
            weights: info.parameters,
            errors: options.iter().map(cell).collect(),
            probes: Vec::new(),
        }
    };
    let layers = (0..project.layers.len()).filter(|&layer| project.layers[layer].compressible);
    SensitivityTable {
        measure: Measure::Kl,
        method: Method::Gptq,
        layers: layers.map(row).collect(),
        anchors: Vec::<Anchor>::new(),
        scored: 100,
        options,
    }
}

fn control_of(effects: &[Effect]) -> Option<(Arc<Control>, bool)> {
    effects.iter().find_map(|effect| match effect {
        Effect::Start(Job::Sensitivity {
            control, only_find, ..
        }) => Some((control.clone(), *only_find)),
        _ => None,
    })
}

fn done(
    studio: &mut Studio,
    control: Arc<Control>,
    table: Option<SensitivityTable>,
) -> Vec<Effect> {
    studio.event(Event::SensitivityDone {
        generation: studio.generation,
        control,
        result: Outcome::Done(Box::new(Known {
            table,
            agreement: None,
        })),
    })
}

/// The sample, measured.
pub(in super::super) fn measured() -> Studio {
    let mut studio = with_sample();
    let effects = studio.command(Command::MeasureSensitivity(SensitivityEffort::Full));
    let (control, only_find) = control_of(&effects).unwrap();
    assert!(!only_find);
    let table = table(studio.project().unwrap());
    done(&mut studio, control, Some(table));
    let sensitivity = &studio.project().unwrap().sensitivity;
    assert_eq!(sensitivity.state, SensitivityState::Ready);
    assert_eq!(sensitivity.problem, None);
    assert!(sensitivity.planner.is_some());
    studio
}

pub(in super::super) fn settings(studio: &Studio) -> Vec<LayerSettings> {
    studio.project().unwrap().draft().settings.clone()
}

#[test]
fn a_table_grows_row_by_row_until_it_is_ready() {
    let mut studio = with_sample();
    let effects = studio.command(Command::Act(Action::MeasureSensitivity));
    let (control, _) = control_of(&effects).unwrap();
    assert!(studio.project().unwrap().sensitivity.is_measuring());
    let whole = table(studio.project().unwrap());
    let step = SensitivityStep {
        stage: "judging layers".to_owned(),
        done: 3,
        total: 9,
    };
    let mut part = whole.layers[2].clone();
    part.errors[4..].fill(None);
    for rows in [vec![part], vec![whole.layers[0].clone()]] {
        studio.event(Event::SensitivityGrew {
            generation: studio.generation,
            control: control.clone(),
            rows,
            step: step.clone(),
        });
    }
    let sensitivity = &studio.project().unwrap().sensitivity;
    assert_eq!(sensitivity.state, SensitivityState::Measuring(step));
    let layers: Vec<usize> = sensitivity
        .table
        .layers
        .iter()
        .map(|row| row.layer)
        .collect();
    assert_eq!(layers, [whole.layers[0].layer, whole.layers[2].layer]);
    assert!(
        studio
            .command(Command::Act(Action::SketchSensitivity))
            .len()
            == 1,
        "one at a time"
    );
    done(&mut studio, control, Some(whole.clone()));
    let project = studio.project().unwrap();
    assert_eq!(*project.sensitivity.table, whole);
    assert!(
        project.outlook.front.len() > 3,
        "{:?}",
        project.outlook.front
    );
    let now = project.outlook.now.unwrap();
    assert!(now.predicted.is_some_and(|loss| loss > 0.0), "{now:?}");
    assert!(
        project
            .outlook
            .baselines
            .iter()
            .all(|base| base.place.predicted.is_some())
    );
}

#[test]
fn a_stopped_job_is_heard_no_more_and_what_it_told_stays() {
    for rows in [0, 2] {
        let mut studio = with_sample();
        let effects = studio.command(Command::MeasureSensitivity(SensitivityEffort::Quick));
        let (control, _) = control_of(&effects).unwrap();
        let whole = table(studio.project().unwrap());
        let grew = |studio: &Studio, rows: &[LayerSensitivity]| Event::SensitivityGrew {
            generation: studio.generation,
            control: control.clone(),
            rows: rows.to_vec(),
            step: SensitivityStep::default(),
        };
        let event = grew(&studio, &whole.layers[..rows]);
        studio.event(event);
        studio.command(Command::StopSensitivity);
        assert!(control.is_stopped());
        let event = grew(&studio, &whole.layers);
        studio.event(event);
        done(&mut studio, control.clone(), Some(whole.clone()));
        let sensitivity = &studio.project().unwrap().sensitivity;
        let expected = match rows {
            0 => SensitivityState::Absent,
            _ => SensitivityState::Ready,
        };
        assert_eq!(
            (sensitivity.table.layers.len(), &sensitivity.state),
            (rows, &expected)
        );
        assert!(Action::StopSensitivity.availability(&studio).is_err());
    }
}

#[test]
fn a_failure_says_why() {
    let mut studio = with_sample();
    let effects = studio.command(Command::Act(Action::MeasureSensitivity));
    let (control, _) = control_of(&effects).unwrap();
    let effects = studio.event(Event::SensitivityDone {
        generation: studio.generation,
        control,
        result: Outcome::Failed("the text is too short".to_owned()),
    });
    assert!(
        matches!(&effects[..], [Effect::Toast(_, text), ..] if text.contains("too short")),
        "{effects:?}"
    );
    let state = &studio.project().unwrap().sensitivity.state;
    assert_eq!(
        *state,
        SensitivityState::Failed("the text is too short".to_owned())
    );
}

#[test]
fn a_table_is_stale_for_another_method_and_fresh_for_other_bits() {
    let mut studio = measured();
    let state = |studio: &Studio| studio.project().unwrap().sensitivity.state.clone();
    edit(&mut studio, usize::MAX, LayerEdit::Bits(3));
    assert_eq!(state(&studio), SensitivityState::Ready);
    edit(&mut studio, usize::MAX, LayerEdit::Method(Method::Rtn));
    assert_eq!(state(&studio), SensitivityState::Stale);
    assert!(studio.project().unwrap().outlook.is_stale);
    studio.command(Command::Act(Action::Undo));
    assert_eq!(state(&studio), SensitivityState::Ready);
    let mut calibration = studio.project().unwrap().draft().calibration.clone();
    calibration.seed += 1;
    studio.command(Command::SetCalibration(calibration));
    assert_eq!(state(&studio), SensitivityState::Stale);
}

#[test]
fn what_was_measured_before_is_looked_for_once() {
    let mut studio = with_sample();
    let project = studio.project().unwrap();
    let mut few = project.draft().calibration.clone();
    (few.sequences, few.length) = (2, 33);
    let inputs = Arc::new(project.session.original_inputs(&few, &Quiet).unwrap());
    let effects = studio.event(Event::Calibrated {
        generation: studio.generation,
        control: Arc::default(),
        result: Outcome::Done(inputs),
    });
    let (control, only_find) = control_of(&effects).unwrap();
    assert!(only_find);
    assert_eq!(
        studio.project().unwrap().sensitivity.state,
        SensitivityState::Absent
    );
    let effects = done(&mut studio, control, None);
    assert!(
        control_of(&effects).is_none(),
        "nothing was found: {effects:?}"
    );
    let effects = edit(&mut studio, 3, LayerEdit::Bits(3));
    assert!(control_of(&effects).is_none(), "other bits, the same table");
    let effects = edit(&mut studio, usize::MAX, LayerEdit::Method(Method::Rtn));
    assert!(control_of(&effects).is_some(), "another table");
}

#[test]
fn painting_is_one_step_and_leaves_locked_layers() {
    let mut studio = with_sample();
    let layers: Vec<usize> = studio.project().unwrap().rows.visible[1..5].to_vec();
    studio.command(Command::Lock(layers[1..2].to_vec(), true));
    let before = settings(&studio);
    let steps = studio.project().unwrap().history.labels().count();
    let option = LayerOption::Grid { bits: 6, group: 32 };
    for layer in &layers {
        studio.command(Command::PaintOption {
            layers: vec![*layer],
            option,
            gesture: Some(Gesture(7)),
        });
    }
    studio.command(Command::EndGesture);
    let now = settings(&studio);
    for layer in &layers {
        let expected = match layer == &layers[1] {
            true => LayerOption::of(&before[*layer]),
            false => Some(option),
        };
        assert_eq!(LayerOption::of(&now[*layer]), expected, "layer {layer}");
    }
    assert_eq!(
        studio.project().unwrap().history.labels().count(),
        steps + 1
    );
    studio.command(Command::PaintOption {
        layers: layers.clone(),
        option: LayerOption::Dense,
        gesture: None,
    });
    assert_eq!(settings(&studio)[layers[0]].method, Method::None);
    studio.command(Command::Act(Action::Undo));
    studio.command(Command::Act(Action::Undo));
    assert_eq!(settings(&studio), before);
}
