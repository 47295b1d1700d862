//! What of a draft comes back when its model is opened again.

#![allow(clippy::unwrap_used)]

use super::super::tests::{session, with_sample};
use crate::studio::action::Action;
use crate::studio::effect::Job;
use crate::studio::event::Opened;
use crate::studio::proposal::BudgetRules;
use crate::studio::{Command, Effect, Event, sample};
use pare_engine::formats::Format;
use std::path::PathBuf;

#[test]
fn a_model_opens_as_it_was_left() {
    let mut studio = with_sample();
    let (first, text) = {
        let project = studio.project().unwrap();
        (project.rows.visible[1], PathBuf::from("/texts/other.txt"))
    };
    studio.command(Command::Lock(vec![first], true));
    studio.command(Command::SetFormat(Format::Gptq));
    studio.command(Command::SetEvaluation(Some(text.clone())));
    studio.command(Command::SetBudget(70_000));
    let rules = BudgetRules {
        fused: true,
        ..BudgetRules::default()
    };
    studio.command(Command::SetBudgetRules(rules.clone()));
    let effects = studio.command(Command::Act(Action::CloseModel));
    let kept = effects.into_iter().find_map(|effect| match effect {
        Effect::Start(Job::KeepDraft { draft, .. }) => Some(draft),
        _ => None,
    });
    studio.command(Command::Open(sample::WORD.into()));
    studio.event(Event::Opened {
        generation: studio.generation,
        path: sample::WORD.into(),
        result: Ok(Opened {
            autosaved: kept,
            ..session()
        }),
    });
    let project = studio.project().unwrap();
    let draft = project.draft();
    let locked: Vec<usize> = (0..draft.locked.len())
        .filter(|&layer| draft.locked[layer])
        .collect();
    assert_eq!(locked, [first]);
    assert_eq!(
        (draft.format, &draft.evaluation),
        (Format::Gptq, &Some(text))
    );
    assert_eq!(
        (project.budget_bytes, &project.budget_rules),
        (Some(70_000), &rules)
    );
    assert_eq!(project.history.undo_label(), Some("restore the last draft"));
}
