//! What is asked in which order, and which answers count.

#![allow(clippy::unwrap_used)]

use super::super::tests::{Quiet, edit, with_sample};
use super::{front, wishes};
use crate::studio::draft::LayerEdit;
use crate::studio::effect::Job;
use crate::studio::estimates::Wanted;
use crate::studio::event::Outcome;
use crate::studio::project::{Answer, Stage};
use crate::studio::{Command, Effect, Event, Studio};
use pare_engine::preview::{Basis, Estimate};
use proptest::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

/// The number of the estimate job in `effects`, and what it wants.
fn asked(effects: &[Effect]) -> Option<(u64, Vec<Wanted>)> {
    effects.iter().find_map(|effect| match effect {
        Effect::Start(Job::Estimate { job, wanted, .. }) => Some((*job, wanted.clone())),
        _ => None,
    })
}

/// Answers of `job` to `wanted`, all with the same error.
fn answers(studio: &Studio, job: u64, wanted: &[Wanted], error: f64, finished: bool) -> Event {
    let estimate = Estimate {
        relative_error: error,
        basis: Basis::Weights,
        sqnr_db: None,
        sampled_rows: 64,
    };
    Event::Estimated {
        generation: studio.generation,
        job,
        estimates: wanted
            .iter()
            .map(|wanted| (wanted.key, Ok(estimate)))
            .collect(),
        finished,
    }
}

/// Gathers inputs of a few tokens.
fn calibrate(studio: &mut Studio) -> Vec<Effect> {
    // One at a time: a cache entry is gathered by one and found by the others.
    static GATHERING: Mutex<()> = Mutex::new(());
    let _gathering = GATHERING.lock().unwrap_or_else(PoisonError::into_inner);
    let project = studio.project().unwrap();
    let mut few = project.draft().calibration.clone();
    (few.sequences, few.length) = (2, 31);
    let inputs = project.session.original_inputs(&few, &Quiet).unwrap();
    studio.event(Event::Calibrated {
        generation: studio.generation,
        control: Arc::default(),
        result: Outcome::Done(Arc::new(inputs)),
    })
}

#[test]
fn answers_about_weights_alone_are_dropped_once_inputs_are_known() {
    let mut studio = with_sample();
    // Whatever job was begun when the model was opened: its number is the first one.
    let wanted: Vec<Wanted> = {
        let project = studio.project().unwrap();
        let mut empty = crate::studio::estimates::Estimates::default();
        empty.ask(wishes(project).into_iter())
    };
    let (job, _) = asked(&calibrate(&mut studio)).unwrap();
    assert!(job > 1, "a job of its own: {job}");
    let late = answers(&studio, job - 1, &wanted, 0.5, true);
    let effects = studio.event(late);
    let project = studio.project().unwrap();
    assert!(effects.is_empty(), "{effects:?}");
    assert_eq!(project.estimates.basis(), None, "nothing came in");
    assert!(
        project.estimating.is_some(),
        "the job about inputs is still at work"
    );
    let fresh = answers(&studio, job, &wanted, 0.25, true);
    studio.event(fresh);
    let project = studio.project().unwrap();
    assert!(project.estimating.is_none());
    let error = project.totals.error.unwrap().value;
    assert!(error > 0.0 && error <= 0.25, "{error}");
    assert!(
        project
            .outlook
            .baselines
            .iter()
            .all(|base| base.place.error.is_some()),
        "every baseline is known: {:?}",
        project
            .outlook
            .baselines
            .iter()
            .map(|base| base.place)
            .collect::<Vec<_>>()
    );
}

#[test]
fn an_edit_does_not_wait_for_what_nobody_looks_at() {
    let mut studio = with_sample();
    let (first, _) = asked(&calibrate(&mut studio)).unwrap();
    let control = studio.project().unwrap().estimating.clone().unwrap();
    let layer = studio.project().unwrap().rows.visible[3];
    let effects = studio.command(Command::SelectLayers(vec![layer]));
    let (second, wanted) = asked(&effects).unwrap();
    assert!(control.is_stopped() && second > first);
    assert_eq!(wanted[0].key.layer, layer);
    let effects = edit(&mut studio, 1, LayerEdit::Group(32));
    let (third, wanted) = asked(&effects).unwrap();
    assert!(third > second);
    let settings = studio.project().unwrap().draft().settings.clone();
    assert!(
        wanted
            .iter()
            .any(|wanted| wanted.settings == settings[wanted.key.layer]
                && wanted.settings.group == 32)
    );
    // What the stopped jobs had found is about the same inputs: it counts, but their end does not.
    let late = answers(&studio, second, &wanted[..2], 0.1, true);
    studio.event(late);
    let project = studio.project().unwrap();
    assert!(project.estimating.is_some());
    assert!(
        project
            .estimates
            .get(wanted[0].key.layer, &wanted[0].settings)
            .is_some()
    );
}

#[test]
fn previews_of_older_settings_are_stale_until_the_first_answer() {
    let mut studio = with_sample();
    let layer = studio.project().unwrap().rows.visible[3];
    studio.command(Command::SelectLayers(vec![layer]));
    let tell = |studio: &mut Studio, stage: Stage, is_last: bool, question: Option<u64>| {
        let preview = &studio.project().unwrap().preview;
        let (_, settings) = preview.asked[0];
        let question = question.unwrap_or(preview.question);
        studio.event(Event::Previewed {
            generation: studio.generation,
            layer,
            answer: Box::new(Answer {
                question,
                settings,
                stage,
                is_last,
                is_outdated: false,
                result: Err("no matter".to_owned()),
            }),
        });
    };
    let state = |studio: &Studio| {
        let project = studio.project().unwrap();
        let answer = project.answer(layer);
        (
            answer.map(|(answer, fresh)| (answer.stage, fresh)),
            project.preview.busy,
        )
    };
    assert_eq!(state(&studio), (None, true), "nothing yet");
    tell(&mut studio, Stage::Sampled, false, None);
    assert_eq!(state(&studio), (Some((Stage::Sampled, true)), true));
    tell(&mut studio, Stage::Exact, true, None);
    assert_eq!(state(&studio), (Some((Stage::Exact, true)), false));
    let old = studio.project().unwrap().preview.question;
    studio.command(Command::Edit {
        edit: LayerEdit::Bits(3),
        layers: None,
        gesture: None,
    });
    assert_eq!(
        state(&studio),
        (Some((Stage::Exact, false)), true),
        "the old answer stays, as stale"
    );
    tell(&mut studio, Stage::Whole, true, Some(old));
    assert_eq!(
        state(&studio),
        (Some((Stage::Exact, false)), true),
        "a late one is dropped"
    );
    tell(&mut studio, Stage::Sampled, false, None);
    assert_eq!(state(&studio), (Some((Stage::Sampled, true)), true));
    calibrate(&mut studio);
    assert_eq!(
        state(&studio),
        (Some((Stage::Sampled, false)), true),
        "other inputs: asked again"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn layers_are_read_once_for_all_their_options(
        picked in prop::collection::vec(0usize..12, 0..4),
        bits in 2u8..9,
        count in 0usize..10,
    ) {
        let mut studio = with_sample();
        edit(&mut studio, count, LayerEdit::Bits(bits));
        let visible = studio.project().unwrap().rows.visible.clone();
        studio.command(Command::SelectLayers(picked.iter().map(|&row| visible[row % visible.len()]).collect()));
        let project = studio.project().unwrap();
        let ahead = front(project);
        let all = wishes(project);
        prop_assert_eq!(&all[..ahead.len()], &ahead[..]);
        let selected = project.selection.layers();
        let leading = ahead.iter().take(selected.len()).all(|(layer, _)| selected.contains(layer));
        prop_assert!(leading, "selected layers as chosen come first");
        let behind: Vec<usize> = all[ahead.len()..].iter().map(|(layer, _)| *layer).collect();
        let mut runs: Vec<usize> = behind.chunk_by(|left, right| left == right).map(|run| run[0]).collect();
        let count = runs.len();
        runs.sort_unstable();
        runs.dedup();
        prop_assert_eq!(runs.len(), count, "one stretch for each layer");
        for layer in (0..project.layers.len()).filter(|&layer| project.layers[layer].compressible) {
            let chosen = (layer, project.draft().settings[layer]);
            let dense = chosen.1.method == pare_engine::solved::Method::None;
            prop_assert!(dense || ahead.contains(&chosen), "{}", layer);
        }
    }
}
